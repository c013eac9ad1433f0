//! The load: as many shards as carry the demand at the target utilisation.

use crate::scaling::evenness::even_shards;
use crate::scaling::followers::is_alarmed_at_present;
use crate::scaling::{Observation, Policy, Rate};

/// Going up, the stream grows by at least half, and doubles below [`SHARDS_DOUBLED_BELOW`], where
/// that costs cents: a day has few calls, and a ramp that is followed shard by shard would spend
/// them all before it is over.
const STEP_UP_MIN: f64 = 1.5;
/// See [`STEP_UP_MIN`].
const SHARDS_DOUBLED_BELOW: u32 = 8;

/// The shards that the demand needs. `None` when nobody knows and no alarm says that more is needed.
pub fn shards_wanted(policy: &Policy, seen: &Observation, demand: Option<Rate>) -> Option<u32> {
    if let Some(demand) = demand {
        return Some(demand.shards_needed(policy.shard_capacity(), policy.target_utilization));
    }
    // Alarmed, and the load cannot be read: one step is better than none.
    is_alarmed_at_present(policy, seen).then(|| seen.open_shards.saturating_mul(2))
}

/// The goal for `wanted` shards: more than is open in whole steps, less as it is.
pub fn propose(seen: &Observation, wanted: u32) -> u32 {
    let open = seen.open_shards;
    if wanted > open {
        let factor = if open < SHARDS_DOUBLED_BELOW { 2.0 } else { STEP_UP_MIN };
        return wanted.max((f64::from(open) * factor).ceil() as u32);
    }
    // The open shards would do if they were equal: one more, so that the widest is split.
    if wanted > even_shards(seen) { open + 1 } else { wanted }
}
