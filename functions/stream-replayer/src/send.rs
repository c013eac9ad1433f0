//! Sends a shard's records to the target: a function or a stream.

use std::time::Duration;

use sluice::invocation::Backoff;
use sluice::limits::{INVOKE_EVENT_BYTES_MAX, PUT_RECORDS_BYTES_MAX, PUT_RECORDS_ENTRIES_MAX};
use sluice::ports::{
    Clock, InvokeFunction, PutError, PutRecords, PutReplayed, Record, Refusal, StreamRecord,
};
use sluice::records::{CallLimits, Pacer, PutPolicy, Stopped, put_all, replayed};

use crate::decide::{Response, decide_response, is_about_records, is_inside};
use crate::event::Target;
use crate::function_event;
use crate::run::{Halt, NoteResume, Run, Suspect};

/// The answer of a function may come so much later than its timeout: a cold start is not in it.
pub(crate) const ANSWER_MARGIN: Duration = Duration::from_secs(15);
/// Before records that the target stream refused are put again.
const PUT_BACKOFF: Backoff = Backoff::full_jitter(400, 20_000);
/// Records that a function failed on again and again, while nothing tells whether it fails on others,
/// too.
const SUSPECTS_MAX: usize = 3;

/// A target stream as [`put_all`] sees it.
struct TargetStream<'a, T> {
    streams: &'a T,
    name: &'a str,
}

impl<T: PutReplayed> PutRecords for TargetStream<'_, T> {
    async fn put_records(&self, records: &[&Record]) -> Result<Vec<Option<Refusal>>, PutError> {
        self.streams.put_replayed(self.name, records).await
    }
}

/// Sends one shard's records, in order.
pub(crate) struct Sender<'a, T, F, C, N> {
    run: &'a Run<'a, C, N>,
    streams: &'a T,
    functions: &'a F,
    shard: &'a str,
    /// Records that the function failed on while it took no others.
    pub suspects: Vec<Suspect>,
}

/// How a batch for a function is going.
struct Attempts<'a> {
    rest: &'a [StreamRecord],
    /// Records of the next invocation.
    size: usize,
    /// Of the first record of `rest`, alone.
    failures: u32,
    pauses: u32,
    /// What the target had before the first record of `rest` was first tried.
    records_before: u64,
}

impl<'a, T: PutReplayed, F: InvokeFunction, C: Clock, N: NoteResume> Sender<'a, T, F, C, N> {
    pub fn new(run: &'a Run<'a, C, N>, streams: &'a T, functions: &'a F, shard: &'a str) -> Self {
        Self { run, streams, functions, shard, suspects: Vec::new() }
    }

    /// Sends what lies in the window and passes the filter, batch by batch.
    pub async fn send(&mut self, records: Vec<StreamRecord>) -> Result<(), Halt> {
        let run = self.run;
        let mut inside: Vec<StreamRecord> =
            records.into_iter().filter(|record| is_inside(&run.trigger, record)).collect();
        if let Some(filter) = &run.trigger.filter {
            let all = inside.len();
            inside.retain(|record| filter.admits(&record.data));
            run.report.borrow_mut().filtered += (all - inside.len()) as u64;
        }
        let mut rest = inside.as_slice();
        while !rest.is_empty() {
            let burst = run.pacer.borrow().burst();
            let (batch, others) = rest.split_at(batch_len(&run.trigger.target, burst, rest));
            let bytes = batch.iter().map(StreamRecord::bytes).sum();
            let now = run.clock.monotonic();
            let wait = run.pacer.borrow_mut().reserve(now, bytes, batch.len());
            run.pause(wait).await?;
            match &run.trigger.target {
                Target::Function(name) => self.send_to_function(name, batch).await?,
                Target::Stream(name) => self.send_to_stream(name, batch).await?,
            }
            rest = others;
        }
        Ok(())
    }

    /// Sends until the function has the batch, but for records that it never takes: what it fails on
    /// or refuses becomes smaller, until one record is alone. A function that fails on one record and
    /// takes others has this one set aside; one that fails on all stops the run.
    async fn send_to_function(&mut self, name: &str, batch: &[StreamRecord]) -> Result<(), Halt> {
        let records_before = self.run.report.borrow().records;
        let size = batch.len();
        let mut batch = Attempts { rest: batch, size, failures: 0, pauses: 0, records_before };
        while !batch.rest.is_empty() {
            batch.size = batch.size.clamp(1, batch.rest.len());
            let sent = &batch.rest[..batch.size];
            let event = function_event::event(&self.run.stream_arn, self.shard, sent);
            let timeout = self.run.config.target_timeout + ANSWER_MARGIN;
            let answer = self.functions.invoke(name, &event, timeout).await;
            let numbers: Vec<&str> =
                sent.iter().map(|record| record.sequence_number.as_str()).collect();
            let response = decide_response(&numbers, answer);
            let again = self.follow(name, &mut batch, response)?;
            if again && !batch.rest.is_empty() {
                self.run.report.borrow_mut().target_retries += 1;
                self.run.back_off(batch.pauses).await?;
            }
        }
        Ok(())
    }

    /// Does what follows from a response; `true` when the next invocation waits a little.
    fn follow(
        &mut self,
        name: &str,
        batch: &mut Attempts<'_>,
        response: Response,
    ) -> Result<bool, Halt> {
        match response {
            Response::Has(count) => {
                self.settle_suspects()?;
                self.run.has(self.shard, &batch.rest[..count]);
                let is_all = count == batch.size;
                batch.rest = &batch.rest[count..];
                (batch.failures, batch.pauses) = (0, 0);
                if is_all {
                    batch.size *= 2;
                }
                return Ok(!is_all);
            }
            Response::Busy => batch.pauses += 1,
            Response::Refused(_) if batch.size > 1 => {
                batch.size = batch.size.div_ceil(2);
                return Ok(false);
            }
            Response::Refused(why) => {
                let first = &batch.rest[0];
                let why = format!("{name} refuses {}: {why}", first.sequence_number);
                self.suspects.push(Suspect::new(first, why));
                // Behind another that may come again, it waits.
                if self.suspects.len() == 1 {
                    self.settle_suspects()?;
                }
                batch.rest = &batch.rest[1..];
                (batch.failures, batch.size) = (0, 2);
                return Ok(false);
            }
            Response::Unavailable(why) => return Err(Halt::Failed(format!("{name}: {why}"))),
            Response::Failed(why) => {
                batch.pauses += 1;
                if batch.size > 1 {
                    batch.size = batch.size.div_ceil(2);
                } else {
                    batch.failures += 1;
                }
                if batch.failures >= self.run.config.target_attempts_max {
                    self.suspect_first(name, batch, &why)?;
                }
            }
        }
        Ok(true)
    }

    /// The function failed on the first record, alone, as often as it may.
    fn suspect_first(
        &mut self,
        name: &str,
        batch: &mut Attempts<'_>,
        why: &str,
    ) -> Result<(), Halt> {
        let (first, failures) = (&batch.rest[0], batch.failures);
        let why = format!("{name} failed {failures} times on {}: {why}", first.sequence_number);
        self.suspects.push(Suspect::new(first, why));
        let takes_others = self.run.report.borrow().records > batch.records_before;
        if takes_others {
            self.settle_suspects()?;
        } else if self.suspects.len() > SUSPECTS_MAX {
            return Err(Halt::Failed(self.suspects.swap_remove(0).why));
        }
        batch.records_before = self.run.report.borrow().records;
        batch.rest = &batch.rest[1..];
        (batch.failures, batch.pauses) = (0, 0);
        Ok(())
    }

    /// The function takes others: the suspects themselves are to blame.
    fn settle_suspects(&mut self) -> Result<(), Halt> {
        self.suspects.drain(..).try_for_each(|suspect| self.run.set_aside(self.shard, suspect))
    }

    /// Puts the batch in order, but for records that the stream never takes.
    async fn send_to_stream(&self, name: &str, batch: &[StreamRecord]) -> Result<(), Halt> {
        let mut rest = batch;
        let mut size = batch.len();
        while !rest.is_empty() {
            size = size.clamp(1, rest.len());
            let (taken, stopped) = self.put_into_stream(name, &rest[..size]).await;
            rest = &rest[taken..];
            match stopped {
                None => size *= 2,
                Some(Stopped::DeadlineReached(_)) => return Err(Halt::OutOfTime),
                Some(Stopped::AttemptsExhausted(why)) => {
                    let attempts = self.run.config.target_attempts_max;
                    let why = format!("{name} refused a record {attempts} times: {why}");
                    return Err(Halt::Failed(why));
                }
                Some(Stopped::Permanent { code, detail }) if !is_about_records(&code) => {
                    return Err(Halt::Failed(format!("{name} takes nothing: {code}: {detail}")));
                }
                Some(Stopped::Permanent { .. }) if size - taken > 1 => {
                    size = (size - taken).div_ceil(2);
                }
                Some(Stopped::Permanent { code, detail }) => {
                    let first = &rest[0].sequence_number;
                    let why = format!("{name} refuses {first}: {code}: {detail}");
                    self.run.set_aside(self.shard, Suspect::new(&rest[0], why))?;
                    rest = &rest[1..];
                    size = 2;
                }
            }
        }
        Ok(())
    }

    /// How many records the stream took, and why no more.
    async fn put_into_stream(
        &self,
        name: &str,
        batch: &[StreamRecord],
    ) -> (usize, Option<Stopped>) {
        let marked = batch.iter().map(|record| {
            replayed::mark(Record {
                partition_key: record.partition_key.clone(),
                data: record.data.clone(),
            })
        });
        let (records, has_mark): (Vec<Record>, Vec<bool>) = marked.unzip();
        let policy = PutPolicy {
            call_limits: CallLimits::PUT_RECORDS,
            attempts_max: self.run.config.target_attempts_max,
            calls_in_flight_max: 1,
            backoff: PUT_BACKOFF,
            in_order: true,
        };
        let mut rng = self.run.rng.borrow_mut().fork();
        // The batch has been paced as a whole.
        let mut at_once = Pacer::at(1e12, 1e12);
        let put = put_all(
            &TargetStream { streams: self.streams, name },
            self.run.clock,
            &mut at_once,
            &mut rng,
            &policy,
            &records,
            self.run.work_until_ms,
        )
        .await;
        let taken = put.remaining.first().copied().unwrap_or(batch.len());
        self.run.has(self.shard, &batch[..taken]);
        let mut report = self.run.report.borrow_mut();
        report.unmarked += has_mark[..taken].iter().filter(|&&has_mark| !has_mark).count() as u64;
        report.target_retries += put.throttled + put.failed;
        (taken, put.stopped)
    }
}

/// How many records go at once: what the rate gives in one go, and the target in one call. One
/// that is beyond goes alone.
fn batch_len(
    target: &Target,
    (burst_bytes, burst_records): (usize, usize),
    records: &[StreamRecord],
) -> usize {
    let records_max = burst_records.clamp(1, PUT_RECORDS_ENTRIES_MAX);
    let (mut total, mut in_call) = (0, 0);
    let fits = |record: &&StreamRecord| {
        let (call_bytes, call_bytes_max) = match target {
            Target::Function(_) => (function_event::bytes_max(record), INVOKE_EVENT_BYTES_MAX),
            Target::Stream(_) => (record.bytes() + replayed::MARK.len(), PUT_RECORDS_BYTES_MAX),
        };
        total += record.bytes();
        in_call += call_bytes;
        total <= burst_bytes && in_call <= call_bytes_max
    };
    records.iter().take(records_max).take_while(fits).count().max(1)
}
