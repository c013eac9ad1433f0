//! The stacks as their templates have them, in one simulated account, with the real functions.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use dlq_replayer::Report;
use fastrand::Rng;
use log_processor::{Config, Ports, Processor};
use operations::{Stack, Template, TemplateAlarm, alarms};
use serde_json::{Value, json};
use sluice::config::EnvReader;
use sluice::ports::{Clock, EmitMetrics, StreamRecord};
use sluice::scaling::AlarmState;
use sluice_autoscaler::ScalingConfig;
use sluice_simulated::clock::BEGIN_EPOCH_MS;
use sluice_simulated::cloud::ProcessorSpec;
use sluice_simulated::cloudwatch::{MINUTE_MS, MetricName, Unpublished};
use sluice_simulated::{
    Account, Cloud, CloudMetrics, Control, Firehose, Queue, Stream, VirtualClock,
    event_source_mapping, logs,
};
use stream_replayer::{Progress, Trigger};

/// Whichever way `FILL` of a metric that was never published goes.
pub const ANSWERS: [Unpublished; 2] = [Unpublished::IsFilled, Unpublished::StaysEmpty];
pub const STREAM: &str = "logs";
pub const PROCESSOR: &str = "sluice-log-processor";
pub const LOG_PROCESSING: &str = "carry";
pub const AUTOSCALING: &str = "scale";
pub const ARCHIVE: &str = "archive";
pub const STREAM_REPLAY: &str = "again";
/// As their templates name them.
pub const ARCHIVER: &str = "sluice-archiver";
pub const STREAM_REPLAYER: &str = "sluice-stream-replayer";
pub const TOPIC: &str = "arn:aws:sns:eu-central-1:000000000000:operators";
pub const LOG_GROUPS: [&str; 2] = ["/app/web", "/app/worker"];

/// The log-processing stack with everything that can be switched on.
pub fn log_processing() -> Stack {
    log_processing_with("lambda")
}

/// The same with a queue before the processor.
pub fn log_processing_with_queue() -> Stack {
    log_processing_with("queue")
}

fn log_processing_with(buffer: &str) -> Stack {
    Template::read("log-processing.yaml").launch(
        LOG_PROCESSING,
        &[
            ("CodeS3Bucket", "code"),
            ("CodeS3Key", "log-processor.zip"),
            ("CodeS3KeyDlqReplayer", "dlq-replayer.zip"),
            ("StreamName", STREAM),
            ("LogGroupNames", &LOG_GROUPS.join(",")),
            ("NotifyTopicArn", TOPIC),
            ("Buffer", buffer),
        ],
    )
}

/// The autoscaling stack with everything that can be switched on.
pub fn autoscaling() -> Stack {
    Template::read("autoscaling.yaml").launch(
        AUTOSCALING,
        &[
            ("CodeS3Bucket", "code"),
            ("CodeS3KeyScaleUp", "scale-up.zip"),
            ("CodeS3KeyScaleDown", "scale-down.zip"),
            ("StreamName", STREAM),
            ("ProcessorFunctions", PROCESSOR),
            ("FastAlarm", "true"),
            ("NotifyTopicArn", TOPIC),
        ],
    )
}

/// The archive's stack.
pub fn archive() -> Stack {
    let code = [("CodeS3Bucket", "code"), ("CodeS3Key", "archiver.zip")];
    let more = [("StreamName", STREAM), ("NotifyTopicArn", TOPIC)];
    Template::read("archive.yaml").launch(ARCHIVE, &[code, more].concat())
}

/// The stack of the replay of a stream's past.
pub fn stream_replay() -> Stack {
    let code = [("CodeS3Bucket", "code"), ("CodeS3Key", "stream-replayer.zip")];
    let more = [("StreamName", STREAM), ("NotifyTopicArn", TOPIC)];
    Template::read("stream-replay.yaml").launch(STREAM_REPLAY, &[code, more].concat())
}

/// The overview of all stacks.
pub fn overview() -> Stack {
    Template::read("overview.yaml").launch("overview", &overview_parameters())
}

/// What the overview of all stacks is told.
pub fn overview_parameters() -> [(&'static str, &'static str); 8] {
    [
        ("LogProcessingStack", LOG_PROCESSING),
        ("AutoscalingStack", AUTOSCALING),
        ("ArchiveStack", ARCHIVE),
        ("StreamReplayStack", STREAM_REPLAY),
        ("StreamName", STREAM),
        ("DeadLetterQueueName", "sluice-dead-letters-u"),
        ("QuarantineQueueName", "carry-QuarantineQueue"),
        ("BufferQueueName", "carry-BufferQueue"),
    ]
}

/// The alarms of all stacks.
pub fn all_alarms() -> BTreeMap<String, TemplateAlarm> {
    let stacks = [
        (log_processing(), LOG_PROCESSING),
        (autoscaling(), AUTOSCALING),
        (archive(), ARCHIVE),
        (stream_replay(), STREAM_REPLAY),
    ];
    let mut all = BTreeMap::new();
    for (name, alarm) in stacks.iter().flat_map(|(stack, name)| alarms(stack, name)) {
        assert!(all.insert(name.clone(), alarm).is_none(), "{name} is in two");
    }
    for (name, alarm) in alarms(&log_processing_with_queue(), LOG_PROCESSING) {
        all.entry(name).or_insert(alarm);
    }
    all
}

/// A function's environment as the template and Lambda set it.
fn environment(stack: &Stack, function: &str) -> impl Fn(&str) -> Option<String> + use<> {
    let properties = &stack.resources[function].properties;
    let name = properties["FunctionName"].as_str().expect("a name").to_owned();
    let variables = properties["Environment"]["Variables"].clone();
    move |variable| match variable {
        "AWS_LAMBDA_FUNCTION_NAME" => Some(name.clone()),
        "DEAD_LETTER_QUEUE_URL" => Some("https://dead-letters.example".to_owned()),
        "QUARANTINE_QUEUE_URL" => Some("https://quarantine.example".to_owned()),
        "ON_FAILURE_QUEUE_URL" => Some("https://on-failure.example".to_owned()),
        _ => {
            let value = variables.get(variable)?;
            Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        }
    }
}

/// What each function is told, by the templates.
struct Configuration {
    processor: Config,
    replayer: dlq_replayer::Config,
    scale_up: ScalingConfig,
    scale_down: ScalingConfig,
    archiver: archiver::Config,
    stream_replayer: stream_replayer::Config,
}

impl Configuration {
    fn of_the_templates() -> Self {
        let (carry, scale) = (log_processing(), autoscaling());
        Self {
            processor: read(&carry, "Processor", Config::read),
            replayer: read(&carry, "Replayer", dlq_replayer::Config::read),
            scale_up: read(&scale, "ScaleUp", ScalingConfig::read),
            scale_down: read(&scale, "ScaleDown", ScalingConfig::read),
            archiver: read(&archive(), "Archiver", archiver::Config::read),
            stream_replayer: read(&stream_replay(), "Replayer", stream_replayer::Config::read),
        }
    }
}

fn read<T>(stack: &Stack, function: &str, read: fn(&mut EnvReader<'_>) -> Option<T>) -> T {
    let lookup = environment(stack, function);
    let mut env = EnvReader::new(&lookup);
    let config = read(&mut env);
    env.finish(config).expect("the template's environment")
}

/// Standard output: kept, and made metrics of.
#[derive(Clone)]
pub struct Printed {
    lines: Rc<RefCell<Vec<String>>>,
    metrics: CloudMetrics,
}

impl EmitMetrics for Printed {
    fn emit(&self, line: &str) {
        self.lines.borrow_mut().push(line.to_owned());
        self.metrics.emit(line);
    }
}

pub type SimulatedProcessor<'a> = Processor<&'a Stream, &'a Queue, VirtualClock, Printed>;

/// The account, and what CloudWatch says about it.
pub struct World {
    pub cloud: Rc<Cloud>,
    pub queue: Queue,
    pub quarantine: Queue,
    printed: Printed,
    configuration: Configuration,
    alarms: BTreeMap<String, TemplateAlarm>,
    states: BTreeMap<String, AlarmState>,
    /// Minutes after the begin, alarms and states, whenever one changed.
    pub changes: Vec<(u64, String, AlarmState)>,
}

impl World {
    pub fn new(shards: usize) -> Self {
        Self::seeded(shards, 1)
    }

    pub fn seeded(shards: usize, seed: u64) -> Self {
        let clock = VirtualClock::begin();
        let mut account = Account::new(1_000);
        account.create_function(PROCESSOR, Some(shards as u32));
        let spec = ProcessorSpec { function: PROCESSOR.to_owned(), event_bytes: 1.0 };
        let stream = Stream::new(clock, shards);
        let cloud = Rc::new(Cloud::new(clock, STREAM, stream, account, spec, false, seed));
        let metrics = CloudMetrics::new(Rc::clone(&cloud));
        Self {
            cloud,
            queue: Queue::new(clock),
            quarantine: Queue::new(clock),
            printed: Printed { lines: Rc::default(), metrics },
            configuration: Configuration::of_the_templates(),
            alarms: all_alarms(),
            states: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    pub fn clock(&self) -> VirtualClock {
        self.cloud.clock()
    }

    /// A log processor as the template configures it.
    pub fn processor(&self) -> SimulatedProcessor<'_> {
        self.processor_with(self.configuration.processor.clone())
    }

    pub fn processor_with(&self, config: Config) -> SimulatedProcessor<'_> {
        let ports = Ports {
            stream: &self.cloud.stream,
            queue: Some(&self.queue),
            quarantine: Some(&self.quarantine),
            clock: self.clock(),
            metrics: self.printed.clone(),
        };
        Processor::new(config, ports, Rng::with_seed(1))
    }

    pub async fn scale_up(&self, event: &str) {
        let config = self.configuration.scale_up.clone();
        let control = Control::new(Rc::clone(&self.cloud), "scale-up");
        let function = scale_up::ScaleUp::new(
            config,
            control,
            self.clock(),
            self.printed.clone(),
            Rng::with_seed(1),
        );
        function.handle(event).await.expect("scale-up");
    }

    pub async fn scale_down(&self, event: &str) {
        let config = self.configuration.scale_down.clone();
        let control = Control::new(Rc::clone(&self.cloud), "scale-down");
        let function = scale_down::ScaleDown::new(
            config,
            control,
            self.clock(),
            self.printed.clone(),
            Rng::with_seed(2),
        );
        function.handle(event).await.expect("scale-down");
    }

    /// What a replay prints.
    pub fn replay(&self, report: &Report) {
        self.printed.emit(&report.to_line(&self.configuration.replayer, self.clock().epoch_ms()));
    }

    /// Has the archiver archive one record.
    pub async fn archive_one(&self) {
        let (firehose, on_failure) = (Firehose::new(self.clock()), Queue::new(self.clock()));
        let ports = archiver::Ports {
            firehose: &firehose,
            on_failure: &on_failure,
            clock: self.clock(),
            metrics: self.printed.clone(),
        };
        let config = self.configuration.archiver.clone();
        let mut archiver = archiver::Archiver::new(config, ports, Rng::with_seed(1));
        let record = StreamRecord {
            sequence_number: "1".to_owned(),
            partition_key: "key".to_owned(),
            data: b"event".to_vec(),
            arrived_ms: self.clock().epoch_ms(),
        };
        let event = event_source_mapping::event("shardId-000000000000", &[record]);
        let deadline_ms = self.clock().epoch_ms() + 60_000;
        archiver.handle(&event, deadline_ms).await.expect("archived");
    }

    /// What a run of the stream replayer prints.
    pub fn replay_the_past(&self) {
        let trigger =
            r#"{"from":"2026-11-21T08:00:00Z","until":"2026-11-21T09:00:00Z","target":"stream:x"}"#;
        let trigger = Trigger::parse(trigger).expect("a trigger");
        let config = &self.configuration.stream_replayer;
        let progress = Progress::new(&config.stream_name, &trigger, Vec::new());
        let report = stream_replayer::Report::new(config, &trigger, &progress);
        self.printed.emit(&report.to_line(config, trigger.until, self.clock().epoch_ms()));
    }

    /// Lets a minute end.
    pub async fn sleep_to_next_minute(&self) {
        let past_ms = self.clock().epoch_ms() % MINUTE_MS;
        self.clock().sleep(Duration::from_millis(MINUTE_MS - past_ms)).await;
        self.cloud.catch_up();
    }

    /// Lets a minute end, and evaluates every alarm.
    pub async fn next_minute(&mut self) {
        self.sleep_to_next_minute().await;
        let end_ms = self.clock().epoch_ms();
        let metrics = self.cloud.metrics.borrow();
        for (name, alarm) in &self.alarms {
            let before = self.states.get(name).copied().unwrap_or(AlarmState::Ok);
            let state = alarm.rule.evaluate(&metrics, before, end_ms);
            if state != before {
                let minute = (end_ms - BEGIN_EPOCH_MS) / MINUTE_MS;
                self.changes.push((minute, name.clone(), state));
            }
            self.states.insert(name.clone(), state);
        }
    }

    /// When an alarm changed to what.
    pub fn changes_of(&self, alarm: &str) -> Vec<(u64, AlarmState)> {
        let of_alarm = self.changes.iter().filter(|(_, name, _)| name == alarm);
        of_alarm.map(|&(minute, _, state)| (minute, state)).collect()
    }

    /// The minutes that an alarm sees over its threshold now.
    pub fn breaching(&self, alarm: &str) -> Vec<u64> {
        let now_ms = self.clock().epoch_ms();
        let rule = &self.alarms[alarm].rule;
        let breaching = rule.breaching(&self.cloud.metrics.borrow(), now_ms).into_iter();
        breaching.map(|ms| (ms - BEGIN_EPOCH_MS) / MINUTE_MS).collect()
    }

    /// Every EMF line so far.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.printed.lines.borrow();
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Every metric of the functions' own so far.
    pub fn own_metrics(&self) -> BTreeSet<MetricName> {
        let metrics = self.cloud.metrics.borrow();
        metrics.metrics().filter(|metric| metric.namespace == "Sluice").cloned().collect()
    }
}

/// An event whose log events happened so many milliseconds after the simulation's begin.
pub fn event<T: AsRef<str>>(log_events: &[(i64, T)]) -> String {
    let messages: Vec<&str> = log_events.iter().map(|(_, message)| message.as_ref()).collect();
    let mut payload = logs::payload(&messages, BEGIN_EPOCH_MS);
    let happened = payload["logEvents"].as_array_mut().expect("log events");
    for (log_event, (ms, _)) in happened.iter_mut().zip(log_events) {
        log_event["timestamp"] = json!(BEGIN_EPOCH_MS as i64 + ms);
    }
    logs::event(&payload)
}

/// Every metric that the functions of the log path can print, by printing it.
pub async fn everything_printed(world: &mut World) {
    use sluice::logs::{LogEvent, Payload, Transform, Verdict};
    use sluice::ports::PutError;
    use sluice_simulated::Fault;

    struct DropsAndFails;
    impl Transform for DropsAndFails {
        fn apply(&self, _: &Payload<'_>, event: &LogEvent<'_>, out: &mut Vec<u8>) -> Verdict {
            event.message.append_value_to(out);
            match &out[..] {
                out if out.ends_with(b"drop") => Verdict::Drop,
                out if out.ends_with(b"fail") => Verdict::Fail("simulated".to_owned()),
                _ => Verdict::Keep,
            }
        }
    }
    let deadline_ms = world.clock().epoch_ms() + 60_000;
    let all = event(&[(0, "keep"), (0, "drop"), (0, "fail")]);
    let mut processor = world.processor().with_transform(Box::new(DropsAndFails));
    processor.handle(&all, deadline_ms).await.expect("delivered");
    world.cloud.stream.set_faults(|_| {
        let code = "ResourceNotFoundException".to_owned();
        Fault::Error(PutError::Permanent { code, detail: "simulated".to_owned() })
    });
    processor.handle(&all, deadline_ms).await.expect("handed over");
    drop(processor);
    world.cloud.stream.set_faults(|_| Fault::None);
    world.scale_up(r#"{"wake":"off-peak"}"#).await;
    world.scale_down(r#"{"wake":"off-peak"}"#).await;
    let mut report = Report::new(0, false);
    report.left = Some(0);
    world.replay(&report);
}

/// Every metric that the stream's consumers print, by printing it.
pub async fn consumers_printed(world: &World) {
    world.archive_one().await;
    world.replay_the_past();
}
