//! Shard-level metrics, switched on while a hot shard is suspected and off again when that has been
//! over for a while. A switch makes the stream UPDATING for a moment, in which it cannot be
//! resharded, so it waits until there is nothing else to do.

use std::collections::BTreeSet;

use super::{Step, Stepped};
use crate::scaling::goal::Goal;
use crate::scaling::observation::MinuteLoad;
use crate::scaling::shard_metrics::{CALM_MS, PAUSE_MS, Switched};
use crate::scaling::{
    Blocked, Observation, Policy, Rate, ShardLevelMetrics, ShardMetricsAction, StreamStatus,
};

/// This many of the last [`MINUTES`] must look like a hot shard before anything is switched on: one
/// alone may be a burst within seconds, which an evenly used stream refuses, too.
const MINUTES_SUSPICIOUS: usize = 3;
/// See [`MINUTES_SUSPICIOUS`].
const MINUTES: usize = 5;

/// Refused records matter from this share of what an even shard is asked to take. Of a shard, not of
/// the stream, which would not notice one hot shard of a hundred.
const REFUSED_SHARE_MIN: f64 = 0.05;

/// A lasting suspicion is noted anew when its note is older than this.
const NOTED_AGE_MS_MAX: u64 = 5 * 60_000;

/// The calls about shard-level metrics, and what kept others from being made.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::scaling) struct Switches {
    pub actions: Vec<ShardMetricsAction>,
    pub blocked: Option<Blocked>,
}

impl Switches {
    fn note(switched: Switched) -> Self {
        Self { actions: vec![ShardMetricsAction::Note(switched)], blocked: None }
    }
}

/// What scale-up does about shard-level metrics beside `stepped`.
pub(in crate::scaling) fn switch(
    policy: &Policy,
    seen: &Observation,
    goal: &Goal,
    stepped: &Stepped,
) -> Switches {
    // A stream that is not ACTIVE takes no switch, and is looked at in a minute again.
    if seen.status != StreamStatus::Active {
        return Switches::default();
    }
    let switched = &seen.shard_metrics.switched;
    match seen.shard_metrics.mode {
        ShardLevelMetrics::Auto => {
            let is_settled = goal.shards == seen.open_shards && stepped.step == Step::Stay;
            let is_paused = seen.now_ms.saturating_sub(switched.changed_ms) < PAUSE_MS;
            if is_suspected(policy, seen, goal) {
                on(seen, is_settled && !is_paused)
            } else {
                off(seen, is_settled && !is_paused)
            }
        }
        // They are the template's now.
        ShardLevelMetrics::Always if !switched.metrics.is_empty() => {
            Switches::note(Switched { metrics: BTreeSet::new(), ..switched.clone() })
        }
        ShardLevelMetrics::Never if !seen.shard_metrics.ours().is_empty() => {
            Switches { blocked: Some(Blocked::ShardMetricsLeftOn), ..Switches::default() }
        }
        ShardLevelMetrics::Always | ShardLevelMetrics::Never => Switches::default(),
    }
}

/// A shard may be hot: switches on what would show it, or notes that the suspicion lasts.
fn on(seen: &Observation, is_free: bool) -> Switches {
    let metrics = &seen.shard_metrics;
    let missing = metrics.missing();
    let suspected = Switched { suspected_ms: seen.now_ms, ..metrics.switched.clone() };
    if missing.is_empty() {
        let age_ms = seen.now_ms.saturating_sub(metrics.switched.suspected_ms);
        let is_noted = metrics.switched.metrics.is_empty() || age_ms < NOTED_AGE_MS_MAX;
        return if is_noted { Switches::default() } else { Switches::note(suspected) };
    }
    if !is_free {
        return Switches::default();
    }
    let ours = metrics.ours().union(&missing).cloned().collect();
    let noted = Switched { changed_ms: seen.now_ms, metrics: ours, ..suspected };
    Switches {
        actions: vec![ShardMetricsAction::Note(noted), ShardMetricsAction::Enable(missing)],
        blocked: None,
    }
}

/// No shard is suspected: switches off what was switched on here, once that has lasted.
fn off(seen: &Observation, is_free: bool) -> Switches {
    let switched = &seen.shard_metrics.switched;
    if switched.metrics.is_empty() {
        return Switches::default();
    }
    let ours = seen.shard_metrics.ours();
    let none = Switched { metrics: BTreeSet::new(), ..switched.clone() };
    if ours.is_empty() {
        // Never switched on, switched off by others, or a person wants all of them.
        return Switches::note(none);
    }
    let is_calm = seen.now_ms.saturating_sub(switched.suspected_ms) >= CALM_MS;
    if !is_calm || !is_free || seen.is_alarmed() {
        return Switches::default();
    }
    // Noted still until they are off: metrics that nobody answers for would be billed for ever.
    let changed = Switched { changed_ms: seen.now_ms, ..switched.clone() };
    Switches {
        actions: vec![
            ShardMetricsAction::Note(changed),
            ShardMetricsAction::Disable(ours),
            ShardMetricsAction::Note(Switched { changed_ms: seen.now_ms, ..none }),
        ],
        blocked: None,
    }
}

/// Whether a shard may be hot: the stream refuses, does not want to grow, could be split, and had
/// room in most of the last minutes in which it refused.
fn is_suspected(policy: &Policy, seen: &Observation, goal: &Goal) -> bool {
    if !seen.is_refusing()
        || goal.shards != seen.open_shards
        || seen.open_shards >= policy.shard_count_max
    {
        return false;
    }
    let minutes = seen.load.iter().flat_map(|load| load.minutes.iter().rev()).take(MINUTES);
    minutes.filter(|minute| is_suspicious(policy, minute)).count() >= MINUTES_SUSPICIOUS
}

/// Whether the minute refused records while as many shards as were open then had room. With the
/// shards of now, the overload before a doubling would look like room.
fn is_suspicious(policy: &Policy, minute: &MinuteLoad) -> bool {
    let Some(open_shards) = minute.open_shards else { return false };
    let Rate { records, .. } = minute.accepted;
    let capacity = policy.shard_capacity().times(f64::from(open_shards));
    let refused = minute.refused_records;
    refused > (records + refused) / f64::from(open_shards) * REFUSED_SHARE_MIN
        && minute.accepted.utilization_of(capacity) < policy.target_utilization
}
