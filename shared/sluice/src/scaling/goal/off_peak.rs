//! Off-peak hours: half the open shards, rounded up, while every gate is open. UpdateShardCount
//! refuses less than half.

use super::{Goal, Origin, floor};
use crate::scaling::{Blocked, Observation, Policy, Rate, StreamStatus};

/// Scale-down's goal; where a gate is closed, the goal as it was.
pub fn down(policy: &Policy, seen: &Observation, demand: Option<Rate>) -> Goal {
    let lowest = lowest(policy, seen);
    let half = seen.open_shards.div_ceil(2).max(lowest);
    match closed_gate(policy, seen, demand, half) {
        None => Goal { shards: half, origin: Origin::OffPeak, blocked: None },
        Some(gate) => Goal {
            shards: seen.goal.unwrap_or(seen.open_shards),
            origin: if seen.is_goal_ordered { Origin::Order } else { Origin::Load },
            blocked: Some(gate),
        },
    }
}

/// The fewest shards that scaling down by itself leaves.
pub fn lowest(policy: &Policy, seen: &Observation) -> u32 {
    policy.clamp(policy.shard_count_default.max(floor::propose(seen)))
}

/// The first gate that keeps the shards.
fn closed_gate(
    policy: &Policy,
    seen: &Observation,
    demand: Option<Rate>,
    half: u32,
) -> Option<Blocked> {
    if !seen.off_peak {
        return Some(Blocked::OutsideWindow);
    }
    if seen.status != StreamStatus::Active {
        return Some(Blocked::Resharding(seen.status));
    }
    if half >= seen.open_shards {
        let floor = floor::propose(seen);
        let is_held_by_floor = floor >= seen.open_shards && floor > policy.shard_count_default;
        return Some(if is_held_by_floor { Blocked::Floor(floor) } else { Blocked::AtDefault });
    }
    if let Some(goal) = seen.goal.filter(|&goal| goal > seen.open_shards) {
        return Some(Blocked::GoalPending(goal));
    }
    if seen.is_alarmed() {
        return Some(Blocked::Alarmed);
    }
    let (Some(demand), Some(load)) = (demand, &seen.load) else {
        return Some(Blocked::NoLoad);
    };
    let utilization = demand.utilization_of(policy.shard_capacity().times(f64::from(half)));
    if utilization > policy.utilization_down_max {
        return Some(Blocked::Busy(utilization));
    }
    if load.iterator_age_ms > policy.lag_ms_max {
        return Some(Blocked::IteratorAge(load.iterator_age_ms));
    }
    if load.queue_age_ms > policy.lag_ms_max {
        return Some(Blocked::Backlog(load.queue_age_ms));
    }
    if load.lag_ms > policy.lag_ms_max {
        return Some(Blocked::Lagging(load.lag_ms));
    }
    let left = seen.reshards.left(seen.now_ms, policy.reshard_calls_max);
    (left <= policy.reshards_kept_for_up).then_some(Blocked::CallsKept(left))
}
