//! One run: receive → invoke the processor → delete, leave or quarantine → report → go on.

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use sluice::delivery::{Answer, DeadLetter};
use sluice::ports::{
    Clock, ControlError, EmitMetrics, InvokeError, InvokeFunction, Message, QueueError,
    ReadConcurrency, ReceiveMessages, SendMessage,
};
use tracing::{info, warn};

use crate::config::Config;
use crate::decide::{After, Step, decide_after, decide_next, decide_parallelism, decide_step};
use crate::report::{Report, Stop};
use crate::wake::{UnknownWake, Wake};

/// A receipt hides its message for so long; it is renewed while the processor works.
const VISIBILITY: Duration = Duration::from_secs(120);
/// How long a receiver waits for messages: SQS's longest, so that an empty answer means an empty
/// queue and not an unlucky sample of its hosts.
const RECEIVE_WAIT: Duration = Duration::from_secs(20);
/// Messages of one receipt. (SQS API, ReceiveMessage; Nov 2026)
const RECEIVED_MAX: usize = 10;
/// So many failures in a row end a run: the stream is down, and attempts are worth keeping.
const FAILURES_IN_A_ROW_MAX: usize = 10;
/// The processor's answer may come so much later than its timeout: a cold start is not in it.
const ANSWER_MARGIN: Duration = Duration::from_secs(15);
/// A busy processor is asked again within this, then within twice as long.
const BUSY_MS: u64 = 1_000;
/// No pause for a busy processor is longer.
const BUSY_MS_MAX: u64 = 20_000;
/// Kept free before the deadline for the report and the next hop, unless the run is short: then a
/// quarter of it.
const CLOSING_MS: u64 = 10_000;
/// A dry run looks at so many dead letters unless it is told how many.
const DRY_RUN_MAX: u64 = 1_000;

/// The verbs that reach outside.
#[derive(Debug)]
pub struct Ports<Q, F, C, M> {
    /// The dead-letter queue.
    pub queue: Q,
    /// The quarantine.
    pub quarantine: Q,
    /// Lambda.
    pub functions: F,
    /// Time.
    pub clock: C,
    /// Where EMF lines go.
    pub metrics: M,
}

/// Why a run failed. What it did not finish is in the queue; the next run sees to it.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The event wakes nobody.
    #[error(transparent)]
    UnknownWake(#[from] UnknownWake),
    /// The dead-letter queue cannot be read.
    #[error("the dead-letter queue does not answer")]
    Queue(#[from] QueueError),
    /// The processor's concurrency cannot be read.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The processor cannot be invoked at all.
    #[error("the processor cannot be invoked: {0}")]
    ProcessorUnavailable(String),
    /// There is more to do, and the next hop could not be started.
    #[error("the next hop could not be started; the schedule starts anew")]
    NextHop(#[source] InvokeError),
}

/// What lives as long as an execution environment.
pub struct Replayer<Q, F, C, M> {
    config: Config,
    ports: Ports<Q, F, C, M>,
    rng: RefCell<Rng>,
}

/// What a run waits for.
enum Happened {
    Received(Result<Vec<Message>, QueueError>),
    Finished(Done),
    TimeIsOver,
}

/// A dead letter and what became of it.
struct Done {
    letter: DeadLetter,
    after: After,
}

/// What a run has done so far.
struct Run {
    report: Report,
    taken: u64,
    failures_in_a_row: usize,
    has_progress: bool,
    failure: Option<ReplayError>,
}

impl Run {
    fn met(&mut self, letter: &DeadLetter) {
        *self.report.reasons.entry(letter.reason.to_string()).or_default() += 1;
    }

    fn left(&mut self, letter: &DeadLetter, now_ms: u64) {
        let age_seconds = now_ms.saturating_sub(letter.dead_lettered_ms) / 1_000;
        self.report.oldest_age_seconds = self.report.oldest_age_seconds.max(age_seconds);
    }

    fn count(&mut self, done: Done, now_ms: u64) {
        let Done { letter, after } = done;
        let report = &mut self.report;
        let mut is_of_use = true;
        report.answered += u64::from(matches!(
            after,
            After::Delivered | After::Quarantined | After::HandedBack { .. }
        ));
        match after {
            After::Delivered => report.replayed += 1,
            After::Quarantined | After::Quarantine(_) => report.quarantined += 1,
            After::HandedBack { has_progress } => {
                report.handed_back += 1;
                report.failed += 1;
                is_of_use = has_progress;
                self.left(&letter, now_ms);
            }
            After::Failed(_) => {
                report.failed += 1;
                is_of_use = false;
                self.left(&letter, now_ms);
            }
            After::Untried => {
                is_of_use = false;
                self.left(&letter, now_ms);
            }
            After::Unavailable(detail) => {
                is_of_use = false;
                self.left(&letter, now_ms);
                self.failure = Some(ReplayError::ProcessorUnavailable(detail));
            }
        }
        self.has_progress |= is_of_use;
        self.failures_in_a_row = if is_of_use { 0 } else { self.failures_in_a_row + 1 };
    }
}

impl<Q, F, C, M> Replayer<Q, F, C, M>
where
    Q: ReceiveMessages + SendMessage,
    F: InvokeFunction + ReadConcurrency,
    C: Clock,
    M: EmitMetrics,
{
    /// A replayer that has seen nothing yet.
    pub fn new(config: Config, ports: Ports<Q, F, C, M>, rng: Rng) -> Self {
        Self { config, ports, rng: RefCell::new(rng) }
    }

    /// Handles one wake-up, given as the JSON text that Lambda hands over.
    pub async fn handle(&self, event: &str, deadline_epoch_ms: u64) -> Result<Report, ReplayError> {
        let wake = Wake::parse(event)?;
        let mut run = Run {
            report: Report::new(wake.hop, wake.dry_run),
            taken: 0,
            failures_in_a_row: 0,
            has_progress: false,
            failure: None,
        };
        let begun_ms = self.ports.clock.epoch_ms();
        let whole_ms = deadline_epoch_ms.saturating_sub(begun_ms);
        let work_until_ms = deadline_epoch_ms - CLOSING_MS.min(whole_ms / 4);
        if wake.dry_run {
            run.report.stopped = self.look(&mut run, wake, work_until_ms).await?;
        } else {
            let Config { processor_function, replay_parallelism, .. } = &self.config;
            let reserved =
                self.ports.functions.get_reserved_concurrency(processor_function).await?;
            run.report.stopped = match decide_parallelism(*replay_parallelism, reserved) {
                Some(parallelism) => {
                    self.work(&mut run, wake, parallelism, begun_ms, work_until_ms).await
                }
                None => Stop::ProcessorStopped,
            };
        }
        match self.ports.queue.count_messages().await {
            Ok(counts) => run.report.left = Some(counts.all()),
            Err(error) => run.failure = run.failure.or(Some(error.into())),
        }
        let Run { mut report, taken, has_progress, mut failure, .. } = run;
        let hops_max = self.config.replay_hops_max;
        let next = decide_next(report.stopped, has_progress, wake.hop, hops_max)
            .then(|| wake.next(taken))
            .filter(|_| !wake.dry_run && failure.is_none());
        if let Some(next) = next {
            let Config { function_name, .. } = &self.config;
            let event = serde_json::to_string(&next).unwrap_or_default();
            let begun = self.ports.functions.invoke_later(function_name, &event).await;
            report.continues = begun.is_ok();
            failure = begun.err().map(ReplayError::NextHop);
        }
        info!(report = ?report, "dead letters replayed");
        self.ports.metrics.emit(&report.to_line(&self.config, self.ports.clock.epoch_ms()));
        match failure {
            Some(failure) => Err(failure),
            None => Ok(report),
        }
    }

    /// Replays until there is a reason to stop.
    async fn work(
        &self,
        run: &mut Run,
        wake: Wake,
        parallelism: usize,
        begun_ms: u64,
        work_until_ms: u64,
    ) -> Stop {
        let clock = &self.ports.clock;
        let timeout_ms = (self.config.processor_timeout + ANSWER_MARGIN).as_millis() as u64;
        // What is taken should be finished; a processor that may take as long as this function gets
        // half of its time.
        let take_until_ms = work_until_ms
            .saturating_sub(timeout_ms)
            .max(begun_ms + work_until_ms.saturating_sub(begun_ms) / 2);
        let failures_max = FAILURES_IN_A_ROW_MAX.max(parallelism);
        let mut over = pin!(
            clock.sleep(Duration::from_millis(work_until_ms.saturating_sub(clock.epoch_ms())))
        );
        let mut working = FuturesUnordered::new();
        let mut receiving = None;
        let mut stop = None;
        loop {
            let now_ms = clock.epoch_ms();
            let left = wake.max.map_or(u64::MAX, |max| max.saturating_sub(run.taken));
            stop = stop.or_else(|| {
                if run.failure.is_some() || run.failures_in_a_row >= failures_max {
                    Some(Stop::NoProgress)
                } else if left == 0 {
                    Some(Stop::MaxReached)
                } else if now_ms >= take_until_ms {
                    Some(Stop::OutOfTime)
                } else {
                    None
                }
            });
            let room = parallelism.saturating_sub(working.len()).min(RECEIVED_MAX);
            if stop.is_none() && receiving.is_none() && room > 0 {
                let wait = Duration::from_millis(take_until_ms - now_ms).min(RECEIVE_WAIT);
                let messages_max = room.min(usize::try_from(left).unwrap_or(usize::MAX));
                let receive = self.ports.queue.receive_messages(messages_max, VISIBILITY, wait);
                receiving = Some(Box::pin(receive));
            }
            if working.is_empty() && receiving.is_none() {
                return stop.unwrap_or(Stop::QueueEmpty);
            }
            let happened = {
                let received = pin!(async {
                    match &mut receiving {
                        Some(receiving) => receiving.await,
                        None => std::future::pending().await,
                    }
                });
                let finished = pin!(async {
                    match working.next().await {
                        Some(done) => done,
                        None => std::future::pending().await,
                    }
                });
                match select(select(received, finished), over.as_mut()).await {
                    Either::Left((Either::Left((messages, _)), _)) => Happened::Received(messages),
                    Either::Left((Either::Right((done, _)), _)) => Happened::Finished(done),
                    Either::Right(_) => Happened::TimeIsOver,
                }
            };
            match happened {
                Happened::Received(messages) => {
                    receiving = None;
                    // What is under way is seen through either way.
                    let messages = messages.unwrap_or_else(|error| {
                        run.failure = Some(error.into());
                        Vec::new()
                    });
                    if messages.is_empty() && run.failure.is_none() {
                        stop = stop.or(Some(Stop::QueueEmpty));
                    }
                    run.taken += messages.len() as u64;
                    for message in messages {
                        let letter = DeadLetter::received(&message);
                        run.met(&letter);
                        working.push(self.replay(message, letter, work_until_ms));
                    }
                }
                Happened::Finished(done) => run.count(done, clock.epoch_ms()),
                // Whatever is under way shows again when its receipt runs out.
                Happened::TimeIsOver => return Stop::OutOfTime,
            }
        }
    }

    /// Looks at dead letters and puts them back.
    async fn look(&self, run: &mut Run, wake: Wake, until_ms: u64) -> Result<Stop, ReplayError> {
        let max = wake.max.unwrap_or(DRY_RUN_MAX);
        let mut receipts = Vec::new();
        let stop = loop {
            let now_ms = self.ports.clock.epoch_ms();
            if run.taken >= max {
                break Stop::MaxReached;
            }
            if now_ms + VISIBILITY.as_millis() as u64 / 2 >= until_ms {
                break Stop::OutOfTime;
            }
            let messages_max =
                RECEIVED_MAX.min(usize::try_from(max - run.taken).unwrap_or(RECEIVED_MAX));
            let wait = Duration::from_secs(1);
            let messages =
                self.ports.queue.receive_messages(messages_max, VISIBILITY, wait).await?;
            if messages.is_empty() {
                break Stop::QueueEmpty;
            }
            run.taken += messages.len() as u64;
            for message in messages {
                let letter = DeadLetter::received(&message);
                run.met(&letter);
                run.left(&letter, now_ms);
                receipts.push(message.receipt_handle);
            }
        };
        for receipt in receipts {
            // What cannot be shown now shows by itself.
            let _ = self.ports.queue.change_visibility(&receipt, Duration::ZERO).await;
        }
        Ok(stop)
    }

    /// Replays one dead letter and does with it what was decided.
    async fn replay(&self, message: Message, letter: DeadLetter, until_ms: u64) -> Done {
        let step = decide_step(&letter, message.receive_count, self.config.replay_attempts_max);
        let after = match step {
            Step::Quarantine(quarantined) => After::Quarantine(quarantined),
            Step::Replay { event, replay } => {
                let answer = self.invoke_while_hiding(&message, &event, until_ms).await;
                if let Err(error) = &answer {
                    warn!(message = message.id, attempt = replay.attempt, %error, "a replay failed");
                }
                decide_after(&letter, replay, answer)
            }
        };
        let after = self.act(&message, after).await;
        Done { letter, after }
    }

    /// Invokes the processor, again and again while it is busy, and keeps the message hidden.
    async fn invoke_while_hiding(
        &self,
        message: &Message,
        event: &str,
        until_ms: u64,
    ) -> Result<Answer, InvokeError> {
        let mut invoked = pin!(self.invoke(event, until_ms));
        loop {
            let renewal = pin!(self.ports.clock.sleep(VISIBILITY / 2));
            match select(invoked.as_mut(), renewal).await {
                Either::Left((answer, _)) => return answer,
                Either::Right(_) => {
                    let queue = &self.ports.queue;
                    if let Err(error) =
                        queue.change_visibility(&message.receipt_handle, VISIBILITY).await
                    {
                        warn!(message = message.id, %error, "a dead letter may be replayed twice");
                    }
                }
            }
        }
    }

    async fn invoke(&self, event: &str, until_ms: u64) -> Result<Answer, InvokeError> {
        let mut busy_ms = BUSY_MS;
        loop {
            let Config { processor_function, processor_timeout, .. } = &self.config;
            let wait = *processor_timeout + ANSWER_MARGIN;
            let answer = self.ports.functions.invoke(processor_function, event, wait).await;
            let pause_ms = self.rng.borrow_mut().u64(busy_ms / 2..=busy_ms);
            match answer {
                Err(InvokeError::Throttled { .. })
                    if self.ports.clock.epoch_ms() + pause_ms < until_ms =>
                {
                    self.ports.clock.sleep(Duration::from_millis(pause_ms)).await;
                    busy_ms = (busy_ms * 2).min(BUSY_MS_MAX);
                }
                // Another function's "ok" is no reason to let go of anything.
                Ok(answer) => {
                    return Answer::parse(&answer).ok_or_else(|| InvokeError::Failed {
                        error_type: "UnexpectedAnswer".to_owned(),
                        message: "it does not say where the log events are".to_owned(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The next place has it before this one lets go. What could not be done is left to a later run.
    async fn act(&self, message: &Message, after: After) -> After {
        let Ports { queue, quarantine, .. } = &self.ports;
        let receipt = &message.receipt_handle;
        if let After::Quarantine(letter) = &after {
            warn!(
                message = message.id,
                reason = letter.reason.code(),
                detail = letter.detail,
                attempts = letter.attempts,
                "a dead letter goes to the quarantine"
            );
            // With our attributes a message may be larger than it was with Lambda's.
            for letter in letter.clone().messages() {
                if let Err(error) = quarantine.send_message(&letter.to_message(0)).await {
                    warn!(message = message.id, %error, "the quarantine refuses; left in the queue");
                    return After::Untried;
                }
            }
        }
        let done = match &after {
            After::Delivered
            | After::HandedBack { .. }
            | After::Quarantined
            | After::Quarantine(_) => queue.delete_message(receipt).await,
            After::Failed(pause) => queue.change_visibility(receipt, *pause).await,
            After::Untried | After::Unavailable(_) => {
                queue.change_visibility(receipt, Duration::ZERO).await
            }
        };
        if let Err(error) = done {
            warn!(message = message.id, %error, "a dead letter shows again too early");
        }
        after
    }
}
