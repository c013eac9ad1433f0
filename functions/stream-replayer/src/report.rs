//! What a run reports: its answer, one line of log, one line of metrics.

use serde::{Deserialize, Serialize};
use sluice::telemetry::{EmfLine, Unit};

use crate::config::Config;
use crate::decide::{Estimate, Stop};
use crate::wake::{Moment, Wake};

/// A record that the target does not take, and where to find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetAside {
    /// Its shard.
    pub shard: String,
    /// Its sequence number.
    pub sequence_number: String,
    /// What the target said.
    pub why: String,
}

/// What one run did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The stream whose past was read.
    pub stream: String,
    /// Records that the target has now, of this run.
    pub records: u64,
    /// Bytes of them, with their keys as they were.
    pub bytes: u64,
    /// Records that the target has now, of all hops.
    pub records_in_all: u64,
    /// Records that the filter left out.
    pub filtered: u64,
    /// Records that the target does not take, and that this run passed over.
    pub set_aside: u64,
    /// The same of all hops.
    pub set_aside_in_all: u64,
    /// The first of this run's; the log has all of them.
    pub set_aside_records: Vec<SetAside>,
    /// Records that have no room for the mark and went without.
    pub unmarked: u64,
    /// Times that the target failed and was asked again, or refused records for now.
    pub target_retries: u64,
    /// Shards that lived in the window, or may have.
    pub shards: usize,
    /// Those of them that are not done.
    pub shards_left: usize,
    /// Shards that were under way and are gone: retention was faster.
    pub shards_expired: usize,
    /// Whether records of the window may have gone by retention before they were read.
    pub may_have_expired: bool,
    /// The target has everything that arrived before.
    pub reached: Moment,
    /// What was thought when it began; `None` in later hops, and without metrics.
    pub estimate: Option<Estimate>,
    /// How often the replayer had invoked itself before.
    pub hop: u32,
    /// Why it ended.
    pub stopped: Stop,
    /// What failed.
    pub failure: Option<String>,
    /// Whether it invoked itself again.
    pub continues: bool,
    /// The event that goes on from here, for a person; `None` when it is done or goes on itself.
    pub resume: Option<Wake>,
}

impl Report {
    /// A report of nothing yet.
    #[must_use]
    pub fn new(config: &Config, wake: &Wake) -> Self {
        Self {
            stream: config.stream_name.clone(),
            records: 0,
            bytes: 0,
            records_in_all: 0,
            filtered: 0,
            set_aside: 0,
            set_aside_in_all: 0,
            set_aside_records: Vec::new(),
            unmarked: 0,
            target_retries: 0,
            shards: 0,
            shards_left: 0,
            shards_expired: 0,
            may_have_expired: false,
            reached: wake.from,
            estimate: None,
            hop: wake.hop,
            stopped: Stop::DryRun,
            failure: None,
            continues: false,
            resume: None,
        }
    }

    /// The EMF line. `ReplaysStopped` is 1 when there is more to do and nobody does it.
    #[must_use]
    pub fn to_line(&self, config: &Config, until: Moment, now_ms: u64) -> String {
        let left_seconds = until.0.saturating_sub(self.reached.0) / 1_000;
        let mut line = EmfLine::new(now_ms, &[("FunctionName", &config.function_name)]);
        line.metric("RecordsReplayed", Unit::Count, self.records)
            .metric("ReplaySetAside", Unit::Count, self.set_aside)
            .metric("ReplayTargetRetries", Unit::Count, self.target_retries)
            .metric("ReplayWindowLeft", Unit::Seconds, left_seconds)
            .metric("ReplaysStopped", Unit::Count, u64::from(self.resume.is_some()));
        line.to_line()
    }
}
