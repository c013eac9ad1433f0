//! One odd event does not take its payload along.

#[allow(dead_code, reason = "the other tests of this function use the rest")]
mod world;

use proptest::prelude::*;
use serde_json::{Value, json};
use sluice::delivery::{DeadLetter, Reason, Replay, replayed_event};
use sluice::logs::Decoder;
use sluice::ports::Clock;
use sluice_simulated::clock::BEGIN_EPOCH_MS;
use sluice_simulated::logs;
use sluice_simulated::queue::Mood;
use world::{World, config, raw_payload_of};

/// A log event as JSON text, with one member more or in place of another.
fn log_event(member: &str, value: &str) -> Vec<u8> {
    let mut members = vec![
        ("id", "\"odd\"".to_owned()),
        ("timestamp", BEGIN_EPOCH_MS.to_string()),
        ("message", "\"m\"".to_owned()),
    ];
    members.retain(|(name, _)| *name != member);
    members.push((member, value.to_owned()));
    let text: Vec<String> =
        members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", text.join(",")).into_bytes()
}

/// An event whose `logEvents` are these items.
fn event_of<T: AsRef<[u8]>>(items: &[T]) -> String {
    let mut payload = logs::payload::<&str>(&[], 0);
    payload["newField"] = json!([1, 2]);
    let payload = payload.to_string();
    let (before, after) = payload.split_once("\"logEvents\":[]").expect("no log events");
    let items: Vec<&[u8]> = items.iter().map(AsRef::as_ref).collect();
    let items = items.join(&b","[..]);
    let json = [before.as_bytes(), b"\"logEvents\":[", &items, b"]", after.as_bytes()].concat();
    logs::event_of_data(&logs::gzip(&json))
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_plain = |byte: &u8| !b" \n\r\t,".contains(byte);
    let begin = bytes.iter().position(is_plain).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(is_plain).map_or(begin, |last| last + 1);
    &bytes[begin..end]
}

fn good(message: &str) -> Vec<u8> {
    log_event("message", &json!(message).to_string())
}

/// What is odd, and what the detail must name.
fn odd_ones() -> Vec<(Vec<u8>, &'static str)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let mut latin_1 = good("né");
    let at = latin_1.iter().position(|&byte| byte == 0xc3).expect("é");
    latin_1.splice(at..at + 2, [0xe9]);
    let mut twice = good("one");
    twice.splice(twice.len() - 1.., *b",\"message\":\"two\"}");
    let mut others_twice = log_event("x", "1");
    others_twice.splice(others_twice.len() - 1.., *b",\"y\":2,\"\\u0078\":3}");
    vec![
        (log_event("message", "null"), "message"),
        (log_event("message", "{\"l\":\"info\"}"), "message"),
        (log_event("message", "[\"a\"]"), "message"),
        (log_event("message", "1"), "message"),
        (log_event("timestamp", "null"), "timestamp"),
        (log_event("timestamp", "\"1795219199000\""), "timestamp"),
        (log_event("timestamp", "1795219199000.5"), "timestamp"),
        (log_event("timestamp", "1.79e12"), "timestamp"),
        (log_event("timestamp", "9223372036854775808"), "timestamp"),
        (log_event("id", "2"), "id"),
        (log_event("id", "null"), "id"),
        (text("{\"id\":\"1\",\"timestamp\":1}"), "message"),
        (text("{\"id\":\"1\",\"message\":\"m\"}"), "timestamp"),
        (text("null"), "a log event as an object"),
        (text("17"), "a log event as an object"),
        (text("\"a, text]\""), "a log event as an object"),
        (text("[{\"timestamp\":1,\"message\":\"in a list\"}]"), "a log event as an object"),
        (text("{}"), "a log event with timestamp and message"),
        (twice, "each name once"),
        (others_twice, "each name once"),
        (log_event("deep", &deep(1_000)), "less nesting"),
        (log_event("message", &deep(100_000)), "nesting"),
        (log_event("message", "\"a\tb\""), "not JSON"),
        (log_event("message", "\"a\0b\""), "not JSON"),
        (log_event("message", "\"a\\xb\""), "not JSON"),
        (log_event("message", "\"\\ud8\""), "not JSON"),
        (log_event("message", "NaN"), "not JSON"),
        (log_event("message", "\"m\",,"), "not JSON"),
        (latin_1, "not JSON"),
        (text("\u{feff}{}"), "not JSON"),
        (text("undefined"), "not JSON"),
    ]
}

#[tokio::test(start_paused = true)]
async fn an_odd_event_goes_alone_and_names_what_is_wrong_and_where() {
    for (odd, named) in odd_ones() {
        for place in 0..3 {
            let shown = String::from_utf8_lossy(&odd[..odd.len().min(60)]).into_owned();
            let mut items = vec![good("good"), good("good too")];
            items.insert(place, odd.clone());
            let world = World::new(1);
            let mut processor = world.processor(config());
            let answer = processor.handle(&event_of(&items)).await.expect("it succeeds");
            world.assert_delivered_once(&["good", "good too"]);
            assert!(world.queue.messages().is_empty(), "{shown}");
            let letters = world.quarantine.messages();
            assert_eq!(letters.len(), 1, "{shown}");
            let letter = &letters[0];
            assert_eq!(
                (letter.reason, letter.log_events),
                (Reason::OtherShape, Some(1)),
                "{shown}"
            );
            assert!(letter.detail.contains(named), "{shown}: {}", letter.detail);
            assert!(letter.detail.contains("at byte"), "{shown}: {}", letter.detail);
            assert!(contains(&raw_payload_of(&letter.body), &odd), "{shown}: it came otherwise");
            assert_eq!((answer.events_in, answer.events_delivered), (3, 2));
            assert_eq!((answer.events_quarantined, answer.quarantined), (1, 1));
            for (metric, count) in [
                ("EventsIn", 3),
                ("EventsDelivered", 2),
                ("EventsQuarantined", 1),
                ("EventsOutsideMetricTime", 1),
                ("EventTimeIn", 2),
                ("EventTimeDelivered", 2),
                ("PayloadsUndecodable", 0),
            ] {
                assert_eq!(world.metrics.sum(metric), count, "{metric}: {shown}");
            }
        }
    }
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

#[tokio::test(start_paused = true)]
async fn the_offset_in_the_detail_is_that_of_the_fault() {
    let world = World::new(1);
    let event = event_of(&[good("é"), log_event("timestamp", "null")]);
    world.processor(config()).handle(&event).await.expect("it succeeds");
    let letter = world.quarantine.messages().remove(0);
    let whole = raw_payload_of(&event);
    let offset = whole.windows(4).rposition(|four| four == b"null").expect("the timestamp");
    assert!(letter.detail.contains(&format!("at byte {offset} ")), "{}", letter.detail);
}

#[tokio::test(start_paused = true)]
async fn an_odd_event_in_quarantine_comes_back_the_same_when_it_is_replayed() {
    for (odd, _) in odd_ones() {
        let world = World::new(1);
        let mut processor = world.processor(config());
        processor.handle(&event_of(&[good("good"), odd.clone()])).await.expect("it succeeds");
        let first = world.quarantine.drain().remove(0);
        let replay = Replay { attempt: 1, is_last: false, dead_lettered_ms: 7 };
        let replayed = replayed_event(&first.body, replay).expect("an event");
        let answer = processor.handle(&replayed).await.expect("it succeeds");
        assert_eq!((answer.events_in, answer.events_quarantined), (1, 1));
        let again = world.quarantine.drain().remove(0);
        assert_eq!(raw_payload_of(&again.body), raw_payload_of(&first.body));
        assert_eq!((again.attempts, again.dead_lettered_ms), (1, 7));
        assert_eq!(again.log_events, Some(1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_of_odd_events_alone_is_quarantined_and_the_invocation_succeeds() {
    let odd: Vec<Vec<u8>> = odd_ones().into_iter().map(|(odd, _)| odd).collect();
    let world = World::new(1);
    let answer = world.processor(config()).handle(&event_of(&odd)).await.expect("it succeeds");
    assert_eq!((answer.events_in, answer.events_quarantined), (31, 31));
    assert_eq!(world.quarantine.messages().len(), odd.len());
    assert_eq!(world.stream.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_odd_events_are_quarantined_in_time() {
    let odd = vec![log_event("message", "null"); 10_000];
    let world = World::new(1);
    let answer = world.processor(config()).handle(&event_of(&odd)).await.expect("it succeeds");
    assert_eq!((answer.events_in, answer.events_quarantined), (10_000, 10_000));
    let letters = world.quarantine.messages();
    assert!(letters.len() < 200, "{} messages", letters.len());
    let counts: Vec<_> = letters.iter().map(|letter| letter.log_events).collect();
    assert_eq!(counts[..100], [Some(1); 100]);
    assert_eq!(counts.iter().flatten().sum::<usize>(), 10_000);
    assert!(world.clock.epoch_ms() - BEGIN_EPOCH_MS < 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_is_nothing_but_commas_and_numbers_is_quarantined_whole() {
    let event = event_of(&vec![b"1"; 200_000]);
    let world = World::new(1);
    world.processor(config()).handle(&event).await.expect("it succeeds");
    let letters = world.quarantine.messages();
    assert_eq!((letters.len(), letters[0].log_events, &*letters[0].body), (1, None, &*event));
}

#[tokio::test(start_paused = true)]
async fn an_odd_event_of_a_failed_hand_over_comes_again_and_is_counted_then() {
    let world = World::new(1);
    world.quarantine.set_mood(Mood::Gone);
    let event = event_of(&[good("good"), log_event("message", "null")]);
    let mut processor = world.processor(config());
    processor.handle(&event).await.expect_err("the quarantine is gone");
    assert_eq!(world.metrics.sum("EventsOutsideMetricTime"), 0);
    world.quarantine.set_mood(Mood::Takes);
    processor.handle(&event).await.expect("it succeeds");
    assert_eq!(world.metrics.sum("EventsOutsideMetricTime"), 1);
    assert_eq!(world.quarantine.messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_broken_structure_is_quarantined_whole() {
    let broken = [
        ("not-json", "{\"id\":\"1\"]"),
        ("not-json", "{\"id\":\"1"),
        ("not-json", "{}}"),
        ("not-json", "[1"),
        ("not-json", "{} } {"),
    ];
    for (reason, item) in broken {
        let event = event_of(&[good("good"), item.as_bytes().to_vec(), good("good too")]);
        let world = World::new(1);
        world.processor(config()).handle(&event).await.expect("it succeeds");
        let letters = world.quarantine.messages();
        assert_eq!(letters.len(), 1, "{item}");
        assert_eq!((letters[0].reason.code(), &*letters[0].body), (reason, &*event), "{item}");
        assert_eq!(world.stream.calls(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn log_events_under_the_name_twice_are_all_delivered() {
    let payload = String::from_utf8(raw_payload_of(&event_of(&[good("one")]))).expect("text");
    let second = format!(",\"logEvents\":[{}]}}", String::from_utf8_lossy(&good("two")));
    let payload = payload.strip_suffix('}').expect("an object").to_owned() + &second;
    let world = World::new(1);
    let event = logs::event_of_data(&logs::gzip(payload.as_bytes()));
    world.processor(config()).handle(&event).await.expect("delivered");
    world.assert_delivered_once(&["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_control_message_is_acknowledged_whatever_its_members_are() {
    for (name, value) in [
        ("logEvents", json!(null)),
        ("logEvents", json!({})),
        ("logEvents", json!([null, 7])),
        ("logEvents", json!("none")),
        ("logGroup", json!(null)),
        ("owner", json!(1)),
        ("logStream", json!([])),
    ] {
        let world = World::new(1);
        let mut payload = logs::control_payload();
        payload[name] = value;
        let answer = world.processor(config()).handle(&logs::event(&payload)).await;
        assert_eq!(answer.expect("acknowledged").events_in, 0, "{name}");
        assert!(world.quarantine.messages().is_empty(), "{name}");
        assert_eq!(world.metrics.sum("ControlMessages"), 1);
    }
    let world = World::new(1);
    let event = logs::event(&json!({"messageType": "CONTROL_MESSAGE"}));
    world.processor(config()).handle(&event).await.expect("acknowledged");
    assert!(world.quarantine.messages().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    /// Whatever bytes stand between two good events: they are delivered and the bytes quarantined, or
    /// the payload is quarantined whole. Nothing vanishes, and a dead letter of the bytes is read alike.
    #[test]
    fn whatever_stands_between_good_events_is_somewhere(
        odd in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(b"{}[]\",:\\ 19a\n".to_vec()),
                any::<u8>(),
            ],
            1..24,
        )
    ) {
        let event = event_of(&[good("first"), odd.clone(), good("last")]);
        let mut decoder = Decoder::new();
        let Ok(payload) = decoder.decode(event.as_bytes()) else { return Ok(()) };
        let whole = raw_payload_of(&event);
        let is_good = |message: &str| {
            payload.log_events.iter().any(|event| event.message.value() == message)
        };
        if is_good("first") && is_good("last") && payload.odd_events.len() == 1 {
            prop_assert_eq!(payload.odd_events[0].bytes, trimmed(&odd));
        }
        // All that is no event is white space and commas.
        let held: usize = (0..payload.events()).map(|event| payload.json_of(event).len()).sum();
        let list = whole.len() - raw_payload_of(&event_of::<Vec<u8>>(&[])).len();
        prop_assert!(list - held <= 2 + odd.len(), "{list} bytes, {held} of them held");
        let rest = odd.iter().filter(|byte| !b", \n\r\t".contains(byte)).count();
        let goods = good("first").len() + good("last").len();
        prop_assert!(held >= goods + rest, "{held} bytes held");

        let all: Vec<usize> = (0..payload.events()).collect();
        let invocation = sluice::delivery::Invocation { now_ms: 0, replay: None };
        for event in all {
            let [letter] = &DeadLetter::remainder(
                &payload, &[event], Reason::OtherShape, "", invocation,
            )[..] else { panic!("one letter") };
            let mut decoder = Decoder::new();
            let again = decoder.decode(letter.body.as_bytes()).expect("a letter is readable");
            prop_assert_eq!(again.events(), 1);
            prop_assert_eq!(again.json_of(0), payload.json_of(event));
            prop_assert_eq!(again.log_events.len() == 1, event < payload.log_events.len());
        }
    }
}

#[test]
fn a_payload_with_an_odd_event_keeps_its_other_fields() {
    let mut decoder = Decoder::new();
    let event = event_of(&[log_event("message", "null")]);
    let payload = decoder.decode(event.as_bytes()).expect("readable");
    let invocation = sluice::delivery::Invocation { now_ms: 0, replay: None };
    let letters = DeadLetter::remainder(&payload, &[0], Reason::OtherShape, "", invocation);
    let held: Value = serde_json::from_slice(&raw_payload_of(&letters[0].body)).expect("JSON");
    let sent: Value = serde_json::from_slice(&raw_payload_of(&event)).expect("JSON");
    assert_eq!(held, sent);
}
