//! The first of three values: where the stream should arrive, and who wants it there.
//!
//! Each strategy proposes a number of shards from what was seen. [`up`] lets a manual order decide
//! and otherwise takes the largest proposal; [`off_peak`] is scale-down's only strategy.

mod floor;
mod manual;
pub(super) mod off_peak;
mod reactive;
mod unfinished;

use super::{Blocked, Observation, Policy, Rate, Trigger};

pub(super) use off_peak::down;
pub(super) use unfinished::is_on_its_way;

/// Who wants the goal. It decides whether later invocations carry on towards it, and whether calls
/// that are reserved for scaling down may be used for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody ordered it.
    Order,
    /// A plan needs it.
    Plan,
    /// The load needs it. It is dropped as soon as the load no longer does.
    Load,
    /// Off-peak hours allow it. It is one step, and never finished by a later invocation: the gates
    /// must hold at the moment it is taken.
    OffPeak,
}

/// Where the stream should arrive.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Goal {
    pub shards: u32,
    pub origin: Origin,
    /// Why it is not further away.
    pub blocked: Option<Blocked>,
}

impl Goal {
    /// The goal that later invocations should carry on towards.
    pub fn to_keep(&self, seen: &Observation) -> Option<u32> {
        let is_ahead = self.shards != seen.open_shards;
        (is_ahead && self.origin != Origin::OffPeak).then_some(self.shards)
    }
}

/// Scale-up's goal: what somebody orders, or the most that the load, a plan or an unfinished goal
/// needs; within the policy's bounds.
pub(super) fn up(policy: &Policy, seen: &Observation, demand: Option<Rate>) -> Goal {
    let floor = floor::propose(seen);
    let unfinished = unfinished::propose(seen, demand);
    let ordered = manual::propose(seen);
    let wanted = ordered.or_else(|| reactive::shards_wanted(policy, seen, demand));
    let shards = match ordered {
        Some(shards) => shards,
        None => {
            let reactive = wanted.map_or(0, |wanted| reactive::propose(seen, wanted));
            unfinished.unwrap_or(seen.open_shards).max(reactive)
        }
    };
    let is_order_unfinished = seen.is_goal_ordered && unfinished::goal_ahead(seen).is_some();
    let origin = match () {
        () if matches!(seen.trigger, Trigger::Manual(_)) || is_order_unfinished => Origin::Order,
        () if floor > seen.open_shards => Origin::Plan,
        () => Origin::Load,
    };
    let is_beyond = wanted.is_some_and(|shards| shards > policy.shard_count_max);
    Goal {
        shards: policy.clamp(shards.max(floor)),
        origin,
        blocked: is_beyond.then_some(Blocked::AtMaximum),
    }
}
