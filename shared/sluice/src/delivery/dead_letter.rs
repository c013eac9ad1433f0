//! Dead letters: what could not be delivered, in the shape it came in, with the reason.

use std::fmt::Write;

use base64_simd::STANDARD;
use md5::{Digest, Md5};
use serde::Serialize;

use super::parts::{Part, parts_of};
use super::{Reason, Replay};
use crate::gzip;
use crate::limits::SQS_MESSAGE_BYTES_MAX;
use crate::logs::Payload;
use crate::ports::{Message, MessageAttribute, NewMessage};

/// Characters of [`DeadLetter::detail`] at the most.
const DETAIL_CHARS_MAX: usize = 256;

/// How long a remainder of a replay stays hidden in the queue, so that the run that brought it there
/// does not spend the event's attempts at once. SQS's longest delay. (SQS API, SendMessage; Nov 2026)
pub const HANDED_BACK_DELAY_SECONDS: u32 = 900;

/// One message for the dead-letter queue or the quarantine. Invoking the processor with `body` tries
/// it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// An event as the processor takes it.
    pub body: String,
    /// The message attribute `Reason`.
    pub reason: Reason,
    /// For people; the message attribute `ReasonDetail`. It never quotes a log message.
    pub detail: String,
    /// Log events in it, if that can be told; the message attribute `LogEvents`.
    pub log_events: Option<usize>,
    /// Replays that it has been through; the message attribute `Attempts`.
    pub attempts: u32,
    /// When it was first dead-lettered, in milliseconds since 1970; the message attribute
    /// `DeadLetteredAt`.
    pub dead_lettered_ms: u64,
}

/// Where a dead letter goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// It will be tried again, hidden for so many seconds first.
    DeadLetterQueue {
        /// `DelaySeconds`.
        delay_seconds: u32,
    },
    /// A person must look at it.
    Quarantine,
}

impl Destination {
    /// `DelaySeconds`.
    pub fn delay_seconds(self) -> u32 {
        match self {
            Self::DeadLetterQueue { delay_seconds } => delay_seconds,
            Self::Quarantine => 0,
        }
    }
}

/// What all dead letters of one invocation share.
#[derive(Debug, Clone, Copy)]
pub struct Invocation {
    /// When the invocation began, in milliseconds since 1970.
    pub now_ms: u64,
    /// The replay that it is, if it is one.
    pub replay: Option<Replay>,
}

impl Invocation {
    fn attempts(&self) -> u32 {
        self.replay.map_or(0, |replay| replay.attempt)
    }

    fn dead_lettered_ms(&self) -> u64 {
        self.replay.map_or(self.now_ms, |replay| replay.dead_lettered_ms)
    }

    /// Where a dead letter of this invocation goes.
    pub fn destination(&self, reason: Reason) -> Destination {
        match self.replay {
            _ if reason.is_permanent() => Destination::Quarantine,
            Some(replay) if replay.is_last => Destination::Quarantine,
            Some(_) => Destination::DeadLetterQueue { delay_seconds: HANDED_BACK_DELAY_SECONDS },
            None => Destination::DeadLetterQueue { delay_seconds: 0 },
        }
    }
}

/// The body of a message that holds a part of an event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventPart<'a> {
    /// Why the event was not delivered.
    reason: &'a str,
    /// Of the whole event: parts that have the same belong together.
    event_md5: &'a str,
    #[serde(flatten)]
    part: Part,
}

impl DeadLetter {
    /// A raw event, JSON, that cannot be decoded, of whatever size: see [`messages`](Self::messages).
    pub fn undecodable(event: &str, reason: Reason, detail: &str, invocation: Invocation) -> Self {
        Self {
            body: escape_for_sqs(event),
            reason,
            detail: shorten(detail),
            log_events: None,
            attempts: invocation.attempts(),
            dead_lettered_ms: invocation.dead_lettered_ms(),
        }
    }

    /// The given events of `payload`, as one or more events of the incoming shape, each of which
    /// fits a message. Fields that nobody here knows are in them, too. A single event that fits none
    /// comes in parts.
    pub fn remainder(
        payload: &Payload<'_>,
        events: &[usize],
        reason: Reason,
        detail: &str,
        invocation: Invocation,
    ) -> Vec<Self> {
        let letter = Self {
            body: encode(payload, events),
            reason,
            detail: shorten(detail),
            log_events: Some(events.len()),
            attempts: invocation.attempts(),
            dead_lettered_ms: invocation.dead_lettered_ms(),
        };
        if letter.fits() || events.len() == 1 {
            return letter.messages();
        }
        let (first, second) = events.split_at(events.len() / 2);
        let mut letters = Self::remainder(payload, first, reason, detail, invocation);
        letters.append(&mut Self::remainder(payload, second, reason, detail, invocation));
        letters
    }

    /// Messages that hold all of it, whatever its size: itself, if need be without a detail; or parts
    /// of its body, which only a person can put together, and which are for the quarantine. The log
    /// events are counted in the first.
    pub fn messages(self) -> Vec<Self> {
        if self.fits() {
            return vec![self];
        }
        let brief = Self { detail: String::new(), ..self.clone() };
        if brief.fits() {
            return vec![brief];
        }
        let (reason, detail) = match self.reason {
            reason if reason.is_permanent() => (reason, self.detail),
            reason => (Reason::MessageTooLarge, shorten(&format!("{reason}: {}", self.detail))),
        };
        let event_md5 = Md5::digest(&self.body).iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let event_md5 = &event_md5;
        let to_letter = |part: Part| Self {
            log_events: self.log_events.map(|events| if part.part == 1 { events } else { 0 }),
            body: serde_json::to_string(&EventPart { reason: self.reason.code(), event_md5, part })
                .expect("numbers and text are JSON, whatever is in them"),
            reason,
            detail: detail.clone(),
            ..self
        };
        parts_of(self.body.as_bytes()).into_iter().map(to_letter).collect()
    }

    /// Whether SQS takes it as it is.
    fn fits(&self) -> bool {
        self.to_message(0).bytes() <= SQS_MESSAGE_BYTES_MAX
    }

    /// The same with another detail.
    pub fn because(self, detail: &str) -> Self {
        Self { detail: shorten(detail), ..self }
    }

    /// A dead letter as a queue gave it back: the processor's, or the raw event that Lambda itself
    /// sends, which has `ErrorMessage` in place of a reason. Nothing in it is trusted: attributes
    /// that are missing or make no sense are as if it were the event's first day.
    pub fn received(message: &Message) -> Self {
        let text = |name| message.attributes.get(name).map(String::as_str);
        let reason: Option<Reason> = text("Reason").and_then(|code| code.parse().ok());
        let detail = match reason {
            Some(_) => text("ReasonDetail"),
            None => text("ErrorMessage").or(text("Reason")),
        };
        let number = |name| text(name).and_then(|number| number.parse::<u64>().ok());
        Self {
            body: message.body.clone(),
            reason: reason.unwrap_or(Reason::ProcessorFailed),
            detail: shorten(detail.unwrap_or_default()),
            log_events: number("LogEvents").and_then(|number| number.try_into().ok()),
            attempts: number("Attempts").and_then(|number| number.try_into().ok()).unwrap_or(0),
            dead_lettered_ms: number("DeadLetteredAt").unwrap_or(message.sent_ms),
        }
    }

    /// The message that carries it; the queue hides it for `delay_seconds`.
    pub fn to_message(&self, delay_seconds: u32) -> NewMessage<'_> {
        let attribute = |name, data_type, value| MessageAttribute { name, data_type, value };
        let mut attributes = vec![
            attribute("Reason", "String", self.reason.to_string()),
            attribute("Attempts", "Number", self.attempts.to_string()),
            attribute("DeadLetteredAt", "Number", self.dead_lettered_ms.to_string()),
        ];
        // SQS refuses an attribute without a value.
        if !self.detail.is_empty() {
            attributes.push(attribute("ReasonDetail", "String", self.detail.clone()));
        }
        if let Some(log_events) = self.log_events {
            attributes.push(attribute("LogEvents", "Number", log_events.to_string()));
        }
        NewMessage { body: &self.body, attributes, delay_seconds }
    }
}

/// What an attribute takes of `detail`, which may be what a service or a transform said.
fn shorten(detail: &str) -> String {
    let taken = |c: char| if sqs_takes(c) { c } else { char::REPLACEMENT_CHARACTER };
    detail.chars().map(taken).take(DETAIL_CHARS_MAX).collect()
}

/// SQS refuses a message with any other character. (SQS API, SendMessage; Nov 2026)
fn sqs_takes(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// The same JSON without the characters that SQS refuses. JSON has them in strings only, and no
/// control characters.
pub fn escape_for_sqs(json: &str) -> String {
    json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

/// `{"awslogs":{"data":…}}` with just the given events of `payload`.
fn encode(payload: &Payload<'_>, events: &[usize]) -> String {
    let mut json = Vec::with_capacity(payload.bytes);
    json.push(b'{');
    for (key, value) in &payload.other_fields {
        for part in [key.raw(), ":", value, ","] {
            json.extend_from_slice(part.as_bytes());
        }
    }
    json.extend_from_slice(b"\"logEvents\":[");
    for (place, &event) in events.iter().enumerate() {
        json.extend_from_slice(if place > 0 { b"," } else { b"" });
        json.extend_from_slice(payload.json_of(event));
    }
    json.extend_from_slice(b"]}");
    format!("{{\"awslogs\":{{\"data\":\"{}\"}}}}", STANDARD.encode_to_string(gzip::compress(&json)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(attributes: &[(&str, &str)]) -> Message {
        let attributes = attributes.iter().map(|&(name, value)| (name.into(), value.into()));
        Message {
            id: "1".to_owned(),
            receipt_handle: "1".to_owned(),
            body: "{}".to_owned(),
            attributes: attributes.collect(),
            sent_ms: 7_000,
            receive_count: 1,
        }
    }

    #[test]
    fn a_dead_letter_comes_back_as_it_was_sent() {
        let sent = DeadLetter {
            body: "{}".to_owned(),
            reason: Reason::Deadline,
            detail: "ProvisionedThroughputExceededException".to_owned(),
            log_events: Some(3),
            attempts: 2,
            dead_lettered_ms: 5_000,
        };
        let attributes = sent.to_message(0).attributes;
        let attributes: Vec<_> =
            attributes.iter().map(|one| (one.name, one.value.as_str())).collect();
        assert_eq!(DeadLetter::received(&message(&attributes)), sent);
    }

    #[test]
    fn lambdas_own_dead_letter_says_what_lambda_knows() {
        let raw = message(&[
            ("RequestID", "1"),
            ("ErrorCode", "200"),
            ("ErrorMessage", "Task timed out after 60.00 seconds"),
        ]);
        let letter = DeadLetter::received(&raw);
        assert_eq!(letter.reason, Reason::ProcessorFailed);
        assert_eq!(letter.detail, "Task timed out after 60.00 seconds");
        assert_eq!((letter.attempts, letter.dead_lettered_ms), (0, 7_000));
        assert_eq!(letter.log_events, None);
    }

    #[test]
    fn attributes_that_make_no_sense_are_none() {
        let odd = message(&[
            ("Reason", "of another version"),
            ("Attempts", "-1"),
            ("LogEvents", "many"),
            ("DeadLetteredAt", "99999999999999999999"),
        ]);
        let letter = DeadLetter::received(&odd);
        assert_eq!((letter.reason, letter.attempts), (Reason::ProcessorFailed, 0));
        assert_eq!(letter.detail, "of another version");
        assert_eq!((letter.log_events, letter.dead_lettered_ms), (None, 7_000));
    }

    #[test]
    fn sqs_takes_whatever_an_event_or_a_service_says() {
        let event = "{\"awslogs\":\"\u{fffe}\u{ffff}\u{fffd}\u{10ffff}\u{7f}\"}";
        let invocation = Invocation { now_ms: 0, replay: None };
        let reason = Reason::NotAnAwslogsEvent;
        let letter = DeadLetter::undecodable(event, reason, "a\0b\u{1b}\u{ffff}\tc", invocation);
        assert_eq!(letter.detail, "a\u{fffd}b\u{fffd}\u{fffd}\tc");
        assert!(letter.body.chars().all(sqs_takes));
        let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).ok();
        assert_eq!(read(&letter.body), read(event));
    }

    #[test]
    fn what_may_pass_waits_and_what_cannot_is_for_a_person() {
        let replay = |is_last| Some(Replay { attempt: 1, is_last, dead_lettered_ms: 0 });
        for reason in Reason::ALL {
            let destination = |replay| Invocation { now_ms: 0, replay }.destination(reason);
            let waits = |delay_seconds| match reason.is_permanent() {
                true => Destination::Quarantine,
                false => Destination::DeadLetterQueue { delay_seconds },
            };
            assert_eq!(destination(None), waits(0), "{reason}");
            assert_eq!(destination(replay(false)), waits(900), "{reason}");
            assert_eq!(destination(replay(true)), Destination::Quarantine, "{reason}");
        }
    }
}
