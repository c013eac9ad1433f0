//! Promises about the metrics of each shard: switched on while a hot shard is suspected, off again
//! when it is over, and never off when somebody else switched them on.

use std::collections::BTreeSet;

use sluice::scaling::observation::{AlarmLimit, MinuteLoad};
use sluice::scaling::shard_metrics::{CALM_MS, PAUSE_MS, SHARD_METRICS_READ, Switched};
use sluice::scaling::{
    Action, AlarmSeen, AlarmState, Blocked, Decision, Ledger, Load, Observation, Policy, Rate,
    Shard, ShardLevelMetrics, ShardLoad, ShardMetricsAction, ShardMetricsSeen, StreamStatus,
    Trigger, decide_scale_down, decide_scale_up,
};

const NOW_MS: u64 = 1_795_219_200_000;
const MINUTE_MS: u64 = 60_000;
const SHARDS: u32 = 4;

fn policy() -> Policy {
    Policy {
        shard_count_default: SHARDS,
        shard_count_min: 1,
        shard_count_max: 64,
        target_utilization: 0.8,
        sent_by_processor: Rate { bytes: 1e6, records: 1e3 },
        concurrency_per_shard: 1,
        reshard_calls_max: 10,
        reshards_kept_for_up: 0,
        reshards_kept_for_down: 3,
        look_back_minutes: 15,
        calm_minutes_per_call: 10,
        drain_seconds: 600.0,
        utilization_down_max: 0.65,
        lag_ms_max: 30_000,
    }
}

fn names<const N: usize>(metrics: [&str; N]) -> BTreeSet<String> {
    BTreeSet::from(metrics.map(str::to_owned))
}

fn read() -> BTreeSet<String> {
    names(SHARD_METRICS_READ)
}

/// A minute of `megabytes` a second in records of 10 KB, of which `refused` a second were not taken,
/// while so many shards were open.
fn minute(megabytes: f64, refused: f64, open_shards: u32) -> MinuteLoad {
    let accepted = Rate { bytes: megabytes * 1e6, records: megabytes * 100.0 };
    let open_shards = Some(open_shards);
    MinuteLoad { accepted, refused_records: refused, open_shards, ..MinuteLoad::default() }
}

/// Four shards that refuse though all of them together are half used.
fn suspicious() -> Observation {
    let refused = AlarmSeen {
        name: "refused".to_owned(),
        limit: AlarmLimit::Refused,
        state: AlarmState::Alarm,
        threshold: 0.0,
        period_seconds: 60,
    };
    Observation {
        now_ms: NOW_MS,
        trigger: Trigger::Reconcile,
        status: StreamStatus::Active,
        open_shards: SHARDS,
        goal: None,
        is_goal_ordered: false,
        floor: None,
        reshards: Ledger::default(),
        functions: Vec::new(),
        lease: None,
        reservable_concurrency: None,
        alarms: vec![refused],
        load: Some(Load { minutes: vec![minute(2.0, 40.0, SHARDS); 5], ..Load::default() }),
        shards: None,
        off_peak: false,
        shard_metrics: ShardMetricsSeen {
            mode: ShardLevelMetrics::Auto,
            on: BTreeSet::new(),
            switched: Switched::default(),
        },
    }
}

fn with_minutes(minutes: Vec<MinuteLoad>) -> Observation {
    Observation { load: Some(Load { minutes, ..Load::default() }), ..suspicious() }
}

/// The metrics that were read are on, switched on by scaling so long ago; suspected until then.
fn switched(minutes_ago: u64) -> Observation {
    let ago_ms = NOW_MS - minutes_ago * MINUTE_MS;
    let mut seen = suspicious();
    seen.shard_metrics.on = read();
    seen.shard_metrics.switched =
        Switched { changed_ms: ago_ms, suspected_ms: ago_ms, metrics: read() };
    seen
}

/// As [`switched`], and nothing refuses any more.
fn calm(minutes_ago: u64) -> Observation {
    let mut seen = switched(minutes_ago);
    seen.alarms[0].state = AlarmState::Ok;
    seen.load = None;
    seen
}

fn decide(seen: &Observation) -> Decision {
    decide_scale_up(&policy(), seen)
}

fn switches(seen: &Observation) -> Vec<ShardMetricsAction> {
    let actions = decide(seen).actions.into_iter();
    actions
        .filter_map(|action| match action {
            Action::ShardMetrics(action) => Some(action),
            _ => None,
        })
        .collect()
}

#[test]
fn a_suspected_hot_shard_switches_on_what_shows_it_and_notes_it_first() {
    let seen = suspicious();
    let noted = Switched { changed_ms: NOW_MS, suspected_ms: NOW_MS, metrics: read() };
    assert_eq!(
        switches(&seen),
        [ShardMetricsAction::Note(noted), ShardMetricsAction::Enable(read())]
    );
    let said = decide(&seen).to_string();
    assert!(
        said.contains("switch the metrics of each shard on, since records are refused"),
        "{said}"
    );
}

#[test]
fn one_burst_is_no_suspicion_and_three_minutes_of_five_are() {
    for (refusing, is_suspected) in [(0, false), (1, false), (2, false), (3, true), (5, true)] {
        let mut minutes = vec![minute(2.0, 0.0, SHARDS); 5 - refusing];
        minutes.extend(vec![minute(2.0, 40.0, SHARDS); refusing]);
        assert_eq!(!switches(&with_minutes(minutes)).is_empty(), is_suspected, "{refusing}");
    }
    // Minutes before the last five are past.
    let mut minutes = vec![minute(2.0, 40.0, SHARDS); 3];
    minutes.extend(vec![minute(2.0, 0.0, SHARDS); 4]);
    assert_eq!(switches(&with_minutes(minutes)), []);
}

#[test]
fn an_even_overload_is_no_suspicion() {
    // What was refused before a doubling, under the alarm that has not seen its end yet: with the
    // shards of now, each of these minutes had room.
    let overload = minute(2.0, 40.0, SHARDS / 2);
    assert_eq!(switches(&with_minutes(vec![overload; 5])), []);
    // Nobody knows how many shards were open.
    let unknown = MinuteLoad { open_shards: None, ..minute(2.0, 40.0, SHARDS) };
    assert_eq!(switches(&with_minutes(vec![unknown; 5])), []);
    // Refused is less than a twentieth of what an even shard is asked to take.
    assert_eq!(switches(&with_minutes(vec![minute(2.0, 2.5, SHARDS); 5])), []);
    assert_ne!(switches(&with_minutes(vec![minute(2.0, 2.6, SHARDS); 5])), []);
}

#[test]
fn a_reshard_that_is_due_comes_first() {
    // Three shards' worth and a half of records, hot or not: the stream grows.
    let mut growing = with_minutes(vec![minute(3.0, 60.0, SHARDS); 5]);
    let decision = decide(&growing);
    assert!(decision.goal > SHARDS, "{decision}");
    assert_eq!(switches(&growing), []);
    growing.status = StreamStatus::Updating;
    assert_eq!(switches(&growing), []);
    let mut updating = suspicious();
    updating.status = StreamStatus::Updating;
    assert_eq!(switches(&updating), []);
    // A split of the shard that is known to be hot makes the stream UPDATING as well.
    let mut known = switched(10);
    known.shard_metrics.on.remove("IncomingRecords");
    known.shards = Some(vec![ShardLoad {
        shard: Shard { id: "hot".to_owned(), from: 0, to: u128::MAX / 2 },
        offered: Some(Rate { bytes: 2e6, records: 10.0 }),
    }]);
    let decision = decide(&known);
    assert_eq!(decision.shards_after(), SHARDS + 1, "{decision}");
    assert!(!switches(&known).iter().any(|action| matches!(action, ShardMetricsAction::Enable(_))));
    // Nor do they go off while more is to come, or an alarm says that something is scarce.
    let mut calm = calm(60);
    calm.goal = Some(SHARDS * 2);
    calm.is_goal_ordered = true;
    assert_eq!(switches(&calm), []);
    // Ten calls are gone and no shard is known: nothing reshards now, and the goal is still ahead.
    calm.reshards =
        (0..10).fold(Ledger::default(), |ledger, n| ledger.with_call(NOW_MS - n * 1_000));
    assert_eq!(decide(&calm).shards_after(), SHARDS);
    assert_eq!(switches(&calm), []);
    calm.reshards = Ledger::default();
    calm.goal = None;
    calm.alarms[0].limit = AlarmLimit::Bytes;
    calm.alarms[0].state = AlarmState::Alarm;
    calm.load = Some(Load { minutes: vec![minute(2.0, 0.0, SHARDS); 5], ..Load::default() });
    assert_eq!(switches(&calm), []);
}

#[test]
fn a_shard_that_could_not_be_split_needs_no_metrics() {
    let policy = Policy { shard_count_max: SHARDS, ..policy() };
    let decision = decide_scale_up(&policy, &suspicious());
    assert!(
        !decision.actions.iter().any(|action| matches!(action, Action::ShardMetrics(_))),
        "{decision}"
    );
}

#[test]
fn they_stay_while_the_suspicion_lasts_which_is_noted_every_five_minutes() {
    assert_eq!(switches(&switched(4)), []);
    let seen = switched(5);
    let noted = Switched { suspected_ms: NOW_MS, ..seen.shard_metrics.switched.clone() };
    assert_eq!(switches(&seen), [ShardMetricsAction::Note(noted)]);
}

#[test]
fn an_hour_without_suspicion_switches_them_off_and_forgets_them_last() {
    assert_eq!(switches(&calm(59)), []);
    assert_eq!(CALM_MS, 60 * MINUTE_MS);
    let seen = calm(60);
    let trying = Switched { changed_ms: NOW_MS, ..seen.shard_metrics.switched.clone() };
    let done = Switched { metrics: BTreeSet::new(), ..trying.clone() };
    assert_eq!(
        switches(&seen),
        [
            ShardMetricsAction::Note(trying),
            ShardMetricsAction::Disable(read()),
            ShardMetricsAction::Note(done),
        ]
    );
    let said = decide(&seen).to_string();
    assert!(said.contains("off, since no shard has been suspected for 60 minutes"), "{said}");
}

#[test]
fn nothing_is_switched_twice_within_five_minutes() {
    for (ago_ms, is_free) in [(0, false), (PAUSE_MS - 1_000, false), (PAUSE_MS, true)] {
        let mut again = suspicious();
        again.shard_metrics.switched.changed_ms = NOW_MS - ago_ms;
        assert_eq!(!switches(&again).is_empty(), is_free, "on after {ago_ms} ms");
        let mut off = calm(60);
        off.shard_metrics.switched.changed_ms = NOW_MS - ago_ms;
        assert_eq!(!switches(&off).is_empty(), is_free, "off after {ago_ms} ms");
    }
    // A note from a clock that is ahead waits for it.
    let mut ahead = suspicious();
    ahead.shard_metrics.switched.changed_ms = NOW_MS + 10 * MINUTE_MS;
    assert_eq!(switches(&ahead), []);
}

#[test]
fn what_somebody_else_switched_on_stays() {
    // All that is needed was on already: nothing is noted, nothing is switched off ever.
    let mut theirs = suspicious();
    theirs.shard_metrics.on = read();
    assert_eq!(switches(&theirs), []);
    theirs.alarms[0].state = AlarmState::Ok;
    theirs.load = None;
    assert_eq!(switches(&theirs), []);
    // A part was on: the rest is switched on, and the rest alone off again.
    let mut part = suspicious();
    part.shard_metrics.on = names(["IncomingBytes", "OutgoingBytes"]);
    let ours = names(["IncomingRecords", "WriteProvisionedThroughputExceeded"]);
    let actions = switches(&part);
    assert_eq!(actions[1], ShardMetricsAction::Enable(ours.clone()));
    let ShardMetricsAction::Note(noted) = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(noted.metrics, ours);
    let mut later = calm(60);
    later.shard_metrics.on = read();
    later.shard_metrics.switched.metrics.clone_from(&ours);
    assert!(switches(&later).contains(&ShardMetricsAction::Disable(ours)));
    // Somebody has asked for all of them since: they are theirs now.
    let mut all = calm(60);
    all.shard_metrics.on = read();
    all.shard_metrics.on.extend(names([
        "IteratorAgeMilliseconds",
        "OutgoingBytes",
        "OutgoingRecords",
        "ReadProvisionedThroughputExceeded",
    ]));
    let actions = switches(&all);
    let [ShardMetricsAction::Note(noted)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(noted.metrics, BTreeSet::new());
}

#[test]
fn a_note_without_metrics_is_tried_again_or_taken_back() {
    // Killed between the note and the switch, or the switch was refused.
    let mut seen = switched(5);
    seen.shard_metrics.on.clear();
    assert!(switches(&seen).contains(&ShardMetricsAction::Enable(read())));
    // No longer suspected: what somebody switches on from now on is theirs.
    let mut seen = calm(1);
    seen.shard_metrics.on.clear();
    let actions = switches(&seen);
    let [ShardMetricsAction::Note(noted)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(noted.metrics, BTreeSet::new());
}

#[test]
fn only_auto_switches() {
    for mode in [ShardLevelMetrics::Always, ShardLevelMetrics::Never] {
        for mut seen in [suspicious(), switched(5), calm(60)] {
            seen.shard_metrics.mode = mode;
            let is_switch =
                |action: &ShardMetricsAction| !matches!(action, ShardMetricsAction::Note(_));
            assert!(!switches(&seen).iter().any(is_switch), "{mode:?}");
        }
    }
    // The template has them on from now on; back to auto, they are its own.
    let mut always = calm(60);
    always.shard_metrics.mode = ShardLevelMetrics::Always;
    let actions = switches(&always);
    let [ShardMetricsAction::Note(noted)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(noted.metrics, BTreeSet::new());
    // Nobody may switch them off any more: they are billed, so every decision says so.
    let mut never = calm(60);
    never.shard_metrics.mode = ShardLevelMetrics::Never;
    assert!(decide(&never).blocked.contains(&Blocked::ShardMetricsLeftOn));
    assert_eq!(switches(&never), []);
}

#[test]
fn scale_down_switches_nothing() {
    for seen in [suspicious(), calm(60)] {
        let seen = Observation { trigger: Trigger::OffPeak, off_peak: true, ..seen };
        let decision = decide_scale_down(&policy(), &seen);
        assert!(
            !decision.actions.iter().any(|action| matches!(action, Action::ShardMetrics(_))),
            "{decision}"
        );
    }
}
