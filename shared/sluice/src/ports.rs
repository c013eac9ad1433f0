//! The verbs that reach outside, one a trait. `shared/aws` implements them with the SDK, the
//! simulated AWS (`shared/simulated`) in memory. Handlers are generic over them and know nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use crate::delivery::DeadLetter;
use crate::records::Record;
use crate::scaling::{AlarmState, Shard, StreamStatus};

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

/// A record as its readers get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// `SequenceNumber`: its place in its shard.
    pub sequence_number: String,
    /// `PartitionKey`.
    pub partition_key: String,
    /// `Data`.
    pub data: Vec<u8>,
    /// `ApproximateArrivalTimestamp`, in milliseconds since 1970.
    pub arrived_ms: u64,
}

/// What one GetRecords call answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordsPage {
    /// `Records`.
    pub records: Vec<StreamRecord>,
    /// `NextShardIterator`; `None` when the shard is closed and read to its end.
    pub next_iterator: Option<String>,
    /// `MillisBehindLatest`: how far this page's end is behind the newest record.
    pub behind_ms: u64,
}

/// Where in a shard to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFrom {
    /// `AT_TIMESTAMP`: the first record that arrived then or later.
    At(u64),
    /// `AFTER_SEQUENCE_NUMBER`.
    After(String),
}

/// Why a shard could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The shard gives its readers no more now.
    #[error("{code}: {detail}")]
    Throttled {
        /// The service's error code.
        code: String,
        /// What the service said.
        detail: String,
    },
    /// The iterator is more than five minutes old.
    #[error("the shard iterator has expired")]
    IteratorExpired,
    /// The same call may succeed later: a 5xx, a timeout, a broken connection.
    #[error("{code}: {detail}")]
    Unknown {
        /// The service's error code, or the kind of failure when there was no answer.
        code: String,
        /// What the service or the connection said.
        detail: String,
    },
    /// The same call cannot succeed: no such shard, no permission, a sequence number from elsewhere.
    #[error("{code}: {detail}")]
    Permanent {
        /// The service's error code.
        code: String,
        /// What the service said.
        detail: String,
    },
}

/// A shard, open or closed, with where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardLineage {
    /// `ShardId`.
    pub id: String,
    /// `ParentShardId` and `AdjacentParentShardId`, those that it has.
    pub parents: Vec<String>,
}

/// What a reader must know of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamHistory {
    /// `StreamARN`.
    pub arn: String,
    /// `RetentionPeriodHours`, in milliseconds.
    pub retention_ms: u64,
    /// `StreamCreationTimestamp`, in milliseconds since 1970.
    pub created_ms: u64,
}

/// Looks at how far back a stream goes.
pub trait DescribeHistory {
    /// DescribeStreamSummary.
    fn describe_history(&self) -> impl Future<Output = Result<StreamHistory, ReadError>>;
}

/// Lists shards with their lineage.
pub trait ListShardsSince {
    /// ListShards `FROM_TIMESTAMP`, every page: the open shards and those that closed at `from_ms`
    /// or later. Some engines list older ones, too.
    fn list_shards_since(
        &self,
        from_ms: u64,
    ) -> impl Future<Output = Result<Vec<ShardLineage>, ReadError>>;
}

/// Begins to read a shard.
pub trait GetShardIterator {
    /// GetShardIterator, not retried.
    fn get_shard_iterator(
        &self,
        shard_id: &str,
        from: &ReadFrom,
    ) -> impl Future<Output = Result<String, ReadError>>;
}

/// Reads a shard.
pub trait GetRecords {
    /// One GetRecords call, not retried.
    fn get_records(
        &self,
        iterator: &str,
        records_max: usize,
    ) -> impl Future<Output = Result<RecordsPage, ReadError>>;
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

/// Why a call of a queue failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct QueueError {
    /// The service's error code, or the kind of failure when there was no answer.
    pub code: String,
    /// What the service or the connection said.
    pub detail: String,
}

impl QueueError {
    /// Whether the same call may succeed within the invocation. (SQS API, errors of SendMessage and
    /// common errors; Nov 2026)
    #[must_use]
    pub fn may_pass(&self) -> bool {
        // Some endpoints answer with the older names, some put the service before the code.
        let code = self.code.rsplit(['.', '#']).next().unwrap_or_default();
        !matches!(
            code,
            "QueueDoesNotExist"
                | "NonExistentQueue"
                | "AccessDenied"
                | "AccessDeniedException"
                | "InvalidAddress"
                | "InvalidClientTokenId"
                | "InvalidMessageContents"
                | "InvalidParameterValue"
                | "InvalidSecurity"
                | "KmsAccessDenied"
                | "KmsDisabled"
                | "KmsInvalidKeyUsage"
                | "KmsInvalidState"
                | "KmsNotFound"
                | "KmsOptInRequired"
                | "OptInRequired"
                | "RequestNotSent"
                | "UnsupportedOperation"
        )
    }
}

/// Sends a dead letter to a queue.
pub trait SendDeadLetter {
    /// Returns once the queue has the message, which it hides for `delay_seconds`.
    fn send_dead_letter(
        &self,
        dead_letter: &DeadLetter,
        delay_seconds: u32,
    ) -> impl Future<Output = Result<(), QueueError>>;
}

/// A message of a queue, received and not yet deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `MessageId`.
    pub id: String,
    /// `ReceiptHandle`: deletes and hides this receipt of the message.
    pub receipt_handle: String,
    /// `Body`.
    pub body: String,
    /// `MessageAttributes`, those that are text or numbers.
    pub attributes: BTreeMap<String, String>,
    /// `SentTimestamp`, in milliseconds since 1970.
    pub sent_ms: u64,
    /// `ApproximateReceiveCount`, this receipt included.
    pub receive_count: u32,
}

/// Receives messages.
pub trait ReceiveMessages {
    /// ReceiveMessage: up to `messages_max` (1 to 10), hidden from others for `visibility`, waiting
    /// up to `wait` for the first.
    fn receive_messages(
        &self,
        messages_max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Message>, QueueError>>;
}

/// Deletes a message.
pub trait DeleteMessage {
    /// DeleteMessage; a message that is gone already is deleted.
    fn delete_message(&self, receipt_handle: &str) -> impl Future<Output = Result<(), QueueError>>;
}

/// Hides a message for longer or shorter.
pub trait ChangeVisibility {
    /// ChangeMessageVisibility: from now on for `visibility`; zero shows it at once.
    fn change_visibility(
        &self,
        receipt_handle: &str,
        visibility: Duration,
    ) -> impl Future<Output = Result<(), QueueError>>;
}

/// How many messages a queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// `ApproximateNumberOfMessages`: those that a receiver can have.
    pub visible: u64,
    /// `ApproximateNumberOfMessagesNotVisible`: received and not yet deleted.
    pub in_flight: u64,
    /// `ApproximateNumberOfMessagesDelayed`.
    pub delayed: u64,
}

impl QueueCounts {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}

/// Counts a queue's messages.
pub trait CountMessages {
    /// GetQueueAttributes.
    fn count_messages(&self) -> impl Future<Output = Result<QueueCounts, QueueError>>;
}

/// Why an invocation of another function gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// No execution environment was free; the function did not see the event.
    #[error("{detail}")]
    Throttled {
        /// What the service said.
        detail: String,
    },
    /// The function failed on the event.
    #[error("{error_type}: {message}")]
    Failed {
        /// `errorType` of the function's error.
        error_type: String,
        /// `errorMessage` of it.
        message: String,
    },
    /// The service refuses the event, and always will.
    #[error("{code}: {detail}")]
    Refused {
        /// The service's error code.
        code: String,
        /// What the service said.
        detail: String,
    },
    /// The service refuses every event: no such function, no permission.
    #[error("{code}: {detail}")]
    Unavailable {
        /// The service's error code.
        code: String,
        /// What the service said.
        detail: String,
    },
    /// Nobody knows whether the function saw the event: a 5xx, a timeout, a broken connection.
    #[error("{code}: {detail}")]
    Unknown {
        /// The service's error code, or the kind of failure when there was no answer.
        code: String,
        /// What the service or the connection said.
        detail: String,
    },
}

/// Invokes a function and waits for its answer.
pub trait InvokeFunction {
    /// Invoke with `RequestResponse`, not retried, waiting up to `timeout`; the answer is JSON.
    fn invoke(
        &self,
        function: &str,
        event: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<String, InvokeError>>;
}

/// Puts an event into a function's queue.
pub trait InvokeLater {
    /// Invoke with `Event`.
    fn invoke_later(
        &self,
        function: &str,
        event: &str,
    ) -> impl Future<Output = Result<(), InvokeError>>;
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

/// `DescribeStreamSummary`, as far as scaling looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    /// `StreamStatus`.
    pub status: StreamStatus,
    /// `OpenShardCount`.
    pub open_shards: u32,
    /// `EnhancedMonitoring`: the shard-level metrics that are on.
    pub shard_metrics: BTreeSet<String>,
}

/// One alarm as `DescribeAlarms` gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// `AlarmName`.
    pub name: String,
    /// `StateValue`.
    pub state: AlarmState,
    /// `Threshold`.
    pub threshold: f64,
    /// `Period`, in seconds.
    pub period_seconds: u32,
}

/// One metric to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricQuery {
    /// `Namespace`.
    pub namespace: String,
    /// `MetricName`.
    pub name: String,
    /// `Dimensions`.
    pub dimensions: Vec<(String, String)>,
    /// `Sum`, `Maximum`, `p99`, …
    pub statistic: String,
}

/// One data point: the minute that it belongs to, and the statistic over it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DataPoint {
    /// The period's begin, in milliseconds since 1970.
    pub epoch_ms: u64,
    /// The statistic.
    pub value: f64,
}

/// Looks at the stream.
pub trait DescribeStream {
    /// DescribeStreamSummary.
    fn describe_stream(&self) -> impl Future<Output = Result<StreamSummary, ControlError>>;
}

/// Lists the stream's shards.
pub trait ListShards {
    /// ListShards, open ones only, every page.
    fn list_open_shards(&self) -> impl Future<Output = Result<Vec<Shard>, ControlError>>;
}

/// Reshards the stream to a number of shards.
pub trait UpdateShardCount {
    /// UpdateShardCount with uniform scaling.
    fn update_shard_count(&self, target: u32) -> impl Future<Output = Result<(), ControlError>>;
}

/// Splits one shard.
pub trait SplitShard {
    /// SplitShard.
    fn split_shard(
        &self,
        shard_id: &str,
        new_starting_hash_key: u128,
    ) -> impl Future<Output = Result<(), ControlError>>;
}

/// Switches shard-level metrics.
pub trait SwitchShardMetrics {
    /// EnableEnhancedMonitoring: these too, from the next minute or so on. The stream is UPDATING for
    /// a moment.
    fn enable_shard_metrics(
        &self,
        metrics: &BTreeSet<String>,
    ) -> impl Future<Output = Result<(), ControlError>>;

    /// DisableEnhancedMonitoring: these no longer. The stream is UPDATING for a moment.
    fn disable_shard_metrics(
        &self,
        metrics: &BTreeSet<String>,
    ) -> impl Future<Output = Result<(), ControlError>>;
}

/// Merges two shards.
pub trait MergeShards {
    /// MergeShards.
    fn merge_shards(
        &self,
        shard_id: &str,
        adjacent_shard_id: &str,
    ) -> impl Future<Output = Result<(), ControlError>>;
}

/// Reads the stream's tags.
pub trait ListTags {
    /// ListTagsForStream, every page.
    fn list_tags(&self) -> impl Future<Output = Result<BTreeMap<String, String>, ControlError>>;
}

/// Writes the stream's tags.
pub trait AddTags {
    /// AddTagsToStream.
    fn add_tags(
        &self,
        tags: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<(), ControlError>>;
}

/// Looks at alarms.
pub trait DescribeAlarms {
    /// DescribeAlarms by name; alarms that do not exist are left out.
    fn describe_alarms(
        &self,
        names: &[String],
    ) -> impl Future<Output = Result<Vec<Alarm>, ControlError>>;
}

/// Moves an alarm's threshold.
pub trait PutAlarmThreshold {
    /// DescribeAlarms and PutMetricAlarm with everything else as it was; the state stays.
    fn put_alarm_threshold(
        &self,
        alarm: &str,
        threshold: f64,
    ) -> impl Future<Output = Result<(), ControlError>>;
}

/// Arms an alarm again.
pub trait RearmAlarm {
    /// SetAlarmState to INSUFFICIENT_DATA.
    fn rearm_alarm(&self, alarm: &str) -> impl Future<Output = Result<(), ControlError>>;
}

/// Reads metrics.
pub trait GetMetrics {
    /// GetMetricData at one-minute periods in `from_ms`…`to_ms`; a list of data points a query,
    /// oldest first. Minutes without data are left out.
    fn get_metrics(
        &self,
        queries: &[MetricQuery],
        from_ms: u64,
        to_ms: u64,
    ) -> impl Future<Output = Result<Vec<Vec<DataPoint>>, ControlError>>;
}

/// Reads a function's reserved concurrency.
pub trait GetReservedConcurrency {
    /// GetFunctionConcurrency; `None` when the function reserves none.
    fn get_reserved_concurrency(
        &self,
        function: &str,
    ) -> impl Future<Output = Result<Option<u32>, ControlError>>;
}

/// Sets a function's reserved concurrency.
pub trait PutReservedConcurrency {
    /// PutFunctionConcurrency.
    fn put_reserved_concurrency(
        &self,
        function: &str,
        reserved: u32,
    ) -> impl Future<Output = Result<(), ControlError>>;
}

/// Reads what the account can still reserve.
pub trait GetReservableConcurrency {
    /// GetAccountSettings: unreserved concurrency less what must stay unreserved.
    fn get_reservable_concurrency(&self) -> impl Future<Output = Result<u32, ControlError>>;
}

/// Everything that a scaling function may do.
pub trait ControlPlane:
    DescribeStream
    + ListShards
    + UpdateShardCount
    + SplitShard
    + SwitchShardMetrics
    + MergeShards
    + ListTags
    + AddTags
    + DescribeAlarms
    + PutAlarmThreshold
    + RearmAlarm
    + GetMetrics
    + GetReservedConcurrency
    + PutReservedConcurrency
    + GetReservableConcurrency
{
}

impl<T> ControlPlane for T where
    T: DescribeStream
        + ListShards
        + UpdateShardCount
        + SplitShard
        + SwitchShardMetrics
        + MergeShards
        + ListTags
        + AddTags
        + DescribeAlarms
        + PutAlarmThreshold
        + RearmAlarm
        + GetMetrics
        + GetReservedConcurrency
        + PutReservedConcurrency
        + GetReservableConcurrency
{
}
