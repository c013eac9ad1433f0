//! What an invocation tells: one log line with the decision, and one line of metrics.

use tracing::info;

use crate::ScalingConfig;
use sluice::ports::StreamStatus;
use sluice::scaling::{Action, Blocked, Decision, Floor, Observation, Trigger};
use sluice::telemetry::{EmfLine, Unit};

/// A decision with what it was made from. The log line has the decision as text for people, and as
/// codes for queries.
pub struct Report<'a> {
    pub config: &'a ScalingConfig,
    pub seen: &'a Observation,
    pub decision: &'a Decision,
    pub dry_run: bool,
}

impl Report<'_> {
    /// Writes the log line. A field without a value is left out.
    pub fn log(&self) {
        let Self { config, seen, decision, dry_run } = self;
        let (alarm, shard_count) = match &seen.trigger {
            Trigger::Alarm(name) => (Some(name.as_str()), None),
            Trigger::Manual(shards) | Trigger::Floor(Floor { shards, .. }) => (None, Some(*shards)),
            Trigger::Reconcile | Trigger::OffPeak => (None, None),
        };
        info!(
            trigger = seen.trigger.code(),
            alarm,
            shard_count,
            stream = config.stream_name,
            status = status_code(seen.status),
            open_shards = seen.open_shards,
            goal = decision.goal,
            shards_after = decision.shards_after(),
            actions = codes(&decision.actions, Action::code),
            blocked = codes(&decision.blocked, Blocked::code),
            reshards_left = decision.reshards_left,
            dry_run,
            "{decision}"
        );
    }

    /// The line of metrics.
    pub fn metrics(&self) -> String {
        let Self { config, seen, decision, .. } = self;
        let mut line = EmfLine::new(seen.now_ms, &[("StreamName", &config.stream_name)]);
        line.metric("OpenShards", Unit::Count, u64::from(seen.open_shards))
            .metric("GoalShards", Unit::Count, u64::from(decision.goal))
            .metric("ReshardsLeft", Unit::Count, u64::from(decision.reshards_left));
        if config.reserve_concurrency || !seen.functions.is_empty() {
            let limit = u64::from(concurrency_limit(seen, decision));
            line.metric("ConcurrencyLimit", Unit::Count, limit);
        }
        if let Some(utilization) = decision.utilization {
            line.metric("Utilization", Unit::Percent, (utilization * 100.0).round() as u64);
        }
        line.property("Decision", &decision.to_string());
        line.to_line()
    }
}

/// The codes of `values`, each once, with commas between them; `None` without any.
fn codes<T>(values: &[T], code: fn(&T) -> &'static str) -> Option<String> {
    let mut codes: Vec<&str> = Vec::new();
    for code in values.iter().map(code) {
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    (!codes.is_empty()).then(|| codes.join(","))
}

/// As Kinesis writes it.
fn status_code(status: StreamStatus) -> &'static str {
    match status {
        StreamStatus::Active => "ACTIVE",
        StreamStatus::Updating => "UPDATING",
        StreamStatus::Creating => "CREATING",
        StreamStatus::Deleting => "DELETING",
    }
}

/// Processors that may run at once when the decision's actions have taken effect.
fn concurrency_limit(seen: &Observation, decision: &Decision) -> u32 {
    let after = |name: &str| {
        decision.actions.iter().find_map(|action| match action {
            Action::PutConcurrency { function, reserved } if function == name => Some(*reserved),
            Action::PutMappingConcurrency { function, maximum, .. } if function == name => {
                Some(*maximum)
            }
            _ => None,
        })
    };
    seen.functions
        .iter()
        .map(|function| after(&function.name).or(function.limit()).unwrap_or(0))
        .sum()
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::config::tests::config;
    use sluice::scaling::shard_metrics::Switched;
    use sluice::scaling::{Ledger, ShardMetricsSeen, decide_scale_up};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("alive").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The line that scale-up prints for `trigger` at two open shards.
    fn logged(trigger: Trigger, dry_run: bool) -> Value {
        let config = config();
        let seen = Observation {
            now_ms: 1_795_219_200_000,
            trigger,
            status: StreamStatus::Active,
            open_shards: 2,
            goal: None,
            is_goal_ordered: false,
            floor: None,
            reshards: Ledger::default(),
            functions: Vec::new(),
            lease: None,
            reservable_concurrency: None,
            alarms: Vec::new(),
            load: None,
            shards: None,
            off_peak: false,
            shard_metrics: ShardMetricsSeen {
                mode: config.shard_level_metrics,
                on: [].into(),
                switched: Switched::default(),
            },
        };
        let decision = decide_scale_up(&config.policy, &seen);
        let report = Report { config: &config, seen: &seen, decision: &decision, dry_run };
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || report.log());
        let line = lines.0.lock().expect("alive").clone();
        let line: Value = serde_json::from_slice(&line).expect("one line of JSON");
        assert_eq!(line["message"], decision.to_string());
        line
    }

    #[test]
    fn a_decision_can_be_filtered_by_codes() {
        let line = logged(Trigger::Manual(400), true);
        for (name, value) in [
            ("trigger", json!("manual")),
            ("shard_count", json!(400)),
            ("status", json!("ACTIVE")),
            ("open_shards", json!(2)),
            ("goal", json!(64)),
            ("shards_after", json!(4)),
            ("actions", json!("save-state,update-shard-count")),
            ("blocked", json!("at-maximum")),
            ("reshards_left", json!(9)),
            ("dry_run", json!(true)),
        ] {
            assert_eq!(line[name], value, "{name} in {line}");
        }
    }

    #[test]
    fn a_field_without_a_value_is_left_out() {
        let line = logged(Trigger::Reconcile, false);
        assert_eq!(line["trigger"], "reconcile");
        for name in ["alarm", "shard_count", "actions", "blocked"] {
            assert_eq!(line.get(name), None, "{line}");
        }
        assert_eq!(logged(Trigger::Alarm("bytes".to_owned()), false)["alarm"], "bytes");
    }
}
