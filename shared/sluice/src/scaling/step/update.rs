//! UpdateShardCount: at most a doubling or a halving, and only as many calls as a day has.

use super::Step;
use crate::scaling::demand::minute_demand;
use crate::scaling::goal::{Goal, Origin};
use crate::scaling::observation::MinuteLoad;
use crate::scaling::{Blocked, Observation, Policy, Rate};

/// Demand must exceed capacity for this many consecutive minutes before scale-up may use the calls
/// reserved for scale-down: a burst is over by then, and what it left drains by itself.
const MINUTES_PRESSING: usize = 2;

/// Events that have waited longer than this press, too.
const QUEUE_AGE_MS_PRESSING: u64 = 15 * 60_000;

/// The legal step towards `goal`, or why no call may be spent on it.
pub fn towards(policy: &Policy, seen: &Observation, goal: &Goal) -> Result<Step, Blocked> {
    let left = seen.reshards.left(seen.now_ms, policy.reshard_calls_max);
    if left == 0 {
        return Err(Blocked::CallsGone);
    }
    let is_free_to_rise = match goal.origin {
        Origin::Order | Origin::Plan => true,
        Origin::Load | Origin::OffPeak => is_pressed(policy, seen),
    };
    let is_rising = goal.shards > seen.open_shards;
    if is_rising && left <= policy.reshards_kept_for_down && !is_free_to_rise {
        return Err(Blocked::CallsKeptForDown(left));
    }
    let (half, double) = (seen.open_shards.div_ceil(2), seen.open_shards.saturating_mul(2));
    Ok(Step::Update(goal.shards.clamp(half, double)))
}

/// Whether more comes in than fits, or has waited too long; or nobody knows.
fn is_pressed(policy: &Policy, seen: &Observation) -> bool {
    let Some(load) = &seen.load else { return true };
    let capacity = policy.shard_capacity().times(f64::from(seen.open_shards));
    let known = load.minutes.iter().rev().filter(|minute| minute.accepted != Rate::default());
    let is_over = |minute: &MinuteLoad| minute_demand(minute).utilization_of(capacity) > 1.0;
    let over = known.take(MINUTES_PRESSING).filter(|minute| is_over(minute)).count();
    over == MINUTES_PRESSING || load.queue_age_ms > QUEUE_AGE_MS_PRESSING
}
