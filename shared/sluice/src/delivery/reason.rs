//! Why an event was not delivered.

use std::fmt;
use std::str::FromStr;

use crate::gzip::InflateError;
use crate::logs::DecodeError;

/// The message attribute `Reason` of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The stream refused it as often as the processor may try.
    RefusedTooOften,
    /// Time ran out.
    Deadline,
    /// No such stream, no permission, a key that cannot be used.
    StreamUnavailable,
    /// The invocation failed: it crashed, or what it could not deliver it could not hand over.
    ProcessorFailed,
    /// No record can hold the event.
    EventTooLarge,
    /// No message of the dead-letter queue can hold what is left; the quarantine has it in parts.
    MessageTooLarge,
    /// The transform failed on the event.
    TransformFailed,
    /// No text at `awslogs.data`.
    NotAnAwslogsEvent,
    /// `awslogs.data` is not base64.
    NotBase64,
    /// The data do not begin as gzip does.
    NotGzip,
    /// The gzip data end early.
    TruncatedGzip,
    /// The gzip data are damaged.
    CorruptGzip,
    /// Something follows the gzip data.
    DataAfterGzip,
    /// The data inflate to more than a processor holds.
    InflatesTooLarge,
    /// The payload is not JSON.
    NotJson,
    /// JSON, but not a CloudWatch Logs payload.
    OtherShape,
    /// Neither data nor a control message.
    UnknownMessageType,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 17] = [
        Self::RefusedTooOften,
        Self::Deadline,
        Self::StreamUnavailable,
        Self::ProcessorFailed,
        Self::EventTooLarge,
        Self::MessageTooLarge,
        Self::TransformFailed,
        Self::NotAnAwslogsEvent,
        Self::NotBase64,
        Self::NotGzip,
        Self::TruncatedGzip,
        Self::CorruptGzip,
        Self::DataAfterGzip,
        Self::InflatesTooLarge,
        Self::NotJson,
        Self::OtherShape,
        Self::UnknownMessageType,
    ];

    /// As the message attribute has it.
    pub fn code(self) -> &'static str {
        match self {
            Self::RefusedTooOften => "refused-too-often",
            Self::Deadline => "deadline",
            Self::StreamUnavailable => "stream-unavailable",
            Self::ProcessorFailed => "processor-failed",
            Self::EventTooLarge => "event-too-large",
            Self::MessageTooLarge => "message-too-large",
            Self::TransformFailed => "transform-failed",
            Self::NotAnAwslogsEvent => "not-an-awslogs-event",
            Self::NotBase64 => "not-base64",
            Self::NotGzip => "not-gzip",
            Self::TruncatedGzip => "truncated-gzip",
            Self::CorruptGzip => "corrupt-gzip",
            Self::DataAfterGzip => "data-after-gzip",
            Self::InflatesTooLarge => "inflates-too-large",
            Self::NotJson => "not-json",
            Self::OtherShape => "other-shape",
            Self::UnknownMessageType => "unknown-message-type",
        }
    }

    /// Whether the same code can never deliver it.
    pub fn is_permanent(self) -> bool {
        !matches!(
            self,
            Self::RefusedTooOften
                | Self::Deadline
                | Self::StreamUnavailable
                | Self::ProcessorFailed
        )
    }
}

impl From<&DecodeError> for Reason {
    fn from(error: &DecodeError) -> Self {
        match error {
            DecodeError::NotAnEvent => Self::NotAnAwslogsEvent,
            DecodeError::NotBase64 => Self::NotBase64,
            DecodeError::Gzip(InflateError::NotGzip) => Self::NotGzip,
            DecodeError::Gzip(InflateError::Truncated) => Self::TruncatedGzip,
            DecodeError::Gzip(InflateError::Corrupt) => Self::CorruptGzip,
            DecodeError::Gzip(InflateError::DataAfterEnd) => Self::DataAfterGzip,
            DecodeError::Gzip(InflateError::TooLarge) => Self::InflatesTooLarge,
            DecodeError::NotJson(_) => Self::NotJson,
            DecodeError::OtherShape { .. } => Self::OtherShape,
            DecodeError::UnknownMessageType => Self::UnknownMessageType,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.code())
    }
}

/// The text is no reason's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a dead letter's reason")]
pub struct UnknownReason;

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(code: &str) -> Result<Self, UnknownReason> {
        Self::ALL.into_iter().find(|reason| reason.code() == code).ok_or(UnknownReason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_names_its_reason() {
        for reason in Reason::ALL {
            assert_eq!(reason.code().parse(), Ok(reason));
        }
        assert_eq!("because".parse::<Reason>(), Err(UnknownReason));
    }
}
