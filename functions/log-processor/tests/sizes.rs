//! What can never be delivered has a place that takes it, whatever its size: SQS counts a message's
//! attributes, and a body of just its limit leaves them no room.

#[allow(dead_code, reason = "the other tests of this function use the rest")]
mod world;

use std::collections::BTreeMap;

use log_processor::Config;
use log_processor::config::TransformName;
use proptest::prelude::*;
use serde_json::{Value, json};
use sluice::delivery::{DeadLetter, Invocation, Reason, Replay, replayed_event};
use sluice::limits::{RECORD_BYTES_MAX, SQS_MESSAGE_BYTES_MAX};
use sluice::ports::{Clock, Message, PutError};
use sluice::records::RecordFormat;
use sluice_simulated::clock::BEGIN_EPOCH_MS;
use sluice_simulated::{Fault, Queue, StreamLimits, VirtualClock, logs};
use world::{World, config, messages_of};

/// Events that a queue's messages hold, put together from their parts where there are some.
fn events_of(messages: &[DeadLetter]) -> Vec<String> {
    let mut parts: BTreeMap<String, BTreeMap<u64, Value>> = BTreeMap::new();
    let mut events = Vec::new();
    for message in messages {
        let body: Value = serde_json::from_str(&message.body).unwrap_or_default();
        match body["eventMd5"].as_str() {
            Some(md5) => {
                let number = body["part"].as_u64().expect("a number");
                parts.entry(md5.to_owned()).or_default().insert(number, body.clone());
            }
            None => events.push(message.body.clone()),
        }
    }
    for parts in parts.values() {
        let count = parts.values().next().expect("a part")["parts"].as_u64();
        assert_eq!(Some(parts.len() as u64), count);
        let gzip: Vec<u8> = parts
            .values()
            .flat_map(|part| {
                let piece = part["dataGzip"].as_str().expect("text");
                base64_simd::STANDARD.decode_to_vec(piece).expect("base64")
            })
            .collect();
        let mut event = String::new();
        use std::io::Read;
        flate2::read::GzDecoder::new(&*gzip).read_to_string(&mut event).expect("gzip of text");
        assert_eq!(Some(event.len() as u64), parts[&1]["bytes"].as_u64());
        events.push(event);
    }
    events
}

/// Base64 text that does not compress, of that length; `%` in it is no base64.
fn noise(bytes: usize, seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..bytes).map(|_| rng.alphanumeric()).collect()
}

/// An event that is no base64, of that many bytes.
fn undecodable(bytes: usize, filler: &str) -> String {
    let frame = r#"{"awslogs":{"data":"%"}}"#;
    let room = bytes - frame.len();
    let text = filler.repeat(room / filler.len() + 1);
    let mut end = room;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let padding = "%".repeat(room - end);
    let event = frame.replace('%', &format!("%{}{padding}", &text[..end]));
    assert_eq!(event.len(), bytes);
    event
}

#[tokio::test(start_paused = true)]
async fn the_largest_undecodable_events_are_quarantined_whole() {
    let noise = noise(1_048_576, 1);
    for filler in ["A", &*noise, "\u{fffe}", "\u{ffff}A"] {
        for bytes in (1_048_300..1_048_576).step_by(89).chain([1_048_576]) {
            let event = undecodable(bytes, filler);
            let world = World::new(1);
            let answer = world.processor(config()).handle(&event).await.expect("handed over");
            assert!(answer.quarantined > 0);
            let letters = world.quarantine.messages();
            assert!(letters.iter().all(|letter| letter.reason == Reason::NotBase64));
            let held = events_of(&letters);
            assert_eq!(held.len(), 1);
            let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
            assert!(read(&held[0]) == read(&event), "{bytes} bytes of {:.4}", filler);
            assert!(world.queue.messages().is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_largest_undecodable_event_of_a_replay_is_quarantined_whole() {
    let event = undecodable(1_048_576, &noise(1_048_576, 2));
    let replay = Replay { attempt: 4, is_last: true, dead_lettered_ms: 7 };
    let replayed = replayed_event(&event, replay).expect("an event");
    assert!(replayed.len() > SQS_MESSAGE_BYTES_MAX);
    let world = World::new(1);
    world.processor(config()).handle(&replayed).await.expect("handed over");
    let letters = world.quarantine.messages();
    assert!(letters.iter().all(|letter| (letter.attempts, letter.dead_lettered_ms) == (4, 7)));
    assert!(events_of(&letters) == [replayed]);
}

#[tokio::test(start_paused = true)]
async fn a_single_event_that_no_message_holds_goes_to_the_quarantine_in_parts() {
    let (mut in_queue, mut in_parts) = (0, 0);
    let mut rng = fastrand::Rng::with_seed(3);
    // What takes 6.5 bits a byte is, as base64, longer than it was.
    let printable: String = (0..1_048_000).map(|_| rng.char('#'..'~')).collect();
    let printable = printable.replace('\\', "/");
    for bytes in (900_000..1_048_000).step_by(15_000) {
        let message = printable[..bytes].to_owned();
        let event = logs::event(&logs::payload(&[&message], BEGIN_EPOCH_MS));
        let world = World::new(1);
        world.stream.set_faults(|_| {
            let code = "ResourceNotFoundException".to_owned();
            Fault::Error(PutError::Permanent { code, detail: "gone".to_owned() })
        });
        let answer = world.processor(config()).handle(&event).await.expect("handed over");
        assert_eq!(answer.events_dead_lettered + answer.events_quarantined, 1, "{answer:?}");
        assert_eq!(world.metrics.sum("EventTimeIn"), 1);
        let settled = ["EventTimeDeadLettered", "EventTimeQuarantined"];
        assert_eq!(settled.iter().map(|name| world.metrics.sum(name)).sum::<u64>(), 1);
        let (waiting, quarantined) = (world.queue.messages(), world.quarantine.messages());
        let (held, place) = match answer.events_dead_lettered {
            1 => (&waiting, &quarantined),
            _ => (&quarantined, &waiting),
        };
        assert!(place.is_empty(), "in two places");
        let events = events_of(held);
        assert!(messages_of(&events[0]) == [message], "{bytes} bytes");
        if answer.events_dead_lettered == 1 {
            in_queue += 1;
            assert_eq!(held[0].reason, Reason::StreamUnavailable);
        } else {
            in_parts += 1;
            let is_large = |letter: &DeadLetter| letter.reason == Reason::MessageTooLarge;
            assert!(held.iter().all(is_large));
            assert!(held[0].detail.starts_with("stream-unavailable: "), "{}", held[0].detail);
            assert_eq!(held.iter().filter_map(|letter| letter.log_events).sum::<usize>(), 1);
        }
    }
    assert!(in_queue > 2 && in_parts > 2, "{in_queue} in the queue, {in_parts} in parts");
}

#[tokio::test(start_paused = true)]
async fn the_simulated_sqs_counts_names_types_and_values_of_attributes() {
    let letter = |bytes: usize| DeadLetter {
        body: "x".repeat(bytes),
        reason: Reason::NotJson,
        detail: "why".to_owned(),
        log_events: Some(12),
        attempts: 3,
        dead_lettered_ms: 1_795_219_200_000,
    };
    let attributes = "ReasonStringnot-jsonAttemptsNumber3DeadLetteredAtNumber1795219200000\
                      ReasonDetailStringwhyLogEventsNumber12";
    use sluice::ports::SendMessage;
    let queue = &Queue::new(VirtualClock::begin());
    let room = SQS_MESSAGE_BYTES_MAX - attributes.len();
    queue.send_message(&letter(room).to_message(0)).await.expect("it fits");
    queue.send_message(&letter(room + 1).to_message(0)).await.expect_err("it does not fit");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() })]

    /// Around the limit, whatever is beside the body: as one message when it fits, without its detail
    /// when that is enough, else in parts; never larger than SQS takes, and always whole.
    #[test]
    fn every_letter_becomes_messages_that_sqs_takes(
        over in -700i64..700,
        compresses in any::<bool>(),
        detail in prop_oneof![Just(String::new()), "[a-z日🦀]{0,300}"],
        reason in proptest::sample::select(Reason::ALL.to_vec()),
        attempts in any::<u32>(),
        log_events in prop_oneof![Just(None), Just(Some(1))],
    ) {
        let bytes = (SQS_MESSAGE_BYTES_MAX as i64 + over) as usize;
        let body = if compresses { "a".repeat(bytes) } else { noise(bytes, over as u64) };
        let replay = Some(Replay { attempt: attempts, is_last: false, dead_lettered_ms: 5 });
        let invocation = Invocation { now_ms: 5, replay };
        let letter = DeadLetter {
            log_events,
            ..DeadLetter::undecodable(&body, reason, &detail, invocation)
        };
        let size = |letter: &DeadLetter| {
            let attributes = letter.to_message(0).attributes;
            letter.body.len() + attributes
                .iter()
                .map(|one| one.name.len() + one.data_type.len() + one.value.len())
                .sum::<usize>()
        };
        let messages = letter.clone().messages();
        for message in &messages {
            prop_assert!(size(message) <= SQS_MESSAGE_BYTES_MAX);
            prop_assert_eq!((message.attempts, message.dead_lettered_ms), (attempts, 5));
        }
        prop_assert_eq!(events_of(&messages), [body.clone()]);
        let counted: usize = messages.iter().filter_map(|message| message.log_events).sum();
        prop_assert_eq!(counted, log_events.unwrap_or(0));
        if size(&letter) <= SQS_MESSAGE_BYTES_MAX {
            prop_assert_eq!(messages, [letter]);
        } else if messages[0].body == body {
            prop_assert_eq!(&messages[0].detail, "");
        } else {
            let brief = size(&DeadLetter { detail: String::new(), ..letter });
            prop_assert!(brief > SQS_MESSAGE_BYTES_MAX);
            prop_assert!(messages.iter().all(|message| message.reason.is_permanent()));
        }
    }
}

/// Lambda's own dead letter has other attributes than ours.
#[test]
fn lambdas_largest_dead_letter_fits_with_our_attributes_or_in_parts() {
    let attributes = [("RequestID", "7a"), ("ErrorCode", "200"), ("ErrorMessage", "timed out")];
    let message = Message {
        id: "1".to_owned(),
        receipt_handle: "1".to_owned(),
        body: json!({ "awslogs": "x".repeat(1_048_490) }).to_string(),
        attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        sent_ms: 7_000,
        receive_count: 1,
    };
    let letters = DeadLetter::received(&message).messages();
    assert!(events_of(&letters) == [message.body]);
}

const LARGE: usize = 2_048 * 1_024;

fn with_large_records(kib: usize, record_format: RecordFormat) -> (World, Config) {
    let record_bytes_max = kib * 1_024;
    let world = World::new(2);
    world.stream.set_limits(StreamLimits { record_bytes_max, ..StreamLimits::default() });
    (world, Config { record_bytes_max, record_format, ..config() })
}

#[tokio::test(start_paused = true)]
async fn the_largest_event_of_cloudwatch_passes_where_the_stream_takes_large_records() {
    let largest = "x".repeat(1_048_550);
    for record_format in [RecordFormat::Single, RecordFormat::Kpl] {
        let (world, config) = with_large_records(2_048, record_format);
        let config = Config { transform: TransformName::Envelope, ..config };
        // Else it is quarantined alone.
        let small = Config { record_bytes_max: RECORD_BYTES_MAX, ..config.clone() };
        let answer = world.processor(small).send(&["small", &largest]).await.expect("handed over");
        assert_eq!((answer.events_delivered, answer.events_quarantined), (1, 1));
        assert_eq!(world.quarantine.drain()[0].reason, Reason::EventTooLarge);
        let answer = world.processor(config).send(&["small", &largest]).await.expect("delivered");
        assert_eq!(answer.events_delivered, 2, "{record_format:?}");
        assert!(world.quarantine.messages().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_of_just_the_raised_limit_is_put_and_one_byte_more_is_quarantined() {
    // The longest partition key has four characters, and the shortest one.
    for (bytes, fits) in [(LARGE - 4, true), (LARGE, false)] {
        let (world, config) = with_large_records(2_048, RecordFormat::Kpl);
        let answer = world.processor(config).send(&["y".repeat(bytes)]).await.expect("settled");
        assert_eq!(answer.events_delivered == 1, fits, "{bytes}");
        assert_eq!(answer.events_quarantined == 1, !fits, "{bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_of_ten_mebibytes_goes_in_a_call_of_its_own_and_what_follows_waits() {
    let (world, config) = with_large_records(10_240, RecordFormat::Single);
    let messages = ["a".repeat(10_240 * 1_024 - 4), "b".repeat(200_000), "c".repeat(200_000)];
    let answer = world.processor(config).send(&messages).await.expect("delivered");
    assert_eq!(answer.events_delivered, 3);
    let took_ms = world.clock.epoch_ms() - BEGIN_EPOCH_MS;
    // At a megabyte a second; nothing is refused, since the shard is given time to pay it off.
    assert!((10_000..13_000).contains(&took_ms), "{took_ms} ms");
    assert_eq!(world.stream.throttled(), 0);
}
