//! Decodes the event of a CloudWatch Logs subscription: `{"awslogs":{"data": base64(gzip(JSON))}}`.

use std::borrow::Cow;
use std::io::Read;

use base64_simd::{Out, STANDARD};
use flate2::read::MultiGzDecoder;
use libdeflater::{Crc, Decompressor};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{JsonStr, ScanError, ScanErrorKind, Scanner};
use crate::delivery::{Reason, Replay};
use crate::limits::PAYLOAD_INFLATED_BYTES_MAX;

/// Buffers larger than this are given back after the payload that needed them.
const KEPT_BUFFER_BYTES_MAX: usize = 16 * 1_048_576;

/// Bytes before the deflate stream and after it in the smallest gzip member.
const GZIP_BYTES_MIN: usize = 18;
/// Checksum and length.
const GZIP_TRAILER_BYTES: usize = 8;
/// No byte of deflate says more: 258 bytes in two bits. (zlib, "Technical details"; Nov 2026)
const DEFLATE_RATIO_MAX: usize = 1_032;

/// Why an event cannot be decoded. None of these can succeed later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The event has no text at `awslogs.data`.
    #[error("the event has no text at awslogs.data")]
    NotAnEvent,
    /// `awslogs.data` is not standard, padded base64.
    #[error("awslogs.data is not base64")]
    NotBase64,
    /// The data do not begin as gzip does.
    #[error("the data do not begin with a gzip header")]
    NotGzip,
    /// The gzip stream ends early.
    #[error("the gzip data end early")]
    TruncatedGzip,
    /// The gzip stream is damaged.
    #[error("the gzip data are damaged")]
    CorruptGzip,
    /// The data inflate to more than [`PAYLOAD_INFLATED_BYTES_MAX`].
    #[error("the data inflate to more than {PAYLOAD_INFLATED_BYTES_MAX} bytes")]
    TooLarge,
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

impl DecodeError {
    /// The dead letter's `Reason`.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotAnEvent => Reason::NotAnAwslogsEvent,
            Self::NotBase64 => Reason::NotBase64,
            Self::NotGzip => Reason::NotGzip,
            Self::TruncatedGzip => Reason::TruncatedGzip,
            Self::CorruptGzip => Reason::CorruptGzip,
            Self::TooLarge => Reason::InflatesTooLarge,
            Self::NotJson(_) => Reason::NotJson,
            Self::OtherShape { .. } => Reason::OtherShape,
            Self::UnknownMessageType => Reason::UnknownMessageType,
        }
    }
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
    /// The whole JSON object, with fields that nobody here knows.
    pub json: &'a str,
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
    /// Every field but `logEvents`, as it came.
    pub other_fields: Vec<(JsonStr<'a>, &'a str)>,
    /// Length of the inflated payload.
    pub bytes: usize,
}

/// Decodes event after event with the same buffers.
#[derive(Default)]
pub struct Decoder {
    inflater: Decompressor,
    compressed: Vec<u8>,
    inflated: Vec<u8>,
}

impl Decoder {
    /// A decoder without buffers yet.
    #[must_use]
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
        if self.compressed.len() < data.len() {
            self.compressed.resize(data.len(), 0);
        }
        let compressed = STANDARD
            .decode(data.as_bytes(), Out::from_slice(&mut self.compressed))
            .map_err(|_| DecodeError::NotBase64)?;
        let bytes = inflate(&mut self.inflater, compressed, &mut self.inflated)?;
        let text = std::str::from_utf8(&self.inflated[..bytes])
            .map_err(|error| DecodeError::NotJson(error.valid_up_to()))?;
        parse_payload(text)
    }
}

/// An event as Lambda hands it over, not yet decoded.
#[derive(Debug)]
pub struct SubscriptionEvent<'a> {
    /// `awslogs.data`: base64 of gzip of JSON.
    pub data: Cow<'a, str>,
    /// What the replayer says, if the event came from it.
    pub replay: Option<Replay>,
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
        // A mark of another make is no reason to refuse the logs.
        let replay = event.replay.and_then(|mark| serde_json::from_str(mark.get()).ok());
        Ok(Self { data: event.awslogs.data, replay })
    }
}

/// Inflates gzip into `inflated` and returns the length, [`PAYLOAD_INFLATED_BYTES_MAX`] at the most.
///
/// In one go when the gzip trailer tells the truth about one member, which it does for all that
/// CloudWatch Logs and our packer send; else as a stream, which reads several members and a lying trailer.
pub fn inflate(
    inflater: &mut Decompressor,
    compressed: &[u8],
    inflated: &mut Vec<u8>,
) -> Result<usize, DecodeError> {
    if !compressed.starts_with(&[0x1f, 0x8b]) {
        return Err(DecodeError::NotGzip);
    }
    let possible = compressed.len().saturating_mul(DEFLATE_RATIO_MAX);
    if let Some((crc, length)) = gzip_trailer(compressed)
        && length <= possible.min(PAYLOAD_INFLATED_BYTES_MAX)
    {
        if inflated.len() < length {
            inflated.resize(length, 0);
        }
        // libdeflate stops after the first member. That it was the last one, too, shows in the
        // trailer: it has the checksum, and nothing before it could be that member's own trailer.
        let (trailer, before) = (
            &compressed[compressed.len() - GZIP_TRAILER_BYTES..],
            &compressed[..compressed.len() - 1],
        );
        if inflater.gzip_decompress(compressed, &mut inflated[..length]) == Ok(length)
            && checksum(&inflated[..length]) == crc
            && memchr::memmem::find(before, trailer).is_none()
        {
            return Ok(length);
        }
    }
    inflate_stream(compressed, inflated, possible)
}

fn gzip_trailer(compressed: &[u8]) -> Option<(u32, usize)> {
    if compressed.len() < GZIP_BYTES_MIN {
        return None;
    }
    let (rest, length) = compressed.split_last_chunk::<4>()?;
    let (_, crc) = rest.split_last_chunk::<4>()?;
    Some((u32::from_le_bytes(*crc), u32::from_le_bytes(*length) as usize))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn inflate_stream(
    compressed: &[u8],
    inflated: &mut Vec<u8>,
    possible: usize,
) -> Result<usize, DecodeError> {
    inflated.clear();
    let bound = PAYLOAD_INFLATED_BYTES_MAX + 1;
    // A buffer that doubles as it grows would end at twice the bound.
    inflated.reserve_exact(possible.min(bound));
    let read = MultiGzDecoder::new(compressed).take(bound as u64).read_to_end(inflated);
    match read {
        Ok(bytes) if bytes > PAYLOAD_INFLATED_BYTES_MAX => Err(DecodeError::TooLarge),
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(DecodeError::TruncatedGzip)
        }
        Err(_) => Err(DecodeError::CorruptGzip),
    }
}

fn parse_payload(text: &str) -> Result<Payload<'_>, DecodeError> {
    let mut message_type = None;
    let mut owner = JsonStr::EMPTY;
    let mut log_group = None;
    let mut log_stream = None;
    let mut log_events = None;
    let mut other_fields = Vec::with_capacity(6);
    let mut scanner = Scanner::new(text);
    scanner.object("an object", |scanner, key| {
        let key_value = key.value();
        if key_value == "logEvents" {
            log_events = Some(parse_log_events(scanner)?);
            return Ok(());
        }
        let start = scanner.position();
        match &*key_value {
            "messageType" => message_type = Some(scanner.string("messageType as a string")?),
            "owner" => owner = scanner.string("owner as a string")?,
            "logGroup" => log_group = Some(scanner.string("logGroup as a string")?),
            "logStream" => log_stream = Some(scanner.string("logStream as a string")?),
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
        for (missed, name) in [
            (log_group.is_none(), "logGroup"),
            (log_stream.is_none(), "logStream"),
            (log_events.is_none(), "logEvents"),
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
        log_events: log_events.unwrap_or_default(),
        other_fields,
        bytes: text.len(),
    })
}

fn parse_log_events<'a>(scanner: &mut Scanner<'a>) -> Result<Vec<LogEvent<'a>>, ScanError> {
    let mut log_events = Vec::new();
    scanner.array("logEvents as an array", |scanner| {
        let start = scanner.position();
        let mut id = JsonStr::EMPTY;
        let mut timestamp_ms = None;
        let mut message = None;
        scanner.object("a log event as an object", |scanner, key| {
            match &*key.value() {
                "id" => id = scanner.string("a log event's id as a string")?,
                "timestamp" => {
                    timestamp_ms = Some(scanner.integer("a log event's timestamp as a number")?);
                }
                "message" => message = Some(scanner.string("a log event's message as a string")?),
                _ => drop(scanner.value()?),
            }
            Ok(())
        })?;
        let (Some(timestamp_ms), Some(message)) = (timestamp_ms, message) else {
            return scanner.shape("a log event with timestamp and message");
        };
        log_events.push(LogEvent { id, timestamp_ms, message, json: scanner.since(start) });
        Ok(())
    })?;
    Ok(log_events)
}
