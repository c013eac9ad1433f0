//! What a run reports: its answer, one line of log, one line of metrics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sluice::telemetry::{EmfLine, Unit};

use crate::config::Config;
use crate::decide::Stop;

/// What one run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Dead letters of which the stream now has every event that was not filtered.
    pub replayed: u64,
    /// Dead letters for which the processor gave an answer, whatever became of them.
    pub answered: u64,
    /// Dead letters that failed; those that the processor handed back among them.
    pub failed: u64,
    /// Dead letters that the processor replaced by what it could not deliver of them.
    pub handed_back: u64,
    /// Dead letters that are in quarantine now, or parts of them.
    pub quarantined: u64,
    /// Dead letters that the queue holds, hidden and delayed ones included, as SQS counts them;
    /// `None` when it did not say.
    pub left: Option<u64>,
    /// Age of the oldest one that was met and is still not delivered, in seconds.
    pub oldest_age_seconds: u64,
    /// Dead letters that were met, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// How often the replayer had invoked itself before.
    pub hop: u32,
    /// Why it took no more.
    pub stopped: Stop,
    /// Whether it invoked itself again.
    pub continues: bool,
    /// Whether nothing was moved.
    pub dry_run: bool,
}

impl Report {
    /// A report of nothing yet.
    #[must_use]
    pub fn new(hop: u32, dry_run: bool) -> Self {
        Self {
            replayed: 0,
            answered: 0,
            failed: 0,
            handed_back: 0,
            quarantined: 0,
            left: None,
            oldest_age_seconds: 0,
            reasons: BTreeMap::new(),
            hop,
            stopped: Stop::QueueEmpty,
            continues: false,
            dry_run,
        }
    }

    /// The EMF line.
    #[must_use]
    pub fn to_line(&self, config: &Config, now_ms: u64) -> String {
        let mut line = EmfLine::new(now_ms, &[("FunctionName", &config.function_name)]);
        line.metric("DeadLettersReplayed", Unit::Count, self.replayed)
            .metric("DeadLettersAnswered", Unit::Count, self.answered)
            .metric("DeadLettersFailed", Unit::Count, self.failed)
            .metric("DeadLettersQuarantined", Unit::Count, self.quarantined)
            .metric("OldestDeadLetterAge", Unit::Seconds, self.oldest_age_seconds);
        if let Some(left) = self.left {
            line.metric("DeadLettersLeft", Unit::Count, left);
        }
        line.to_line()
    }
}
