//! Promises about counts by event time: each log event counts in the minute in which it happened,
//! in and out on one line.

#[allow(dead_code, reason = "the other tests of this function use the rest")]
mod world;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice::logs::{LogEvent, Payload, Transform, Verdict};
use sluice::ports::PutError;
use sluice::records::{Packing, RecordFormat};
use sluice_simulated::clock::BEGIN_EPOCH_MS;
use sluice_simulated::queue::Mood;
use sluice_simulated::{Fault, logs};
use world::{World, config};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// An event of log events that happened so many milliseconds after the simulation's begin.
fn happened(events: &[(i64, &str)]) -> String {
    let messages: Vec<&str> = events.iter().map(|(_, message)| *message).collect();
    let mut payload = logs::payload(&messages, BEGIN_EPOCH_MS);
    for (log_event, (ms, _)) in
        payload["logEvents"].as_array_mut().expect("log events").iter_mut().zip(events)
    {
        log_event["timestamp"] = json!(BEGIN_EPOCH_MS as i64 + ms);
    }
    logs::event(&payload)
}

/// In, delivered, filtered, dead-lettered and quarantined, by minutes after the begin.
fn by_minute(world: &World) -> BTreeMap<i64, [u64; 5]> {
    let mut minutes: BTreeMap<i64, [u64; 5]> = BTreeMap::new();
    for line in world.metrics.lines() {
        let line: Value = serde_json::from_str(&line).expect("JSON");
        let Some(came_in) = line.get("EventTimeIn") else { continue };
        assert!(came_in.as_u64() > Some(0), "no line without events");
        let timestamp_ms = line["_aws"]["Timestamp"].as_i64().expect("a timestamp");
        let minute = (timestamp_ms - BEGIN_EPOCH_MS as i64).div_euclid(MINUTE_MS);
        let names = ["In", "Delivered", "Filtered", "DeadLettered", "Quarantined"];
        for (sum, name) in minutes.entry(minute).or_default().iter_mut().zip(names) {
            *sum += line.get(format!("EventTime{name}")).map_or(0, |n| n.as_u64().expect(name));
        }
    }
    minutes
}

fn stream_is_gone(world: &World) {
    world.stream.set_faults(|_| {
        let code = "ResourceNotFoundException".to_owned();
        Fault::Error(PutError::Permanent { code, detail: "simulated".to_owned() })
    });
}

#[tokio::test(start_paused = true)]
async fn late_and_future_events_count_in_the_minute_in_which_they_happened() {
    let world = World::new(1);
    let event = happened(&[
        (-3 * HOUR_MS, "late"),
        (-3 * HOUR_MS + 59_999, "late, too"),
        (-1, "a moment ago"),
        (0, "now"),
        (2 * HOUR_MS, "from a clock that is ahead"),
        (2 * HOUR_MS + MINUTE_MS, "from one that CloudWatch does not believe"),
        (-15 * 24 * HOUR_MS, "and one that it has forgotten"),
    ]);
    world.processor(config()).handle(&event).await.expect("delivered");
    let expected = BTreeMap::from([
        (-180, [2, 2, 0, 0, 0]),
        (-1, [1, 1, 0, 0, 0]),
        (0, [1, 1, 0, 0, 0]),
        (120, [1, 1, 0, 0, 0]),
    ]);
    assert_eq!(by_minute(&world), expected);
    assert_eq!(world.metrics.sum("EventsOutsideMetricTime"), 2);
    assert_eq!(world.metrics.sum("EventsIn"), 7);
}

struct ByFirstWord;

impl Transform for ByFirstWord {
    fn apply(&self, _: &Payload<'_>, event: &LogEvent<'_>, out: &mut Vec<u8>) -> Verdict {
        event.message.append_value_to(out);
        match out {
            _ if out.ends_with(b"debug") => Verdict::Drop,
            _ if out.ends_with(b"bad") => Verdict::Fail("simulated".to_owned()),
            _ => Verdict::Keep,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn filtered_quarantined_and_dead_lettered_events_count_in_their_own_minutes() {
    let world = World::new(1);
    stream_is_gone(&world);
    let mut processor = world.processor(config());
    processor.inner = processor.inner.with_transform(Box::new(ByFirstWord));
    let event = happened(&[
        (-10 * MINUTE_MS, "debug"),
        (-9 * MINUTE_MS, "bad"),
        (-8 * MINUTE_MS, "good"),
        (-8 * MINUTE_MS, "good, too"),
    ]);
    processor.handle(&event).await.expect("handed over");
    assert_eq!(
        by_minute(&world),
        BTreeMap::from([(-10, [1, 0, 1, 0, 0]), (-9, [1, 0, 0, 0, 1]), (-8, [2, 0, 0, 2, 0]),])
    );
}

#[tokio::test(start_paused = true)]
async fn a_replay_counts_in_and_out_once_more_in_the_minute_of_the_event() {
    let world = World::new(1);
    stream_is_gone(&world);
    let mut processor = world.processor(config());
    processor.handle(&happened(&[(0, "an event")])).await.expect("handed over");
    world.stream.set_faults(|_| Fault::None);
    for dead_letter in world.queue.drain() {
        processor.handle(&dead_letter.body).await.expect("delivered");
    }
    assert_eq!(by_minute(&world), BTreeMap::from([(0, [2, 1, 0, 1, 0])]));
}

#[tokio::test(start_paused = true)]
async fn what_lambda_brings_again_is_not_counted_before() {
    let world = World::new(1);
    stream_is_gone(&world);
    world.queue.set_mood(Mood::Refuses);
    let mut processor = world.processor(config());
    let event = happened(&[(0, "an event")]);
    processor.handle(&event).await.expect_err("Lambda brings it again");
    assert_eq!(by_minute(&world), BTreeMap::new());
    world.stream.set_faults(|_| Fault::None);
    processor.handle(&event).await.expect("delivered");
    assert_eq!(by_minute(&world), BTreeMap::from([(0, [1, 1, 0, 0, 0])]));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_falls_out_on_the_way_came_in_and_went_nowhere() {
    let world = World::new(1);
    let mut processor =
        world.processor(log_processor::Config { record_format: RecordFormat::Single, ..config() });
    processor.inner = processor.inner.with_packing(|packer, batch, next_key| {
        let packing = packer.pack(batch, next_key);
        let lost = |data: &[u8]| data == b"lost";
        let records = packing.records.into_iter().filter(|packed| !lost(&packed.record.data));
        Packing { records: records.collect(), ..packing }
    });
    let event = happened(&[(0, "one"), (MINUTE_MS, "lost"), (MINUTE_MS, "two")]);
    processor.handle(&event).await.expect("the processor knows nothing of it");
    assert_eq!(by_minute(&world), BTreeMap::from([(0, [1, 1, 0, 0, 0]), (1, [2, 1, 0, 0, 0])]));
}
