//! What follows the shards: the functions' reserved concurrency, or the maximum concurrency of the
//! queues before them, and the alarms' thresholds.

use super::evenness::shards_to_fill;
use super::observation::AlarmLimit;
use super::{Action, AlarmSeen, AlarmState, Blocked, FunctionSeen, Observation, Policy};
use crate::limits::{SQS_MAPPING_CONCURRENCY_MAX, SQS_MAPPING_CONCURRENCY_MIN};

/// Brings concurrency and thresholds in line with `shards`, or with as many of them as can be
/// filled.
pub(super) fn align(
    policy: &Policy,
    seen: &Observation,
    shards: u32,
) -> (Vec<Action>, Vec<Blocked>) {
    let shards = shards.min(shards_to_fill(seen));
    let (mut actions, mut blocked) = (Vec::new(), Vec::new());
    let mut reservable = seen.reservable_concurrency;
    for function in &seen.functions {
        if !function.exists {
            blocked.push(Blocked::FunctionMissing(function.name.clone()));
            continue;
        }
        let wanted = policy.concurrency(shards, function.share);
        if let Some(mapping) = &function.mapping {
            // A mapping reserves nothing, so the account's limit does not matter here.
            let maximum = wanted.clamp(SQS_MAPPING_CONCURRENCY_MIN, SQS_MAPPING_CONCURRENCY_MAX);
            let (function, id) = (function.name.clone(), mapping.id.clone());
            if maximum < wanted {
                blocked.push(Blocked::MappingAtMaximum { function: function.clone(), wanted });
            }
            if mapping.maximum != Some(maximum) {
                actions.push(Action::PutMappingConcurrency { function, mapping: id, maximum });
            }
            continue;
        }
        let possible = reserve(function, wanted, &mut reservable);
        if possible < wanted {
            blocked.push(Blocked::ConcurrencyAtEdge { function: function.name.clone(), wanted });
        }
        // A reservation of nothing would stop the function.
        if function.reserved != Some(possible) && possible > 0 {
            let function = function.name.clone();
            actions.push(Action::PutConcurrency { function, reserved: possible });
        }
    }
    for alarm in &seen.alarms {
        let Some(threshold) = wanted_threshold(policy, alarm, shards) else { continue };
        if !is_close(threshold, alarm.threshold) {
            actions.push(Action::PutThreshold { alarm: alarm.name.clone(), threshold });
        }
    }
    (actions, blocked)
}

/// As much of `wanted` as the account can reserve for the function, and what is left for the next.
fn reserve(function: &FunctionSeen, wanted: u32, reservable: &mut Option<u32>) -> u32 {
    let reserved = function.reserved.unwrap_or(0);
    let possible = wanted.min(reserved.saturating_add(reservable.unwrap_or(u32::MAX)));
    if let Some(reservable) = reservable {
        *reservable = reservable.saturating_add(reserved).saturating_sub(possible);
    }
    possible
}

/// Whether an alarm that watches the present number of shards is in ALARM: one whose threshold
/// belongs to another number is about the past.
pub(super) fn is_alarmed_at_present(policy: &Policy, seen: &Observation) -> bool {
    seen.alarms.iter().any(|alarm| {
        let is_present = wanted_threshold(policy, alarm, shards_to_fill(seen))
            .is_none_or(|threshold| is_close(threshold, alarm.threshold));
        alarm.state == AlarmState::Alarm && is_present
    })
}

/// The threshold that `alarm` should have; `None` when it does not follow the shards.
fn wanted_threshold(policy: &Policy, alarm: &AlarmSeen, shards: u32) -> Option<f64> {
    let shard = policy.shard_capacity();
    let per_shard_and_second = match alarm.limit {
        AlarmLimit::Bytes => shard.bytes,
        AlarmLimit::Records => shard.records,
        AlarmLimit::Refused => return None,
    };
    Some(policy.threshold(per_shard_and_second, shards, alarm.period_seconds))
}

fn is_close(one: f64, other: f64) -> bool {
    (one - other).abs() <= one.abs().max(other.abs()) * 1e-6
}
