//! The scaling functions' environment, parsed once. Defaults live in `infra/autoscaling.yaml` alone.

use sluice::config::EnvReader;
use sluice::limits::{CONCURRENCY_PER_SHARD_MAX, SHARDS_MAX};
use sluice::scaling::{Policy, Rate, ShardLevelMetrics};

/// The names of the stream's alarms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmNames {
    /// On IncomingBytes.
    pub bytes: String,
    /// On IncomingRecords.
    pub records: String,
    /// On WriteProvisionedThroughputExceeded.
    pub refused: String,
    /// On the processors' own high-resolution `WantedBytes`.
    pub fast: Option<String>,
}

/// What a scaling function is told.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalingConfig {
    /// The stream.
    pub stream_name: String,
    /// What is wanted.
    pub policy: Policy,
    /// Functions whose concurrency follows the shards, each with its share of it.
    pub functions: Vec<(String, f64)>,
    /// The stream's alarms.
    pub alarms: AlarmNames,
    /// Who switches the metrics of each shard.
    pub shard_level_metrics: ShardLevelMetrics,
    /// Decide and report only.
    pub dry_run: bool,
    /// Whether the scaling functions and the processors reserve concurrency. Where they do not, a
    /// lease keeps one scaler at a time, and the processors' concurrency follows nothing.
    pub reserve_concurrency: bool,
    /// The scaling functions' timeout, which a lease outlasts.
    pub timeout_seconds: u64,
}

impl ScalingConfig {
    /// Reads the variables; problems stay with `env`.
    pub fn read(env: &mut EnvReader<'_>) -> Option<Self> {
        let shards = format!("a number of shards, 1 to {SHARDS_MAX}");
        let mut shard_count =
            |name| env.required_if(name, &shards, |count| (1..=SHARDS_MAX as u32).contains(count));
        let shard_count_default = shard_count("SHARD_COUNT_DEFAULT");
        let shard_count_min = shard_count("SHARD_COUNT_MIN");
        let shard_count_max = shard_count("SHARD_COUNT_MAX");
        let percent = "a percentage, 1 to 100";
        let is_percent = |value: &f64| (1.0..=100.0).contains(value);
        let target = env.required_if("TARGET_UTILIZATION", percent, is_percent);
        let down_max = env.required_if("UTILIZATION_DOWN_MAX", percent, is_percent);
        let positive = |value: &f64| value.is_finite() && *value > 0.0;
        let bytes =
            env.required_if("PROCESSOR_BYTES_PER_SECOND", "bytes a second, above 0", positive);
        let records =
            env.required_if("PROCESSOR_RECORDS_PER_SECOND", "records a second, above 0", positive);
        let concurrency_per_shard = env.required_if(
            "CONCURRENCY_PER_SHARD",
            &format!("a number, 1 to {CONCURRENCY_PER_SHARD_MAX}"),
            |number| (1..=CONCURRENCY_PER_SHARD_MAX).contains(number),
        );
        let reshard_calls_max =
            env.required_if("RESHARD_CALLS_MAX", "calls in 24 hours, 1 to 100", |calls| {
                (1..=100).contains(calls)
            });
        let reshards_kept_for_up =
            env.required_if("RESHARDS_KEPT_FOR_UP", "calls, 0 to 100", |calls| *calls <= 100);
        let reshards_kept_for_down =
            env.required_if("RESHARDS_KEPT_FOR_DOWN", "calls, 0 to 100", |calls| *calls <= 100);
        let calm_minutes_per_call =
            env.required_if("CALM_MINUTES_PER_CALL", "minutes, 0 to 120", |minutes| {
                *minutes <= 120
            });
        let drain_seconds =
            env.required_if("DRAIN_SECONDS", "seconds, 1 to 21600", |seconds: &f64| {
                (1.0..=21_600.0).contains(seconds)
            });
        let lag_seconds_max: Option<u64> =
            env.required_if("LAG_SECONDS_MAX", "seconds, 1 to 86400", |seconds| {
                (1..=86_400).contains(seconds)
            });
        let look_back_minutes =
            env.required_if("LOOK_BACK_MINUTES", "minutes, 5 to 180", |minutes| {
                (5..=180).contains(minutes)
            });
        let functions: Option<Functions> = env.optional_if(
            "PROCESSOR_FUNCTIONS",
            "function names with commas between them, each with an optional share as in name=0.5; \
             the shares add up to 1 at the most",
            |_| true,
        );
        let mut alarm = |name| env.required::<String>(name, "an alarm's name");
        let alarm_bytes = alarm("ALARM_BYTES");
        let alarm_records = alarm("ALARM_RECORDS");
        let alarm_refused = alarm("ALARM_REFUSED");
        let stream_name = env.required("STREAM_NAME", "the name of a Kinesis data stream");
        let shard_level_metrics = env.required("SHARD_LEVEL_METRICS", "auto, true or false");
        let dry_run = env.required("DRY_RUN", "true or false");
        let reserve_concurrency = env.required("RESERVE_CONCURRENCY", "true or false");
        let timeout_seconds: Option<u64> =
            env.required_if("TIMEOUT_SECONDS", "seconds, 1 to 900", |seconds| {
                (1..=900).contains(seconds)
            });
        let (default, min, max) = (shard_count_default?, shard_count_min?, shard_count_max?);
        if !(min <= default && default <= max) {
            env.reject(
                "SHARD_COUNT_DEFAULT",
                &default.to_string(),
                &format!("between SHARD_COUNT_MIN ({min}) and SHARD_COUNT_MAX ({max})"),
            );
        }
        let (target, down_max) = (target?, down_max?);
        if down_max >= target {
            env.reject(
                "UTILIZATION_DOWN_MAX",
                &down_max.to_string(),
                &format!(
                    "below TARGET_UTILIZATION ({target}): a halving must not cause a doubling"
                ),
            );
        }
        Some(Self {
            stream_name: stream_name?,
            policy: Policy {
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
                lag_ms_max: lag_seconds_max? * 1_000,
            },
            functions: functions.map(|Functions(functions)| functions).unwrap_or_default(),
            alarms: AlarmNames {
                bytes: alarm_bytes?,
                records: alarm_records?,
                refused: alarm_refused?,
                fast: env.optional("ALARM_FAST"),
            },
            shard_level_metrics: shard_level_metrics?,
            dry_run: dry_run?,
            reserve_concurrency: reserve_concurrency?,
            timeout_seconds: timeout_seconds?,
        })
    }
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
                Some((name, share)) => (name, share.parse().map_err(|_| "a share is no number")?),
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
