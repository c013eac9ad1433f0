//! The JSON below base64 and gzip: read as a slow reader reads it, and handed over without loss.

use std::collections::BTreeMap;

use sluice::delivery::{DeadLetter, Occasion, Reason};
use sluice::limits::{PARTITION_KEY_CHARS_MAX, SQS_MESSAGE_BYTES_MAX};
use sluice::logs::{
    Batch, DecodeError, Decoder, Envelope, LogEvent, MessageType, Passthrough, Payload,
};
use sluice::records::spread::log_stream_key;
use sluice_cloud::logs;

use super::{Target, data_of, records, rng_of};
use crate::model::{self, NoPayload};

pub(super) const TARGET: Target = Target {
    name: "payload",
    check,
    seeds,
    words: &[
        "messageType",
        "DATA_MESSAGE",
        "CONTROL_MESSAGE",
        "logEvents",
        "\"logGroup\":\"\"",
        "\"logStream\":\"\"",
        "\"owner\":",
        "{\"timestamp\":1,\"message\":\"m\"}",
        "\"timestamp\":",
        "\"message\":",
        "\"id\":",
        "-0",
        "1e9",
        "9223372036854775808",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\ud83d",
        "\\\\",
        "\\\"",
        "\\n",
        "[[[[[[[[",
        "\u{fffd}",
        " ",
    ],
};

fn check(text: &[u8]) {
    let data = data_of(text);
    let mut decoder = Decoder::new();
    let decoded = decoder.decode_data(&data);
    let Ok(text) = std::str::from_utf8(text) else {
        assert!(matches!(decoded, Err(DecodeError::NotJson(_))), "{decoded:?}");
        return;
    };
    match (decoded, model::read(text)) {
        (Ok(payload), Ok(expected)) => {
            assert_eq!(as_model(&payload), expected);
            assert_eq!(payload.bytes, text.len());
            check_remainder(text, &payload);
            check_records(text, &payload);
        }
        (_, Err(NoPayload::Unclear))
        | (
            Err(DecodeError::OtherShape { .. } | DecodeError::UnknownMessageType),
            Err(NoPayload::OtherShape),
        ) => {}
        // A scanner that reads from left to right may see the shape's fault first.
        (
            Err(DecodeError::NotJson(offset) | DecodeError::OtherShape { offset, .. }),
            Err(NoPayload::NotJson),
        ) => assert!(offset <= text.len()),
        (decoded, expected) => panic!("{decoded:?}, but {expected:?}"),
    }
}

fn as_model<'a>(payload: &Payload<'a>) -> model::Payload<'a> {
    model::Payload {
        is_data: payload.message_type == MessageType::Data,
        owner: payload.owner.value().into_owned(),
        log_group: payload.log_group.value().into_owned(),
        log_stream: payload.log_stream.value().into_owned(),
        events: payload.log_events.iter().map(event_as_model).collect(),
        other_fields: payload
            .other_fields
            .iter()
            .map(|(key, value)| (key.value().into_owned(), *value))
            .collect(),
    }
}

fn event_as_model<'a>(event: &LogEvent<'a>) -> model::Event<'a> {
    model::Event {
        id: event.id.value().into_owned(),
        timestamp_ms: event.timestamp_ms,
        message: event.message.value().into_owned(),
        json: event.json,
    }
}

/// A remainder decodes to just its events, with every field of them and of the payload.
fn check_remainder(text: &str, payload: &Payload<'_>) {
    let mut rng = rng_of(text.as_bytes());
    let events: Vec<usize> = (0..payload.log_events.len()).filter(|_| rng.bool()).collect();
    let occasion = Occasion { now_ms: 1, replay: None };
    let letters = DeadLetter::remainder(payload, &events, Reason::Deadline, "why", occasion);
    let mut expected = events.iter().map(|&event| payload.log_events[event].json);
    for letter in letters {
        assert!(letter.body.len() < SQS_MESSAGE_BYTES_MAX || letter.log_events == Some(1));
        let mut decoder = Decoder::new();
        let again = decoder.decode(letter.body.as_bytes()).expect("a remainder can be decoded");
        assert_eq!(letter.log_events, Some(again.log_events.len()));
        for event in &again.log_events {
            assert_eq!(Some(event.json), expected.next());
        }
        assert_eq!(again.other_fields, payload.other_fields);
        assert_eq!(again.message_type, payload.message_type);
    }
    assert_eq!(expected.next(), None, "events are missing");
}

/// What consumers read is what was logged, in every format.
fn check_records(text: &str, payload: &Payload<'_>) {
    let bare = Batch::transform(&Passthrough, payload);
    let enveloped = Batch::transform(&Envelope, payload);
    for (event, (bare_item, item)) in
        payload.log_events.iter().zip(bare.items.iter().zip(&enveloped.items))
    {
        let message = event.message.value();
        assert_eq!(bare.bytes_of(bare_item), message.as_bytes());
        let line = std::str::from_utf8(enveloped.bytes_of(item)).expect("an envelope is text");
        assert!(!line.contains('\n'));
        let members = model::Members::of(line).map(|members| {
            members.0.into_iter().map(|(key, value)| (key, value.get())).collect::<BTreeMap<_, _>>()
        });
        let members = members.expect("an envelope is JSON");
        let text = |name: &str| model::text_of(members[name]);
        assert_eq!(text("message").as_deref(), Some(&*message));
        assert_eq!(text("id").as_deref(), Some(&*event.id.value()));
        assert_eq!(text("owner").as_deref(), Some(&*payload.owner.value()));
        assert_eq!(text("logGroup").as_deref(), Some(&*payload.log_group.value()));
        assert_eq!(text("logStream").as_deref(), Some(&*payload.log_stream.value()));
        assert_eq!(members["timestamp"], event.timestamp_ms.to_string());
    }
    let key = log_stream_key(&payload.log_group.value(), &payload.log_stream.value());
    assert!((1..=PARTITION_KEY_CHARS_MAX).contains(&key.chars().count()), "{key:?}");
    let target = rng_of(text.as_bytes()).usize(1_024..4_096);
    for batch in [bare, enveloped] {
        records::check_formats(&batch, target, &key);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let messages =
        ["", "plain", "{\"json\":\"in \\\"json\\\"\"}", "line\nline\t\u{1}", "é😀\u{2028}"];
    let escaped = r#"{"messageType":"\u0044ATA_MESSAGE","owner":"1","logGroup":"g\/h","logStream":"s",
        "logEvents":[{"id":"1","timestamp":-1,"message":"\u00e9\ud83d\ude00\ud83d \\ \b\f\r","extra":[1.5e3,null]},
        {"message":"second","timestamp":2}],"subscriptionFilters":["f"],"policyLevel":{"a":[true,false]}}"#;
    let many: Vec<String> = (0..60).map(|place| format!("event {place} ").repeat(place)).collect();
    vec![
        logs::payload(&messages, 1_795_219_200_000).to_string().into_bytes(),
        logs::payload(&many, 1_000).to_string().into_bytes(),
        logs::control_payload().to_string().into_bytes(),
        escaped.as_bytes().to_vec(),
    ]
}
