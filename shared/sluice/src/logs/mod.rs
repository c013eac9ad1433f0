//! From the event that CloudWatch Logs sends to the bytes that a consumer reads:
//! [`decode`] undoes base64, gzip and JSON, [`transform`] shapes or filters each log event.

pub mod decode;
mod json;
pub mod transform;

pub use decode::{
    DecodeError, Decoder, LogEvent, MessageType, OddEvent, Payload, SubscriptionEvent,
};
pub use json::JsonStr;
pub use transform::{Batch, Envelope, Passthrough, Transform, Verdict};
