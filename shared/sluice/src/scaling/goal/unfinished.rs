//! A goal that an earlier invocation set and the stream has not reached.

use crate::scaling::{Observation, Rate};

/// The unfinished goal. An order stands, down too unless the demand forbids it; a goal that the load
/// set is left to the load, where it is known.
pub fn propose(seen: &Observation, demand: Option<Rate>) -> Option<u32> {
    let is_asked_again = demand.is_some() && is_on_its_way(seen);
    goal_ahead(seen).filter(|_| !is_asked_again)
}

/// The remembered goal, unless the stream is there.
pub fn goal_ahead(seen: &Observation) -> Option<u32> {
    seen.goal.filter(|&goal| goal != seen.open_shards)
}

/// Whether a goal that the load set is still ahead: the load may no longer need it.
pub fn is_on_its_way(seen: &Observation) -> bool {
    !seen.is_goal_ordered && seen.goal.is_some_and(|goal| goal > seen.open_shards)
}
