//! Dead letters as a queue gives them back: nothing in them is trusted, and nothing gets lost.

use std::collections::BTreeMap;

use sluice::delivery::{DeadLetter, Invocation, Reason, Replay, replayed_event};
use sluice::logs::SubscriptionEvent;
use sluice::ports::Message;
use sluice_simulated::logs;

use super::{Target, sqs_takes};
use crate::bytes::Bytes;
use crate::model::Members;

pub(super) const TARGET: Target = Target {
    name: "dead-letter",
    check,
    seeds,
    words: &[
        "deadline",
        "processor-failed",
        "not-base64",
        "4294967296",
        "18446744073709551615",
        "-1",
        "+1",
        "\0",
        "\u{ffff}",
        "\u{1}",
        "{\"awslogs\":{\"data\":\"\"}}",
        "\"sluiceReplay\":null",
    ],
};

/// Names that somebody may look for, and what a message says under them.
const NAMES: [&str; 8] = [
    "Reason",
    "ReasonDetail",
    "LogEvents",
    "Attempts",
    "DeadLetteredAt",
    "ErrorMessage",
    "ErrorCode",
    "RequestID",
];

/// Characters of a detail, and bytes of all attributes together with their names and types.
const DETAIL_CHARS_MAX: usize = 256;
const ATTRIBUTE_BYTES_MAX: usize = 2_048;

fn check(input: &[u8]) {
    let mut input = Bytes(input);
    let present = input.byte();
    let sent_ms = input.number(8);
    let attributes: BTreeMap<String, String> = NAMES
        .iter()
        .enumerate()
        .filter(|(place, _)| present >> place & 1 == 1)
        .map(|(_, name)| ((*name).to_owned(), input.text()))
        .collect();
    let body = input.rest_as_text();
    let received = DeadLetter::received(&message(body.clone(), attributes.clone(), sent_ms));

    assert_eq!(received.body, body);
    let text = |name: &str| attributes.get(name).map(String::as_str);
    let reason = text("Reason").and_then(|code| code.parse::<Reason>().ok());
    assert_eq!(received.reason, reason.unwrap_or(Reason::ProcessorFailed));
    let attempts = text("Attempts").and_then(|attempts| attempts.parse().ok());
    assert_eq!(received.attempts, attempts.unwrap_or(0));
    let since = text("DeadLetteredAt").and_then(|since| since.parse().ok());
    assert_eq!(received.dead_lettered_ms, since.unwrap_or(sent_ms));
    check_as_sent(&received);

    // What it becomes on its way: of a replay, and of the processor that fails on it again.
    let replay = Replay {
        attempt: received.attempts.saturating_add(1),
        is_last: present & 1 == 1,
        dead_lettered_ms: received.dead_lettered_ms,
    };
    let event = replayed_event(&body, replay);
    match SubscriptionEvent::parse(body.as_bytes()) {
        Ok(before) => {
            let event = event.expect("what can be decoded can be replayed");
            let after = SubscriptionEvent::parse(event.as_bytes()).expect("an event");
            assert_eq!((Replay::of(&after), after.data), (Some(replay), before.data));
        }
        // What has two marks is no event to the processor; a replay gives it the one of its own.
        Err(_) if marks_in(&body) > 1 => {}
        Err(_) => {
            let decoded =
                event.is_some_and(|event| SubscriptionEvent::parse(event.as_bytes()).is_ok());
            assert!(!decoded, "a replay made an event of something else");
        }
    }
    let invocation = Invocation { now_ms: sent_ms, replay: Some(replay) };
    let detail = text("ErrorMessage").unwrap_or_default();
    let again = DeadLetter::undecodable("{}", received.reason, detail, invocation);
    assert_eq!((again.attempts, again.dead_lettered_ms), (replay.attempt, replay.dead_lettered_ms));
    check_as_sent(&again);
}

fn marks_in(event: &str) -> usize {
    Members::of(event).map_or(0, |members| members.all("sluiceReplay").count())
}

/// SQS takes its attributes, and gives the same letter back.
fn check_as_sent(letter: &DeadLetter) {
    assert!(letter.detail.chars().count() <= DETAIL_CHARS_MAX);
    let attributes = letter.to_message(0).attributes;
    let bytes: usize =
        attributes.iter().map(|one| one.name.len() + one.data_type.len() + one.value.len()).sum();
    assert!(bytes <= ATTRIBUTE_BYTES_MAX, "{bytes} bytes of attributes");
    for one in &attributes {
        assert!(sqs_takes(&one.value), "SQS refuses {}: {:?}", one.name, one.value);
    }
    let attributes = attributes.into_iter().map(|one| (one.name.to_owned(), one.value)).collect();
    let again = DeadLetter::received(&message(letter.body.clone(), attributes, 9));
    assert_eq!(again, *letter, "a letter changes on its way");
}

fn message(body: String, attributes: BTreeMap<String, String>, sent_ms: u64) -> Message {
    Message {
        id: "id".to_owned(),
        receipt_handle: "receipt".to_owned(),
        body,
        attributes,
        sent_ms,
        receive_count: 1,
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let event = logs::event(&logs::payload(&["one"], 1_000));
    let letter = |present: u8, texts: &[&str], body: &str| {
        let texts = texts.iter().flat_map(|text| [&[text.len() as u8], text.as_bytes()].concat());
        let head = [present, 0, 0, 1, 0, 0, 0, 0, 0];
        head.into_iter().chain(texts).chain(body.bytes()).collect()
    };
    let ours = ["refused-too-often", "Throttled: why", "3", "2", "1795219200000"];
    vec![
        letter(0b1_1111, &ours, &event),
        letter(0b1110_0000, &["Task timed out after 60.00 seconds", "200", "7a"], &event),
        letter(0b1_1111, &["of another version", "", "many", "-1", "later"], "{}"),
        letter(0, &[], &event.replace('}', ",\"sluiceReplay\":{\"attempt\":1}}")),
    ]
}
