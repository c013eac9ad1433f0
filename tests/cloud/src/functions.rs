//! Lambda's asynchronous invocation: a queue before a function.
//!
//! An event that finds no free execution environment goes back and is tried again within a second,
//! then within twice as long, up to five minutes. An event whose invocation fails is tried twice
//! more, after one minute and after two. What was never handled within six hours, or failed for
//! good, goes to the function's dead-letter queue.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use sluice::ports::Clock;
use tokio::sync::Notify;
use tokio::task::spawn_local;

use crate::cloud::Cloud;
use crate::fluid::QUEUE_SECONDS_MAX;

const THROTTLED_MS: u64 = 1_000;
const THROTTLED_MS_MAX: u64 = 300_000;
const FAILED_MS: u64 = 60_000;
const FAILURES_MAX: u32 = 3;

/// Handles an event; `Err` says why it failed.
pub type Handler = Rc<dyn Fn(String) -> LocalBoxFuture<'static, Result<(), String>>>;

#[derive(Debug, Clone)]
struct Pending {
    event: String,
    queued_ms: u64,
    due_ms: u64,
    throttles: u32,
    failures: u32,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AsyncCounts {
    /// `AsyncEventsReceived`.
    pub received: u64,
    /// `Invocations`.
    pub invocations: u64,
    /// Tries that found no free environment.
    pub throttles: u64,
    /// The longest that an event waited for its first invocation.
    pub age_ms_max: u64,
}

#[derive(Default)]
struct State {
    queue: Vec<Pending>,
    running: u32,
    dead: Vec<String>,
    /// Since it was last taken.
    counts: AsyncCounts,
}

/// A function and the queue before it. Runs inside a `LocalSet`.
pub struct AsyncFunction {
    cloud: Rc<Cloud>,
    name: String,
    handler: Handler,
    state: RefCell<State>,
    changed: Notify,
    is_retried: bool,
}

impl AsyncFunction {
    /// Starts the function's queue. As many of it run at once as the account allows. Without
    /// `is_retried`, an event that fails is gone.
    pub fn start(cloud: Rc<Cloud>, name: &str, is_retried: bool, handler: Handler) -> Rc<Self> {
        let function = Rc::new(Self {
            cloud,
            name: name.to_owned(),
            handler,
            state: RefCell::default(),
            changed: Notify::new(),
            is_retried,
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
        state.queue.push(Pending { event, queued_ms, due_ms, throttles: 0, failures: 0 });
        drop(state);
        self.changed.notify_one();
    }

    /// Events in the queue, and events that are being handled.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let state = self.state.borrow();
        state.queue.len() + state.running as usize
    }

    /// How many run now.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.state.borrow().running
    }

    /// What went to its dead-letter queue.
    #[must_use]
    pub fn dead(&self) -> Vec<String> {
        self.state.borrow().dead.clone()
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
        let mut state = self.state.borrow_mut();
        // In order of time, then of arrival: sorting is stable.
        state.queue.sort_by_key(|pending| pending.due_ms);
        let due = state.queue.partition_point(|pending| pending.due_ms <= now_ms);
        let due: Vec<Pending> = state.queue.drain(..due).collect();
        for mut pending in due {
            if now_ms - pending.queued_ms > QUEUE_SECONDS_MAX * 1_000 {
                state.dead.push(pending.event);
            } else if state.running >= concurrency {
                let pause_ms = (THROTTLED_MS << pending.throttles.min(20)).min(THROTTLED_MS_MAX);
                pending.throttles += 1;
                pending.due_ms = now_ms + self.cloud.draw(pause_ms / 2..=pause_ms);
                state.counts.throttles += 1;
                state.queue.push(pending);
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
        state.queue.iter().map(|pending| pending.due_ms).min()
    }

    async fn attempt(self: Rc<Self>, mut pending: Pending) {
        let result = (self.handler)(pending.event.clone()).await;
        let now_ms = self.cloud.clock().epoch_ms();
        let mut state = self.state.borrow_mut();
        state.running -= 1;
        if result.is_err() {
            pending.failures += 1;
            if pending.failures < FAILURES_MAX && self.is_retried {
                pending.due_ms = now_ms + FAILED_MS * u64::from(pending.failures);
                state.queue.push(pending);
            } else {
                state.dead.push(pending.event);
            }
        }
        drop(state);
        self.changed.notify_one();
    }
}
