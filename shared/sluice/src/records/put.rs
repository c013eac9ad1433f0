//! Gets records accepted: a few PutRecords calls in flight, refused entries again and only those,
//! full-jitter backoff, bounded by tries and by time.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use fastrand::Rng;
use futures_util::{StreamExt, stream};

use super::{Pacer, Record};
use crate::invocation::{Backoff, Within};
use crate::limits::{
    PUT_RECORD_BATCH_BYTES_MAX, PUT_RECORD_BATCH_ENTRIES_MAX, PUT_RECORDS_BYTES_MAX,
    PUT_RECORDS_ENTRIES_MAX,
};
use crate::ports::{Clock, PutError, PutRecords, Refusal, is_throttle};

/// What one call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Entries.
    pub entries_max: usize,
    /// Bytes of all entries.
    pub bytes_max: usize,
}

impl CallLimits {
    /// Kinesis's PutRecords.
    pub const PUT_RECORDS: Self =
        Self { entries_max: PUT_RECORDS_ENTRIES_MAX, bytes_max: PUT_RECORDS_BYTES_MAX };
    /// Firehose's PutRecordBatch.
    pub const PUT_RECORD_BATCH: Self =
        Self { entries_max: PUT_RECORD_BATCH_ENTRIES_MAX, bytes_max: PUT_RECORD_BATCH_BYTES_MAX };
}

/// How hard to try.
#[derive(Debug, Clone)]
pub struct PutPolicy {
    /// What the API takes in one call.
    pub call_limits: CallLimits,
    /// Tries of one record at the most (`PUT_ATTEMPTS_MAX`).
    pub attempts_max: u32,
    /// Calls in flight at the most.
    pub calls_in_flight_max: usize,
    /// Pauses before records that were refused are put again.
    pub backoff: Backoff,
    /// Make one call at a time, and none before the entries refused by an earlier one are
    /// accepted: records keep their order but for entries refused within one call.
    pub in_order: bool,
}

/// Why records were left over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Refused `attempts_max` times; the last reason.
    AttemptsExhausted(String),
    /// There was no time for another try; the last reason, if there was one.
    DeadlineReached(String),
    /// The stream answered with an error that another try cannot change.
    Permanent {
        /// The service's error code.
        code: String,
        /// What it said.
        detail: String,
    },
}

/// What came of [`put_all`].
#[derive(Debug, Default)]
pub struct PutReport {
    /// Indexes of the records that the stream did not accept, ascending; all others it has. Of a
    /// call that was cut off or broken it may have these all the same.
    pub remaining: Vec<usize>,
    /// Why `remaining` is not empty.
    pub stopped: Option<Stopped>,
    /// PutRecords calls.
    pub calls: u64,
    /// Entries refused because a shard was at its limit.
    pub throttled: u64,
    /// Entries refused for another reason, or in calls that failed as a whole.
    pub failed: u64,
    /// Entries of calls whose outcome is unknown: the stream may hold them twice, or hold some
    /// that are in `remaining`.
    pub unknown: u64,
}

/// Puts all `records`, or as many as `policy` and `cutoff_epoch_ms` allow.
///
/// `cutoff_epoch_ms` is the wall-clock time at which the caller wants control back; a call in
/// flight is cut off then.
pub async fn put_all<P: PutRecords, C: Clock>(
    port: &P,
    clock: &C,
    pacer: &mut Pacer,
    rng: &mut Rng,
    policy: &PutPolicy,
    records: &[Record],
    cutoff_epoch_ms: u64,
) -> PutReport {
    let run = Run {
        port,
        clock,
        policy,
        records,
        cutoff_epoch_ms,
        pacer: RefCell::new(pacer),
        report: RefCell::default(),
        hold: Cell::new(false),
    };
    let mut attempts = vec![0u32; records.len()];
    let mut accepted = 0;
    let mut pending: Vec<usize> = (0..records.len()).collect();
    let mut exhausted = Vec::new();
    let mut reason = String::new();

    loop {
        let entries = run.round(&pending).await;
        pending.clear();
        for (record, entry) in entries {
            match entry {
                Entry::Accepted => accepted += 1,
                Entry::NotTried => pending.push(record),
                Entry::Refused(why) => {
                    attempts[record] += 1;
                    reason = why;
                    if attempts[record] < policy.attempts_max {
                        pending.push(record);
                    } else {
                        exhausted.push(record);
                    }
                }
            }
        }
        pending.sort_unstable();
        if pending.is_empty() || run.report.borrow().stopped.is_some() {
            break;
        }
        let tried = pending.iter().map(|&record| attempts[record]).max().unwrap_or(0);
        let pause = policy.backoff.pause(tried, rng);
        if clock.epoch_ms() + pause.as_millis() as u64 >= cutoff_epoch_ms {
            run.stop(Stopped::DeadlineReached(reason.clone()));
            break;
        }
        clock.sleep(pause).await;
    }

    if !exhausted.is_empty() {
        run.stop(Stopped::AttemptsExhausted(reason));
    }
    let mut report = run.report.into_inner();
    report.remaining = exhausted;
    report.remaining.append(&mut pending);
    report.remaining.sort_unstable();
    assert_eq!(accepted + report.remaining.len(), records.len(), "every record is accounted for");
    report
}

/// What one try did to a record.
enum Entry {
    Accepted,
    Refused(String),
    NotTried,
}

struct Run<'a, P, C> {
    port: &'a P,
    clock: &'a C,
    policy: &'a PutPolicy,
    records: &'a [Record],
    cutoff_epoch_ms: u64,
    pacer: RefCell<&'a mut Pacer>,
    report: RefCell<PutReport>,
    /// No further call in this round.
    hold: Cell<bool>,
}

impl<P: PutRecords, C: Clock> Run<'_, P, C> {
    /// One try of every record in `pending`.
    async fn round(&self, pending: &[usize]) -> Vec<(usize, Entry)> {
        self.hold.set(false);
        let calls = split_calls(
            self.records,
            pending,
            self.policy.call_limits,
            self.pacer.borrow().burst(),
        );
        let in_flight_max = if self.policy.in_order { 1 } else { self.policy.calls_in_flight_max };
        stream::iter(calls)
            .map(|call| self.call(call))
            .buffer_unordered(in_flight_max)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .flatten()
            .collect()
    }

    /// One call, when its turn has come.
    async fn call(&self, call: Vec<usize>) -> Vec<(usize, Entry)> {
        let entries: Vec<&Record> = call.iter().map(|&record| &self.records[record]).collect();
        let not_tried = || call.iter().map(|&record| (record, Entry::NotTried)).collect();
        let refused = |reason: &str| -> Vec<(usize, Entry)> {
            call.iter().map(|&record| (record, Entry::Refused(reason.to_owned()))).collect()
        };
        if self.hold.get() {
            return not_tried();
        }
        let bytes = entries.iter().map(|record| record.bytes()).sum();
        let wait = self.pacer.borrow_mut().reserve(self.clock.monotonic(), bytes, entries.len());
        if self.ms_left() <= wait.as_millis() as u64 {
            self.stop(Stopped::DeadlineReached("paced beyond the deadline".to_owned()));
            return not_tried();
        }
        if wait > Duration::ZERO {
            self.clock.sleep(wait).await;
        }
        if self.hold.get() {
            return not_tried();
        }

        self.report.borrow_mut().calls += 1;
        let answer = self.port.put_records(&entries);
        let Some(answer) = self.clock.within(self.ms_left(), answer).await else {
            self.count_unknown(entries.len());
            self.stop(Stopped::DeadlineReached("a call was cut off".to_owned()));
            return refused("a call was cut off");
        };
        match answer {
            Ok(refusals) if refusals.len() == entries.len() => {
                let mut report = self.report.borrow_mut();
                for refusal in refusals.iter().flatten() {
                    report.throttled += u64::from(refusal.is_throttle());
                    report.failed += u64::from(!refusal.is_throttle());
                    self.hold.set(self.hold.get() || self.policy.in_order);
                }
                let entry = |refusal| match refusal {
                    None => Entry::Accepted,
                    Some(Refusal { code }) => Entry::Refused(code),
                };
                call.iter().copied().zip(refusals.into_iter().map(entry)).collect()
            }
            // Which entries were taken cannot be told: all of them again.
            Ok(_) => {
                self.count_unknown(entries.len());
                refused("an answer of another length")
            }
            Err(PutError::Unknown { code, .. }) => {
                self.count_unknown(entries.len());
                self.hold.set(self.hold.get() || self.policy.in_order);
                refused(&code)
            }
            Err(PutError::Transient { code, .. }) => {
                let mut report = self.report.borrow_mut();
                let throttled = is_throttle(&code);
                report.throttled += if throttled { entries.len() as u64 } else { 0 };
                report.failed += if throttled { 0 } else { entries.len() as u64 };
                self.hold.set(self.hold.get() || self.policy.in_order);
                refused(&code)
            }
            Err(PutError::Permanent { code, detail }) => {
                self.report.borrow_mut().failed += entries.len() as u64;
                self.stop(Stopped::Permanent { code, detail });
                not_tried()
            }
        }
    }

    fn count_unknown(&self, entries: usize) {
        let mut report = self.report.borrow_mut();
        report.failed += entries as u64;
        report.unknown += entries as u64;
    }

    /// No more calls; an error that cannot go away outweighs the other reasons.
    fn stop(&self, why: Stopped) {
        self.hold.set(true);
        let mut report = self.report.borrow_mut();
        if !matches!(report.stopped, Some(Stopped::Permanent { .. })) {
            report.stopped = Some(why);
        }
    }

    fn ms_left(&self) -> u64 {
        self.cutoff_epoch_ms.saturating_sub(self.clock.epoch_ms())
    }
}

/// Cuts `pending` into calls within the API's limits and the pacer's burst; a record beyond the
/// burst goes alone.
fn split_calls(
    records: &[Record],
    pending: &[usize],
    limits: CallLimits,
    (burst_bytes, burst_records): (usize, usize),
) -> Vec<Vec<usize>> {
    let entries_max = burst_records.clamp(1, limits.entries_max);
    let bytes_max = burst_bytes.min(limits.bytes_max);
    let mut calls: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for &record in pending {
        let more = records[record].bytes();
        match calls.last_mut() {
            Some(call) if call.len() < entries_max && bytes + more <= bytes_max => {
                call.push(record);
                bytes += more;
            }
            _ => {
                calls.push(vec![record]);
                bytes = more;
            }
        }
    }
    calls
}
