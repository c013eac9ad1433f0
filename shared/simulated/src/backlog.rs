//! How Lambda treats an asynchronous queue that its function cannot keep up with.
//!
//! AWS documents three things and a number for none of them: "If the queue contains many entries,
//! Lambda increases the retry interval and reduces the rate at which it reads events from the
//! queue", and "If the function can't keep up with incoming events, events might also be deleted
//! from the queue without being sent to the function". (Lambda developer guide, "How Lambda handles
//! errors and retries with asynchronous invocation"; Nov 2026) So the numbers are parameters.

/// How often the number of slots changes. Longer than an idle processor's budget grows
/// ([`sluice::records::BURST_SECONDS`]): a slot that is idle for less is no slower for it, since the
/// processor catches up.
const INTERVAL_MS: u64 = 10_000;
/// Spreads the intervals evenly.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;

/// The parameters. The default is a guess; docs/experiments/lambda-queue.md shows what follows from
/// others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backlog {
    /// Events up to which the queue is read at full speed. As it grows beyond, Lambda uses a smaller
    /// share of the function's concurrency and waits longer between tries, in proportion.
    pub events: f64,
    /// The share of the concurrency that Lambda uses, however long the queue.
    pub fill_min: f64,
    /// The chance that an event which finds no concurrency is deleted: it reaches neither the
    /// function nor its dead-letter queue, and no metric of Lambda's counts it.
    pub deleted: f64,
}

impl Backlog {
    /// A queue that is read at full speed, however long it is, and keeps everything.
    pub const IDEAL: Self = Self { events: f64::INFINITY, fill_min: 1.0, deleted: 0.0 };

    /// The share of the concurrency that is used while so many events wait. The pauses between
    /// tries are longer by the inverse.
    #[must_use]
    pub fn fill(&self, waiting: f64) -> f64 {
        if waiting <= self.events { 1.0 } else { (self.events / waiting).max(self.fill_min) }
    }

    /// How many of `concurrency` the queue is given now, on average over time that share of them.
    #[must_use]
    pub fn slots(&self, concurrency: u32, waiting: f64, epoch_ms: u64) -> u32 {
        let share = f64::from(concurrency) * self.fill(waiting);
        // Parts of a slot are whole ones for a part of the intervals, evenly spread.
        let interval = (epoch_ms / INTERVAL_MS) as f64 * GOLDEN_RATIO;
        share as u32 + u32::from(interval.fract() < share.fract())
    }
}

impl Default for Backlog {
    fn default() -> Self {
        Self { events: 1_000.0, fill_min: 0.75, deleted: 0.0 }
    }
}
