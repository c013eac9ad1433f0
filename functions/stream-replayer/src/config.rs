//! The environment, parsed once. Defaults live in `infra/stream-replay.yaml` alone.

use std::time::Duration;

use sluice::config::EnvReader;
use sluice::limits::FUNCTION_SECONDS_MAX;

/// Ours: 10,000 shards full of single records.
pub const RECORDS_PER_SECOND_MAX: u32 = 10_000_000;
/// Ours: 10,000 shards.
pub const BYTES_PER_SECOND_MAX: u64 = 10_000_000_000;

/// Each may hold an answer of 10 MB, more than once.
const SHARDS_AT_ONCE_MAX: usize = 32;
/// More tries than this outlast an invocation.
const ATTEMPTS_MAX: u32 = 100;
/// A chain of so many hops of 15 minutes takes ten days.
const HOPS_MAX: u32 = 1_000;

/// What the replayer is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The stream whose past is replayed.
    pub stream_name: String,
    /// Records a second, where the event says nothing.
    pub records_per_second: u32,
    /// Bytes a second, where the event says nothing.
    pub bytes_per_second: u64,
    /// Shards that are read at once.
    pub shards_at_once: usize,
    /// How long one invocation of a target function may take.
    pub target_timeout: Duration,
    /// Tries of one record or batch before the run gives up.
    pub target_attempts_max: u32,
    /// How often in a row the replayer invokes itself.
    pub replay_hops_max: u32,
    /// This function, to invoke itself, and a dimension of the metrics.
    pub function_name: String,
}

impl Config {
    /// Reads the variables; problems stay with `env`.
    pub fn read(env: &mut EnvReader<'_>) -> Option<Self> {
        let stream_name = env.required("STREAM_NAME", "a stream's name");
        let records_per_second = env.required_if(
            "RECORDS_PER_SECOND",
            &format!("a number, 1 to {RECORDS_PER_SECOND_MAX}"),
            |number| (1..=RECORDS_PER_SECOND_MAX).contains(number),
        );
        let bytes_per_second = env.required_if(
            "BYTES_PER_SECOND",
            &format!("a number, 1 to {BYTES_PER_SECOND_MAX}"),
            |number| (1..=BYTES_PER_SECOND_MAX).contains(number),
        );
        let shards_at_once = env.required_if(
            "SHARDS_AT_ONCE",
            &format!("a number, 1 to {SHARDS_AT_ONCE_MAX}"),
            |number| (1..=SHARDS_AT_ONCE_MAX).contains(number),
        );
        let target_timeout_seconds = env.required_if(
            "TARGET_TIMEOUT_SECONDS",
            &format!("seconds, 1 to {FUNCTION_SECONDS_MAX}"),
            |seconds| (1..=FUNCTION_SECONDS_MAX).contains(seconds),
        );
        let target_attempts_max = env.required_if(
            "TARGET_ATTEMPTS_MAX",
            &format!("a number, 1 to {ATTEMPTS_MAX}"),
            |number| (1..=ATTEMPTS_MAX).contains(number),
        );
        let replay_hops_max =
            env.required_if("REPLAY_HOPS_MAX", &format!("a number, 0 to {HOPS_MAX}"), |&number| {
                number <= HOPS_MAX
            });
        let function_name = env.required("AWS_LAMBDA_FUNCTION_NAME", "the function's name");
        Some(Self {
            stream_name: stream_name?,
            records_per_second: records_per_second?,
            bytes_per_second: bytes_per_second?,
            shards_at_once: shards_at_once?,
            target_timeout: Duration::from_secs(target_timeout_seconds?),
            target_attempts_max: target_attempts_max?,
            replay_hops_max: replay_hops_max?,
            function_name: function_name?,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What the tests of the other modules replay with.
    pub(crate) fn config() -> Config {
        Config {
            stream_name: "logs".to_owned(),
            records_per_second: 1_000,
            bytes_per_second: 1_000_000,
            shards_at_once: 4,
            target_timeout: Duration::from_secs(60),
            target_attempts_max: 10,
            replay_hops_max: 16,
            function_name: "stream-replayer".to_owned(),
        }
    }

    #[test]
    fn every_variable_that_is_missing_or_wrong_is_named() {
        let lookup = |name: &str| match name {
            "SHARDS_AT_ONCE" => Some("33".to_owned()),
            "REPLAY_HOPS_MAX" => Some("many".to_owned()),
            "BYTES_PER_SECOND" => Some("0".to_owned()),
            _ => None,
        };
        let mut env = EnvReader::new(&lookup);
        let config = Config::read(&mut env);
        let problems = env.finish(config).expect_err("nothing is right").0;
        for name in [
            "STREAM_NAME is not set",
            "RECORDS_PER_SECOND is not set",
            "BYTES_PER_SECOND = \"0\"",
            "SHARDS_AT_ONCE = \"33\"",
            "TARGET_TIMEOUT_SECONDS is not set",
            "TARGET_ATTEMPTS_MAX is not set",
            "REPLAY_HOPS_MAX = \"many\"",
            "AWS_LAMBDA_FUNCTION_NAME is not set",
        ] {
            assert!(
                problems.iter().any(|problem| problem.starts_with(name)),
                "{name}: {problems:?}"
            );
        }
        assert_eq!(problems.len(), 8);
    }
}
