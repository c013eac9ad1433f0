//! The verbs that reach outside, one a trait. [`crate::aws`] implements them with the SDK, the
//! simulated AWS (`tests/cloud`) in memory. Handlers are generic over them and know nothing else.

use std::future::Future;
use std::time::Duration;

use crate::delivery::DeadLetter;
use crate::records::Record;

/// Why the stream did not take one entry of a call that it otherwise answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The entry's `ErrorCode`, such as `ProvisionedThroughputExceededException`.
    pub code: String,
}

impl Refusal {
    /// Whether the shard was at its limit, as opposed to an internal failure of the service.
    #[must_use]
    pub fn is_throttle(&self) -> bool {
        is_throttle(&self.code)
    }
}

/// Whether an error code of PutRecords says that a shard or the stream was at its limit.
#[must_use]
pub fn is_throttle(code: &str) -> bool {
    matches!(code, "ProvisionedThroughputExceededException" | "ThrottlingException" | "Throttling")
}

/// Why a whole PutRecords call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The same call may succeed later, and nothing of it was written: throttling.
    #[error("{code}: {detail}")]
    Transient {
        /// The service's error code.
        code: String,
        /// What the service said.
        detail: String,
    },
    /// The same call may succeed later, and this one may have been carried out: a 5xx, a timeout,
    /// a broken connection.
    #[error("{code}: {detail}")]
    Unknown {
        /// The service's error code, or the kind of failure when there was no answer.
        code: String,
        /// What the service or the connection said.
        detail: String,
    },
    /// The same call cannot succeed: no such stream, no permission, a key that cannot be used.
    #[error("{code}: {detail}")]
    Permanent {
        /// The service's error code.
        code: String,
        /// What the service said.
        detail: String,
    },
}

/// Puts records into the stream.
pub trait PutRecords {
    /// One PutRecords call, not retried. The answer has one item a record, in order: `None` was
    /// accepted, `Some` was refused.
    fn put_records(
        &self,
        records: &[&Record],
    ) -> impl Future<Output = Result<Vec<Option<Refusal>>, PutError>>;
}

/// Why the dead-letter queue did not take a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct SendError {
    /// The service's error code, or the kind of failure when there was no answer.
    pub code: String,
    /// What the service or the connection said.
    pub detail: String,
}

/// Sends a dead letter to its queue.
pub trait SendDeadLetter {
    /// Returns once the queue has the message.
    fn send_dead_letter(
        &self,
        dead_letter: &DeadLetter,
    ) -> impl Future<Output = Result<(), SendError>>;
}

/// Time, so that it can be virtual.
pub trait Clock {
    /// The wall clock, in milliseconds since 1970. It may jump.
    fn epoch_ms(&self) -> u64;
    /// A clock that never goes back, from an arbitrary origin.
    fn monotonic(&self) -> Duration;
    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
}

/// Takes one line of metrics in CloudWatch's embedded metric format.
pub trait EmitMetrics {
    /// Emits the line; it has no newline at its end.
    fn emit(&self, line: &str);
}
