//! The archiver behind an event source mapping, over hours of virtual time.
//!
//! Every scenario ends with one question: is each event in the archive, or whole in the bucket of what
//! was given up?

mod world;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use base64_simd::STANDARD;
use fastrand::Rng;
use serde_json::Value;
use sluice::ports::{Clock, PutError, PutRecords};
use sluice::records::{Record, RecordFormat};
use sluice_simulated::clock::BEGIN_EPOCH_MS;
use sluice_simulated::consumer::events_of;
use sluice_simulated::functions::Failure;
use sluice_simulated::{
    EventSourceMapping, Fault, Firehose, MappingCounts, MappingSettings, Mortal,
};
use world::*;

const HOUR_MS: u64 = 3_600_000;

fn refused() -> Fault {
    Fault::Error(PutError::Transient {
        code: "ServiceUnavailableException".to_owned(),
        detail: "Slow down.".to_owned(),
    })
}

/// Writes a few records of several events every `pause` until `until_ms`.
async fn write(world: &World, pause: Duration, until_ms: u64) -> Vec<Vec<u8>> {
    let mut written = Vec::new();
    while world.clock.epoch_ms() < until_ms {
        let first = written.len();
        written
            .extend((first..first + 40).map(|number| format!("{{\"n\":{number}}}").into_bytes()));
        let mut records: Vec<Record> = packed(RecordFormat::Kpl, &written[first..first + 20]);
        records.append(&mut packed(RecordFormat::Single, &written[first + 20..]));
        for record in &mut records {
            record.partition_key = format!("{}-{first}", record.partition_key);
        }
        // The aggregates' inner keys are the packer's, which nothing here looks at.
        let entries: Vec<&Record> = records.iter().collect();
        let answer = (&world.stream).put_records(&entries).await.expect("the stream takes it");
        assert!(answer.iter().all(Option::is_none), "no writer is ever refused");
        world.clock.sleep(pause).await;
    }
    written
}

/// The events of the records that the mapping gave up, out of the objects in its on-failure bucket.
fn given_up(counts: &MappingCounts) -> BTreeSet<Vec<u8>> {
    let mut events = BTreeSet::new();
    for object in &counts.kept {
        let object: Value = serde_json::from_str(object).expect("JSON");
        let payload = object["payload"].as_str().expect("text");
        let payload: Value = serde_json::from_str(payload).expect("JSON");
        for record in payload["Records"].as_array().expect("records") {
            let text = |name: &str| record["kinesis"][name].as_str().expect("text");
            let data = STANDARD.decode_to_vec(text("data")).expect("base64");
            let key = text("partitionKey");
            // The key was changed after packing.
            events.extend(events_of(&data, key.split_once('-').map_or("", |(key, _)| key)));
        }
    }
    events
}

/// Each event is archived, or whole in the on-failure bucket.
fn assert_nowhere_lost(firehose: &Firehose, counts: &MappingCounts, written: &[Vec<u8>]) {
    let (archived, given_up) = (archived(firehose), given_up(counts));
    let written: BTreeSet<&Vec<u8>> = written.iter().collect();
    let is_lost = |event: &&Vec<u8>| !archived.contains_key(*event) && !given_up.contains(*event);
    let lost = written.iter().copied().filter(is_lost).count();
    assert_eq!(lost, 0, "of {} events", written.len());
    assert!(archived.keys().all(|event| written.contains(event)), "nothing is made up");
}

/// Runs the mapping until the scenario is over.
async fn while_mapped<T>(
    world: &World,
    settings: MappingSettings,
    scenario: impl Future<Output = T>,
) -> (T, MappingCounts) {
    let invoke = |event| world.invoke(&world.firehose, event);
    let mapping = EventSourceMapping::new(world.clock, &world.stream, settings, invoke);
    let result = tokio::select! {
        biased;
        () = mapping.run() => unreachable!("a mapping runs on"),
        result = scenario => result,
    };
    (result, mapping.counts())
}

#[tokio::test(start_paused = true)]
async fn a_day_with_resharding_is_archived_once() {
    let world = World::new(2);
    let scenario = async {
        let reshard = async {
            for shards in [4, 3, 6, 3, 2, 1] {
                world.clock.sleep(Duration::from_secs(900)).await;
                let now_ms = world.clock.epoch_ms();
                world.stream.update_shard_count(shards, now_ms).expect("a legal step");
            }
        };
        let until_ms = BEGIN_EPOCH_MS + 2 * HOUR_MS;
        let (written, ()) = tokio::join!(write(&world, Duration::from_secs(7), until_ms), reshard);
        world.clock.sleep(Duration::from_secs(120)).await;
        written
    };
    let settings = MappingSettings { parallelization: 3, ..MappingSettings::default() };
    let (written, counts) = while_mapped(&world, settings, scenario).await;
    assert_eq!(world.archived(), once(&written));
    assert_eq!((counts.failures, counts.given_up), (0, 0));
    assert!(world.on_failure.stored().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_firehose_that_fails_half_of_the_time_loses_nothing() {
    for seed in 1..=5 {
        let world = World::new(2);
        let mut rng = Rng::with_seed(seed);
        world.firehose.set_faults(move |call| match rng.u64(..10) {
            0 => refused(),
            1 => Fault::AnswerLost,
            2 => Fault::RefuseEntries((0..call.entries).filter(|_| rng.bool()).collect()),
            3 if rng.u64(..5) == 0 => Fault::Hang,
            4 => Fault::Error(PutError::Permanent {
                code: "AccessDeniedException".to_owned(),
                detail: String::new(),
            }),
            _ => Fault::None,
        });
        let scenario = async {
            let until_ms = BEGIN_EPOCH_MS + HOUR_MS;
            let written = write(&world, Duration::from_secs(5), until_ms).await;
            world.clock.sleep(Duration::from_secs(3_600)).await;
            written
        };
        let (written, counts) = while_mapped(&world, MappingSettings::default(), scenario).await;
        let archived = world.archived();
        assert_eq!(archived.len(), written.len(), "seed {seed}: nothing is lost");
        assert_eq!(counts.given_up, 0);
        // One try in ten loses its answer, and one in fifty hangs and brings a batch again.
        let doubled: usize = archived.values().map(|times| times - 1).sum();
        assert!(doubled * 2 < written.len(), "seed {seed}: {doubled} of {}", written.len());
    }
}

#[tokio::test(start_paused = true)]
async fn without_lost_answers_nothing_is_archived_twice() {
    let world = World::new(2);
    let mut rng = Rng::with_seed(3);
    world.firehose.set_faults(move |call| match rng.u64(..4) {
        0 => refused(),
        1 => Fault::RefuseEntries((0..call.entries).filter(|_| rng.bool()).collect()),
        _ => Fault::None,
    });
    let scenario = async {
        let written = write(&world, Duration::from_secs(5), BEGIN_EPOCH_MS + HOUR_MS).await;
        world.clock.sleep(Duration::from_secs(600)).await;
        written
    };
    let (written, _) = while_mapped(&world, MappingSettings::default(), scenario).await;
    assert_eq!(world.archived(), once(&written));
}

#[tokio::test(start_paused = true)]
async fn what_outlives_the_record_age_is_named_and_the_rest_is_archived() {
    let world = World::new(2);
    let down_until_ms = BEGIN_EPOCH_MS + 4 * HOUR_MS;
    world.firehose.set_faults(move |call| match call.epoch_ms {
        now_ms if now_ms < down_until_ms => refused(),
        _ => Fault::None,
    });
    let settings = MappingSettings {
        retries_max: None,
        record_age_max: Some(Duration::from_millis(2 * HOUR_MS)),
        ..MappingSettings::default()
    };
    let scenario = async {
        let until_ms = BEGIN_EPOCH_MS + 5 * HOUR_MS;
        let written = write(&world, Duration::from_secs(20), until_ms).await;
        world.clock.sleep(Duration::from_secs(600)).await;
        written
    };
    let (written, counts) = while_mapped(&world, settings, scenario).await;
    assert_nowhere_lost(&world.firehose, &counts, &written);
    assert!(counts.given_up > 0);
    let conditions: BTreeSet<String> = counts
        .kept
        .iter()
        .map(|object| {
            let body: Value = serde_json::from_str(object).expect("JSON");
            body["requestContext"]["condition"].as_str().expect("text").to_owned()
        })
        .collect();
    assert_eq!(conditions, BTreeSet::from(["RecordAgeExceeded".to_owned()]));
    let archived = world.archived();
    assert!(archived.len() * 2 > written.len(), "three of five hours are archived");
    assert!(archived.values().all(|&times| times == 1));
}

#[tokio::test(start_paused = true)]
async fn a_firehose_down_for_twenty_minutes_is_outlasted_by_the_defaults() {
    let world = World::new(2);
    let down_until_ms = BEGIN_EPOCH_MS + HOUR_MS / 3;
    world.firehose.set_faults(move |call| match call.epoch_ms {
        now_ms if now_ms < down_until_ms => refused(),
        _ => Fault::None,
    });
    let scenario = async {
        let written = write(&world, Duration::from_secs(10), BEGIN_EPOCH_MS + HOUR_MS).await;
        world.clock.sleep(Duration::from_secs(600)).await;
        written
    };
    let (written, counts) = while_mapped(&world, MappingSettings::default(), scenario).await;
    assert_eq!(counts.given_up, 0);
    assert_eq!(world.archived(), once(&written));
}

#[tokio::test(start_paused = true)]
async fn one_consumer_that_fails_for_an_hour_delays_no_other_and_no_writer() {
    let world = World::new(4);
    let healthy = Firehose::new(world.clock);
    let down = BEGIN_EPOCH_MS + HOUR_MS / 2..BEGIN_EPOCH_MS + HOUR_MS * 3 / 2;
    world.firehose.set_faults(move |call| match down.contains(&call.epoch_ms) {
        true => refused(),
        false => Fault::None,
    });
    let crashes = Cell::new(0u32);
    // A third consumer crashes on everything, all the time.
    let crashing = EventSourceMapping::new(
        world.clock,
        &world.stream,
        MappingSettings::default(),
        async |_event: String| {
            crashes.set(crashes.get() + 1);
            Err(Failure::from("it crashes".to_owned()))
        },
    );
    let other =
        EventSourceMapping::new(world.clock, &world.stream, MappingSettings::default(), |event| {
            world.invoke(&healthy, event)
        });
    let scenario = async {
        // `write` asserts that no writer is refused.
        let until_ms = BEGIN_EPOCH_MS + 2 * HOUR_MS;
        let written = write(&world, Duration::from_secs(10), until_ms).await;
        world.clock.sleep(Duration::from_secs(1_800)).await;
        written
    };
    let scenario = async {
        tokio::select! {
            biased;
            () = other.run() => unreachable!("a mapping runs on"),
            () = crashing.run() => unreachable!("a mapping runs on"),
            written = scenario => written,
        }
    };
    let (written, failing) = while_mapped(&world, MappingSettings::default(), scenario).await;

    assert!(failing.failures > 0 && crashes.get() > 0);
    assert!(failing.iterator_age_ms_max > HOUR_MS / 3, "{failing:?}");
    let age_ms = other.counts().iterator_age_ms_max;
    assert!(age_ms < 10_000, "the healthy consumer was {age_ms} ms behind");
    assert_eq!(archived(&healthy), once(&written));
    assert_eq!(world.stream.throttled(), 0);
    assert_nowhere_lost(&world.firehose, &failing, &written);
}

#[tokio::test(start_paused = true)]
async fn an_archiver_that_dies_in_any_call_loses_nothing() {
    use archiver::{Archiver, Ports};
    use sluice_simulated::{Fate, Fates, Life};
    use std::rc::Rc;

    let world = World::new(2);
    let fates = Fates::kind();
    let mut rng = Rng::with_seed(9);
    fates.set_plan(move |_| match rng.u64(..6) {
        0 => Fate::DiesBefore,
        1 => Fate::DiesAfter,
        _ => Fate::Lives,
    });
    let invoke = |event: String| {
        let (world, life) = (&world, Rc::new(Life::new(Rc::clone(&fates))));
        async move {
            let ports = Ports {
                firehose: Mortal::new(&world.firehose, &life),
                on_failure: Mortal::new(&world.on_failure, &life),
                clock: world.clock,
                metrics: &world.metrics,
            };
            let mut archiver = Archiver::new(config(), ports, Rng::with_seed(1));
            let deadline_ms = world.clock.epoch_ms() + TIMEOUT_MS;
            tokio::select! {
                biased;
                () = life.ended() => Err(Failure::from("signal: killed".to_owned())),
                answer = archiver.handle(&event, deadline_ms) => {
                    let answer = answer.map_err(|error| Failure::from(error.to_string()))?;
                    Ok(serde_json::to_string(&answer).expect("JSON"))
                }
            }
        }
    };
    let settings = MappingSettings::default();
    let mapping = EventSourceMapping::new(world.clock, &world.stream, settings, invoke);
    let scenario = async {
        let large = plain(vec![b'x'; 1_040_000]);
        let written = write(&world, Duration::from_secs(5), BEGIN_EPOCH_MS + HOUR_MS).await;
        (&world.stream).put_records(&[&large]).await.expect("the stream takes it");
        world.clock.sleep(Duration::from_secs(7_200)).await;
        written
    };
    let written = tokio::select! {
        biased;
        () = mapping.run() => unreachable!("a mapping runs on"),
        written = scenario => written,
    };
    assert!(mapping.counts().failures > 0);
    let archived = world.archived();
    let lost = written.iter().filter(|event| !archived.contains_key(*event)).count();
    assert_eq!((lost, mapping.counts().given_up), (0, 0));
    assert!(world.on_failure.stored().iter().any(|m| m.body.contains("event-too-large")));
}
