//! The simulated AWS around one processor.

use std::collections::BTreeMap;

use fastrand::Rng;
use log_processor::config::TransformName;
use log_processor::{Config, HandoffError, Ports, Processor};
use serde_json::Value;
use sluice::delivery::Answer;
use sluice::ports::Clock;
use sluice::records::{PartitionBy, RecordFormat};
use sluice_simulated::clock::BEGIN_EPOCH_MS;
use sluice_simulated::consumer::events_of;
use sluice_simulated::{MetricLines, Queue, Stream, VirtualClock, logs};

/// An invocation may take this long.
pub const TIMEOUT_MS: u64 = 60_000;

pub struct World {
    pub clock: VirtualClock,
    pub stream: Stream,
    pub queue: Queue,
    pub quarantine: Queue,
    pub metrics: MetricLines,
}

impl World {
    pub fn new(shards: usize) -> Self {
        let clock = VirtualClock::begin();
        Self {
            clock,
            stream: Stream::new(clock, shards),
            queue: Queue::new(clock),
            quarantine: Queue::new(clock),
            metrics: MetricLines::default(),
        }
    }

    pub fn processor(&self, config: Config) -> SimulatedProcessor<'_> {
        let ports = Ports {
            stream: &self.stream,
            queue: config.dead_letter_queue_url.is_some().then_some(&self.queue),
            quarantine: config.quarantine_queue_url.is_some().then_some(&self.quarantine),
            clock: self.clock,
            metrics: &self.metrics,
        };
        SimulatedProcessor { world: self, inner: Processor::new(config, ports, Rng::with_seed(1)) }
    }

    /// Every event that the stream holds, how often.
    pub fn delivered(&self) -> BTreeMap<Vec<u8>, usize> {
        let mut events = BTreeMap::new();
        for stored in self.stream.records() {
            for event in events_of(&stored.record.data, &stored.record.partition_key) {
                *events.entry(event).or_default() += 1;
            }
        }
        events
    }

    pub fn assert_delivered_once<T: AsRef<str>>(&self, messages: &[T]) {
        let expected = once(messages);
        assert!(self.delivered() == expected, "the stream holds something else");
    }
}

/// Each of the messages once.
pub fn once<T: AsRef<str>>(messages: &[T]) -> BTreeMap<Vec<u8>, usize> {
    let expected: BTreeMap<_, _> =
        messages.iter().map(|message| (message.as_ref().as_bytes().to_vec(), 1)).collect();
    assert_eq!(expected.len(), messages.len(), "the test's messages differ from each other");
    expected
}

pub struct SimulatedProcessor<'a> {
    world: &'a World,
    pub inner: Processor<&'a Stream, &'a Queue, VirtualClock, &'a MetricLines>,
}

impl SimulatedProcessor<'_> {
    pub async fn handle(&mut self, event: &str) -> Result<Answer, HandoffError> {
        let deadline = self.world.clock.epoch_ms() + TIMEOUT_MS;
        self.inner.handle(event, deadline).await
    }

    pub async fn send<T: AsRef<str>>(&mut self, messages: &[T]) -> Result<Answer, HandoffError> {
        let payload = logs::payload(messages, BEGIN_EPOCH_MS - 5_000);
        self.handle(&logs::event(&payload)).await
    }
}

/// The template's defaults, but for the transform: bare messages are easier to compare.
pub fn config() -> Config {
    Config {
        stream_name: "logs".to_owned(),
        dead_letter_queue_url: Some("https://queue.example".to_owned()),
        quarantine_queue_url: Some("https://quarantine.example".to_owned()),
        transform: TransformName::Passthrough,
        record_format: RecordFormat::Kpl,
        record_bytes_target: 24_900,
        record_bytes_max: sluice::limits::RECORD_BYTES_MAX,
        partition_by: PartitionBy::Even,
        concurrency_per_shard: 1,
        put_attempts_max: 10,
        function_name: "log-processor".to_owned(),
        log_group_name: Some("/sluice/log-processor".to_owned()),
    }
}

/// Distinct lines, some of them with several bytes a character, escapes, newlines or nothing.
pub fn messages(count: usize) -> Vec<String> {
    let mut rng = Rng::with_seed(42);
    (0..count)
        .map(|place| {
            let filler = match place % 5 {
                0 => "x".repeat(rng.usize(..400)),
                1 => format!("{{\"level\":\"info\",\"path\":\"C:\\\\{}\"}}", rng.u32(..)),
                2 => "日本語 é 🦀".repeat(rng.usize(..9)),
                3 => "panic\n\tat one\n\tat two".to_owned(),
                _ => "\u{1}\u{7f}\t\"quoted\"".to_owned(),
            };
            if place == 0 { String::new() } else { format!("{place} {filler}") }
        })
        .collect()
}

/// The payload inside a dead letter, decoded without the library.
pub fn payload_of(body: &str) -> Value {
    serde_json::from_slice(&raw_payload_of(body)).expect("a payload is JSON")
}

/// The same as it is.
pub fn raw_payload_of(body: &str) -> Vec<u8> {
    use std::io::Read;
    let event: Value = serde_json::from_str(body).expect("a dead letter's body is JSON");
    let data = event["awslogs"]["data"].as_str().expect("awslogs.data is text");
    let gzip = base64_simd::STANDARD.decode_to_vec(data).expect("base64");
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut json).expect("gzip");
    json
}

pub fn messages_of(body: &str) -> Vec<String> {
    let payload = payload_of(body);
    let log_events = payload["logEvents"].as_array().expect("logEvents is an array");
    log_events.iter().map(|e| e["message"].as_str().expect("text").to_owned()).collect()
}
