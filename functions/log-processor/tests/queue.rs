//! Promises of `Buffer=queue`: the forwarder, and the processor behind its queue.

#[allow(dead_code, reason = "the other tests of this function use the rest")]
mod world;

use std::time::Duration;

use fastrand::Rng;
use log_processor::config::TransformName;
use log_processor::event::{Reply, SqsBatch};
use log_processor::{Forwarder, NotForwarded};
use serde_json::json;
use sluice::delivery::Reason;
use sluice::invocation::BatchResponse;
use sluice::limits::SQS_MESSAGE_BYTES_MAX;
use sluice::ports::{Clock, PutError};
use sluice::records::{Packing, RecordFormat};
use sluice_simulated::queue::{Mood, QueueFault};
use sluice_simulated::{Fault, Queue, VirtualClock, logs};
use world::{SimulatedProcessor, TIMEOUT_MS, World, config, messages, once};

/// What the mapping hands over: each body under its place.
fn batch_event(bodies: &[String]) -> String {
    let record = |(place, body): (usize, &String)| {
        json!({
            "messageId": format!("message-{place}"),
            "receiptHandle": "receipt",
            "body": body,
            "attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": "1" },
            "messageAttributes": {},
            "md5OfBody": "",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:111122223333:buffer",
            "awsRegion": "eu-west-1",
        })
    };
    json!({ "Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>() }).to_string()
}

fn body(messages: &[String]) -> String {
    logs::event(&logs::payload(messages, 0))
}

/// The places of the messages that are to come again.
async fn left(
    world: &World,
    processor: &mut SimulatedProcessor<'_>,
    bodies: &[String],
) -> Vec<usize> {
    let deadline = world.clock.epoch_ms() + TIMEOUT_MS;
    let reply = processor.inner.answer(&batch_event(bodies), deadline).await.expect("an answer");
    let Reply::Batch(answer) = reply else { panic!("{reply:?} to a batch") };
    let place = |id: &str| id.strip_prefix("message-").and_then(|place| place.parse().ok());
    let failures = answer.batch_item_failures.iter();
    failures.map(|failure| place(&failure.item_identifier).expect("an id")).collect()
}

fn forwarder(queue: &Queue, clock: VirtualClock) -> Forwarder<&Queue, VirtualClock> {
    Forwarder::new(queue, clock, Rng::with_seed(1))
}

#[tokio::test(start_paused = true)]
async fn what_is_forwarded_is_carried_as_if_it_had_come_directly() {
    let world = World::new(4);
    let buffer = Queue::new(world.clock);
    let mut forwarder = forwarder(&buffer, world.clock);
    let messages = messages(300);
    for some in messages.chunks(100) {
        let deadline = world.clock.epoch_ms() + TIMEOUT_MS;
        forwarder.forward(&body(some), deadline).await.expect("forwarded");
    }
    let bodies: Vec<String> = buffer.stored().into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, messages.chunks(100).map(body).collect::<Vec<_>>(), "as they came");
    let mut processor = world.processor(config());
    assert_eq!(left(&world, &mut processor, &bodies).await, Vec::<usize>::new());
    world.assert_delivered_once(&messages);
    assert!(world.queue.messages().is_empty());
    assert_eq!(world.metrics.sum("EventsIn"), 300);
    assert_eq!(world.metrics.sum("EventsDelivered"), 300);
}

#[tokio::test(start_paused = true)]
async fn only_the_messages_that_the_stream_did_not_take_come_again() {
    let world = World::new(4);
    let mut processor = world.processor(config());
    let all = messages(30);
    let bodies: Vec<String> = all.chunks(10).map(body).collect();
    // The second call, and with it the second message, is refused for good.
    world.stream.set_faults(|call| match call.number {
        1 => Fault::Error(PutError::Permanent { code: "x".to_owned(), detail: String::new() }),
        _ => Fault::None,
    });
    assert_eq!(left(&world, &mut processor, &bodies).await, [1]);
    assert!(world.queue.messages().is_empty(), "the queue has it still; nothing is dead-lettered");
    let taken: Vec<String> = [&all[..10], &all[20..]].concat();
    world.assert_delivered_once(&taken);
    assert_eq!(left(&world, &mut processor, &bodies[1..2]).await, Vec::<usize>::new());
    world.assert_delivered_once(&all);
    let by_minute = world.metrics.sum("EventTimeIn") + world.metrics.sum("EventsOutsideMetricTime");
    assert_eq!(by_minute, 30, "each event is counted once, when its fate is certain");
}

#[tokio::test(start_paused = true)]
async fn poison_goes_to_quarantine_and_its_companions_to_the_stream() {
    let world = World::new(4);
    let mut processor = world.processor(config());
    let good = messages(20);
    let poison = r#"{"awslogs":{"data":"bm90IGd6aXA="}}"#.to_owned();
    let control = logs::event(&logs::control_payload());
    let bodies =
        [body(&good[..10]), poison.clone(), "no event".to_owned(), control, body(&good[10..])];
    assert_eq!(left(&world, &mut processor, &bodies).await, Vec::<usize>::new());
    world.assert_delivered_once(&good);
    let quarantined = world.quarantine.messages();
    let reasons: Vec<Reason> = quarantined.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [Reason::NotGzip, Reason::NotAnAwslogsEvent]);
    assert_eq!(quarantined[0].body, poison);
    assert_eq!(world.metrics.sum("ControlMessages"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_comes_again_when_the_quarantine_does_not_take_its_poison() {
    let world = World::new(4);
    let mut processor = world.processor(config());
    world.quarantine.set_mood(Mood::Refuses);
    let bodies = ["no event".to_owned(), body(&messages(10))];
    assert_eq!(left(&world, &mut processor, &bodies).await[0], 0);
    world.quarantine.set_mood(Mood::Takes);
    assert_eq!(left(&world, &mut processor, &bodies[..1]).await, Vec::<usize>::new());
    assert_eq!(world.quarantine.messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_delivered_is_quarantined_once_however_often_its_message_comes() {
    let world = World::new(4);
    let mut processor = world.processor(config());
    let huge = "x".repeat(sluice::limits::RECORD_BYTES_MAX);
    let bodies = [body(&[huge.clone(), "small".to_owned()])];
    world.stream.set_faults(|_| {
        Fault::Error(PutError::Permanent { code: "x".to_owned(), detail: String::new() })
    });
    for _ in 0..3 {
        assert_eq!(left(&world, &mut processor, &bodies).await, [0]);
    }
    assert!(world.quarantine.messages().is_empty());
    world.stream.set_faults(|_| Fault::None);
    assert_eq!(left(&world, &mut processor, &bodies).await, Vec::<usize>::new());
    assert_eq!(world.quarantine.messages().len(), 1);
    world.assert_delivered_once(&["small"]);
}

#[tokio::test(start_paused = true)]
async fn what_there_is_no_time_for_comes_again_untouched() {
    let world = World::new(1);
    let mut processor = world.processor(config());
    // A shard takes 1 MB/s, so that 25 of them last well beyond the invocation.
    let mut rng = Rng::with_seed(3);
    let mut random =
        || (0..9).map(|_| (0..400_000).map(|_| rng.alphanumeric()).collect()).collect();
    let bodies: Vec<Vec<String>> = (0..25).map(|_| random()).collect();
    let events: Vec<String> = bodies.iter().map(|messages| body(messages)).collect();
    let begin_ms = world.clock.epoch_ms();
    let left = left(&world, &mut processor, &events).await;
    assert!(world.clock.epoch_ms() - begin_ms < TIMEOUT_MS, "it ends before Lambda ends it");
    assert!(!left.is_empty() && left.len() < events.len(), "{left:?}");
    let taken = (0..events.len()).filter(|place| !left.contains(place));
    let delivered = world.delivered();
    let is_there = |message: &String| delivered.contains_key(message.as_bytes());
    assert!(taken.flat_map(|place| &bodies[place]).all(is_there));
    // At the most the one under way at the cutoff was sent in part.
    let sent_in_part = left.iter().filter(|&&place| bodies[place].iter().any(is_there)).count();
    assert!(sent_in_part <= 1, "{sent_in_part}");
}

#[tokio::test(start_paused = true)]
async fn a_log_group_of_sluice_ends_in_the_queue_without_a_line() {
    let world = World::new(1);
    let mut processor = world.processor(config());
    let mut payload = logs::payload(&["a line"], 0);
    payload["logGroup"] = "/sluice/forwarder".into();
    assert_eq!(left(&world, &mut processor, &[logs::event(&payload)]).await, Vec::<usize>::new());
    assert!(world.stream.records().is_empty());
    assert_eq!(world.metrics.lines().len(), 0);
}

#[test]
fn only_messages_of_sqs_are_a_batch() {
    let event = batch_event(&["{}".to_owned()]);
    assert_eq!(SqsBatch::parse(&event).expect("a batch").messages[0].body, "{}");
    assert!(SqsBatch::parse(&format!(" {{\n {}", &event[1..])).is_some());
    for other in [
        String::new(),
        "{}".to_owned(),
        body(&messages(2)),
        r#"{"Records":["x"]}"#.to_owned(),
        r#"{"Records":[{"messageId":"1","body":"{}"}]}"#.to_owned(),
        event.replace("aws:sqs", "aws:kinesis"),
    ] {
        assert!(SqsBatch::parse(&other).is_none(), "{other}");
    }
}

#[test]
fn the_answer_is_what_the_mapping_reads() {
    let json = serde_json::to_string(&Reply::Batch(BatchResponse::default())).expect("JSON");
    assert_eq!(json, r#"{"batchItemFailures":[]}"#);
}

#[tokio::test(start_paused = true)]
async fn the_forwarder_outlasts_a_queue_that_refuses_or_hangs_for_a_while() {
    let clock = VirtualClock::begin();
    let buffer = Queue::new(clock);
    for fault in [QueueFault::Error, QueueFault::AnswerLost] {
        buffer.set_faults(move |call| if call.number % 5 < 4 { fault } else { QueueFault::None });
        let deadline = clock.epoch_ms() + TIMEOUT_MS;
        forwarder(&buffer, clock).forward("{}", deadline).await.expect("forwarded");
        assert!(!buffer.drain().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn the_forwarder_fails_in_time_when_the_queue_does_not_take_the_payload() {
    let clock = VirtualClock::begin();
    let buffer = Queue::new(clock);
    for (mood, seconds) in [(Mood::Gone, 0..1), (Mood::Refuses, 40..60), (Mood::Hangs, 40..60)] {
        buffer.set_mood(mood);
        let begin_ms = clock.epoch_ms();
        let forwarded = forwarder(&buffer, clock).forward("{}", begin_ms + TIMEOUT_MS).await;
        let error = forwarded.expect_err("nobody has it");
        assert_eq!(matches!(error, NotForwarded::OutOfTime), mood == Mood::Hangs, "{error}");
        let took = Duration::from_millis(clock.epoch_ms() - begin_ms).as_secs();
        assert!(seconds.contains(&took), "{mood:?}: {took} s");
    }
    assert!(buffer.stored().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_largest_event_of_lambda_and_any_character_fit_a_message() {
    let clock = VirtualClock::begin();
    let buffer = Queue::new(clock);
    let deadline = clock.epoch_ms() + TIMEOUT_MS;
    let frame = logs::event_of_data(b"").len();
    let whole =
        format!(r#"{{"awslogs":{{"data":"{}"}}}}"#, "A".repeat(SQS_MESSAGE_BYTES_MAX - frame));
    assert_eq!(whole.len(), SQS_MESSAGE_BYTES_MAX);
    forwarder(&buffer, clock).forward(&whole, deadline).await.expect("forwarded");
    forwarder(&buffer, clock).forward("\"\u{ffff}\"", deadline).await.expect("forwarded");
    let bodies: Vec<String> = buffer.stored().into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, [whole, "\"\\uffff\"".to_owned()]);
}

#[tokio::test(start_paused = true)]
async fn a_loss_in_any_message_of_a_batch_is_told() {
    for lost in 0..3 {
        let world = World::new(4);
        let mut processor = world
            .processor(log_processor::Config { record_format: RecordFormat::Single, ..config() });
        processor.inner = processor.inner.with_packing(|packer, batch, next_key| {
            let packing = packer.pack(batch, next_key);
            let lost = |data: &[u8]| data == b"lost";
            let records = packing.records.into_iter().filter(|packed| !lost(&packed.record.data));
            Packing { records: records.collect(), ..packing }
        });
        let message = |place| if place == lost { "lost".to_owned() } else { format!("{place}") };
        let bodies: Vec<String> = (0..3).map(|place| body(&[message(place)])).collect();
        assert_eq!(left(&world, &mut processor, &bodies).await, Vec::<usize>::new());
        assert_eq!(world.metrics.sum("EventsLost"), 1, "of message {lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_prints_one_line_of_metrics() {
    let world = World::new(4);
    let mut processor =
        world.processor(log_processor::Config { transform: TransformName::Envelope, ..config() });
    let bodies: Vec<String> = messages(100).chunks(10).map(body).collect();
    assert_eq!(left(&world, &mut processor, &bodies).await, Vec::<usize>::new());
    let whole = world.metrics.values("EventsIn").len();
    assert_eq!(whole, 1);
    assert_eq!(world.metrics.sum("EventsIn"), 100);
    assert_eq!(once(&messages(100)).len(), 100);
}
