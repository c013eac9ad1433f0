//! One wake-up of a scaling function: observe → decide → act → report.

use tracing::{info, warn};

use crate::act::act;
use crate::event::{Event, UnknownEvent, parse_event};
use crate::observe::observe;
use crate::{AlarmNames, ScalingConfig};
use sluice::ports::{Clock, ControlError, ControlPlane, EmitMetrics};
use sluice::scaling::{Action, Decision, Floor, Lease, Observation, Policy, Trigger};
use sluice::telemetry::{EmfLine, Unit};

/// Why a wake-up failed. The next one decides anew, so nothing is lost by it but time.
#[derive(Debug, thiserror::Error)]
pub enum ScalingError {
    /// The event wakes nobody.
    #[error(transparent)]
    UnknownEvent(#[from] UnknownEvent),
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
    /// Somebody ordered something while another scaler acts. Lambda tries the order again.
    #[error("another scaler is at work: the order is tried again, at the latest after {seconds} s")]
    LeaseHeld {
        /// Until the other's lease is over.
        seconds: u64,
    },
    /// A call failed.
    #[error(transparent)]
    Call(#[from] ControlError),
}

/// Refuses what cannot be meant, before anything is looked at or done.
fn check(config: &ScalingConfig, trigger: &Trigger) -> Result<(), ScalingError> {
    let AlarmNames { bytes, records, refused, fast } = &config.alarms;
    match trigger {
        Trigger::Alarm(name) => {
            let known = [Some(bytes), Some(records), Some(refused), fast.as_ref()];
            if known.contains(&Some(name)) {
                return Ok(());
            }
            let known: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
            Err(ScalingError::ForeignAlarm { name: name.clone(), known: known.join(", ") })
        }
        Trigger::Floor(Floor { shards: wanted, .. }) | Trigger::Manual(wanted) => {
            let Policy { shard_count_min: min, shard_count_max: max, .. } = config.policy;
            if (min..=max).contains(wanted) {
                return Ok(());
            }
            Err(ScalingError::OutOfBounds { wanted: *wanted, min, max })
        }
        Trigger::Reconcile | Trigger::OffPeak => Ok(()),
    }
}

/// Handles `event` with `decide`, which is [`sluice::scaling::decide_scale_up`] or
/// [`sluice::scaling::decide_scale_down`].
pub async fn run<W: ControlPlane, C: Clock, M: EmitMetrics>(
    config: &ScalingConfig,
    world: &W,
    clock: &C,
    metrics: &M,
    event: &str,
    decide: fn(&Policy, &Observation) -> Decision,
) -> Result<(), ScalingError> {
    let now_ms = clock.epoch_ms();
    let event = parse_event(event, now_ms)?;
    check(config, &event.trigger)?;
    let dry_run = config.dry_run || event.dry_run;
    let seen = observe(world, config, event.clone(), now_ms).await?;
    let decision = decide(&config.policy, &seen);
    if !config.reserve_concurrency && !dry_run && !decision.actions.is_empty() {
        return act_alone(config, world, clock, metrics, event, &seen, decide).await;
    }
    conclude(config, world, metrics, &seen, &decision, dry_run).await
}

/// Takes the lease, looks again, decides anew and acts. What was seen before the lease was taken may
/// be the past.
async fn act_alone<W: ControlPlane, C: Clock, M: EmitMetrics>(
    config: &ScalingConfig,
    world: &W,
    clock: &C,
    metrics: &M,
    event: Event,
    seen: &Observation,
    decide: fn(&Policy, &Observation) -> Decision,
) -> Result<(), ScalingError> {
    let now_ms = clock.epoch_ms();
    let held = seen.lease.clone().filter(|lease| lease.is_valid(now_ms));
    if let Some(other) = held {
        return yield_to(&other, &event.trigger, now_ms);
    }
    let mut rng = fastrand::Rng::new();
    let lease = Lease::draw(now_ms, config.timeout_seconds, &mut rng);
    world.add_tags(&lease.to_tags()).await?;
    clock.sleep(Lease::pause(&mut rng)).await;
    let now_ms = clock.epoch_ms();
    let trigger = event.trigger.clone();
    let seen = observe(world, config, event, now_ms).await?;
    match &seen.lease {
        Some(holder) if *holder == lease => {}
        Some(other) => return yield_to(other, &trigger, now_ms),
        None => return yield_to(&Lease { until_seconds: 0, ..lease }, &trigger, now_ms),
    }
    let decision = decide(&config.policy, &seen);
    let ended = conclude(config, world, metrics, &seen, &decision, false).await;
    // One that is over may be another's by now.
    if lease.is_valid(clock.epoch_ms())
        && let Err(error) = world.add_tags(&Lease::free()).await
    {
        warn!(%error, "the lease could not be given back; it ends by itself");
    }
    ended
}

/// Leaves the work to the holder. The next wake-up looks again, but for an order, which only Lambda
/// brings again.
fn yield_to(other: &Lease, trigger: &Trigger, now_ms: u64) -> Result<(), ScalingError> {
    let seconds = other.until_seconds.saturating_sub(now_ms / 1_000);
    if matches!(trigger, Trigger::Manual(_) | Trigger::Floor(_)) {
        return Err(ScalingError::LeaseHeld { seconds });
    }
    info!(?trigger, seconds, "another scaler is at work; the next wake-up looks again");
    Ok(())
}

/// Acts on a decision and reports it.
async fn conclude<W: ControlPlane, M: EmitMetrics>(
    config: &ScalingConfig,
    world: &W,
    metrics: &M,
    seen: &Observation,
    decision: &Decision,
    dry_run: bool,
) -> Result<(), ScalingError> {
    info!(
        trigger = ?seen.trigger,
        stream = config.stream_name,
        status = ?seen.status,
        open_shards = seen.open_shards,
        goal = decision.goal,
        dry_run,
        "{decision}"
    );
    let acted = if dry_run { Ok(()) } else { act(world, decision, seen.now_ms).await };
    metrics.emit(&report(config, seen, decision));
    Ok(acted?)
}

fn report(config: &ScalingConfig, seen: &Observation, decision: &Decision) -> String {
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
