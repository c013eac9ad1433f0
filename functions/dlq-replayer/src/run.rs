//! What a run has done so far, and when it takes no more.

use sluice::delivery::DeadLetter;
use sluice::ports::{ControlError, InvokeError, QueueError};

use crate::decide::After;
use crate::event::UnknownEvent;
use crate::report::Report;

/// Why a run failed. What it did not finish is in the queue; the next run sees to it.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The event is not a trigger.
    #[error(transparent)]
    UnknownEvent(#[from] UnknownEvent),
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

/// A dead letter and what became of it.
pub(crate) struct Done {
    pub letter: DeadLetter,
    pub after: After,
}

/// What a run has done so far.
pub(crate) struct Run {
    pub report: Report,
    pub taken: u64,
    pub failures_in_a_row: usize,
    pub has_progress: bool,
    pub failure: Option<ReplayError>,
}

impl Run {
    pub fn new(report: Report) -> Self {
        Self { report, taken: 0, failures_in_a_row: 0, has_progress: false, failure: None }
    }

    pub fn met(&mut self, letter: &DeadLetter) {
        *self.report.reasons.entry(letter.reason.to_string()).or_default() += 1;
    }

    pub fn left(&mut self, letter: &DeadLetter, now_ms: u64) {
        let age_seconds = now_ms.saturating_sub(letter.dead_lettered_ms) / 1_000;
        self.report.oldest_age_seconds = self.report.oldest_age_seconds.max(age_seconds);
    }

    pub fn count(&mut self, done: Done, now_ms: u64) {
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
