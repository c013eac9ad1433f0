//! The clairvoyant optimum: the fewest shard-hours for someone who knows the future, under the
//! moves that UpdateShardCount allows, so that nothing ever waits.
//!
//! Moves end on steps of a minute. A move goes to between half and double; the next one can end
//! only when the reshard's time has passed again. Calls are counted in days from the begin and not
//! in every 24 hours: whoever keeps the rolling limit keeps this one, too, so no plan of
//! UpdateShardCount calls is cheaper. SplitShard and MergeShards are left out: keys lie evenly, so
//! that a single one makes room for nothing. A row of merges halves the shards without a call,
//! though, so a plan that merges could be cheaper than this.
//!
//! Dynamic programming, from the last step to the first, over open shards and calls left today.
//! Only the days' first layers are kept; each day is computed again when the plan is read off.

use std::collections::VecDeque;

use crate::what_if::clock::{SECONDS_PER_DAY, SECONDS_PER_MINUTE};
use crate::what_if::trace::Trace;
use crate::what_if::world::{Rule, Settings, TICK_SECONDS, World};

/// What it is called.
pub const NAME: &str = "optimum";

/// Where the rule is documented.
pub const SOURCE: &str =
    "the cheapest legal moves for someone who knows the future (cli/src/optimum.rs)";

/// More than any plan costs.
const NEVER: u64 = u64::MAX / 4;
/// Longer traffic is planned in longer steps.
const STEPS_MAX: u64 = 60_000;

/// What a plan must keep to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Shards that each step needs, 1 at least.
    pub needs: Vec<u32>,
    /// Moves in a day.
    pub calls_max: usize,
    /// Steps of a day.
    pub steps_per_day: usize,
    /// Steps from one move's end to the next one's, 1 at least.
    pub steps_per_move: usize,
}

/// Open shards in each step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Their sum over all steps.
    pub shard_steps: u64,
    /// Open shards, a step each.
    pub shards: Vec<u32>,
}

/// What the rest costs, by calls left and open shards; the shards' place is their number less one.
type Layer = Vec<Vec<u64>>;

impl Problem {
    /// What a trace asks for, and how long one of its steps is in seconds.
    #[must_use]
    pub fn of(trace: &Trace, settings: &Settings) -> (Self, u64) {
        let minutes = trace.seconds().div_ceil(SECONDS_PER_MINUTE);
        let step_seconds = SECONDS_PER_MINUTE * minutes.div_ceil(STEPS_MAX);
        let steps = trace.seconds().div_ceil(step_seconds);
        let need = |step: u64| {
            let from = step * step_seconds / trace.step_seconds;
            let until =
                ((step + 1) * step_seconds).min(trace.seconds()).div_ceil(trace.step_seconds);
            let within = &trace.bytes_per_second[from as usize..until as usize];
            let highest = within.iter().copied().fold(0.0, f64::max);
            // A hair over a whole shard is that shard.
            ((highest / settings.shard_takes_bytes_per_second() - 1e-9).ceil() as u32).max(1)
        };
        let reshard_ms = settings.limits.reshard_ms + settings.limits.reshard_ms_per_generation;
        let problem = Self {
            needs: (0..steps).map(need).collect(),
            calls_max: settings.limits.reshard_calls_max as usize,
            steps_per_day: (SECONDS_PER_DAY / step_seconds) as usize,
            steps_per_move: reshard_ms.div_ceil(step_seconds * 1_000).max(1) as usize,
        };
        (problem, step_seconds)
    }

    fn shards_max(&self) -> usize {
        self.needs.iter().copied().max().unwrap_or(1) as usize
    }

    /// The cheapest plan.
    #[must_use]
    pub fn solve(&self) -> Plan {
        let steps = self.needs.len();
        let days = steps.div_ceil(self.steps_per_day);
        // The first layers of each day, for those who arrive with all calls left.
        let mut heads: Vec<Vec<Vec<u64>>> =
            vec![vec![vec![0; self.shards_max()]; self.steps_per_move + 1]];
        for day in (0..days).rev() {
            let layers = self.day(day, heads.last().expect("one at least"));
            let mut head: Vec<Vec<u64>> = layers
                .iter()
                .take(self.steps_per_move + 1)
                .map(|layer| layer[self.calls_max].clone())
                .collect();
            // A day shorter than a move reaches into the next one.
            while head.len() <= self.steps_per_move {
                let beyond = head.len() - layers.len();
                head.push(heads.last().expect("one at least")[beyond].clone());
            }
            heads.push(head);
        }
        heads.reverse();
        let mut shards: Vec<u32> = Vec::with_capacity(steps);
        let first = &heads[0][0];
        let (mut open, shard_steps) =
            first.iter().copied().enumerate().min_by_key(|&(_, cost)| cost).expect("a shard");
        let mut held = 0;
        for day in 0..days {
            let layers = self.day(day, &heads[day + 1]);
            let mut calls = self.calls_max;
            for step in day * self.steps_per_day..((day + 1) * self.steps_per_day).min(steps) {
                if held == 0
                    && let Some(to) =
                        self.best_move(day, &layers, &heads[day + 1], step, calls, open)
                {
                    open = to;
                    calls -= 1;
                    held = self.steps_per_move;
                }
                held = held.saturating_sub(1);
                shards.push(open as u32 + 1);
            }
        }
        Plan { shard_steps, shards }
    }

    /// The layers of one day, given the first ones of the next.
    fn day(&self, day: usize, next: &[Vec<u64>]) -> Vec<Layer> {
        let begin = day * self.steps_per_day;
        let end = (begin + self.steps_per_day).min(self.needs.len());
        let mut layers: Vec<Layer> = vec![Vec::new(); end - begin];
        for step in (begin..end).rev() {
            let mut layer: Layer = Vec::with_capacity(self.calls_max + 1);
            for calls in 0..=self.calls_max {
                let stay = self.after(begin, &layers, next, step, 1, calls);
                let mut rest = self.with_cost(step, 1, stay);
                if calls > 0 {
                    let moved = self.moved(begin, &layers, next, step, calls - 1);
                    for (rest, moved) in rest.iter_mut().zip(lowest_within_reach(&moved)) {
                        *rest = (*rest).min(moved);
                    }
                }
                layer.push(rest);
            }
            layers[step - begin] = layer;
        }
        layers
    }

    /// The layer `ahead` steps after `step`, with so many calls left today.
    fn after<'a>(
        &self,
        begin: usize,
        layers: &'a [Layer],
        next: &'a [Vec<u64>],
        step: usize,
        ahead: usize,
        calls: usize,
    ) -> &'a [u64] {
        let place = step - begin + ahead;
        match layers.get(place) {
            Some(layer) => &layer[calls],
            None => &next[place - layers.len()],
        }
    }

    /// What it costs to have just moved to so many shards, by shards.
    fn moved(
        &self,
        begin: usize,
        layers: &[Layer],
        next: &[Vec<u64>],
        step: usize,
        calls: usize,
    ) -> Vec<u64> {
        let rest = self.after(begin, layers, next, step, self.steps_per_move, calls);
        self.with_cost(step, self.steps_per_move, rest)
    }

    /// What `steps` steps from `step` on cost, and what comes after them, by shards.
    fn with_cost(&self, step: usize, steps: usize, rest: &[u64]) -> Vec<u64> {
        let end = (step + steps).min(self.needs.len());
        let need = self.needs[step..end].iter().copied().max().unwrap_or(1) as usize;
        let length = (end - step) as u64;
        let cost = |(place, &rest): (usize, &u64)| match place + 1 {
            shards if shards < need => NEVER,
            shards => (shards as u64 * length).saturating_add(rest).min(NEVER),
        };
        rest.iter().enumerate().map(cost).collect()
    }

    fn best_move(
        &self,
        day: usize,
        layers: &[Layer],
        next: &[Vec<u64>],
        step: usize,
        calls: usize,
        open: usize,
    ) -> Option<usize> {
        let begin = day * self.steps_per_day;
        let after = self.after(begin, layers, next, step, 1, calls);
        let stay = self.with_cost(step, 1, after)[open];
        let moved = self.moved(begin, layers, next, step, calls.checked_sub(1)?);
        let (from, until) = reach(open, moved.len());
        let (to, best) = (from..until).map(|to| (to, moved[to])).min_by_key(|&(_, cost)| cost)?;
        (best < stay).then_some(to)
    }
}

/// The places that one call reaches: half, rounded up, to double.
fn reach(open: usize, places: usize) -> (usize, usize) {
    let shards = open + 1;
    (shards.div_ceil(2) - 1, (shards * 2).min(places))
}

/// For each place the lowest value that one call reaches: a window whose ends only rise.
fn lowest_within_reach(values: &[u64]) -> Vec<u64> {
    let mut window: VecDeque<usize> = VecDeque::new();
    let mut taken = 0;
    (0..values.len())
        .map(|open| {
            let (from, until) = reach(open, values.len());
            for place in taken..until {
                while window.back().is_some_and(|&back| values[back] >= values[place]) {
                    window.pop_back();
                }
                window.push_back(place);
            }
            taken = until;
            while window.front().is_some_and(|&front| front < from) {
                window.pop_front();
            }
            values[window[0]]
        })
        .collect()
}

/// Follows a plan.
pub struct Clairvoyant {
    plan: Plan,
    step_seconds: u64,
    reshard_seconds: u64,
}

impl Clairvoyant {
    /// Plans the trace.
    #[must_use]
    pub fn new(trace: &Trace, settings: &Settings) -> Self {
        let (problem, step_seconds) = Problem::of(trace, settings);
        let reshard_ms = settings.limits.reshard_ms + settings.limits.reshard_ms_per_generation;
        Self { plan: problem.solve(), step_seconds, reshard_seconds: reshard_ms / 1_000 }
    }

    /// Shards that it begins with.
    #[must_use]
    pub fn initial(&self) -> u32 {
        self.plan.shards[0]
    }
}

impl Rule for Clairvoyant {
    fn begin(&mut self, _: &mut World<'_>) {}

    fn wake(&mut self, world: &mut World<'_>) {
        // The move must be over when its step begins.
        let due = world.second() + self.reshard_seconds.next_multiple_of(TICK_SECONDS);
        let step = (due / self.step_seconds) as usize;
        if due.is_multiple_of(self.step_seconds)
            && let Some(&shards) = self.plan.shards.get(step)
            && shards != self.plan.shards[step - 1]
        {
            world.update_shard_count(shards, "the future is known").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    /// Tries everything. `calls` are left today, `held` steps must pass before the next move.
    fn brute_force(problem: &Problem, step: usize, open: u32, calls: usize, held: usize) -> u64 {
        if step == problem.needs.len() {
            return 0;
        }
        let calls =
            if step.is_multiple_of(problem.steps_per_day) { problem.calls_max } else { calls };
        let highest = *problem.needs.iter().max().expect("a step");
        let serve = |shards: u32, calls: usize, held: usize| {
            if shards < problem.needs[step] {
                return NEVER;
            }
            (u64::from(shards) + brute_force(problem, step + 1, shards, calls, held)).min(NEVER)
        };
        let mut best = serve(open, calls, held.saturating_sub(1));
        if calls > 0 && held == 0 {
            for to in open.div_ceil(2)..=(open * 2).min(highest) {
                best = best.min(serve(to, calls - 1, problem.steps_per_move - 1));
            }
        }
        best
    }

    #[test]
    fn the_plan_is_as_cheap_as_trying_everything() {
        let mut rng = Rng::with_seed(1);
        for _ in 0..300 {
            let highest = rng.u32(1..=6);
            let problem = Problem {
                needs: (0..rng.usize(1..=7)).map(|_| rng.u32(1..=highest)).collect(),
                calls_max: rng.usize(0..=3),
                steps_per_day: rng.usize(2..=8),
                steps_per_move: rng.usize(1..=3),
            };
            let highest = *problem.needs.iter().max().expect("a step");
            let begin = 1..=highest;
            let best =
                begin.map(|open| brute_force(&problem, 0, open, 0, 0)).min().expect("a shard");
            let plan = problem.solve();
            assert_eq!(plan.shard_steps, best, "{problem:?}");
            assert_legal(&problem, &plan);
        }
    }

    fn assert_legal(problem: &Problem, plan: &Plan) {
        assert_eq!(plan.shards.len(), problem.needs.len());
        let sum: u64 = plan.shards.iter().map(|&shards| u64::from(shards)).sum();
        assert_eq!(sum, plan.shard_steps, "{problem:?} {plan:?}");
        let mut moved = vec![0; problem.needs.len().div_ceil(problem.steps_per_day)];
        let mut last = None;
        for (step, (&shards, &need)) in plan.shards.iter().zip(&problem.needs).enumerate() {
            assert!(shards >= need, "{problem:?} {plan:?}");
            if step > 0 && plan.shards[step - 1] != shards {
                let before = plan.shards[step - 1];
                assert!(shards <= before * 2 && shards >= before.div_ceil(2));
                assert!(last.is_none_or(|last| step - last >= problem.steps_per_move));
                last = Some(step);
                moved[step / problem.steps_per_day] += 1;
            }
        }
        assert!(moved.iter().all(|&moved| moved <= problem.calls_max), "{problem:?} {plan:?}");
    }

    #[test]
    fn a_peak_is_climbed_in_doublings_and_left_by_halves() {
        let problem = Problem {
            needs: vec![1, 1, 1, 1, 8, 1, 1, 1, 1],
            calls_max: 10,
            steps_per_day: 1_440,
            steps_per_move: 1,
        };
        let plan = problem.solve();
        assert_eq!(plan.shards, [1, 1, 2, 4, 8, 4, 2, 1, 1]);
    }

    #[test]
    fn calls_are_spent_where_they_save_most() {
        let needs = [vec![8; 5], vec![4; 100], vec![8; 5], vec![6; 3], vec![8; 5]].concat();
        let problem = Problem { needs, calls_max: 2, steps_per_day: 1_440, steps_per_move: 1 };
        let plan = problem.solve();
        assert_eq!(plan.shards[50], 4);
        assert!(plan.shards[105..].iter().all(|&shards| shards == 8));
    }
}
