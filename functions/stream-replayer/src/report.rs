//! What a run reports: its answer, one line of log, one line of metrics.

use std::fmt;

use serde::{Deserialize, Serialize};
use sluice::telemetry::{EmfLine, Unit};
use tracing::info;

use crate::config::Config;
use crate::decide::{Estimate, Rate, Stop};
use crate::event::{Moment, Trigger};
use crate::progress::Progress;

/// A record that the target does not take, and where to find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetAside {
    pub shard: String,
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
    pub stopped: Stop,
    pub failure: Option<String>,
    /// Whether it invoked itself again.
    pub continues: bool,
    /// The event that goes on from here, for a person; `None` when it is done or goes on itself.
    pub resume: Option<Trigger>,
}

impl Report {
    /// A report of nothing yet.
    pub fn new(config: &Config, trigger: &Trigger, progress: &Progress) -> Self {
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
            shards: progress.len(),
            shards_left: 0,
            shards_expired: progress.expired(),
            may_have_expired: progress.expired() > 0,
            reached: trigger.from,
            estimate: None,
            hop: trigger.hop,
            stopped: Stop::DryRun,
            failure: None,
            continues: false,
            resume: None,
        }
    }

    /// Notes how far the run came.
    pub fn stop(&mut self, stop: Stop, progress: &Progress) {
        self.stopped = stop;
        self.records_in_all = progress.records;
        self.set_aside_in_all = progress.set_aside;
        self.shards_left = progress.left();
        self.reached = progress.resume().reached;
    }

    /// Logs what is about to be replayed.
    pub fn log_begin(&self, trigger: &Trigger, rate: Rate) {
        let estimate = self.estimate.as_ref();
        info!(
            from = %trigger.from,
            until = %trigger.until,
            target = %trigger.target,
            shards = self.shards,
            estimated_records = estimate.map(|estimate| estimate.records),
            estimated_bytes = estimate.map(|estimate| estimate.bytes),
            estimated_seconds = estimate.map(|estimate| estimate.seconds),
            records_per_second = rate.records_per_second,
            bytes_per_second = rate.bytes_per_second,
            dry_run = trigger.dry_run,
            "replay starts"
        );
    }

    /// Logs the run: its numbers and codes as fields, and a sentence.
    pub fn log_end(&self) {
        info!(
            stream = self.stream,
            stopped = self.stopped.code(),
            records = self.records,
            bytes = self.bytes,
            records_in_all = self.records_in_all,
            filtered = self.filtered,
            set_aside = self.set_aside,
            unmarked = self.unmarked,
            target_retries = self.target_retries,
            shards_left = self.shards_left,
            reached = %self.reached,
            failure = self.failure,
            hop = self.hop,
            continues = self.continues,
            "{self}"
        );
    }

    /// The EMF line. `ReplaysStopped` is 1 when there is more to do and nobody does it.
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

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, stream, reached, stopped, set_aside, shards_left, .. } = self;
        let stopped = stopped.code();
        write!(out, "replayed {records} records of {stream} up to {reached}, stopped: {stopped}")?;
        if *set_aside > 0 {
            write!(out, "; set aside {set_aside}")?;
        }
        if *shards_left > 0 {
            write!(out, "; {shards_left} shards left")?;
        }
        let next = if self.continues { "; the next hop continues" } else { "" };
        out.write_str(next)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sluice_simulated::logged;

    use super::*;
    use crate::config::tests::config;

    fn report() -> (Report, Trigger) {
        let config = config();
        let event =
            r#"{"from":"2026-11-21T08:00:00Z","until":"2026-11-21T09:00:00Z","target":"stream:x"}"#;
        let trigger = Trigger::parse(event).expect("a trigger");
        let progress = Progress::new("logs", &trigger, Vec::new());
        (Report::new(&config, &trigger, &progress), trigger)
    }

    #[test]
    fn a_run_is_one_log_line_with_its_codes_as_fields() {
        let (report, _) = report();
        let failure = Some("shardId-0: gone".to_owned());
        let report =
            Report { records: 7, shards_left: 2, stopped: Stop::Failed, failure, ..report };
        let lines = logged(|| report.log_end());
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        for (name, value) in [
            ("stopped", json!("failed")),
            ("records", json!(7)),
            ("shards_left", json!(2)),
            ("reached", json!("2026-11-21T08:00:00Z")),
            ("failure", json!("shardId-0: gone")),
            ("continues", json!(false)),
        ] {
            assert_eq!(line[name], value, "{name}");
        }
        let message =
            "replayed 7 records of logs up to 2026-11-21T08:00:00Z, stopped: failed; 2 shards left";
        assert_eq!(line["message"], json!(message));
    }

    #[test]
    fn what_is_about_to_be_replayed_is_logged_as_numbers() {
        let (mut report, trigger) = report();
        report.estimate = Some(Estimate { records: 9, bytes: 900, seconds: 3 });
        let rate = Rate { records_per_second: 500, bytes_per_second: 1_000 };
        let lines = logged(|| report.log_begin(&trigger, rate));
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        let numbers = ["estimated_records", "estimated_seconds", "records_per_second"];
        assert_eq!(numbers.map(|name| line[name].as_u64()), [Some(9), Some(3), Some(500)]);
        report.estimate = None;
        let lines = logged(|| report.log_begin(&trigger, rate));
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!(line["estimated_records"], Value::Null);
    }

    #[test]
    fn log_and_answer_name_a_stop_alike() {
        for stop in [Stop::Done, Stop::OutOfTime, Stop::Failed, Stop::DryRun] {
            assert_eq!(json!(stop), json!(stop.code()));
        }
    }
}
