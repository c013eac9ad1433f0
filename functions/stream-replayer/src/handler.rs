//! One run: look at the stream → begin or refuse → estimate → shard by shard read, send, remember →
//! report → start the next hop.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use fastrand::Rng;
use futures_util::stream::{FuturesUnordered, StreamExt};
use sluice::invocation::{Chain, Deadline, Within};
use sluice::ports::{
    Clock, EmitMetrics, InvokeError, InvokeFunction, MetricQuery, PutReplayed, ReadMetrics,
    ReadStream, ShardLineage, StreamHistory,
};
use sluice::records::Pacer;
use tracing::{error, warn};

use crate::config::Config;
use crate::decide::{
    CannotBegin, Estimate, Rate, SLACK_MS, Stop, decide_begin, decide_next, estimate,
    is_unfinished, oldest_ms,
};
use crate::event::{Target, Trigger, UnknownEvent};
use crate::progress::Progress;
use crate::report::Report;
use crate::run::{Halt, NoteResume, Run, retried};
use crate::send::ANSWER_MARGIN;
use crate::shard::replay_shard;

/// Metrics by the minute are kept so long: 15 days. (CloudWatch concepts, metrics retention; Nov
/// 2026)
const MINUTE_METRICS_MS: u64 = 15 * 86_400_000;

/// The verbs that reach outside.
#[derive(Debug)]
pub struct Ports<S, T, F, W, C, M, N> {
    /// The stream whose past is read.
    pub source: S,
    /// The streams that may be written to.
    pub streams: T,
    pub functions: F,
    pub cloudwatch: W,
    pub clock: C,
    /// Where EMF lines go.
    pub metrics: M,
    /// Where it is noted how far a replay is.
    pub notes: N,
}

/// Why a run failed. The target has nothing of it, so that Lambda may try again; or the next hop is
/// missing.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The event is not a trigger.
    #[error(transparent)]
    UnknownEvent(#[from] UnknownEvent),
    /// The replay does not begin.
    #[error(transparent)]
    CannotBegin(#[from] CannotBegin),
    /// The stream cannot be looked at.
    #[error("the stream cannot be looked at: {0}")]
    Source(String),
    #[error("nothing was replayed: {failure}; to continue, send {resume}")]
    NoProgress {
        failure: String,
        /// The event that continues.
        resume: String,
    },
    /// There is more to do, and the next hop could not be started.
    #[error("the next hop could not be started; to continue, send {resume}")]
    NextHop {
        /// The event that continues.
        resume: String,
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

    /// Handles one event, given as the JSON text that Lambda hands over.
    pub async fn handle(&self, event: &str, deadline_epoch_ms: u64) -> Result<Report, ReplayError> {
        let trigger = Trigger::parse(event)?;
        let begun_ms = self.ports.clock.epoch_ms();
        let deadline = Deadline::new(begun_ms, deadline_epoch_ms);
        let (history, shards) = self.observe(&trigger, deadline).await?;
        decide_begin(&self.config, &trigger, &history, begun_ms)?;
        let progress = Progress::new(&self.config.stream_name, &trigger, shards);
        let rate = Rate::of(&self.config, &trigger);
        let mut report = Report::new(&self.config, &trigger, &progress);
        report.may_have_expired |= trigger.resume.is_some()
            && progress.left() > 0
            && progress.reached_ms() < oldest_ms(&history, begun_ms);
        if report.may_have_expired {
            error!(
                reached = %progress.resume().reached,
                shards_expired = progress.expired(),
                "retention was faster than this replay: records of the window are gone"
            );
        }
        if trigger.hop == 0 {
            report.estimate = self.estimate(&trigger, rate, progress.left()).await;
            report.log_begin(&trigger, rate);
        }
        let run = self.run(trigger, deadline, history.arn, progress, report, rate);
        let stop = if run.trigger.dry_run { Stop::DryRun } else { self.work(&run).await };
        self.conclude(run, stop).await
    }

    /// Looks at the stream: its age, its retention and the shards that lived in the window.
    async fn observe(
        &self,
        trigger: &Trigger,
        deadline: Deadline,
    ) -> Result<(StreamHistory, Vec<ShardLineage>), ReplayError> {
        let Ports { source, clock, .. } = &self.ports;
        let until_ms = deadline.work_until_ms();
        let failed = |halt| match halt {
            Halt::Failed(why) => ReplayError::Source(why),
            Halt::OutOfTime | Halt::IteratorExpired => ReplayError::Source("no answer".to_owned()),
        };
        let describe = async || source.describe_history().await;
        let history = retried(clock, &self.rng, until_ms, describe).await.map_err(failed)?;
        let from_ms = trigger.from.0.saturating_sub(SLACK_MS);
        let list = async || source.list_shards_since(from_ms).await;
        let shards = retried(clock, &self.rng, until_ms, list).await.map_err(failed)?;
        Ok((history, shards))
    }

    fn run(
        &self,
        trigger: Trigger,
        deadline: Deadline,
        stream_arn: String,
        progress: Progress,
        report: Report,
        rate: Rate,
    ) -> Run<'_, C, N> {
        let answer = match trigger.target {
            Target::Function(_) => self.config.target_timeout + ANSWER_MARGIN,
            Target::Stream(_) => Duration::from_millis(deadline.reserve_ms()),
        };
        let pacer = Pacer::at(rate.bytes_per_second as f64, f64::from(rate.records_per_second));
        Run {
            config: &self.config,
            clock: &self.ports.clock,
            notes: &self.ports.notes,
            rng: &self.rng,
            stream_arn,
            progress: RefCell::new(progress),
            report: RefCell::new(report),
            pacer: RefCell::new(pacer),
            has_progress: Cell::new(false),
            set_aside_in_a_row: Cell::new(0),
            is_over: Cell::new(false),
            noted_ms: Cell::new(self.ports.clock.epoch_ms()),
            take_until_ms: deadline.take_until_ms(answer),
            work_until_ms: deadline.work_until_ms(),
            trigger,
        }
    }

    /// From the stream's metrics: what it took, not what the filter will let through. None for what
    /// is older than metrics by the minute.
    async fn estimate(&self, trigger: &Trigger, rate: Rate, shards: usize) -> Option<Estimate> {
        if trigger.from.0 + MINUTE_METRICS_MS < self.ports.clock.epoch_ms() {
            return None;
        }
        let query = |name: &str| MetricQuery {
            namespace: "AWS/Kinesis".to_owned(),
            name: name.to_owned(),
            dimensions: vec![("StreamName".to_owned(), self.config.stream_name.clone())],
            statistic: "Sum".to_owned(),
        };
        let queries = [query("IncomingRecords"), query("IncomingBytes")];
        let begin_ms = trigger.from.0 / 60_000 * 60_000;
        match self
            .ports
            .cloudwatch
            .get_metrics(&queries, begin_ms, trigger.until.0)
            .await
            .as_deref()
        {
            Ok([records, bytes]) if !records.is_empty() => {
                let at_once = shards.min(self.config.shards_at_once);
                Some(estimate(trigger, rate, at_once, records, bytes))
            }
            Ok(_) => None,
            Err(error) => {
                warn!(%error, "metrics could not be read; replaying without an estimate");
                None
            }
        }
    }

    /// Replays until there is nothing left or a reason to stop.
    async fn work(&self, run: &Run<'_, C, N>) -> Stop {
        let Ports { source, streams, functions, clock, .. } = &self.ports;
        let replay = |id: String| async move {
            let end = replay_shard(run, source, streams, functions, &id).await;
            (id, end)
        };
        let under_way = run.progress.borrow().under_way();
        let mut working: FuturesUnordered<_> = under_way.into_iter().map(replay).collect();
        let mut stop = Stop::Done;
        loop {
            if stop == Stop::Done {
                let mut progress = run.progress.borrow_mut();
                while let Some(id) = progress.begin(self.config.shards_at_once) {
                    working.push(replay(id));
                }
            }
            if working.is_empty() {
                return stop;
            }
            let left_ms = run.work_until_ms.saturating_sub(clock.epoch_ms());
            match clock.within(left_ms, working.next()).await {
                Some(Some((id, Ok(end)))) => {
                    run.progress.borrow_mut().finish(&id, end);
                    run.has_progress.set(true);
                }
                Some(Some((id, Err(Halt::Failed(why))))) => {
                    warn!(shard = id, why, "replay of shard stopped");
                    stop = Stop::Failed;
                    run.is_over.set(true);
                    run.report.borrow_mut().failure.get_or_insert(format!("{id}: {why}"));
                }
                Some(Some((_, Err(_)))) if stop == Stop::Done => stop = Stop::OutOfTime,
                Some(_) => {}
                // What is under way is sent again by the next hop.
                None if stop == Stop::Failed => return Stop::Failed,
                None => return Stop::OutOfTime,
            }
        }
    }

    /// Starts the next hop if there is to be one, and reports.
    async fn conclude(&self, run: Run<'_, C, N>, stop: Stop) -> Result<Report, ReplayError> {
        let Run { trigger, progress, report, has_progress, .. } = run;
        let (progress, mut report) = (progress.into_inner(), report.into_inner());
        report.stop(stop, &progress);
        let (hop, has_progress) = (trigger.hop, has_progress.get());
        let by_hand = trigger.resumed(progress.resume(), 0);
        let chain = Chain { hop, hops_max: self.config.replay_hops_max };
        let mut failure = None;
        if let Some(hop) = decide_next(stop, has_progress, chain) {
            let next = trigger.resumed(progress.resume(), hop).to_text();
            let Config { function_name, .. } = &self.config;
            match self.ports.functions.invoke_later(function_name, &next).await {
                Ok(()) => report.continues = true,
                Err(source) => {
                    let resume = by_hand.to_text();
                    failure = Some(ReplayError::NextHop { resume, source });
                }
            }
        } else if is_unfinished(stop) && !has_progress {
            failure = Some(ReplayError::NoProgress {
                failure: report.failure.clone().unwrap_or_else(|| "out of time".to_owned()),
                resume: by_hand.to_text(),
            });
        }
        if is_unfinished(stop) && !report.continues {
            error!(
                resume = by_hand.to_text(),
                hop, "the replay is unfinished and does not continue"
            );
            report.resume = Some(by_hand);
        }
        report.log_end();
        let now_ms = self.ports.clock.epoch_ms();
        self.ports.metrics.emit(&report.to_line(&self.config, trigger.until, now_ms));
        match failure {
            Some(failure) => Err(failure),
            None => Ok(report),
        }
    }
}
