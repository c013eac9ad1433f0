//! Loss and lag with the real log processor.

use log_processor::config::TransformName;
use serde_json::{Value, json};
use sluice::logs::Batch;
use sluice::logs::{LogEvent, Payload, Transform, Verdict};
use sluice::ports::{Clock, PutError};
use sluice::records::{Packer, Packing};
use sluice::scaling::AlarmState;
use sluice_simulated::Fault;
use sluice_simulated::clock::BEGIN_EPOCH_MS;
use sluice_simulated::cloudwatch::{MetricName, MetricStore, Unpublished};
use sluice_simulated::queue::Mood;

use crate::world::{ANSWERS, PROCESSOR, STREAM, World, all_alarms, event};

const MINUTE_MS: i64 = 60_000;

/// A processor that is broken: what should be a record of its own with `lost` in it is dropped.
fn losing(packer: &mut Packer, batch: &Batch, next_key: &mut dyn FnMut() -> String) -> Packing {
    let packing = packer.pack(batch, next_key);
    let is_lost = |data: &[u8]| data.windows(4).any(|window| window == b"lost");
    let (lost, records) =
        packing.records.into_iter().partition(|packed| is_lost(&packed.record.data));
    let _: Vec<_> = lost;
    Packing { records, ..packing }
}

/// Fifty log events of a minute after the begin.
fn fifty(minute: i64) -> Vec<(i64, String)> {
    (0..50).map(|n| (minute * MINUTE_MS + n * 1_000, format!("{minute} {n}"))).collect()
}

/// Bare messages in records of their own, so that one can be dropped alone.
fn config() -> log_processor::Config {
    log_processor::Config {
        stream_name: STREAM.to_owned(),
        dead_letter_queue_url: Some("https://dead-letters.example".to_owned()),
        quarantine_queue_url: Some("https://quarantine.example".to_owned()),
        transform: TransformName::Passthrough,
        record_format: sluice::records::RecordFormat::Single,
        record_bytes_target: 24_900,
        record_bytes_max: sluice::limits::RECORD_BYTES_MAX,
        partition_by: sluice::records::PartitionBy::Even,
        concurrency_per_shard: 1,
        put_attempts_max: 10,
        function_name: PROCESSOR.to_owned(),
        log_group_name: None,
    }
}

/// Carries fifty log events a minute, and those that `also` adds, for `minutes`.
async fn carry(world: &mut World, minutes: i64, also: impl Fn(i64) -> Vec<(i64, String)>) {
    for minute in 0..minutes {
        let deadline_ms = world.clock().epoch_ms() + 60_000;
        let mut log_events = fifty(minute);
        log_events.extend(also(minute));
        let mut processor = world.processor_with(config()).with_packing(losing);
        processor.handle(&event(&log_events), deadline_ms).await.expect("delivered");
        drop(processor);
        world.next_minute().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_lost_event_sets_off_the_alarm_for_its_minute_and_no_other() {
    let mut world = World::new(2);
    carry(&mut world, 30, |minute| match minute {
        10 => vec![(10 * MINUTE_MS + 7, "lost".to_owned())],
        _ => Vec::new(),
    })
    .await;
    assert_eq!(world.breaching("loss"), [10]);
    assert_eq!(world.changes_of("loss"), [(11, AlarmState::Alarm)]);

    carry_from(&mut world, 30, 400).await;
    let changes = world.changes_of("loss");
    assert_eq!(changes.len(), 2, "{changes:?}");
    // For the six hours that the alarm looks back.
    assert!((370..=377).contains(&changes[1].0), "{changes:?}");
}

async fn carry_from(world: &mut World, from: i64, to: i64) {
    for minute in from..to {
        let deadline_ms = world.clock().epoch_ms() + 60_000;
        let mut processor = world.processor_with(config());
        processor.handle(&event(&fifty(minute)), deadline_ms).await.expect("delivered");
        drop(processor);
        world.next_minute().await;
    }
}

/// A world in which that answer is right, and its order of late data points.
fn world(unpublished: Unpublished, seed: u64) -> World {
    let world = World::seeded(2, seed);
    world.cloud.metrics.borrow_mut().unpublished = unpublished;
    world
}

/// `event` as the replayer sends it.
fn replayed(event: &str) -> String {
    let mut event: Value = serde_json::from_str(event).expect("JSON");
    event["sluiceReplay"] = json!({"attempt": 1, "isLast": false, "deadLetteredMs": 1});
    event.to_string()
}

/// Brings one payload now.
async fn bring(world: &World, event: &str) {
    let deadline_ms = world.clock().epoch_ms() + 60_000;
    let mut processor = world.processor_with(config()).with_packing(losing);
    processor.handle(event, deadline_ms).await.expect("delivered");
}

/// What Lambda kept for six hours comes within one, after an outage in which nothing was lost.
#[tokio::test(start_paused = true)]
async fn after_an_outage_of_hours_the_alarm_is_silent_however_late_the_data_points_come() {
    for unpublished in ANSWERS {
        for seed in 1..=3 {
            let mut world = world(unpublished, seed);
            for minute in 0..240 {
                bring(&world, &event(&fifty(minute))).await;
                if minute < 60 {
                    let kept: Vec<_> = (0..6).flat_map(|at| fifty(6 * minute + at - 360)).collect();
                    bring(&world, &event(&kept)).await;
                }
                world.next_minute().await;
            }
            assert_eq!(world.changes_of("loss"), [], "{unpublished:?}, seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_old_dead_letters_is_silent_however_late_the_data_points_come() {
    for unpublished in ANSWERS {
        let mut world = world(unpublished, 1);
        for minute in 0..180 {
            bring(&world, &event(&fifty(minute))).await;
            if minute < 60 {
                // This morning's, yesterday's, and those of days ago.
                for hours in [4, 5, 20, 30, 100] {
                    bring(&world, &replayed(&event(&fifty(minute - hours * 60)))).await;
                }
            }
            world.next_minute().await;
        }
        assert_eq!(world.changes_of("loss"), [], "{unpublished:?}");
    }
}

/// Neither a metric that was never published nor data points that are readable days later hide it.
#[tokio::test(start_paused = true)]
async fn a_loss_is_told_within_minutes_however_old_the_event_and_whoever_brings_it() {
    for unpublished in ANSWERS {
        for hours in [0, 2, 5, 30] {
            for is_replay in [false, true] {
                let mut world = world(unpublished, 1);
                for minute in 0..20 {
                    bring(&world, &event(&fifty(minute))).await;
                    if minute == 10 {
                        let happened_ms = (minute - hours * 60) * MINUTE_MS;
                        let lost = event(&[(happened_ms, "kept"), (happened_ms, "lost")]);
                        let lost = if is_replay { replayed(&lost) } else { lost };
                        bring(&world, &lost).await;
                    }
                    world.next_minute().await;
                }
                let told = world.changes_of("loss");
                let case = format!("{unpublished:?}, {hours} hours old, a replay: {is_replay}");
                assert_eq!(told, [(11, AlarmState::Alarm)], "{case}");
            }
        }
    }
}

/// CloudWatch adds data points up as they become readable, metric by metric.
#[test]
fn the_alarm_is_right_in_whatever_order_the_data_points_of_a_minute_come() {
    let dimensions = [("StreamName", STREAM), ("FunctionName", PROCESSOR)];
    let metric = |name| MetricName::new("Sluice", name, &dimensions);
    let rule = &all_alarms()["loss"].rule;
    // Minutes after which what came in and what was lost of it are readable.
    for [came_in, lost] in [[1, 30], [30, 1], [1, 1], [200, 90], [90, 200]] {
        for events_lost in [0.0, 20.0] {
            let mut store = MetricStore::default();
            for (name, value, late) in
                [("EventsIn", 1_000.0, came_in), ("EventsLost", events_lost, lost)]
            {
                let visible_ms = BEGIN_EPOCH_MS + late * 60_000;
                store.publish(&metric(name), BEGIN_EPOCH_MS, value, visible_ms);
            }
            let told = (0..240).find(|minute| {
                let now_ms = BEGIN_EPOCH_MS + minute * 60_000;
                rule.evaluate(&store, AlarmState::Ok, now_ms) == AlarmState::Alarm
            });
            let expected = (events_lost > 0.0).then_some(came_in.max(lost));
            assert_eq!(told, expected, "{events_lost} lost, {came_in} and {lost} minutes late");
        }
    }
}

/// An odd event, or one from years ago, has no minute that CloudWatch would take.
#[tokio::test(start_paused = true)]
async fn a_loss_without_a_minute_of_its_own_is_told_as_well() {
    let mut world = World::new(2);
    let years_ms = 3 * 365 * 24 * 60 * MINUTE_MS;
    bring(&world, &event(&[(-years_ms, "kept"), (-years_ms, "lost")])).await;
    world.next_minute().await;
    world.next_minute().await;
    assert!(world.changes_of("loss").contains(&(1, AlarmState::Alarm)));
}

#[tokio::test(start_paused = true)]
async fn one_of_many_does_not() {
    let mut world = World::new(2);
    carry(&mut world, 10, |minute| {
        let mut more: Vec<_> = (0..100).map(|n| (minute * MINUTE_MS, format!("{n}"))).collect();
        if minute == 5 {
            more.push((5 * MINUTE_MS, "lost".to_owned()));
        }
        more
    })
    .await;
    assert_eq!(world.changes_of("loss"), []);
}

#[tokio::test(start_paused = true)]
async fn late_arrivals_do_not_set_it_off() {
    let mut world = World::new(2);
    carry(&mut world, 90, |minute| {
        // One of the minute before, of an hour ago, of three hours ago and of a clock that is ahead.
        [-1, -60, -180, 30].map(|late| ((minute + late) * MINUTE_MS, "late".to_owned())).to_vec()
    })
    .await;
    assert_eq!(world.changes_of("loss"), []);
}

struct DropsEverySecond;

impl Transform for DropsEverySecond {
    fn apply(&self, _: &Payload<'_>, event: &LogEvent<'_>, out: &mut Vec<u8>) -> Verdict {
        event.message.append_value_to(out);
        match out.last() {
            Some(b'1' | b'3' | b'5' | b'7') => Verdict::Drop,
            Some(b'9') => Verdict::Fail("simulated".to_owned()),
            _ => Verdict::Keep,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn filtered_dead_lettered_retried_and_replayed_events_do_not_set_it_off() {
    let mut world = World::new(2);
    let mut retry: Vec<String> = Vec::new();
    for minute in 0..60 {
        match minute {
            10 => world.cloud.stream.set_faults(|_| {
                let code = "ResourceNotFoundException".to_owned();
                Fault::Error(PutError::Permanent { code, detail: "simulated".to_owned() })
            }),
            // Nothing takes anything: invocations fail, and Lambda brings the payloads again.
            15 => world.queue.set_mood(Mood::Refuses),
            20 => world.queue.set_mood(Mood::Takes),
            30 => world.cloud.stream.set_faults(|_| Fault::None),
            _ => {}
        }
        let mut events = std::mem::take(&mut retry);
        events.push(event(&fifty(minute)));
        if minute == 40 {
            events.extend(world.queue.drain().into_iter().map(|dead_letter| dead_letter.body));
        }
        let deadline_ms = world.clock().epoch_ms() + 60_000;
        let mut processor =
            world.processor_with(config()).with_transform(Box::new(DropsEverySecond));
        for event in events {
            if processor.handle(&event, deadline_ms).await.is_err() {
                retry.push(event);
            }
        }
        drop(processor);
        world.next_minute().await;
    }
    assert_eq!(world.changes_of("loss"), []);
    let lines = world.lines();
    let sum = |name: &str| lines.iter().filter_map(|line| line[name].as_u64()).sum::<u64>();
    for name in ["Delivered", "Filtered", "DeadLettered", "Quarantined"] {
        assert!(sum(&format!("EventTime{name}")) > 0, "{name} was not tried");
    }
    assert!(sum("HandOversFailed") > 0, "nothing was retried");
    assert!(world.queue.messages().is_empty(), "something was not replayed");
}

/// When `delivery-slow` changed, in a world whose stream gives no answer in some minutes, so that a
/// payload takes 50 s until it is handed over, and whose events are `old_ms` when they come.
async fn slow(minutes: std::ops::Range<i64>, old_ms: i64) -> Vec<(u64, AlarmState)> {
    let mut world = World::new(2);
    let begin_ms = world.clock().epoch_ms();
    world.cloud.stream.set_faults(move |call| {
        let minute = (call.epoch_ms - begin_ms) as i64 / MINUTE_MS;
        if minutes.contains(&minute) { Fault::Hang } else { Fault::None }
    });
    let old = |minute| vec![(minute * MINUTE_MS - old_ms, "old".to_owned()); 2];
    carry(&mut world, 30, old).await;
    assert_eq!(world.changes_of("lag"), [], "nothing waited in Lambda's queue");
    world.changes_of("delivery-slow")
}

#[tokio::test(start_paused = true)]
async fn slow_deliveries_set_their_alarm_off_after_five_minutes_and_old_events_none() {
    assert_eq!(slow(5..9, 0).await, [], "four minutes");
    assert_eq!(slow(0..0, 40_000).await, [], "a source that is late");
    assert_eq!(slow(5..20, 0).await, [(10, AlarmState::Alarm), (21, AlarmState::Ok)]);
}
