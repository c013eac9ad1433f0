//! One run: look at the stream → begin or refuse → estimate → shard by shard read, send, remember →
//! report → go on.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use sluice::limits::{INVOKE_EVENT_BYTES_MAX, PUT_RECORDS_BYTES_MAX, PUT_RECORDS_ENTRIES_MAX};
use sluice::ports::{
    Clock, EmitMetrics, InvokeError, InvokeFunction, MetricQuery, PutError, PutRecords,
    PutReplayed, ReadError, ReadMetrics, ReadStream, Refusal, StreamRecord,
};
use sluice::records::{CallLimits, Pacer, PutPolicy, Record, Stopped, put_all, replayed};
use tracing::{error, info, warn};

use crate::config::Config;
use crate::decide::{
    After, Estimate, Rate, Refused, SLACK_MS, decide_after, decide_begin, decide_end, decide_next,
    decide_read_pause, estimate, is_about_records, is_inside, oldest_ms,
};
use crate::function_event;
use crate::plan::{End, Plan};
use crate::report::{Report, SetAside, Stop};
use crate::wake::{Target, UnknownWake, Wake};

/// Records of one GetRecords call: at 25 KB a record, what a shard gives in some seconds.
const READ_RECORDS_MAX: usize = 1_000;
/// Failures of the stream in a row that end a run.
const READ_FAILURES_MAX: u32 = 10;
/// The first pause after a failure is random in a half of this and this; each further one is twice
/// as long.
const PAUSE_MS: u64 = 400;
/// No pause is longer.
const PAUSE_MS_MAX: u64 = 20_000;
/// The answer of a function may come so much later than its timeout: a cold start is not in it.
const ANSWER_MARGIN: Duration = Duration::from_secs(15);
/// Kept free before the deadline for the report and the next hop, unless the run is short: then a
/// quarter of it.
const CLOSING_MS: u64 = 10_000;
/// Metrics by the minute are kept so long: 15 days. (CloudWatch concepts, metrics retention; Nov
/// 2026)
const MINUTE_METRICS_MS: u64 = 15 * 86_400_000;
/// Records that are set aside in a row before the target itself is to blame.
const SET_ASIDE_IN_A_ROW_MAX: u32 = 100;
/// Records that a function failed on again and again, while nothing tells whether it fails on others,
/// too.
const SUSPECTS_MAX: usize = 3;
/// Records set aside that the answer names.
const SET_ASIDE_NAMED_MAX: usize = 20;
/// Characters of what a target said about one of them.
const WHY_CHARS_MAX: usize = 300;
/// Where a replay goes on is noted so often. A crash repeats no more than that when a person goes on
/// from the note; Lambda itself repeats the whole hop.
const NOTE_MS: u64 = 10_000;

/// The verbs that reach outside.
#[derive(Debug)]
pub struct Ports<S, T, F, W, C, M, N> {
    /// The stream whose past is read.
    pub source: S,
    /// The streams that may be written to.
    pub streams: T,
    /// Lambda.
    pub functions: F,
    /// CloudWatch.
    pub cloudwatch: W,
    /// Time.
    pub clock: C,
    /// Where EMF lines go.
    pub metrics: M,
    /// Where it is noted how far a replay is.
    pub notes: N,
}

/// Notes where a replay would go on.
pub trait NoteResume {
    /// Notes the event that goes on from here.
    fn note(&self, event: &str);
}

/// Why a run failed. The target has nothing of it, so that Lambda may try again; or the next hop is
/// missing.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The event wakes nobody.
    #[error(transparent)]
    UnknownWake(#[from] UnknownWake),
    /// The replay does not begin.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The stream cannot be looked at.
    #[error("the stream cannot be looked at: {0}")]
    Source(String),
    /// Nothing came through.
    #[error("nothing came through: {failure}; it goes on with {resume}")]
    NoProgress {
        /// What failed.
        failure: String,
        /// The event that goes on.
        resume: String,
    },
    /// There is more to do, and the next hop could not be started.
    #[error("the next hop could not be started; it goes on with {resume}")]
    NextHop {
        /// The event that goes on.
        resume: String,
        /// Why not.
        #[source]
        source: InvokeError,
    },
}

/// What lives as long as an execution environment.
pub struct Replayer<S, T, F, W, C, M, N> {
    config: Config,
    ports: Ports<S, T, F, W, C, M, N>,
    rng: RefCell<Rng>,
}

/// Why a shard is left.
#[derive(Debug)]
enum Halt {
    OutOfTime,
    IteratorExpired,
    Failed(String),
}

/// A record that a function failed on as often as it may.
#[derive(Debug)]
struct Suspect {
    sequence_number: String,
    arrived_ms: u64,
    why: String,
}

impl Suspect {
    fn new(record: &StreamRecord, why: String) -> Self {
        Self {
            sequence_number: record.sequence_number.clone(),
            arrived_ms: record.arrived_ms,
            why: why.chars().take(WHY_CHARS_MAX).collect(),
        }
    }
}

/// What all shards of a run share.
struct Run {
    wake: Wake,
    stream_arn: String,
    plan: RefCell<Plan>,
    report: RefCell<Report>,
    pacer: RefCell<Pacer>,
    has_progress: Cell<bool>,
    set_aside_in_a_row: Cell<u32>,
    /// No more reading and sending.
    is_over: Cell<bool>,
    noted_ms: Cell<u64>,
    take_until_ms: u64,
    work_until_ms: u64,
}

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

impl<S, T, F, W, C, M, N> Replayer<S, T, F, W, C, M, N>
where
    S: ReadStream,
    T: PutReplayed,
    F: InvokeFunction,
    W: ReadMetrics,
    C: Clock,
    M: EmitMetrics,
    N: NoteResume,
{
    /// A replayer that has seen nothing yet.
    pub fn new(config: Config, ports: Ports<S, T, F, W, C, M, N>, rng: Rng) -> Self {
        Self { config, ports, rng: RefCell::new(rng) }
    }

    /// Handles one wake-up, given as the JSON text that Lambda hands over.
    pub async fn handle(&self, event: &str, deadline_epoch_ms: u64) -> Result<Report, ReplayError> {
        let wake = Wake::parse(event)?;
        let run = self.observe(wake, deadline_epoch_ms).await?;
        let wake = &run.wake;
        let stop = if wake.dry_run { Stop::DryRun } else { self.work(&run).await };
        let plan = run.plan.into_inner();
        let mut report = run.report.into_inner();
        report.stopped = stop;
        report.records_in_all = plan.records;
        report.set_aside_in_all = plan.set_aside;
        report.shards_left = plan.left();
        report.reached = plan.resume().reached;
        let (hop, hops_max) = (wake.hop, self.config.replay_hops_max);
        let has_progress = run.has_progress.get();
        let by_hand = wake.going_on(plan.resume(), 0);
        let mut failure = None;
        if decide_next(stop, has_progress, hop, hops_max) {
            let next = wake.going_on(plan.resume(), hop.saturating_add(1)).to_text();
            let Config { function_name, .. } = &self.config;
            match self.ports.functions.invoke_later(function_name, &next).await {
                Ok(()) => report.continues = true,
                Err(source) => {
                    let resume = by_hand.to_text();
                    failure = Some(ReplayError::NextHop { resume, source });
                }
            }
        } else if matches!(stop, Stop::OutOfTime | Stop::Failed) && !has_progress {
            failure = Some(ReplayError::NoProgress {
                failure: report.failure.clone().unwrap_or_else(|| "time is over".to_owned()),
                resume: by_hand.to_text(),
            });
        }
        if matches!(stop, Stop::OutOfTime | Stop::Failed) && !report.continues {
            error!(resume = by_hand.to_text(), hop, "the replay is not done and does not go on");
            report.resume = Some(by_hand);
        }
        info!(report = ?report, "a window replayed");
        let now_ms = self.ports.clock.epoch_ms();
        self.ports.metrics.emit(&report.to_line(&self.config, wake.until, now_ms));
        match failure {
            Some(failure) => Err(failure),
            None => Ok(report),
        }
    }

    /// Looks at the stream, and refuses what cannot be replayed.
    async fn observe(&self, wake: Wake, deadline_epoch_ms: u64) -> Result<Run, ReplayError> {
        let Ports { source, clock, .. } = &self.ports;
        let begun_ms = clock.epoch_ms();
        let whole_ms = deadline_epoch_ms.saturating_sub(begun_ms);
        let work_until_ms = deadline_epoch_ms - CLOSING_MS.min(whole_ms / 4);
        let seen = |halt| match halt {
            Halt::Failed(why) => ReplayError::Source(why),
            Halt::OutOfTime | Halt::IteratorExpired => ReplayError::Source("no answer".to_owned()),
        };
        let history = self.retried(work_until_ms, async || source.describe_history().await).await;
        let history = history.map_err(seen)?;
        decide_begin(&self.config, &wake, &history, begun_ms)?;
        let from_ms = wake.from.0.saturating_sub(SLACK_MS);
        let shards =
            self.retried(work_until_ms, async || source.list_shards_since(from_ms).await).await;
        let plan = Plan::new(&self.config.stream_name, &wake, shards.map_err(seen)?);

        let rate = Rate {
            records_per_second: wake.records_per_second.unwrap_or(self.config.records_per_second),
            bytes_per_second: wake.bytes_per_second.unwrap_or(self.config.bytes_per_second),
        };
        let mut report = Report::new(&self.config, &wake);
        report.shards = plan.len();
        report.shards_expired = plan.expired();
        let has_begun = wake.resume.is_some();
        report.may_have_expired = plan.expired() > 0
            || (has_begun && plan.left() > 0 && plan.reached_ms() < oldest_ms(&history, begun_ms));
        if report.may_have_expired {
            error!(
                reached = %plan.resume().reached,
                shards_expired = plan.expired(),
                "retention was faster than this replay: records of the window are gone"
            );
        }
        if wake.hop == 0 {
            report.estimate = self.estimate(&wake, rate, plan.left()).await;
            info!(
                from = %wake.from,
                until = %wake.until,
                target = %wake.target,
                shards = plan.left(),
                estimate = ?report.estimate,
                ?rate,
                dry_run = wake.dry_run,
                "about to replay"
            );
        }
        // What is sent should be answered for; a function that may take as long as this one gets
        // half of its time.
        let answer_ms = match wake.target {
            Target::Function(_) => (self.config.target_timeout + ANSWER_MARGIN).as_millis() as u64,
            Target::Stream(_) => CLOSING_MS.min(whole_ms / 4),
        };
        let half_ms = begun_ms + work_until_ms.saturating_sub(begun_ms) / 2;
        Ok(Run {
            stream_arn: history.arn,
            plan: RefCell::new(plan),
            report: RefCell::new(report),
            pacer: RefCell::new(Pacer::at(
                rate.bytes_per_second as f64,
                f64::from(rate.records_per_second),
            )),
            has_progress: Cell::new(false),
            set_aside_in_a_row: Cell::new(0),
            is_over: Cell::new(false),
            noted_ms: Cell::new(clock.epoch_ms()),
            take_until_ms: work_until_ms.saturating_sub(answer_ms).max(half_ms),
            work_until_ms,
            wake,
        })
    }

    /// From the stream's metrics: what it took, not what the filter will let through. None for what
    /// is older than metrics by the minute.
    async fn estimate(&self, wake: &Wake, rate: Rate, shards: usize) -> Option<Estimate> {
        if wake.from.0 + MINUTE_METRICS_MS < self.ports.clock.epoch_ms() {
            return None;
        }
        let query = |name: &str| MetricQuery {
            namespace: "AWS/Kinesis".to_owned(),
            name: name.to_owned(),
            dimensions: vec![("StreamName".to_owned(), self.config.stream_name.clone())],
            statistic: "Sum".to_owned(),
        };
        let queries = [query("IncomingRecords"), query("IncomingBytes")];
        let begin_ms = wake.from.0 / 60_000 * 60_000;
        match self.ports.cloudwatch.get_metrics(&queries, begin_ms, wake.until.0).await.as_deref() {
            Ok([records, bytes]) if !records.is_empty() => {
                let at_once = shards.min(self.config.shards_at_once);
                Some(estimate(wake, rate, at_once, records, bytes))
            }
            Ok(_) => None,
            Err(error) => {
                warn!(%error, "no estimate");
                None
            }
        }
    }

    /// Replays until there is nothing left or a reason to stop.
    async fn work(&self, run: &Run) -> Stop {
        let clock = &self.ports.clock;
        let left_ms = run.work_until_ms.saturating_sub(clock.epoch_ms());
        let mut over = pin!(clock.sleep(Duration::from_millis(left_ms)));
        let under_way = run.plan.borrow().under_way();
        let mut working: FuturesUnordered<_> =
            under_way.into_iter().map(|id| self.shard_of(run, id)).collect();
        let mut stop = Stop::Done;
        loop {
            if stop == Stop::Done {
                let mut plan = run.plan.borrow_mut();
                while let Some(id) = plan.begin(self.config.shards_at_once) {
                    working.push(self.shard_of(run, id));
                }
            }
            if working.is_empty() {
                return stop;
            }
            match select(working.next(), over.as_mut()).await {
                Either::Left((Some((id, Ok(end))), _)) => {
                    run.plan.borrow_mut().finish(&id, end);
                    run.has_progress.set(true);
                }
                Either::Left((Some((id, Err(Halt::Failed(why)))), _)) => {
                    warn!(shard = id, why, "a shard does not go on");
                    stop = Stop::Failed;
                    run.is_over.set(true);
                    run.report.borrow_mut().failure.get_or_insert(format!("{id}: {why}"));
                }
                Either::Left((Some((_, Err(_))), _)) if stop == Stop::Done => {
                    stop = Stop::OutOfTime;
                }
                Either::Left(_) => {}
                // What is under way is sent again by the next hop.
                Either::Right(_) if stop == Stop::Failed => return Stop::Failed,
                Either::Right(_) => return Stop::OutOfTime,
            }
        }
    }

    async fn shard_of(&self, run: &Run, id: String) -> (String, Result<End, Halt>) {
        let end = self.shard(run, &id).await;
        (id, end)
    }

    /// Replays one shard to its end or the window's.
    async fn shard(&self, run: &Run, id: &str) -> Result<End, Halt> {
        let Ports { source, clock, .. } = &self.ports;
        let mut next_iterator = None;
        let mut read_at = Duration::ZERO;
        let mut suspects = Vec::new();
        loop {
            self.pause(run, read_at.saturating_sub(clock.monotonic())).await?;
            let iterator = match next_iterator.take() {
                Some(iterator) => iterator,
                None => {
                    let from_ms = run.wake.from.0.saturating_sub(SLACK_MS);
                    let from = run.plan.borrow().read_from(id, from_ms);
                    let get = async || source.get_shard_iterator(id, &from).await;
                    self.retried(run.take_until_ms, get).await?
                }
            };
            let asked_ms = clock.epoch_ms();
            let get = async || source.get_records(&iterator, READ_RECORDS_MAX).await;
            let page = match self.retried(run.take_until_ms, get).await {
                // The target took longer than an iterator lives: on from the last that it has.
                Err(Halt::IteratorExpired) => continue,
                page => page?,
            };
            let bytes: u64 = page.records.iter().map(|record| record.data.len() as u64).sum();
            read_at = clock.monotonic() + decide_read_pause(bytes);
            let end = decide_end(&run.wake, &page, asked_ms);
            let last = page
                .records
                .last()
                .map(|last| (last.sequence_number.clone(), last.arrived_ms.min(run.wake.until.0)));
            self.send(run, id, page.records, &mut suspects).await?;
            // Until it is known who is to blame, a resume begins before the first of them.
            if let Some((last, arrived_ms)) = last.filter(|_| suspects.is_empty()) {
                run.plan.borrow_mut().advance(id, &last, arrived_ms, 0);
                run.has_progress.set(true);
            }
            match (end, suspects.first()) {
                (Some(_), Some(Suspect { why, .. })) => return Err(Halt::Failed(why.clone())),
                (Some(end), None) => return Ok(end),
                (None, _) => {}
            }
            next_iterator = page.next_iterator;
        }
    }

    /// Sends what lies in the window and passes the filter, batch by batch.
    async fn send(
        &self,
        run: &Run,
        id: &str,
        records: Vec<StreamRecord>,
        suspects: &mut Vec<Suspect>,
    ) -> Result<(), Halt> {
        let mut inside: Vec<StreamRecord> =
            records.into_iter().filter(|record| is_inside(&run.wake, record)).collect();
        if let Some(filter) = &run.wake.filter {
            let all = inside.len();
            inside.retain(|record| filter.admits(&record.data));
            run.report.borrow_mut().filtered += (all - inside.len()) as u64;
        }
        let mut rest = inside.as_slice();
        while !rest.is_empty() {
            let (batch, others) = rest.split_at(batch_len(&run.wake.target, run, rest));
            let bytes = batch.iter().map(bytes).sum();
            let now = self.ports.clock.monotonic();
            let wait = run.pacer.borrow_mut().reserve(now, bytes, batch.len());
            self.pause(run, wait).await?;
            match &run.wake.target {
                Target::Function(name) => {
                    self.send_to_function(run, id, name, batch, suspects).await?;
                }
                Target::Stream(name) => self.send_to_stream(run, id, name, batch).await?,
            }
            rest = others;
        }
        Ok(())
    }

    /// Sends until the function has the batch, but for records that it never takes: what it fails on
    /// or refuses becomes smaller, until one record is alone. A function that fails on one record and
    /// takes others has this one set aside; one that fails on all stops the run.
    async fn send_to_function(
        &self,
        run: &Run,
        id: &str,
        name: &str,
        batch: &[StreamRecord],
        suspects: &mut Vec<Suspect>,
    ) -> Result<(), Halt> {
        let mut rest = batch;
        let mut size = batch.len();
        let (mut failures, mut pauses) = (0, 0);
        let mut records_before = run.report.borrow().records;
        while !rest.is_empty() {
            size = size.clamp(1, rest.len());
            let event = function_event::event(&run.stream_arn, id, &rest[..size]);
            let timeout = self.config.target_timeout + ANSWER_MARGIN;
            let answer = self.ports.functions.invoke(name, &event, timeout).await;
            let numbers: Vec<&str> =
                rest[..size].iter().map(|record| record.sequence_number.as_str()).collect();
            match decide_after(&numbers, answer) {
                After::Has(count) => {
                    for suspect in suspects.drain(..) {
                        self.set_aside(run, id, suspect)?;
                    }
                    self.has(run, id, &rest[..count]);
                    let is_all = count == size;
                    rest = &rest[count..];
                    (failures, pauses) = (0, 0);
                    if is_all {
                        size *= 2;
                        continue;
                    }
                }
                After::Busy => pauses += 1,
                After::Refused(_) if size > 1 => {
                    size = size.div_ceil(2);
                    continue;
                }
                After::Refused(why) => {
                    let why = format!("{name} refuses {}: {why}", rest[0].sequence_number);
                    suspects.push(Suspect::new(&rest[0], why));
                    // Behind another that may come again, it waits.
                    if suspects.len() == 1 {
                        suspects.drain(..).try_for_each(|one| self.set_aside(run, id, one))?;
                    }
                    rest = &rest[1..];
                    (failures, size) = (0, 2);
                    continue;
                }
                After::Unavailable(why) => return Err(Halt::Failed(format!("{name}: {why}"))),
                After::Failed(why) => {
                    pauses += 1;
                    if size > 1 {
                        size = size.div_ceil(2);
                    } else {
                        failures += 1;
                    }
                    if failures >= self.config.target_attempts_max {
                        let first = &rest[0].sequence_number;
                        let why = format!("{name} failed {failures} times on {first}: {why}");
                        suspects.push(Suspect::new(&rest[0], why));
                        let takes_others = run.report.borrow().records > records_before;
                        if takes_others {
                            suspects.drain(..).try_for_each(|one| self.set_aside(run, id, one))?;
                        } else if suspects.len() > SUSPECTS_MAX {
                            return Err(Halt::Failed(suspects.swap_remove(0).why));
                        }
                        records_before = run.report.borrow().records;
                        rest = &rest[1..];
                        (failures, pauses) = (0, 0);
                    }
                }
            }
            if !rest.is_empty() {
                run.report.borrow_mut().target_retries += 1;
                self.pause(run, self.backoff(pauses)).await?;
            }
        }
        Ok(())
    }

    /// Puts the batch in order, but for records that the stream never takes.
    async fn send_to_stream(
        &self,
        run: &Run,
        id: &str,
        name: &str,
        batch: &[StreamRecord],
    ) -> Result<(), Halt> {
        let mut rest = batch;
        let mut size = batch.len();
        while !rest.is_empty() {
            size = size.clamp(1, rest.len());
            let (taken, stopped) = self.put_into_stream(run, id, name, &rest[..size]).await;
            rest = &rest[taken..];
            match stopped {
                None => size *= 2,
                Some(Stopped::DeadlineReached(_)) => return Err(Halt::OutOfTime),
                Some(Stopped::AttemptsExhausted(why)) => {
                    let attempts = self.config.target_attempts_max;
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
                    self.set_aside(run, id, Suspect::new(&rest[0], why))?;
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
        run: &Run,
        id: &str,
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
            attempts_max: self.config.target_attempts_max,
            calls_in_flight_max: 1,
            backoff_ms: PAUSE_MS,
            backoff_ms_max: PAUSE_MS_MAX,
            in_order: true,
        };
        let mut rng = self.rng.borrow_mut().fork();
        // The batch has been paced as a whole.
        let mut at_once = Pacer::at(1e12, 1e12);
        let put = put_all(
            &TargetStream { streams: &self.ports.streams, name },
            &self.ports.clock,
            &mut at_once,
            &mut rng,
            &policy,
            &records,
            run.work_until_ms,
        )
        .await;
        let taken = put.remaining.first().copied().unwrap_or(batch.len());
        self.has(run, id, &batch[..taken]);
        let mut report = run.report.borrow_mut();
        report.unmarked += has_mark[..taken].iter().filter(|&&has_mark| !has_mark).count() as u64;
        report.target_retries += put.throttled + put.failed;
        (taken, put.stopped)
    }

    /// The target never takes this record: it is named, and the shard goes on behind it.
    fn set_aside(&self, run: &Run, id: &str, record: Suspect) -> Result<(), Halt> {
        let Suspect { sequence_number, arrived_ms, why } = record;
        if run.set_aside_in_a_row.get() >= SET_ASIDE_IN_A_ROW_MAX {
            return Err(Halt::Failed(why));
        }
        run.set_aside_in_a_row.set(run.set_aside_in_a_row.get() + 1);
        error!(
            shard = id,
            sequence_number, why, "set aside a record that the target does not take"
        );
        let mut plan = run.plan.borrow_mut();
        plan.advance(id, &sequence_number, arrived_ms, 0);
        plan.set_aside += 1;
        run.has_progress.set(true);
        let mut report = run.report.borrow_mut();
        report.set_aside += 1;
        if report.set_aside_records.len() < SET_ASIDE_NAMED_MAX {
            let shard = id.to_owned();
            report.set_aside_records.push(SetAside { shard, sequence_number, why });
        }
        Ok(())
    }

    /// The target has these records of a shard.
    fn has(&self, run: &Run, id: &str, records: &[StreamRecord]) {
        let Some(last) = records.last() else { return };
        let mut plan = run.plan.borrow_mut();
        plan.advance(id, &last.sequence_number, last.arrived_ms, records.len() as u64);
        let mut report = run.report.borrow_mut();
        report.records += records.len() as u64;
        report.bytes += records.iter().map(|record| bytes(record) as u64).sum::<u64>();
        run.has_progress.set(true);
        run.set_aside_in_a_row.set(0);
        let now_ms = self.ports.clock.epoch_ms();
        if now_ms >= run.noted_ms.get() + NOTE_MS {
            run.noted_ms.set(now_ms);
            self.ports.notes.note(&run.wake.going_on(plan.resume(), 0).to_text());
        }
    }

    /// Waits, when there is time for it and for something after it.
    async fn pause(&self, run: &Run, pause: Duration) -> Result<(), Halt> {
        let clock = &self.ports.clock;
        if clock.epoch_ms() + pause.as_millis() as u64 >= run.take_until_ms {
            return Err(Halt::OutOfTime);
        }
        if pause > Duration::ZERO {
            clock.sleep(pause).await;
        }
        if run.is_over.get() { Err(Halt::OutOfTime) } else { Ok(()) }
    }

    fn backoff(&self, pauses: u32) -> Duration {
        let most_ms = (PAUSE_MS << pauses.saturating_sub(1).min(16)).min(PAUSE_MS_MAX);
        Duration::from_millis(self.rng.borrow_mut().u64(most_ms / 2..=most_ms))
    }

    /// Makes a call of the stream until it succeeds, cannot succeed or has failed too often. Being
    /// throttled is no failure: the shard's other readers are at work.
    async fn retried<R>(
        &self,
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
            let pause = self.backoff(pauses);
            if self.ports.clock.epoch_ms() + pause.as_millis() as u64 >= until_ms {
                return Err(Halt::OutOfTime);
            }
            self.ports.clock.sleep(pause).await;
        }
    }
}

fn bytes(record: &StreamRecord) -> usize {
    record.data.len() + record.partition_key.len()
}

/// How many records go at once: what the rate gives in one go, and the target in one call. One
/// that is beyond goes alone.
fn batch_len(target: &Target, run: &Run, records: &[StreamRecord]) -> usize {
    let (burst_bytes, burst_records) = run.pacer.borrow().burst();
    let records_max = burst_records.clamp(1, PUT_RECORDS_ENTRIES_MAX);
    let (mut total, mut in_call) = (0, 0);
    let fits = |record: &&StreamRecord| {
        let (call_bytes, call_bytes_max) = match target {
            Target::Function(_) => (function_event::bytes_max(record), INVOKE_EVENT_BYTES_MAX),
            Target::Stream(_) => (bytes(record) + replayed::MARK.len(), PUT_RECORDS_BYTES_MAX),
        };
        total += bytes(record);
        in_call += call_bytes;
        total <= burst_bytes && in_call <= call_bytes_max
    };
    records.iter().take(records_max).take_while(fits).count().max(1)
}
