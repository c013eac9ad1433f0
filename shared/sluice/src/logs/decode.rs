//! Decodes the event of a CloudWatch Logs subscription: `{"awslogs":{"data": base64(gzip(JSON))}}`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64_simd::{Out, STANDARD};
use libdeflater::Decompressor;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{JsonStr, ScanError, ScanErrorKind, Scanner};
use crate::gzip::{InflateError, inflate};

/// Buffers larger than this are given back after the payload that needed them.
const KEPT_BUFFER_BYTES_MAX: usize = 16 * 1_048_576;

/// What has more odd events than this is no payload of CloudWatch Logs; each takes memory, and two
/// bytes of JSON make one.
const ODD_EVENTS_MAX: usize = 100_000;

/// Why an event cannot be decoded. None of these can succeed later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The event has no text at `awslogs.data`.
    #[error("the event has no text at awslogs.data")]
    NotAnEvent,
    /// `awslogs.data` is not standard, padded base64.
    #[error("awslogs.data is not base64")]
    NotBase64,
    /// The data cannot be inflated.
    #[error(transparent)]
    Gzip(#[from] InflateError),
    /// The inflated data are not JSON in UTF-8.
    #[error("the payload is not JSON, at byte {0}")]
    NotJson(usize),
    /// JSON, but not a CloudWatch Logs payload.
    #[error("the payload has another shape: expected {expected} at byte {offset}")]
    OtherShape {
        /// What should have been there.
        expected: &'static str,
        /// Where.
        offset: usize,
    },
    /// A `messageType` that is neither `DATA_MESSAGE` nor `CONTROL_MESSAGE`.
    #[error("messageType is neither DATA_MESSAGE nor CONTROL_MESSAGE")]
    UnknownMessageType,
}

impl From<ScanError> for DecodeError {
    fn from(error: ScanError) -> Self {
        match error.kind {
            ScanErrorKind::Syntax => Self::NotJson(error.offset),
            ScanErrorKind::Shape(expected) => Self::OtherShape { expected, offset: error.offset },
        }
    }
}

/// What a payload is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType {
    /// It carries log events.
    Data,
    /// CloudWatch Logs tests whether the function can be reached; it carries no data.
    Control,
}

/// One log event; texts are raw JSON strings of the payload.
#[derive(Debug, Clone, Copy)]
pub struct LogEvent<'a> {
    /// CloudWatch's id of the event.
    pub id: JsonStr<'a>,
    /// When it happened, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// What was logged.
    pub message: JsonStr<'a>,
    /// The whole JSON object, with members that nobody here knows.
    pub json: &'a str,
    /// Whether there are such members.
    pub has_other_members: bool,
}

impl<'a> LogEvent<'a> {
    /// Its members that nobody here knows, as they came, each name once.
    pub fn other_members(&self) -> impl Iterator<Item = (JsonStr<'a>, &'a str)> {
        let mut members = Vec::new();
        if self.has_other_members {
            // It was read once, so it can be read again.
            let _ = Scanner::new(self.json).object("a log event", |scanner, key| {
                let value = scanner.value()?;
                if !matches!(&*key.value(), "id" | "timestamp" | "message") {
                    members.push((key, value));
                }
                Ok(())
            });
        }
        members.into_iter()
    }
}

/// An item of `logEvents` that is no log event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OddEvent<'a> {
    /// As it came, which need not be UTF-8.
    pub bytes: &'a [u8],
    /// What is wrong with it, and where in the payload.
    pub error: DecodeError,
}

impl OddEvent<'_> {
    /// What is wrong with it, for people.
    pub fn detail(&self) -> String {
        match &self.error {
            DecodeError::OtherShape { expected, offset } => {
                format!("expected {expected} at byte {offset} of the payload")
            }
            DecodeError::NotJson(offset) => {
                format!("the log event is not JSON, at byte {offset} of the payload")
            }
            other => other.to_string(),
        }
    }
}

/// A decoded payload, borrowed from the decoder's buffer.
#[derive(Debug)]
pub struct Payload<'a> {
    /// What it is for.
    pub message_type: MessageType,
    /// The account that owns the log group.
    pub owner: JsonStr<'a>,
    /// The log group.
    pub log_group: JsonStr<'a>,
    /// The log stream.
    pub log_stream: JsonStr<'a>,
    /// The events, in the payload's order.
    pub log_events: Vec<LogEvent<'a>>,
    /// What stands among them and is no log event.
    pub odd_events: Vec<OddEvent<'a>>,
    /// Every field but `logEvents`, as it came.
    pub other_fields: Vec<(JsonStr<'a>, &'a str)>,
    /// Length of the inflated payload.
    pub bytes: usize,
}

impl Payload<'_> {
    /// How many events came in, odd ones included.
    pub fn events(&self) -> usize {
        self.log_events.len() + self.odd_events.len()
    }

    /// An event as it came; odd ones are counted after the others.
    pub fn json_of(&self, event: usize) -> &[u8] {
        match event.checked_sub(self.log_events.len()) {
            None => self.log_events[event].json.as_bytes(),
            Some(odd) => self.odd_events[odd].bytes,
        }
    }
}

/// Decodes event after event with the same buffers.
#[derive(Default)]
pub struct Decoder {
    inflater: Decompressor,
    compressed: Vec<u8>,
    inflated: Vec<u8>,
    /// The same without what is not UTF-8, if there is any.
    masked: String,
}

impl Decoder {
    /// A decoder without buffers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes one event, given as the JSON text that Lambda hands over.
    pub fn decode(&mut self, event: &[u8]) -> Result<Payload<'_>, DecodeError> {
        self.decode_data(&SubscriptionEvent::parse(event)?.data)
    }

    /// Decodes what lies at `awslogs.data`.
    pub fn decode_data(&mut self, data: &str) -> Result<Payload<'_>, DecodeError> {
        if self.inflated.capacity() > KEPT_BUFFER_BYTES_MAX {
            self.inflated = Vec::new();
        }
        self.masked = String::new();
        if self.compressed.len() < data.len() {
            self.compressed.resize(data.len(), 0);
        }
        let compressed = STANDARD
            .decode(data.as_bytes(), Out::from_slice(&mut self.compressed))
            .map_err(|_| DecodeError::NotBase64)?;
        let bytes = inflate(&mut self.inflater, compressed, &mut self.inflated)?;
        let inflated = &self.inflated[..bytes];
        // Nearly always all is well. If not, each event is looked at by itself.
        let text = match std::str::from_utf8(inflated) {
            Ok(text) => match parse_payload(text, parse_log_events) {
                Ok(payload) => return Ok(payload),
                Err(_) => text,
            },
            Err(_) => {
                self.masked = masked(inflated);
                &self.masked
            }
        };
        parse_payload(text, |scanner, log_events, odd_events| {
            parse_events_apart(scanner, text, inflated, log_events, odd_events)
        })
    }
}

/// An event as Lambda hands it over, not yet decoded.
#[derive(Debug)]
pub struct SubscriptionEvent<'a> {
    /// `awslogs.data`: base64 of gzip of JSON.
    pub data: Cow<'a, str>,
    /// What the replayer says, if the event came from it.
    pub replay: Option<&'a RawValue>,
}

impl<'a> SubscriptionEvent<'a> {
    /// Parses the JSON text that Lambda hands over.
    pub fn parse(event: &'a [u8]) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Event<'a> {
            #[serde(borrow)]
            awslogs: AwsLogs<'a>,
            #[serde(borrow, rename = "sluiceReplay")]
            replay: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct AwsLogs<'a> {
            #[serde(borrow)]
            data: Cow<'a, str>,
        }
        // A list of a struct's fields is the struct, to serde; to a replay it would be no event.
        if !event.trim_ascii_start().starts_with(b"{") {
            return Err(DecodeError::NotAnEvent);
        }
        let event: Event<'a> =
            serde_json::from_slice(event).map_err(|_| DecodeError::NotAnEvent)?;
        Ok(Self { data: event.awslogs.data, replay: event.replay })
    }
}

/// The same text and the same length, with a character that JSON has nowhere in place of each byte
/// that is not UTF-8.
fn masked(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(std::iter::repeat_n('\0', chunk.invalid().len()));
    }
    text
}

/// Reads the payload; `parse_list` reads `logEvents`. Of a control message nothing else counts.
fn parse_payload<'a>(
    text: &'a str,
    parse_list: impl Fn(
        &mut Scanner<'a>,
        &mut Vec<LogEvent<'a>>,
        &mut Vec<OddEvent<'a>>,
    ) -> Result<(), ScanError>,
) -> Result<Payload<'a>, DecodeError> {
    let mut message_type = None;
    let mut owner = JsonStr::EMPTY;
    let mut log_group = None;
    let mut log_stream = None;
    let mut has_log_events = false;
    let (mut log_events, mut odd_events) = (Vec::new(), Vec::new());
    let mut other_fields = Vec::with_capacity(6);
    // The first member of another shape than data have it.
    let mut other_shape = None;
    let mut scanner = Scanner::new(text);
    scanner.object("an object", |scanner, key| {
        let key_value = key.value();
        let start = scanner.position();
        let mut other = |expected| {
            other_shape.get_or_insert(DecodeError::OtherShape { expected, offset: start });
        };
        if key_value == "logEvents" {
            has_log_events = true;
            if scanner.next_is(b'[') {
                return parse_list(scanner, &mut log_events, &mut odd_events);
            }
            other("logEvents as an array");
            return scanner.value().map(drop);
        }
        match &*key_value {
            "messageType" => message_type = Some(scanner.string("messageType as a string")?),
            "owner" => match scanner.string_if_any()? {
                Some(text) => owner = text,
                None => other("owner as a string"),
            },
            "logGroup" => match scanner.string_if_any()? {
                Some(text) => log_group = Some(text),
                None => other("logGroup as a string"),
            },
            "logStream" => match scanner.string_if_any()? {
                Some(text) => log_stream = Some(text),
                None => other("logStream as a string"),
            },
            _ => drop(scanner.value()?),
        }
        other_fields.push((key, scanner.since(start)));
        Ok(())
    })?;
    scanner.end()?;

    let missing = |expected| DecodeError::OtherShape { expected, offset: text.len() };
    let message_type = match &*message_type.ok_or(missing("messageType"))?.value() {
        "DATA_MESSAGE" => MessageType::Data,
        "CONTROL_MESSAGE" => MessageType::Control,
        _ => return Err(DecodeError::UnknownMessageType),
    };
    if message_type == MessageType::Data {
        if let Some(other_shape) = other_shape {
            return Err(other_shape);
        }
        for (missed, name) in [
            (log_group.is_none(), "logGroup"),
            (log_stream.is_none(), "logStream"),
            (!has_log_events, "logEvents"),
        ] {
            if missed {
                return Err(missing(name));
            }
        }
    }
    Ok(Payload {
        message_type,
        owner,
        log_group: log_group.unwrap_or(JsonStr::EMPTY),
        log_stream: log_stream.unwrap_or(JsonStr::EMPTY),
        log_events,
        odd_events,
        other_fields,
        bytes: text.len(),
    })
}

/// Reads log events and nothing else.
fn parse_log_events<'a>(
    scanner: &mut Scanner<'a>,
    log_events: &mut Vec<LogEvent<'a>>,
    _: &mut Vec<OddEvent<'a>>,
) -> Result<(), ScanError> {
    scanner.array("logEvents as an array", |scanner| {
        log_events.push(parse_log_event(scanner)?);
        Ok(())
    })
}

/// Reads log events, and sets aside what stands among them and is none. `text` is `original`
/// without what is not UTF-8.
fn parse_events_apart<'a>(
    scanner: &mut Scanner<'a>,
    text: &'a str,
    original: &'a [u8],
    log_events: &mut Vec<LogEvent<'a>>,
    odd_events: &mut Vec<OddEvent<'a>>,
) -> Result<(), ScanError> {
    scanner.array("logEvents as an array", |scanner| {
        let extent = scanner.extent()?;
        let mut alone = Scanner::within(text, extent.clone());
        match parse_log_event(&mut alone).and_then(|event| alone.end().map(|()| event)) {
            Ok(log_event) => log_events.push(log_event),
            // Between two commas is nothing that could be lost.
            Err(_) if extent.is_empty() => {}
            Err(_) if odd_events.len() == ODD_EVENTS_MAX => {
                return scanner.shape("fewer items of logEvents that are none");
            }
            Err(error) => {
                odd_events.push(OddEvent { bytes: &original[extent], error: error.into() });
            }
        }
        Ok(())
    })
}

fn parse_log_event<'a>(scanner: &mut Scanner<'a>) -> Result<LogEvent<'a>, ScanError> {
    let start = scanner.position();
    let mut id = None;
    let mut timestamp_ms = None;
    let mut message = None;
    let mut other_members = 0;
    scanner.object("a log event as an object", |scanner, key| {
        match &*key.value() {
            "id" if id.is_none() => id = Some(scanner.string("a log event's id as a string")?),
            "timestamp" if timestamp_ms.is_none() => {
                timestamp_ms = Some(scanner.integer("a log event's timestamp as a number")?);
            }
            "message" if message.is_none() => {
                message = Some(scanner.string("a log event's message as a string")?);
            }
            "id" | "timestamp" | "message" => return scanner.shape(EACH_NAME_ONCE),
            _ => {
                other_members += 1;
                scanner.value()?;
            }
        }
        Ok(())
    })?;
    let (Some(timestamp_ms), Some(message)) = (timestamp_ms, message) else {
        return scanner.shape("a log event with timestamp and message");
    };
    let log_event = LogEvent {
        id: id.unwrap_or(JsonStr::EMPTY),
        timestamp_ms,
        message,
        json: scanner.since(start),
        has_other_members: other_members > 0,
    };
    if other_members > 1 {
        let names = log_event.other_members().map(|(name, _)| name.value());
        if names.collect::<BTreeSet<_>>().len() < other_members {
            return scanner.shape(EACH_NAME_ONCE);
        }
    }
    Ok(log_event)
}

/// Of two values under one name a reader sees one, and which one is anybody's guess.
const EACH_NAME_ONCE: &str = "each name once in a log event";
