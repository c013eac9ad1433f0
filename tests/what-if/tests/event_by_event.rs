//! The fluid against the event-by-event model: the real log processor carries real events through
//! Lambda's queue while the real scaling functions reshard the stream; the fluid plays the same
//! traffic. Cost and lag agree.
//!
//! Shards are a hundredth of AWS's, so that some megabytes are a flood.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use log_processor::config::TransformName;
use log_processor::{Config, Ports, Processor};
use scale_down::ScaleDown;
use scale_up::ScaleUp;
use simulator::run::{PROCESSOR, STREAM, alarm_event, config, create_alarms};
use simulator::scenario::parse;
use sluice::ports::{Clock, EmitMetrics};
use sluice::records::{PartitionBy, RecordFormat};
use sluice::scaling::ScalingConfig;
use sluice_cloud::cloud::ProcessorSpec;
use sluice_cloud::consumer::events_of;
use sluice_cloud::fluid::percentile;
use sluice_cloud::functions::Failure;
use sluice_cloud::{
    Account, AsyncFunction, Asynchronous, Cloud, CloudMetrics, Control, Queue, Stream,
    StreamLimits, VirtualClock, logs,
};
use tokio::task::LocalSet;
use what_if::policies::sluice::{Parameters, Sluice};
use what_if::trace::Trace;
use what_if::waiting::Path;
use what_if::world::{Settings, World};

const SHARD_BYTES_PER_SECOND: u64 = 10_000;
/// Processors that share one of AWS's shards, which makes one of ours for each.
const PROCESSORS_PER_AWS_SHARD: u32 = 100;
const MESSAGES_PER_PAYLOAD: usize = 5;
const TIMEOUT_MS: u64 = 60_000;
const HOURS: u64 = 1;
const SHARDS_BEGIN: u32 = 2;

struct Silent;

impl EmitMetrics for Silent {
    fn emit(&self, _: &str) {}
}

/// What one model says.
#[derive(Debug)]
struct Said {
    shard_hours: f64,
    lag_p99: u64,
    bytes: f64,
    payloads: f64,
}

type SimulatedProcessor = Processor<&'static Stream, &'static Queue, VirtualClock, CloudMetrics>;

fn processor(cloud: &'static Rc<Cloud>, queue: &'static Queue) -> SimulatedProcessor {
    let config = Config {
        stream_name: STREAM.to_owned(),
        dead_letter_queue_url: Some("https://queue.example".to_owned()),
        quarantine_queue_url: None,
        transform: TransformName::Passthrough,
        record_format: RecordFormat::Kpl,
        record_bytes_target: 2_000,
        partition_by: PartitionBy::Even,
        concurrency_per_shard: PROCESSORS_PER_AWS_SHARD,
        put_attempts_max: 10,
        function_name: PROCESSOR.to_owned(),
        log_group_name: None,
    };
    let ports = Ports {
        stream: &cloud.stream,
        queue: Some(queue),
        quarantine: None,
        clock: cloud.clock(),
        metrics: CloudMetrics::new(Rc::clone(cloud)),
    };
    Processor::new(config, ports, Rng::with_seed(1))
}

fn start_processor(cloud: &'static Rc<Cloud>, queue: &'static Queue) -> Rc<AsyncFunction> {
    let idle: Rc<RefCell<Vec<SimulatedProcessor>>> = Rc::default();
    let handler = move |event: String| {
        let idle = Rc::clone(&idle);
        async move {
            let warm = idle.borrow_mut().pop();
            let mut environment = warm.unwrap_or_else(|| processor(cloud, queue));
            let deadline_ms = cloud.clock().epoch_ms() + TIMEOUT_MS;
            let handled = environment.handle(&event, deadline_ms).await;
            idle.borrow_mut().push(environment);
            handled.map(|_| "{}".to_owned()).map_err(|error| Failure::from(error.to_string()))
        }
        .boxed_local()
    };
    AsyncFunction::start(Rc::clone(cloud), PROCESSOR, Asynchronous::default(), Rc::new(handler))
}

fn start_scaling(
    cloud: &'static Rc<Cloud>,
    config: &ScalingConfig,
) -> (Rc<AsyncFunction>, Rc<AsyncFunction>) {
    let up_config = config.clone();
    let up = move |event: String| {
        let control = Control::new(Rc::clone(cloud), "scale-up");
        let function = ScaleUp::new(up_config.clone(), control, cloud.clock(), Silent);
        async move {
            let handled = function.handle(&event).await;
            handled.map(|()| "null".to_owned()).map_err(|error| Failure::from(error.to_string()))
        }
        .boxed_local()
    };
    let down_config = config.clone();
    let down = move |event: String| {
        let control = Control::new(Rc::clone(cloud), "scale-down");
        let function = ScaleDown::new(down_config.clone(), control, cloud.clock(), Silent);
        async move {
            let handled = function.handle(&event).await;
            handled.map(|()| "null".to_owned()).map_err(|error| Failure::from(error.to_string()))
        }
        .boxed_local()
    };
    (
        AsyncFunction::start(Rc::clone(cloud), "scale-up", Asynchronous::default(), Rc::new(up)),
        AsyncFunction::start(
            Rc::clone(cloud),
            "scale-down",
            Asynchronous::default(),
            Rc::new(down),
        ),
    )
}

/// Real events; `payloads` come in each second.
async fn event_by_event(payloads: fn(u64) -> usize, config: ScalingConfig) -> Said {
    let clock = VirtualClock::begin();
    let limits =
        StreamLimits { shard_bytes_per_second: SHARD_BYTES_PER_SECOND, ..StreamLimits::default() };
    let mut account = Account::new(1_000);
    account.create_function(PROCESSOR, Some(SHARDS_BEGIN));
    account.create_function("scale-up", None);
    account.create_function("scale-down", None);
    let spec = ProcessorSpec { function: PROCESSOR.to_owned(), event_bytes: 1.0 };
    let stream = Stream::with_limits(clock, SHARDS_BEGIN as usize, limits);
    // The handlers' futures are 'static; the world of one test may live as long.
    let cloud: &'static Rc<Cloud> =
        Box::leak(Box::new(Rc::new(Cloud::new(clock, STREAM, stream, account, spec, false, 1))));
    let queue: &'static Queue = Box::leak(Box::new(Queue::new(clock)));
    let scenario = scenario();
    create_alarms(cloud, &scenario, &config.policy, SHARDS_BEGIN);
    let processors = start_processor(cloud, queue);
    let (scale_up, scale_down) = start_scaling(cloud, &config);

    let mut rng = Rng::with_seed(1);
    let mut made_ms: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let (mut shard_seconds, mut sent) = (0.0, 0);
    for second in 0..HOURS * 3_600 {
        for _ in 0..payloads(second) {
            let delay_ms = rng.u64(..1_000);
            let now_ms = clock.epoch_ms() + delay_ms;
            let messages: Vec<String> = (0..MESSAGES_PER_PAYLOAD)
                .map(|place| format!("{:08} {}", made_ms.len() + place, "x".repeat(191)))
                .collect();
            let payload = logs::payload(&messages, now_ms);
            made_ms.extend(messages.into_iter().map(|message| (message.into_bytes(), now_ms)));
            processors.invoke(logs::event(&payload), delay_ms);
            sent += 1;
        }
        clock.sleep(Duration::from_secs(1)).await;
        cloud.catch_up();
        shard_seconds += f64::from(cloud.stream.open_shards());
        for (_, alarm) in cloud.take_fired() {
            scale_up.invoke(alarm_event(&alarm), 0);
        }
        if second % 60 == 59 {
            cloud.publish_counts(PROCESSOR, processors.take_counts());
            scale_up.invoke(r#"{"wake":"reconcile"}"#.to_owned(), 30_000);
        }
        if second % 600 == 599 {
            scale_down.invoke(r#"{"wake":"off-peak"}"#.to_owned(), 20_000);
        }
    }
    while processors.in_flight() > 0 {
        clock.sleep(Duration::from_secs(1)).await;
    }
    assert!(queue.messages().is_empty(), "{} dead letters", queue.messages().len());
    let (mut lags, mut bytes) = (Vec::new(), 0.0);
    for stored in cloud.stream.records() {
        bytes += stored.record.bytes() as f64;
        for event in events_of(&stored.record.data, &stored.record.partition_key) {
            lags.push(((stored.epoch_ms - made_ms[&event]) / 1_000, 1.0));
        }
    }
    assert_eq!(lags.len(), made_ms.len(), "every event arrives");
    let lag_p99 = percentile(&mut lags, 99.0);
    Said { shard_hours: shard_seconds / 3_600.0, lag_p99, bytes, payloads: f64::from(sent) }
}

fn scenario() -> simulator::scenario::Scenario {
    parse(
        "event-by-event",
        r#"
            why = "Real events beside the fluid."
            hours = 1.0
            traffic = { megabytes_per_second = [] }
            world = { fast_alarm = false }
            policy = { processor_megabytes_per_second = 0.01, shard_count_max = 16 }
            accepts = { shards_max = [1, 16], calls = [0, 10], lag_seconds_max = 7200 }
        "#,
    )
    .expect("a scenario")
}

/// The fluid with the same traffic, payloads and policy.
fn fluid(payloads: fn(u64) -> usize, config: &ScalingConfig, real: &Said) -> Said {
    let payload_bytes = real.bytes / real.payloads;
    let seconds = HOURS * 3_600;
    let trace = Trace {
        name: "fluid".to_owned(),
        step_seconds: 1,
        begins_at_second: 0,
        bytes_per_second: (0..seconds).map(|s| payloads(s) as f64 * payload_bytes).collect(),
        refused_records: None,
        record_bytes: None,
    };
    let limits =
        StreamLimits { shard_bytes_per_second: SHARD_BYTES_PER_SECOND, ..StreamLimits::default() };
    let settings = Settings {
        seed: 1,
        payload_bytes,
        record_bytes: payload_bytes,
        event_bytes: 200.0,
        readers: 1.0,
        shards_max: 16,
        limits,
    };
    let parameters =
        Parameters { policy: config.policy.clone(), fast_alarm: false, off_peak_hours: (0, 24) };
    let world = World::new(&trace, &settings, Path::LambdaRetries, SHARDS_BEGIN);
    let outcome = world.play("sluice", &mut Sluice::new(parameters));
    Said {
        shard_hours: outcome.shard_hours,
        lag_p99: outcome.lag_p99,
        bytes: trace.bytes(),
        payloads: real.payloads,
    }
}

fn compare(payloads: fn(u64) -> usize) {
    let scenario = scenario();
    let config = config(&scenario, &scenario.policy.policy());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let real = LocalSet::new().block_on(&runtime, event_by_event(payloads, config.clone()));
    let fluid = fluid(payloads, &config, &real);
    let cost = fluid.shard_hours / real.shard_hours;
    assert!((0.99..=1.01).contains(&cost), "{cost}: {real:?} {fluid:?}");
    let apart = fluid.lag_p99.abs_diff(real.lag_p99) as f64;
    let is_close = apart <= 1.0_f64.max(real.lag_p99 as f64 * 0.05);
    assert!(is_close, "{real:?} {fluid:?}");
}

#[test]
fn a_load_that_fits_costs_and_lags_the_same() {
    compare(|_| 6);
}

#[test]
#[ignore = "not yet: 9 % more shard-hours and 7 % less lag p99 than the events, in one hour"]
fn a_flood_that_is_scaled_for_costs_and_lags_the_same() {
    compare(|second| if (600..1_500).contains(&second) { 30 } else { 6 });
}
