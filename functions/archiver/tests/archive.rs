//! Promises of the archiver for one batch, against the simulated Firehose and queue.

mod world;

use std::io::Read;

use base64_simd::STANDARD;
use fastrand::Rng;
use serde_json::Value;
use sluice::limits::FIREHOSE_RECORD_BYTES_MAX;
use sluice::ports::{Clock, PutError};
use sluice::records::{Record, RecordFormat};
use sluice_simulated::Fault;
use sluice_simulated::logs::gzip;
use sluice_simulated::queue::{Mood, QueueFault};
use world::*;

fn bytes(count: usize) -> Vec<u8> {
    let mut rng = Rng::with_seed(7);
    (0..count).map(|_| rng.u8(..)).collect()
}

fn left(place: usize) -> String {
    format!(r#"{{"batchItemFailures":[{{"itemIdentifier":"{}"}}]}}"#, sequence_number(place))
}

async fn answer(world: &World, records: &[Record]) -> String {
    let answer = world.handle(records).await.expect("a batch");
    serde_json::to_string(&answer).expect("JSON")
}

const DONE: &str = r#"{"batchItemFailures":[]}"#;

#[tokio::test(start_paused = true)]
async fn every_format_is_archived_as_its_events() {
    let world = World::new(1);
    let events = events(3_000);
    let mut records = packed(RecordFormat::Kpl, &events[..1_000]);
    records.append(&mut packed(RecordFormat::Gzip, &events[1_000..2_000]));
    records.append(&mut packed(RecordFormat::Single, &events[2_000..]));
    assert_eq!(answer(&world, &records).await, DONE);
    assert_eq!(world.archived(), once(&events));
    assert_eq!(world.metrics.sum("EventsArchived"), 3_000);
    assert_eq!(world.metrics.sum("RecordsIn"), records.len() as u64);
    let bytes = world.firehose.records().concat().len() as u64;
    assert_eq!(world.metrics.sum("BytesArchived"), bytes);
    for name in ["RecordsDamaged", "RecordsLeft", "EventsNotArchivable", "FirehoseRefused"] {
        assert_eq!(world.metrics.sum(name), 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn small_events_are_billed_for_little_more_than_their_bytes() {
    let world = World::new(1);
    let events = events(5_000);
    answer(&world, &packed(RecordFormat::Single, &events)).await;
    let records = world.firehose.records();
    let billed: usize = records.iter().map(|record| record.len().div_ceil(5_120) * 5_120).sum();
    let bytes = records.concat().len();
    assert!(billed < bytes * 12 / 10, "{billed} for {bytes} bytes");
}

#[tokio::test(start_paused = true)]
async fn any_bytes_are_read_back_from_the_archive() {
    let world = World::new(1);
    let events = [
        Vec::new(),
        b"panic\n\tat one\n\tat two\n".to_vec(),
        bytes(1_000),
        b"{\"sluiceText\":\"x\"}".to_vec(),
        "日本語 🦀".into(),
    ];
    let records: Vec<Record> = events.iter().map(|event| plain(event.clone())).collect();
    assert_eq!(answer(&world, &records).await, DONE);
    assert_eq!(world.archived(), once(&events));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_is_archived_as_it_came() {
    let world = World::new(1);
    let mut aggregate = packed(RecordFormat::Kpl, &events(9)).remove(0);
    *aggregate.data.last_mut().expect("an MD5") ^= 1;
    let mut truncated = packed(RecordFormat::Gzip, &events(99)).remove(0);
    truncated.data.truncate(60);
    let records = [plain("before"), aggregate, truncated, plain("after")];
    assert_eq!(answer(&world, &records).await, DONE);
    assert_eq!(world.archived(), once(&records.map(|record| record.data)));
    assert_eq!(world.metrics.sum("RecordsDamaged"), 2);
}

#[tokio::test(start_paused = true)]
async fn only_what_was_refused_goes_again() {
    let world = World::new(1);
    let events = events(40_000);
    world.firehose.set_faults(|call| match call.number {
        0..8 => Fault::RefuseEntries((0..call.entries).filter(|place| place % 3 != 0).collect()),
        8 => Fault::Error(PutError::Transient {
            code: "ServiceUnavailableException".to_owned(),
            detail: "Slow down.".to_owned(),
        }),
        _ => Fault::None,
    });
    assert_eq!(answer(&world, &packed(RecordFormat::Kpl, &events)).await, DONE);
    assert_eq!(world.archived(), once(&events));
    assert!(world.metrics.sum("FirehoseRefused") > 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_may_double_and_never_loses() {
    let world = World::new(1);
    let events = events(2_000);
    world.firehose.set_faults(|call| match call.number {
        0 => Fault::AnswerLost,
        1 => Fault::ShortAnswer,
        _ => Fault::None,
    });
    assert_eq!(answer(&world, &packed(RecordFormat::Kpl, &events)).await, DONE);
    let archived = world.archived();
    assert_eq!(archived.len(), events.len());
    assert!(archived.values().all(|&times| times == 3));
}

#[tokio::test(start_paused = true)]
async fn an_event_too_large_goes_to_the_queue_whole_and_the_shard_moves_on() {
    let world = World::new(1);
    // Compressed, the first fits a message and the second does not.
    let text = vec![b'x'; FIREHOSE_RECORD_BYTES_MAX];
    let binary = bytes(1_040_000);
    let records = [plain("a"), plain(text.clone()), plain("b"), plain(binary.clone()), plain("c")];
    assert_eq!(answer(&world, &records).await, DONE);
    assert_eq!(world.archived(), once(&[b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]));
    assert_eq!(world.metrics.sum("EventsNotArchivable"), 2);

    let messages = world.on_failure.stored();
    assert_eq!(messages.len(), 3);
    let bodies: Vec<Value> =
        messages.iter().map(|m| serde_json::from_str(&m.body).expect("JSON")).collect();
    let read_back = |bodies: &[Value]| {
        let parts = bodies.iter().map(|body| body["dataGzip"].as_str().expect("text"));
        let gzip: Vec<u8> =
            parts.flat_map(|part| STANDARD.decode_to_vec(part).expect("base64")).collect();
        let mut data = Vec::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut data).expect("gzip");
        data
    };
    assert_eq!(read_back(&bodies[..1]), text);
    assert_eq!(read_back(&bodies[1..]), binary);
    for (place, body, part, parts) in
        [(1, &bodies[0], 1, 1), (3, &bodies[1], 1, 2), (3, &bodies[2], 2, 2)]
    {
        assert_eq!(body["shardId"], SHARD);
        assert_eq!(body["sequenceNumber"], sequence_number(place));
        assert_eq!(body["reason"], "event-too-large");
        assert!(body["streamArn"].as_str().is_some_and(|arn| arn.ends_with("stream/logs")));
        assert_eq!((&body["part"], &body["parts"]), (&part.into(), &parts.into()));
    }
    assert_eq!(messages[0].attributes["Reason"], "event-too-large");
}

#[tokio::test(start_paused = true)]
async fn what_the_queue_refuses_comes_again() {
    for mood in [Mood::Refuses, Mood::Hangs] {
        let world = World::new(1);
        world.on_failure.set_mood(mood);
        let large = vec![b'x'; FIREHOSE_RECORD_BYTES_MAX];
        let records = [plain("a"), plain(large), plain("b")];
        assert_eq!(answer(&world, &records).await, left(1));
        assert_eq!(world.metrics.sum("RecordsLeft"), 2);
        assert!(world.archived().contains_key(&b"a"[..]));
        world.on_failure.set_mood(Mood::Takes);
        assert_eq!(answer(&world, &records[1..]).await, DONE);
        assert_eq!(world.on_failure.stored().len(), 1);
        assert!(world.archived().contains_key(&b"b"[..]));
    }
}

#[tokio::test(start_paused = true)]
async fn half_of_a_large_event_is_not_all_of_it() {
    let world = World::new(1);
    world.on_failure.set_faults(|call| match call.number {
        1 => QueueFault::Error,
        _ => QueueFault::None,
    });
    let records = [plain("a"), plain(bytes(1_040_000))];
    assert_eq!(answer(&world, &records).await, left(1), "its second part was refused");
}

#[tokio::test(start_paused = true)]
async fn the_lowest_record_that_did_not_make_it_is_named() {
    let world = World::new(1);
    // Each of these fills a Firehose record of its own; the third is never taken.
    let records: Vec<Record> = (0..6).map(|n| plain(vec![b'a' + n; 200_000])).collect();
    world.firehose.set_faults(|call| match call.entries {
        6 => Fault::RefuseEntries(vec![2, 4]),
        entries => Fault::RefuseEntries((0..entries).collect()),
    });
    assert_eq!(answer(&world, &records).await, left(2));
    assert_eq!(world.firehose.records().len(), 4);
    assert_eq!(world.metrics.sum("RecordsLeft"), 4);
}

#[tokio::test(start_paused = true)]
async fn an_aggregate_made_it_when_all_of_its_events_did() {
    let world = World::new(1);
    let large: Vec<u8> = vec![b'y'; 250_000];
    let text = [&large[..], b"\n", &large, b"\n", &large, b"\n"].concat();
    let records = [plain("a"), plain(gzip(&text)), plain("b")];
    world.firehose.set_faults(|call| match call.number {
        0 => Fault::RefuseEntries(vec![1]),
        _ => Fault::RefuseEntries((0..call.entries).collect()),
    });
    assert_eq!(answer(&world, &records).await, left(1));
}

#[tokio::test(start_paused = true)]
async fn a_firehose_that_cannot_be_used_is_waited_for() {
    let world = World::new(1);
    let gone = || {
        Fault::Error(PutError::Permanent {
            code: "ResourceNotFoundException".to_owned(),
            detail: "no such Firehose".to_owned(),
        })
    };
    world.firehose.set_faults(move |_| gone());
    let begin = world.clock.monotonic();
    let records = packed(RecordFormat::Kpl, &events(100));
    assert_eq!(answer(&world, &records).await, left(0));
    let took = (world.clock.monotonic() - begin).as_millis() as u64;
    assert!(took > TIMEOUT_MS * 3 / 4, "Lambda's retries last as long as they can: {took} ms");

    world.firehose.set_faults(move |call| if call.number < 20 { gone() } else { Fault::None });
    assert_eq!(answer(&world, &records).await, DONE, "somebody repaired it");
    assert_eq!(world.archived(), once(&events(100)));
}

#[tokio::test(start_paused = true)]
async fn a_firehose_that_never_answers_does_not_hold_the_answer_back() {
    let world = World::new(1);
    world.firehose.set_faults(|_| Fault::Hang);
    assert_eq!(answer(&world, &[plain("a")]).await, left(0));
}

#[tokio::test(start_paused = true)]
async fn a_record_may_inflate_far_beyond_a_window() {
    let world = World::new(1);
    let line = format!("{}\n", "x".repeat(999));
    let text = line.repeat(50_000);
    assert_eq!(answer(&world, &[plain(gzip(text.as_bytes())), plain("after")]).await, DONE);
    let archived = world.archived();
    assert_eq!(archived[line.trim_end().as_bytes()], 50_000);
    assert_eq!(archived[&b"after"[..]], 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_put_after_a_window_that_did_not_make_it() {
    let world = World::new(1);
    let line = format!("{}\n", "x".repeat(999));
    let text = line.repeat(18_000);
    world.firehose.set_bytes_per_second(100);
    let records = [plain(gzip(text.as_bytes())), plain("after")];
    assert_eq!(answer(&world, &records).await, left(0));
    assert!(!world.archived().contains_key(&b"after"[..]), "it would be there twice");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_no_batch_fails_by_name() {
    let world = World::new(1);
    let deadline_ms = world.clock.epoch_ms() + TIMEOUT_MS;
    let error = world.archiver().handle(r#"{"awslogs":{}}"#, deadline_ms).await;
    let error = error.expect_err("no batch").to_string();
    assert!(error.contains("event source mapping"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_empty_batch_is_done() {
    let world = World::new(1);
    assert_eq!(answer(&world, &[]).await, DONE);
    assert_eq!(world.firehose.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_records_is_a_success_whatever_else_it_holds() {
    let world = World::new(1);
    let event = r#"{"Records":[],"window":{"start":"2026-11-21T08:00:00Z","end":"2026-11-21T08:02:00Z"},"state":{},"shardId":"shardId-000000000006","eventSourceARN":"arn","isFinalInvokeForWindow":true,"isWindowTerminatedEarly":false}"#;
    assert_eq!(world.invoke(&world.firehose, event.to_owned()).await.expect("an answer"), DONE);
    assert!(world.firehose.records().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_record_is_archived_whatever_its_arrival_time_looks_like() {
    let world = World::new(1);
    let event = batch(&[plain("one")]);
    let at = event.find("\"approximateArrivalTimestamp\":").expect("a member");
    let end = at + event[at..].find([',', '}']).expect("the member's end");
    for time in [
        "1795219200",
        "1795219200.5",
        "1.7952192005E9",
        "1795219200500",
        "\"1795219200.5\"",
        "\"2026-11-21T00:00:00Z\"",
        "\"soon\"",
        "null",
        "{}",
    ] {
        let timed =
            format!("{}\"approximateArrivalTimestamp\":{time}{}", &event[..at], &event[end..]);
        assert_eq!(world.invoke(&world.firehose, timed).await.expect(time), DONE);
    }
    assert_eq!(world.archived(), [(b"one".to_vec(), 9)].into());
}

#[tokio::test(start_paused = true)]
async fn plain_records_and_aggregates_in_one_batch_are_each_archived_once() {
    let world = World::new(1);
    let events = events(60);
    let mut records = Vec::new();
    for (place, events) in events.chunks(10).enumerate() {
        let format = if place % 2 == 0 { RecordFormat::Single } else { RecordFormat::Kpl };
        records.append(&mut packed(format, events));
    }
    assert_eq!(answer(&world, &records).await, DONE);
    assert_eq!(world.archived(), once(&events));
}

#[tokio::test(start_paused = true)]
async fn a_payload_of_a_log_group_that_feeds_the_stream_itself_is_one_line() {
    let world = World::new(1);
    let payload = br#"{"messageType":"DATA_MESSAGE","owner":"111122223333","logGroup":"/app","logStream":"s","subscriptionFilters":["f"],"logEvents":[{"id":"1","timestamp":1795219199000,"message":"a\nb"}]}"#;
    assert_eq!(answer(&world, &[plain(gzip(payload))]).await, DONE);
    assert_eq!(world.archived(), once(&[payload.to_vec()]));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_inflates_to_many_times_an_invocations_6_mb_is_archived_whole() {
    let world = World::new(1);
    let lines: Vec<String> = (0..24_000).map(|n| format!("{n:01000}")).collect();
    let record = plain(gzip(lines.join("\n").as_bytes()));
    assert_eq!(answer(&world, &[plain("before"), record, plain("after")]).await, DONE);
    assert_eq!(world.archived().len(), lines.len() + 2);
    assert_eq!(world.metrics.sum("EventsArchived"), lines.len() as u64 + 2);
}

#[tokio::test(start_paused = true)]
async fn one_event_that_no_firehose_takes_never_stops_the_rest() {
    let world = World::new(1);
    let large = vec![b'x'; FIREHOSE_RECORD_BYTES_MAX];
    let controls = vec![0x1c; FIREHOSE_RECORD_BYTES_MAX / 2];
    let records =
        [plain("before"), plain(large), plain("between"), plain(controls), plain("after")];
    assert_eq!(answer(&world, &records).await, DONE);
    assert_eq!(world.archived(), once(&["before", "between", "after"].map(Vec::from)));
    assert_eq!(world.metrics.sum("EventsNotArchivable"), 2);
}
