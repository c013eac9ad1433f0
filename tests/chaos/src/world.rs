//! One world a seed: CloudWatch Logs → Lambda's queue → processors → stream, dead-letter queue,
//! quarantine → replayer → processors.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use dlq_replayer::Replayer;
use fastrand::Rng;
use futures_util::FutureExt;
use log_processor::Processor;
use log_processor::config::TransformName;
use sluice::logs::{LogEvent, Payload, Transform, Verdict as Shaped};
use sluice::ports::{Clock, EmitMetrics, PutError};
use sluice::records::PartitionBy;
use sluice_simulated::cloud::ProcessorSpec;
use sluice_simulated::functions::Failure;
use sluice_simulated::lambda::InvokeFault;
use sluice_simulated::queue::{QueueFault, SharedQueue};
use sluice_simulated::{
    Account, AsyncFunction, Asynchronous, Cloud, CloudStream, Fate, Fates, Fault, Lambda, Life,
    Mortal, Queue, Stream, VirtualClock, logs,
};
use tokio::task::{LocalSet, spawn_local};

use crate::events::{FAILING_MARK, FILTERED_MARK, Kind, Sent, id_of};
use crate::judge::{Copies, Places, Verdict, judge};
pub use crate::plan::Role;
use crate::plan::{Plan, StreamTrouble, Trouble};
use crate::ports::{Mutation, QueuePort, StreamPort};

/// The functions' names.
const PROCESSOR: &str = "log-processor";
const REPLAYER: &str = "dlq-replayer";
/// As in the template.
const PROCESSOR_TIMEOUT: Duration = Duration::from_secs(60);
const REPLAYER_TIMEOUT: Duration = Duration::from_secs(900);
const REPLAY_HOPS_MAX: u32 = 16;
const REPLAYER_RETRIES_MAX: u32 = 1;
const REPLAYER_AGE_SECONDS_MAX: u64 = 3_600;
/// Once the faults have ended, a replay is asked for this often,
const REST_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// and so many times at the most: a dead letter lives for 14 days.
const RESTS_MAX: u32 = 40;
/// An execution environment that dies at any moment does so within 2 to the power of one of these
/// milliseconds of its begin: invocations take from milliseconds to minutes.
const DIES_WITHIN_MS_LOG2: std::ops::Range<u32> = 3..18;

/// A kill in one exact call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// Who dies.
    pub role: Role,
    /// In this one of all the calls of its kind, counted from 0.
    pub call: usize,
    /// After the call took effect, or before.
    pub after: bool,
}

/// What a test changes about a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Who is killed where.
    pub death: Option<Death>,
    /// What is removed.
    pub mutation: Mutation,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Log events that were sent.
    pub events: u64,
    /// What became of them.
    pub verdict: Verdict,
    /// All places at the end.
    pub places: Places,
    /// All places when an environment was found dead, while its event was still in Lambda's hands;
    /// only when [`Options::death`] asks for one.
    pub at_death: Vec<Places>,
    /// Events that were in the dead-letter queue at any time,
    pub dead_lettered: u64,
    /// and those of them that are in the stream.
    pub replayed: u64,
    /// Events that CloudWatch handed over a second time.
    pub handed_over_twice: u64,
    /// Execution environments that were killed.
    pub deaths: u64,
    /// The processors' calls, in order.
    pub processor_calls: Vec<&'static str>,
    /// The replayers' calls, in order.
    pub replayer_calls: Vec<&'static str>,
    /// Everything that was written anywhere, when and in which order, in one number.
    pub history: u64,
    /// Virtual hours until it was at rest.
    pub hours: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { lost, duplicates, delivered, quarantined, filtered, deleted, failures } =
            &self.verdict;
        write!(
            out,
            "{} events: {delivered} delivered, {filtered} filtered, {quarantined} quarantined, {} \
             lost, {deleted} deleted by Lambda; {} dead-lettered, {} replayed; {duplicates} duplicates, {} handed over twice; {} \
             killed; at rest after {} h; history {:016x}",
            self.events,
            lost.len(),
            self.dead_lettered,
            self.replayed,
            self.handed_over_twice,
            self.deaths,
            self.hours,
            self.history,
        )?;
        for failure in failures {
            write!(out, "\n  FAILED: {failure}")?;
        }
        Ok(())
    }
}

/// Runs a plan to its end.
#[must_use]
pub fn run(plan: &Plan, options: &Options) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    LocalSet::new().block_on(&runtime, carry(plan.clone(), *options))
}

/// Lambda keeps what a function prints; nobody reads it here.
#[derive(Clone, Copy)]
struct Silent;

impl EmitMetrics for Silent {
    fn emit(&self, _: &str) {}
}

/// Leaves out and fails on what is marked so, and remembers what it left out.
struct Marked {
    filtered: Rc<RefCell<BTreeSet<usize>>>,
}

impl Transform for Marked {
    fn apply(&self, _: &Payload<'_>, event: &LogEvent<'_>, out: &mut Vec<u8>) -> Shaped {
        let begin = out.len();
        event.message.append_value_to(out);
        let message = &out[begin..];
        if message.ends_with(FILTERED_MARK) {
            self.filtered.borrow_mut().extend(id_of(message));
            Shaped::Drop
        } else if message.ends_with(FAILING_MARK) {
            Shaped::Fail("marked".to_owned())
        } else {
            Shaped::Keep
        }
    }
}

type RealProcessor = Processor<Mortal<StreamPort>, Mortal<QueuePort>, VirtualClock, Silent>;
type RealReplayer = Replayer<Mortal<QueuePort>, Mortal<Lambda>, VirtualClock, Silent>;

/// An execution environment.
struct Environment<F> {
    function: F,
    life: Rc<Life>,
}

struct World {
    plan: Plan,
    options: Options,
    clock: VirtualClock,
    cloud: Rc<Cloud>,
    queue: Rc<Queue>,
    quarantine: Rc<Queue>,
    lambda: Lambda,
    sent: RefCell<Sent>,
    filtered: Rc<RefCell<BTreeSet<usize>>>,
    visibility_divisor: Rc<Cell<u32>>,
    processors: RefCell<Vec<Environment<RealProcessor>>>,
    replayers: RefCell<Vec<Environment<RealReplayer>>>,
    processor_fates: Rc<Fates>,
    replayer_fates: Rc<Fates>,
    rng: RefCell<Rng>,
    deaths: Cell<u64>,
    at_death: RefCell<Vec<Places>>,
    handed_over_twice: Cell<u64>,
}

async fn carry(plan: Plan, options: Options) -> Outcome {
    let world = World::new(plan, options);
    world.break_services();
    let processors = world.start_processors();
    let replayers = world.start_replayers();
    world.lambda.add(PROCESSOR, Rc::clone(&processors));
    world.lambda.add(REPLAYER, Rc::clone(&replayers));

    spawn_local(Rc::clone(&world).replay_on_demand(Rc::clone(&replayers)));
    world.send(&processors).await;
    world.wait_until(world.plan.faults_end_ms()).await;
    world.end_faults();
    let is_at_rest = world.come_to_rest(&processors, &replayers).await;
    let outcome = world.outcome(&processors, is_at_rest);
    // Functions hold the world and the world holds them.
    world.lambda.clear();
    world.processors.borrow_mut().clear();
    world.replayers.borrow_mut().clear();
    outcome
}

impl World {
    fn new(plan: Plan, options: Options) -> Rc<Self> {
        let clock = VirtualClock::begin();
        let mut account = Account::new(1_000);
        account.create_function(PROCESSOR, Some(plan.processors));
        account.create_function(REPLAYER, Some(plan.replayers));
        let stream = Stream::new(clock, plan.shards);
        let spec = ProcessorSpec { function: PROCESSOR.to_owned(), event_bytes: 1.0 };
        let seed = plan.seed;
        let cloud = Rc::new(Cloud::new(clock, "stream", stream, account, spec, false, seed));
        let (queue, quarantine) = (Rc::new(Queue::new(clock)), Rc::new(Queue::new(clock)));
        queue.set_redrive(Rc::clone(&quarantine), plan.receive_count_max);
        Rc::new(Self {
            options,
            clock,
            queue,
            quarantine,
            lambda: Lambda::new(Rc::clone(&cloud)),
            cloud,
            sent: RefCell::default(),
            filtered: Rc::default(),
            visibility_divisor: Rc::new(Cell::new(1)),
            processors: RefCell::default(),
            replayers: RefCell::default(),
            processor_fates: Fates::kind(),
            replayer_fates: Fates::kind(),
            rng: RefCell::new(Rng::with_seed(seed ^ 0x77_6f72_6c64)),
            deaths: Cell::new(0),
            at_death: RefCell::default(),
            handed_over_twice: Cell::new(0),
            plan,
        })
    }

    fn now_ms(&self) -> u64 {
        self.clock.monotonic().as_millis() as u64
    }

    async fn wait_until(&self, ms: u64) {
        self.clock.sleep(Duration::from_millis(ms.saturating_sub(self.now_ms()))).await;
    }

    fn fork_rng(&self) -> Rng {
        self.rng.borrow_mut().fork()
    }

    /// Faults as the plan has them.
    fn break_services(self: &Rc<Self>) {
        let clock = self.clock;
        let now_ms = move || clock.monotonic().as_millis() as u64;
        let troubles = || self.plan.troubles.clone();

        let (mut rng, all) = (self.fork_rng(), troubles());
        self.cloud.stream.set_faults(move |call| {
            for trouble in &all {
                if let Trouble::Stream(window, chance, what) = trouble
                    && window.contains(now_ms())
                    && rng.f64() < *chance
                    && let Some(fault) = stream_fault(*what, call.entries, &mut rng)
                {
                    return fault;
                }
            }
            Fault::None
        });
        for queue in [&self.queue, &self.quarantine] {
            let (mut rng, all) = (self.fork_rng(), troubles());
            queue.set_faults(move |_| {
                let fault = all.iter().find_map(|trouble| match trouble {
                    Trouble::Queues(window, chance, fault) => {
                        (window.contains(now_ms()) && rng.f64() < *chance).then_some(*fault)
                    }
                    _ => None,
                });
                fault.unwrap_or(QueueFault::None)
            });
        }
        let (mut rng, all) = (self.fork_rng(), troubles());
        self.lambda.set_faults(move |_| {
            let fault = all.iter().find_map(|trouble| match trouble {
                Trouble::Lambda(window, chance, fault) => {
                    (window.contains(now_ms()) && rng.f64() < *chance).then_some(*fault)
                }
                _ => None,
            });
            fault.unwrap_or(InvokeFault::None)
        });
        for (role, fates) in
            [(Role::Processor, &self.processor_fates), (Role::Replayer, &self.replayer_fates)]
        {
            let (mut rng, death) = (self.fork_rng(), self.options.death);
            let chance: f64 = self
                .plan
                .troubles
                .iter()
                .map(|trouble| match trouble {
                    Trouble::Kill(who, chance) if *who == role => *chance,
                    _ => 0.0,
                })
                .sum();
            fates.set_plan(move |call| match death {
                Some(death) if death.role == role && death.call == call.number => {
                    if death.after {
                        Fate::DiesAfter
                    } else {
                        Fate::DiesBefore
                    }
                }
                _ if rng.f64() >= chance => Fate::Lives,
                _ if rng.bool() => Fate::DiesBefore,
                _ => Fate::DiesAfter,
            });
        }
        for trouble in troubles() {
            let world = Rc::clone(self);
            match trouble {
                Trouble::StreamGone(window) => drop(spawn_local(async move {
                    world.wait_until(window.from_ms).await;
                    world.cloud.stream.delete();
                    world.wait_until(window.to_ms).await;
                    let shards = world.rng.borrow_mut().usize(1..=4);
                    world.cloud.stream.create_again(shards);
                })),
                Trouble::ProcessorsStopped(window) => drop(spawn_local(async move {
                    let reserve = |number| {
                        let reserved =
                            world.cloud.account.borrow_mut().put_reserved(PROCESSOR, number);
                        reserved.expect("an account with room");
                    };
                    world.wait_until(window.from_ms).await;
                    reserve(0);
                    world.wait_until(window.to_ms).await;
                    reserve(world.plan.processors);
                })),
                Trouble::VisibilityDividedBy(divisor) => self.visibility_divisor.set(divisor),
                _ => {}
            }
        }
    }

    /// From now on nothing goes wrong.
    fn end_faults(&self) {
        self.cloud.stream.set_faults(|_| Fault::None);
        self.queue.set_faults(|_| QueueFault::None);
        self.quarantine.set_faults(|_| QueueFault::None);
        self.lambda.set_faults(|_| InvokeFault::None);
        if self.options.death.is_none() {
            self.processor_fates.set_plan(|_| Fate::Lives);
            self.replayer_fates.set_plan(|_| Fate::Lives);
        }
        self.visibility_divisor.set(1);
    }

    /// CloudWatch Logs hands over everything that the plan has.
    async fn send(&self, processors: &AsyncFunction) {
        let mut rng = self.fork_rng();
        let plan = &self.plan;
        let twice: f64 = plan
            .troubles
            .iter()
            .map(|trouble| if let Trouble::PayloadTwice(chance) = trouble { *chance } else { 0.0 })
            .sum();
        let payloads = (plan.events * 2).div_ceil(plan.payload_events_max + 1).max(1);
        let gap_ms = plan.traffic_ms / payloads as u64;
        let mut huge = plan.huge;
        if plan.control_message {
            processors.invoke(logs::event(&logs::control_payload()), 0);
        }
        loop {
            let left = plan.events.saturating_sub(self.sent.borrow().len());
            if left == 0 {
                return;
            }
            let epoch_ms = self.clock.epoch_ms();
            let (event, events) = if rng.f64() < plan.poison {
                (self.sent.borrow_mut().poison(&mut rng), 1)
            } else {
                let events = rng.usize(plan.payload_events_min..=plan.payload_events_max).min(left);
                let kind = || {
                    if huge > 0 && rng.u8(..50) == 0 {
                        huge -= 1;
                        return Kind::Huge;
                    }
                    let share = rng.f64();
                    if share < plan.filtered {
                        Kind::Filtered
                    } else if share < plan.filtered + plan.failing {
                        Kind::Failing
                    } else {
                        Kind::Plain
                    }
                };
                (self.sent.borrow_mut().payload(events, epoch_ms, kind), events)
            };
            if rng.f64() < twice {
                self.handed_over_twice.set(self.handed_over_twice.get() + events as u64);
                processors.invoke(event.clone(), rng.u64(..600_000));
            }
            processors.invoke(event, rng.u64(..1_000));
            self.clock.sleep(Duration::from_millis(rng.u64(..=2 * gap_ms))).await;
        }
    }

    /// Somebody asks for a replay now and then while things go wrong.
    async fn replay_on_demand(self: Rc<Self>, replayers: Rc<AsyncFunction>) {
        let mut rng = self.fork_rng();
        while self.now_ms() + self.plan.replay_every_ms < self.plan.faults_end_ms() {
            self.clock.sleep(Duration::from_millis(self.plan.replay_every_ms)).await;
            for _ in 0..self.plan.replayers {
                let event = match rng.u8(..10) {
                    0 => r#"{"dryRun":true}"#.to_owned(),
                    1..4 => format!(r#"{{"max":{}}}"#, rng.u32(1..=50)),
                    _ => "{}".to_owned(),
                };
                replayers.invoke(event, 0);
            }
        }
    }

    /// The schedule replays until nothing is under way and the queue is empty.
    async fn come_to_rest(&self, processors: &AsyncFunction, replayers: &AsyncFunction) -> bool {
        for _ in 0..RESTS_MAX {
            let is_idle = processors.in_flight() == 0 && replayers.in_flight() == 0;
            if is_idle && self.queue.stored().is_empty() {
                return true;
            }
            replayers.invoke("{}".to_owned(), 0);
            self.clock.sleep(REST_EVERY).await;
        }
        false
    }

    fn start_processors(self: &Rc<Self>) -> Rc<AsyncFunction> {
        let world = Rc::clone(self);
        let handler = move |event: String| Rc::clone(&world).invoke_processor(event).boxed_local();
        let asynchronous = Asynchronous {
            dead_letter_queue: Some(Rc::clone(&self.queue)),
            backlog: self.plan.backlog(),
            ..Asynchronous::default()
        };
        AsyncFunction::start(Rc::clone(&self.cloud), PROCESSOR, asynchronous, Rc::new(handler))
    }

    fn start_replayers(self: &Rc<Self>) -> Rc<AsyncFunction> {
        let world = Rc::clone(self);
        let handler = move |event: String| Rc::clone(&world).invoke_replayer(event).boxed_local();
        let asynchronous = Asynchronous {
            retries_max: REPLAYER_RETRIES_MAX,
            age_seconds_max: REPLAYER_AGE_SECONDS_MAX,
            ..Asynchronous::default()
        };
        AsyncFunction::start(Rc::clone(&self.cloud), REPLAYER, asynchronous, Rc::new(handler))
    }

    async fn invoke_processor(self: Rc<Self>, event: String) -> Result<String, Failure> {
        let warm = self.processors.borrow_mut().pop();
        let mut environment = warm.unwrap_or_else(|| self.new_processor());
        let deadline_ms = self.clock.epoch_ms() + PROCESSOR_TIMEOUT.as_millis() as u64;
        let handling = environment.function.handle(&event, deadline_ms);
        let life = Rc::clone(&environment.life);
        let handled = self.attend(Role::Processor, handling, &life, PROCESSOR_TIMEOUT).await?;
        self.processors.borrow_mut().push(environment);
        let answer = handled.map_err(|error| failed("HandoffError", error.to_string()))?;
        Ok(serde_json::to_string(&answer).expect("an answer is JSON"))
    }

    async fn invoke_replayer(self: Rc<Self>, event: String) -> Result<String, Failure> {
        let warm = self.replayers.borrow_mut().pop();
        let environment = warm.unwrap_or_else(|| self.new_replayer());
        let deadline_ms = self.clock.epoch_ms() + REPLAYER_TIMEOUT.as_millis() as u64;
        let handling = environment.function.handle(&event, deadline_ms);
        let life = Rc::clone(&environment.life);
        let handled = self.attend(Role::Replayer, handling, &life, REPLAYER_TIMEOUT).await?;
        self.replayers.borrow_mut().push(environment);
        let report = handled.map_err(|error| failed("ReplayError", error.to_string()))?;
        Ok(serde_json::to_string(&report).expect("a report is JSON"))
    }

    /// Sees an invocation to its end: its answer, its death or its deadline. An environment that
    /// died is thrown away.
    async fn attend<T>(
        &self,
        role: Role,
        handling: impl Future<Output = T>,
        life: &Life,
        timeout: Duration,
    ) -> Result<T, Failure> {
        let chance: f64 = self
            .plan
            .troubles
            .iter()
            .map(|trouble| match trouble {
                Trouble::KillAtAnyMoment(who, chance) if *who == role => *chance,
                _ => 0.0,
            })
            .sum();
        let (is_doomed, moment_ms) = {
            let mut rng = self.rng.borrow_mut();
            let within_ms = 1 << rng.u32(DIES_WITHIN_MS_LOG2);
            (rng.f64() < chance, rng.u64(..within_ms))
        };
        let is_doomed = is_doomed && self.now_ms() < self.plan.faults_end_ms();
        let moment = Duration::from_millis(if is_doomed { moment_ms } else { u64::MAX / 4_000 });
        let killed = async {
            tokio::select! {
                biased;
                () = life.ended() => {}
                () = self.clock.sleep(moment) => {}
            }
        };
        tokio::select! {
            biased;
            () = killed => {
                self.deaths.set(self.deaths.get() + 1);
                if self.options.death.is_some() {
                    self.at_death.borrow_mut().push(self.places());
                }
                Err(failed("Runtime.ExitError", "signal: killed".to_owned()))
            }
            ended = tokio::time::timeout(timeout, handling) => {
                ended.map_err(|_| failed("Sandbox.Timedout", "Task timed out".to_owned()))
            }
        }
    }

    fn queue_port(&self, queue: &Rc<Queue>, life: &Rc<Life>) -> Mortal<QueuePort> {
        let port = QueuePort {
            queue: SharedQueue(Rc::clone(queue)),
            mutation: self.options.mutation,
            visibility_divisor: Rc::clone(&self.visibility_divisor),
        };
        Mortal::new(port, life)
    }

    fn new_processor(&self) -> Environment<RealProcessor> {
        let life = Rc::new(Life::new(Rc::clone(&self.processor_fates)));
        let config = log_processor::Config {
            stream_name: "stream".to_owned(),
            dead_letter_queue_url: Some("https://queue.example".to_owned()),
            quarantine_queue_url: Some("https://quarantine.example".to_owned()),
            transform: TransformName::Passthrough,
            record_format: self.plan.record_format,
            record_bytes_target: self.plan.record_bytes_target,
            record_bytes_max: sluice::limits::RECORD_BYTES_MAX,
            partition_by: PartitionBy::Even,
            concurrency_per_shard: 1,
            put_attempts_max: self.plan.put_attempts_max,
            function_name: PROCESSOR.to_owned(),
            log_group_name: None,
        };
        let stream = StreamPort {
            stream: CloudStream::new(Rc::clone(&self.cloud)),
            mutation: self.options.mutation,
        };
        let ports = log_processor::Ports {
            stream: Mortal::new(stream, &life),
            queue: Some(self.queue_port(&self.queue, &life)),
            quarantine: Some(self.queue_port(&self.quarantine, &life)),
            clock: self.clock,
            metrics: Silent,
        };
        let transform = Box::new(Marked { filtered: Rc::clone(&self.filtered) });
        let function = Processor::new(config, ports, self.fork_rng()).with_transform(transform);
        Environment { function, life }
    }

    fn new_replayer(&self) -> Environment<RealReplayer> {
        let life = Rc::new(Life::new(Rc::clone(&self.replayer_fates)));
        let config = dlq_replayer::Config {
            dead_letter_queue_url: "https://queue.example".to_owned(),
            quarantine_queue_url: "https://quarantine.example".to_owned(),
            processor_function: PROCESSOR.to_owned(),
            processor_timeout: PROCESSOR_TIMEOUT,
            replay_attempts_max: self.plan.replay_attempts_max,
            replay_parallelism: None,
            replay_hops_max: REPLAY_HOPS_MAX,
            function_name: REPLAYER.to_owned(),
        };
        let ports = dlq_replayer::Ports {
            queue: self.queue_port(&self.queue, &life),
            quarantine: self.queue_port(&self.quarantine, &life),
            functions: Mortal::new(self.lambda.clone(), &life),
            clock: self.clock,
            metrics: Silent,
        };
        Environment { function: Replayer::new(config, ports, self.fork_rng()), life }
    }

    /// Where everything is now.
    fn places(&self) -> Places {
        let sent = self.sent.borrow();
        let bodies = |queue: &Queue| queue.stored().into_iter().map(|message| message.body);
        Places {
            stream: Copies::in_records(&sent, &self.cloud.stream.records()),
            dead_letters: Copies::in_bodies(&sent, bodies(&self.queue)),
            quarantine: Copies::in_bodies(&sent, bodies(&self.quarantine)),
        }
    }

    fn outcome(&self, processors: &AsyncFunction, is_at_rest: bool) -> Outcome {
        let places = self.places();
        let sent = self.sent.borrow();
        let filtered = self.filtered.borrow();
        let deleted = Copies::in_bodies(&sent, processors.deleted());
        let is_deleted = |id| deleted.of(id) > 0;
        let mut verdict = judge(&sent, &places, |id| filtered.contains(&id), is_deleted);
        let left = self.queue.stored().len();
        if !is_at_rest {
            let waiting = processors.in_flight();
            let failure =
                format!("{left} dead letters and {waiting} events do not come to rest in 10 days");
            verdict.failures.push(failure);
        }
        for (what, number) in [
            ("dead letters were deleted by Lambda", processors.dropped().len()),
            ("dead letters expired", self.queue.expired().len()),
            ("quarantined messages expired", self.quarantine.expired().len()),
        ] {
            if number > 0 {
                verdict.failures.push(format!("{number} {what}"));
            }
        }

        let ever = self.queue.ever();
        let dead = Copies::in_bodies(&sent, ever.iter().map(|message| &message.body));
        let was_dead = |id: &usize| dead.of(*id) > 0;
        let mut history = DefaultHasher::new();
        for stored in self.cloud.stream.take_records() {
            (stored.shard, stored.epoch_ms, &stored.record.partition_key).hash(&mut history);
            stored.record.data.hash(&mut history);
        }
        for message in ever.iter().chain(&self.quarantine.ever()) {
            (message.sent_ms, &message.body, &message.attributes).hash(&mut history);
        }
        Outcome {
            events: sent.len() as u64,
            dead_lettered: (0..sent.len()).filter(was_dead).count() as u64,
            replayed: (0..sent.len()).filter(|id| was_dead(id) && places.stream.of(*id) > 0).count()
                as u64,
            handed_over_twice: self.handed_over_twice.get(),
            deaths: self.deaths.get(),
            processor_calls: self.processor_fates.calls(),
            replayer_calls: self.replayer_fates.calls(),
            history: history.finish(),
            hours: self.now_ms() / 3_600_000,
            at_death: self.at_death.take(),
            verdict,
            places,
        }
    }
}

fn failed(error_type: &str, message: String) -> Failure {
    Failure { error_type: error_type.to_owned(), message }
}

fn stream_fault(what: StreamTrouble, entries: usize, rng: &mut Rng) -> Option<Fault> {
    let error =
        |code: &str| PutError::Unknown { code: code.to_owned(), detail: "simulated".to_owned() };
    Some(match what {
        StreamTrouble::Refuses(share) => {
            let places: Vec<usize> = (0..entries).filter(|_| rng.f64() < share).collect();
            if places.is_empty() {
                return None;
            }
            Fault::RefuseEntries(places)
        }
        StreamTrouble::RefusesLast => Fault::RefuseEntries(vec![entries - 1]),
        StreamTrouble::Throttles => Fault::Error(PutError::Transient {
            code: "ProvisionedThroughputExceededException".to_owned(),
            detail: "simulated".to_owned(),
        }),
        StreamTrouble::Error => Fault::Error(error("InternalFailure")),
        StreamTrouble::Hangs => Fault::Hang,
        StreamTrouble::AnswerLost => Fault::AnswerLost,
        StreamTrouble::WrittenAndHangs => Fault::WrittenAndHang,
        StreamTrouble::ShortAnswer => Fault::ShortAnswer,
    })
}
