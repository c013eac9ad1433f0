//! The real log processor carries real events while the real scale-up reshards the stream under
//! it: every event arrives, once.
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
use scale_up::ScaleUp;
use simulator::run::{PROCESSOR, STREAM, alarm_event, config, create_alarms};
use simulator::scenario::parse;
use sluice::ports::{Clock, EmitMetrics, PutError};
use sluice::records::{PartitionBy, RecordFormat};
use sluice_simulated::cloud::ProcessorSpec;
use sluice_simulated::consumer::events_of;
use sluice_simulated::functions::Failure;
use sluice_simulated::{
    Account, AsyncFunction, Asynchronous, Cloud, CloudMetrics, Control, Fault, Queue, Stream,
    StreamLimits, VirtualClock, logs,
};
use tokio::task::LocalSet;

const SHARD_BYTES_PER_SECOND: u64 = 10_000;
/// Processors that share one of AWS's shards, which makes one of ours for each.
const PROCESSORS_PER_AWS_SHARD: u32 = 100;
const MESSAGES_PER_PAYLOAD: usize = 25;
const TIMEOUT_MS: u64 = 60_000;
const SEED: u64 = 1;

/// Payloads that come in each second: at rest, a flood of six shards' worth, at rest.
fn payloads(second: u64) -> usize {
    match second {
        180..480 => 12,
        _ => 2,
    }
}

struct Silent;

impl EmitMetrics for Silent {
    fn emit(&self, _: &str) {}
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
        record_bytes_max: sluice::limits::RECORD_BYTES_MAX,
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
    Processor::new(config, ports, Rng::with_seed(SEED))
}

/// The processor behind Lambda's queue; execution environments live on.
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

fn start_scale_up(
    cloud: &'static Rc<Cloud>,
    config: sluice_autoscaler::ScalingConfig,
) -> Rc<AsyncFunction> {
    let handler = move |event: String| {
        let control = Control::new(Rc::clone(cloud), "scale-up");
        let function = ScaleUp::new(config.clone(), control, cloud.clock(), Silent, Rng::new());
        async move {
            let handled = function.handle(&event).await;
            handled.map(|()| "null".to_owned()).map_err(|error| Failure::from(error.to_string()))
        }
        .boxed_local()
    };
    AsyncFunction::start(Rc::clone(cloud), "scale-up", Asynchronous::default(), Rc::new(handler))
}

async fn carry() {
    let scenario = parse(
        "real-events",
        r#"
            why = "Real events through resharding."
            hours = 0.5
            traffic = { megabytes_per_second = [] }
            policy = { processor_megabytes_per_second = 0.01, shard_count_max = 16 }
            accepts = { shards_max = [8, 16], calls = [2, 3], lag_seconds_max = 600 }
        "#,
    )
    .expect("a scenario");
    let policy = scenario.policy.policy();
    let clock = VirtualClock::begin();
    let limits =
        StreamLimits { shard_bytes_per_second: SHARD_BYTES_PER_SECOND, ..StreamLimits::default() };
    let mut account = Account::new(1_000);
    account.create_function(PROCESSOR, Some(2));
    account.create_function("scale-up", None);
    let spec = ProcessorSpec { function: PROCESSOR.to_owned(), event_bytes: 1.0 };
    let stream = Stream::with_limits(clock, 2, limits);
    // Every fiftieth call fails as a whole, every seventieth in one entry.
    stream.set_faults(|call| match call.number {
        number if number % 50 == 49 => Fault::Error(PutError::Transient {
            code: "InternalFailure".to_owned(),
            detail: "simulated".to_owned(),
        }),
        number if number % 70 == 69 => Fault::RefuseEntries(vec![0]),
        _ => Fault::None,
    });
    // The handlers' futures are 'static; the world of one test may live as long.
    let cloud: &'static Rc<Cloud> =
        Box::leak(Box::new(Rc::new(Cloud::new(clock, STREAM, stream, account, spec, false, SEED))));
    let queue: &'static Queue = Box::leak(Box::new(Queue::new(clock)));
    create_alarms(cloud, &scenario, &policy, 2);
    let processors = start_processor(cloud, queue);
    let scale_up = start_scale_up(cloud, config(&scenario, &policy));

    let mut rng = Rng::with_seed(SEED);
    let mut sent: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for second in 0..1_800 {
        for _ in 0..payloads(second) {
            let messages: Vec<String> = (0..MESSAGES_PER_PAYLOAD)
                .map(|place| format!("{:07} {}", sent.len() + place, "x".repeat(192)))
                .collect();
            let payload = logs::payload(&messages, clock.epoch_ms());
            sent.extend(messages.into_iter().map(|message| (message.into_bytes(), 1)));
            processors.invoke(logs::event(&payload), rng.u64(..1_000));
        }
        clock.sleep(Duration::from_secs(1)).await;
        cloud.catch_up();
        for (_, alarm) in cloud.take_fired() {
            scale_up.invoke(alarm_event(&alarm), 0);
        }
        if second % 60 == 59 {
            cloud.publish_counts(PROCESSOR, processors.take_counts());
            scale_up.invoke(r#"{"wake":"reconcile"}"#.to_owned(), 7_000);
        }
    }
    while processors.in_flight() > 0 {
        assert!(clock.monotonic() < Duration::from_secs(3 * 3_600), "the queue does not drain");
        clock.sleep(Duration::from_secs(1)).await;
    }

    let open_shards = cloud.stream.open_shards();
    assert!((8..=16).contains(&open_shards), "{open_shards} open shards");
    assert_eq!(cloud.account.borrow().reserved(PROCESSOR), Ok(Some(open_shards)));
    assert_eq!(processors.dropped(), [] as [&str; 0]);
    assert!(queue.messages().is_empty(), "{} dead letters", queue.messages().len());
    let mut delivered: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut shards_used = BTreeMap::new();
    for stored in cloud.stream.records() {
        *shards_used.entry(stored.shard).or_insert(0) += 1;
        for event in events_of(&stored.record.data, &stored.record.partition_key) {
            *delivered.entry(event).or_default() += 1;
        }
    }
    assert!(delivered == sent, "{} of {} events arrived, each once", delivered.len(), sent.len());
    let open: Vec<usize> = cloud.stream.shards().open().map(|(number, _)| number).collect();
    assert!(open.iter().all(|number| shards_used.contains_key(number)), "every shard is used");
    assert!(shards_used.len() > open.len(), "and so were those before them");
}

#[test]
fn every_real_event_arrives_once_while_the_stream_is_resharded() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, carry());
}
