//! The JSON below base64 and gzip: read as a slow reader reads it, and handed over without loss.

use std::collections::BTreeMap;

use sluice::delivery::{DeadLetter, Invocation, Reason};
use sluice::limits::{PARTITION_KEY_CHARS_MAX, SQS_MESSAGE_BYTES_MAX};
use sluice::logs::{
    Batch, DecodeError, Decoder, Envelope, LogEvent, MessageType, Passthrough, Payload,
};
use sluice::records::spread::log_stream_key;
use sluice_simulated::logs;

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
    if let Ok(payload) = &decoded {
        check_items(payload);
    }
    let Ok(text) = std::str::from_utf8(text) else {
        // What is not UTF-8 may be in an odd event, and nowhere else.
        match decoded {
            Ok(payload) => check_remainder(text, &payload),
            Err(
                DecodeError::NotJson(_)
                | DecodeError::OtherShape { .. }
                | DecodeError::UnknownMessageType,
            ) => {}
            other => panic!("{other:?}"),
        }
        return;
    };
    match (decoded, model::read(text)) {
        (Ok(payload), Ok(expected)) => {
            assert_eq!(as_model(&payload), expected);
            assert_eq!(payload.bytes, text.len());
            check_remainder(text.as_bytes(), &payload);
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
        (Err(DecodeError::UnknownMessageType), Err(NoPayload::NotJson)) => {}
        // What is not JSON is in an odd event, or a comma too many between two.
        (Ok(payload), Err(NoPayload::NotJson)) => {
            check_remainder(text.as_bytes(), &payload);
            check_records(text, &payload);
        }
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
        odd: payload
            .odd_events
            .iter()
            .map(|odd| std::str::from_utf8(odd.bytes).expect("a part of a text"))
            .collect(),
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
        others: event
            .other_members()
            .map(|(name, value)| (name.value().into_owned(), value))
            .collect(),
    }
}

/// The same of each item by itself, where the whole is not JSON.
fn check_items(payload: &Payload<'_>) {
    for event in &payload.log_events {
        let expected = model::read_event(event.json);
        assert!(
            matches!(&expected, Ok(Some(model)) if *model == event_as_model(event))
                || expected == Err(NoPayload::Unclear),
            "{event:?}, but {expected:?}"
        );
    }
    for odd in &payload.odd_events {
        let Ok(text) = std::str::from_utf8(odd.bytes) else { continue };
        let is_json = serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
        assert!(!is_json || !matches!(model::read_event(text), Ok(Some(_))), "{odd:?}");
    }
}

/// A remainder decodes to just its events, with every field of them and of the payload.
fn check_remainder(text: &[u8], payload: &Payload<'_>) {
    let mut rng = rng_of(text);
    let events: Vec<usize> = (0..payload.events()).filter(|_| rng.bool()).collect();
    let invocation = Invocation { now_ms: 1, replay: None };
    let letters = DeadLetter::remainder(payload, &events, Reason::Deadline, "why", invocation);
    let mut expected = events.iter().map(|&event| payload.json_of(event));
    for letter in letters {
        assert!(letter.body.len() < SQS_MESSAGE_BYTES_MAX || letter.log_events == Some(1));
        let mut decoder = Decoder::new();
        let again = decoder.decode(letter.body.as_bytes()).expect("a remainder can be decoded");
        assert_eq!(letter.log_events, Some(again.events()));
        for event in 0..again.events() {
            assert_eq!(Some(again.json_of(event)), expected.next());
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
        let Some(members) = model::Members::of(line) else {
            // Half a surrogate pair in a name is JSON, but no text to the model.
            assert!(event.has_other_members, "an envelope is JSON");
            continue;
        };
        let members: BTreeMap<_, _> =
            members.0.into_iter().map(|(key, value)| (key, value.get())).collect();
        let text = |name: &str| model::text_of(members[name]);
        assert_eq!(text("message").as_deref(), Some(&*message));
        assert_eq!(text("id").as_deref(), Some(&*event.id.value()));
        assert_eq!(text("owner").as_deref(), Some(&*payload.owner.value()));
        assert_eq!(text("logGroup").as_deref(), Some(&*payload.log_group.value()));
        assert_eq!(text("logStream").as_deref(), Some(&*payload.log_stream.value()));
        assert_eq!(members["timestamp"], event.timestamp_ms.to_string());
        for (name, value) in event.other_members() {
            let name = name.value();
            let is_taken = matches!(&*name, "owner" | "logGroup" | "logStream");
            let prefix = if is_taken || name.starts_with("logEvent.") { "logEvent." } else { "" };
            let on_one_line = value.replace(['\n', '\r'], " ");
            assert_eq!(members.get(&format!("{prefix}{name}")), Some(&&*on_one_line));
        }
        assert_eq!(members.len(), 6 + event.other_members().count());
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
    let odd = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","logEvents":[
        {"id":"1","timestamp":1,"message":null},{"id":"2","timestamp":2,"message":"m","owner":"x",
        "logEvent.owner":[1,
        2],"extractedFields":{"@aws.account":"2"}},null,"text, and more",{"timestamp":1e3,"message":"m"},
        {"id":"3","timestamp":3,"message":"a	b"},{"timestamp":4,"message":"good","x":1,"y":2}]}"#;
    let many: Vec<String> = (0..60).map(|place| format!("event {place} ").repeat(place)).collect();
    vec![
        logs::payload(&messages, 1_795_219_200_000).to_string().into_bytes(),
        logs::payload(&many, 1_000).to_string().into_bytes(),
        logs::control_payload().to_string().into_bytes(),
        escaped.as_bytes().to_vec(),
        odd.as_bytes().to_vec(),
        odd.replace('\t', " ").into_bytes(),
    ]
}
