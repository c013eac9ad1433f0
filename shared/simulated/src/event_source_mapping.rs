//! Lambda's event source mapping of a Kinesis stream.
//!
//! It reads every shard, parents before their children, and hands records over in batches, one after
//! the other. A batch that fails comes again, from the record that a partial batch response names or
//! from its beginning, halved if the mapping bisects. One that has failed too often or is too old is
//! given up: the on-failure destination, a bucket, gets its records, and the shard moves on.
//!
//! *Lambda does not document* how long it waits between tries. Here that is a second, then twice as
//! long, up to a minute. Splitting a batch counts as no retry. (Lambda guide, "Using Lambda to process
//! records from Amazon Kinesis Data Streams"; Nov 2026)

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use base64_simd::STANDARD;
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use md5::{Digest, Md5};
use serde_json::{Value, json};
use sluice::ports::{Clock, ReadError, ReadFrom, ReadStream, ShardLineage, StreamRecord};
use tokio::sync::Notify;

use crate::functions::Failure;
use crate::{Stream, VirtualClock};

/// An empty shard is asked again after this: Lambda's basic rate of once a second. (Lambda guide; Nov
/// 2026)
const POLL: Duration = Duration::from_secs(1);
/// How often it looks for new shards.
const SHARDS_POLL: Duration = Duration::from_secs(10);
/// Bytes of one batch's event. (Lambda quotas; Nov 2026)
const BATCH_BYTES_MAX: usize = 6_000_000;
/// Bytes of a record's event beside its base64, about.
const RECORD_FRAME_BYTES: usize = 500;
/// What is read ahead of a shard's batches.
const READ_AHEAD_RECORDS: usize = 20_000;
const RETRY_MS: u64 = 1_000;
const RETRY_MS_MAX: u64 = 60_000;
/// The stream's ARN in every event.
pub const STREAM_ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/logs";

/// The settings of a mapping, by their names in the template.
#[derive(Debug, Clone)]
pub struct MappingSettings {
    /// `BatchSize`.
    pub batch_records_max: usize,
    /// `MaximumBatchingWindowInSeconds`.
    pub window: Duration,
    /// `ParallelizationFactor`: batches of one shard at once; a partition key stays in order.
    pub parallelization: usize,
    /// `MaximumRetryAttempts`; `None` for -1.
    pub retries_max: Option<u32>,
    /// `MaximumRecordAgeInSeconds`; `None` for -1.
    pub record_age_max: Option<Duration>,
    /// `BisectBatchOnFunctionError`.
    pub bisect: bool,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`.
    pub report_batch_item_failures: bool,
}

impl Default for MappingSettings {
    /// As `infra/archive.yaml` has them.
    fn default() -> Self {
        Self {
            batch_records_max: 1_000,
            window: Duration::from_secs(5),
            parallelization: 1,
            retries_max: Some(10),
            record_age_max: Some(Duration::from_secs(72_000)),
            bisect: true,
            report_batch_item_failures: true,
        }
    }
}

/// What a mapping has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MappingCounts {
    /// Invocations.
    pub invocations: u64,
    /// Those that failed, and those that named an item.
    pub failures: u64,
    /// Records that were given up.
    pub given_up: u64,
    /// The objects that the on-failure destination has of them, oldest first.
    pub kept: Vec<String>,
    /// `IteratorAge`, in milliseconds: the oldest that the last record of a batch was when the batch
    /// was handed over.
    pub iterator_age_ms_max: u64,
}

/// A mapping between `stream` and the function `invoke`.
pub struct EventSourceMapping<'a, F> {
    clock: VirtualClock,
    stream: &'a Stream,
    settings: MappingSettings,
    invoke: F,
    counts: RefCell<MappingCounts>,
    /// Shards that are closed and whose every record is done with.
    drained: RefCell<BTreeSet<String>>,
    changed: Notify,
}

/// Records of one shard on their way to one of its lanes.
#[derive(Default)]
struct Lane {
    waiting: RefCell<VecDeque<StreamRecord>>,
    /// Those of the batch that is under way count as waiting until it is done with.
    under_way: Cell<usize>,
    is_read: Cell<bool>,
    changed: Notify,
}

/// A batch, or what is left of one.
struct Batch {
    records: Vec<StreamRecord>,
    /// Tries after the first.
    retries: u32,
    /// Before the next try.
    pause_ms: u64,
}

/// Why a batch was given up.
#[derive(Debug, Clone, Copy)]
enum GivenUp {
    RetryAttemptsExhausted,
    RecordAgeExceeded,
}

impl<'a, F, R> EventSourceMapping<'a, F>
where
    F: Fn(String) -> R,
    R: Future<Output = Result<String, Failure>>,
{
    /// A mapping that reads from now on, once it runs.
    pub fn new(
        clock: VirtualClock,
        stream: &'a Stream,
        settings: MappingSettings,
        invoke: F,
    ) -> Self {
        Self {
            clock,
            stream,
            settings,
            invoke,
            counts: RefCell::default(),
            drained: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> MappingCounts {
        self.counts.borrow().clone()
    }

    /// Reads on until it is dropped. It begins with the oldest records (`TRIM_HORIZON`).
    pub async fn run(&self) {
        let mut known = BTreeSet::new();
        let mut shards = FuturesUnordered::new();
        loop {
            if let Ok(listed) = self.stream.list_shards_since(0).await {
                for shard in listed {
                    if known.insert(shard.id.clone()) {
                        shards.push(self.consume(shard));
                    }
                }
            }
            let poll = self.clock.sleep(SHARDS_POLL);
            tokio::pin!(poll);
            loop {
                tokio::select! {
                    biased;
                    () = &mut poll => break,
                    Some(()) = shards.next() => {}
                }
            }
        }
    }

    /// Handles one shard to its end.
    async fn consume(&self, shard: ShardLineage) {
        while !self.is_next(&shard) {
            self.changed.notified().await;
        }
        let lanes: Vec<Rc<Lane>> =
            (0..self.settings.parallelization).map(|_| Rc::default()).collect();
        let handle = lanes.iter().map(|lane| self.handle(&shard.id, lane));
        tokio::join!(self.read(&shard.id, &lanes), join_all(handle));
        self.drained.borrow_mut().insert(shard.id);
        self.changed.notify_waiters();
    }

    /// Whether every parent that is still there is done with.
    fn is_next(&self, shard: &ShardLineage) -> bool {
        let drained = self.drained.borrow();
        shard.parents.iter().all(|parent| drained.contains(parent))
    }

    /// Reads a shard to its end, no further ahead than memory is meant for.
    async fn read(&self, shard_id: &str, lanes: &[Rc<Lane>]) {
        let mut after = ReadFrom::At(0);
        let mut iterator = None;
        loop {
            let held: usize = lanes.iter().map(|lane| lane.held()).sum();
            if held >= READ_AHEAD_RECORDS {
                self.clock.sleep(POLL).await;
                continue;
            }
            let at = match iterator.take() {
                Some(at) => at,
                None => match self.stream.get_shard_iterator(shard_id, &after).await {
                    Ok(at) => at,
                    Err(_) => {
                        self.clock.sleep(POLL).await;
                        continue;
                    }
                },
            };
            match self.stream.get_records(&at, 10_000).await {
                Ok(page) => {
                    if let Some(last) = page.records.last() {
                        after = ReadFrom::After(last.sequence_number.clone());
                    }
                    let is_empty = page.records.is_empty();
                    for record in page.records {
                        let hash = Md5::digest(record.partition_key.as_bytes());
                        lanes[usize::from(hash[15]) % lanes.len()].push(record);
                    }
                    let Some(next) = page.next_iterator else { break };
                    iterator = Some(next);
                    if is_empty || page.behind_ms == 0 {
                        self.clock.sleep(POLL).await;
                    }
                }
                Err(ReadError::Throttled { .. }) => {
                    iterator = Some(at);
                    self.clock.sleep(POLL).await;
                }
                Err(_) => self.clock.sleep(POLL).await,
            }
        }
        for lane in lanes {
            lane.is_read.set(true);
            lane.changed.notify_waiters();
        }
    }

    /// Hands a lane's batches over until the shard has ended.
    async fn handle(&self, shard_id: &str, lane: &Lane) {
        loop {
            let records = self.next_batch(lane).await;
            if records.is_empty() {
                return;
            }
            lane.under_way.set(records.len());
            // What was halved: the first half first.
            let mut batches = vec![Batch { records, retries: 0, pause_ms: 0 }];
            while let Some(batch) = batches.pop() {
                let mut left = self.deliver(shard_id, batch).await;
                left.reverse();
                batches.append(&mut left);
            }
            lane.under_way.set(0);
        }
    }

    /// The next records within the mapping's bounds; none when the shard has ended.
    async fn next_batch(&self, lane: &Lane) -> Vec<StreamRecord> {
        while lane.waiting.borrow().is_empty() {
            if lane.is_read.get() {
                return Vec::new();
            }
            lane.changed.notified().await;
        }
        let window_ends = self.clock.monotonic() + self.settings.window;
        loop {
            let (count, is_full) = self.fitting(&lane.waiting.borrow());
            let left = window_ends.saturating_sub(self.clock.monotonic());
            if is_full || lane.is_read.get() || left.is_zero() {
                return lane.waiting.borrow_mut().drain(..count).collect();
            }
            tokio::select! {
                biased;
                () = lane.changed.notified() => {}
                () = self.clock.sleep(left) => {}
            }
        }
    }

    /// How many records fit one batch, and whether more would not.
    fn fitting(&self, waiting: &VecDeque<StreamRecord>) -> (usize, bool) {
        let mut bytes = 0;
        for (count, record) in waiting.iter().enumerate() {
            bytes += event_bytes(record);
            if count == self.settings.batch_records_max || (count > 0 && bytes > BATCH_BYTES_MAX) {
                return (count, true);
            }
        }
        (waiting.len(), waiting.len() == self.settings.batch_records_max)
    }

    /// One try of a batch; returns what is left of it, in order.
    async fn deliver(&self, shard_id: &str, mut batch: Batch) -> Vec<Batch> {
        self.clock.sleep(Duration::from_millis(batch.pause_ms)).await;
        if let Some(age_max) = self.settings.record_age_max {
            let oldest_ms = self.clock.epoch_ms().saturating_sub(age_max.as_millis() as u64);
            let young = batch.records.iter().position(|record| record.arrived_ms >= oldest_ms);
            let young = young.unwrap_or(batch.records.len());
            let old: Vec<_> = batch.records.drain(..young).collect();
            self.give_up(shard_id, &old, GivenUp::RecordAgeExceeded, batch.retries);
        }
        let Some(last) = batch.records.last() else { return Vec::new() };
        {
            let mut counts = self.counts.borrow_mut();
            counts.invocations += 1;
            let age_ms = self.clock.epoch_ms().saturating_sub(last.arrived_ms);
            counts.iterator_age_ms_max = counts.iterator_age_ms_max.max(age_ms);
        }
        let answer = (self.invoke)(event(shard_id, &batch.records)).await;
        let from = match answer {
            Ok(answer) if self.settings.report_batch_item_failures => {
                first_failure(&answer, &batch.records)
            }
            Ok(_) => None,
            Err(_) => Some(0),
        };
        let Some(from) = from else { return Vec::new() };
        self.counts.borrow_mut().failures += 1;
        let mut left = Batch { records: batch.records.split_off(from), ..batch };
        let can_halve = self.settings.bisect && left.records.len() > 1;
        // A partial response has split the batch already.
        if can_halve && from == 0 {
            let records = left.records.split_off(left.records.len() / 2);
            let second = Batch { records, retries: left.retries, pause_ms: 0 };
            return vec![Batch { pause_ms: RETRY_MS, ..left }, second];
        }
        if self.settings.retries_max.is_some_and(|max| left.retries >= max) {
            let why = GivenUp::RetryAttemptsExhausted;
            self.give_up(shard_id, &left.records, why, left.retries + 1);
            return Vec::new();
        }
        left.pause_ms = (RETRY_MS << left.retries.min(10)).min(RETRY_MS_MAX);
        left.retries += 1;
        vec![left]
    }

    /// The on-failure destination, a bucket, gets the records. (Lambda guide,
    /// kinesis-on-failure-destination; Nov 2026)
    fn give_up(&self, shard_id: &str, records: &[StreamRecord], why: GivenUp, tries: u32) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        let message = json!({
            "requestContext": {
                "functionArn": "arn:aws:lambda:eu-west-1:123456789012:function:consumer",
                "condition": match why {
                    GivenUp::RetryAttemptsExhausted => "RetryAttemptsExhausted",
                    GivenUp::RecordAgeExceeded => "RecordAgeExceeded",
                },
                "approximateInvokeCount": tries,
            },
            "version": "1.0",
            "KinesisBatchInfo": {
                "shardId": shard_id,
                "startSequenceNumber": first.sequence_number,
                "endSequenceNumber": last.sequence_number,
                "approximateArrivalOfFirstRecord": first.arrived_ms,
                "approximateArrivalOfLastRecord": last.arrived_ms,
                "batchSize": records.len(),
                "streamArn": STREAM_ARN,
            },
            "payload": event(shard_id, records),
        });
        let mut counts = self.counts.borrow_mut();
        counts.given_up += records.len() as u64;
        counts.kept.push(message.to_string());
    }
}

impl Lane {
    fn push(&self, record: StreamRecord) {
        self.waiting.borrow_mut().push_back(record);
        self.changed.notify_waiters();
    }

    fn held(&self) -> usize {
        self.waiting.borrow().len() + self.under_way.get()
    }
}

fn event_bytes(record: &StreamRecord) -> usize {
    record.data.len().div_ceil(3) * 4 + record.partition_key.len() + RECORD_FRAME_BYTES
}

/// The event that a function gets for a batch.
#[must_use]
pub fn event(shard_id: &str, records: &[StreamRecord]) -> String {
    let records: Vec<Value> = records
        .iter()
        .map(|record| {
            json!({
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": record.partition_key,
                    "sequenceNumber": record.sequence_number,
                    "data": STANDARD.encode_to_string(&record.data),
                    "approximateArrivalTimestamp": record.arrived_ms as f64 / 1_000.0,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": format!("{shard_id}:{}", record.sequence_number),
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::123456789012:role/consumer",
                "awsRegion": "eu-west-1",
                "eventSourceARN": STREAM_ARN,
            })
        })
        .collect();
    json!({ "Records": records }).to_string()
}

/// The place of the first record that a partial batch response names. A response that names none in
/// the right form, or one that is not in the batch, fails the whole batch.
fn first_failure(answer: &str, records: &[StreamRecord]) -> Option<usize> {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let failures = answer.get("batchItemFailures").and_then(Value::as_array)?;
    failures
        .iter()
        .map(|failure| {
            let named = failure.get("itemIdentifier").and_then(Value::as_str);
            let place = records.iter().position(|record| Some(&*record.sequence_number) == named);
            place.unwrap_or(0)
        })
        .min()
}
