//! Looks at the world: as little as the invocation needs.

use std::collections::BTreeMap;

use tracing::warn;

use sluice::scaling::decide::needs_load;
use sluice::scaling::evenness::shards_to_fill;
use sluice::scaling::observation::{AlarmLimit, MinuteLoad};
use sluice::scaling::shard_metrics::{SHARD_METRICS_READ, Switched, TAG_SHARD_METRICS};
use sluice::scaling::state::{State, TAG_FLOOR};
use sluice::scaling::{
    AlarmSeen, FunctionSeen, Lease, Load, Observation, Rate, ShardLevelMetrics, ShardLoad,
    ShardMetricsSeen, StreamStatus,
};

use crate::ScalingConfig;
use crate::event::Event;
use sluice::ports::{Alarm, ControlError, ControlPlane, DataPoint, MetricQuery};
use sluice::quote;
use sluice::telemetry::NAMESPACE;

/// A minute in milliseconds; metrics are read at this period.
const MINUTE_MS: u64 = 60_000;

/// Minutes that ages and lags are taken over: they are about now, not about the look-back.
const MINUTES_NOW: u64 = 5;

/// Looks at the stream, its tags, the alarms, the functions and how wide the shards are; at metrics
/// and the load of single shards only when they can change the decision. Metrics that cannot be read
/// are no load, not an error.
pub async fn observe<W: ControlPlane>(
    world: &W,
    config: &ScalingConfig,
    event: Event,
    now_ms: u64,
) -> Result<Observation, ControlError> {
    let summary = world.describe_stream().await.map_err(|error| advise(error, config))?;
    let tags = world.list_tags().await?;
    let state = State::from_tags(&tags);
    if let Some(tag) = tags.get(TAG_FLOOR).filter(|&tag| tag != "0" && state.floor.is_none()) {
        warn!(tag = TAG_FLOOR, value = %quote(tag), "ignoring a malformed tag; no planned floor is in force");
    }
    let switched = tags.get(TAG_SHARD_METRICS).map(|tag| Switched::from_tag(tag));
    let alarms = describe_alarms(world, config).await?;
    let mut seen = Observation {
        now_ms,
        trigger: event.trigger,
        off_peak: event.off_peak,
        status: summary.status,
        open_shards: summary.open_shards,
        goal: state.goal,
        is_goal_ordered: state.is_goal_ordered,
        floor: state.floor,
        reshards: state.reshards,
        functions: observe_functions(world, config).await?,
        lease: Lease::from_tags(&tags),
        reservable_concurrency: None,
        alarms,
        load: None,
        shards: None,
        shard_metrics: ShardMetricsSeen {
            mode: config.shard_level_metrics,
            on: summary.shard_metrics,
            switched: switched.unwrap_or_default(),
        },
    };
    if seen.status == StreamStatus::Active {
        // Free, and not worth failing for.
        let shards = world.list_open_shards().await.inspect_err(
            |error| warn!(%error, "ListShards failed; deciding without per-shard data"),
        );
        let load = |shard| ShardLoad { shard, offered: None };
        seen.shards = shards.ok().map(|shards| shards.into_iter().map(load).collect());
    }
    if needs_load(&seen) {
        let load = read_load(world, config, &seen.functions, now_ms).await;
        seen.load = load
            .inspect_err(|error| warn!(%error, "GetMetricData failed; deciding without the load"))
            .ok();
    }
    read_single_shards(world, config, &mut seen).await;
    let rises = seen.functions.iter().any(|function| {
        let wanted = config.policy.concurrency(shards_to_fill(&seen), function.share);
        function.exists
            && function.mapping.is_none()
            && function.reserved.is_none_or(|reserved| reserved < wanted)
    });
    if rises {
        let reservable = world.get_reservable_concurrency().await.inspect_err(
            |error| warn!(%error, "GetAccountSettings failed; deciding without the account's limit"),
        );
        seen.reservable_concurrency = reservable.ok();
    }
    Ok(seen)
}

/// Looks at what limits each function: the mapping of the queue before it, or its reservation.
async fn observe_functions<W: ControlPlane>(
    world: &W,
    config: &ScalingConfig,
) -> Result<Vec<FunctionSeen>, ControlError> {
    let mut functions = Vec::new();
    for (name, share) in &config.functions {
        let mapping = match world.find_queue_mapping(name).await {
            Ok(mapping) => mapping,
            Err(error) if error.code == "ResourceNotFoundException" => None,
            Err(error) => {
                // A reservation of a function behind a queue would spend its messages' receipts.
                warn!(function = name, %error, "ListEventSourceMappings failed; its concurrency stays as it is");
                continue;
            }
        };
        let (reserved, exists) = if mapping.is_some() {
            (None, true)
        } else if !config.reserve_concurrency {
            continue;
        } else {
            match world.get_reserved_concurrency(name).await {
                Ok(reserved) => (reserved, true),
                Err(error) if error.code == "ResourceNotFoundException" => (None, false),
                Err(error) => return Err(error),
            }
        };
        let name = name.clone();
        functions.push(FunctionSeen { name, share: *share, reserved, exists, mapping });
    }
    Ok(functions)
}

/// Says what to do about a stream that is not there.
fn advise(mut error: ControlError, config: &ScalingConfig) -> ControlError {
    if error.code == "ResourceNotFoundException" {
        error.detail = format!(
            "there is no stream {}: create it again, or give the stack another stream ({})",
            config.stream_name, error.detail
        );
    }
    error
}

async fn describe_alarms<W: ControlPlane>(
    world: &W,
    config: &ScalingConfig,
) -> Result<Vec<AlarmSeen>, ControlError> {
    let names = &config.alarms;
    let mut limits = vec![
        (names.bytes.clone(), AlarmLimit::Bytes),
        (names.records.clone(), AlarmLimit::Records),
        (names.refused.clone(), AlarmLimit::Refused),
    ];
    limits.extend(names.fast.clone().map(|name| (name, AlarmLimit::Bytes)));
    let all: Vec<String> = limits.iter().map(|(name, _)| name.clone()).collect();
    let described = world.describe_alarms(&all).await?;
    let seen = |alarm: Alarm| {
        let limit = limits.iter().find(|(name, _)| *name == alarm.name)?.1;
        let Alarm { name, state, threshold, period_seconds } = alarm;
        Some(AlarmSeen { name, limit, state, threshold, period_seconds })
    };
    Ok(described.into_iter().filter_map(seen).collect())
}

/// Whether a single shard may have to be split.
fn may_split(config: &ScalingConfig, seen: &Observation) -> bool {
    let calls_gone = seen.reshards.left(seen.now_ms, config.policy.reshard_calls_max) == 0;
    seen.is_refusing() || (calls_gone && (needs_load(seen) || seen.goal.is_some()))
}

fn of_stream(config: &ScalingConfig, name: &str, statistic: &str) -> MetricQuery {
    MetricQuery {
        namespace: "AWS/Kinesis".to_owned(),
        name: name.to_owned(),
        dimensions: vec![("StreamName".to_owned(), config.stream_name.clone())],
        statistic: statistic.to_owned(),
    }
}

fn of_function(function: &str, name: &str, statistic: &str) -> MetricQuery {
    MetricQuery {
        namespace: "AWS/Lambda".to_owned(),
        name: name.to_owned(),
        dimensions: vec![("FunctionName".to_owned(), function.to_owned())],
        statistic: statistic.to_owned(),
    }
}

fn of_queue(queue: &str, name: &str, statistic: &str) -> MetricQuery {
    MetricQuery {
        namespace: "AWS/SQS".to_owned(),
        name: name.to_owned(),
        dimensions: vec![("QueueName".to_owned(), queue.to_owned())],
        statistic: statistic.to_owned(),
    }
}

/// How long the oldest payload before `function` has waited, how many came, and how many went: of the
/// queue before it, or of Lambda's own.
fn of_waiting(function: &str, queue: Option<&str>) -> [MetricQuery; 3] {
    match queue {
        Some(queue) => [
            of_queue(queue, "ApproximateAgeOfOldestMessage", "Maximum"),
            of_queue(queue, "NumberOfMessagesSent", "Sum"),
            of_queue(queue, "NumberOfMessagesDeleted", "Sum"),
        ],
        None => [
            of_function(function, "AsyncEventAge", "Maximum"),
            of_function(function, "AsyncEventsReceived", "Sum"),
            of_function(function, "Invocations", "Sum"),
        ],
    }
}

fn of_processor(
    config: &ScalingConfig,
    function: &str,
    name: &str,
    statistic: &str,
) -> MetricQuery {
    MetricQuery {
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        dimensions: vec![
            ("StreamName".to_owned(), config.stream_name.clone()),
            ("FunctionName".to_owned(), function.to_owned()),
        ],
        statistic: statistic.to_owned(),
    }
}

type Minutes = BTreeMap<u64, f64>;

fn by_minute(points: Vec<DataPoint>) -> Minutes {
    points.into_iter().map(|point| (point.epoch_ms / MINUTE_MS, point.value)).collect()
}

/// The greatest value of the minutes that are about now, as whole milliseconds.
fn latest_ms(minutes: &Minutes, now_ms: u64) -> u64 {
    let since = (now_ms / MINUTE_MS).saturating_sub(MINUTES_NOW);
    minutes.range(since..).map(|(_, &value)| value).fold(0.0, f64::max) as u64
}

async fn read_load<W: ControlPlane>(
    world: &W,
    config: &ScalingConfig,
    seen: &[FunctionSeen],
    now_ms: u64,
) -> Result<Load, ControlError> {
    let queries = load_queries(config, seen);
    let from_ms = now_ms.saturating_sub(u64::from(config.policy.calm_minutes_max()) * MINUTE_MS);
    let answer = world.get_metrics(&queries, from_ms, now_ms).await?;
    assert_eq!(answer.len(), queries.len(), "each query has its series, found by its place");
    let mut series = answer.into_iter().map(by_minute);
    let mut next = || series.next().unwrap_or_default();

    let (bytes, records, refused, iterator_age) = (next(), next(), next(), next());
    let mut load = Load { iterator_age_ms: latest_ms(&iterator_age, now_ms), ..Load::default() };
    let mut demand = Demand::new();
    for (function, _) in &config.functions {
        // SQS tells it in seconds, Lambda in milliseconds.
        let age_unit_ms = if queue_before(seen, function).is_some() { 1_000 } else { 1 };
        let (age, received, invocations) = (next(), next(), next());
        let (wanted_bytes, wanted_records, processing) = (next(), next(), next());
        let (queue_age_ms, processing_ms) =
            (latest_ms(&age, now_ms) * age_unit_ms, latest_ms(&processing, now_ms));
        load.queue_age_ms = load.queue_age_ms.max(queue_age_ms);
        // Not LagOut: events may be old when they come, and no shard makes them younger.
        load.lag_ms = load.lag_ms.max(queue_age_ms.saturating_add(processing_ms));
        add_demand(&mut demand, &wanted_bytes, &wanted_records, (&received, &invocations));
    }
    let open_shards = if minds_open_shards(config) { next() } else { Minutes::new() };
    let value = |series: &Minutes, minute: u64| series.get(&minute).copied().unwrap_or(0.0) / 60.0;
    load.minutes = (from_ms / MINUTE_MS..now_ms / MINUTE_MS + 1)
        .map(|minute| {
            let (sent, wanted) = demand.get(&minute).copied().unwrap_or_default();
            MinuteLoad {
                accepted: Rate { bytes: value(&bytes, minute), records: value(&records, minute) },
                refused_records: value(&refused, minute),
                sent,
                wanted,
                open_shards: None,
            }
        })
        .collect();
    // The last minutes have no data yet: they are not minutes without load.
    let silent = load.minutes.iter().rev().take_while(|minute| **minute == MinuteLoad::default());
    let silent = silent.count().min(load.minutes.len().saturating_sub(1));
    load.minutes.truncate(load.minutes.len() - silent);
    for (minute, load) in (from_ms / MINUTE_MS..).zip(&mut load.minutes) {
        load.open_shards = open_shards.get(&minute).map(|&shards| shards as u32);
    }
    Ok(load)
}

/// The queue before a function, if there is one.
fn queue_before<'a>(seen: &'a [FunctionSeen], function: &str) -> Option<&'a str> {
    let seen = seen.iter().find(|seen| seen.name == function)?;
    seen.mapping.as_ref().map(|mapping| mapping.queue.as_str())
}

/// Whether the minutes' open shards matter: only to those who judge single shards.
fn minds_open_shards(config: &ScalingConfig) -> bool {
    config.shard_level_metrics == ShardLevelMetrics::Auto
}

/// The metrics of the stream, of each function in turn, and the open shards where they matter.
fn load_queries(config: &ScalingConfig, seen: &[FunctionSeen]) -> Vec<MetricQuery> {
    let mut queries = vec![
        of_stream(config, "IncomingBytes", "Sum"),
        of_stream(config, "IncomingRecords", "Sum"),
        of_stream(config, "WriteProvisionedThroughputExceeded", "Sum"),
        of_stream(config, "GetRecords.IteratorAgeMilliseconds", "Maximum"),
    ];
    for (function, _) in &config.functions {
        queries.extend(of_waiting(function, queue_before(seen, function)));
        queries.extend([
            of_processor(config, function, "WantedBytes", "Sum"),
            of_processor(config, function, "WantedRecords", "Sum"),
            of_processor(config, function, "ProcessingTime", "p99"),
        ]);
    }
    if minds_open_shards(config) {
        queries.push(MetricQuery {
            namespace: NAMESPACE.to_owned(),
            ..of_stream(config, "OpenShards", "Minimum")
        });
    }
    queries
}

/// What all processors sent in each minute, and what came in for them.
type Demand = BTreeMap<u64, (Rate, Rate)>;

/// Adds one processor's demand. A payload that came in wants what those that were processed wanted
/// on average.
fn add_demand(
    demand: &mut Demand,
    wanted_bytes: &Minutes,
    wanted_records: &Minutes,
    (received, invocations): (&Minutes, &Minutes),
) {
    for (minute, &bytes) in wanted_bytes {
        let came_in = match (received.get(minute), invocations.get(minute)) {
            (Some(&received), Some(&invoked)) if invoked > 0.0 => received / invoked,
            _ => 1.0,
        };
        let records = wanted_records.get(minute).copied().unwrap_or(0.0);
        let rate = Rate { bytes: bytes / 60.0, records: records / 60.0 };
        let (sent, wanted) = demand.entry(*minute).or_default();
        *sent = sent.plus(rate);
        *wanted = wanted.plus(rate.times(came_in));
    }
}

/// Reads what single shards are offered, where one may have to be split: each metric read costs.
async fn read_single_shards<W: ControlPlane>(
    world: &W,
    config: &ScalingConfig,
    seen: &mut Observation,
) {
    if !may_split(config, seen) || !seen.shard_metrics.missing().is_empty() {
        return;
    }
    let mut loads: Vec<&mut ShardLoad> = seen.shards.iter_mut().flatten().collect();
    if loads.is_empty() {
        return;
    }
    let mut queries = Vec::new();
    for load in &loads {
        queries.extend(SHARD_METRICS_READ.map(|name| {
            let mut query = of_stream(config, name, "Sum");
            query.dimensions.push(("ShardId".to_owned(), load.shard.id.clone()));
            query
        }));
    }
    let from_ms = seen.now_ms.saturating_sub(MINUTES_NOW * MINUTE_MS);
    let answer = match world.get_metrics(&queries, from_ms, seen.now_ms).await {
        Ok(answer) => answer,
        Err(error) => {
            return warn!(%error, "GetMetricData failed; deciding without the load of single shards");
        }
    };
    for (load, series) in loads.iter_mut().zip(answer.chunks(SHARD_METRICS_READ.len())) {
        let peak = |place: usize| {
            let points = series.get(place).map(Vec::as_slice).unwrap_or_default();
            points.iter().map(|point| point.value / 60.0).fold(0.0, f64::max)
        };
        let (bytes, records, refused) = (peak(0), peak(1), peak(2));
        let record_bytes = if records > 0.0 { bytes / records } else { 0.0 };
        load.offered =
            Some(Rate { bytes: bytes + refused * record_bytes, records: records + refused });
    }
}
