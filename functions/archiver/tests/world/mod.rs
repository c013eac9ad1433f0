//! The simulated AWS around one archiver.
#![allow(dead_code)]

use std::collections::BTreeMap;

use archiver::{Archiver, Config, NotAKinesisEvent, Ports};
use base64_simd::STANDARD;
use fastrand::Rng;
use serde_json::Value;
use sluice::invocation::BatchResponse;
use sluice::logs::Batch;
use sluice::ports::{Clock, StreamRecord};
use sluice::records::{Packer, Record, RecordFormat, Spread};
use sluice_simulated::clock::BEGIN_EPOCH_MS;
use sluice_simulated::event_source_mapping::event;
use sluice_simulated::functions::Failure;
use sluice_simulated::{Firehose, MetricLines, Queue, Stream, VirtualClock};

/// An invocation may take this long, as `infra/archive.yaml` has it.
pub const TIMEOUT_MS: u64 = 120_000;
pub const SHARD: &str = "shardId-000000000007";

pub struct World {
    pub clock: VirtualClock,
    pub stream: Stream,
    pub firehose: Firehose,
    pub on_failure: Queue,
    pub metrics: MetricLines,
}

impl World {
    pub fn new(shards: usize) -> Self {
        let clock = VirtualClock::begin();
        Self {
            clock,
            stream: Stream::new(clock, shards),
            firehose: Firehose::new(clock),
            on_failure: Queue::new(clock),
            metrics: MetricLines::default(),
        }
    }

    pub fn archiver(&self) -> Archiver<&Firehose, &Queue, VirtualClock, &MetricLines> {
        self.archiver_into(&self.firehose)
    }

    pub fn archiver_into<'a>(
        &'a self,
        firehose: &'a Firehose,
    ) -> Archiver<&'a Firehose, &'a Queue, VirtualClock, &'a MetricLines> {
        let ports = Ports {
            firehose,
            on_failure: &self.on_failure,
            clock: self.clock,
            metrics: &self.metrics,
        };
        Archiver::new(config(), ports, Rng::with_seed(1))
    }

    /// One batch of these records.
    pub async fn handle(&self, records: &[Record]) -> Result<BatchResponse, NotAKinesisEvent> {
        let deadline_ms = self.clock.epoch_ms() + TIMEOUT_MS;
        let answer = self.archiver().handle(&batch(records), deadline_ms).await;
        assert!(self.clock.epoch_ms() < deadline_ms, "it answers before its deadline");
        answer
    }

    /// An invocation as the mapping makes it, in an environment of its own.
    pub async fn invoke(&self, firehose: &Firehose, event: String) -> Result<String, Failure> {
        let deadline_ms = self.clock.epoch_ms() + TIMEOUT_MS;
        let answer = self.archiver_into(firehose).handle(&event, deadline_ms).await;
        assert!(self.clock.epoch_ms() < deadline_ms, "it answers before its deadline");
        let answer = answer.map_err(|error| Failure::from(error.to_string()))?;
        Ok(serde_json::to_string(&answer).expect("JSON"))
    }

    /// Every event in the archive, how often.
    pub fn archived(&self) -> BTreeMap<Vec<u8>, usize> {
        archived(&self.firehose)
    }
}

/// Every event that a Firehose has, how often, as a reader of the archive finds them.
pub fn archived(firehose: &Firehose) -> BTreeMap<Vec<u8>, usize> {
    let mut events = BTreeMap::new();
    for line in firehose.lines() {
        *events.entry(event_of(&line)).or_default() += 1;
    }
    events
}

fn event_of(line: &[u8]) -> Vec<u8> {
    let member = |name: &str| {
        let value: Value = serde_json::from_slice(line).expect("JSON");
        value[name].as_str().expect("text").to_owned()
    };
    if line.starts_with(b"{\"sluiceText\":") {
        member("sluiceText").into_bytes()
    } else if line.starts_with(b"{\"sluiceBase64\":") {
        STANDARD.decode_to_vec(member("sluiceBase64")).expect("base64")
    } else {
        line.to_vec()
    }
}

pub fn config() -> Config {
    Config {
        delivery_stream_name: "archive".to_owned(),
        on_failure_queue_url: "https://queue.example".to_owned(),
        function_name: "archiver".to_owned(),
    }
}

/// Where the record at this place of a batch lies.
pub fn sequence_number(place: usize) -> String {
    format!("{:056}", 1_000 + place)
}

/// The event of a batch.
pub fn batch(records: &[Record]) -> String {
    let records: Vec<StreamRecord> = records
        .iter()
        .enumerate()
        .map(|(place, record)| StreamRecord {
            sequence_number: sequence_number(place),
            partition_key: record.partition_key.clone(),
            data: record.data.clone(),
            arrived_ms: BEGIN_EPOCH_MS + place as u64,
        })
        .collect();
    event(SHARD, &records)
}

/// A record of one event.
pub fn plain(data: impl Into<Vec<u8>>) -> Record {
    Record { partition_key: "key".to_owned(), data: data.into() }
}

/// Distinct events.
pub fn events(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("{{\"n\":{n},\"message\":\"日本語 é\"}}").into_bytes()).collect()
}

/// Events packed as the processor packs them.
pub fn packed(format: RecordFormat, events: &[Vec<u8>]) -> Vec<Record> {
    let mut spread = Spread::new(&mut Rng::with_seed(1));
    let packing = Packer::new(format, 4_000).pack(&Batch::of(events), || spread.next_key());
    assert!(packing.too_large.is_empty());
    packing.records.into_iter().map(|packed| packed.record).collect()
}

/// Each of the events once.
pub fn once(events: &[Vec<u8>]) -> BTreeMap<Vec<u8>, usize> {
    let expected: BTreeMap<_, _> = events.iter().map(|event| (event.clone(), 1)).collect();
    assert_eq!(expected.len(), events.len(), "the test's events differ from each other");
    expected
}
