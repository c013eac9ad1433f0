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
        if config.reserve_concurrency {
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

/// Reserved concurrency of all functions once the decision's actions have taken effect.
fn concurrency_limit(seen: &Observation, decision: &Decision) -> u32 {
    let after = |name: &str| {
        decision.actions.iter().find_map(|action| match action {
            Action::PutConcurrency { function, reserved } if function == name => Some(*reserved),
            _ => None,
        })
    };
    seen.functions
        .iter()
        .map(|function| after(&function.name).or(function.reserved).unwrap_or(0))
        .sum()
}
