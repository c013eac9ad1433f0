//! Loss and lag with the real log processor.

use log_processor::config::TransformName;
use sluice::logs::Batch;
use sluice::logs::{LogEvent, Payload, Transform, Verdict};
use sluice::ports::{Clock, PutError};
use sluice::records::{Packer, Packing};
use sluice::scaling::AlarmState;
use sluice_cloud::Fault;
use sluice_cloud::queue::Mood;

use crate::world::{World, event};

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
        stream_name: crate::world::STREAM.to_owned(),
        dead_letter_queue_url: Some("https://dead-letters.example".to_owned()),
        quarantine_queue_url: Some("https://quarantine.example".to_owned()),
        transform: TransformName::Passthrough,
        record_format: sluice::records::RecordFormat::Single,
        record_bytes_target: 24_900,
        record_bytes_max: sluice::limits::RECORD_BYTES_MAX,
        partition_by: sluice::records::PartitionBy::Even,
        concurrency_per_shard: 1,
        put_attempts_max: 10,
        function_name: crate::world::PROCESSOR.to_owned(),
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
    // For as long as Lambda may still bring an event of that minute.
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

#[tokio::test(start_paused = true)]
async fn a_late_event_that_is_lost_sets_it_off_for_the_minute_in_which_it_happened() {
    let mut world = World::new(2);
    carry(&mut world, 130, |minute| match minute {
        120 => vec![(3 * MINUTE_MS, "lost".to_owned())],
        _ => Vec::new(),
    })
    .await;
    assert_eq!(world.breaching("loss"), [3]);
    assert_eq!(world.changes_of("loss"), [(121, AlarmState::Alarm)]);
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

#[tokio::test(start_paused = true)]
async fn lag_sets_its_alarm_off_after_five_minutes_and_not_before() {
    let mut world = World::new(2);
    let at = |minutes: std::ops::Range<i64>, lag_ms: i64| {
        move |minute| match minutes.contains(&minute) {
            true => vec![(minute * MINUTE_MS - lag_ms, "late".to_owned()); 2],
            false => Vec::new(),
        }
    };
    carry(&mut world, 20, at(5..9, 40_000)).await;
    assert_eq!(world.changes_of("lag"), [], "four minutes");
    let mut world = World::new(2);
    carry(&mut world, 20, at(5..20, 29_000)).await;
    assert_eq!(world.changes_of("lag"), [], "not that late");
    let mut world = World::new(2);
    carry(&mut world, 30, at(5..20, 40_000)).await;
    assert_eq!(world.changes_of("lag"), [(10, AlarmState::Alarm), (21, AlarmState::Ok)]);
}
