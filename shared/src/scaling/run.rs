//! One wake-up of a scaling function: observe → decide → act → report.

use tracing::info;

use super::act::act;
use super::observe::observe;
use super::wake::{UnknownWake, parse_wake};
use super::{Act, AlarmNames, Decision, Floor, Observation, Policy, ScalingConfig, Wake};
use crate::ports::{Clock, ControlError, ControlPlane, EmitMetrics};
use crate::telemetry::{EmfLine, Unit};

/// Why a wake-up failed. The next one decides anew, so nothing is lost by it but time.
#[derive(Debug, thiserror::Error)]
pub enum ScalingError {
    /// The event wakes nobody.
    #[error(transparent)]
    UnknownWake(#[from] UnknownWake),
    /// The alarm is none of this stream's.
    #[error(
        "the alarm {name} is none of the stream's ({known}): take the function out of its actions"
    )]
    ForeignAlarm {
        /// The alarm that woke the function.
        name: String,
        /// The alarms that should.
        known: String,
    },
    /// A plan or a person wants a number of shards that the policy forbids.
    #[error(
        "shardCount {wanted} is outside {min} to {max}: ask for less, or change ShardCountMin or \
         ShardCountMax"
    )]
    OutOfBounds {
        /// What was asked for.
        wanted: u32,
        /// `SHARD_COUNT_MIN`.
        min: u32,
        /// `SHARD_COUNT_MAX`.
        max: u32,
    },
    /// A call failed.
    #[error(transparent)]
    Call(#[from] ControlError),
}

/// Refuses what cannot be meant, before anything is looked at or done.
fn check(config: &ScalingConfig, wake: &Wake) -> Result<(), ScalingError> {
    let AlarmNames { bytes, records, refused, fast } = &config.alarms;
    match wake {
        Wake::Alarm(name) => {
            let known = [Some(bytes), Some(records), Some(refused), fast.as_ref()];
            if known.contains(&Some(name)) {
                return Ok(());
            }
            let known: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
            Err(ScalingError::ForeignAlarm { name: name.clone(), known: known.join(", ") })
        }
        Wake::Floor(Floor { shards: wanted, .. }) | Wake::Person(wanted) => {
            let Policy { shard_count_min: min, shard_count_max: max, .. } = config.policy;
            if (min..=max).contains(wanted) {
                return Ok(());
            }
            Err(ScalingError::OutOfBounds { wanted: *wanted, min, max })
        }
        Wake::Reconcile | Wake::OffPeak => Ok(()),
    }
}

/// Handles `event` with `decide`, which is [`super::decide_scale_up`] or
/// [`super::decide_scale_down`].
pub async fn run<W: ControlPlane, C: Clock, M: EmitMetrics>(
    config: &ScalingConfig,
    world: &W,
    clock: &C,
    metrics: &M,
    event: &str,
    decide: fn(&Policy, &Observation) -> Decision,
) -> Result<(), ScalingError> {
    let now_ms = clock.epoch_ms();
    let woken = parse_wake(event, now_ms)?;
    check(config, &woken.wake)?;
    let dry_run = config.dry_run || woken.dry_run;
    let seen = observe(world, config, woken, now_ms).await?;
    let decision = decide(&config.policy, &seen);
    info!(
        wake = ?seen.wake,
        stream = config.stream_name,
        status = ?seen.status,
        open_shards = seen.open_shards,
        goal = decision.goal,
        dry_run,
        "{decision}"
    );
    let acted = if dry_run { Ok(()) } else { act(world, &decision, now_ms).await };
    metrics.emit(&report(config, &seen, &decision));
    Ok(acted?)
}

fn report(config: &ScalingConfig, seen: &Observation, decision: &Decision) -> String {
    let mut line = EmfLine::new(seen.now_ms, &[("StreamName", &config.stream_name)]);
    line.metric("OpenShards", Unit::Count, u64::from(seen.open_shards))
        .metric("ConcurrencyLimit", Unit::Count, u64::from(concurrency_limit(seen, decision)))
        .metric("GoalShards", Unit::Count, u64::from(decision.goal))
        .metric("ReshardsLeft", Unit::Count, u64::from(decision.reshards_left));
    if let Some(utilization) = decision.utilization {
        line.metric("Utilization", Unit::Percent, (utilization * 100.0).round() as u64);
    }
    line.property("Decision", &decision.to_string());
    line.to_line()
}

/// Reserved concurrency of all functions once the decision's acts have taken effect.
fn concurrency_limit(seen: &Observation, decision: &Decision) -> u32 {
    let after = |name: &str| {
        decision.acts.iter().find_map(|act| match act {
            Act::PutConcurrency { function, reserved } if function == name => Some(*reserved),
            _ => None,
        })
    };
    seen.functions
        .iter()
        .map(|function| after(&function.name).or(function.reserved).unwrap_or(0))
        .sum()
}
