//! What reaches outside, one port a service and side of it, with the nouns that its answers hold.
//!
//! `shared/aws` implements the ports with the SDK, `shared/simulated` in memory and virtual time.
//! Handlers are generic over them and know nothing else.

mod alarms;
mod clock;
mod concurrency;
mod functions;
mod metrics;
mod put;
mod queue;
mod read;
mod scale;

pub use alarms::{Alarm, AlarmState, Alarms};
pub use clock::Clock;
pub use concurrency::{ReadConcurrency, SetConcurrency};
pub use functions::{InvokeError, InvokeFunction};
pub use metrics::{DataPoint, EmitMetrics, MetricQuery, ReadMetrics};
pub use put::{PutError, PutRecords, PutReplayed, Record, Refusal, is_throttle};
pub use queue::{
    Message, MessageAttribute, NewMessage, QueueCounts, QueueError, ReceiveMessages, SendMessage,
};
pub use read::{
    ReadError, ReadFrom, ReadStream, RecordsPage, ShardLineage, StreamHistory, StreamRecord,
};
pub use scale::{ScaleStream, Shard, StreamStatus, StreamSummary};

/// Why a call of the control plane failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {code}: {detail}")]
pub struct ControlError {
    /// The API call.
    pub call: &'static str,
    /// The service's error code, or the kind of failure when there was no answer.
    pub code: String,
    /// What the service or the connection said.
    pub detail: String,
}

/// Everything that a scaling function may do.
pub trait ControlPlane:
    ScaleStream + Alarms + ReadMetrics + ReadConcurrency + SetConcurrency
{
}

impl<T> ControlPlane for T where
    T: ScaleStream + Alarms + ReadMetrics + ReadConcurrency + SetConcurrency
{
}
