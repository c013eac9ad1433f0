//! The scaling functions' environment, parsed once. Defaults live in `infra/autoscaling.yaml` alone.

use std::ops::RangeInclusive;

use sluice::config::EnvReader;
use sluice::limits::{CONCURRENCY_PER_SHARD_MAX, SHARDS_MAX};
use sluice::scaling::{Policy, Rate, ShardLevelMetrics};

/// The names of the stream's alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmNames {
    /// The alarm on the stream's `IncomingBytes`.
    pub bytes: String,
    /// The alarm on the stream's `IncomingRecords`.
    pub records: String,
    /// The alarm on the stream's `WriteProvisionedThroughputExceeded`.
    pub refused: String,
    /// The alarm on the processors' own high-resolution `WantedBytes`.
    pub fast: Option<String>,
}

/// The configuration of a scaling function.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingConfig {
    /// The Kinesis data stream to scale.
    pub stream_name: String,
    /// The parameters that the decisions go by.
    pub policy: Policy,
    /// Functions whose concurrency follows the shards, each with its share of it.
    pub functions: Vec<(String, f64)>,
    /// The alarms that may invoke scale-up.
    pub alarms: AlarmNames,
    /// Who switches the metrics of each shard.
    pub shard_level_metrics: ShardLevelMetrics,
    /// Decide and report only.
    pub dry_run: bool,
    /// Whether the scaling functions and the processors reserve concurrency. Where they do not, a
    /// lease keeps two invocations from acting at once, and the processors' concurrency follows
    /// nothing.
    pub reserve_concurrency: bool,
    /// The scaling functions' timeout, which a lease outlasts.
    pub timeout_seconds: u64,
}

impl ScalingConfig {
    /// Reads the variables; problems stay with `env`, so that all are named at once.
    pub fn read(env: &mut EnvReader<'_>) -> Option<Self> {
        let policy = read_policy(env);
        let functions: Option<Functions> = env.optional_if(
            "PROCESSOR_FUNCTIONS",
            "function names with commas between them, each with an optional share as in name=0.5; \
             the shares add up to 1 at the most",
            |_| true,
        );
        let alarms = AlarmNames::read(env);
        let stream_name = env.required("STREAM_NAME", "the name of a Kinesis data stream");
        let shard_level_metrics = env.required("SHARD_LEVEL_METRICS", "auto, true or false");
        let dry_run = env.required("DRY_RUN", "true or false");
        let reserve_concurrency = env.required("RESERVE_CONCURRENCY", "true or false");
        let timeout_seconds =
            env.required_if("TIMEOUT_SECONDS", "seconds, 1 to 900", |s| (1..=900).contains(s));
        Some(Self {
            stream_name: stream_name?,
            policy: policy?,
            functions: functions.map(|Functions(functions)| functions).unwrap_or_default(),
            alarms: alarms?,
            shard_level_metrics: shard_level_metrics?,
            dry_run: dry_run?,
            reserve_concurrency: reserve_concurrency?,
            timeout_seconds: timeout_seconds?,
        })
    }
}

impl AlarmNames {
    fn read(env: &mut EnvReader<'_>) -> Option<Self> {
        let mut alarm = |name| env.required::<String>(name, "an alarm's name");
        let (bytes, records) = (alarm("ALARM_BYTES"), alarm("ALARM_RECORDS"));
        let refused = alarm("ALARM_REFUSED");
        let fast = env.optional("ALARM_FAST");
        Some(Self { bytes: bytes?, records: records?, refused: refused?, fast })
    }
}

fn read_policy(env: &mut EnvReader<'_>) -> Option<Policy> {
    let shard_counts = read_shard_counts(env);
    let utilizations = read_utilizations(env);
    let positive = |value: &f64| value.is_finite() && *value > 0.0;
    let bytes = env.required_if("PROCESSOR_BYTES_PER_SECOND", "bytes a second, above 0", positive);
    let records =
        env.required_if("PROCESSOR_RECORDS_PER_SECOND", "records a second, above 0", positive);
    let concurrency_per_shard = env.required_if(
        "CONCURRENCY_PER_SHARD",
        &format!("a number, 1 to {CONCURRENCY_PER_SHARD_MAX}"),
        |number| (1..=CONCURRENCY_PER_SHARD_MAX).contains(number),
    );
    let mut number = |name, form, range: RangeInclusive<u32>| {
        env.required_if(name, form, |number| range.contains(number))
    };
    let reshard_calls_max = number("RESHARD_CALLS_MAX", "calls in 24 hours, 1 to 100", 1..=100);
    let reshards_kept_for_up = number("RESHARDS_KEPT_FOR_UP", "calls, 0 to 100", 0..=100);
    let reshards_kept_for_down = number("RESHARDS_KEPT_FOR_DOWN", "calls, 0 to 100", 0..=100);
    let calm_minutes_per_call = number("CALM_MINUTES_PER_CALL", "minutes, 0 to 120", 0..=120);
    let lag_seconds_max = number("LAG_SECONDS_MAX", "seconds, 1 to 86400", 1..=86_400);
    let look_back_minutes = number("LOOK_BACK_MINUTES", "minutes, 5 to 180", 5..=180);
    let drain_seconds = env.required_if("DRAIN_SECONDS", "seconds, 1 to 21600", |seconds| {
        (1.0..=21_600.0).contains(seconds)
    });
    let ((min, default, max), (target, down_max)) = (shard_counts?, utilizations?);
    Some(Policy {
        shard_count_default: default,
        shard_count_min: min,
        shard_count_max: max,
        target_utilization: target / 100.0,
        sent_by_processor: Rate { bytes: bytes?, records: records? },
        concurrency_per_shard: concurrency_per_shard?,
        reshard_calls_max: reshard_calls_max?,
        reshards_kept_for_up: reshards_kept_for_up?,
        reshards_kept_for_down: reshards_kept_for_down?,
        look_back_minutes: look_back_minutes?,
        calm_minutes_per_call: calm_minutes_per_call?,
        drain_seconds: drain_seconds?,
        utilization_down_max: down_max / 100.0,
        lag_ms_max: u64::from(lag_seconds_max?) * 1_000,
    })
}

/// Minimum, default and maximum.
fn read_shard_counts(env: &mut EnvReader<'_>) -> Option<(u32, u32, u32)> {
    let shards = format!("a number of shards, 1 to {SHARDS_MAX}");
    let mut shard_count =
        |name| env.required_if(name, &shards, |count| (1..=SHARDS_MAX as u32).contains(count));
    let default = shard_count("SHARD_COUNT_DEFAULT");
    let (min, max) = (shard_count("SHARD_COUNT_MIN"), shard_count("SHARD_COUNT_MAX"));
    let (min, default, max) = (min?, default?, max?);
    if !(min <= default && default <= max) {
        let form = format!("between SHARD_COUNT_MIN ({min}) and SHARD_COUNT_MAX ({max})");
        env.reject("SHARD_COUNT_DEFAULT", &default.to_string(), &form);
    }
    Some((min, default, max))
}

/// The target and scale-down's maximum, in percent.
fn read_utilizations(env: &mut EnvReader<'_>) -> Option<(f64, f64)> {
    let mut percent = |name| {
        env.required_if(name, "a percentage, 1 to 100", |value: &f64| (1.0..=100.0).contains(value))
    };
    let (target, down_max) = (percent("TARGET_UTILIZATION"), percent("UTILIZATION_DOWN_MAX"));
    let (target, down_max) = (target?, down_max?);
    if down_max >= target {
        let form =
            format!("below TARGET_UTILIZATION ({target}): a halving must not cause a doubling");
        env.reject("UTILIZATION_DOWN_MAX", &down_max.to_string(), &form);
    }
    Some((target, down_max))
}

/// `name=0.5,other=0.5`; a name alone has the share 1.
struct Functions(Vec<(String, f64)>);

impl std::str::FromStr for Functions {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut functions = Vec::new();
        for entry in text.split(',').map(str::trim) {
            let (name, share) = match entry.split_once('=') {
                None => (entry, 1.0),
                Some((name, share)) => {
                    (name, share.parse().map_err(|_| "a share is not a number")?)
                }
            };
            if name.is_empty() || !(share > 0.0 && share <= 1.0) {
                return Err("a function without a name or with a share outside 0 to 1");
            }
            functions.push((name.to_owned(), share));
        }
        let shares: f64 = functions.iter().map(|(_, share)| share).sum();
        if shares > 1.0 + 1e-9 {
            Err("the shares add up to more than 1")
        } else {
            Ok(Self(functions))
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A configuration of at most 64 shards that reserves nothing.
    pub fn config() -> ScalingConfig {
        let lookup = |name: &str| {
            let value = match name {
                "SHARD_COUNT_MAX" => "64",
                "TARGET_UTILIZATION" => "80",
                "PROCESSOR_BYTES_PER_SECOND" => "1000000",
                "PROCESSOR_RECORDS_PER_SECOND" => "1000",
                "RESHARD_CALLS_MAX" => "10",
                "LOOK_BACK_MINUTES" => "15",
                "SHARD_LEVEL_METRICS" | "DRY_RUN" | "RESERVE_CONCURRENCY" => "false",
                "PROCESSOR_FUNCTIONS" => return None,
                _ => "1",
            };
            Some(value.to_owned())
        };
        let mut env = EnvReader::new(&lookup);
        let config = ScalingConfig::read(&mut env);
        env.finish(config).expect("a configuration")
    }
}
