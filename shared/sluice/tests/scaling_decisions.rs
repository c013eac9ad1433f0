//! Promises of the scaling decisions, one situation each.

use std::collections::BTreeSet;

use sluice::ports::QueueMapping;
use sluice::scaling::decide::needs_load;
use sluice::scaling::observation::{AlarmLimit, MinuteLoad};
use sluice::scaling::shard_metrics::{SHARD_METRICS_READ, Switched};
use sluice::scaling::state::State;
use sluice::scaling::{
    Action, AlarmSeen, AlarmState, Blocked, Decision, Floor, FunctionSeen, Ledger, Load,
    Observation, Policy, Rate, Shard, ShardLevelMetrics, ShardLoad, ShardMetricsSeen, StreamStatus,
    Trigger, decide_scale_down, decide_scale_up,
};

const NOW_MS: u64 = 1_795_219_200_000;
const MINUTE_MS: u64 = 60_000;

fn policy() -> Policy {
    Policy {
        shard_count_default: 2,
        shard_count_min: 1,
        shard_count_max: 64,
        target_utilization: 0.8,
        sent_by_processor: Rate { bytes: 1e6, records: 1e3 },
        concurrency_per_shard: 1,
        reshard_calls_max: 10,
        reshards_kept_for_up: 4,
        reshards_kept_for_down: 3,
        look_back_minutes: 15,
        calm_minutes_per_call: 10,
        drain_seconds: 300.0,
        utilization_down_max: 0.6,
        lag_ms_max: 30_000,
    }
}

fn alarm(limit: AlarmLimit, shards: u32, state: AlarmState) -> AlarmSeen {
    let per_second = match limit {
        AlarmLimit::Bytes => 1e6,
        AlarmLimit::Records => 1e3,
        AlarmLimit::Refused => 0.0,
    };
    AlarmSeen {
        name: format!("{limit:?}"),
        limit,
        state,
        threshold: 0.8 * per_second * f64::from(shards) * 60.0,
        period_seconds: 60,
    }
}

/// A stream at rest: concurrency, thresholds and alarms are in line with `shards`.
fn at_rest(shards: u32) -> Observation {
    let limits = [AlarmLimit::Bytes, AlarmLimit::Records, AlarmLimit::Refused];
    Observation {
        now_ms: NOW_MS,
        trigger: Trigger::Reconcile,
        status: StreamStatus::Active,
        open_shards: shards,
        goal: None,
        is_goal_ordered: false,
        floor: None,
        reshards: Ledger::default(),
        functions: vec![FunctionSeen {
            name: "processor".to_owned(),
            share: 1.0,
            reserved: Some(shards),
            exists: true,
            mapping: None,
        }],
        lease: None,
        reservable_concurrency: None,
        alarms: limits.map(|limit| alarm(limit, shards, AlarmState::Ok)).to_vec(),
        load: None,
        shards: None,
        off_peak: false,
        shard_metrics: ShardMetricsSeen {
            mode: ShardLevelMetrics::Never,
            on: BTreeSet::new(),
            switched: Switched::default(),
        },
    }
}

fn load(megabytes_per_second: f64) -> Load {
    let accepted = Rate { bytes: megabytes_per_second * 1e6, records: megabytes_per_second * 40.0 };
    Load { minutes: vec![MinuteLoad { accepted, ..MinuteLoad::default() }; 15], ..Load::default() }
}

fn alarmed(shards: u32, load: Load) -> Observation {
    let mut seen = at_rest(shards);
    seen.trigger = Trigger::Alarm("Bytes".to_owned());
    seen.alarms[0].state = AlarmState::Alarm;
    seen.load = Some(load);
    seen
}

fn off_peak(shards: u32, load: Load) -> Observation {
    let mut seen = at_rest(shards);
    seen.trigger = Trigger::OffPeak;
    seen.off_peak = true;
    seen.load = Some(load);
    seen
}

fn target(decision: &Decision) -> Option<u32> {
    decision.actions.iter().find_map(|action| match action {
        Action::UpdateShardCount(target) => Some(*target),
        _ => None,
    })
}

fn place(decision: &Decision, found: impl Fn(&Action) -> bool) -> usize {
    decision
        .actions
        .iter()
        .position(found)
        .unwrap_or_else(|| panic!("not in {:?}", decision.actions))
}

fn ledger(calls: u64) -> Ledger {
    (0..calls).fold(Ledger::default(), |ledger, call| ledger.with_call(NOW_MS - call * MINUTE_MS))
}

#[test]
fn at_rest_nothing_is_done() {
    for shards in [1, 2, 3, 64] {
        let decision = decide_scale_up(&policy(), &at_rest(shards));
        assert_eq!(decision.actions, [], "{decision}");
    }
}

#[test]
fn metrics_are_read_only_when_they_can_change_something() {
    assert!(!needs_load(&at_rest(2)), "the reconcile wake-up would cost money");
    assert!(needs_load(&alarmed(2, load(0.1))));
    assert!(needs_load(&off_peak(2, load(0.1))));
}

#[test]
fn the_goal_carries_the_demand_at_the_target() {
    let decision = decide_scale_up(&policy(), &alarmed(4, load(8.6)));
    assert_eq!((decision.goal, target(&decision)), (11, Some(8)), "{decision}");
}

#[test]
fn a_ramp_is_climbed_in_whole_steps() {
    // Shard by shard it would spend the ten calls of a day before it is over.
    let decision = decide_scale_up(&policy(), &alarmed(4, load(3.6)));
    assert_eq!((decision.goal, target(&decision)), (8, Some(8)), "{decision}");
    // A goal that a smaller demand left behind is no reason for a smaller step.
    let mut seen = alarmed(4, load(3.6));
    seen.goal = Some(5);
    assert_eq!(target(&decide_scale_up(&policy(), &seen)), Some(8));
    // From eight shards on, half as many again is a step.
    assert_eq!(target(&decide_scale_up(&policy(), &alarmed(8, load(7.0)))), Some(12));
    assert_eq!(target(&decide_scale_up(&policy(), &alarmed(7, load(6.0)))), Some(14));
    // The maximum and a load that fits are reasons.
    assert_eq!(target(&decide_scale_up(&policy(), &alarmed(44, load(36.0)))), Some(64));
    assert_eq!(target(&decide_scale_up(&policy(), &alarmed(4, load(3.1)))), None);
}

#[test]
fn a_goal_beyond_double_is_reached_in_hops_of_at_most_double() {
    let mut seen = alarmed(2, load(0.0));
    let spike = Rate { bytes: 10e6, records: 400.0 };
    seen.load = Some(Load {
        minutes: vec![MinuteLoad { wanted: spike, ..MinuteLoad::default() }],
        ..Load::default()
    });
    let mut hops = Vec::new();
    for _ in 0..5 {
        let decision = decide_scale_up(&policy(), &seen);
        assert_eq!(decision.goal, 13, "{decision}");
        let Some(next) = target(&decision) else { break };
        hops.push(next);
        // The next wake-up knows the goal from the tags alone.
        seen = at_rest(next);
        seen.goal = Some(13);
    }
    assert_eq!(hops, [4, 8, 13]);
}

#[test]
fn a_fivefold_spike_does_not_look_like_a_full_stream() {
    // Accepted saturates at 4 MB/s; what was refused, wanted or waits says how much more it is.
    let full = Rate { bytes: 4e6, records: 160.0 };
    let refused =
        MinuteLoad { accepted: full, refused_records: 4.0 * 160.0, ..MinuteLoad::default() };
    let wanted =
        MinuteLoad { accepted: full, sent: full, wanted: full.times(5.0), ..MinuteLoad::default() };
    for minute in [refused, wanted] {
        let spike = Load { minutes: vec![minute], ..Load::default() };
        let decision = decide_scale_up(&policy(), &alarmed(4, spike));
        assert_eq!(decision.goal, 25, "{decision}");
    }
    let waiting = Load {
        minutes: vec![MinuteLoad { accepted: full, ..MinuteLoad::default() }],
        queue_age_ms: 300_000,
        ..Load::default()
    };
    let decision = decide_scale_up(&policy(), &alarmed(4, waiting));
    assert_eq!(decision.goal, 10, "{decision}");
}

#[test]
fn a_record_that_is_refused_ten_times_is_wanted_once() {
    let accepted = Rate { bytes: 2e6, records: 80.0 };
    let minute = MinuteLoad {
        accepted,
        refused_records: 400.0,
        sent: accepted,
        wanted: Rate { bytes: 3e6, records: 120.0 },
        ..MinuteLoad::default()
    };
    let load = Load { minutes: vec![minute], ..Load::default() };
    assert_eq!(decide_scale_up(&policy(), &alarmed(4, load)).goal, 4);
}

#[test]
fn a_backlog_that_drains_is_not_asked_for_twice() {
    // Four shards are full, but only 1 MB/s comes in: the rest is the backlog on its way out.
    let full = Rate { bytes: 4e6, records: 160.0 };
    let draining = MinuteLoad {
        accepted: full,
        sent: full,
        wanted: full.times(0.25),
        ..MinuteLoad::default()
    };
    let load = Load { minutes: vec![draining], queue_age_ms: 60_000, ..Load::default() };
    let decision = decide_scale_up(&policy(), &alarmed(4, load));
    assert_eq!(decision.goal, 4, "{decision}");
    // What others put counts as it is.
    let beside = MinuteLoad { accepted: full.times(1.5), ..draining };
    let load = Load { minutes: vec![beside], ..Load::default() };
    assert_eq!(decide_scale_up(&policy(), &alarmed(2, load)).goal, 4);
}

#[test]
fn one_heavy_minute_of_the_last_five_is_enough_and_an_older_one_is_past() {
    let mut spike = load(0.5);
    spike.minutes[12].accepted.bytes = 6.4e6;
    assert_eq!(decide_scale_up(&policy(), &alarmed(4, spike)).goal, 8);
    let mut past = load(0.5);
    past.minutes[2].accepted.bytes = 6.4e6;
    assert_eq!(decide_scale_up(&policy(), &alarmed(4, past)).goal, 4);
}

#[test]
fn a_goal_that_the_load_no_longer_asks_for_is_dropped_unless_a_person_ordered_it() {
    let mut seen = at_rest(8);
    seen.goal = Some(64);
    assert!(needs_load(&seen), "the load is asked again before the next hop");
    seen.load = Some(load(0.1));
    let dropped = decide_scale_up(&policy(), &seen);
    assert_eq!((dropped.goal, target(&dropped)), (8, None), "{dropped}");
    assert!(
        matches!(dropped.actions[..], [Action::SaveState(State { goal: None, .. })]),
        "{dropped}"
    );

    seen.is_goal_ordered = true;
    assert!(!needs_load(&seen));
    let kept = decide_scale_up(&policy(), &seen);
    assert_eq!((kept.goal, target(&kept)), (64, Some(16)), "{kept}");
    let is_saved = |action: &Action| {
        matches!(action, Action::SaveState(State { goal: Some(64), is_goal_ordered: true, .. }))
    };
    assert!(kept.actions.iter().any(is_saved), "{kept}");
}

#[test]
fn an_order_is_remembered_as_one() {
    let mut seen = at_rest(4);
    seen.trigger = Trigger::Manual(32);
    let decision = decide_scale_up(&policy(), &seen);
    let is_saved = |action: &Action| {
        matches!(action, Action::SaveState(State { goal: Some(32), is_goal_ordered: true, .. }))
    };
    assert!(decision.actions.iter().any(is_saved), "{decision}");
}

#[test]
fn single_events_that_grow_old_between_tries_are_no_backlog() {
    let full = Rate { bytes: 3e6, records: 120.0 };
    let minute = MinuteLoad { accepted: full, sent: full, wanted: full, ..MinuteLoad::default() };
    let load = Load { minutes: vec![minute; 15], queue_age_ms: 255_000, ..Load::default() };
    let decision = decide_scale_up(&policy(), &alarmed(4, load));
    assert_eq!(target(&decision), None, "{decision}");
}

#[test]
fn the_last_calls_are_kept_for_going_down_unless_the_load_presses() {
    let spent = |seen: Observation| Observation { reshards: ledger(7), ..seen };
    // 85 % of capacity can wait.
    let decision = decide_scale_up(&policy(), &spent(alarmed(8, load(6.8))));
    assert_eq!(target(&decision), None, "{decision}");
    assert!(decision.blocked.contains(&Blocked::CallsKeptForDown(3)), "{decision}");
    // More than fits cannot, nor can what has waited, nor what a person or a plan wants.
    assert_eq!(target(&decide_scale_up(&policy(), &spent(alarmed(8, load(8.1))))), Some(12));
    let waited = Load { queue_age_ms: 16 * MINUTE_MS, ..load(6.8) };
    assert!(target(&decide_scale_up(&policy(), &spent(alarmed(8, waited)))).is_some());
    let mut ordered = spent(alarmed(8, load(6.8)));
    ordered.trigger = Trigger::Manual(12);
    assert_eq!(target(&decide_scale_up(&policy(), &ordered)), Some(12));
    let mut planned = spent(alarmed(8, load(6.8)));
    planned.floor = Some(Floor { shards: 12, until_ms: NOW_MS + MINUTE_MS });
    assert_eq!(target(&decide_scale_up(&policy(), &planned)), Some(12));
    // A burst that is over does not press, whatever it left.
    let mut over = load(0.1);
    over.minutes[12].accepted.bytes = 40e6;
    assert_eq!(target(&decide_scale_up(&policy(), &spent(alarmed(8, over)))), None);
}

#[test]
fn single_splits_go_on_until_the_widest_shard_is_split() {
    // Six shards, two of them halves: what fits is what four equal ones take.
    let mut seen = alarmed(6, load(4.0));
    seen.reshards = ledger(10);
    let widths = [(0, 8), (1, 8), (1, 4), (2, 4), (3, 4)];
    let mut shards: Vec<ShardLoad> =
        widths.into_iter().map(|(number, of)| shard(number, of, None)).collect();
    shards.push(shard(0, 4, None));
    seen.shards = Some(shards);
    let decision = decide_scale_up(&policy(), &seen);
    let splits = |action: &Action| matches!(action, Action::SplitShard { .. });
    assert!(decision.actions.iter().any(splits), "{decision}");
    // Equal shards take it.
    seen.shards = Some((0..6).map(|number| shard(number, 6, None)).collect());
    assert!(!decide_scale_up(&policy(), &seen).actions.iter().any(splits));
}

fn equal(shards: u128) -> Option<Vec<ShardLoad>> {
    Some((0..shards).map(|number| shard(number, shards, None)).collect())
}

fn merged(decision: &Decision) -> Option<(&str, &str)> {
    decision.actions.iter().find_map(|action| match action {
        Action::MergeShards { shard_id, adjacent_shard_id } => {
            Some((shard_id.as_str(), adjacent_shard_id.as_str()))
        }
        _ => None,
    })
}

#[test]
fn what_was_split_one_by_one_is_merged_back_a_pair_at_a_time_once_it_is_calm() {
    // Four equal shards of which two were split.
    let mut seen = at_rest(6);
    let halves = (0..4).map(|number| shard(number, 8, None));
    seen.shards = Some(halves.chain([shard(2, 4, None), shard(3, 4, None)]).collect());
    assert!(needs_load(&seen), "nothing else is to be done, and the load decides");
    seen.load = Some(load(1.0));
    let decision = decide_scale_up(&policy(), &seen);
    assert_eq!(merged(&decision), Some(("shard-0", "shard-1")), "{decision}");
    assert_eq!((target(&decision), decision.shards_after()), (None, 5), "no call is spent");
    // Three of four shards' worth: more may be needed soon.
    seen.load = Some(load(3.0));
    assert_eq!(merged(&decide_scale_up(&policy(), &seen)), None);
    // Not while an alarm says otherwise, nor when the load is not known.
    seen.load = Some(load(1.0));
    let mut alarmed = seen.clone();
    alarmed.alarms[2].state = AlarmState::Alarm;
    assert_eq!(merged(&decide_scale_up(&policy(), &alarmed)), None);
    let unknown = Observation { load: None, ..seen.clone() };
    assert_eq!(merged(&decide_scale_up(&policy(), &unknown)), None);
    // Never below a plan's floor, nor below the default.
    let mut planned = seen.clone();
    planned.floor = Some(Floor { shards: 6, until_ms: NOW_MS + 60_000 });
    assert_eq!(merged(&decide_scale_up(&policy(), &planned)), None);
    let policy = Policy { shard_count_default: 6, ..policy() };
    assert_eq!(merged(&decide_scale_up(&policy, &seen)), None);
}

#[test]
fn what_was_split_for_its_heat_is_not_merged_for_a_day() {
    let mut seen = at_rest(5);
    let mut shards = equal(4).expect("shards");
    shards.splice(1..2, [shard(2, 8, None), shard(3, 8, None)]);
    seen.shards = Some(shards);
    seen.load = Some(load(1.2));
    seen.shard_metrics.on = SHARD_METRICS_READ.map(str::to_owned).into();
    assert_eq!(merged(&decide_scale_up(&policy(), &seen)), None, "one may be hot");
    seen.shard_metrics.on.clear();
    seen.shard_metrics.switched.suspected_ms = NOW_MS - 86_399_999;
    assert_eq!(merged(&decide_scale_up(&policy(), &seen)), None, "one was hot");
    seen.shard_metrics.switched.suspected_ms = NOW_MS - 86_400_000;
    assert_eq!(merged(&decide_scale_up(&policy(), &seen)), Some(("shard-2", "shard-3")));
}

#[test]
fn an_alarm_that_comes_late_or_twice_changes_nothing() {
    let mut seen = at_rest(8);
    seen.trigger = Trigger::Alarm("Bytes".to_owned());
    seen.load = Some(load(4.0));
    let decision = decide_scale_up(&policy(), &seen);
    assert_eq!(decision.actions, [], "{decision}");
}

#[test]
fn an_alarm_without_a_readable_load_gets_one_step() {
    let mut seen = alarmed(4, load(0.0));
    seen.load = None;
    assert_eq!(target(&decide_scale_up(&policy(), &seen)), Some(8));
    // Its threshold belongs to two shards: it is about the past.
    seen.alarms[0] = alarm(AlarmLimit::Bytes, 2, AlarmState::Alarm);
    assert_eq!(target(&decide_scale_up(&policy(), &seen)), None);
}

#[test]
fn the_maximum_holds() {
    let decision = decide_scale_up(&policy(), &alarmed(40, load(500.0)));
    assert_eq!(target(&decision), Some(64), "{decision}");
    assert!(decision.blocked.contains(&Blocked::AtMaximum));
    let decision = decide_scale_up(&policy(), &alarmed(64, load(500.0)));
    assert_eq!(target(&decision), None, "{decision}");
}

#[test]
fn while_resharding_the_goal_is_raised_and_nothing_else_is_touched() {
    for status in [StreamStatus::Updating, StreamStatus::Creating] {
        let mut seen = alarmed(4, load(12.0));
        seen.status = status;
        seen.goal = Some(8);
        seen.functions[0].reserved = Some(2);
        let decision = decide_scale_up(&policy(), &seen);
        assert_eq!(decision.goal, 15, "{decision}");
        assert!(matches!(decision.actions[..], [Action::SaveState(State { goal: Some(15), .. })]));
    }
}

#[test]
fn concurrency_and_thresholds_rise_only_once_the_shards_are_open() {
    let rising = decide_scale_up(&policy(), &alarmed(4, load(6.4)));
    assert_eq!(target(&rising), Some(8));
    let touches = |action: &Action| {
        matches!(action, Action::PutConcurrency { .. } | Action::PutThreshold { .. })
    };
    assert!(!rising.actions.iter().any(touches), "{rising}");

    let mut opened = at_rest(4);
    opened.open_shards = 8;
    opened.goal = Some(8);
    let follows = decide_scale_up(&policy(), &opened);
    let concurrency = Action::PutConcurrency { function: "processor".to_owned(), reserved: 8 };
    assert!(follows.actions.contains(&concurrency), "{follows}");
    let thresholds: Vec<f64> = follows
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::PutThreshold { threshold, .. } => Some(*threshold),
            _ => None,
        })
        .collect();
    assert_eq!(thresholds, [0.8 * 8e6 * 60.0, 0.8 * 8e3 * 60.0]);
    let saved =
        place(&follows, |action| matches!(action, Action::SaveState(State { goal: None, .. })));
    assert!(saved > place(&follows, touches), "the goal is forgotten last");
}

#[test]
fn concurrency_and_thresholds_fall_before_the_shards_close() {
    let decision = decide_scale_down(&policy(), &off_peak(8, load(0.1)));
    let closes = place(&decision, |action| matches!(action, Action::UpdateShardCount(4)));
    let concurrency = Action::PutConcurrency { function: "processor".to_owned(), reserved: 4 };
    assert!(place(&decision, |action| *action == concurrency) < closes, "{decision}");
    assert!(place(&decision, |action| matches!(action, Action::PutThreshold { .. })) < closes);
}

#[test]
fn the_ledger_is_written_before_the_call_that_it_counts() {
    for decision in [
        decide_scale_up(&policy(), &alarmed(4, load(6.4))),
        decide_scale_down(&policy(), &off_peak(8, load(0.1))),
    ] {
        let saved = place(&decision, |action| match action {
            Action::SaveState(State { reshards, .. }) => reshards.used(NOW_MS) == 1,
            _ => false,
        });
        assert!(saved < place(&decision, |action| matches!(action, Action::UpdateShardCount(_))));
        assert_eq!(decision.reshards_left, 9);
    }
}

#[test]
fn an_alarm_in_alarm_is_armed_again_after_an_act_and_only_then() {
    let decision = decide_scale_up(&policy(), &alarmed(4, load(6.4)));
    assert_eq!(decision.actions.last(), Some(&Action::Rearm { alarm: "Bytes".to_owned() }));
    let nothing = decide_scale_up(&policy(), &alarmed(4, load(0.5)));
    assert_eq!(nothing.actions, [], "{nothing}");
}

fn shard(number: u128, shards: u128, offered: Option<f64>) -> ShardLoad {
    let width = u128::MAX / shards;
    let shard =
        Shard { id: format!("shard-{number}"), from: number * width, to: (number + 1) * width - 1 };
    let offered = offered.map(|bytes| Rate { bytes, records: 40.0 });
    ShardLoad { shard, offered }
}

#[test]
fn when_the_calls_are_gone_the_hottest_shard_is_split() {
    let mut seen = alarmed(4, load(6.4));
    seen.reshards = ledger(10);
    seen.shards = Some((0..4).map(|n| shard(n, 4, Some(1e5 * (n % 3) as f64))).collect());
    let decision = decide_scale_up(&policy(), &seen);
    assert_eq!(target(&decision), None, "{decision}");
    assert!(decision.blocked.contains(&Blocked::CallsGone));
    let width = u128::MAX / 4;
    let split = Action::SplitShard {
        shard_id: "shard-2".to_owned(),
        new_starting_hash_key: 2 * width + (width - 1) / 2 + 1,
    };
    assert!(decision.actions.contains(&split), "{:?}", decision.actions);
    assert_eq!(decision.shards_after(), 5);
}

#[test]
fn while_shards_are_uneven_concurrency_and_thresholds_follow_the_widest() {
    // 33 equal shards of which four are split: 37 are open, and even keys fill what 33 take.
    let mut seen = at_rest(37);
    let halves = (0..8).map(|number| shard(number, 66, None));
    let uneven: Vec<_> = halves.chain((4..33).map(|number| shard(number, 33, None))).collect();
    seen.shards = Some(uneven);
    let decision = decide_scale_up(&policy(), &seen);
    let concurrency = |decision: &Decision| {
        decision.actions.iter().find_map(|action| match action {
            Action::PutConcurrency { reserved, .. } => Some(*reserved),
            _ => None,
        })
    };
    let wanted = policy().concurrency(33, 1.0);
    assert_eq!(concurrency(&decision), Some(wanted), "{decision}");
    let thresholds = decision
        .actions
        .iter()
        .filter(|action| matches!(action, Action::PutThreshold { .. }))
        .count();
    assert_eq!(thresholds, 2, "{:?}", decision.actions);
    // Splits that followed heat leave the cold shards wide, and keys are not even.
    seen.shard_metrics.on = SHARD_METRICS_READ.map(str::to_owned).into();
    assert_eq!(decide_scale_up(&policy(), &seen).actions, []);
    seen.shard_metrics.on.clear();
    // As far as is known, shards are even.
    seen.shards = None;
    assert_eq!(decide_scale_up(&policy(), &seen).actions, []);
}

#[test]
fn evenly_split_streams_get_their_shard_count() {
    let policy = Policy { shard_count_max: 512, ..policy() };
    for shards in 1..=512_u32 {
        let mut seen = at_rest(shards);
        // UpdateShardCount's ranges differ by one hash key where the hash space does not divide.
        let (width, rest) = (u128::MAX / u128::from(shards), u128::MAX % u128::from(shards) + 1);
        let begin = |n: u32| u128::from(n) * width + u128::from(n).min(rest);
        let range = |n: u32| {
            let to = if n + 1 == shards { u128::MAX } else { begin(n + 1) - 1 };
            let shard = Shard { id: format!("shard-{n}"), from: begin(n), to };
            ShardLoad { shard, offered: None }
        };
        seen.shards = Some((0..shards).map(range).collect());
        assert_eq!(decide_scale_up(&policy, &seen).actions, [], "{shards} shards");
    }
}

#[test]
fn a_call_counts_for_24_hours_and_no_longer() {
    let mut seen = alarmed(4, load(6.4));
    seen.reshards = ledger(10);
    seen.now_ms = NOW_MS + 86_400_000;
    assert_eq!(target(&decide_scale_up(&policy(), &seen)), Some(8));
}

#[test]
fn a_hot_shard_in_a_stream_with_room_is_split() {
    let mut seen = at_rest(4);
    seen.alarms[2].state = AlarmState::Alarm;
    seen.load = Some(load(1.6));
    let hot = |n| if n == 1 { 1.4e6 } else { 0.1e6 };
    seen.shards = Some((0..4).map(|n| shard(n, 4, Some(hot(n)))).collect());
    let decision = decide_scale_up(&policy(), &seen);
    let is_hot = |action: &Action| matches!(action, Action::SplitShard { shard_id, .. } if shard_id == "shard-1");
    assert!(decision.actions.iter().any(is_hot), "{decision}");
}

#[test]
fn a_single_hot_key_is_reported_and_not_chased() {
    let mut seen = at_rest(4);
    seen.alarms[2].state = AlarmState::Alarm;
    seen.load = Some(load(1.6));
    let mut shards: Vec<_> = (0..4).map(|n| shard(n, 4, Some(0.1e6))).collect();
    // It was split until it is a sixteenth of the others.
    shards[1].shard.to = shards[1].shard.from + u128::MAX / 64;
    shards[1].offered = Some(Rate { bytes: 1.4e6, records: 40.0 });
    seen.shards = Some(shards);
    let decision = decide_scale_up(&policy(), &seen);
    assert_eq!(decision.blocked, [Blocked::KeySkew("shard-1".to_owned())], "{decision}");
    assert_eq!(decision.shards_after(), 4);
}

#[test]
fn refused_records_without_a_known_shard_are_reported() {
    let mut seen = at_rest(4);
    seen.alarms[2].state = AlarmState::Alarm;
    seen.load = Some(load(1.6));
    let decision = decide_scale_up(&policy(), &seen);
    assert_eq!(decision.blocked, [Blocked::HotShardSuspected]);
}

#[test]
fn a_plan_is_kept_until_it_ends() {
    let floor = Floor { shards: 16, until_ms: NOW_MS + 60 * MINUTE_MS };
    let mut seen = at_rest(8);
    seen.trigger = Trigger::Floor(floor);
    let decision = decide_scale_up(&policy(), &seen);
    assert_eq!((decision.goal, target(&decision)), (16, Some(16)), "{decision}");
    let saved = |action: &Action| matches!(action, Action::SaveState(State { floor: Some(f), .. }) if *f == floor);
    place(&decision, saved);

    let mut planned = off_peak(16, load(0.1));
    planned.floor = Some(floor);
    let down = decide_scale_down(&policy(), &planned);
    assert_eq!((target(&down), &down.blocked[..]), (None, &[Blocked::Floor(16)][..]), "{down}");
    planned.now_ms = floor.until_ms;
    assert_eq!(target(&decide_scale_down(&policy(), &planned)), Some(8));
}

#[test]
fn a_person_goes_both_ways_in_legal_steps_within_bounds() {
    for (open, wanted, step) in [(4, 64, 8), (16, 3, 8), (5, 2, 3), (4, 6, 6), (4, 4, 4)] {
        let mut seen = at_rest(open);
        seen.trigger = Trigger::Manual(wanted);
        let decision = decide_scale_up(&policy(), &seen);
        assert_eq!(decision.goal, wanted, "{decision}");
        assert_eq!(target(&decision).unwrap_or(open), step, "{decision}");
    }
    let mut seen = at_rest(4);
    seen.trigger = Trigger::Manual(1_000);
    assert_eq!(decide_scale_up(&policy(), &seen).goal, 64);
}

#[test]
fn going_down_by_hand_lowers_the_concurrency_first() {
    let mut seen = at_rest(16);
    seen.trigger = Trigger::Manual(4);
    let decision = decide_scale_up(&policy(), &seen);
    let lowered = Action::PutConcurrency { function: "processor".to_owned(), reserved: 8 };
    let closes = place(&decision, |action| matches!(action, Action::UpdateShardCount(8)));
    assert!(place(&decision, |action| *action == lowered) < closes, "{decision}");
}

#[test]
fn the_accounts_edge_holds_the_concurrency_and_not_the_shards() {
    let mut seen = alarmed(8, load(12.0));
    seen.functions[0].reserved = Some(4);
    seen.reservable_concurrency = Some(2);
    let decision = decide_scale_up(&policy(), &seen);
    let held = Action::PutConcurrency { function: "processor".to_owned(), reserved: 6 };
    assert!(decision.actions.contains(&held), "{decision}");
    let edge = Blocked::ConcurrencyAtEdge { function: "processor".to_owned(), wanted: 8 };
    assert!(decision.blocked.contains(&edge));
    assert_eq!(target(&decision), Some(15), "12 MB/s at 80 %: {decision}");
}

fn mapping(maximum: Option<u32>) -> QueueMapping {
    QueueMapping { id: "mapping".to_owned(), queue: "buffer".to_owned(), maximum }
}

fn mapped_to(decision: &Decision) -> Option<u32> {
    assert!(
        !decision.actions.iter().any(|action| matches!(action, Action::PutConcurrency { .. })),
        "{decision}"
    );
    decision.actions.iter().find_map(|action| match action {
        Action::PutMappingConcurrency { mapping, maximum, .. } if mapping == "mapping" => {
            Some(*maximum)
        }
        _ => None,
    })
}

#[test]
fn the_mapping_of_a_queue_follows_the_shards_and_nothing_is_reserved() {
    for (shards, maximum, wanted) in [
        (8, Some(4), Some(8)),
        (8, None, Some(8)),
        (8, Some(9), Some(8)),
        (8, Some(8), None),
        // Lambda takes two to a thousand.
        (1, Some(8), Some(2)),
        (1, Some(2), None),
        (2_000, Some(8), Some(1_000)),
    ] {
        let policy = Policy { shard_count_max: 10_000, ..policy() };
        let mut seen = at_rest(shards);
        seen.functions[0].mapping = Some(mapping(maximum));
        // What an account can still reserve is no matter.
        seen.reservable_concurrency = Some(0);
        let decision = decide_scale_up(&policy, &seen);
        assert_eq!(mapped_to(&decision), wanted, "{shards} shards: {decision}");
        assert_eq!(!decision.blocked.is_empty(), shards > 1_000, "{decision}");
    }
}

#[test]
fn the_mapping_falls_before_the_shards_close() {
    let mut seen = off_peak(8, load(0.1));
    seen.functions[0].mapping = Some(mapping(Some(8)));
    let decision = decide_scale_down(&policy(), &seen);
    assert_eq!(mapped_to(&decision), Some(4), "{decision}");
    let falls = place(&decision, |action| matches!(action, Action::PutMappingConcurrency { .. }));
    let closes = place(&decision, |action| matches!(action, Action::UpdateShardCount(4)));
    assert!(falls < closes, "{decision}");
}

#[test]
fn shares_split_the_concurrency_and_stop_no_function() {
    let mut seen = at_rest(8);
    seen.functions = [("one", 0.75), ("two", 0.25), ("tiny", 0.001)]
        .map(|(name, share)| FunctionSeen {
            name: name.to_owned(),
            share,
            reserved: None,
            exists: true,
            mapping: None,
        })
        .to_vec();
    let decision = decide_scale_up(&policy(), &seen);
    let expected = [("one", 6), ("two", 2), ("tiny", 1)]
        .map(|(name, reserved)| Action::PutConcurrency { function: name.to_owned(), reserved });
    assert_eq!(decision.actions, expected);
}

#[test]
fn a_missing_function_is_named_and_keeps_no_shard_from_opening() {
    let mut seen = alarmed(4, load(6.4));
    seen.functions[0].exists = false;
    seen.functions[0].reserved = None;
    let decision = decide_scale_up(&policy(), &seen);
    assert_eq!(target(&decision), Some(8), "{decision}");
    assert_eq!(decision.blocked, [Blocked::FunctionMissing("processor".to_owned())]);
    assert!(!decision.actions.iter().any(|action| matches!(action, Action::PutConcurrency { .. })));
}

#[test]
fn an_odd_number_of_shards_halves_upwards() {
    for (open, half) in [(5, 3), (3, 2), (4, 2), (7, 4), (64, 32)] {
        let decision = decide_scale_down(&policy(), &off_peak(open, load(0.01)));
        assert_eq!(target(&decision), Some(half), "{decision}");
    }
}

#[test]
fn a_single_shard_doubles_and_a_silent_stream_halves() {
    assert_eq!(target(&decide_scale_up(&policy(), &alarmed(1, load(0.93)))), Some(2));
    assert_eq!(target(&decide_scale_down(&policy(), &off_peak(64, load(0.0)))), Some(32));
    // No data points at all.
    assert_eq!(target(&decide_scale_down(&policy(), &off_peak(16, Load::default()))), Some(8));
}

#[test]
fn the_default_is_the_floor_of_every_halving() {
    let mut policy = policy();
    policy.shard_count_default = 3;
    assert_eq!(target(&decide_scale_down(&policy, &off_peak(4, load(0.01)))), Some(3));
    for open in [1, 2, 3] {
        let decision = decide_scale_down(&policy, &off_peak(open, load(0.01)));
        assert_eq!((target(&decision), &decision.blocked[..]), (None, &[Blocked::AtDefault][..]));
    }
}

#[test]
fn every_gate_keeps_the_shards_and_says_so() {
    type Change = fn(&mut Observation);
    let gates: [(Change, Blocked); 10] = [
        (|seen| seen.off_peak = false, Blocked::OutsideWindow),
        (|seen| seen.status = StreamStatus::Updating, Blocked::Resharding(StreamStatus::Updating)),
        (|seen| seen.goal = Some(16), Blocked::GoalPending(16)),
        (|seen| seen.alarms[1].state = AlarmState::Alarm, Blocked::Alarmed),
        (|seen| seen.load = None, Blocked::NoLoad),
        (|seen| seen.load = Some(load(2.8)), Blocked::Busy(0.7)),
        // Neither the queue nor the processor is slow alone, but both together are.
        (
            |seen| {
                seen.load = Some(Load { queue_age_ms: 20_000, lag_ms: 30_001, ..load(0.1) });
            },
            Blocked::Lagging(30_001),
        ),
        (
            |seen| seen.load = Some(Load { iterator_age_ms: 30_001, ..load(0.1) }),
            Blocked::IteratorAge(30_001),
        ),
        (
            |seen| seen.load = Some(Load { queue_age_ms: 30_001, ..load(0.1) }),
            Blocked::Backlog(30_001),
        ),
        (|seen| seen.reshards = ledger(6), Blocked::CallsKept(4)),
    ];
    assert_eq!(target(&decide_scale_down(&policy(), &off_peak(8, load(0.1)))), Some(4));
    for (change, blocked) in gates {
        let mut seen = off_peak(8, load(0.1));
        change(&mut seen);
        let decision = decide_scale_down(&policy(), &seen);
        assert_eq!(target(&decision), None, "{blocked:?}: {decision}");
        assert_eq!(decision.blocked, [blocked]);
    }
}

#[test]
fn a_peak_anywhere_in_the_look_back_keeps_the_shards() {
    let mut peak = load(0.1);
    peak.minutes[0].accepted.bytes = 3e6;
    let decision = decide_scale_down(&policy(), &off_peak(8, peak));
    assert_eq!(decision.blocked, [Blocked::Busy(0.75)], "{decision}");
}

#[test]
fn the_fewer_calls_are_left_the_longer_the_calm_must_last() {
    let mut calm = load(0.1);
    calm.minutes = [load(6.0).minutes, load(0.1).minutes, load(0.1).minutes].concat();
    let seen = |calls| Observation { reshards: ledger(calls), ..off_peak(8, calm.clone()) };
    // 30 minutes of calm: 15, and 10 for a call, but not 20 for two.
    assert_eq!(target(&decide_scale_down(&policy(), &seen(0))), Some(4));
    assert_eq!(target(&decide_scale_down(&policy(), &seen(1))), Some(4));
    let decision = decide_scale_down(&policy(), &seen(2));
    assert_eq!(target(&decision), None, "{decision}");
}

#[test]
fn a_refused_way_down_leaves_an_unfinished_goal_alone() {
    let mut seen = off_peak(8, load(0.1));
    seen.goal = Some(16);
    let decision = decide_scale_down(&policy(), &seen);
    assert_eq!(decision.actions, [], "{decision}");
}

#[test]
fn a_decision_reads_as_one_line() {
    let mut seen = alarmed(2, load(3.0));
    seen.reshards = ledger(3);
    let decision = decide_scale_up(&policy(), &seen);
    assert_eq!(
        decision.to_string(),
        "go from 2 to 4 shards; demand 3.000 MB/s and 120 records/s, 150 % of capacity; \
         re-arm Bytes; $0.030 an hour before, $0.060 after; 6 reshard calls left"
    );
    let stays = decide_scale_down(&policy(), &off_peak(2, load(0.1)));
    assert_eq!(
        stays.to_string(),
        "stay at 2 shards; demand 0.100 MB/s and 4 records/s, 5 % of capacity; not more, since at \
         the default; $0.030 an hour before, $0.030 after; 10 reshard calls left"
    );
}
