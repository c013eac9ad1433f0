//! What Lambda's documentation says of an event source mapping of a Kinesis stream.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use sluice::ports::{Clock, PutRecords};
use sluice::records::Record;
use sluice_simulated::functions::Failure;
use sluice_simulated::{EventSourceMapping, MappingSettings, Stream, VirtualClock};

/// A batch as a function saw it: when, which shard, its records.
struct Seen {
    epoch_ms: u64,
    shard: String,
    keys: Vec<String>,
}

struct World {
    clock: VirtualClock,
    stream: Stream,
    seen: RefCell<Vec<Seen>>,
}

impl World {
    fn new(shards: usize) -> Self {
        let clock = VirtualClock::begin();
        Self { clock, stream: Stream::new(clock, shards), seen: RefCell::default() }
    }

    /// One record for each key.
    async fn put(&self, keys: impl IntoIterator<Item = String>) {
        for partition_key in keys {
            let record = Record { partition_key, data: b"{}".to_vec() };
            (&self.stream).put_records(&[&record]).await.expect("it is taken");
        }
    }

    /// Runs a mapping for so long; the function answers by what it saw.
    async fn run(
        &self,
        settings: MappingSettings,
        time: Duration,
        function: impl Fn(&Seen, &Value) -> Result<String, String>,
    ) -> sluice_simulated::MappingCounts {
        let invoke = async |event: String| {
            let event: Value = serde_json::from_str(&event).expect("JSON");
            let records = event["Records"].as_array().expect("records").clone();
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            let id = text(&records[0]["eventID"]);
            let seen = Seen {
                epoch_ms: self.clock.epoch_ms(),
                shard: id.split(':').next().expect("a shard").to_owned(),
                keys: records.iter().map(|r| text(&r["kinesis"]["partitionKey"])).collect(),
            };
            let answer = function(&seen, &event);
            self.seen.borrow_mut().push(seen);
            answer.map_err(Failure::from)
        };
        let mapping = EventSourceMapping::new(self.clock, &self.stream, settings, invoke);
        let _ = tokio::time::timeout(time, mapping.run()).await;
        mapping.counts()
    }

    fn keys(&self) -> Vec<Vec<String>> {
        self.seen.borrow().iter().map(|seen| seen.keys.clone()).collect()
    }
}

fn keys(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{number:03}")).collect()
}

fn quick() -> MappingSettings {
    MappingSettings { window: Duration::ZERO, ..MappingSettings::default() }
}

const DONE: &str = r#"{"batchItemFailures":[]}"#;
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_shard_comes_in_batches_one_after_the_other_in_order() {
    let world = World::new(1);
    world.put(keys(0..25)).await;
    let settings = MappingSettings { batch_records_max: 10, ..quick() };
    let counts = world.run(settings, MINUTE, |_, _| Ok(DONE.to_owned())).await;
    assert_eq!(world.keys(), [keys(0..10), keys(10..20), keys(20..25)]);
    assert_eq!((counts.invocations, counts.failures), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_window_gathers_a_batch() {
    let world = World::new(1);
    let settings = MappingSettings { window: MINUTE, ..MappingSettings::default() };
    let write = async {
        for number in 0..10 {
            world.put(keys(number..number + 1)).await;
            world.clock.sleep(Duration::from_secs(5)).await;
        }
    };
    let run = world.run(settings, MINUTE * 2, |_, _| Ok(DONE.to_owned()));
    tokio::join!(run, write);
    assert_eq!(world.keys(), [keys(0..10)]);
}

#[tokio::test(start_paused = true)]
async fn parents_come_before_their_children() {
    let world = World::new(2);
    let write = async {
        for (round, shards) in [4, 3, 2].into_iter().enumerate() {
            world.put(keys(round * 100..round * 100 + 100)).await;
            let now_ms = world.clock.epoch_ms();
            world.stream.update_shard_count(shards, now_ms).expect("a legal step");
            world.clock.sleep(Duration::from_secs(300)).await;
        }
        world.put(keys(300..400)).await;
    };
    // So slow that children are there long before their parents are done with.
    let settings = MappingSettings { batch_records_max: 5, ..quick() };
    let failed = RefCell::new(BTreeMap::<String, u32>::new());
    let run = world.run(settings, Duration::from_secs(7_200), |seen, _| {
        let mut failed = failed.borrow_mut();
        let tries = failed.entry(seen.keys[0].clone()).or_default();
        *tries += 1;
        if *tries < 4 { Err("not yet".to_owned()) } else { Ok(DONE.to_owned()) }
    });
    tokio::join!(run, write);

    let shards = world.stream.shards();
    let number = |id: &str| shards.all().iter().position(|s| s.shard.id == id).expect("a shard");
    let seen = world.seen.borrow();
    let mut spans = BTreeMap::<usize, (u64, u64)>::new();
    for seen in seen.iter() {
        let span = spans.entry(number(&seen.shard)).or_insert((seen.epoch_ms, seen.epoch_ms));
        span.1 = seen.epoch_ms;
    }
    assert_eq!(spans.len(), shards.all().len(), "every shard had records");
    for (&child, &(begin, _)) in &spans {
        for parent in &shards.all()[child].parents {
            assert!(spans[parent].1 <= begin, "shard {child} before its parent {parent}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_key_stays_in_order_under_parallelization() {
    let world = World::new(1);
    let settings = MappingSettings { batch_records_max: 10, parallelization: 4, ..quick() };
    world.put((0..200).map(|number| format!("key {}", number % 8))).await;
    world.run(settings, MINUTE, |_, _| Ok(DONE.to_owned())).await;
    let seen = world.seen.borrow();
    let at_first = seen.iter().filter(|batch| batch.epoch_ms == seen[0].epoch_ms).count();
    assert!(at_first > 1, "batches of one shard at once");
    let mut lanes = BTreeMap::<&str, Vec<usize>>::new();
    for (place, batch) in seen.iter().enumerate() {
        for key in &batch.keys {
            lanes.entry(key).or_default().push(place);
        }
    }
    assert_eq!(lanes.len(), 8);
    assert!(lanes.values().all(|places| places.len() == 25 && places.is_sorted()));
}

#[tokio::test(start_paused = true)]
async fn what_a_partial_response_names_comes_again_and_nothing_before_it() {
    let world = World::new(1);
    world.put(keys(0..10)).await;
    let counts = world
        .run(quick(), MINUTE, |seen, event| {
            let named = |place: usize| event["Records"][place]["kinesis"]["sequenceNumber"].clone();
            Ok(match seen.keys.len() {
                // The lowest counts, in whatever order they are named.
                10 => format!(
                    r#"{{"batchItemFailures":[{{"itemIdentifier":{}}},{{"itemIdentifier":{}}}]}}"#,
                    named(7),
                    named(4)
                ),
                _ => DONE.to_owned(),
            })
        })
        .await;
    assert_eq!(world.keys(), [keys(0..10), keys(4..10)]);
    assert_eq!((counts.failures, counts.given_up), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn without_report_batch_item_failures_every_answer_is_a_success() {
    let world = World::new(1);
    world.put(keys(0..10)).await;
    let settings = MappingSettings { report_batch_item_failures: false, ..quick() };
    let answer = r#"{"batchItemFailures":[{"itemIdentifier":"0"}]}"#;
    world.run(settings, MINUTE, |_, _| Ok(answer.to_owned())).await;
    assert_eq!(world.keys(), [keys(0..10)]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_names_nothing_it_knows_fails_the_whole_batch() {
    for answer in [
        r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
        r#"{"batchItemFailures":[{"id":"1"}]}"#,
    ] {
        let world = World::new(1);
        world.put(keys(0..4)).await;
        let settings = MappingSettings { bisect: false, ..quick() };
        world.run(settings, Duration::from_secs(4), |_, _| Ok(answer.to_owned())).await;
        assert!(world.keys().len() > 1, "{answer}");
        assert!(world.keys().iter().all(|batch| *batch == keys(0..4)), "{answer}");
    }
    for answer in ["", "null", "{}", r#"{"batchItemFailures":null}"#, DONE] {
        let world = World::new(1);
        world.put(keys(0..4)).await;
        world.run(quick(), MINUTE, |_, _| Ok(answer.to_owned())).await;
        assert_eq!(world.keys().len(), 1, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn bisecting_finds_the_one_record_and_gives_up_only_that() {
    let world = World::new(1);
    world.put(keys(0..100)).await;
    let settings = MappingSettings { retries_max: Some(3), ..quick() };
    let poison = "042".to_owned();
    let counts = world
        .run(settings, Duration::from_secs(600), |seen, _| match seen.keys.contains(&poison) {
            true => Err("poison".to_owned()),
            false => Ok(DONE.to_owned()),
        })
        .await;
    assert_eq!(counts.given_up, 1);
    let body: Value = serde_json::from_str(&counts.kept[0]).expect("JSON");
    assert_eq!(body["requestContext"]["condition"], "RetryAttemptsExhausted");
    let batch = &body["KinesisBatchInfo"];
    assert_eq!(batch["batchSize"], 1);
    assert_eq!(batch["startSequenceNumber"], batch["endSequenceNumber"]);
    let payload: Value =
        serde_json::from_str(body["payload"].as_str().expect("text")).expect("JSON");
    assert_eq!(payload["Records"][0]["kinesis"]["partitionKey"], *poison, "the record itself");
    let alone = world.keys().iter().filter(|batch| **batch == [poison.clone()]).count();
    assert_eq!(alone, 1 + 3, "one try and three retries; splitting is none");
    let good: Vec<String> =
        world.keys().into_iter().filter(|batch| !batch.contains(&poison)).flatten().collect();
    let expected: Vec<String> = keys(0..100).into_iter().filter(|key| *key != poison).collect();
    assert_eq!(good, expected, "each once, in order");
}

#[tokio::test(start_paused = true)]
async fn without_bisecting_the_whole_batch_is_given_up() {
    let world = World::new(1);
    world.put(keys(0..10)).await;
    let settings = MappingSettings { retries_max: Some(2), bisect: false, ..quick() };
    let counts = world.run(settings, MINUTE, |_, _| Err("no".to_owned())).await;
    assert_eq!((counts.invocations, counts.given_up), (3, 10));
    assert_eq!(counts.kept.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_too_old_is_given_up_before_it_is_tried_again() {
    let world = World::new(1);
    world.put(keys(0..2)).await;
    let settings = MappingSettings {
        retries_max: None,
        record_age_max: Some(Duration::from_secs(600)),
        bisect: false,
        ..quick()
    };
    let begin_ms = world.clock.epoch_ms();
    let counts =
        world.run(settings, Duration::from_secs(3_600), |_, _| Err("down".to_owned())).await;
    assert_eq!(counts.given_up, 2);
    let last_ms = world.seen.borrow().last().expect("tries").epoch_ms;
    assert!((500_000..=601_000).contains(&(last_ms - begin_ms)), "{}", last_ms - begin_ms);
    assert!(counts.kept[0].contains("RecordAgeExceeded"), "{:?}", counts.kept);
}
