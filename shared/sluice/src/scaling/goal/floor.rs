//! A plan: at least this many shards for a while.

use crate::scaling::Observation;

/// The shards of the plan in force; 0 without one.
pub fn propose(seen: &Observation) -> u32 {
    seen.floor_in_force().map_or(0, |floor| floor.shards)
}
