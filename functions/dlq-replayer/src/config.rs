//! The environment, parsed once. Defaults live in `infra/log-processing.yaml` alone.

use std::time::Duration;

use sluice::config::EnvReader;
use sluice::limits::FUNCTION_SECONDS_MAX;

/// More attempts than this outlast the queue's 14 days.
const ATTEMPTS_MAX: u32 = 100;
/// Invocations of the processor at once.
const PARALLELISM_MAX: u32 = 1_000;
/// A chain of so many hops of 15 minutes takes ten days.
const HOPS_MAX: u32 = 1_000;

/// What the replayer is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where dead letters wait.
    pub dead_letter_queue_url: String,
    /// Where those go that will not succeed.
    pub quarantine_queue_url: String,
    /// The function that is invoked with them.
    pub processor_function: String,
    /// How long one invocation of it may take.
    pub processor_timeout: Duration,
    /// Replays of one dead letter before it is quarantined.
    pub replay_attempts_max: u32,
    /// Invocations of the processor at once; `None` for half of what it reserves.
    pub replay_parallelism: Option<usize>,
    /// How often in a row the replayer invokes itself.
    pub replay_hops_max: u32,
    /// This function, to invoke itself, and a dimension of the metrics.
    pub function_name: String,
}

impl Config {
    /// Reads the variables; problems stay with `env`.
    pub fn read(env: &mut EnvReader<'_>) -> Option<Self> {
        let dead_letter_queue_url = env.required_url("DEAD_LETTER_QUEUE_URL", "an SQS queue URL");
        let quarantine_queue_url = env.required_url("QUARANTINE_QUEUE_URL", "an SQS queue URL");
        let processor_function = env.required("PROCESSOR_FUNCTION", "a function's name");
        let processor_timeout_seconds = env.required_if(
            "PROCESSOR_TIMEOUT_SECONDS",
            &format!("seconds, 1 to {FUNCTION_SECONDS_MAX}"),
            |seconds| (1..=FUNCTION_SECONDS_MAX).contains(seconds),
        );
        let replay_attempts_max = env.required_if(
            "REPLAY_ATTEMPTS_MAX",
            &format!("a number, 1 to {ATTEMPTS_MAX}"),
            |number| (1..=ATTEMPTS_MAX).contains(number),
        );
        let replay_parallelism: Option<u32> = env.required_if(
            "REPLAY_PARALLELISM",
            &format!("a number, 0 (half of what the processor reserves) to {PARALLELISM_MAX}"),
            |&number| number <= PARALLELISM_MAX,
        );
        let replay_hops_max =
            env.required_if("REPLAY_HOPS_MAX", &format!("a number, 0 to {HOPS_MAX}"), |&number| {
                number <= HOPS_MAX
            });
        let function_name = env.required("AWS_LAMBDA_FUNCTION_NAME", "the function's name");
        Some(Self {
            dead_letter_queue_url: dead_letter_queue_url?,
            quarantine_queue_url: quarantine_queue_url?,
            processor_function: processor_function?,
            processor_timeout: Duration::from_secs(processor_timeout_seconds?),
            replay_attempts_max: replay_attempts_max?,
            replay_parallelism: Some(replay_parallelism? as usize).filter(|&number| number > 0),
            replay_hops_max: replay_hops_max?,
            function_name: function_name?,
        })
    }
}
