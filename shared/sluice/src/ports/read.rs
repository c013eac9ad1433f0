//! Records out of a stream.

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

impl StreamRecord {
    /// What counts against every limit: data and partition key.
    pub fn bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
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

/// Reads a stream, shard by shard, from a time in the past.
pub trait ReadStream {
    /// DescribeStreamSummary.
    fn describe_history(&self) -> impl Future<Output = Result<StreamHistory, ReadError>>;

    /// ListShards `FROM_TIMESTAMP`, every page: the open shards and those that closed at `from_ms`
    /// or later. Some engines list older ones, too.
    fn list_shards_since(
        &self,
        from_ms: u64,
    ) -> impl Future<Output = Result<Vec<ShardLineage>, ReadError>>;

    /// GetShardIterator, not retried.
    fn get_shard_iterator(
        &self,
        shard_id: &str,
        from: &ReadFrom,
    ) -> impl Future<Output = Result<String, ReadError>>;

    /// One GetRecords call, not retried.
    fn get_records(
        &self,
        iterator: &str,
        records_max: usize,
    ) -> impl Future<Output = Result<RecordsPage, ReadError>>;
}
