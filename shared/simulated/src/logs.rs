//! CloudWatch Logs, as far as its subscription payloads go.

use base64_simd::STANDARD;
use serde_json::{Value, json};
pub use sluice::gzip::compress as gzip;

/// The log group of [`payload`].
pub const LOG_GROUP: &str = "/app/web";
/// The log stream of [`payload`].
pub const LOG_STREAM: &str = "web-1/🦀";

/// A payload of these messages: ids count from 0, timestamps are `timestamp_ms` and on.
#[must_use]
pub fn payload<T: AsRef<str>>(messages: &[T], timestamp_ms: u64) -> Value {
    let log_events: Vec<Value> = messages
        .iter()
        .enumerate()
        .map(|(place, message)| {
            json!({
                "id": format!("{place:056}"),
                "timestamp": timestamp_ms + place as u64,
                "message": message.as_ref(),
            })
        })
        .collect();
    json!({
        "messageType": "DATA_MESSAGE",
        "owner": "000000000000",
        "logGroup": LOG_GROUP,
        "logStream": LOG_STREAM,
        "subscriptionFilters": ["sluice"],
        "logEvents": log_events,
    })
}

/// The payload that tests whether a function can be reached.
#[must_use]
pub fn control_payload() -> Value {
    json!({
        "messageType": "CONTROL_MESSAGE",
        "owner": "CloudwatchLogs",
        "logGroup": "",
        "logStream": "",
        "subscriptionFilters": [],
        "logEvents": [{
            "id": "",
            "timestamp": 1_795_219_200_000_u64,
            "message": "CWL CONTROL MESSAGE: Checking health of destination Lambda.",
        }],
    })
}

/// The event that Lambda hands over for `data`.
#[must_use]
pub fn event_of_data(data: &[u8]) -> String {
    // base64 needs no escapes.
    format!("{{\"awslogs\":{{\"data\":\"{}\"}}}}", STANDARD.encode_to_string(data))
}

/// The event that Lambda hands over for a payload.
#[must_use]
pub fn event(payload: &Value) -> String {
    event_of_data(&gzip(payload.to_string().as_bytes()))
}
