//! What all shards of a run share: how far each is, what was counted, and when to stop.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use fastrand::Rng;
use sluice::invocation::Backoff;
use sluice::ports::{Clock, ReadError, StreamRecord};
use sluice::records::Pacer;
use tracing::error;

use crate::config::Config;
use crate::event::Trigger;
use crate::progress::Progress;
use crate::report::{Report, SetAside};

/// Failures of the stream in a row that end a run.
const READ_FAILURES_MAX: u32 = 10;
/// After a failure of the source or the target.
const BACKOFF: Backoff = Backoff::equal_jitter(400, 20_000);
/// Records that are set aside in a row before the target itself is to blame.
const SET_ASIDE_IN_A_ROW_MAX: u32 = 100;
/// Records set aside that the answer names.
const SET_ASIDE_NAMED_MAX: usize = 20;
/// Characters of what a target said about one of them.
const WHY_CHARS_MAX: usize = 300;
/// How often the log notes where a replay continues. A crash repeats no more than that when a person
/// continues from the note; Lambda itself repeats the whole hop.
const NOTE_MS: u64 = 10_000;

/// Notes where a replay continues.
pub trait NoteResume {
    /// Notes the event that continues from here.
    fn note(&self, event: &str);
}

/// Why a shard is left.
#[derive(Debug)]
pub(crate) enum Halt {
    OutOfTime,
    IteratorExpired,
    Failed(String),
}

/// A record that a function failed on as often as it may.
#[derive(Debug)]
pub(crate) struct Suspect {
    pub sequence_number: String,
    pub arrived_ms: u64,
    pub why: String,
}

impl Suspect {
    pub fn new(record: &StreamRecord, why: String) -> Self {
        Self {
            sequence_number: record.sequence_number.clone(),
            arrived_ms: record.arrived_ms,
            why: why.chars().take(WHY_CHARS_MAX).collect(),
        }
    }
}

/// One run over all its shards.
pub(crate) struct Run<'a, C, N> {
    pub config: &'a Config,
    pub clock: &'a C,
    pub notes: &'a N,
    pub rng: &'a RefCell<Rng>,
    pub trigger: Trigger,
    pub stream_arn: String,
    pub progress: RefCell<Progress>,
    pub report: RefCell<Report>,
    pub pacer: RefCell<Pacer>,
    pub has_progress: Cell<bool>,
    pub set_aside_in_a_row: Cell<u32>,
    /// No more reading and sending.
    pub is_over: Cell<bool>,
    pub noted_ms: Cell<u64>,
    pub take_until_ms: u64,
    pub work_until_ms: u64,
}

impl<C: Clock, N: NoteResume> Run<'_, C, N> {
    /// The target has these records of a shard.
    pub fn has(&self, shard: &str, records: &[StreamRecord]) {
        let Some(last) = records.last() else { return };
        self.advance(shard, &last.sequence_number, last.arrived_ms, records.len() as u64);
        let mut report = self.report.borrow_mut();
        report.records += records.len() as u64;
        report.bytes += records.iter().map(|record| record.bytes() as u64).sum::<u64>();
        self.set_aside_in_a_row.set(0);
        let now_ms = self.clock.epoch_ms();
        if now_ms >= self.noted_ms.get() + NOTE_MS {
            self.noted_ms.set(now_ms);
            let resume = self.progress.borrow().resume();
            self.notes.note(&self.trigger.resumed(resume, 0).to_text());
        }
    }

    /// The target never takes this record: it is named, and the shard continues behind it.
    pub fn set_aside(&self, shard: &str, record: Suspect) -> Result<(), Halt> {
        let Suspect { sequence_number, arrived_ms, why } = record;
        if self.set_aside_in_a_row.get() >= SET_ASIDE_IN_A_ROW_MAX {
            return Err(Halt::Failed(why));
        }
        self.set_aside_in_a_row.set(self.set_aside_in_a_row.get() + 1);
        error!(shard, sequence_number, why, "set aside a record that the target does not take");
        self.advance(shard, &sequence_number, arrived_ms, 0);
        self.progress.borrow_mut().set_aside += 1;
        let mut report = self.report.borrow_mut();
        report.set_aside += 1;
        if report.set_aside_records.len() < SET_ASIDE_NAMED_MAX {
            let shard = shard.to_owned();
            report.set_aside_records.push(SetAside { shard, sequence_number, why });
        }
        Ok(())
    }

    /// Nothing of the shard up to this record has to be sent again.
    pub fn advance(&self, shard: &str, after: &str, arrived_ms: u64, records: u64) {
        self.progress.borrow_mut().advance(shard, after, arrived_ms, records);
        self.has_progress.set(true);
    }

    /// Waits, when there is time for it and for something after it.
    pub async fn pause(&self, pause: Duration) -> Result<(), Halt> {
        if self.clock.epoch_ms() + pause.as_millis() as u64 >= self.take_until_ms {
            return Err(Halt::OutOfTime);
        }
        if pause > Duration::ZERO {
            self.clock.sleep(pause).await;
        }
        if self.is_over.get() { Err(Halt::OutOfTime) } else { Ok(()) }
    }

    /// Waits before another attempt.
    pub async fn back_off(&self, pauses: u32) -> Result<(), Halt> {
        let pause = BACKOFF.pause(pauses, &mut self.rng.borrow_mut());
        self.pause(pause).await
    }
}

/// Makes a call of the source until it succeeds, cannot succeed or has failed too often. Being
/// throttled is not a failure: the shard's other readers are at work.
pub(crate) async fn retried<R>(
    clock: &impl Clock,
    rng: &RefCell<Rng>,
    until_ms: u64,
    call: impl AsyncFn() -> Result<R, ReadError>,
) -> Result<R, Halt> {
    let (mut failures, mut pauses) = (0, 0);
    loop {
        pauses += 1;
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(ReadError::IteratorExpired) => return Err(Halt::IteratorExpired),
            Err(error @ ReadError::Permanent { .. }) => {
                return Err(Halt::Failed(error.to_string()));
            }
            Err(ReadError::Throttled { .. }) => {}
            Err(error @ ReadError::Unknown { .. }) => {
                failures += 1;
                if failures >= READ_FAILURES_MAX {
                    return Err(Halt::Failed(error.to_string()));
                }
            }
        }
        let pause = BACKOFF.pause(pauses, &mut rng.borrow_mut());
        if clock.epoch_ms() + pause.as_millis() as u64 >= until_ms {
            return Err(Halt::OutOfTime);
        }
        clock.sleep(pause).await;
    }
}
