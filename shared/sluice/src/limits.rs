//! Every AWS quota and price that the code stands on: unit in the name, source and date beside it.
//!
//! Sources were read in November 2026. *API* is the service's API reference, *quotas* its quotas
//! page, *pricing* the us-east-1 on-demand price list.

/// Bytes a second that one shard accepts: 1 MB. (Kinesis API, PutRecords; Nov 2026)
pub const SHARD_BYTES_PER_SECOND: u64 = 1_000_000;

/// Records a second that one shard accepts. (Kinesis API, PutRecords; Nov 2026)
pub const SHARD_RECORDS_PER_SECOND: u64 = 1_000;

/// Data and partition key of one record, unless UpdateMaxRecordSize raised it. (Kinesis quotas; Nov 2026)
pub const RECORD_BYTES_MAX: usize = 1_048_576;

/// The largest record that a stream may be set to take: 10 MiB. (Kinesis API, UpdateMaxRecordSize; Nov
/// 2026)
pub const LARGE_RECORD_BYTES_MAX: usize = 10 * 1_048_576;

/// Characters in a partition key. (Kinesis API, PutRecordsRequestEntry; Nov 2026)
pub const PARTITION_KEY_CHARS_MAX: usize = 256;

/// Entries in one PutRecords call. (Kinesis API, PutRecords; Nov 2026)
pub const PUT_RECORDS_ENTRIES_MAX: usize = 500;

/// Bytes that we put into one PutRecords call, partition keys included.
///
/// AWS takes 10 MiB since October 2025 and took 5 MiB before; engines and regions that lag
/// behind take 5, and a paced processor never needs more. A record that is larger goes alone, and
/// cannot be larger than a call. (Kinesis API, PutRecords; Nov 2026)
pub const PUT_RECORDS_BYTES_MAX: usize = 5 * 1_048_576;

/// What a put is billed in, rounded up per record: 25 KB. (Kinesis pricing; Nov 2026)
///
/// The page does not say whether a KB is 1,000 or 1,024 bytes; the smaller never bills by surprise.
pub const PUT_UNIT_BYTES: u64 = 25_000;

/// Bytes of an SQS message, body and attributes together: 1 MiB. (SQS quotas; Nov 2026)
pub const SQS_MESSAGE_BYTES_MAX: usize = 1_048_576;

/// Messages in one call of SQS; their bytes together may be those of one message. (SQS quotas; Nov
/// 2026)
pub const SQS_BATCH_MESSAGES_MAX: usize = 10;

/// Seconds that one invocation of a function may take. (Lambda quotas; Nov 2026)
pub const FUNCTION_SECONDS_MAX: u64 = 900;

/// Inflated bytes of one CloudWatch Logs payload that we are willing to hold: 64 MiB.
///
/// Ours, not AWS's: CloudWatch Logs sends at most 1 MB compressed, typically under 10 MB inflated;
/// more than this is a gzip bomb.
pub const PAYLOAD_INFLATED_BYTES_MAX: usize = 64 * 1_048_576;

/// Values that one EMF metric may hold. (CloudWatch EMF specification; Nov 2026)
pub const EMF_VALUES_MAX: usize = 100;

/// A metric may lie so far back: two weeks. (CloudWatch API, PutMetricData, Timestamp; Nov 2026)
pub const METRIC_AGE_MS_MAX: u64 = 14 * 86_400_000;

/// A metric may lie so far ahead: two hours. (CloudWatch API, PutMetricData, Timestamp; Nov 2026)
pub const METRIC_AHEAD_MS_MAX: u64 = 2 * 3_600_000;

/// Shards in one stream after UpdateShardCount. (Kinesis API, UpdateShardCount; Nov 2026)
pub const SHARDS_MAX: usize = 10_000;

/// Processors per shard that the template allows (`ConcurrencyPerShard`). Ours.
pub const CONCURRENCY_PER_SHARD_MAX: u32 = 10;

/// UpdateShardCount calls on one stream in any 24 hours, unless the quota was raised. (Kinesis API,
/// UpdateShardCount; Nov 2026)
pub const RESHARD_CALLS_MAX: u32 = 10;

/// The window that [`RESHARD_CALLS_MAX`] counts in, in seconds.
pub const RESHARD_WINDOW_SECONDS: u64 = 86_400;

/// Concurrency that an account must keep unreserved. (Lambda quotas; Nov 2026)
pub const UNRESERVED_CONCURRENCY_MIN: u32 = 100;

/// Queries in one GetMetricData call. (CloudWatch API, GetMetricData; Nov 2026)
pub const GET_METRIC_DATA_QUERIES_MAX: usize = 500;

/// One shard for one hour, in dollars. (Kinesis pricing; Nov 2026)
pub const SHARD_HOUR_DOLLARS: f64 = 0.015;

/// One custom metric for one month, in dollars, up to the first 10,000 of an account. (CloudWatch
/// pricing; Nov 2026)
pub const METRIC_MONTH_DOLLARS: f64 = 0.30;

/// Hours in a month, as prices by the month are worked out by the hour. (AWS pricing calculator; Nov
/// 2026) Custom metrics are billed for the hours in which they were sent. (CloudWatch pricing; Nov
/// 2026)
pub const HOURS_PER_MONTH: f64 = 730.0;

/// A million PUT payload units, in dollars. (Kinesis pricing; Nov 2026)
pub const PUT_UNITS_MILLION_DOLLARS: f64 = 0.014;

/// An on-demand Standard stream for one hour, in dollars. (Kinesis pricing; Nov 2026)
pub const ON_DEMAND_HOUR_DOLLARS: f64 = 0.04;

/// A GB into an on-demand Standard stream, in dollars. (Kinesis pricing; Nov 2026)
pub const ON_DEMAND_GB_IN_DOLLARS: f64 = 0.08;

/// A GB out of an on-demand Standard stream, in dollars. (Kinesis pricing; Nov 2026)
pub const ON_DEMAND_GB_OUT_DOLLARS: f64 = 0.04;

/// Bytes a second that a new on-demand stream takes. (Kinesis FAQ; Nov 2026)
pub const ON_DEMAND_BYTES_PER_SECOND_MIN: u64 = 4_000_000;

/// An on-demand stream takes so many times the peak of the last 30 days. (Kinesis FAQ; Nov 2026)
pub const ON_DEMAND_HEADROOM: f64 = 2.0;

/// An on-demand stream refuses what is more than double the peak that it saw before so many
/// seconds. (Kinesis FAQ; Nov 2026)
pub const ON_DEMAND_ADAPT_SECONDS: u64 = 900;

/// Days whose peak an on-demand stream remembers. (Kinesis FAQ; Nov 2026)
pub const ON_DEMAND_PEAK_DAYS: u64 = 30;

/// A GB into an on-demand Advantage stream, in dollars. (Kinesis pricing; Nov 2026)
pub const ADVANTAGE_GB_IN_DOLLARS: f64 = 0.032;

/// A GB out of an on-demand Advantage stream, in dollars. (Kinesis pricing; Nov 2026)
pub const ADVANTAGE_GB_OUT_DOLLARS: f64 = 0.016;

/// Bytes a second, in and out, that on-demand Advantage bills at least: 25 MB, for an account and
/// region. (Kinesis pricing; Nov 2026)
pub const ADVANTAGE_BYTES_PER_SECOND_MIN: f64 = 25.0 * 1_048_576.0;

/// Bytes in a billed GB. (Kinesis pricing, worked examples; Nov 2026)
pub const BILLED_GB_BYTES: f64 = 1_073_741_824.0;

/// A million requests to Lambda, in dollars. (Lambda pricing; Nov 2026)
pub const LAMBDA_REQUESTS_MILLION_DOLLARS: f64 = 0.20;

/// A GB of memory on arm64 for one second, in dollars. (Lambda pricing; Nov 2026)
pub const LAMBDA_ARM_GB_SECOND_DOLLARS: f64 = 0.000_013_333_4;

/// A million requests to an SQS standard queue, in dollars. (SQS pricing; Nov 2026)
pub const SQS_REQUESTS_MILLION_DOLLARS: f64 = 0.40;

/// Bytes of a message that are billed as one request: 64 KiB. (SQS pricing; Nov 2026)
pub const SQS_REQUEST_BYTES: f64 = 65_536.0;

/// Concurrency that an event source mapping's MaximumConcurrency may have at the least. (Lambda
/// API, ScalingConfig; Nov 2026)
pub const SQS_MAPPING_CONCURRENCY_MIN: u32 = 2;

/// A thousand metrics read with GetMetricData, in dollars. (CloudWatch pricing; Nov 2026)
pub const METRICS_READ_THOUSAND_DOLLARS: f64 = 0.01;

/// An alarm on a standard metric for one month, in dollars. (CloudWatch pricing; Nov 2026)
pub const ALARM_MONTH_DOLLARS: f64 = 0.10;

/// An alarm on a high-resolution metric for one month, in dollars. (CloudWatch pricing; Nov 2026)
pub const FAST_ALARM_MONTH_DOLLARS: f64 = 0.30;

/// The first pause of an asynchronous event that found no concurrency, in seconds; each next one is
/// twice as long. (Lambda developer guide, asynchronous invocation; Nov 2026)
pub const ASYNC_PAUSE_SECONDS_MIN: u32 = 1;

/// The longest of these pauses, in seconds. (Lambda developer guide, asynchronous invocation; Nov
/// 2026)
pub const ASYNC_PAUSE_SECONDS_MAX: u32 = 300;

/// Seconds that Lambda keeps an asynchronous event. (Lambda API, MaximumEventAgeInSeconds; Nov
/// 2026)
pub const ASYNC_EVENT_AGE_SECONDS_MAX: u32 = 21_600;

/// Bytes of one Firehose record before base64: 1,000 KiB. (Firehose API, PutRecordBatch; Nov 2026)
pub const FIREHOSE_RECORD_BYTES_MAX: usize = 1_000 * 1_024;

/// Entries in one PutRecordBatch call. (Firehose API, PutRecordBatch; Nov 2026)
pub const PUT_RECORD_BATCH_ENTRIES_MAX: usize = 500;

/// Bytes of one PutRecordBatch call: 4 MiB. (Firehose API, PutRecordBatch; Nov 2026)
pub const PUT_RECORD_BATCH_BYTES_MAX: usize = 4 * 1_048_576;

/// What Firehose bills ingestion in, rounded up per record: 5 KB. (Firehose pricing; Nov 2026)
pub const FIREHOSE_BILLED_BYTES: u64 = 5 * 1_024;

/// Lines or objects that Firehose takes apart in one record, for dynamic partitioning. (Firehose
/// developer guide, "Apply dynamic partitioning to aggregated data"; Nov 2026)
pub const FIREHOSE_RECORD_EVENTS_MAX: usize = 500;

/// GetRecords calls a second that one shard answers, shared by all its standard consumers. (Kinesis
/// API, GetRecords; Nov 2026)
pub const SHARD_READS_PER_SECOND: u64 = 5;

/// Bytes a second that one shard gives its standard consumers: 2 MB. (Kinesis API, GetRecords; Nov
/// 2026)
pub const SHARD_READ_BYTES_PER_SECOND: u64 = 2_000_000;

/// Records in one answer of GetRecords. (Kinesis API, GetRecords; Nov 2026)
pub const GET_RECORDS_RECORDS_MAX: usize = 10_000;

/// Bytes in one answer of GetRecords: 10 MiB. (Kinesis API, GetRecords; Nov 2026)
pub const GET_RECORDS_BYTES_MAX: usize = 10 * 1_048_576;

/// Seconds that a shard iterator is good for. (Kinesis API, GetShardIterator; Nov 2026)
pub const ITERATOR_SECONDS_MAX: u64 = 300;

/// Bytes of the event of a synchronous invocation: 6 MB. (Lambda quotas; Nov 2026)
pub const INVOKE_EVENT_BYTES_MAX: usize = 6_000_000;

/// Bytes of the event of an asynchronous invocation that every region takes: 256 KB. 1 MB since
/// October 2025. (Lambda quotas; Nov 2026)
pub const INVOKE_LATER_EVENT_BYTES_MAX: usize = 256_000;

/// Bytes a second that no provisioned stream exceeds: 10 GB, [`SHARDS_MAX`] shards of
/// [`SHARD_BYTES_PER_SECOND`]. (Kinesis API, UpdateShardCount and PutRecords; Nov 2026)
pub const STREAM_BYTES_PER_SECOND_MAX: u64 = SHARDS_MAX as u64 * SHARD_BYTES_PER_SECOND;

/// Bytes of a file of traffic that what-if reads: 2 GB. Ours: 400 days by the second fit.
pub const TRACE_BYTES_MAX: u64 = 2_000_000_000;

/// Bytes of a file of traffic in JSON, which is held as a whole: 256 MB. Ours.
pub const TRACE_JSON_BYTES_MAX: u64 = 256_000_000;

/// Bytes of a line in a file of traffic. Ours: far above any row of a table.
pub const TRACE_LINE_BYTES_MAX: usize = 65_536;

/// Steps of traffic that what-if plays or holds: 400 days by the second. Ours.
pub const TRACE_STEPS_MAX: usize = 400 * 86_400;

/// Years between the first and the last row of traffic. Ours: CloudWatch keeps 15 months, so more is a
/// wrong date. (CloudWatch user guide, metrics retention; Nov 2026)
pub const TRACE_YEARS_MAX: u64 = 10;
