//! MergeShards: takes back what was split one by one for want of calls. It needs none.

use super::Step;
use crate::scaling::demand::{MINUTES_UP, demand};
use crate::scaling::goal::off_peak::lowest;
use crate::scaling::{Observation, Policy, evenness};

/// Merges neighbours that take no more as two than as one, once what comes in leaves the widest
/// shard calm.
pub fn idle_pair(policy: &Policy, seen: &Observation) -> Step {
    if seen.is_alarmed() || seen.open_shards <= lowest(policy, seen) {
        return Step::Stay;
    }
    let Some(load) = &seen.load else { return Step::Stay };
    let capacity = policy.shard_capacity().times(f64::from(evenness::even_shards(seen)));
    let utilization = demand(policy, load, MINUTES_UP).utilization_of(capacity);
    if utilization > policy.utilization_down_max {
        return Step::Stay;
    }
    match evenness::idle_pair(seen) {
        Some((one, other)) => Step::Merge {
            shard_id: one.shard.id.clone(),
            adjacent_shard_id: other.shard.id.clone(),
        },
        None => Step::Stay,
    }
}
