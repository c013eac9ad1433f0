//! The decisions. Each lists the calls to make, in order, and says why.
//!
//! Orders that matter: concurrency and thresholds rise after the shards are open and fall before
//! they close, so that the processors never offer more than the stream takes; the ledger is written
//! before the call that it counts, so that a crash in between costs a call and hides none; an
//! alarm is re-armed last, so that it cannot fire at what was just repaired.

use std::fmt;

use super::cost::dollars_per_hour;
use super::observation::{AlarmLimit, MinuteLoad};
use super::shard_metrics::decide_shard_metrics;
use super::state::State;
use super::{
    AlarmSeen, AlarmState, FunctionSeen, Ledger, Load, Observation, Policy, Rate, Shard, ShardLoad,
    ShardMetricsAct, StreamStatus, Wake,
};

/// Minutes of load that a goal is made of: data points are one to two minutes late, and a spike
/// must not be averaged away.
const MINUTES_UP: usize = 5;

/// Going up, the least step is half as many shards again, and a doubling below
/// [`SHARDS_DOUBLED_BELOW`], where it costs cents: the calls of a day are few, and a ramp that is
/// followed shard by shard spends them all before it is over.
const STEP_UP_MIN: f64 = 1.5;
/// See [`STEP_UP_MIN`].
const SHARDS_DOUBLED_BELOW: u32 = 8;

/// For so long after a hot shard was suspected, shards count as split for their heat: no neighbours
/// are merged, which would be hot again.
pub const HEAT_KEPT_MS: u64 = 24 * 3_600_000;

/// So many minutes in a row must bring more than fits before calls are spent that were kept for
/// going down: a burst is over by then, and what it left drains by itself.
const MINUTES_PRESSING: usize = 2;

/// Events that have waited longer than this press, too.
const QUEUE_AGE_MS_PRESSING: u64 = 15 * 60_000;

/// A shard narrower than this share of an even one has been split before: it is hot because of a
/// key, and splitting on would not help.
const SKEW_WIDTH_MAX: f64 = 1.0 / 12.0;

/// One call to make.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Write goal, floor and ledger to the stream's tags.
    SaveState(State),
    /// UpdateShardCount.
    UpdateShardCount(u32),
    /// SplitShard in the middle.
    SplitShard {
        /// The shard.
        shard_id: String,
        /// Where the upper half begins.
        new_starting_hash_key: u128,
    },
    /// MergeShards.
    MergeShards {
        /// The lower shard.
        shard_id: String,
        /// The one after it.
        adjacent_shard_id: String,
    },
    /// PutFunctionConcurrency.
    PutConcurrency {
        /// The function.
        function: String,
        /// Its reserved concurrency from now on.
        reserved: u32,
    },
    /// PutMetricAlarm with another threshold.
    PutThreshold {
        /// The alarm.
        alarm: String,
        /// Its threshold from now on.
        threshold: f64,
    },
    /// SetAlarmState to INSUFFICIENT_DATA, so that it can fire again.
    Rearm {
        /// The alarm.
        alarm: String,
    },
    /// A call about the metrics of each shard. Last of all: it may fail, and nothing else waits.
    ShardMetrics(ShardMetricsAct),
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The stream is not ACTIVE.
    Resharding(StreamStatus),
    /// Already at the most shards that the policy allows.
    AtMaximum,
    /// Already at the default.
    AtDefault,
    /// Not within off-peak hours.
    OutsideWindow,
    /// Something is still on its way up.
    GoalPending(u32),
    /// A plan wants at least so many.
    Floor(u32),
    /// No load could be read.
    NoLoad,
    /// With half the shards this share of capacity would be used.
    Busy(f64),
    /// An alarm is in ALARM.
    Alarmed,
    /// Events take this many milliseconds from Lambda's queue to the stream.
    Lagging(u64),
    /// A consumer is this many milliseconds behind.
    IteratorAge(u64),
    /// Lambda's queue holds events this many milliseconds old.
    Backlog(u64),
    /// Only so many calls are left, and they are kept for going up.
    CallsKept(u32),
    /// Only so many calls are left, and they are kept for going down again.
    CallsKeptForDown(u32),
    /// No UpdateShardCount call is left; shards are split one by one instead.
    CallsGone,
    /// No call is left and the shards are not known.
    NothingToSplit,
    /// Records are refused while the stream as a whole has room, and no shard stands out.
    HotShardSuspected,
    /// One key is hotter than a shard: no number of shards helps.
    KeySkew(String),
    /// Metrics of each shard that scaling switched on are still on, and it may not switch them any
    /// more.
    ShardMetricsLeftOn,
    /// A function whose concurrency should follow is not there.
    FunctionMissing(String),
    /// The account cannot reserve as much concurrency as the shards want.
    ConcurrencyAtEdge {
        /// The function.
        function: String,
        /// What it should have.
        wanted: u32,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resharding(status) => write!(out, "the stream is {status:?}"),
            Self::AtMaximum => write!(out, "at the maximum"),
            Self::AtDefault => write!(out, "at the default"),
            Self::OutsideWindow => write!(out, "outside the off-peak window"),
            Self::GoalPending(goal) => write!(out, "on the way to {goal} shards"),
            Self::Floor(shards) => write!(out, "planned for at least {shards} shards"),
            Self::NoLoad => write!(out, "the load is not known"),
            Self::Busy(utilization) => {
                write!(out, "half the shards would be used to {:.0} %", utilization * 100.0)
            }
            Self::Alarmed => write!(out, "an alarm is in ALARM"),
            Self::Lagging(ms) => {
                write!(out, "events take {ms} ms from Lambda's queue to the stream")
            }
            Self::IteratorAge(ms) => write!(out, "a consumer is {ms} ms behind"),
            Self::Backlog(ms) => write!(out, "events have waited {ms} ms in Lambda's queue"),
            Self::CallsKept(left) => write!(out, "the last {left} reshard calls are for going up"),
            Self::CallsKeptForDown(left) => {
                write!(out, "the last {left} reshard calls are for going down again")
            }
            Self::CallsGone => write!(out, "no reshard call is left today"),
            Self::NothingToSplit => write!(out, "no shard is known that could be split"),
            Self::HotShardSuspected => write!(out, "a shard may be hot, and none is known"),
            Self::KeySkew(shard) => write!(out, "a single key is too hot for its shard {shard}"),
            Self::ShardMetricsLeftOn => write!(
                out,
                "the metrics of each shard are on since ShardLevelMetrics was auto, and are \
                 billed: call DisableEnhancedMonitoring, or set it to auto again"
            ),
            Self::FunctionMissing(function) => write!(
                out,
                "there is no function {function}: deploy it, or take it out of ProcessorFunctions"
            ),
            Self::ConcurrencyAtEdge { function, wanted } => {
                write!(out, "the account cannot reserve {wanted} for {function}")
            }
        }
    }
}

/// What to do and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Open shards when it was made.
    pub open_shards: u32,
    /// Where the stream should arrive.
    pub goal: u32,
    /// What is asked of the stream, where that was looked at.
    pub demand: Option<Rate>,
    /// The share of capacity that the demand uses.
    pub utilization: Option<f64>,
    /// UpdateShardCount calls that are left after it.
    pub reshards_left: u32,
    /// The calls to make, in order.
    pub acts: Vec<Act>,
    /// What was not done, and why.
    pub refused: Vec<Refusal>,
}

impl Decision {
    /// Open shards once the acts have taken effect.
    #[must_use]
    pub fn shards_after(&self) -> u32 {
        self.acts.iter().fold(self.open_shards, |shards, act| match act {
            Act::UpdateShardCount(target) => *target,
            Act::SplitShard { .. } => shards + 1,
            Act::MergeShards { .. } => shards.saturating_sub(1),
            _ => shards,
        })
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = self.shards_after();
        if after == self.open_shards {
            write!(out, "stay at {after} shards")?;
        } else {
            write!(out, "go from {} to {after} shards", self.open_shards)?;
        }
        if self.goal != after {
            write!(out, " on the way to {}", self.goal)?;
        }
        if let (Some(demand), Some(utilization)) = (self.demand, self.utilization) {
            write!(out, "; demand {demand}, {:.0} % of capacity", utilization * 100.0)?;
        }
        for act in &self.acts {
            match act {
                Act::PutConcurrency { function, reserved } => {
                    write!(out, "; concurrency of {function} to {reserved}")?;
                }
                Act::PutThreshold { alarm, threshold } => {
                    write!(out, "; threshold of {alarm} to {threshold:.0}")?;
                }
                Act::Rearm { alarm } => write!(out, "; re-arm {alarm}")?,
                Act::ShardMetrics(act) => write!(out, "{act}")?,
                _ => {}
            }
        }
        for refusal in &self.refused {
            write!(out, "; not more, since {refusal}")?;
        }
        let (before, now) = (dollars_per_hour(self.open_shards), dollars_per_hour(after));
        write!(out, "; ${before:.3} an hour before, ${now:.3} after; ")?;
        write!(out, "{} reshard calls left", self.reshards_left)
    }
}

/// Whether the load can change the decision, so that it is worth $0.01 per thousand metrics.
#[must_use]
pub fn needs_load(seen: &Observation) -> bool {
    seen.is_alarmed()
        || is_on_its_way(seen)
        || matches!(seen.wake, Wake::Alarm(_) | Wake::OffPeak)
        || idle_pair(seen).is_some()
}

/// Whether a goal that the load set is still ahead: the load may want it no longer.
fn is_on_its_way(seen: &Observation) -> bool {
    !seen.is_goal_ordered && seen.goal.is_some_and(|goal| goal > seen.open_shards)
}

/// As many equal shards as take what the widest shard allows, while shards are split or merged one
/// by one: keys lie evenly, so that the widest is full when the others are not.
fn even_shards(seen: &Observation) -> u32 {
    let widest = seen.shards.iter().flatten().map(|load| load.shard.width()).max();
    let even = widest.map_or(seen.open_shards, |width| {
        // A shard's width is a hair off when the hash space does not divide.
        (u128::MAX as f64 / (width as f64 + 1.0) + 1e-6).floor() as u32
    });
    even.clamp(1, seen.open_shards.max(1))
}

/// Whether shards may have been split for their heat: then the narrow ones are the hot ones.
fn is_led_by_heat(seen: &Observation) -> bool {
    let suspected_ms = seen.shard_metrics.switched.suspected_ms;
    seen.shard_metrics.missing().is_empty()
        || seen.now_ms.saturating_sub(suspected_ms) < HEAT_KEPT_MS
}

/// The narrowest neighbours that together are no wider than the widest shard: with even keys they
/// take no more as two than as one. None where they might be the hot ones.
fn idle_pair(seen: &Observation) -> Option<(&ShardLoad, &ShardLoad)> {
    if is_led_by_heat(seen) {
        return None;
    }
    let mut shards: Vec<&ShardLoad> = seen.shards.iter().flatten().collect();
    shards.sort_by_key(|load| load.shard.from);
    let widest = shards.iter().map(|load| load.shard.width()).max().unwrap_or(0);
    // Widths are a hair off when the hash space does not divide.
    let width_max = widest.saturating_add(u128::from(seen.open_shards));
    let width = |two: &(&ShardLoad, &ShardLoad)| two.1.shard.to - two.0.shard.from;
    let pairs = shards.windows(2).map(|two| (two[0], two[1]));
    pairs.filter(|pair| width(pair) <= width_max).min_by_key(width)
}

/// As many whole shards as can be filled: what concurrency and thresholds go by. Keys lie evenly, so
/// that beyond what the widest shard allows records are refused. Where heat led the
/// splits, the keys are not even, and the widest shards are the cold ones.
pub fn shards_to_fill(seen: &Observation) -> u32 {
    if is_led_by_heat(seen) { seen.open_shards } else { even_shards(seen) }
}

/// What the load asks of the stream: what came in for the processors and what others put, in the
/// heaviest of `minutes` (accepted and refused where no processor reports), and the backlog over
/// the time in which it should drain.
#[must_use]
pub fn demand(policy: &Policy, load: &Load, minutes: usize) -> Rate {
    let recent = &load.minutes[load.minutes.len().saturating_sub(minutes)..];
    let asked = recent.iter().map(minute_demand).fold(Rate::default(), Rate::max);
    asked.plus(backlog(load, asked).times(1.0 / policy.drain_seconds))
}

/// Bytes and records that wait in Lambda's queue: what came in and was not sent. Where no processor
/// reports, or the oldest is older than the look-back, the age stands for it.
fn backlog(load: &Load, asked: Rate) -> Rate {
    let queue_seconds = load.queue_age_ms as f64 / 1_000.0;
    let by_age = asked.times(queue_seconds);
    let is_reported = load.minutes.iter().any(|minute| minute.wanted != Rate::default());
    if !is_reported || queue_seconds > load.minutes.len() as f64 * 60.0 {
        return by_age;
    }
    // Lambda's pauses let single events grow old while next to nothing waits.
    let waiting = load.minutes.iter().fold(Rate::default(), |waiting, minute| {
        let more = minute.wanted.plus(minute.sent.times(-1.0)).times(60.0);
        waiting.plus(more).max(Rate::default())
    });
    Rate { bytes: waiting.bytes.min(by_age.bytes), records: waiting.records.min(by_age.records) }
}

fn minute_demand(minute: &MinuteLoad) -> Rate {
    let accepted = minute.accepted;
    if minute.wanted != Rate::default() {
        // A refused record is refused at every try: ten tries of one record look like ten records,
        // and a single hot key like a stream that is far too small. The processors count once.
        // What they send of a backlog is not asked for again: it came in earlier.
        let others = accepted.plus(minute.sent.times(-1.0)).max(Rate::default());
        return others.plus(minute.wanted);
    }
    // Refused records are counted, not weighed: take them to be as large as the accepted ones.
    let record_bytes = if accepted.records > 0.0 { accepted.bytes / accepted.records } else { 0.0 };
    let refused =
        Rate { bytes: minute.refused_records * record_bytes, records: minute.refused_records };
    accepted.plus(refused)
}

/// Decides for every wake-up but the off-peak one: goes up when the demand wants it, follows a
/// plan or a person, finishes what was begun, and brings concurrency, thresholds and alarms in
/// line with the shards that are open.
#[must_use]
pub fn decide_scale_up(policy: &Policy, seen: &Observation) -> Decision {
    let demand = seen.load.as_ref().map(|load| demand(policy, load, MINUTES_UP));
    let mut draft = Draft::new(policy, seen, demand);

    let floor = seen.floor_in_force().map_or(0, |floor| floor.shards);
    let wanted = match (seen.wake.clone(), demand) {
        (Wake::Person(shards), _) => Some(shards),
        (_, Some(demand)) => {
            Some(demand.shards_needed(policy.shard_capacity(), policy.target_utilization))
        }
        // Alarmed, and the load cannot be read: one step is better than none.
        (_, None) if alarmed_beyond_current_threshold(policy, seen) => Some(seen.open_shards * 2),
        _ => None,
    };
    let is_person = matches!(seen.wake, Wake::Person(_));
    let unfinished = seen.goal.filter(|&goal| goal != seen.open_shards);
    draft.goal = match (wanted, is_person) {
        (Some(shards), true) => policy.clamp(shards.max(floor)),
        (wanted, _) => {
            let open = seen.open_shards;
            // What a person ordered goes on, down too unless the demand forbids it. What the load
            // asked for is asked again, as far as the load is known.
            let is_asked_again = demand.is_some() && is_on_its_way(seen);
            let base = unfinished.filter(|_| !is_asked_again).unwrap_or(open);
            let factor = if open < SHARDS_DOUBLED_BELOW { 2.0 } else { STEP_UP_MIN };
            let least = (f64::from(open) * factor).ceil() as u32;
            let even = even_shards(seen);
            let step = |shards: u32| match shards {
                _ if shards > open => shards.max(least),
                // The shards that are open would do if they were equal: on with the widest.
                _ if shards > even => open + 1,
                _ => shards,
            };
            policy.clamp(base.max(step(wanted.unwrap_or(0))).max(floor))
        }
    };
    draft.is_ordered = is_person || (seen.is_goal_ordered && unfinished.is_some());
    draft.is_planned = floor > seen.open_shards;
    if wanted.is_some_and(|shards| shards > policy.shard_count_max) {
        draft.refused.push(Refusal::AtMaximum);
    }

    if seen.status == StreamStatus::Active {
        draft.align(seen.open_shards);
        draft.step_towards_goal();
        if draft.goal == seen.open_shards {
            draft.relieve_hot_shard();
            draft.merge_idle_pair();
        }
    } else {
        draft.refused.push(Refusal::Resharding(seen.status));
    }
    let mut decision = draft.finish();
    decide_shard_metrics(policy, seen, &mut decision);
    decision
}

/// Half the open shards, rounded up: ScaleStream refuses less than half. The fewer calls are
/// left, the longer the calm must have lasted.
#[must_use]
pub fn decide_scale_down(policy: &Policy, seen: &Observation) -> Decision {
    let minutes = policy.calm_minutes(seen.reshards.used(seen.now_ms)) as usize;
    let demand = seen.load.as_ref().map(|load| demand(policy, load, minutes));
    let mut draft = Draft::new(policy, seen, demand);
    let floor = seen.floor_in_force().map_or(0, |floor| floor.shards);
    let lowest = policy.clamp(policy.shard_count_default.max(floor));
    let next = seen.open_shards.div_ceil(2).max(lowest);

    if let Some(refusal) = refuse_down(policy, seen, demand, next, floor) {
        draft.refused.push(refusal);
        draft.goal = seen.goal.unwrap_or(seen.open_shards);
        draft.is_ordered = seen.is_goal_ordered;
        if seen.status == StreamStatus::Active {
            draft.align(seen.open_shards);
        }
        return draft.finish();
    }
    draft.goal = next;
    draft.keeps_goal = false;
    draft.align(next);
    draft.step_towards_goal();
    draft.finish()
}

/// The first gate that keeps the shards.
fn refuse_down(
    policy: &Policy,
    seen: &Observation,
    demand: Option<Rate>,
    next: u32,
    floor: u32,
) -> Option<Refusal> {
    if !seen.off_peak {
        return Some(Refusal::OutsideWindow);
    }
    if seen.status != StreamStatus::Active {
        return Some(Refusal::Resharding(seen.status));
    }
    if next >= seen.open_shards {
        let held_by_floor = floor >= seen.open_shards && floor > policy.shard_count_default;
        return Some(if held_by_floor { Refusal::Floor(floor) } else { Refusal::AtDefault });
    }
    if let Some(goal) = seen.goal.filter(|&goal| goal > seen.open_shards) {
        return Some(Refusal::GoalPending(goal));
    }
    if seen.is_alarmed() {
        return Some(Refusal::Alarmed);
    }
    let (Some(demand), Some(load)) = (demand, &seen.load) else {
        return Some(Refusal::NoLoad);
    };
    let utilization = demand.utilization_of(policy.shard_capacity().times(f64::from(next)));
    if utilization > policy.utilization_down_max {
        return Some(Refusal::Busy(utilization));
    }
    if load.iterator_age_ms > policy.lag_ms_max {
        return Some(Refusal::IteratorAge(load.iterator_age_ms));
    }
    if load.queue_age_ms > policy.lag_ms_max {
        return Some(Refusal::Backlog(load.queue_age_ms));
    }
    if load.lag_ms > policy.lag_ms_max {
        return Some(Refusal::Lagging(load.lag_ms));
    }
    let left = seen.reshards.left(seen.now_ms, policy.reshard_calls_max);
    (left <= policy.reshards_kept_for_up).then_some(Refusal::CallsKept(left))
}

/// Whether an alarm that watches the present number of shards is in ALARM: one whose threshold
/// belongs to another number is about the past.
fn alarmed_beyond_current_threshold(policy: &Policy, seen: &Observation) -> bool {
    seen.alarms.iter().any(|alarm| {
        let current = wanted_threshold(policy, alarm, shards_to_fill(seen))
            .is_none_or(|threshold| is_close(threshold, alarm.threshold));
        alarm.state == AlarmState::Alarm && current
    })
}

/// The threshold that `alarm` should have; `None` when it does not follow the shards.
fn wanted_threshold(policy: &Policy, alarm: &AlarmSeen, shards: u32) -> Option<f64> {
    let shard = policy.shard_capacity();
    let per_shard_and_second = match alarm.limit {
        AlarmLimit::Bytes => shard.bytes,
        AlarmLimit::Records => shard.records,
        AlarmLimit::Refused => return None,
    };
    Some(policy.threshold(per_shard_and_second, shards, alarm.period_seconds))
}

fn is_close(one: f64, other: f64) -> bool {
    (one - other).abs() <= one.abs().max(other.abs()) * 1e-6
}

/// A decision in the making.
struct Draft<'a> {
    policy: &'a Policy,
    seen: &'a Observation,
    demand: Option<Rate>,
    goal: u32,
    /// Whether later wake-ups finish the way to the goal. Scale-down's single step is not finished
    /// by others: its gates must hold at the moment it is taken.
    keeps_goal: bool,
    /// Whether a person wants the goal, and not the load.
    is_ordered: bool,
    /// Whether a plan wants more shards than are open.
    is_planned: bool,
    acts: Vec<Act>,
    refused: Vec<Refusal>,
    reshards: Ledger,
}

impl<'a> Draft<'a> {
    fn new(policy: &'a Policy, seen: &'a Observation, demand: Option<Rate>) -> Self {
        Self {
            policy,
            seen,
            demand,
            goal: seen.open_shards,
            keeps_goal: true,
            is_ordered: false,
            is_planned: false,
            acts: Vec::new(),
            refused: Vec::new(),
            reshards: seen.reshards.clone(),
        }
    }

    /// Brings concurrency and thresholds in line with `shards`, or with as many of them as can be
    /// filled.
    fn align(&mut self, shards: u32) {
        let shards = shards.min(shards_to_fill(self.seen));
        let mut reservable = self.seen.reservable_concurrency;
        for function in &self.seen.functions {
            if !function.exists {
                self.refused.push(Refusal::FunctionMissing(function.name.clone()));
                continue;
            }
            let wanted = self.policy.concurrency(shards, function.share);
            self.align_function(function, wanted, &mut reservable);
        }
        for alarm in &self.seen.alarms {
            let Some(threshold) = wanted_threshold(self.policy, alarm, shards) else { continue };
            if !is_close(threshold, alarm.threshold) {
                self.acts.push(Act::PutThreshold { alarm: alarm.name.clone(), threshold });
            }
        }
    }

    fn align_function(
        &mut self,
        function: &FunctionSeen,
        wanted: u32,
        reservable: &mut Option<u32>,
    ) {
        let reserved = function.reserved.unwrap_or(0);
        let more_max = reservable.unwrap_or(u32::MAX);
        let possible = wanted.min(reserved.saturating_add(more_max));
        if possible < wanted {
            let function = function.name.clone();
            self.refused.push(Refusal::ConcurrencyAtEdge { function, wanted });
        }
        if let Some(reservable) = reservable {
            *reservable = reservable.saturating_add(reserved).saturating_sub(possible);
        }
        // A reservation of nothing would stop the function.
        if function.reserved != Some(possible) && possible > 0 {
            let function = function.name.clone();
            self.acts.push(Act::PutConcurrency { function, reserved: possible });
        }
    }

    /// Merges neighbours that take no more as two than as one, once what comes in leaves the
    /// widest shard calm: what was split one by one for want of calls. It takes none.
    fn merge_idle_pair(&mut self) {
        let (policy, seen) = (self.policy, self.seen);
        let floor = seen.floor_in_force().map_or(0, |floor| floor.shards);
        let lowest = policy.clamp(policy.shard_count_default.max(floor));
        if seen.is_alarmed() || seen.open_shards <= lowest {
            return;
        }
        let Some(load) = &seen.load else { return };
        let capacity = policy.shard_capacity().times(f64::from(even_shards(seen)));
        let utilization = demand(policy, load, MINUTES_UP).utilization_of(capacity);
        if utilization > policy.utilization_down_max {
            return;
        }
        if let Some((one, other)) = idle_pair(seen) {
            self.goal = seen.open_shards - 1;
            self.keeps_goal = false;
            self.acts.push(Act::MergeShards {
                shard_id: one.shard.id.clone(),
                adjacent_shard_id: other.shard.id.clone(),
            });
        }
    }

    /// One legal step towards the goal.
    fn step_towards_goal(&mut self) {
        let open = self.seen.open_shards;
        if self.goal == open {
            return;
        }
        let left = self.seen.reshards.left(self.seen.now_ms, self.policy.reshard_calls_max);
        if left == 0 {
            self.refused.push(Refusal::CallsGone);
            if self.goal > open {
                self.split_hottest();
            }
            return;
        }
        let is_free_to_rise = self.is_ordered || self.is_planned || self.is_pressed();
        if self.goal > open && left <= self.policy.reshards_kept_for_down && !is_free_to_rise {
            self.refused.push(Refusal::CallsKeptForDown(left));
            return;
        }
        let next = self.goal.clamp(open.div_ceil(2), open.saturating_mul(2));
        if next < open {
            self.acts.retain(|act| {
                !matches!(act, Act::PutConcurrency { .. } | Act::PutThreshold { .. })
            });
            self.refused.retain(|refusal| {
                !matches!(refusal, Refusal::ConcurrencyAtEdge { .. } | Refusal::FunctionMissing(_))
            });
            self.align(next);
        }
        self.reshards = self.seen.reshards.with_call(self.seen.now_ms);
        self.save_state();
        self.acts.push(Act::UpdateShardCount(next));
    }

    /// Whether more comes in than fits, or has waited too long; or nobody knows.
    fn is_pressed(&self) -> bool {
        let Some(load) = &self.seen.load else { return true };
        let capacity = self.policy.shard_capacity().times(f64::from(self.seen.open_shards));
        let known = load.minutes.iter().rev().filter(|minute| minute.accepted != Rate::default());
        let is_over = |minute: &MinuteLoad| minute_demand(minute).utilization_of(capacity) > 1.0;
        let over = known.take(MINUTES_PRESSING).filter(|minute| is_over(minute)).count();
        over == MINUTES_PRESSING || load.queue_age_ms > QUEUE_AGE_MS_PRESSING
    }

    fn save_state(&mut self) {
        self.acts.push(Act::SaveState(State {
            is_goal_ordered: self.is_ordered && self.goal_to_keep().is_some(),
            goal: self.goal_to_keep(),
            floor: self.seen.floor_in_force(),
            reshards: self.reshards.clone(),
        }));
    }

    fn goal_to_keep(&self) -> Option<u32> {
        (self.keeps_goal && self.goal != self.seen.open_shards).then_some(self.goal)
    }

    /// Splits one shard where UpdateShardCount cannot be called: the hottest, else the widest.
    fn split_hottest(&mut self) {
        let policy = self.policy;
        let heat = |load: &ShardLoad| {
            load.offered.map_or(0.0, |rate| rate.utilization_of(policy.shard_capacity()))
        };
        let hottest = self.seen.shards.iter().flatten().max_by(|one, other| {
            heat(one)
                .total_cmp(&heat(other))
                .then(one.shard.width().cmp(&other.shard.width()))
                .then(other.shard.id.cmp(&one.shard.id))
        });
        match hottest.map(|load| &load.shard) {
            Some(shard) if shard.width() > 0 => self.split(shard.clone()),
            _ => self.refused.push(Refusal::NothingToSplit),
        }
    }

    fn split(&mut self, shard: Shard) {
        self.save_state();
        self.acts.push(Act::SplitShard {
            new_starting_hash_key: shard.from + shard.width() / 2 + 1,
            shard_id: shard.id,
        });
    }

    /// Records are refused though the stream has room: splits the shard that is over its limit, or
    /// says that no number of shards would help.
    fn relieve_hot_shard(&mut self) {
        if !self.seen.is_refusing() || self.goal >= self.policy.shard_count_max {
            return;
        }
        let capacity = self.policy.shard_capacity();
        let hot = self.seen.shards.iter().flatten().filter_map(|load| {
            let heat = load.offered?.utilization_of(capacity);
            (heat > 1.0).then_some((heat, &load.shard))
        });
        let Some((_, shard)) = hot.max_by(|one, other| one.0.total_cmp(&other.0)) else {
            self.refused.push(Refusal::HotShardSuspected);
            return;
        };
        let even = u128::MAX as f64 / f64::from(self.seen.open_shards);
        if (shard.width() as f64) < even * SKEW_WIDTH_MAX {
            self.refused.push(Refusal::KeySkew(shard.id.clone()));
        } else {
            self.split(shard.clone());
        }
    }

    fn finish(mut self) -> Decision {
        let seen = self.seen;
        let acted = !self.acts.is_empty();
        let goal = self.goal_to_keep();
        let saves = self.acts.iter().any(|act| matches!(act, Act::SaveState(_)));
        // A goal that was raised or reached, or a plan that began or ended, is remembered even when
        // nothing else can be done now.
        let is_ordered = goal.is_some() && self.is_ordered;
        let is_new_goal = (goal, is_ordered) != (seen.goal, seen.is_goal_ordered);
        if !saves && (is_new_goal || seen.floor_in_force() != seen.floor) {
            self.save_state();
        }
        if acted {
            let alarmed = seen.alarms.iter().filter(|alarm| alarm.state == AlarmState::Alarm);
            for alarm in alarmed {
                self.acts.push(Act::Rearm { alarm: alarm.name.clone() });
            }
        }
        let capacity = self.policy.shard_capacity().times(f64::from(seen.open_shards));
        Decision {
            open_shards: seen.open_shards,
            goal: self.goal,
            demand: self.demand,
            utilization: self.demand.map(|demand| demand.utilization_of(capacity)),
            reshards_left: self.reshards.left(seen.now_ms, self.policy.reshard_calls_max),
            acts: self.acts,
            refused: self.refused,
        }
    }
}
