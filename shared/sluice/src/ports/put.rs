//! Records into a stream or a Firehose.

use crate::limits::PUT_UNIT_BYTES;

/// One record as the stream takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Decides the shard, through its MD5.
    pub partition_key: String,
    /// What consumers read.
    pub data: Vec<u8>,
}

impl Record {
    /// What counts against every limit: data and partition key.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }

    /// PUT payload units that the record is billed.
    #[must_use]
    pub fn put_units(&self) -> u64 {
        (self.bytes() as u64).div_ceil(PUT_UNIT_BYTES).max(1)
    }
}

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

/// Whether an error code of PutRecords or PutRecordBatch says that a shard, the stream or the
/// Firehose was at its limit. Firehose says so with `ServiceUnavailableException`.
#[must_use]
pub fn is_throttle(code: &str) -> bool {
    matches!(
        code,
        "ProvisionedThroughputExceededException"
            | "ServiceUnavailableException"
            | "ThrottlingException"
            | "Throttling"
    )
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

/// Puts records into a stream, or into a Firehose, which knows no partition keys.
pub trait PutRecords {
    /// One PutRecords call (of a Firehose: PutRecordBatch), not retried. The answer has one item a
    /// record, in order: `None` was accepted, `Some` was refused.
    fn put_records(
        &self,
        records: &[&Record],
    ) -> impl Future<Output = Result<Vec<Option<Refusal>>, PutError>>;
}

/// Puts records that came from another stream into a stream.
pub trait PutReplayed {
    /// One PutRecords call to `stream` (a name or an ARN), not retried; the answer as
    /// [`PutRecords::put_records`] gives it. A record lies where its partition key without the mark
    /// ([`crate::records::replayed`]) hashes.
    fn put_replayed(
        &self,
        stream: &str,
        records: &[&Record],
    ) -> impl Future<Output = Result<Vec<Option<Refusal>>, PutError>>;
}
