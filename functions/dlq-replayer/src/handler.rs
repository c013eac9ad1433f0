//! One run: receive → invoke the processor → delete, leave or quarantine → report → start the next hop.

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use sluice::delivery::DeadLetter;
use sluice::invocation::{Chain, Deadline, Within};
use sluice::ports::{
    Clock, EmitMetrics, InvokeFunction, Message, QueueError, ReadConcurrency, ReceiveMessages,
    SendMessage,
};

use crate::config::Config;
use crate::decide::{Stop, decide_next, decide_parallelism, decide_stop};
use crate::event::Trigger;
use crate::replay::{ANSWER_MARGIN, Replay, VISIBILITY};
use crate::report::Report;
use crate::run::{Done, ReplayError, Run};

/// How long a receiver waits for messages: SQS's longest, so that an empty answer means an empty
/// queue and not an unlucky sample of its hosts.
const RECEIVE_WAIT: Duration = Duration::from_secs(20);
/// Messages of one receipt. (SQS API, ReceiveMessage; Nov 2026)
const RECEIVED_MAX: usize = 10;
/// So many failures in a row end a run: the stream is down, and attempts are worth keeping.
const FAILURES_IN_A_ROW_MAX: usize = 10;
/// A dry run looks at so many dead letters unless it is told how many.
const DRY_RUN_MAX: u64 = 1_000;

/// The verbs that reach outside.
#[derive(Debug)]
pub struct Ports<Q, F, C, M> {
    pub queue: Q,
    pub quarantine: Q,
    pub functions: F,
    pub clock: C,
    /// Where EMF lines go.
    pub metrics: M,
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

    /// Handles one event, given as the JSON text that Lambda hands over.
    pub async fn handle(&self, event: &str, deadline_epoch_ms: u64) -> Result<Report, ReplayError> {
        let trigger = Trigger::parse(event)?;
        let mut run = Run::new(Report::new(trigger.hop, trigger.dry_run));
        let deadline = Deadline::new(self.ports.clock.epoch_ms(), deadline_epoch_ms);
        if trigger.dry_run {
            run.report.stopped = self.look(&mut run, trigger, deadline.work_until_ms()).await?;
        } else {
            let Config { processor_function, replay_parallelism, .. } = &self.config;
            let reserved =
                self.ports.functions.get_reserved_concurrency(processor_function).await?;
            run.report.stopped = match decide_parallelism(*replay_parallelism, reserved) {
                Some(parallelism) => self.work(&mut run, trigger, parallelism, deadline).await,
                None => Stop::ProcessorStopped,
            };
        }
        match self.ports.queue.count_messages().await {
            Ok(counts) => run.report.left = Some(counts.all()),
            Err(error) => run.failure = run.failure.or(Some(error.into())),
        }
        let Run { mut report, taken, has_progress, mut failure, .. } = run;
        let chain = Chain { hop: trigger.hop, hops_max: self.config.replay_hops_max };
        let next = decide_next(report.stopped, has_progress, chain);
        if let Some(hop) = next.filter(|_| !trigger.dry_run && failure.is_none()) {
            let Config { function_name, .. } = &self.config;
            let event = trigger.next(hop, taken).to_text();
            let begun = self.ports.functions.invoke_later(function_name, &event).await;
            report.continues = begun.is_ok();
            failure = begun.err().map(ReplayError::NextHop);
        }
        report.log();
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
        trigger: Trigger,
        parallelism: usize,
        deadline: Deadline,
    ) -> Stop {
        let clock = &self.ports.clock;
        let work_until_ms = deadline.work_until_ms();
        let take_until_ms = deadline.take_until_ms(self.config.processor_timeout + ANSWER_MARGIN);
        let failures_max = FAILURES_IN_A_ROW_MAX.max(parallelism);
        let Ports { queue, quarantine, functions, .. } = &self.ports;
        let replay = Replay {
            config: &self.config,
            queue,
            quarantine,
            functions,
            clock,
            rng: &self.rng,
            until_ms: work_until_ms,
        };
        let mut working = FuturesUnordered::new();
        let mut receiving = None;
        let mut stop = None;
        loop {
            let now_ms = clock.epoch_ms();
            let left = trigger.max.map_or(u64::MAX, |max| max.saturating_sub(run.taken));
            let has_failed = run.failure.is_some() || run.failures_in_a_row >= failures_max;
            stop = stop.or(decide_stop(has_failed, left, now_ms >= take_until_ms));
            let room = parallelism.saturating_sub(working.len()).min(RECEIVED_MAX);
            if stop.is_none() && receiving.is_none() && room > 0 {
                let wait = Duration::from_millis(take_until_ms - now_ms).min(RECEIVE_WAIT);
                let messages_max = room.min(usize::try_from(left).unwrap_or(usize::MAX));
                let receive = queue.receive_messages(messages_max, VISIBILITY, wait);
                receiving = Some(Box::pin(receive));
            }
            if working.is_empty() && receiving.is_none() {
                return stop.unwrap_or(Stop::QueueEmpty);
            }
            let ms_left = work_until_ms.saturating_sub(now_ms);
            match next(clock, ms_left, &mut receiving, &mut working).await {
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
                        working.push(replay.run(message, letter));
                    }
                }
                Happened::Finished(done) => run.count(done, clock.epoch_ms()),
                // Whatever is under way shows again when its receipt runs out.
                Happened::TimeIsOver => return Stop::OutOfTime,
            }
        }
    }

    /// Looks at dead letters and puts them back.
    async fn look(
        &self,
        run: &mut Run,
        trigger: Trigger,
        until_ms: u64,
    ) -> Result<Stop, ReplayError> {
        let max = trigger.max.unwrap_or(DRY_RUN_MAX);
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
}

/// The next of what is under way to be ready, while there is time.
async fn next<R, W>(
    clock: &impl Clock,
    ms_left: u64,
    receiving: &mut Option<R>,
    working: &mut FuturesUnordered<W>,
) -> Happened
where
    R: Future<Output = Result<Vec<Message>, QueueError>> + Unpin,
    W: Future<Output = Done>,
{
    let received = pin!(async {
        match receiving {
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
    match clock.within(ms_left, select(received, finished)).await {
        Some(Either::Left((messages, _))) => Happened::Received(messages),
        Some(Either::Right((done, _))) => Happened::Finished(done),
        None => Happened::TimeIsOver,
    }
}
