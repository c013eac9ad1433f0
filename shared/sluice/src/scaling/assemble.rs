//! The third of three values: the decision. The body of [`assemble`] is the order of calls.

use super::followers::align;
use super::goal::{Goal, Origin};
use super::state::State;
use super::step::{Step, Stepped, Switches};
use super::{Action, AlarmState, Decision, Ledger, Observation, Policy, Rate, StreamStatus};

/// Puts the calls in their order. Three orders matter. Concurrency and thresholds rise once the
/// shards are open and fall before they close, so that the processors never offer more than the
/// stream takes. The ledger is written before the call that it counts, so that a crash in between
/// costs a call and hides none. An alarm is re-armed after that, so that it cannot fire at what was
/// just repaired.
pub(super) fn assemble(
    policy: &Policy,
    seen: &Observation,
    demand: Option<Rate>,
    goal: &Goal,
    stepped: Stepped,
    switches: Switches,
) -> Decision {
    let Stepped { step, blocked: blocked_step } = stepped;
    let reshards = ledger_after(seen, &step);
    let reshards_left = reshards.left(seen.now_ms, policy.reshard_calls_max);
    let state = state_to_keep(seen, goal, reshards);
    let is_saved_first = matches!(step, Step::Update(_) | Step::Split { .. });
    let shown_goal = goal_with(goal, &step, seen);

    let (mut actions, blocked_followers) = followers(policy, seen, &step);
    if is_saved_first {
        actions.push(Action::SaveState(state.clone()));
    }
    actions.extend(step.action());
    let is_acting = !actions.is_empty();
    if !is_saved_first && is_news(seen, &state) {
        actions.push(Action::SaveState(state));
    }
    if is_acting {
        let alarmed = seen.alarms.iter().filter(|alarm| alarm.state == AlarmState::Alarm);
        actions.extend(alarmed.map(|alarm| Action::Rearm { alarm: alarm.name.clone() }));
    }
    actions.extend(switches.actions.into_iter().map(Action::ShardMetrics));

    let mut blocked = Vec::from_iter(goal.blocked.clone());
    blocked.extend(blocked_followers);
    blocked.extend(blocked_step);
    blocked.extend(switches.blocked);
    let capacity = policy.shard_capacity().times(f64::from(seen.open_shards));
    Decision {
        open_shards: seen.open_shards,
        goal: shown_goal,
        demand,
        utilization: demand.map(|demand| demand.utilization_of(capacity)),
        reshards_left,
        actions,
        blocked,
    }
}

/// Concurrency and thresholds for the open shards, or for fewer that will be left.
fn followers(
    policy: &Policy,
    seen: &Observation,
    step: &Step,
) -> (Vec<Action>, Vec<super::Blocked>) {
    if seen.status != StreamStatus::Active {
        return (Vec::new(), Vec::new());
    }
    let shards = match *step {
        Step::Update(shards) => shards.min(seen.open_shards),
        _ => seen.open_shards,
    };
    align(policy, seen, shards)
}

/// The ledger once the step is taken.
fn ledger_after(seen: &Observation, step: &Step) -> Ledger {
    match *step {
        Step::Update(shards) => {
            let (half, double) = (seen.open_shards.div_ceil(2), seen.open_shards.saturating_mul(2));
            // Kinesis would refuse the call, and the ledger would count it for a day.
            assert!((half..=double).contains(&shards), "{} -> {shards}", seen.open_shards);
            seen.reshards.with_call(seen.now_ms)
        }
        _ => seen.reshards.clone(),
    }
}

/// What the next invocation should know.
fn state_to_keep(seen: &Observation, goal: &Goal, reshards: Ledger) -> State {
    let to_keep = goal.to_keep(seen);
    State {
        goal: to_keep,
        is_goal_ordered: to_keep.is_some() && goal.origin == Origin::Order,
        floor: seen.floor_in_force(),
        reshards,
    }
}

/// Whether a goal was raised or reached, or a plan began or ended: it is remembered even when
/// nothing else can be done now.
fn is_news(seen: &Observation, state: &State) -> bool {
    (state.goal, state.is_goal_ordered, state.floor)
        != (seen.goal, seen.is_goal_ordered, seen.floor)
}

/// The goal as the decision shows it: a merge goes one shard down by itself.
fn goal_with(goal: &Goal, step: &Step, seen: &Observation) -> u32 {
    match step {
        Step::Merge { .. } => seen.open_shards - 1,
        _ => goal.shards,
    }
}
