//! The environment, parsed once. Defaults live in `infra/archive.yaml` alone.

use sluice::config::EnvReader;

/// Characters of a Firehose's name. (Firehose API, PutRecordBatch; Nov 2026)
const DELIVERY_STREAM_NAME_CHARS_MAX: usize = 64;

/// What the archiver is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The Firehose to put into.
    pub delivery_stream_name: String,
    /// Where goes what can never be archived.
    pub on_failure_queue_url: String,
    /// Dimension of the metrics.
    pub function_name: String,
}

impl Config {
    /// Reads the variables; problems stay with `env`.
    pub fn read(env: &mut EnvReader<'_>) -> Option<Self> {
        let delivery_stream_name = env.required_if(
            "DELIVERY_STREAM_NAME",
            "the name of a Firehose: 1 to 64 letters, digits, underscores, dots and hyphens",
            |name: &String| {
                (1..=DELIVERY_STREAM_NAME_CHARS_MAX).contains(&name.len())
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
            },
        );
        let on_failure_queue_url = env.required_url("ON_FAILURE_QUEUE_URL", "an SQS queue URL");
        let function_name = env.required("AWS_LAMBDA_FUNCTION_NAME", "the function's name");
        Some(Self {
            delivery_stream_name: delivery_stream_name?,
            on_failure_queue_url: on_failure_queue_url?,
            function_name: function_name?,
        })
    }
}
