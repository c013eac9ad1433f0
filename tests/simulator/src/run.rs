//! One run of a scenario.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use scale_down::ScaleDown;
use scale_up::ScaleUp;
use serde_json::{Value, json};
use sluice::ports::{Alarm, Clock, EmitMetrics};
use sluice::scaling::cost::dollars_per_hour;
use sluice::scaling::{
    Action, AlarmState, Decision, Ledger, Observation, Policy, ShardLevelMetrics,
    decide_scale_down, decide_scale_up,
};
use sluice_autoscaler::{AlarmNames, Autoscaler, ScalingConfig, ScalingError};
use sluice_simulated::clock::BEGIN_EPOCH_MS;
use sluice_simulated::cloud::ProcessorSpec;
use sluice_simulated::cloudwatch::{MetricAlarm, MetricName};
use sluice_simulated::functions::Failure;
use sluice_simulated::{
    Account, AsyncFunction, Asynchronous, Cloud, CloudMetrics, Control, ControlCall, ControlFault,
    Fluid, Life, SkewedClock, Stream, StreamLimits, VirtualClock,
};
use tokio::task::LocalSet;

use crate::invariants::Invariants;
use crate::scenario::{self, Happens, How, Scenario};
use crate::traffic::arrivals;

/// The simulated stream.
pub const STREAM: &str = "logs";
/// The simulated processor.
pub const PROCESSOR: &str = "log-processor";
/// The queue before it, where there is one.
const BUFFER: &str = "buffer";
/// The alarms, with the metric that each watches.
const ALARMS: [(&str, &str); 3] = [
    ("logs-bytes", "IncomingBytes"),
    ("logs-records", "IncomingRecords"),
    ("logs-refused", "WriteProvisionedThroughputExceeded"),
];
const FAST_ALARM: &str = "logs-fast";
/// The world is looked at every so often.
const STEP_MS: u64 = 10_000;
/// Lambda ends an invocation that takes longer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A function is killed at one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// At which: counted over all calls of all functions, from 0.
    pub call: u64,
    /// Whether the call has taken effect by then.
    pub after: bool,
}

/// Something that is wrong with the scaler, to see that a scenario notices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mutation {
    /// Nothing.
    #[default]
    None,
    /// Half of an odd number of shards is rounded down.
    HalvesDownwards,
    /// The calls of the last 24 hours are not counted.
    IgnoresLedger,
    /// Thresholds and concurrency are set for the shards to come.
    RaisesTooEarly,
    /// Thresholds and concurrency are lowered after the call that closes shards.
    LowersTooLate,
    /// The one-minute schedule is missing.
    NoReconcile,
    /// Scale-down does not look at the load.
    IgnoresLoad,
}

/// How to run a scenario.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Everything that chance decides.
    pub seed: u64,
    /// Kill a function.
    pub kill: Option<Kill>,
    /// Break the scaler.
    pub mutation: Mutation,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// A line a decision and a line a change, with virtual time.
    pub text: String,
    /// The same in numbers and AWS's names, which no new wording changes: what
    /// `tests/simulator/expected` holds.
    pub brief: String,
    /// What must not have happened.
    pub failures: Vec<String>,
    /// Open shards one after another.
    pub path: Vec<u32>,
    /// UpdateShardCount calls that were accepted.
    pub calls: u32,
    /// SplitShard calls that were accepted.
    pub splits: u32,
    /// MergeShards calls that were accepted.
    pub merges: u32,
    /// The longest that anything delivered was behind.
    pub lag_seconds_max: u64,
    /// What went to a dead-letter queue.
    pub dead_letter_bytes: f64,
    /// What the shards cost.
    pub dollars: f64,
    /// What the shard-level metrics cost.
    pub shard_metrics_dollars: f64,
    /// Calls of the control plane of all kinds.
    pub control_calls: u64,
}

/// The command that repeats a run.
#[must_use]
pub fn command(scenario: &str, options: &Options) -> String {
    let mut command =
        format!("cargo run -p simulator -- --scenario {scenario} --seed {}", options.seed);
    if let Some(Kill { call, after }) = options.kill {
        let when = if after { "after" } else { "before" };
        write!(command, " --kill-at {call} --kill {when}").expect("a string takes everything");
    }
    command
}

/// Runs a scenario from its begin to its end.
///
/// # Panics
/// When tokio cannot start.
#[must_use]
pub fn run(scenario: &Scenario, options: &Options) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let local = LocalSet::new();
    local.block_on(&runtime, simulate(scenario, options))
}

/// Lines with their virtual time.
#[derive(Clone)]
struct Log {
    clock: VirtualClock,
    lines: Rc<RefCell<Vec<(u64, String)>>>,
    brief: Rc<RefCell<Vec<(u64, String)>>>,
    latest_hour: Rc<RefCell<String>>,
    failed: Rc<Cell<u32>>,
}

impl Log {
    fn line(&self, epoch_ms: u64, line: String) {
        self.lines.borrow_mut().push((epoch_ms, line));
    }

    fn brief(&self, epoch_ms: u64, line: String) {
        self.brief.borrow_mut().push((epoch_ms, line));
    }

    /// What the stream, the load and the functions came to in an hour.
    fn hour(&self, epoch_ms: u64, cloud: &Cloud) {
        let fluid = cloud.fluid.borrow();
        let fluid = fluid.as_ref().expect("a load");
        let line = format!(
            "hour: {} shards, {} s behind at most, {:.3} MB waiting, {:.3} MB dead-lettered, {} \
             invocations failed",
            cloud.stream.open_shards(),
            fluid.lag_seconds_max,
            fluid.waiting().bytes / 1e6,
            fluid.dead.bytes / 1e6,
            self.failed.take(),
        );
        // The quiet hours after it are like it.
        if *self.latest_hour.borrow() != line {
            self.latest_hour.replace(line.clone());
            self.brief(epoch_ms, line);
        }
    }
}

/// A line for each, in order of time.
fn text(mut lines: Vec<(u64, String)>) -> String {
    lines.sort_by_key(|(epoch_ms, _)| *epoch_ms);
    lines.iter().map(|(epoch_ms, line)| format!("{} {line}\n", time(*epoch_ms))).collect()
}

/// Takes the decisions out of a function's EMF lines; CloudWatch takes the metrics.
#[derive(Clone)]
struct Decisions {
    log: Log,
    metrics: CloudMetrics,
    actor: &'static str,
    latest: Rc<RefCell<[String; 2]>>,
}

impl EmitMetrics for Decisions {
    fn emit(&self, line: &str) {
        self.metrics.emit(line);
        let line: Value = serde_json::from_str(line).expect("an EMF line is JSON");
        let decision = line["Decision"].as_str().expect("a decision").to_owned();
        let [open, goal, limit, left] =
            ["OpenShards", "GoalShards", "ConcurrencyLimit", "ReshardsLeft"].map(|it| &line[it]);
        let brief = format!("{open} open, goal {goal}, concurrency {limit}, {left} calls left");
        // What is decided every minute is said once.
        let [latest, latest_brief] = &mut *self.latest.borrow_mut();
        let now_ms = self.log.clock.epoch_ms();
        if *latest != decision {
            self.log.line(now_ms, format!("{}: {decision}", self.actor));
            *latest = decision;
        }
        if *latest_brief != brief {
            let used = line["Utilization"].as_u64().map_or(String::new(), |it| format!(", {it} %"));
            self.log.brief(now_ms, format!("{}: {brief}{used}", self.actor));
            *latest_brief = brief;
        }
    }
}

/// The real handlers behind Lambda's queues.
pub struct ScalingFunctions {
    /// Scale-up.
    pub up: Rc<AsyncFunction>,
    /// Scale-down.
    pub down: Rc<AsyncFunction>,
}

type Decide = fn(&Policy, &Observation) -> Decision;

fn start_function(
    cloud: &Rc<Cloud>,
    log: &Log,
    config: &ScalingConfig,
    actor: &'static str,
    scenario: &Scenario,
    decide: Option<Decide>,
) -> Rc<AsyncFunction> {
    let clock =
        SkewedClock { clock: cloud.clock(), ahead_ms: scenario.world.clock_ahead_seconds * 1_000 };
    let metrics = CloudMetrics::new(Rc::clone(cloud));
    let metrics = Decisions { log: log.clone(), metrics, actor, latest: Rc::default() };
    let (cloud_of_handler, log, config) = (Rc::clone(cloud), log.clone(), config.clone());
    let handler = move |event: String| -> LocalBoxFuture<'static, Result<String, Failure>> {
        let control = Control::new(Rc::clone(&cloud_of_handler), actor);
        let life = control.life();
        let (config, metrics, log) = (config.clone(), metrics.clone(), log.clone());
        let rng = Rng::with_seed(clock.epoch_ms());
        let handling = async move {
            match (decide, actor) {
                (Some(decide), _) => {
                    Autoscaler::new(config, control, clock, metrics, rng, decide)
                        .handle(&event)
                        .await
                }
                (None, "scale-up") => {
                    ScaleUp::new(config, control, clock, metrics, rng).handle(&event).await
                }
                (None, _) => {
                    ScaleDown::new(config, control, clock, metrics, rng).handle(&event).await
                }
            }
        };
        async move {
            let ended = invocation(handling, &life).await;
            if let Err(error) = &ended {
                log.line(log.clock.epoch_ms(), format!("{actor}: failed: {error}"));
                log.failed.update(|failed| failed + 1);
            }
            ended.map(|()| "null".to_owned()).map_err(Failure::from)
        }
        .boxed_local()
    };
    let retries_max = if scenario.world.retries { 2 } else { 0 };
    let asynchronous = Asynchronous { retries_max, ..Asynchronous::default() };
    AsyncFunction::start(Rc::clone(cloud), actor, asynchronous, Rc::new(handler))
}

/// Runs a handler until it ends, is killed or times out.
async fn invocation(
    handling: impl Future<Output = Result<(), ScalingError>>,
    life: &Life,
) -> Result<(), String> {
    tokio::select! {
        biased;
        () = life.ended() => Err("killed".to_owned()),
        ended = tokio::time::timeout(TIMEOUT, handling) => match ended {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(_) => Err("timed out".to_owned()),
        },
    }
}

/// The scaler's configuration for a scenario.
#[must_use]
pub fn config(scenario: &Scenario, policy: &Policy) -> ScalingConfig {
    ScalingConfig {
        stream_name: STREAM.to_owned(),
        policy: policy.clone(),
        functions: vec![(PROCESSOR.to_owned(), 1.0)],
        alarms: AlarmNames {
            bytes: ALARMS[0].0.to_owned(),
            records: ALARMS[1].0.to_owned(),
            refused: ALARMS[2].0.to_owned(),
            fast: scenario.world.fast_alarm.then(|| FAST_ALARM.to_owned()),
        },
        shard_level_metrics: scenario.world.shard_level_metrics,
        dry_run: false,
        reserve_concurrency: true,
        timeout_seconds: TIMEOUT.as_secs(),
    }
}

/// Creates the alarms as the template does, for `shards`.
pub fn create_alarms(cloud: &Cloud, scenario: &Scenario, policy: &Policy, shards: u32) {
    let create = |name: &str, metric: MetricName, period_seconds: u32, threshold: f64| {
        let name = name.to_owned();
        let alarm = Alarm { name, state: AlarmState::Ok, threshold, period_seconds };
        cloud.create_alarm(MetricAlarm { alarm, metric, statistic: "Sum".to_owned() });
    };
    let period_seconds = scenario.world.alarm_period_seconds;
    for (name, metric) in ALARMS {
        let threshold = template_threshold(policy, metric, shards, period_seconds);
        let metric = MetricName::new("AWS/Kinesis", metric, &[("StreamName", STREAM)]);
        create(name, metric, period_seconds, threshold);
    }
    if scenario.world.fast_alarm {
        let threshold = template_threshold(policy, "WantedBytes", shards, 10);
        create(FAST_ALARM, cloud.of_processor("WantedBytes"), 10, threshold);
    }
}

fn template_threshold(policy: &Policy, metric: &str, shards: u32, period_seconds: u32) -> f64 {
    let capacity = policy.shard_capacity();
    match metric {
        "IncomingRecords" => policy.threshold(capacity.records, shards, period_seconds),
        "WriteProvisionedThroughputExceeded" => 0.0,
        _ => policy.threshold(capacity.bytes, shards, period_seconds),
    }
}

/// CloudWatch's event for an alarm that went off.
#[must_use]
pub fn alarm_event(alarm: &str) -> String {
    json!({
        "source": "aws.cloudwatch",
        "alarmArn": format!("arn:aws:cloudwatch:us-east-1:000000000000:alarm:{alarm}"),
        "accountId": "000000000000",
        "time": "2026-11-21T00:00:00.000+0000",
        "region": "us-east-1",
        "alarmData": {
            "alarmName": alarm,
            "state": { "value": "ALARM", "reason": "Threshold Crossed" },
            "previousState": { "value": "OK" },
        },
    })
    .to_string()
}

/// `2026-11-21T02:10:00Z` for so many milliseconds after the simulation's begin.
fn timestamp(ms: u64) -> String {
    let (days, seconds) = (ms / 86_400_000, ms / 1_000 % 86_400);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("2026-11-{:02}T{hours:02}:{minutes:02}:{seconds:02}Z", 21 + days)
}

fn set_faults(cloud: &Cloud, scenario: &Scenario, options: &Options, disturbed: &Rc<RefCell<u64>>) {
    let mut rng = Rng::with_seed(options.seed ^ 0x6661_756c_7473);
    let (faults, kill) = (scenario.faults.clone(), options.kill);
    let mut times = vec![0; faults.len()];
    let disturbed = Rc::clone(disturbed);
    cloud.set_faults(move |call: ControlCall| {
        let mut fault = |call: ControlCall| {
            if let Some(kill) = kill.filter(|kill| kill.call == call.number) {
                return if kill.after { ControlFault::KillAfter } else { ControlFault::KillBefore };
            }
            let ms = call.epoch_ms - BEGIN_EPOCH_MS;
            for (fault, times) in faults.iter().zip(&mut times) {
                let here = fault.from.0 <= ms && ms < fault.until.0;
                let this = fault.call.as_deref().is_none_or(|name| name == call.name);
                if !here || !this || fault.times.is_some_and(|max| *times >= max) {
                    continue;
                }
                if rng.f64() < fault.probability {
                    *times += 1;
                    return match &fault.how {
                        How::Error(code) => ControlFault::Error(code.clone()),
                        How::AnswerLost(_) => ControlFault::AnswerLost,
                        How::DelaySeconds(seconds) => ControlFault::Delay(seconds * 1_000),
                        How::Kill(scenario::Kill::Before) => ControlFault::KillBefore,
                        How::Kill(scenario::Kill::After) => ControlFault::KillAfter,
                    };
                }
            }
            ControlFault::None
        };
        let fault = fault(call);
        if fault != ControlFault::None {
            *disturbed.borrow_mut() = call.epoch_ms;
        }
        fault
    });
}

fn build(scenario: &Scenario, options: &Options, policy: &Policy) -> Rc<Cloud> {
    let clock = VirtualClock::begin();
    let shards = scenario.world.shards.unwrap_or(policy.shard_count_default);
    let limits = limits(scenario.world.reshard_seconds);
    let stream = Stream::with_limits(clock, shards as usize, limits);
    let mut account = Account::new(scenario.world.account_concurrency);
    let concurrency = policy.concurrency(shards, 1.0);
    if scenario.world.buffer_queue {
        account.create_function(PROCESSOR, None);
        account.map_queue(PROCESSOR, BUFFER, concurrency);
    } else {
        account.create_function(PROCESSOR, Some(concurrency));
    }
    account.create_function("scale-up", None);
    account.create_function("scale-down", None);
    let processor = ProcessorSpec { function: PROCESSOR.to_owned(), event_bytes: 100_000.0 };
    let shard_level = scenario.world.shard_level_metrics == ShardLevelMetrics::Always;
    let cloud = Cloud::new(clock, STREAM, stream, account, processor, shard_level, options.seed);
    create_alarms(&cloud, scenario, policy, shards);
    let slow = |slow: &[scenario::Slow], usual: u64| {
        let slow = slow.to_vec();
        move |epoch_ms: u64| {
            let ms = epoch_ms - BEGIN_EPOCH_MS;
            let here = slow.iter().filter(|slow| slow.from.0 <= ms && ms < slow.until.0);
            here.map(|slow| slow.seconds * 1_000).max().unwrap_or(usual)
        }
    };
    cloud.set_metric_delay(slow(&scenario.metric_delays, 0));
    cloud.set_consumer_lag(slow(&scenario.consumer_lags, 200));
    cloud.set_events_old(scenario.world.events_old_seconds * 1_000);
    let processor = policy.sent_by_processor;
    let share = 1.0 / f64::from(policy.concurrency_per_shard);
    let paced = sluice::scaling::Rate {
        bytes: processor.bytes.min(limits.shard_bytes_per_second as f64 * share),
        records: processor.records.min(limits.shard_records_per_second as f64 * share),
    };
    let sent = paced.times(scenario.world.sent_factor);
    cloud.set_fluid(Fluid::new(sent, arrivals(&scenario.traffic, options.seed)));
    Rc::new(cloud)
}

fn limits(reshard_seconds: u64) -> StreamLimits {
    StreamLimits {
        reshard_ms: reshard_seconds.saturating_sub(30) * 1_000,
        reshard_ms_per_generation: 30_000,
        ..StreamLimits::default()
    }
}

fn decides(mutation: Mutation) -> (Option<Decide>, Option<Decide>) {
    match mutation {
        Mutation::None | Mutation::NoReconcile => (None, None),
        Mutation::HalvesDownwards => (
            None,
            Some(|policy, seen| {
                let mut decision = decide_scale_down(policy, seen);
                for action in &mut decision.actions {
                    if let Action::UpdateShardCount(target) = action {
                        *target = (seen.open_shards / 2).max(policy.shard_count_default);
                    }
                }
                decision
            }),
        ),
        Mutation::IgnoresLedger => {
            fn forget(seen: &Observation) -> Observation {
                Observation { reshards: Ledger::default(), ..seen.clone() }
            }
            (
                Some(|policy, seen| decide_scale_up(policy, &forget(seen))),
                Some(|policy, seen| decide_scale_down(policy, &forget(seen))),
            )
        }
        Mutation::RaisesTooEarly => (
            Some(|policy, seen| {
                let decision = decide_scale_up(policy, seen);
                let after = decision.shards_after();
                if after <= seen.open_shards {
                    return decision;
                }
                // As if the shards were there already.
                let ahead =
                    Observation { open_shards: after, goal: None, shards: None, ..seen.clone() };
                let early = decide_scale_up(policy, &ahead);
                let mut actions: Vec<Action> =
                    early.actions.into_iter().filter(Action::follows_shards).collect();
                actions.extend(decision.actions);
                Decision { actions, ..decision }
            }),
            None,
        ),
        Mutation::LowersTooLate => (
            None,
            Some(|policy, seen| {
                let mut decision = decide_scale_down(policy, seen);
                decision.actions.sort_by_key(Action::follows_shards);
                decision
            }),
        ),
        Mutation::IgnoresLoad => (
            None,
            Some(|policy, seen| {
                let mut seen = seen.clone();
                seen.load = Some(sluice::scaling::Load::default());
                for alarm in &mut seen.alarms {
                    alarm.state = AlarmState::Ok;
                }
                decide_scale_down(policy, &seen)
            }),
        ),
    }
}

async fn simulate(scenario: &Scenario, options: &Options) -> Outcome {
    let policy = scenario.policy.policy();
    let cloud = build(scenario, options, &policy);
    let clock = cloud.clock();
    let log = Log {
        clock,
        lines: Rc::default(),
        brief: Rc::default(),
        latest_hour: Rc::default(),
        failed: Rc::default(),
    };
    let disturbed = Rc::new(RefCell::new(0));
    set_faults(&cloud, scenario, options, &disturbed);
    let config = config(scenario, &policy);
    let (decide_up, decide_down) = decides(options.mutation);
    let functions = ScalingFunctions {
        up: start_function(&cloud, &log, &config, "scale-up", scenario, decide_up),
        down: start_function(&cloud, &log, &config, "scale-down", scenario, decide_down),
    };
    let mut invariants = Invariants::new(scenario, &policy, PROCESSOR, &cloud, clock.epoch_ms());
    let mut schedule = Schedule::new(scenario, options);
    let mut dollars = 0.0;
    let end_ms = (scenario.hours * 3_600_000.0) as u64 / STEP_MS * STEP_MS;
    let mut ms = 0;
    while ms < end_ms {
        schedule.due(ms, scenario, &policy, &cloud, &functions);
        ms += STEP_MS;
        let pause_ms = (BEGIN_EPOCH_MS + ms).saturating_sub(clock.epoch_ms());
        clock.sleep(Duration::from_millis(pause_ms)).await;
        cloud.catch_up();
        if *disturbed.borrow() > 0 {
            invariants.disturb(*disturbed.borrow());
            *disturbed.borrow_mut() = 0;
        }
        for entry in cloud.take_journal() {
            invariants.step(&entry, &cloud);
            log.line(entry.epoch_ms, entry.what.to_string());
            log.brief(entry.epoch_ms, entry.what.to_string());
        }
        if ms.is_multiple_of(3_600_000) {
            log.hour(BEGIN_EPOCH_MS + ms, &cloud);
        }
        invariants.moment(BEGIN_EPOCH_MS + ms, &cloud);
        for (_, alarm) in cloud.take_fired() {
            schedule.alarm(ms, &alarm, scenario, &functions);
        }
        dollars += dollars_per_hour(cloud.stream.open_shards()) * STEP_MS as f64 / 3_600_000.0;
    }
    let quiet_since_ms =
        BEGIN_EPOCH_MS + end_ms.saturating_sub(scenario.accepts.quiet_minutes * 60_000);
    invariants.end(scenario, quiet_since_ms, BEGIN_EPOCH_MS + ms, &cloud);
    outcome(scenario, &log, invariants, &cloud, dollars)
}

/// What happens from outside, in order of time.
struct Schedule {
    rng: Rng,
    reconcile_offset_ms: u64,
    off_peak_offset_ms: u64,
    reconcile: bool,
    next_event: usize,
    events: Vec<scenario::Event>,
}

impl Schedule {
    fn new(scenario: &Scenario, options: &Options) -> Self {
        let mut rng = Rng::with_seed(options.seed ^ 0x0073_6368_6564);
        let mut events = scenario.events.clone();
        events.sort_by_key(|event| event.at);
        Self {
            // A schedule fires somewhere in its minute.
            reconcile_offset_ms: rng.u64(0..60_000),
            off_peak_offset_ms: rng.u64(0..60_000),
            rng,
            reconcile: scenario.world.reconcile && options.mutation != Mutation::NoReconcile,
            next_event: 0,
            events,
        }
    }

    /// What comes between `ms` and the next step.
    fn due(
        &mut self,
        ms: u64,
        scenario: &Scenario,
        policy: &Policy,
        cloud: &Cloud,
        functions: &ScalingFunctions,
    ) {
        if ms.is_multiple_of(60_000) {
            if self.reconcile {
                let event = json!({ "wake": "reconcile" }).to_string();
                functions.up.invoke(event, self.reconcile_offset_ms);
            }
            let window = scenario.world.off_peak;
            if ms.is_multiple_of(600_000) && window.contains(ms % 86_400_000) {
                let event = json!({ "wake": "off-peak", "scheduledTime": timestamp(ms) });
                functions.down.invoke(event.to_string(), self.off_peak_offset_ms);
            }
        }
        while let Some(event) = self.events.get(self.next_event).filter(|event| event.at.0 <= ms) {
            self.next_event += 1;
            match &event.what {
                Happens::WakeUp(event) => functions.up.invoke(event.clone(), 0),
                Happens::WakeDown(event) => functions.down.invoke(event.clone(), 0),
                Happens::UpdateShardCount(target) => cloud.by_hand_update_shard_count(*target),
                Happens::PutConcurrency(to) => cloud.by_hand_put_concurrency(PROCESSOR, *to),
                Happens::StackUpdate(_) => stack_update(policy, cloud),
                Happens::ReshardSeconds(seconds) => cloud.stream.set_limits(limits(*seconds)),
                Happens::EnableShardMetrics(metrics) => cloud.by_hand_enable_shard_metrics(metrics),
            }
        }
    }

    fn alarm(&mut self, ms: u64, alarm: &str, scenario: &Scenario, functions: &ScalingFunctions) {
        let mut here = scenario.alarm_faults.iter().filter(|fault| {
            fault.from.0 <= ms && ms < fault.until.0 && self.rng.f64() < fault.probability
        });
        let (copies, delay_ms) =
            here.next().map_or((1, 0), |fault| (fault.copies, fault.delay_seconds * 1_000));
        for copy in 0..copies {
            functions.up.invoke(alarm_event(alarm), delay_ms + u64::from(copy) * 300);
        }
    }
}

/// Sets thresholds and concurrency to the template's, which know only the default.
fn stack_update(policy: &Policy, cloud: &Cloud) {
    let default = policy.shard_count_default;
    cloud.by_hand_put_concurrency(PROCESSOR, policy.concurrency(default, 1.0));
    let alarms: Vec<(String, String, u32)> = cloud
        .alarms
        .borrow()
        .values()
        .map(|alarm| {
            let Alarm { name, period_seconds, .. } = &alarm.alarm;
            (name.clone(), alarm.metric.name.clone(), *period_seconds)
        })
        .collect();
    for (name, metric, period_seconds) in alarms {
        let threshold = template_threshold(policy, &metric, default, period_seconds);
        cloud.by_hand_put_threshold(&name, threshold);
    }
}

fn outcome(
    scenario: &Scenario,
    log: &Log,
    invariants: Invariants,
    cloud: &Cloud,
    dollars: f64,
) -> Outcome {
    let mut lines = log.lines.take();
    let accepts = &scenario.accepts;
    let mut failures: Vec<String> = Vec::new();
    for (epoch_ms, what) in &invariants.violations {
        // The first of a kind says it.
        if failures.len() < 20 {
            failures.push(format!("{} {what}", time(*epoch_ms)));
        }
        lines.push((*epoch_ms, format!("VIOLATION: {what}")));
    }
    let fluid = cloud.fluid.borrow();
    let fluid = fluid.as_ref().expect("a load");
    let shards_max = invariants.path.iter().copied().max().unwrap_or(0);
    let mut expect = |is_met: bool, what: String| {
        if !is_met {
            failures.push(what);
        }
    };
    let within = |value: u32, (least, most): (u32, u32)| (least..=most).contains(&value);
    expect(
        within(shards_max, accepts.shards_max),
        format!("{shards_max} shards at the most, not within {:?}", accepts.shards_max),
    );
    expect(
        within(invariants.calls, accepts.calls),
        format!("{} UpdateShardCount calls, not within {:?}", invariants.calls, accepts.calls),
    );
    expect(
        within(invariants.splits, accepts.splits),
        format!("{} SplitShard calls, not within {:?}", invariants.splits, accepts.splits),
    );
    let (on, off) = invariants.shard_metric_switches;
    expect(
        (on, off) == accepts.shard_metric_switches,
        format!(
            "shard-level metrics were switched on {on} times and off {off} times, not {:?}",
            accepts.shard_metric_switches
        ),
    );
    expect(
        within(invariants.merges, accepts.merges),
        format!("{} MergeShards calls, not within {:?}", invariants.merges, accepts.merges),
    );
    let lag = fluid.lag_seconds_max;
    let lag_max = accepts.lag_seconds_max;
    expect(lag <= lag_max, format!("{lag} s behind, more than {lag_max} s"));
    let dead = fluid.dead.bytes / 1e6;
    let dead_max = accepts.dead_letter_megabytes_max;
    expect(dead <= dead_max, format!("{dead:.3} MB dead-lettered, more than {dead_max}"));
    let refused = invariants.refused_by_rule;
    let refused_max = accepts.refused_by_rule_max;
    expect(refused <= refused_max, format!("{refused} calls refused, more than {refused_max}"));
    if let Some(path) = &accepts.path {
        expect(&invariants.path == path, format!("{:?}, not {path:?}", invariants.path));
    }
    for text in &accepts.says {
        let said = lines.iter().any(|(_, line)| line.contains(text));
        expect(said, format!("nothing says {text:?}"));
    }
    let brief = format!(
        "{}end: {} control plane calls, ${dollars:.2} for shards, ${:.2} for their metrics\n",
        text(log.brief.take()),
        cloud.calls().len(),
        cloud.shard_metrics_dollars(),
    );
    Outcome {
        text: text(lines),
        brief,
        failures,
        path: invariants.path,
        calls: invariants.calls,
        splits: invariants.splits,
        merges: invariants.merges,
        lag_seconds_max: lag,
        dead_letter_bytes: fluid.dead.bytes,
        dollars,
        shard_metrics_dollars: cloud.shard_metrics_dollars(),
        control_calls: cloud.calls().len() as u64,
    }
}

/// `26:10:07.250` since the begin.
fn time(epoch_ms: u64) -> String {
    let ms = epoch_ms - BEGIN_EPOCH_MS;
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}", ms / 1_000 % 60, ms % 1_000)
}
