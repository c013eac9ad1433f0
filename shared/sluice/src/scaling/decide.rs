//! The decisions: *goal → step → assemble*, three values.
//!
//! The goal is where the stream should arrive and who wants it there. The
//! step is the one legal change towards it. `assemble` puts the calls in their
//! order and says what was blocked and why.

use super::assemble::assemble;
use super::demand::{MINUTES_UP, demand};
use super::{Decision, Observation, Policy, Trigger, evenness, goal, step};

/// Scale-up, for every trigger but the off-peak one: goes up when the demand needs it, follows a
/// plan or an order, finishes what was begun, and brings concurrency, thresholds and alarms in line
/// with the open shards.
pub fn decide_scale_up(policy: &Policy, seen: &Observation) -> Decision {
    let demand = seen.load.as_ref().map(|load| demand(policy, load, MINUTES_UP));
    let goal = goal::up(policy, seen, demand);
    let stepped = step::up(policy, seen, &goal);
    let switches = step::switch(policy, seen, &goal, &stepped);
    assemble(policy, seen, demand, &goal, stepped, switches)
}

/// Scale-down: halves the shards off-peak while nothing speaks against it. The fewer calls are left,
/// the longer the calm must have lasted.
pub fn decide_scale_down(policy: &Policy, seen: &Observation) -> Decision {
    let minutes = policy.calm_minutes(seen.reshards.used(seen.now_ms)) as usize;
    let demand = seen.load.as_ref().map(|load| demand(policy, load, minutes));
    let goal = goal::down(policy, seen, demand);
    let stepped = step::down(policy, seen, &goal);
    assemble(policy, seen, demand, &goal, stepped, step::Switches::default())
}

/// Whether the load can change the decision, so that it is worth $0.01 per thousand metrics.
pub fn needs_load(seen: &Observation) -> bool {
    seen.is_alarmed()
        || goal::is_on_its_way(seen)
        || matches!(seen.trigger, Trigger::Alarm(_) | Trigger::OffPeak)
        || evenness::idle_pair(seen).is_some()
}
