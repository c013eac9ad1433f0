//! The environment, parsed once. Defaults live in `infra/log-processing.yaml` alone.

use std::str::FromStr;

use sluice::config::EnvReader;
use sluice::limits::{CONCURRENCY_PER_SHARD_MAX, LARGE_RECORD_BYTES_MAX, RECORD_BYTES_MAX};
use sluice::logs::{Envelope, Passthrough, Transform};
use sluice::records::{PartitionBy, RecordFormat};

/// Which of the two functions this is.
#[derive(Debug, Clone)]
pub enum Role {
    /// Carries log events into the stream.
    Processor(Config),
    /// Puts events into the queue before the processor.
    Forwarder { queue_url: String },
}

impl Role {
    /// Reads the variables; problems stay with `env`.
    pub fn read(env: &mut EnvReader<'_>) -> Option<Self> {
        if env.optional("FORWARD_QUEUE_URL").is_none() {
            return Config::read(env).map(Self::Processor);
        }
        let queue_url = env.required_url("FORWARD_QUEUE_URL", "an SQS queue URL")?;
        Some(Self::Forwarder { queue_url })
    }
}

/// What the processor is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The stream that is written to.
    pub stream_name: String,
    /// Where the remainder goes; without it a remainder fails the invocation.
    pub dead_letter_queue_url: Option<String>,
    /// Where what can never be delivered goes; without it, to the dead-letter queue.
    pub quarantine_queue_url: Option<String>,
    /// What is sent for an event.
    pub transform: TransformName,
    /// How events lie in records.
    pub record_format: RecordFormat,
    /// Bytes that a record is filled up to, partition key included.
    pub record_bytes_target: usize,
    /// Bytes that the stream takes in one record, partition key included.
    pub record_bytes_max: usize,
    /// What decides a record's shard.
    pub partition_by: PartitionBy,
    /// Execution environments that share one shard's capacity.
    pub concurrency_per_shard: u32,
    /// Tries of one record within an invocation.
    pub put_attempts_max: u32,
    /// A dimension of the metrics.
    pub function_name: String,
    /// This function's own log group, whose events are not forwarded.
    pub log_group_name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransformName {
    /// [`Passthrough`].
    Passthrough,
    /// [`Envelope`].
    Envelope,
}

impl TransformName {
    /// The transform of that name.
    pub fn build(self) -> Box<dyn Transform> {
        match self {
            Self::Passthrough => Box::new(Passthrough),
            Self::Envelope => Box::new(Envelope),
        }
    }
}

impl FromStr for TransformName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "passthrough" => Ok(Self::Passthrough),
            "envelope" => Ok(Self::Envelope),
            _ => Err("no such transform"),
        }
    }
}

/// The smallest record target that still leaves room for a partition key and an event.
const RECORD_BYTES_TARGET_MIN: usize = 1_024;

const KIB: usize = 1_024;

/// More tries than this outlast any invocation.
const PUT_ATTEMPTS_MAX: u32 = 100;

impl Config {
    /// Reads the variables; problems stay with `env`.
    pub fn read(env: &mut EnvReader<'_>) -> Option<Self> {
        let stream_name = env.required("STREAM_NAME", "the name of a Kinesis data stream");
        let dead_letter_queue_url = env.optional_url("DEAD_LETTER_QUEUE_URL", "an SQS queue URL");
        let quarantine_queue_url = env.optional_url("QUARANTINE_QUEUE_URL", "an SQS queue URL");
        let transform = env.required("TRANSFORM", "passthrough or envelope");
        let record_format = env.required("RECORD_FORMAT", "single, kpl or gzip");
        let record_bytes_target = env.required_if(
            "RECORD_BYTES_TARGET",
            &format!("bytes, {RECORD_BYTES_TARGET_MIN} to {RECORD_BYTES_MAX}"),
            |bytes| (RECORD_BYTES_TARGET_MIN..=RECORD_BYTES_MAX).contains(bytes),
        );
        let max_record_kib = env.required_if(
            "MAX_RECORD_KIB",
            &format!("KiB, {} to {}", RECORD_BYTES_MAX / KIB, LARGE_RECORD_BYTES_MAX / KIB),
            |kib| (RECORD_BYTES_MAX / KIB..=LARGE_RECORD_BYTES_MAX / KIB).contains(kib),
        );
        let partition_by = env.required("PARTITION_BY", "even or log-stream");
        let concurrency_per_shard = env.required_if(
            "CONCURRENCY_PER_SHARD",
            &format!("a number, 1 to {CONCURRENCY_PER_SHARD_MAX}"),
            |number| (1..=CONCURRENCY_PER_SHARD_MAX).contains(number),
        );
        let put_attempts_max = env.required_if(
            "PUT_ATTEMPTS_MAX",
            &format!("a number, 1 to {PUT_ATTEMPTS_MAX}"),
            |number| (1..=PUT_ATTEMPTS_MAX).contains(number),
        );
        let function_name = env.required("AWS_LAMBDA_FUNCTION_NAME", "the function's name");
        Some(Self {
            stream_name: stream_name?,
            dead_letter_queue_url,
            quarantine_queue_url,
            transform: transform?,
            record_format: record_format?,
            record_bytes_target: record_bytes_target?,
            record_bytes_max: max_record_kib? * KIB,
            partition_by: partition_by?,
            concurrency_per_shard: concurrency_per_shard?,
            put_attempts_max: put_attempts_max?,
            function_name: function_name?,
            log_group_name: env.optional("AWS_LAMBDA_LOG_GROUP_NAME"),
        })
    }
}
