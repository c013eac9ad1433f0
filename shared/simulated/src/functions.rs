//! Lambda's asynchronous invocation: a queue before a function.
//!
//! An event that finds no free execution environment goes back and is tried again within a second,
//! then within twice as long, up to five minutes; in a long queue it waits longer and is read later
//! ([`Backlog`]). An event whose invocation fails is tried twice more, after one minute and after two.
//! What was never handled within six hours, or failed for good, goes to the function's dead-letter
//! queue.
//!
//! A synchronous invocation takes one of the same execution environments, or is refused when none is
//! free; [`crate::lambda`] is the API for that.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use sluice::limits::{
    ASYNC_EVENT_AGE_SECONDS_MAX, ASYNC_PAUSE_SECONDS_MAX, ASYNC_PAUSE_SECONDS_MIN,
};
use sluice::ports::Clock;
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_local;

use crate::backlog::Backlog;
use crate::cloud::Cloud;
use crate::cloudwatch::AsyncCounts;
use crate::queue::Queue;

const THROTTLED_MS: u64 = ASYNC_PAUSE_SECONDS_MIN as u64 * 1_000;
const THROTTLED_MS_MAX: u64 = ASYNC_PAUSE_SECONDS_MAX as u64 * 1_000;
const FAILED_MS: u64 = 60_000;
/// How often Lambda tries to put an event into a dead-letter queue before it deletes the event. AWS
/// says "consistently fails" and no number.
const DEAD_LETTER_TRIES: u32 = 10;
const DEAD_LETTER_PAUSE: Duration = Duration::from_secs(20);
/// `ErrorMessage` of a dead letter, in characters. (Lambda guide, dead-letter queues; Nov 2026)
const ERROR_MESSAGE_CHARS_MAX: usize = 1_024;

/// Why an invocation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `errorType`.
    pub error_type: String,
    /// `errorMessage`.
    pub message: String,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { error_type: "Error".to_owned(), message }
    }
}

/// Handles an event and answers with JSON; `Err` says why it failed.
pub type Handler = Rc<dyn Fn(String) -> LocalBoxFuture<'static, Result<String, Failure>>>;

/// How Lambda treats a function's asynchronous events.
#[derive(Clone)]
pub struct Asynchronous {
    /// `MaximumRetryAttempts`: tries after the first.
    pub retries_max: u32,
    /// `MaximumEventAgeInSeconds`.
    pub age_seconds_max: u64,
    /// `DeadLetterConfig`; without one, [`AsyncFunction::dropped`] shows what is gone.
    pub dead_letter_queue: Option<Rc<Queue>>,
    /// What happens when the function cannot keep up.
    pub backlog: Backlog,
}

impl Default for Asynchronous {
    fn default() -> Self {
        Self {
            retries_max: 2,
            age_seconds_max: u64::from(ASYNC_EVENT_AGE_SECONDS_MAX),
            dead_letter_queue: None,
            backlog: Backlog::default(),
        }
    }
}

#[derive(Debug, Clone)]
struct Pending {
    event: String,
    queued_ms: u64,
    due_ms: u64,
    throttles: u32,
    failures: u32,
}

#[derive(Default)]
struct State {
    /// By the time at which it is due, then by arrival.
    queue: BTreeMap<(u64, u64), Pending>,
    queued: u64,
    running: u32,
    /// On their way to the dead-letter queue.
    dying: u32,
    dropped: Vec<String>,
    deleted: Vec<String>,
    requests: u64,
    /// Since it was last taken.
    counts: AsyncCounts,
}

impl State {
    fn put(&mut self, pending: Pending) {
        self.queued += 1;
        self.queue.insert((pending.due_ms, self.queued), pending);
    }
}

/// A function and the queue before it. Runs inside a `LocalSet`.
pub struct AsyncFunction {
    cloud: Rc<Cloud>,
    name: String,
    handler: Handler,
    state: RefCell<State>,
    changed: Notify,
    asynchronous: Asynchronous,
}

impl AsyncFunction {
    /// Starts the function's queue. As many of it run at once as the account allows.
    pub fn start(
        cloud: Rc<Cloud>,
        name: &str,
        asynchronous: Asynchronous,
        handler: Handler,
    ) -> Rc<Self> {
        let function = Rc::new(Self {
            cloud,
            name: name.to_owned(),
            handler,
            state: RefCell::default(),
            changed: Notify::new(),
            asynchronous,
        });
        spawn_local(Rc::clone(&function).run());
        function
    }

    /// Invokes it asynchronously after `delay_ms`.
    pub fn invoke(&self, event: String, delay_ms: u64) {
        let queued_ms = self.cloud.clock().epoch_ms() + delay_ms;
        let mut state = self.state.borrow_mut();
        state.counts.received += 1;
        let due_ms = queued_ms;
        state.put(Pending { event, queued_ms, due_ms, throttles: 0, failures: 0 });
        drop(state);
        self.changed.notify_one();
    }

    /// Invokes it now, if an execution environment is free. It runs on when the receiver is gone.
    pub fn invoke_now(
        self: &Rc<Self>,
        event: String,
    ) -> Option<oneshot::Receiver<Result<String, Failure>>> {
        let concurrency = self.cloud.account.borrow().concurrency(&self.name);
        let mut state = self.state.borrow_mut();
        if state.running >= concurrency {
            return None;
        }
        state.running += 1;
        state.counts.invocations += 1;
        drop(state);
        let (sender, receiver) = oneshot::channel();
        let function = Rc::clone(self);
        spawn_local(async move {
            let result = (function.handler)(event).await;
            let mut state = function.state.borrow_mut();
            state.running -= 1;
            state.counts.errors += u64::from(result.is_err());
            drop(state);
            function.changed.notify_one();
            // Nobody may be there to hear it.
            let _ = sender.send(result);
        });
        Some(receiver)
    }

    /// Events in the queue, events that are being handled, synchronous ones included, and events
    /// on their way to the dead-letter queue.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let state = self.state.borrow();
        state.queue.len() + state.running as usize + state.dying as usize
    }

    /// How many run now.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.state.borrow().running
    }

    /// What Lambda deleted: there is no dead-letter queue (`AsyncEventsDropped`), or it did not take
    /// the event (`DeadLetterErrors`).
    #[must_use]
    pub fn dropped(&self) -> Vec<String> {
        self.state.borrow().dropped.clone()
    }

    /// What Lambda deleted without having tried to hand it over, and without a word.
    #[must_use]
    pub fn deleted(&self) -> Vec<String> {
        self.state.borrow().deleted.clone()
    }

    /// What became of the events since this was last asked.
    #[must_use]
    pub fn take_counts(&self) -> AsyncCounts {
        std::mem::take(&mut self.state.borrow_mut().counts)
    }

    async fn run(self: Rc<Self>) {
        loop {
            let next_ms = self.start_due();
            let clock = self.cloud.clock();
            let pause_ms = next_ms.map(|next_ms| next_ms.saturating_sub(clock.epoch_ms()));
            let pause = clock.sleep(Duration::from_millis(pause_ms.unwrap_or(u64::MAX / 4_000)));
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = pause => {}
            }
        }
    }

    /// Starts every event whose time has come; returns when the next one's comes.
    fn start_due(self: &Rc<Self>) -> Option<u64> {
        let now_ms = self.cloud.clock().epoch_ms();
        let concurrency = self.cloud.account.borrow().concurrency(&self.name);
        let is_stopped = self.cloud.account.borrow().reserved(&self.name) == Ok(Some(0));
        let mut state = self.state.borrow_mut();
        let backlog = self.asynchronous.backlog;
        let waiting = state.queue.len() as f64;
        let fill = backlog.fill(waiting);
        let slots = backlog.slots(concurrency, waiting, now_ms);
        let later = state.queue.split_off(&(now_ms + 1, 0));
        for mut pending in std::mem::replace(&mut state.queue, later).into_values() {
            if now_ms - pending.queued_ms > self.asynchronous.age_seconds_max * 1_000 {
                state.dying += 1;
                let bury = Rc::clone(self).bury(pending.event, "429", "EventAgeExceeded".into());
                spawn_local(bury);
            } else if is_stopped && pending.throttles == 0 && pending.failures == 0 {
                // "When you set reserved concurrency to zero for an asynchronously invoked function,
                // Lambda begins sending new events to the configured dead-letter queue or the
                // on-failure event destination, without any retries." (Lambda developer guide,
                // "Asynchronous invocation"; Nov 2026) Of what waits already it says nothing.
                state.dying += 1;
                let message = "ReservedConcurrencyIsZero".to_owned();
                spawn_local(Rc::clone(self).bury(pending.event, "429", message));
            } else if state.running >= slots {
                if self.cloud.chance(backlog.deleted) {
                    state.deleted.push(pending.event);
                    continue;
                }
                let pause_ms = (THROTTLED_MS << pending.throttles.min(20)) as f64 / fill;
                let pause_ms = (pause_ms as u64).min(THROTTLED_MS_MAX);
                pending.throttles += 1;
                pending.due_ms = now_ms + self.cloud.draw(pause_ms / 2..=pause_ms);
                state.counts.throttles += 1;
                state.put(pending);
            } else {
                state.running += 1;
                state.counts.invocations += 1;
                if pending.failures == 0 {
                    let age_ms = now_ms - pending.queued_ms;
                    state.counts.age_ms_max = state.counts.age_ms_max.max(age_ms);
                }
                spawn_local(Rc::clone(self).attempt(pending));
            }
        }
        state.queue.first_key_value().map(|(&(due_ms, _), _)| due_ms)
    }

    async fn attempt(self: Rc<Self>, mut pending: Pending) {
        let result = (self.handler)(pending.event.clone()).await;
        let now_ms = self.cloud.clock().epoch_ms();
        let mut state = self.state.borrow_mut();
        state.running -= 1;
        if let Err(failure) = result {
            state.counts.errors += 1;
            pending.failures += 1;
            if pending.failures <= self.asynchronous.retries_max {
                pending.due_ms = now_ms + FAILED_MS * u64::from(pending.failures);
                state.put(pending);
            } else {
                state.dying += 1;
                let message = failure.message.chars().take(ERROR_MESSAGE_CHARS_MAX).collect();
                spawn_local(Rc::clone(&self).bury(pending.event, "200", message));
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Puts the raw event into the dead-letter queue, or gives up and deletes it.
    async fn bury(self: Rc<Self>, event: String, code: &'static str, message: String) {
        self.state.borrow_mut().counts.dropped += 1;
        let mut is_taken = false;
        if let Some(queue) = &self.asynchronous.dead_letter_queue {
            let request = {
                let mut state = self.state.borrow_mut();
                state.requests += 1;
                format!("request-{}", state.requests)
            };
            let attributes: BTreeMap<String, String> =
                [("RequestID", &*request), ("ErrorCode", code), ("ErrorMessage", &*message)]
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
            for _ in 0..DEAD_LETTER_TRIES {
                let sent = queue.send(&event, attributes.clone());
                if let Ok(Ok(())) = tokio::time::timeout(DEAD_LETTER_PAUSE, sent).await {
                    is_taken = true;
                    break;
                }
                self.cloud.clock().sleep(DEAD_LETTER_PAUSE).await;
            }
        }
        let mut state = self.state.borrow_mut();
        state.dying -= 1;
        if !is_taken {
            state.dropped.push(event);
        }
    }
}
