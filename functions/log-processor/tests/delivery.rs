//! Promises of the log processor, against the simulated AWS.

mod world;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use log_processor::HandoffError;
use log_processor::config::TransformName;
use serde_json::{Value, json};
use sluice::delivery::{Answer, Reason, Replay, replayed_event};
use sluice::limits::RECORD_BYTES_MAX;
use sluice::logs::{LogEvent, Payload, Transform, Verdict};
use sluice::ports::{Clock, PutError};
use sluice::records::{PartitionBy, RecordFormat};
use sluice_simulated::clock::BEGIN_EPOCH_MS;
use sluice_simulated::queue::{Mood, QueueFault};
use sluice_simulated::{Fault, logs};
use world::{TIMEOUT_MS, World, config, messages, messages_of, once, payload_of};

const FORMATS: [RecordFormat; 3] = [RecordFormat::Single, RecordFormat::Kpl, RecordFormat::Gzip];

fn permanent(code: &str) -> Fault {
    Fault::Error(PutError::Permanent { code: code.to_owned(), detail: "simulated".to_owned() })
}

fn transient(code: &str) -> Fault {
    Fault::Error(PutError::Transient { code: code.to_owned(), detail: "simulated".to_owned() })
}

#[tokio::test(start_paused = true)]
async fn every_event_arrives_once_in_each_format() {
    for record_format in FORMATS {
        let world = World::new(4);
        let mut processor = world.processor(log_processor::Config { record_format, ..config() });
        let messages = messages(2_000);
        processor.send(&messages).await.expect("delivered");
        world.assert_delivered_once(&messages);
        assert!(world.queue.messages().is_empty());
        assert_eq!(world.metrics.sum("EventsIn"), 2_000);
        assert_eq!(world.metrics.sum("EventsDelivered"), 2_000);
    }
}

#[tokio::test(start_paused = true)]
async fn the_envelope_says_where_an_event_came_from() {
    for record_format in FORMATS {
        let world = World::new(2);
        let mut processor = world.processor(log_processor::Config {
            record_format,
            transform: TransformName::Envelope,
            ..config()
        });
        let messages = messages(100);
        processor.send(&messages).await.expect("delivered");
        let mut seen: Vec<Value> = world
            .delivered()
            .keys()
            .map(|event| serde_json::from_slice(event).expect("an envelope is JSON"))
            .collect();
        seen.sort_by_key(|event| event["timestamp"].as_u64());
        let expected: Vec<Value> = messages
            .iter()
            .enumerate()
            .map(|(place, message)| {
                json!({
                    "owner": "000000000000",
                    "logGroup": logs::LOG_GROUP,
                    "logStream": logs::LOG_STREAM,
                    "id": format!("{place:056}"),
                    "timestamp": BEGIN_EPOCH_MS - 5_000 + place as u64,
                    "message": message,
                })
            })
            .collect();
        assert_eq!(seen, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn small_events_share_put_units() {
    let world = World::new(2);
    let messages: Vec<String> = (0..1_000).map(|n| format!("{n:0100}")).collect();
    world.processor(config()).send(&messages).await.expect("delivered");
    assert!(world.metrics.sum("PutUnits") <= 5, "{} units", world.metrics.sum("PutUnits"));
    for stored in world.stream.records() {
        assert!(stored.record.bytes() <= 24_900);
    }
}

#[tokio::test(start_paused = true)]
async fn records_lie_evenly_over_the_shards() {
    let world = World::new(5);
    let mut processor = world.processor(config());
    for batch in 0..10 {
        let messages: Vec<String> = (0..1_000).map(|n| format!("{batch} {n:0200}")).collect();
        processor.send(&messages).await.expect("delivered");
    }
    let records = world.stream.records();
    for shard in 0..5 {
        let count = records.iter().filter(|stored| stored.shard == shard).count();
        let fair = records.len() / 5;
        assert!(count.abs_diff(fair) <= 4, "{count} of {fair} in shard {shard}");
    }
}

#[tokio::test(start_paused = true)]
async fn partitioned_by_log_stream_a_stream_stays_in_one_shard_and_in_order() {
    let world = World::new(5);
    let refused = Rc::new(Cell::new(false));
    let plan = Rc::clone(&refused);
    // The whole first call fails once.
    world.stream.set_faults(move |_| {
        if plan.replace(true) { Fault::None } else { transient("InternalFailure") }
    });
    let mut processor =
        world.processor(log_processor::Config { partition_by: PartitionBy::LogStream, ..config() });
    let messages: Vec<String> = (0..6_000).map(|n| format!("{n:0200}")).collect();
    processor.send(&messages).await.expect("delivered");
    let records = world.stream.records();
    let keys: BTreeSet<_> = records.iter().map(|stored| &stored.record.partition_key).collect();
    assert_eq!(keys.len(), 1);
    let in_order: Vec<String> = records
        .iter()
        .flat_map(|s| {
            sluice_simulated::consumer::events_of(&s.record.data, &s.record.partition_key)
        })
        .map(|event| String::from_utf8(event).expect("text"))
        .collect();
    assert!(refused.get());
    assert_eq!(in_order, messages);
}

#[tokio::test(start_paused = true)]
async fn a_control_message_is_acknowledged_and_nothing_is_written() {
    let world = World::new(1);
    let event = logs::event(&logs::control_payload());
    world.processor(config()).handle(&event).await.expect("acknowledged");
    assert_eq!(world.stream.calls(), 0);
    assert!(world.queue.messages().is_empty());
    assert_eq!(world.metrics.sum("ControlMessages"), 1);
    assert_eq!(world.metrics.sum("EventsIn"), 0);
}

#[tokio::test(start_paused = true)]
async fn zero_log_events_are_accepted() {
    let world = World::new(1);
    world.processor(config()).send::<&str>(&[]).await.expect("accepted");
    assert_eq!(world.stream.calls(), 0);
    assert!(world.queue.messages().is_empty());
}

#[tokio::test(start_paused = true)]
async fn unknown_fields_are_accepted_and_survive_the_dead_letter_queue() {
    let world = World::new(1);
    let mut payload = logs::payload(&["one", "two"], BEGIN_EPOCH_MS);
    payload["newField"] = json!({"deep": [1, {"er": null}]});
    payload["logEvents"][1]["extractedFields"] = json!({"a": "b"});
    world.stream.set_faults(|_| permanent("ResourceNotFoundException"));
    let mut processor = world.processor(config());
    processor.handle(&logs::event(&payload)).await.expect("handed over");
    let dead_letters = world.queue.drain();
    assert_eq!(dead_letters.len(), 1);
    assert_eq!(payload_of(&dead_letters[0].body), payload);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_is_quarantined_raw_with_its_reason() {
    let good = logs::payload(&["x"], BEGIN_EPOCH_MS).to_string();
    let gzip = logs::gzip(good.as_bytes());
    let mut corrupt = gzip.clone();
    corrupt[20] ^= 0xff;
    let with = |field: &str, value: Value| {
        let mut payload = logs::payload(&["x"], BEGIN_EPOCH_MS);
        payload[field] = value;
        logs::event(&payload)
    };
    // Deflate of nothing between zlib's header and its checksum.
    let zlib = [0x78, 0x9c, 0x03, 0, 0, 0, 0, 1];
    let bomb = logs::gzip(&vec![b' '; 65 * 1_048_576]);
    let cases = [
        ("not-an-awslogs-event", "{}".to_owned()),
        ("not-an-awslogs-event", "[1]".to_owned()),
        ("not-an-awslogs-event", r#"[{"data":"H4sI"},{}]"#.to_owned()),
        ("not-an-awslogs-event", r#"{"awslogs":{"data":7}}"#.to_owned()),
        ("not-an-awslogs-event", "null".to_owned()),
        ("not-an-awslogs-event", r#"{"key1":"value1","key2":"value2"}"#.to_owned()),
        ("not-an-awslogs-event", r#"{"Records":[{"eventSource":"aws:s3"}]}"#.to_owned()),
        ("not-an-awslogs-event", r#"{"awslogs":{"rawData":"H4sI"}}"#.to_owned()),
        ("not-base64", r#"{"awslogs":{"data":"%%%"}}"#.to_owned()),
        ("not-gzip", r#"{"awslogs":{"data":"aGVsbG8="}}"#.to_owned()),
        ("not-gzip", r#"{"awslogs":{"data":""}}"#.to_owned()),
        ("not-gzip", logs::event_of_data(good.as_bytes())),
        ("not-gzip", logs::event_of_data(&zlib)),
        ("truncated-gzip", logs::event_of_data(&gzip[..gzip.len() - 9])),
        ("truncated-gzip", logs::event_of_data(&gzip[..5])),
        ("corrupt-gzip", logs::event_of_data(&corrupt)),
        ("data-after-gzip", logs::event_of_data(&[&*gzip, b"\n"].concat())),
        ("inflates-too-large", logs::event_of_data(&bomb)),
        ("not-json", logs::event_of_data(&logs::gzip(b"hello"))),
        ("not-json", logs::event_of_data(&logs::gzip(&[b'"', 0xff, b'"']))),
        ("not-json", logs::event_of_data(&logs::gzip(&good.as_bytes()[..good.len() - 1]))),
        ("not-json", logs::event_of_data(&logs::gzip(format!("{good}{good}").as_bytes()))),
        ("other-shape", logs::event_of_data(&logs::gzip(b"[]"))),
        ("other-shape", logs::event_of_data(&logs::gzip(b"{}"))),
        ("other-shape", with("logEvents", json!({}))),
        ("other-shape", with("logGroup", json!(null))),
        ("unknown-message-type", with("messageType", json!("NEW_MESSAGE"))),
    ];
    for (reason, event) in cases {
        let world = World::new(1);
        world.processor(config()).handle(&event).await.expect("the invocation succeeds");
        let quarantined = world.quarantine.messages();
        assert_eq!(quarantined.len(), 1, "{reason}");
        assert_eq!(quarantined[0].reason.code(), reason);
        assert_eq!(quarantined[0].body, event, "{reason}");
        assert!(world.queue.messages().is_empty(), "{reason}");
        assert_eq!(world.metrics.sum("PayloadsUndecodable"), 1);
        assert_eq!(world.stream.calls(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn several_gzip_members_and_a_lying_trailer_are_read_whole() {
    let messages = messages(50);
    let json = logs::payload(&messages, BEGIN_EPOCH_MS).to_string();
    let (first, second) = json.as_bytes().split_at(json.len() / 2);
    let halves = [logs::gzip(first), logs::gzip(second)].concat();
    // Members of one length: the trailer's length is right for the first alone.
    let padded = format!("{json}{}", " ".repeat(json.len() % 2));
    let (first, second) = padded.as_bytes().split_at(padded.len() / 2);
    let equal_halves = [logs::gzip(first), logs::gzip(second)].concat();
    for data in [halves, equal_halves] {
        let world = World::new(1);
        world.processor(config()).handle(&logs::event_of_data(&data)).await.expect("delivered");
        world.assert_delivered_once(&messages);
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_comes_twice_in_two_members_is_no_payload() {
    let member = logs::gzip(logs::payload(&["one"], BEGIN_EPOCH_MS).to_string().as_bytes());
    // Both members have one trailer, which fits the first alone as well as the last.
    let event = logs::event_of_data(&[&*member, &*member].concat());
    let world = World::new(1);
    world.processor(config()).handle(&event).await.expect("handed over");
    let quarantined = world.quarantine.messages();
    assert_eq!((quarantined.len(), world.stream.calls()), (1, 0));
    assert_eq!((quarantined[0].reason, &*quarantined[0].body), (Reason::NotJson, &*event));
}

#[tokio::test(start_paused = true)]
async fn the_largest_payload_below_the_bound_is_read() {
    let world = World::new(1);
    let mut payload = logs::payload(&["one"], BEGIN_EPOCH_MS);
    payload["padding"] = json!(" ".repeat(64 * 1_048_576 - payload.to_string().len() - 13));
    assert_eq!(payload.to_string().len(), 64 * 1_048_576);
    world.processor(config()).handle(&logs::event(&payload)).await.expect("delivered");
    world.assert_delivered_once(&["one"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_too_large_for_a_record_is_quarantined_alone() {
    for record_format in FORMATS {
        let world = World::new(4);
        let config = log_processor::Config { record_format, ..config() };
        // With newlines in it, so that `gzip` cannot frame it either.
        let huge = "0123456789abcde\n".repeat(RECORD_BYTES_MAX / 16 + 1);
        let small = messages(40);
        let mut all = small.clone();
        all.insert(20, huge.clone());
        world.processor(config).send(&all).await.expect("handed over");
        let quarantined = world.quarantine.messages();
        assert_eq!(quarantined.len(), 1);
        assert_eq!(quarantined[0].reason, Reason::EventTooLarge);
        assert_eq!(quarantined[0].log_events, Some(1));
        world.assert_delivered_once(&small);
        assert_eq!(world.metrics.sum("EventsDelivered"), 40);
        assert_eq!(world.metrics.sum("EventsQuarantined"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_of_just_the_record_limit_is_delivered() {
    let world = World::new(4);
    // The longest partition key has four characters.
    let largest = "x".repeat(RECORD_BYTES_MAX - 4);
    world.processor(config()).send(&[&largest, "small"]).await.expect("delivered");
    world.assert_delivered_once(&[&largest, "small"]);
}

#[tokio::test(start_paused = true)]
async fn the_longest_message_fits_its_envelope_however_it_was_escaped() {
    let world = World::new(4);
    let config = log_processor::Config { transform: TransformName::Envelope, ..config() };
    // CloudWatch Logs splits messages at 262,119 characters; some writers escape what is not ASCII.
    let message = "ß".repeat(262_119);
    let payload = logs::payload(&[&message], BEGIN_EPOCH_MS).to_string();
    let escaped = payload.replace('ß', "\\u00df");
    let event = logs::event_of_data(&logs::gzip(escaped.as_bytes()));
    world.processor(config).handle(&event).await.expect("delivered");
    assert!(world.queue.messages().is_empty());
    let delivered = world.delivered();
    let envelope: Value =
        serde_json::from_slice(delivered.keys().next().expect("one event")).expect("JSON");
    assert_eq!(envelope["message"], json!(message));
}

#[tokio::test(start_paused = true)]
async fn only_refused_entries_go_again() {
    let world = World::new(4);
    world.stream.set_faults(|call| match call.number {
        0 => Fault::RefuseEntries((0..call.entries).step_by(3).collect()),
        _ => Fault::None,
    });
    let mut processor =
        world.processor(log_processor::Config { record_format: RecordFormat::Single, ..config() });
    let messages = messages(100);
    processor.send(&messages).await.expect("delivered");
    world.assert_delivered_once(&messages);
    assert_eq!(world.metrics.sum("RecordsFailed"), 34);
    assert_eq!(world.stream.records().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn throttling_makes_events_late_and_loses_none() {
    // Four processors' worth of load on one shard, each paced as if it had a shard of its own.
    let world = World::new(1);
    let mut processors: Vec<_> = (0..4).map(|_| world.processor(config())).collect();
    let messages: Vec<String> = (0..12_000).map(|n| format!("{n:01000}")).collect();
    let sends = processors
        .iter_mut()
        .zip(messages.chunks(3_000))
        .map(|(processor, chunk)| processor.send(chunk));
    for sent in futures_util::future::join_all(sends).await {
        sent.expect("delivered");
    }
    assert!(world.stream.throttled() > 0, "the shard was never at its limit");
    world.assert_delivered_once(&messages);
    assert!(world.queue.messages().is_empty());
    assert_eq!(world.metrics.sum("RecordsThrottled"), world.stream.throttled());
}

#[tokio::test(start_paused = true)]
async fn minutes_of_throttling_end_in_the_dead_letter_queue_and_a_replay_delivers() {
    let world = World::new(2);
    let begin = world.clock.epoch_ms();
    world.stream.set_faults(move |call| {
        let throttled = call.epoch_ms < begin + 300_000;
        if throttled { transient("ProvisionedThroughputExceededException") } else { Fault::None }
    });
    let messages = messages(500);
    let mut processor = world.processor(config());
    processor.send(&messages).await.expect("handed over");
    assert!(world.delivered().is_empty());
    let dead_letters = world.queue.drain();
    assert!(dead_letters.iter().all(|dead_letter| dead_letter.reason == Reason::RefusedTooOften));
    assert_eq!(world.metrics.sum("EventsDeadLettered"), 500);
    assert_eq!(world.metrics.sum("PutTries"), 10);

    world.clock.sleep(std::time::Duration::from_secs(300)).await;
    for dead_letter in dead_letters {
        processor.handle(&dead_letter.body).await.expect("delivered");
    }
    world.assert_delivered_once(&messages);
}

#[tokio::test(start_paused = true)]
async fn an_answer_lost_on_the_way_duplicates_and_never_loses() {
    for fault in [Fault::AnswerLost, Fault::ShortAnswer] {
        let world = World::new(1);
        world.stream.set_faults(move |call| match call.number {
            0 => fault.clone(),
            _ => Fault::None,
        });
        let messages = messages(300);
        world.processor(config()).send(&messages).await.expect("delivered");
        let delivered = world.delivered();
        assert!(once(&messages).keys().all(|message| delivered.contains_key(message)));
        assert!(delivered.values().any(|&times| times == 2), "nothing was sent twice");
        assert!(world.metrics.sum("RecordsPossiblyDuplicated") > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_cannot_pass_hands_over_at_once() {
    for code in ["ResourceNotFoundException", "AccessDeniedException", "KMSDisabledException"] {
        let world = World::new(1);
        world.stream.set_faults(move |_| permanent(code));
        let messages: Vec<String> = (0..3_000).map(|n| format!("{n:01000}")).collect();
        let mut processor = world.processor(config());
        processor.send(&messages).await.expect("handed over");
        let calls = world.stream.calls();
        assert!(calls <= 4, "{code}: {calls} calls, more than were in flight");
        let took_ms = world.clock.epoch_ms() - BEGIN_EPOCH_MS;
        assert!(took_ms < 2_000, "{code}: {took_ms} ms");
        let dead_letters = world.queue.drain();
        assert!(dead_letters.iter().all(|letter| letter.reason == Reason::StreamUnavailable));
        assert!(dead_letters.iter().all(|letter| letter.detail.starts_with(code)));

        world.stream.set_faults(|_| Fault::None);
        for dead_letter in dead_letters {
            processor.handle(&dead_letter.body).await.expect("delivered");
        }
        world.assert_delivered_once(&messages);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_deadline_leaves_is_handed_over_before_it() {
    let hang = |_| Fault::Hang;
    let throttle = |_| transient("ProvisionedThroughputExceededException");
    let slow = |call: sluice_simulated::stream::Call| match call.number {
        0..3 => Fault::None,
        _ => transient("InternalFailure"),
    };
    let plans: [fn(sluice_simulated::stream::Call) -> Fault; 3] = [hang, throttle, slow];
    for plan in plans {
        let world = World::new(1);
        world.stream.set_faults(plan);
        let mut processor =
            world.processor(log_processor::Config { put_attempts_max: 100, ..config() });
        let messages: Vec<String> = (0..4_000).map(|n| format!("{n:01000}")).collect();
        processor.send(&messages).await.expect("handed over");
        let took_ms = world.clock.epoch_ms() - BEGIN_EPOCH_MS;
        assert!(took_ms < TIMEOUT_MS - 5_000, "{took_ms} ms leave no room");
        let dead_letters = world.queue.messages();
        assert!(dead_letters.iter().all(|letter| letter.reason == Reason::Deadline));
        let mut everywhere = world.delivered();
        for message in dead_letters.iter().flat_map(|letter| messages_of(&letter.body)) {
            *everywhere.entry(message.into_bytes()).or_default() += 1;
        }
        assert!(everywhere == once(&messages));
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_one_invocation_can_pace_is_handed_over() {
    let world = World::new(1);
    let mut processor =
        world.processor(log_processor::Config { concurrency_per_shard: 10, ..config() });
    // 20 MB at 0.1 MB/s.
    let messages: Vec<String> = (0..20_000).map(|n| format!("{n:01000}")).collect();
    processor.send(&messages).await.expect("handed over");
    let took_ms = world.clock.epoch_ms() - BEGIN_EPOCH_MS;
    assert!(took_ms < TIMEOUT_MS - 5_000, "{took_ms} ms leave no room");
    let dead_lettered = world.metrics.sum("EventsDeadLettered");
    let delivered = world.metrics.sum("EventsDelivered");
    assert_eq!(delivered + dead_lettered, 20_000);
    assert!(delivered > 3_000, "{delivered}");
}

#[tokio::test(start_paused = true)]
async fn a_large_remainder_becomes_several_messages_that_fit() {
    let world = World::new(1);
    world.stream.set_faults(|_| permanent("ResourceNotFoundException"));
    let mut rng = fastrand::Rng::with_seed(5);
    let messages: Vec<String> =
        (0..300).map(|_| (0..10_000).map(|_| rng.alphanumeric()).collect()).collect();
    world.processor(config()).send(&messages).await.expect("handed over");
    let dead_letters = world.queue.messages();
    assert!(dead_letters.len() > 1);
    let handed_over: Vec<String> =
        dead_letters.iter().flat_map(|letter| messages_of(&letter.body)).collect();
    assert_eq!(handed_over, messages);
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_the_invocation_fails() {
    let world = World::new(1);
    world.stream.set_faults(|_| permanent("ResourceNotFoundException"));
    let without = log_processor::Config {
        dead_letter_queue_url: None,
        quarantine_queue_url: None,
        ..config()
    };
    let mut processor = world.processor(without);
    let failed = processor.send(&["one"]).await.expect_err("the invocation fails");
    assert!(matches!(failed, HandoffError::NoQueue { .. }));
    let failed = processor.handle("{}").await.expect_err("the invocation fails");
    assert!(matches!(failed, HandoffError::NoQueue { .. }));
    assert_eq!(world.metrics.sum("HandOversFailed"), 2);
    assert_eq!(world.metrics.sum("EventsDeadLettered"), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_what_can_be_delivered_is() {
    let world = World::new(1);
    let without = log_processor::Config { dead_letter_queue_url: None, ..config() };
    world.processor(without).send(&["one", "two"]).await.expect("delivered");
    world.assert_delivered_once(&["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_refuses_or_hangs_fails_the_invocation_in_time() {
    for mood in [Mood::Refuses, Mood::Hangs] {
        let world = World::new(1);
        world.stream.set_faults(|_| permanent("ResourceNotFoundException"));
        world.queue.set_mood(mood);
        world.processor(config()).send(&["one"]).await.expect_err("the invocation fails");
        assert!(world.clock.epoch_ms() - BEGIN_EPOCH_MS <= TIMEOUT_MS);
        assert_eq!(world.metrics.sum("HandOversFailed"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_down_for_a_while_costs_no_second_delivery() {
    let world = World::new(4);
    let up_again_ms = world.clock.epoch_ms() + 30_000;
    let clock = world.clock;
    world.queue.set_faults(move |_| match clock.epoch_ms() < up_again_ms {
        true => QueueFault::Error,
        false => QueueFault::None,
    });
    // Half of the payload is delivered before the stream is gone.
    world.stream.set_faults(|call| match call.number {
        0 => Fault::None,
        _ => permanent("ResourceNotFoundException"),
    });
    let messages = messages(20_000);
    let config = log_processor::Config { record_format: RecordFormat::Single, ..config() };
    let answer = world.processor(config).send(&messages).await.expect("handed over");
    assert!(answer.events_delivered > 0 && answer.events_dead_lettered > 0, "{answer:?}");
    assert_eq!(answer.events_delivered + answer.events_dead_lettered, 20_000);
    assert_eq!(world.queue.messages().len() as u64, answer.dead_letters);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_gone_fails_the_invocation_at_once() {
    let world = World::new(1);
    world.stream.set_faults(|_| permanent("ResourceNotFoundException"));
    world.queue.set_mood(Mood::Gone);
    world.processor(config()).send(&["one"]).await.expect_err("the invocation fails");
    assert!(world.clock.epoch_ms() - BEGIN_EPOCH_MS < 1_000);
}

/// The payload with its log group as this JSON text.
fn of_log_group(json: &str, messages: &[&str]) -> String {
    let mut payload = logs::payload(messages, BEGIN_EPOCH_MS);
    payload["policyLevel"] = json!("ACCOUNT_LEVEL_POLICY");
    let text = payload.to_string().replace(&json!(logs::LOG_GROUP).to_string(), json);
    logs::event_of_data(&logs::gzip(text.as_bytes()))
}

#[tokio::test(start_paused = true)]
async fn no_log_group_of_sluice_is_forwarded_and_none_makes_a_line() {
    for log_group in [
        r#""/sluice/sluice-log-processor""#,
        r#""/sluice/sluice-archiver""#,
        r#""/sluice/sluice-archiver-firehose""#,
        r#""/sluice/autoscaling-scale-up""#,
        r#""/sluice/log-processing-dlq-replayer""#,
        r#""/sluice/a-function-of-tomorrow""#,
        r#""\/sluice\/sluice-archiver""#,
        r#""\u002fsluice\u002Fx""#,
        r#""/\u0073luice/x""#,
        r#""/another/name/for/this/function""#,
    ] {
        let world = World::new(1);
        let own = Some("/another/name/for/this/function".to_owned());
        let mut processor =
            world.processor(log_processor::Config { log_group_name: own, ..config() });
        let event = of_log_group(log_group, &["one", "two"]);
        let filtered = Answer { events_in: 2, events_filtered: 2, ..Answer::default() };
        assert_eq!(processor.handle(&event).await.expect("acknowledged"), filtered, "{log_group}");
        // A replay of them is over, too.
        let replay = Replay { attempt: 1, is_last: false, dead_lettered_ms: 7 };
        let replayed = replayed_event(&event, replay).expect("an event");
        assert_eq!(processor.handle(&replayed).await.expect("acknowledged"), filtered);
        assert_eq!(world.stream.calls(), 0, "{log_group}");
        assert!(world.metrics.lines().is_empty(), "a line would feed a loop");
        assert!(world.queue.messages().is_empty() && world.quarantine.messages().is_empty());

        // What was left out is counted beside the next events that make a line anyway.
        processor.send(&["three"]).await.expect("delivered");
        assert_eq!(world.metrics.sum("EventsIn"), 5);
        assert_eq!(world.metrics.sum("EventsFiltered"), 4);
        assert_eq!(world.metrics.sum("EventsDelivered"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_group_that_only_looks_like_one_of_sluice_is_forwarded() {
    for log_group in [r#""/sluice""#, r#""/sluicegate/x""#, r#""sluice/x""#, r#""/app/sluice/x""#] {
        let world = World::new(1);
        let event = of_log_group(log_group, &["one"]);
        world.processor(config()).handle(&event).await.expect("delivered");
        world.assert_delivered_once(&["one"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_of_an_account_level_subscription_is_delivered() {
    let world = World::new(1);
    let event = of_log_group(&json!(logs::LOG_GROUP).to_string(), &["one"]);
    world.processor(config()).handle(&event).await.expect("delivered");
    world.assert_delivered_once(&["one"]);
}

#[tokio::test(start_paused = true)]
async fn one_line_warns_of_sluices_own_log_groups_in_an_environments_life() {
    /// Counts log lines.
    struct Lines(Arc<AtomicUsize>);
    impl tracing::Subscriber for Lines {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.is_event()
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            assert_eq!(*event.metadata().level(), tracing::Level::WARN);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }
    let lines = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(Lines(Arc::clone(&lines)));
    let world = World::new(1);
    let mut processor = world.processor(config());
    for log_group in [r#""/sluice/a""#, r#""/sluice/b""#, r#""/sluice/log-processor""#] {
        processor.handle(&of_log_group(log_group, &["x"])).await.expect("acknowledged");
    }
    assert_eq!(lines.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn the_envelope_carries_what_else_cloudwatch_says_of_an_event() {
    let of_event =
        |members: &str| format!(r#"{{"id":"1","timestamp":1795219199000,"message":"a"{members}}}"#);
    let known = r#"{"owner":"111122223333","logGroup":"/app","logStream":"s","id":"1","timestamp":1795219199000,"message":"a""#;
    for (members, expected) in [
        ("", ""),
        (
            r#","extractedFields":{"@aws.account":"444455556666","@aws.region":"eu-central-1"}"#,
            r#","extractedFields":{"@aws.account":"444455556666","@aws.region":"eu-central-1"}"#,
        ),
        (
            r#","z":null,"a":[1, 2.50,{"b":"\u00e9\/"}]"#,
            r#","z":null,"a":[1, 2.50,{"b":"\u00e9\/"}]"#,
        ),
        // An event is one line, and its line ends are white space.
        (",\"x\":{\n\"y\":\r\n1}", r#","x":{ "y":  1}"#),
        // Names that the envelope has itself, however they are spelled.
        (
            r#","owner":"o","logGroup":1,"logStream":{}"#,
            r#","logEvent.owner":"o","logEvent.logGroup":1,"logEvent.logStream":{}"#,
        ),
        (r#","own\u0065r":"o""#, r#","logEvent.own\u0065r":"o""#),
        (r#","owner":1,"logEvent.owner":2"#, r#","logEvent.owner":1,"logEvent.logEvent.owner":2"#),
        (r#","logEvent":3,"":4,"a\"b":5"#, r#","logEvent":3,"":4,"a\"b":5"#),
    ] {
        let world = World::new(1);
        let payload = format!(
            r#"{{"messageType":"DATA_MESSAGE","owner":"111122223333","logGroup":"/app","logStream":"s","logEvents":[{}]}}"#,
            of_event(members)
        );
        let event = logs::event_of_data(&logs::gzip(payload.as_bytes()));
        let config = log_processor::Config { transform: TransformName::Envelope, ..config() };
        let mut processor = world.processor(config);
        // By way of the dead-letter queue and a replay, as it would be at once.
        world.stream.set_faults(|_| permanent("ResourceNotFoundException"));
        processor.handle(&event).await.expect("handed over");
        world.stream.set_faults(|_| Fault::None);
        let letter = world.queue.drain().pop().expect("a dead letter");
        let replay = Replay { attempt: 1, is_last: false, dead_lettered_ms: 7 };
        let replayed = replayed_event(&letter.body, replay).expect("an event");
        for event in [&event, &replayed] {
            processor.handle(event).await.expect("delivered");
        }
        let delivered = world.delivered();
        let line = format!("{known}{expected}}}").into_bytes();
        assert_eq!(delivered.keys().collect::<Vec<_>>(), [&line], "{members}");
        assert_eq!(delivered[&line], 2);
    }
}

#[tokio::test(start_paused = true)]
async fn no_character_is_odd_in_a_message() {
    let messages: Vec<String> = [
        "",
        "\0",
        "\u{1b}[31mERROR\u{1b}[0m",
        "\u{7f}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{feff}",
        "\r",
        "\u{85}\u{2028}",
    ]
    .map(str::to_owned)
    .into();
    let world = World::new(1);
    let mut processor = world.processor(config());
    processor.send(&messages).await.expect("delivered");
    world.assert_delivered_once(&messages);
    world.stream.set_faults(|_| permanent("ResourceNotFoundException"));
    processor.send(&messages).await.expect("handed over");
    assert_eq!(messages_of(&world.queue.drain()[0].body), messages);
    // What cannot be decoded has them in its body itself.
    let raw = json!({ "key": messages.concat() }).to_string();
    processor.handle(&raw).await.expect("handed over");
    let letter = world.quarantine.drain().pop().expect("a message");
    assert!(!letter.body.contains(['\0', '\u{1b}', '\u{fffe}', '\u{ffff}']));
    let held: Value = serde_json::from_str(&letter.body).expect("JSON");
    assert_eq!(held["key"], json!(messages.concat()));
}

#[tokio::test(start_paused = true)]
async fn events_of_one_id_and_one_text_are_all_delivered() {
    let world = World::new(1);
    let mut payload = logs::payload(&["", "", ""], BEGIN_EPOCH_MS);
    for place in 0..3 {
        payload["logEvents"][place]["id"] = json!("1");
    }
    world.processor(config()).handle(&logs::event(&payload)).await.expect("delivered");
    assert_eq!(world.delivered(), [(Vec::new(), 3)].into());
}

#[tokio::test(start_paused = true)]
async fn entries_that_are_refused_again_and_again_go_again_alone() {
    let world = World::new(4);
    world.stream.set_faults(|call| match call.number {
        0 => Fault::RefuseEntries((0..call.entries).step_by(3).collect()),
        1 | 2 => Fault::RefuseEntries((0..call.entries).step_by(2).collect()),
        _ => Fault::None,
    });
    let config = log_processor::Config { record_format: RecordFormat::Single, ..config() };
    let messages = messages(100);
    world.processor(config).send(&messages).await.expect("delivered");
    world.assert_delivered_once(&messages);
    assert_eq!(world.stream.records().len(), 100);
    assert_eq!(world.metrics.sum("RecordsFailed"), 34 + 17 + 9);
}

#[tokio::test(start_paused = true)]
async fn a_transform_keeps_drops_and_fails_events_one_by_one() {
    struct ByLength;
    impl Transform for ByLength {
        fn apply(&self, _: &Payload<'_>, event: &LogEvent<'_>, out: &mut Vec<u8>) -> Verdict {
            out.extend_from_slice(b"half-written");
            match event.message.value().len() {
                1 => {
                    out.clear();
                    out.extend_from_slice(event.message.value().as_bytes());
                    Verdict::Keep
                }
                2 => Verdict::Drop,
                _ => Verdict::Fail("too long for this team".to_owned()),
            }
        }
    }
    let world = World::new(1);
    let mut processor = world.processor(config());
    processor.inner = processor.inner.with_transform(Box::new(ByLength));
    processor.send(&["a", "bb", "ccc"]).await.expect("handed over");
    world.assert_delivered_once(&["a"]);
    let quarantined = world.quarantine.messages();
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0].reason, Reason::TransformFailed);
    assert_eq!(messages_of(&quarantined[0].body), ["ccc"]);
    assert_eq!(world.metrics.sum("EventsFiltered"), 1);
    assert_eq!(world.metrics.sum("EventsIn"), 3);
}

#[tokio::test(start_paused = true)]
async fn lag_counts_from_the_events_own_timestamps() {
    let world = World::new(1);
    // Events from 5,000 ms ago on, one a millisecond.
    world.processor(config()).send(&messages(101)).await.expect("delivered");
    let lag_in = world.metrics.values("LagIn");
    assert_eq!((lag_in.first(), lag_in.last()), (Some(&4_900), Some(&5_000)));
    let lag_out = world.metrics.values("LagOut");
    assert_eq!((lag_out.first(), lag_out.last()), (Some(&4_910), Some(&5_010)));
}

#[tokio::test(start_paused = true)]
async fn pacing_lives_across_invocations() {
    let world = World::new(1);
    let mut processor = world.processor(config());
    for batch in 0..50 {
        let messages: Vec<String> = (0..200).map(|n| format!("{batch} {n:01000}")).collect();
        processor.send(&messages).await.expect("delivered");
    }
    // 10 MB through one shard's share.
    let took_ms = world.clock.epoch_ms() - BEGIN_EPOCH_MS;
    assert!((9_000..12_000).contains(&took_ms), "{took_ms} ms");
    // The burst may be refused once or twice; a rate above the share would be refused all along.
    let throttled = world.stream.throttled() as usize;
    assert!(throttled * 10 < world.stream.records().len(), "{throttled} throttled");
}

#[tokio::test(start_paused = true)]
async fn the_answer_says_what_became_of_the_event() {
    let world = World::new(4);
    let mut processor = world.processor(config());
    let huge = "x".repeat(RECORD_BYTES_MAX + 1);
    let answer = processor.send(&["one", "two", &huge]).await.expect("handed over");
    let expected = Answer {
        events_in: 3,
        events_delivered: 2,
        events_quarantined: 1,
        quarantined: 1,
        ..Answer::default()
    };
    assert_eq!(answer, expected);
    world.stream.set_faults(|_| permanent("ResourceNotFoundException"));
    let answer = processor.send(&["one", "two"]).await.expect("handed over");
    let expected =
        Answer { events_in: 2, events_dead_lettered: 2, dead_letters: 1, ..Answer::default() };
    assert_eq!(answer, expected);
}

#[tokio::test(start_paused = true)]
async fn without_a_quarantine_what_can_never_succeed_is_dead_lettered() {
    let world = World::new(1);
    let without = log_processor::Config { quarantine_queue_url: None, ..config() };
    let answer = world.processor(without).handle("{}").await.expect("handed over");
    assert_eq!(answer.dead_letters, 1);
    assert_eq!(world.queue.messages()[0].reason, Reason::NotAnAwslogsEvent);
}

#[tokio::test(start_paused = true)]
async fn what_a_replay_could_not_deliver_waits_and_says_how_often_it_was_tried() {
    let world = World::new(1);
    world.stream.set_faults(|_| permanent("ResourceNotFoundException"));
    let event = logs::event(&logs::payload(&["one"], BEGIN_EPOCH_MS));
    let first_ms = BEGIN_EPOCH_MS - 86_400_000;
    let mut processor = world.processor(config());
    for (attempt, is_last) in [(1, false), (4, false), (5, true)] {
        let replay = Replay { attempt, is_last, dead_lettered_ms: first_ms };
        let replayed = replayed_event(&event, replay).expect("an event");
        let answer = processor.handle(&replayed).await.expect("handed over");
        let now_ms = world.clock.epoch_ms();
        let place = if is_last { &world.quarantine } else { &world.queue };
        assert_eq!((answer.quarantined, answer.dead_letters), (is_last.into(), (!is_last).into()));
        let hidden = place.hidden_for_ms(now_ms);
        let letter = place.drain().pop().expect("a dead letter");
        assert_eq!(letter.reason, Reason::StreamUnavailable);
        assert_eq!((letter.attempts, letter.dead_lettered_ms), (attempt, first_ms));
        assert_eq!(messages_of(&letter.body), ["one"]);
        // A person looks at the quarantine; the queue would only be asked again.
        assert_eq!(hidden > 890_000, !is_last, "{hidden} ms");
        assert_eq!(hidden == 0, is_last, "{hidden} ms");
    }
}

/// Sample events lie beside the project; without them there is nothing to try.
#[tokio::test(start_paused = true)]
async fn real_payloads_of_other_projects_are_delivered() {
    let shelf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/events");
    let names = ["dd-cloudwatch_log_lambda_invocation-decoded", "dd-cloudwatch_logs-decoded"];
    for name in names {
        let Ok(json) = std::fs::read_to_string(format!("{shelf}/{name}.json")) else {
            eprintln!("skipped: {shelf}/{name}.json is not there");
            continue;
        };
        let payload: Value = serde_json::from_str(&json).expect("JSON");
        let world = World::new(1);
        let event = logs::event_of_data(&logs::gzip(json.as_bytes()));
        world.processor(config()).handle(&event).await.expect("delivered");
        let delivered: usize = world.delivered().values().sum();
        assert_eq!(Some(delivered), payload["logEvents"].as_array().map(Vec::len));
        assert!(world.queue.messages().is_empty());
    }
    if let Ok(event) = std::fs::read_to_string(format!("{shelf}/rs-cloudwatch_logs-event.json")) {
        let world = World::new(1);
        world.processor(config()).handle(&event).await.expect("delivered");
        assert!(world.metrics.sum("EventsDelivered") > 0);
    }
}
