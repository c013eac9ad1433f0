//! Dead letters: what could not be delivered, in the shape it came in, with the reason.

use base64_simd::STANDARD;
use libdeflater::{CompressionLvl, Compressor};

use crate::limits::SQS_MESSAGE_BYTES_MAX;
use crate::logs::Payload;

/// Kept free in a message for its attributes.
const ATTRIBUTE_BYTES_MAX: usize = 1_024;

/// Characters of [`DeadLetter::detail`] at the most.
const DETAIL_CHARS_MAX: usize = 256;

/// One message for the dead-letter queue. Invoking the processor with `body` tries it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// An event as the processor takes it.
    pub body: String,
    /// A short code; the message attribute `Reason`.
    pub reason: String,
    /// For people; the message attribute `ReasonDetail`. It never quotes a log message.
    pub detail: String,
    /// Log events in it, if that can be told; the message attribute `LogEvents`.
    pub log_events: Option<usize>,
}

impl DeadLetter {
    /// A raw event that cannot be decoded.
    #[must_use]
    pub fn undecodable(event: &str, reason: &str, detail: &str) -> Self {
        Self {
            body: event.to_owned(),
            reason: reason.to_owned(),
            detail: shorten(detail),
            log_events: None,
        }
    }

    /// The given events of `payload`, as one or more events of the incoming shape, each of which
    /// fits a message. Fields that nobody here knows are in them, too.
    #[must_use]
    pub fn remainder(
        payload: &Payload<'_>,
        events: &[usize],
        reason: &str,
        detail: &str,
    ) -> Vec<Self> {
        let body = encode(payload, events);
        if body.len() + ATTRIBUTE_BYTES_MAX > SQS_MESSAGE_BYTES_MAX && events.len() > 1 {
            let (first, second) = events.split_at(events.len() / 2);
            let mut dead_letters = Self::remainder(payload, first, reason, detail);
            dead_letters.append(&mut Self::remainder(payload, second, reason, detail));
            return dead_letters;
        }
        vec![Self {
            body,
            reason: reason.to_owned(),
            detail: shorten(detail),
            log_events: Some(events.len()),
        }]
    }
}

fn shorten(detail: &str) -> String {
    detail.chars().take(DETAIL_CHARS_MAX).collect()
}

/// `{"awslogs":{"data":…}}` with just the given events of `payload`.
fn encode(payload: &Payload<'_>, events: &[usize]) -> String {
    let mut json = String::with_capacity(payload.bytes);
    json.push('{');
    for (key, value) in &payload.other_fields {
        json.extend([key.raw(), ":", value, ","]);
    }
    json.push_str("\"logEvents\":[");
    for (place, &event) in events.iter().enumerate() {
        json.push_str(if place > 0 { "," } else { "" });
        json.push_str(payload.log_events[event].json);
    }
    json.push_str("]}");
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut gzip = vec![0; compressor.gzip_compress_bound(json.len())];
    // The bound is large enough by its contract.
    let bytes = compressor.gzip_compress(json.as_bytes(), &mut gzip).unwrap_or_default();
    format!("{{\"awslogs\":{{\"data\":\"{}\"}}}}", STANDARD.encode_to_string(&gzip[..bytes]))
}
