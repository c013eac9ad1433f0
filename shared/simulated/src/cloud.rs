//! One account and region: a stream, functions, metrics and alarms under one clock, and the control
//! plane that scaling functions talk to.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;
use sluice::limits::{HOURS_PER_MONTH, METRIC_MONTH_DOLLARS};
use sluice::ports::{
    Alarm, Alarms, Clock, ControlError, DataPoint, EmitMetrics, MetricQuery, PutError, PutRecords,
    QueueMapping, ReadConcurrency, ReadMetrics, Refusal, ScaleStream, SetConcurrency,
    StreamSummary,
};
use sluice::records::Record;
use sluice::scaling::{AlarmState, Shard};

use crate::account::Account;
use crate::cloudwatch::{
    AsyncCounts, HIGH_RESOLUTION_MS, MINUTE_MS, MetricAlarm, MetricName, MetricStore,
    further_delay_ms,
};
use crate::fluid::{Fluid, percentile};
use crate::mortal::Life;
use crate::stream::{ApiError, Stream};
use crate::{Traffic, VirtualClock};

/// A call of the control plane takes this long.
const CALL_MS: u64 = 20;
/// Custom metrics are billed by the hour.
const HOUR_MS: u64 = 3_600_000;
/// A high-resolution metric is seen this long after its bucket.
const HIGH_RESOLUTION_DELAY_MS: u64 = 5_000;

/// What a fault plan may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlCall {
    /// 0 for the first call of all.
    pub number: u64,
    /// The API call.
    pub name: &'static str,
    /// Who makes it.
    pub actor: &'static str,
    /// When.
    pub epoch_ms: u64,
}

/// What goes wrong with one call of the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlFault {
    /// Nothing.
    None,
    /// The call fails and changes nothing.
    Error(String),
    /// The call takes effect, and its answer is lost.
    AnswerLost,
    /// The answer takes so many milliseconds more; the effect comes with it.
    Delay(u64),
    /// The caller dies before the call takes effect.
    KillBefore,
    /// The call takes effect, and the caller dies before it hears so.
    KillAfter,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// When.
    pub epoch_ms: u64,
    /// What.
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// A call that changes something was answered (or its caller is dead).
    Call {
        /// Who made it.
        actor: &'static str,
        /// The API call.
        name: &'static str,
        /// With what.
        input: String,
        /// What the service did.
        result: Result<(), String>,
    },
    /// A reshard is over.
    Resharded {
        /// Open shards before.
        from: u32,
        /// Open shards now.
        to: u32,
    },
    /// An alarm was found in another state.
    AlarmChanged {
        /// The alarm.
        alarm: String,
        /// Its state.
        state: AlarmState,
    },
}

impl fmt::Display for Happening {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { actor, name, input, result: Ok(()) } => {
                write!(out, "{actor}: {name} {input}")
            }
            Self::Call { actor, name, input, result: Err(error) } => {
                write!(out, "{actor}: {name} {input}: {error}")
            }
            Self::Resharded { from, to } => write!(out, "stream: {from} -> {to} open shards"),
            Self::AlarmChanged { alarm, state } => {
                let state = match state {
                    AlarmState::Ok => "OK",
                    AlarmState::Alarm => "ALARM",
                    AlarmState::InsufficientData => "INSUFFICIENT_DATA",
                };
                write!(out, "alarm: {alarm} is {state}")
            }
        }
    }
}

/// What the simulation is told about the processor whose metrics it publishes.
#[derive(Debug, Clone)]
pub struct ProcessorSpec {
    /// The function.
    pub function: String,
    /// Bytes in one of its events.
    pub event_bytes: f64,
}

type FaultPlan = Box<dyn FnMut(ControlCall) -> ControlFault>;
type DelayPlan = Box<dyn Fn(u64) -> u64>;

/// One account and region. Hand it around as [`Control`] (the control plane as one caller sees it)
/// and [`CloudMetrics`] (standard output of a function).
pub struct Cloud {
    clock: VirtualClock,
    stream_name: String,
    /// The stream.
    pub stream: Stream,
    /// The account.
    pub account: RefCell<Account>,
    /// Every metric.
    pub metrics: RefCell<MetricStore>,
    /// The alarms by name.
    pub alarms: RefCell<BTreeMap<String, MetricAlarm>>,
    /// The load, unless real events are carried.
    pub fluid: RefCell<Option<Fluid>>,
    processor: ProcessorSpec,
    /// Hours, shards and shard-level metrics that are billed.
    shard_metric_hours: RefCell<BTreeSet<(u64, usize, String)>>,
    second: Cell<u64>,
    rng: RefCell<Rng>,
    journal: RefCell<Vec<Entry>>,
    fired: RefCell<Vec<(u64, String)>>,
    faults: RefCell<FaultPlan>,
    metric_delay: RefCell<DelayPlan>,
    consumer_lag: RefCell<DelayPlan>,
    events_old_ms: Cell<i64>,
    calls: RefCell<Vec<ControlCall>>,
}

impl Cloud {
    /// An account around `stream`, without alarms, without load.
    #[must_use]
    pub fn new(
        clock: VirtualClock,
        stream_name: &str,
        stream: Stream,
        account: Account,
        processor: ProcessorSpec,
        shard_level_metrics: bool,
        seed: u64,
    ) -> Self {
        if shard_level_metrics {
            stream.create_with_shard_metrics();
        }
        Self {
            clock,
            stream_name: stream_name.to_owned(),
            stream,
            account: RefCell::new(account),
            metrics: RefCell::default(),
            alarms: RefCell::default(),
            fluid: RefCell::new(None),
            processor,
            shard_metric_hours: RefCell::default(),
            second: Cell::new(clock.epoch_ms() / 1_000),
            rng: RefCell::new(Rng::with_seed(seed)),
            journal: RefCell::default(),
            fired: RefCell::default(),
            faults: RefCell::new(Box::new(|_| ControlFault::None)),
            metric_delay: RefCell::new(Box::new(|_| 0)),
            consumer_lag: RefCell::new(Box::new(|_| 200)),
            events_old_ms: Cell::new(0),
            calls: RefCell::default(),
        }
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> VirtualClock {
        self.clock
    }

    /// From now on, calls of the control plane go wrong by this plan.
    pub fn set_faults(&self, faults: impl FnMut(ControlCall) -> ControlFault + 'static) {
        *self.faults.borrow_mut() = Box::new(faults);
    }

    /// From now on, metrics come so many milliseconds later than they do anyway: a function of the
    /// end of their minute.
    pub fn set_metric_delay(&self, delay: impl Fn(u64) -> u64 + 'static) {
        *self.metric_delay.borrow_mut() = Box::new(delay);
    }

    /// From now on, the stream's consumer is so many milliseconds behind.
    pub fn set_consumer_lag(&self, lag: impl Fn(u64) -> u64 + 'static) {
        *self.consumer_lag.borrow_mut() = Box::new(lag);
    }

    /// From now on, events are so old by their own timestamps when they come; below 0, their
    /// source's clock is ahead.
    pub fn set_events_old(&self, ms: i64) {
        self.events_old_ms.set(ms);
    }

    /// From now on, this load arrives.
    pub fn set_fluid(&self, mut fluid: Fluid) {
        fluid.flush(&self.stream);
        *self.fluid.borrow_mut() = Some(fluid);
    }

    /// Creates an alarm, in OK.
    pub fn create_alarm(&self, alarm: MetricAlarm) {
        self.alarms.borrow_mut().insert(alarm.alarm.name.clone(), alarm);
    }

    /// A number by chance, that is, by the seed.
    #[must_use]
    pub fn draw(&self, range: RangeInclusive<u64>) -> u64 {
        self.rng.borrow_mut().u64(range)
    }

    /// Whether something of this chance happens.
    #[must_use]
    pub fn chance(&self, chance: f64) -> bool {
        // Nothing is drawn for what cannot happen, so that it changes no seed.
        chance > 0.0 && self.rng.borrow_mut().f64() < chance
    }

    /// Every call of the control plane so far.
    #[must_use]
    pub fn calls(&self) -> Vec<ControlCall> {
        self.calls.borrow().clone()
    }

    /// What happened since this was last asked, in order.
    #[must_use]
    pub fn take_journal(&self) -> Vec<Entry> {
        self.journal.take()
    }

    /// The alarms that went off since this was last asked, and when.
    #[must_use]
    pub fn take_fired(&self) -> Vec<(u64, String)> {
        self.fired.take()
    }

    /// Carries the world on to now: load, reshards, metrics, alarms.
    pub fn catch_up(&self) {
        let now = self.clock.epoch_ms() / 1_000;
        while self.second.get() < now {
            let second = self.second.get();
            if let Some(fluid) = self.fluid.borrow_mut().as_mut() {
                let concurrency = self.account.borrow().concurrency(&self.processor.function);
                fluid.second(second, concurrency, &self.stream);
            }
            self.second.set(second + 1);
            self.settle((second + 1) * 1_000);
        }
    }

    /// What is due at the beginning of a second.
    fn settle(&self, now_ms: u64) {
        let before = self.stream.open_shards();
        if self.stream.settle(now_ms) {
            if let Some(fluid) = self.fluid.borrow_mut().as_mut() {
                fluid.flush(&self.stream);
            }
            let to = self.stream.open_shards();
            self.note(now_ms, Happening::Resharded { from: before, to });
        }
        if now_ms.is_multiple_of(HIGH_RESOLUTION_MS) {
            if now_ms.is_multiple_of(MINUTE_MS) {
                self.publish_minute(now_ms);
            }
            self.evaluate_alarms(now_ms);
        }
    }

    fn note(&self, epoch_ms: u64, what: Happening) {
        self.journal.borrow_mut().push(Entry { epoch_ms, what });
    }

    fn of_stream(&self, name: &str) -> MetricName {
        MetricName::new("AWS/Kinesis", name, &[("StreamName", &self.stream_name)])
    }

    /// How many payloads came, how many went and how long the oldest waited: in the queue mapped to the
    /// processor, or else in Lambda's own.
    fn of_waiting(&self) -> [MetricName; 3] {
        let function = &self.processor.function;
        match self.account.borrow().mapping(function) {
            Some(QueueMapping { queue, .. }) => {
                ["NumberOfMessagesSent", "NumberOfMessagesDeleted", "ApproximateAgeOfOldestMessage"]
                    .map(|name| MetricName::new("AWS/SQS", name, &[("QueueName", &queue)]))
            }
            None => ["AsyncEventsReceived", "Invocations", "AsyncEventAge"]
                .map(|name| MetricName::new("AWS/Lambda", name, &[("FunctionName", function)])),
        }
    }

    /// Publishes what the minute that ends now brought.
    fn publish_minute(&self, now_ms: u64) {
        let begin_ms = now_ms - MINUTE_MS;
        let late_ms = self.rng.borrow_mut().u64(MINUTE_MS..2 * MINUTE_MS);
        let visible_ms = now_ms + late_ms + (self.metric_delay.borrow())(now_ms);
        let mut metrics = self.metrics.borrow_mut();
        let mut publish = |metric: &MetricName, value: f64| {
            metrics.publish(metric, begin_ms, value, visible_ms);
        };
        if let Some(fluid) = self.fluid.borrow_mut().as_mut() {
            fluid.flush(&self.stream);
            let mut tally = fluid.take_tally();
            let [received, taken, age] = self.of_waiting();
            let event_bytes = self.processor.event_bytes;
            if tally.arrived.bytes > 0.0 {
                publish(&received, (tally.arrived.bytes / event_bytes).ceil());
            }
            if tally.wanted.bytes > 0.0 {
                publish(&taken, (tally.wanted.bytes / event_bytes).ceil());
                let seconds = tally.queue_seconds as f64;
                // SQS tells whole seconds, Lambda milliseconds.
                let is_sqs = age.namespace == "AWS/SQS";
                publish(&age, if is_sqs { seconds } else { seconds * 1e3 + 20.0 });
            }
            if !tally.lags.is_empty() {
                let processing_ms = percentile(&mut tally.processing, 99.0) * 1_000 + 300;
                publish(&self.of_processor("ProcessingTime"), processing_ms as f64);
                let lag_ms = percentile(&mut tally.lags, 99.0) as i64 * 1_000 + 300;
                let lag_ms = (lag_ms + self.events_old_ms.get()).max(0);
                publish(&self.of_processor("LagOut"), lag_ms as f64);
            }
        }
        let mut whole = Traffic::default();
        let names = ["IncomingBytes", "IncomingRecords", "WriteProvisionedThroughputExceeded"];
        let traffic_by_shard = self.stream.take_traffic();
        let shards = self.stream.shards();
        // A shard has no metrics of minutes before they were switched on.
        let of_shards = self.stream.shard_metrics_since(begin_ms);
        for (number, traffic) in traffic_by_shard {
            whole.add(traffic);
            let mut hours = self.shard_metric_hours.borrow_mut();
            hours.extend(of_shards.iter().map(|name| (begin_ms / HOUR_MS, number, name.clone())));
            let id = shards.all()[number].shard.id.as_str();
            let dimensions = [("StreamName", self.stream_name.as_str()), ("ShardId", id)];
            let values = [traffic.bytes, traffic.records, traffic.refused];
            for (name, value) in names.into_iter().zip(values) {
                if of_shards.contains(name) {
                    publish(&MetricName::new("AWS/Kinesis", name, &dimensions), value);
                }
            }
        }
        if whole != Traffic::default() {
            for (name, value) in names.into_iter().zip([whole.bytes, whole.records, whole.refused])
            {
                publish(&self.of_stream(name), value);
            }
            let consumer_lag_ms = (self.consumer_lag.borrow())(now_ms) as f64;
            publish(&self.of_stream("GetRecords.IteratorAgeMilliseconds"), consumer_lag_ms);
        }
    }

    /// Publishes what Lambda says about a function that carries real events, for the minute that
    /// ends now.
    pub fn publish_counts(&self, function: &str, counts: AsyncCounts) {
        let now_ms = self.clock.epoch_ms() / MINUTE_MS * MINUTE_MS;
        let visible_ms = now_ms + self.rng.borrow_mut().u64(MINUTE_MS..2 * MINUTE_MS);
        let values = [
            ("AsyncEventsReceived", counts.received),
            ("Invocations", counts.invocations),
            ("Errors", counts.errors),
            ("Throttles", counts.throttles),
            ("AsyncEventsDropped", counts.dropped),
            // Never nothing: no event is handed over in the millisecond in which it came.
            ("AsyncEventAge", counts.age_ms_max.max(counts.invocations.min(1))),
        ];
        for (name, value) in values.into_iter().filter(|&(_, value)| value > 0) {
            let metric = MetricName::new("AWS/Lambda", name, &[("FunctionName", function)]);
            let begin_ms = now_ms - MINUTE_MS;
            self.metrics.borrow_mut().publish(&metric, begin_ms, value as f64, visible_ms);
        }
    }

    /// A metric of the processor's own.
    #[must_use]
    pub fn of_processor(&self, name: &str) -> MetricName {
        let dimensions =
            [("StreamName", &*self.stream_name), ("FunctionName", &*self.processor.function)];
        MetricName::new(sluice::telemetry::NAMESPACE, name, &dimensions)
    }

    fn evaluate_alarms(&self, now_ms: u64) {
        if let Some(fluid) = self.fluid.borrow_mut().as_mut() {
            let wanted = fluid.take_wanted();
            if wanted.bytes > 0.0 {
                let begin_ms = now_ms - HIGH_RESOLUTION_MS;
                let visible_ms = now_ms + HIGH_RESOLUTION_DELAY_MS;
                let mut metrics = self.metrics.borrow_mut();
                for (name, value) in
                    [("WantedBytes", wanted.bytes), ("WantedRecords", wanted.records)]
                {
                    metrics.publish(&self.of_processor(name), begin_ms, value, visible_ms);
                }
            }
        }
        let metrics = self.metrics.borrow();
        for (name, alarm) in self.alarms.borrow_mut().iter_mut() {
            // Evaluated once a period, and once a minute at least.
            let every_ms = (u64::from(alarm.alarm.period_seconds) * 1_000).min(MINUTE_MS);
            if !now_ms.is_multiple_of(every_ms) {
                continue;
            }
            let state = alarm.evaluate(&metrics, now_ms);
            if state != alarm.alarm.state {
                alarm.alarm.state = state;
                self.note(now_ms, Happening::AlarmChanged { alarm: name.clone(), state });
                if state == AlarmState::Alarm {
                    self.fired.borrow_mut().push((now_ms, name.clone()));
                }
            }
        }
    }

    /// A person or another tool changes the stream: UpdateShardCount past the scaler.
    pub fn by_hand_update_shard_count(&self, target: u32) {
        self.catch_up();
        let now_ms = self.clock.epoch_ms();
        let result = self.stream.update_shard_count(target, now_ms);
        self.note_call("by-hand", "UpdateShardCount", target.to_string(), &result);
    }

    /// What the shard-level metrics have cost, in dollars.
    #[must_use]
    pub fn shard_metrics_dollars(&self) -> f64 {
        self.shard_metric_hours.borrow().len() as f64 * METRIC_MONTH_DOLLARS / HOURS_PER_MONTH
    }

    /// A person or another tool switches shard-level metrics on past the scaler.
    pub fn by_hand_enable_shard_metrics(&self, metrics: &BTreeSet<String>) {
        self.catch_up();
        let result = self.stream.enable_shard_metrics(metrics, self.clock.epoch_ms());
        self.note_call("by-hand", "EnableEnhancedMonitoring", joined(metrics), &result);
    }

    /// A person, another tool or a stack update sets a function's concurrency.
    pub fn by_hand_put_concurrency(&self, function: &str, reserved: u32) {
        self.catch_up();
        let result = self.account.borrow_mut().put_reserved(function, reserved);
        self.note_call(
            "by-hand",
            "PutFunctionConcurrency",
            format!("{function} {reserved}"),
            &result,
        );
    }

    /// A person, another tool or a stack update moves a threshold.
    pub fn by_hand_put_threshold(&self, alarm: &str, threshold: f64) {
        self.catch_up();
        if let Some(alarm) = self.alarms.borrow_mut().get_mut(alarm) {
            alarm.alarm.threshold = threshold;
        }
        self.note_call("by-hand", "PutMetricAlarm", format!("{alarm} {threshold:.0}"), &Ok(()));
    }

    fn note_call<T>(
        &self,
        actor: &'static str,
        name: &'static str,
        input: String,
        result: &Result<T, ApiError>,
    ) {
        let result = match result {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{}: {}", error.code, error.detail)),
        };
        self.note(self.clock.epoch_ms(), Happening::Call { actor, name, input, result });
    }
}

/// The control plane as one invocation of a scaling function sees it.
#[derive(Clone)]
pub struct Control {
    cloud: Rc<Cloud>,
    actor: &'static str,
    life: Rc<Life>,
}

impl Control {
    /// The control plane for an invocation of `actor`.
    #[must_use]
    pub fn new(cloud: Rc<Cloud>, actor: &'static str) -> Self {
        Self { cloud, actor, life: Rc::default() }
    }

    /// The invocation.
    #[must_use]
    pub fn life(&self) -> Rc<Life> {
        Rc::clone(&self.life)
    }

    /// One call. `input` is noted when the call changes something.
    async fn call<T>(
        &self,
        name: &'static str,
        input: Option<String>,
        effect: impl FnOnce(&Cloud, u64) -> Result<T, ApiError>,
    ) -> Result<T, ControlError> {
        let cloud = &self.cloud;
        let call = ControlCall {
            number: cloud.calls.borrow().len() as u64,
            name,
            actor: self.actor,
            epoch_ms: cloud.clock.epoch_ms(),
        };
        cloud.calls.borrow_mut().push(call);
        let fault = (cloud.faults.borrow_mut())(call);
        let delay_ms = if let ControlFault::Delay(ms) = fault { ms } else { 0 };
        cloud.clock.sleep(Duration::from_millis(CALL_MS + delay_ms)).await;
        cloud.catch_up();
        let result = match fault {
            ControlFault::KillBefore => return self.life.die().await,
            ControlFault::Error(ref code) => Err(ApiError::new(code.as_str(), "simulated")),
            _ => effect(cloud, cloud.clock.epoch_ms()),
        };
        if let Some(input) = input {
            cloud.note_call(self.actor, name, input, &result);
        }
        let result = match fault {
            ControlFault::KillAfter => return self.life.die().await,
            ControlFault::AnswerLost => Err(ApiError::new("TimeoutError", "simulated")),
            _ => result,
        };
        result.map_err(|error| ControlError { call: name, code: error.code, detail: error.detail })
    }
}

impl ScaleStream for Control {
    async fn describe_stream(&self) -> Result<StreamSummary, ControlError> {
        self.call("DescribeStreamSummary", None, |cloud, _| {
            Ok(StreamSummary {
                status: cloud.stream.status(),
                open_shards: cloud.stream.open_shards(),
                shard_metrics: cloud.stream.shard_metrics(),
            })
        })
        .await
    }

    async fn list_open_shards(&self) -> Result<Vec<Shard>, ControlError> {
        self.call("ListShards", None, |cloud, _| {
            Ok(cloud.stream.shards().open().map(|(_, shard)| shard.clone()).collect())
        })
        .await
    }

    async fn update_shard_count(&self, target: u32) -> Result<(), ControlError> {
        self.call("UpdateShardCount", Some(target.to_string()), |cloud, now_ms| {
            cloud.stream.update_shard_count(target, now_ms)
        })
        .await
    }

    async fn split_shard(
        &self,
        shard_id: &str,
        new_starting_hash_key: u128,
    ) -> Result<(), ControlError> {
        let input = format!("{shard_id} at {new_starting_hash_key}");
        self.call("SplitShard", Some(input), |cloud, now_ms| {
            cloud.stream.split_shard(shard_id, new_starting_hash_key, now_ms)
        })
        .await
    }

    async fn enable_shard_metrics(&self, metrics: &BTreeSet<String>) -> Result<(), ControlError> {
        self.call("EnableEnhancedMonitoring", Some(joined(metrics)), |cloud, now_ms| {
            cloud.stream.enable_shard_metrics(metrics, now_ms)
        })
        .await
    }

    async fn disable_shard_metrics(&self, metrics: &BTreeSet<String>) -> Result<(), ControlError> {
        self.call("DisableEnhancedMonitoring", Some(joined(metrics)), |cloud, now_ms| {
            cloud.stream.disable_shard_metrics(metrics, now_ms)
        })
        .await
    }

    async fn merge_shards(
        &self,
        shard_id: &str,
        adjacent_shard_id: &str,
    ) -> Result<(), ControlError> {
        let input = format!("{shard_id} and {adjacent_shard_id}");
        self.call("MergeShards", Some(input), |cloud, now_ms| {
            cloud.stream.merge_shards(shard_id, adjacent_shard_id, now_ms)
        })
        .await
    }

    async fn list_tags(&self) -> Result<BTreeMap<String, String>, ControlError> {
        self.call("ListTagsForStream", None, |cloud, _| Ok(cloud.stream.tags())).await
    }

    async fn add_tags(&self, tags: &BTreeMap<String, String>) -> Result<(), ControlError> {
        let input: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.call("AddTagsToStream", Some(input.join(", ")), |cloud, _| cloud.stream.add_tags(tags))
            .await
    }
}

fn joined(metrics: &BTreeSet<String>) -> String {
    metrics.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

impl Alarms for Control {
    async fn describe_alarms(&self, names: &[String]) -> Result<Vec<Alarm>, ControlError> {
        self.call("DescribeAlarms", None, |cloud, _| {
            let alarms = cloud.alarms.borrow();
            Ok(names.iter().filter_map(|name| Some(alarms.get(name)?.alarm.clone())).collect())
        })
        .await
    }

    async fn put_alarm_threshold(&self, alarm: &str, threshold: f64) -> Result<(), ControlError> {
        let input = format!("{alarm} {threshold:.0}");
        self.call("PutMetricAlarm", Some(input), |cloud, _| {
            let mut alarms = cloud.alarms.borrow_mut();
            let found = alarms.get_mut(alarm).ok_or_else(|| no_alarm(alarm))?;
            found.alarm.threshold = threshold;
            Ok(())
        })
        .await
    }

    async fn rearm_alarm(&self, alarm: &str) -> Result<(), ControlError> {
        self.call("SetAlarmState", Some(alarm.to_owned()), |cloud, _| {
            let mut alarms = cloud.alarms.borrow_mut();
            let found = alarms.get_mut(alarm).ok_or_else(|| no_alarm(alarm))?;
            found.alarm.state = AlarmState::InsufficientData;
            Ok(())
        })
        .await
    }
}

fn no_alarm(alarm: &str) -> ApiError {
    ApiError::new("ResourceNotFound", format!("no alarm {alarm}"))
}

impl ReadMetrics for Control {
    async fn get_metrics(
        &self,
        queries: &[MetricQuery],
        from_ms: u64,
        to_ms: u64,
    ) -> Result<Vec<Vec<DataPoint>>, ControlError> {
        self.call("GetMetricData", None, |cloud, now_ms| {
            let metrics = cloud.metrics.borrow();
            let read = |query: &MetricQuery| {
                let mut dimensions = query.dimensions.clone();
                dimensions.sort();
                let metric = MetricName {
                    namespace: query.namespace.clone(),
                    name: query.name.clone(),
                    dimensions,
                };
                metrics.read(&metric, &query.statistic, MINUTE_MS, from_ms, to_ms, now_ms)
            };
            Ok(queries.iter().map(read).collect())
        })
        .await
    }
}

impl ReadConcurrency for Control {
    async fn get_reserved_concurrency(&self, function: &str) -> Result<Option<u32>, ControlError> {
        self.call("GetFunctionConcurrency", None, |cloud, _| {
            cloud.account.borrow().reserved(function)
        })
        .await
    }
}

impl SetConcurrency for Control {
    async fn put_reserved_concurrency(
        &self,
        function: &str,
        reserved: u32,
    ) -> Result<(), ControlError> {
        let input = format!("{function} {reserved}");
        self.call("PutFunctionConcurrency", Some(input), |cloud, _| {
            cloud.account.borrow_mut().put_reserved(function, reserved)
        })
        .await
    }

    async fn find_queue_mapping(
        &self,
        function: &str,
    ) -> Result<Option<QueueMapping>, ControlError> {
        self.call("ListEventSourceMappings", None, |cloud, _| {
            Ok(cloud.account.borrow().mapping(function))
        })
        .await
    }

    async fn put_mapping_concurrency(
        &self,
        mapping: &str,
        maximum: u32,
    ) -> Result<(), ControlError> {
        let input = format!("{mapping} {maximum}");
        self.call("UpdateEventSourceMapping", Some(input), |cloud, _| {
            cloud.account.borrow_mut().put_mapping_concurrency(mapping, maximum)
        })
        .await
    }

    async fn get_reservable_concurrency(&self) -> Result<u32, ControlError> {
        self.call("GetAccountSettings", None, |cloud, _| Ok(cloud.account.borrow().reservable()))
            .await
    }
}

/// The stream of an account, to put records into.
#[derive(Clone)]
pub struct CloudStream {
    cloud: Rc<Cloud>,
}

impl CloudStream {
    /// The stream of this account.
    #[must_use]
    pub fn new(cloud: Rc<Cloud>) -> Self {
        Self { cloud }
    }
}

impl PutRecords for CloudStream {
    async fn put_records(&self, records: &[&Record]) -> Result<Vec<Option<Refusal>>, PutError> {
        let stream = &self.cloud.stream;
        stream.put_records(records).await
    }
}

/// Standard output of a function in Lambda: EMF lines become metrics.
#[derive(Clone)]
pub struct CloudMetrics {
    cloud: Rc<Cloud>,
}

impl CloudMetrics {
    /// Standard output of a function in this account.
    #[must_use]
    pub fn new(cloud: Rc<Cloud>) -> Self {
        Self { cloud }
    }
}

impl EmitMetrics for CloudMetrics {
    fn emit(&self, line: &str) {
        let line: Value = serde_json::from_str(line).expect("an EMF line is JSON");
        let timestamp_ms = line["_aws"]["Timestamp"].as_u64().expect("a timestamp");
        let begin_ms = timestamp_ms / HIGH_RESOLUTION_MS * HIGH_RESOLUTION_MS;
        let now_ms = self.cloud.clock.epoch_ms();
        let soon_ms = now_ms.max(begin_ms + HIGH_RESOLUTION_MS) + HIGH_RESOLUTION_DELAY_MS;
        let further_ms = further_delay_ms(now_ms.saturating_sub(timestamp_ms));
        let mut metrics = self.cloud.metrics.borrow_mut();
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
            let namespace = directive["Namespace"].as_str().expect("a namespace");
            let dimensions: Vec<(&str, &str)> = directive["Dimensions"][0]
                .as_array()
                .into_iter()
                .flatten()
                .map(|name| name.as_str().expect("a dimension's name"))
                .map(|name| (name, line[name].as_str().expect("a dimension's value")))
                .collect();
            for metric in directive["Metrics"].as_array().into_iter().flatten() {
                let name = metric["Name"].as_str().expect("a metric's name");
                let key = MetricName::new(namespace, name, &dimensions);
                // Metrics of one line become readable apart. Nothing is drawn for what is new.
                let late_ms =
                    if *further_ms.end() > 0 { self.cloud.draw(further_ms.clone()) } else { 0 };
                let values = match &line[name] {
                    Value::Array(values) => values.clone(),
                    value => vec![value.clone()],
                };
                for value in values.iter().filter_map(Value::as_f64) {
                    metrics.publish(&key, begin_ms, value, soon_ms + late_ms);
                }
            }
        }
    }
}
