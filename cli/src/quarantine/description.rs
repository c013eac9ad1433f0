//! What can be said about a message of the quarantine, whatever it holds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use sluice::delivery::{Part, Reason};
use sluice::gzip::InflateError;
use sluice::logs::{DecodeError, Decoder};

use super::held::Held;

const READABLE: &str = "readable";

/// How much of the log messages' text to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// None of it.
    Hidden,
    /// The beginning of each message.
    Characters(usize),
    /// All of it.
    Whole,
}

impl Text {
    fn of(self, text: &str) -> String {
        match self {
            Self::Hidden => String::new(),
            Self::Characters(most) => text.chars().take(most).collect(),
            Self::Whole => text.to_owned(),
        }
    }
}

/// A message, as `--json` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// SQS's name for it.
    pub message_id: String,
    /// Why it is here.
    pub reason: String,
    /// What was said when it came.
    pub detail: Option<String>,
    /// Replays that it has been through.
    pub attempts: Option<u64>,
    /// Log events in it.
    pub log_events: Option<u64>,
    /// When it was first dead-lettered, in milliseconds since 1970.
    pub dead_lettered_at: u64,
    /// Seconds since then.
    pub age_seconds: u64,
    /// Seconds until SQS deletes it.
    pub deleted_in_seconds: u64,
    /// Bytes of its body.
    pub bytes: usize,
    /// `readable`, or the reason why the processor cannot read it.
    pub verdict: String,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Which part of an event it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<usize>,
    /// How many parts the event has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<usize>,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub contents: Option<Contents>,
    /// The log messages; of what cannot be read, its body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Vec<String>>,
}

/// What the processor reads in a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    #[serde(skip)]
    log_events: u64,
    /// What stands among the log events and is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub odd_events: u64,
    /// The log group.
    pub log_group: String,
    /// The log stream.
    pub log_stream: String,
    /// The oldest log event's time, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_timestamp: Option<i64>,
    /// The newest one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_timestamp: Option<i64>,
    #[serde(skip)]
    text: Vec<String>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Reads a body as the processor does.
fn read(body: &str, text: Text) -> Result<Contents, DecodeError> {
    let mut decoder = Decoder::new();
    let payload = decoder.decode(body.as_bytes())?;
    let mut contents = Contents {
        log_events: payload.events() as u64,
        odd_events: payload.odd_events.len() as u64,
        log_group: payload.log_group.value().into_owned(),
        log_stream: payload.log_stream.value().into_owned(),
        ..Contents::default()
    };
    let times = || payload.log_events.iter().map(|event| event.timestamp_ms);
    (contents.first_timestamp, contents.last_timestamp) = (times().min(), times().max());
    if text != Text::Hidden {
        let messages = payload.log_events.iter().map(|event| text.of(&event.message.value()));
        let odd = payload.odd_events.iter();
        let odd = odd.map(|event| text.of(&String::from_utf8_lossy(event.bytes)));
        contents.text = messages.chain(odd).collect();
    }
    Ok(contents)
}

/// Why the processor cannot read an event, for a column of a table.
fn words(error: &DecodeError) -> &'static str {
    match error {
        DecodeError::NotAnEvent => "not an event of CloudWatch Logs",
        DecodeError::NotBase64 => "not base64",
        DecodeError::Gzip(InflateError::NotGzip) => "not gzip",
        DecodeError::Gzip(InflateError::Truncated) => "truncated gzip",
        DecodeError::Gzip(InflateError::Corrupt) => "damaged gzip",
        DecodeError::Gzip(InflateError::DataAfterEnd) => "data after the gzip end",
        DecodeError::Gzip(InflateError::TooLarge) => "inflates too large",
        DecodeError::NotJson(_) => "not JSON",
        DecodeError::OtherShape { .. } => "JSON of another shape",
        DecodeError::UnknownMessageType => "neither data nor a control message",
    }
}

/// Says what there is to say about a message.
#[must_use]
pub fn describe(held: &Held, now_ms: u64, retention_seconds: u64, text: Text) -> Description {
    describe_with(read, held, now_ms, retention_seconds, text)
}

fn describe_with(
    read: impl Fn(&str, Text) -> Result<Contents, DecodeError>,
    held: &Held,
    now_ms: u64,
    retention_seconds: u64,
    text: Text,
) -> Description {
    let dead_lettered_ms = held.dead_lettered_ms().unwrap_or(now_ms);
    let deleted_at = (held.sent_ms.unwrap_or(now_ms) / 1_000).saturating_add(retention_seconds);
    let detail = held.attribute("ReasonDetail").or(held.attribute("ErrorMessage"));
    let mut described = Description {
        message_id: held.id.clone(),
        reason: held.reason().to_owned(),
        detail: detail.map(str::to_owned),
        attempts: held.number("Attempts"),
        log_events: held.number("LogEvents"),
        dead_lettered_at: dead_lettered_ms,
        age_seconds: now_ms.saturating_sub(dead_lettered_ms) / 1_000,
        deleted_in_seconds: deleted_at.saturating_sub(now_ms / 1_000),
        bytes: held.body.len(),
        verdict: READABLE.to_owned(),
        unreadable: None,
        part: None,
        parts: None,
        contents: None,
        text: None,
    };
    // A fault of this program's must not keep the other messages from being shown.
    match catch_unwind(AssertUnwindSafe(|| read(&held.body, text))) {
        Ok(Ok(mut contents)) => {
            described.log_events = Some(contents.log_events);
            described.text = Some(std::mem::take(&mut contents.text));
            described.contents = Some(contents);
        }
        Ok(Err(error)) => {
            described.verdict = Reason::from(&error).code().to_owned();
            described.unreadable = Some(words(&error).to_owned());
            if let Some(Part { part, parts, .. }) = held.part() {
                (described.part, described.parts) = (Some(part), Some(parts));
                described.unreadable =
                    Some(format!("part {part} of {parts} of an event that no message holds"));
            }
            described.text = Some(vec![text.of(&held.body)]);
        }
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let said = said.or(panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            described.verdict = format!("this tool failed on it: {said}");
            described.unreadable = Some(described.verdict.clone());
        }
    }
    described.text = described.text.filter(|_| text != Text::Hidden);
    described
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::Message;

    use super::*;

    #[test]
    fn a_fault_of_the_program_hides_one_message_and_no_other() {
        let held = |body: &str| Held::from(Message::builder().message_id("1").body(body).build());
        let read = |body: &str, text| match body {
            "poison" => panic!("no memory"),
            _ => read(body, text),
        };
        let described = |body| describe_with(read, &held(body), 0, 0, Text::Whole);
        assert_eq!(
            described("poison").unreadable.as_deref(),
            Some("this tool failed on it: no memory")
        );
        assert_eq!(described("{}").verdict, "not-an-awslogs-event");
        assert_eq!(described("{}").text, Some(vec!["{}".to_owned()]));
    }
}
