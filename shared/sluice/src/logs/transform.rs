//! What is sent for a log event: the hook, and two transforms that are built in.

use super::decode::{LogEvent, Payload};
use super::json::JsonStr;

/// What becomes of a log event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent, as the bytes that the transform appended.
    Keep,
    /// It is left out on purpose and counted as filtered.
    Drop,
    /// It cannot be sent; it goes to the quarantine with this reason, which must not quote the
    /// message.
    Fail(String),
}

/// Shapes or filters log events one by one.
///
/// To use one of your own, give it a name in the log processor's `TransformName` and in the
/// template's `Transform` parameter.
///
/// ```
/// use sluice::logs::{Batch, Decoder, LogEvent, Payload, Transform, Verdict};
///
/// /// Sends errors only, and never a card number.
/// struct ErrorsWithoutCards;
///
/// impl Transform for ErrorsWithoutCards {
///     fn apply(&self, _: &Payload<'_>, event: &LogEvent<'_>, out: &mut Vec<u8>) -> Verdict {
///         let message = event.message.value();
///         if !message.contains("ERROR") {
///             return Verdict::Drop;
///         }
///         let digits = |word: &str| word.len() == 16 && word.bytes().all(|b| b.is_ascii_digit());
///         let words = message.split(' ').map(|word| if digits(word) { "[card]" } else { word });
///         out.extend_from_slice(words.collect::<Vec<_>>().join(" ").as_bytes());
///         Verdict::Keep
///     }
/// }
///
/// // Two events: "GET /health 200" and "ERROR card 4111111111111111 refused".
/// let event = br#"{"awslogs":{"data":"H4sIAAAAAAACA3WOTQuCQBCG/8oyZ0PXoqCb0OYpAvUWEZtOuqDusrsWEf73pi+oQ8/xmZl33ht06JyssbgahCWskiI5bESeJ6mAAPSlR0uaEzExJUi3uk6tHgxNQmlMeMHjy+beouxIqwkn44ajK60yXul+rVqP1sFyB64dVImwf56IM/b+oW+gqscruvOKWnnZ0QO+mM+iD8GnLe2lomBhg7L1DYujCMbgHRD/D+DfASLLthkrpa3YjP/CLJ4GhxWM+/EOyf2MoCIBAAA="}}"#;
/// let mut decoder = Decoder::new();
/// let payload = decoder.decode(event)?;
/// let batch = Batch::transform(&ErrorsWithoutCards, &payload);
/// assert_eq!(batch.bytes_of(&batch.items[0]), b"ERROR card [card] refused");
/// assert_eq!(batch.filtered, [0]);
/// # Ok::<(), sluice::logs::DecodeError>(())
/// ```
pub trait Transform {
    /// Appends what is to be sent for `event` to `out`. Appended bytes count only when the verdict
    /// is [`Verdict::Keep`].
    fn apply(&self, payload: &Payload<'_>, event: &LogEvent<'_>, out: &mut Vec<u8>) -> Verdict;
}

/// Sends each message as it is.
#[derive(Debug, Clone, Copy)]
pub struct Passthrough;

impl Transform for Passthrough {
    fn apply(&self, _: &Payload<'_>, event: &LogEvent<'_>, out: &mut Vec<u8>) -> Verdict {
        event.message.append_value_to(out);
        Verdict::Keep
    }
}

/// Sends one JSON object an event, on one line, that says where the message came from:
/// `{"owner":…,"logGroup":…,"logStream":…,"id":…,"timestamp":…,"message":…}`. Members of the log event
/// that nobody here knows, such as `extractedFields`, follow as they came. One that has a name of the
/// envelope's own is called `logEvent.owner` and so on, and one that is called so already gets the
/// prefix once more: no name is there twice.
#[derive(Debug, Clone, Copy)]
pub struct Envelope;

impl Transform for Envelope {
    fn apply(&self, payload: &Payload<'_>, event: &LogEvent<'_>, out: &mut Vec<u8>) -> Verdict {
        // The raw slices are valid JSON strings already: copying is ten times cheaper than
        // unescaping and escaping again.
        for part in [
            "{\"owner\":",
            payload.owner.raw(),
            ",\"logGroup\":",
            payload.log_group.raw(),
            ",\"logStream\":",
            payload.log_stream.raw(),
            ",\"id\":",
            event.id.raw(),
            ",\"timestamp\":",
        ] {
            out.extend_from_slice(part.as_bytes());
        }
        append_decimal(event.timestamp_ms, out);
        out.extend_from_slice(b",\"message\":");
        event.message.append_json_to(out);
        for (name, value) in event.other_members() {
            append_other_member(name, value, out);
        }
        out.push(b'}');
        Verdict::Keep
    }
}

fn append_other_member(name: JsonStr<'_>, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    let known = name.value();
    if matches!(&*known, "owner" | "logGroup" | "logStream") || known.starts_with(PREFIX) {
        out.extend_from_slice(PREFIX.as_bytes());
    }
    out.extend_from_slice(&name.raw().as_bytes()[1..]);
    out.push(b':');
    // Line ends are white space here, since a string has them escaped, and an event is one line.
    out.extend(value.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
}

/// Before the name of a log event's member that has a name of the envelope's own.
const PREFIX: &str = "logEvent.";

fn append_decimal(number: i64, out: &mut Vec<u8>) {
    use std::io::Write;
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{number}");
}

/// One kept event: which one of the payload, and where its bytes are, for [`Batch::bytes_of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Index into [`Payload::log_events`].
    pub event: usize,
    start: usize,
    end: usize,
}

/// The transformed events of a payload.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Events to send, in the payload's order.
    pub items: Vec<Item>,
    /// Events that were left out on purpose.
    pub filtered: Vec<usize>,
    /// Events that cannot be sent, with the reason.
    pub failed: Vec<(usize, String)>,
}

impl Batch {
    /// Applies `transform` to every event of `payload`.
    pub fn transform(transform: &dyn Transform, payload: &Payload<'_>) -> Self {
        let mut batch = Self {
            bytes: Vec::with_capacity(payload.bytes),
            items: Vec::with_capacity(payload.log_events.len()),
            ..Self::default()
        };
        for (event, log_event) in payload.log_events.iter().enumerate() {
            let start = batch.bytes.len();
            match transform.apply(payload, log_event, &mut batch.bytes) {
                Verdict::Keep => {
                    batch.items.push(Item { event, start, end: batch.bytes.len() });
                }
                Verdict::Drop => {
                    batch.bytes.truncate(start);
                    batch.filtered.push(event);
                }
                Verdict::Fail(reason) => {
                    batch.bytes.truncate(start);
                    batch.failed.push((event, reason));
                }
            }
        }
        batch
    }

    /// A batch of the given events, without a payload behind them.
    pub fn of<T: AsRef<[u8]>>(events: &[T]) -> Self {
        let mut batch = Self::default();
        for (event, bytes) in events.iter().enumerate() {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(bytes.as_ref());
            batch.items.push(Item { event, start, end: batch.bytes.len() });
        }
        batch
    }

    /// What is sent for `item`.
    pub fn bytes_of(&self, item: &Item) -> &[u8] {
        &self.bytes[item.start..item.end]
    }
}
