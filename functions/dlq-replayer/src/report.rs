//! What a run reports: its answer, one line of log, one line of metrics.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sluice::telemetry::{EmfLine, Unit};
use tracing::info;

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

    /// Logs the run: its numbers and codes as fields, and a sentence.
    pub fn log(&self) {
        let reasons = self.reasons.iter().map(|(code, count)| format!("{code}={count}"));
        info!(
            stopped = self.stopped.code(),
            replayed = self.replayed,
            failed = self.failed,
            handed_back = self.handed_back,
            quarantined = self.quarantined,
            left = self.left,
            oldest_age_seconds = self.oldest_age_seconds,
            reasons = reasons.collect::<Vec<_>>().join(" "),
            hop = self.hop,
            continues = self.continues,
            dry_run = self.dry_run,
            "{self}"
        );
    }

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

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replayed, failed, quarantined, .. } = self;
        if self.dry_run {
            let seen: u64 = self.reasons.values().sum();
            write!(out, "dry run: {seen} dead letters seen, none moved")?;
        } else {
            write!(
                out,
                "replayed {replayed} dead letters, {failed} failed, {quarantined} quarantined"
            )?;
        }
        write!(out, "; stopped: {}", self.stopped.code())?;
        if let Some(left) = self.left {
            write!(out, "; {left} left")?;
        }
        out.write_str(if self.continues { "; the next hop continues" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_simulated::logged;

    use super::*;

    #[test]
    fn a_run_is_one_log_line_with_its_codes_as_fields() {
        let reasons = BTreeMap::from([("deadline".to_owned(), 2), ("not-gzip".to_owned(), 1)]);
        let (stopped, left) = (Stop::OutOfTime, Some(40));
        let report =
            Report { replayed: 2, quarantined: 1, reasons, stopped, left, ..Report::new(3, false) };
        let lines = logged(|| report.log());
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        for (name, value) in [
            ("stopped", json!("out-of-time")),
            ("replayed", json!(2)),
            ("left", json!(40)),
            ("hop", json!(3)),
            ("reasons", json!("deadline=2 not-gzip=1")),
            ("dry_run", json!(false)),
        ] {
            assert_eq!(line[name], value, "{name}");
        }
        let message =
            "replayed 2 dead letters, 0 failed, 1 quarantined; stopped: out-of-time; 40 left";
        assert_eq!(line["message"], json!(message));
    }

    #[test]
    fn log_and_answer_name_a_stop_alike() {
        for stop in [
            Stop::QueueEmpty,
            Stop::MaxReached,
            Stop::OutOfTime,
            Stop::NoProgress,
            Stop::ProcessorStopped,
        ] {
            assert_eq!(json!(stop), json!(stop.code()));
        }
    }
}
