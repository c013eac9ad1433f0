//! A Kinesis data stream: shards with hash ranges and limits a second, resharding by AWS's rules,
//! tags, and faults by plan.

mod reader;

use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use md5::{Digest, Md5};
use sluice::limits::{
    LARGE_RECORD_BYTES_MAX, PARTITION_KEY_CHARS_MAX, PUT_RECORDS_BYTES_MAX,
    PUT_RECORDS_ENTRIES_MAX, RECORD_BYTES_MAX, RESHARD_CALLS_MAX, RESHARD_WINDOW_SECONDS,
    SHARD_BYTES_PER_SECOND, SHARD_RECORDS_PER_SECOND, SHARDS_MAX,
};
use sluice::ports::{Clock, PutError, PutRecords, PutReplayed, ReadError, Refusal};
use sluice::records::{Record, replayed};
use sluice::scaling::StreamStatus;
use sluice::scaling::shard_metrics::SHARD_METRICS_ALL;

use crate::VirtualClock;
use crate::shards::ShardMap;

/// A call takes this long.
const CALL_TIME: Duration = Duration::from_millis(10);

/// Switching shard-level metrics keeps the stream UPDATING for so long. AWS does not say; Terraform's
/// provider waits for it, too.
const SWITCH_MS: u64 = 10_000;

/// The shard-level metrics that there are. (Kinesis API, EnableEnhancedMonitoring; Nov 2026)
const SHARD_METRICS: [&str; SHARD_METRICS_ALL] = [
    "IncomingBytes",
    "IncomingRecords",
    "IteratorAgeMilliseconds",
    "OutgoingBytes",
    "OutgoingRecords",
    "ReadProvisionedThroughputExceeded",
    "WriteProvisionedThroughputExceeded",
];

/// Tags of one stream. (Kinesis API, AddTagsToStream; Nov 2026)
const TAGS_MAX: usize = 50;
/// Characters of a tag's key.
const TAG_KEY_CHARS_MAX: usize = 128;
/// Characters of a tag's value.
const TAG_VALUE_CHARS_MAX: usize = 256;

/// What the stream allows and how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Bytes a second that one shard accepts.
    pub shard_bytes_per_second: u64,
    /// Records a second that one shard accepts.
    pub shard_records_per_second: u64,
    /// Bytes of one record, partition key included (`MaxRecordSizeInKiB`).
    pub record_bytes_max: usize,
    /// UpdateShardCount calls in any 24 hours.
    pub reshard_calls_max: u32,
    /// A reshard takes this long,
    pub reshard_ms: u64,
    /// and this much more for each generation of splits or merges.
    pub reshard_ms_per_generation: u64,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            shard_bytes_per_second: SHARD_BYTES_PER_SECOND,
            shard_records_per_second: SHARD_RECORDS_PER_SECOND,
            record_bytes_max: RECORD_BYTES_MAX,
            reshard_calls_max: RESHARD_CALLS_MAX,
            reshard_ms: 60_000,
            reshard_ms_per_generation: 30_000,
        }
    }
}

/// Why the service refuses a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The error code.
    pub code: String,
    /// What the service says.
    pub detail: String,
}

impl ApiError {
    /// An error with this code.
    #[must_use]
    pub fn new(code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { code: code.into(), detail: detail.into() }
    }
}

/// What a reshard ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reshard {
    Uniform(u32),
    Split { number: usize, at: u128 },
    Merge { number: usize },
}

/// What the stream took and refused in one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Traffic {
    /// Bytes that were accepted.
    pub bytes: f64,
    /// Records that were accepted.
    pub records: f64,
    /// Records that were refused.
    pub refused: f64,
}

impl Traffic {
    /// Adds `other`.
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.records += other.records;
        self.refused += other.refused;
    }
}

/// What readers get, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Records stay so long.
    pub retention_ms: u64,
    /// One GetRecords call walks over so much of a shard's time at the most, whether there are
    /// records or not. Kinesis does so, and does not say how much.
    pub walk_ms: u64,
    /// `ApproximateArrivalTimestamp` is late by up to so much, so that it goes back and forth.
    pub arrival_jitter_ms: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { retention_ms: 86_400_000, walk_ms: 1_800_000, arrival_jitter_ms: 0 }
    }
}

/// What goes wrong with one call of a reader.
#[derive(Debug, Clone)]
pub enum ReadFault {
    /// Nothing.
    None,
    /// The call fails.
    Error(ReadError),
    /// The answer comes so many milliseconds late.
    Delay(u64),
}

/// What a plan of reading faults may look at.
#[derive(Debug, Clone, Copy)]
pub struct ReadCall {
    /// 0 for the first call.
    pub number: u64,
    /// The API call.
    pub name: &'static str,
    /// When it was made.
    pub epoch_ms: u64,
}

/// What goes wrong with one call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing.
    None,
    /// The call fails and nothing is written.
    Error(PutError),
    /// Everything is written, and the answer is lost.
    AnswerLost,
    /// The entries at these places are refused with `InternalFailure`.
    RefuseEntries(Vec<usize>),
    /// The answer has one item too few; everything is written.
    ShortAnswer,
    /// No answer ever comes, and nothing is written.
    Hang,
    /// Everything is written, and no answer ever comes.
    WrittenAndHang,
}

/// What a fault plan may look at.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// 0 for the first call.
    pub number: u64,
    /// When it was made.
    pub epoch_ms: u64,
    /// Its entries.
    pub entries: usize,
}

type FaultPlan = Box<dyn FnMut(Call) -> Fault>;
type ReadFaultPlan = Box<dyn FnMut(ReadCall) -> ReadFault>;

/// A record as the stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// The number of its shard.
    pub shard: usize,
    /// Its place in the stream.
    pub sequence: u64,
    /// When it arrived.
    pub epoch_ms: u64,
    /// What was put.
    pub record: Record,
}

#[derive(Debug, Clone, Default)]
struct SecondsUse {
    second: u64,
    bytes: u64,
    records: u64,
}

/// What a shard gave its readers lately.
#[derive(Debug, Clone, Default)]
struct ReadsUse {
    /// When the calls of the last second were made.
    calls_ms: Vec<u64>,
    /// Nothing before then: an answer of more bytes than a second has is paid off.
    paid_ms: u64,
}

struct State {
    limits: StreamLimits,
    read_limits: ReadLimits,
    created_ms: u64,
    /// Records ever taken.
    sequence: u64,
    /// When each closed shard closed, by number.
    closed_ms: BTreeMap<usize, u64>,
    reads: BTreeMap<usize, ReadsUse>,
    read_faults: ReadFaultPlan,
    read_calls: u64,
    map: ShardMap,
    /// What each shard took in its latest second, by number.
    uses: Vec<SecondsUse>,
    records: Vec<StoredRecord>,
    faults: FaultPlan,
    calls: u64,
    throttled: u64,
    /// By shard number, since it was last taken.
    traffic: BTreeMap<usize, Traffic>,
    reshard: Option<(u64, Reshard)>,
    reshard_calls_ms: Vec<u64>,
    tags: BTreeMap<String, String>,
    /// The shard-level metrics that are on, and since when.
    shard_metrics: BTreeMap<String, u64>,
    /// Those that will be on once the stream is ACTIVE again.
    switching: Option<(u64, BTreeSet<String>)>,
    is_deleted: bool,
}

/// A provisioned stream.
pub struct Stream {
    clock: VirtualClock,
    state: RefCell<State>,
}

impl Stream {
    /// An empty stream of so many equal shards, with AWS's limits.
    #[must_use]
    pub fn new(clock: VirtualClock, shards: usize) -> Self {
        Self::with_limits(clock, shards, StreamLimits::default())
    }

    /// An empty stream of so many equal shards.
    #[must_use]
    pub fn with_limits(clock: VirtualClock, shards: usize, limits: StreamLimits) -> Self {
        Self {
            clock,
            state: RefCell::new(State {
                limits,
                read_limits: ReadLimits::default(),
                created_ms: clock.epoch_ms(),
                sequence: 0,
                closed_ms: BTreeMap::new(),
                reads: BTreeMap::new(),
                read_faults: Box::new(|_| ReadFault::None),
                read_calls: 0,
                map: ShardMap::uniform(shards),
                uses: Vec::new(),
                records: Vec::new(),
                faults: Box::new(|_| Fault::None),
                calls: 0,
                throttled: 0,
                traffic: BTreeMap::new(),
                reshard: None,
                reshard_calls_ms: Vec::new(),
                tags: BTreeMap::new(),
                shard_metrics: BTreeMap::new(),
                switching: None,
                is_deleted: false,
            }),
        }
    }

    /// What it allows and how long it takes.
    #[must_use]
    pub fn limits(&self) -> StreamLimits {
        self.state.borrow().limits
    }

    /// From now on it allows and takes this.
    pub fn set_limits(&self, limits: StreamLimits) {
        self.state.borrow_mut().limits = limits;
    }

    /// DeleteStream: from now on there is no such stream.
    pub fn delete(&self) {
        self.state.borrow_mut().is_deleted = true;
    }

    /// CreateStream, by the name of one that was deleted. [`Stream::records`] keeps what the deleted
    /// one had taken: it was delivered, and its consumers had it.
    pub fn create_again(&self, shards: usize) {
        let mut state = self.state.borrow_mut();
        state.is_deleted = false;
        state.map = ShardMap::uniform(shards);
        state.uses.clear();
        state.tags.clear();
        state.shard_metrics.clear();
        state.switching = None;
        state.reshard = None;
        state.closed_ms.clear();
        state.created_ms = self.clock.epoch_ms();
    }

    /// Its shards.
    #[must_use]
    pub fn shards(&self) -> Ref<'_, ShardMap> {
        Ref::map(self.state.borrow(), |state| &state.map)
    }

    /// Open shards.
    #[must_use]
    pub fn open_shards(&self) -> u32 {
        self.state.borrow().map.open().len() as u32
    }

    /// `StreamStatus`.
    #[must_use]
    pub fn status(&self) -> StreamStatus {
        if self.state.borrow().is_active() { StreamStatus::Active } else { StreamStatus::Updating }
    }

    /// When each UpdateShardCount call was accepted.
    #[must_use]
    pub fn reshard_calls_ms(&self) -> Vec<u64> {
        self.state.borrow().reshard_calls_ms.clone()
    }

    /// Its tags.
    #[must_use]
    pub fn tags(&self) -> BTreeMap<String, String> {
        self.state.borrow().tags.clone()
    }

    /// UpdateShardCount with uniform scaling.
    pub fn update_shard_count(&self, target: u32, now_ms: u64) -> Result<(), ApiError> {
        let mut state = self.state.borrow_mut();
        state.require_active()?;
        let open = state.map.open().len() as u32;
        if target > open * 2 || target < open.div_ceil(2) || target as usize > SHARDS_MAX {
            let detail = format!("{target} is not within half and double of {open} open shards");
            return Err(ApiError::new("InvalidArgumentException", detail));
        }
        let since_ms = now_ms.saturating_sub(RESHARD_WINDOW_SECONDS * 1_000);
        let calls = state.reshard_calls_ms.iter().filter(|&&call_ms| call_ms > since_ms).count();
        if calls as u32 >= state.limits.reshard_calls_max {
            let detail = format!("{calls} calls within 24 hours");
            return Err(ApiError::new("LimitExceededException", detail));
        }
        state.reshard_calls_ms.push(now_ms);
        let generations = u64::from(target.max(open).div_ceil(target.min(open)).ilog2().max(1));
        let takes_ms =
            state.limits.reshard_ms + generations * state.limits.reshard_ms_per_generation;
        state.reshard = Some((now_ms + takes_ms, Reshard::Uniform(target)));
        Ok(())
    }

    /// SplitShard.
    pub fn split_shard(&self, id: &str, at: u128, now_ms: u64) -> Result<(), ApiError> {
        let mut state = self.state.borrow_mut();
        state.require_active()?;
        let Some(number) = state.map.open_number(id) else {
            return Err(ApiError::new("ResourceNotFoundException", format!("no open shard {id}")));
        };
        let shard = &state.map.all()[number].shard;
        if at <= shard.from || at > shard.to {
            return Err(ApiError::new("InvalidArgumentException", "the key is not inside"));
        }
        let done_ms = now_ms + state.limits.reshard_ms_per_generation;
        state.reshard = Some((done_ms, Reshard::Split { number, at }));
        Ok(())
    }

    /// MergeShards.
    pub fn merge_shards(&self, id: &str, adjacent_id: &str, now_ms: u64) -> Result<(), ApiError> {
        let mut state = self.state.borrow_mut();
        state.require_active()?;
        let number = |id: &str| {
            state.map.open_number(id).ok_or_else(|| {
                ApiError::new("ResourceNotFoundException", format!("no open shard {id}"))
            })
        };
        let (one, other) = (number(id)?, number(adjacent_id)?);
        let shard = |number: usize| &state.map.all()[number].shard;
        let follows =
            |low: usize, high: usize| shard(low).to.checked_add(1) == Some(shard(high).from);
        let lower = match (follows(one, other), follows(other, one)) {
            (true, _) => one,
            (_, true) => other,
            _ => {
                let detail = format!("{id} and {adjacent_id} are not adjacent");
                return Err(ApiError::new("InvalidArgumentException", detail));
            }
        };
        let done_ms = now_ms + state.limits.reshard_ms_per_generation;
        state.reshard = Some((done_ms, Reshard::Merge { number: lower }));
        Ok(())
    }

    /// AddTagsToStream.
    pub fn add_tags(&self, tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
        let is_allowed =
            |c: char| c.is_alphanumeric() || c.is_whitespace() || "_./=+-%@".contains(c);
        let fits =
            |text: &str, max: usize| text.chars().count() <= max && text.chars().all(is_allowed);
        for (key, value) in tags {
            let has_key = !key.is_empty() && !key.starts_with("aws:");
            if !has_key || !fits(key, TAG_KEY_CHARS_MAX) || !fits(value, TAG_VALUE_CHARS_MAX) {
                let detail = format!("the tag {key:?} = {value:?}");
                return Err(ApiError::new("InvalidArgumentException", detail));
            }
        }
        let mut state = self.state.borrow_mut();
        let mut all = state.tags.clone();
        all.extend(tags.clone());
        if all.len() > TAGS_MAX {
            return Err(ApiError::new("InvalidArgumentException", "more than 50 tags"));
        }
        state.tags = all;
        Ok(())
    }

    /// EnableEnhancedMonitoring.
    pub fn enable_shard_metrics(
        &self,
        metrics: &BTreeSet<String>,
        now_ms: u64,
    ) -> Result<(), ApiError> {
        let metrics = named_shard_metrics(metrics)?;
        let on = self.shard_metrics().union(&metrics).cloned().collect();
        self.switch_shard_metrics(on, now_ms)
    }

    /// DisableEnhancedMonitoring.
    pub fn disable_shard_metrics(
        &self,
        metrics: &BTreeSet<String>,
        now_ms: u64,
    ) -> Result<(), ApiError> {
        let metrics = named_shard_metrics(metrics)?;
        let on = self.shard_metrics().difference(&metrics).cloned().collect();
        self.switch_shard_metrics(on, now_ms)
    }

    fn switch_shard_metrics(&self, on: BTreeSet<String>, now_ms: u64) -> Result<(), ApiError> {
        let mut state = self.state.borrow_mut();
        state.require_active()?;
        state.switching = Some((now_ms + SWITCH_MS, on));
        Ok(())
    }

    /// CreateStream with every shard-level metric.
    pub fn create_with_shard_metrics(&self) {
        let now_ms = self.clock.epoch_ms();
        let all = SHARD_METRICS.map(|metric| (metric.to_owned(), now_ms));
        self.state.borrow_mut().shard_metrics = BTreeMap::from(all);
    }

    /// The shard-level metrics that are on.
    #[must_use]
    pub fn shard_metrics(&self) -> BTreeSet<String> {
        self.shard_metrics_since(u64::MAX)
    }

    /// The shard-level metrics that have been on since `ms` at the latest.
    #[must_use]
    pub fn shard_metrics_since(&self, ms: u64) -> BTreeSet<String> {
        let state = self.state.borrow();
        let since = state.shard_metrics.iter().filter(|&(_, &since_ms)| since_ms <= ms);
        since.map(|(metric, _)| metric.clone()).collect()
    }

    /// When the reshard that is under way is over.
    #[must_use]
    pub fn resharded_ms(&self) -> Option<u64> {
        self.state.borrow().reshard.map(|(done_ms, _)| done_ms)
    }

    /// Ends what keeps the stream UPDATING and whose time has come; says whether that was a reshard.
    pub fn settle(&self, now_ms: u64) -> bool {
        let mut state = self.state.borrow_mut();
        if let Some((_, on)) = state.switching.take_if(|(done_ms, _)| *done_ms <= now_ms) {
            let before = std::mem::take(&mut state.shard_metrics);
            let since = |metric: &String| before.get(metric).copied().unwrap_or(now_ms);
            state.shard_metrics = on.into_iter().map(|m| (m.clone(), since(&m))).collect();
        }
        let Some((_, reshard)) = state.reshard.take_if(|(done_ms, _)| *done_ms <= now_ms) else {
            return false;
        };
        match reshard {
            Reshard::Uniform(target) => state.map.reshard(target as usize),
            Reshard::Split { number, at } => state.map.split(number, at),
            Reshard::Merge { number } => state.map.merge(number),
        }
        let State { map, closed_ms, .. } = &mut *state;
        for (number, _) in map.all().iter().enumerate().filter(|(_, shard)| !shard.is_open) {
            closed_ms.entry(number).or_insert(now_ms);
        }
        true
    }

    /// Adds what a shard took and refused.
    pub fn count(&self, number: usize, traffic: Traffic) {
        self.state.borrow_mut().traffic.entry(number).or_default().add(traffic);
    }

    /// What each shard took and refused since this was last asked, by number.
    #[must_use]
    pub fn take_traffic(&self) -> BTreeMap<usize, Traffic> {
        std::mem::take(&mut self.state.borrow_mut().traffic)
    }

    /// From now on, calls go wrong by this plan.
    pub fn set_faults(&self, faults: impl FnMut(Call) -> Fault + 'static) {
        self.state.borrow_mut().faults = Box::new(faults);
    }

    /// From now on, readers get this.
    pub fn set_read_limits(&self, limits: ReadLimits) {
        self.state.borrow_mut().read_limits = limits;
    }

    /// From now on, calls of readers go wrong by this plan.
    pub fn set_read_faults(&self, faults: impl FnMut(ReadCall) -> ReadFault + 'static) {
        self.state.borrow_mut().read_faults = Box::new(faults);
    }

    /// Everything that was written, in order of arrival.
    #[must_use]
    pub fn records(&self) -> Vec<StoredRecord> {
        self.state.borrow().records.clone()
    }

    /// Takes everything out that was written, in order of arrival.
    #[must_use]
    pub fn take_records(&self) -> Vec<StoredRecord> {
        std::mem::take(&mut self.state.borrow_mut().records)
    }

    /// Writes what the fault and the shards let through.
    fn write(
        &self,
        epoch_ms: u64,
        records: &[&Record],
        hash_key: fn(&str) -> u128,
        fault: &Fault,
    ) -> Result<Vec<Option<Refusal>>, PutError> {
        let mut state = self.state.borrow_mut();
        if state.is_deleted {
            return Err(PutError::Permanent {
                code: "ResourceNotFoundException".to_owned(),
                detail: "there is no such stream".to_owned(),
            });
        }
        let answer = records.iter().enumerate().map(|(place, record)| match fault {
            Fault::RefuseEntries(places) if places.contains(&place) => {
                Some(Refusal { code: "InternalFailure".to_owned() })
            }
            _ => state.write(epoch_ms, record, hash_key(&record.partition_key)),
        });
        Ok(answer.collect())
    }

    /// PutRecords calls that were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.borrow().calls
    }

    /// Entries that were refused because a shard was at its limit.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.state.borrow().throttled
    }
}

impl State {
    fn is_active(&self) -> bool {
        self.reshard.is_none() && self.switching.is_none()
    }

    fn require_active(&self) -> Result<(), ApiError> {
        if self.is_active() {
            Ok(())
        } else {
            Err(ApiError::new("ResourceInUseException", "the stream is UPDATING"))
        }
    }

    /// Writes the entry, unless its shard is at its limit in this second.
    fn write(&mut self, epoch_ms: u64, record: &Record, hash: u128) -> Option<Refusal> {
        let shard = self.map.number_of(hash);
        if self.uses.len() <= shard {
            self.uses.resize(shard + 1, SecondsUse::default());
        }
        let used = &mut self.uses[shard];
        if used.second != epoch_ms / 1_000 {
            // A record that the second had no room for is paid off by those after it.
            let paid = self.limits.shard_bytes_per_second * (epoch_ms / 1_000 - used.second);
            let owed = match used.bytes > RECORD_BYTES_MAX as u64 {
                true => used.bytes.saturating_sub(paid),
                false => 0,
            };
            *used = SecondsUse { second: epoch_ms / 1_000, bytes: owed, records: 0 };
        }
        let bytes = record.bytes() as u64;
        let mut traffic = Traffic::default();
        let fits = used.bytes + bytes <= self.limits.shard_bytes_per_second.max(bytes)
            && used.records < self.limits.shard_records_per_second;
        if fits {
            used.bytes += bytes;
            used.records += 1;
            traffic.bytes = bytes as f64;
            traffic.records = 1.0;
            let sequence = self.sequence;
            self.sequence += 1;
            self.records.push(StoredRecord { shard, sequence, epoch_ms, record: record.clone() });
        } else {
            traffic.refused = 1.0;
            self.throttled += 1;
        }
        self.traffic.entry(shard).or_default().add(traffic);
        (!fits).then(|| Refusal { code: "ProvisionedThroughputExceededException".to_owned() })
    }
}

/// The metrics that a switch names; `ALL` is each of them.
fn named_shard_metrics(metrics: &BTreeSet<String>) -> Result<BTreeSet<String>, ApiError> {
    let all = BTreeSet::from(SHARD_METRICS.map(str::to_owned));
    if metrics.contains("ALL") {
        return Ok(all);
    }
    if metrics.is_empty() || !metrics.is_subset(&all) {
        let detail = format!("{metrics:?} are no shard-level metrics");
        return Err(ApiError::new("InvalidArgumentException", detail));
    }
    Ok(metrics.clone())
}

/// What the API refuses before it looks at the stream.
fn invalid(records: &[&Record], record_bytes_max: usize) -> Option<PutError> {
    let bytes: usize = records.iter().map(|record| record.bytes()).sum();
    let bad_record = records.iter().any(|record| {
        let key_chars = record.partition_key.chars().count();
        record.bytes() > record_bytes_max || !(1..=PARTITION_KEY_CHARS_MAX).contains(&key_chars)
    });
    let bad_count = records.is_empty() || records.len() > PUT_RECORDS_ENTRIES_MAX;
    // Engines and regions that lag behind take 5 MiB; what takes large records takes 10.
    let bytes_max = match record_bytes_max {
        RECORD_BYTES_MAX => PUT_RECORDS_BYTES_MAX,
        _ => LARGE_RECORD_BYTES_MAX,
    };
    (bad_record || bad_count || bytes > bytes_max).then(|| PutError::Permanent {
        code: "ValidationException".to_owned(),
        detail: "a record, the number of records or their size".to_owned(),
    })
}

/// What decides a record's shard.
fn md5(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

impl Stream {
    async fn put(
        &self,
        records: &[&Record],
        hash_key: fn(&str) -> u128,
    ) -> Result<Vec<Option<Refusal>>, PutError> {
        if let Some(error) = invalid(records, self.limits().record_bytes_max) {
            return Err(error);
        }
        let fault = {
            let mut state = self.state.borrow_mut();
            let call = Call {
                number: state.calls,
                epoch_ms: self.clock.epoch_ms(),
                entries: records.len(),
            };
            state.calls += 1;
            (state.faults)(call)
        };
        self.clock.sleep(CALL_TIME).await;
        if matches!(fault, Fault::Hang) {
            return std::future::pending().await;
        }
        if let Fault::Error(error) = fault {
            return Err(error);
        }
        let epoch_ms = self.clock.epoch_ms();
        self.settle(epoch_ms);
        let mut answer = self.write(epoch_ms, records, hash_key, &fault)?;
        match fault {
            Fault::WrittenAndHang => std::future::pending().await,
            Fault::AnswerLost => Err(PutError::Unknown {
                code: "BrokenResponse".to_owned(),
                detail: "connection closed".to_owned(),
            }),
            Fault::ShortAnswer => {
                answer.pop();
                Ok(answer)
            }
            _ => Ok(answer),
        }
    }
}

impl PutRecords for &Stream {
    async fn put_records(&self, records: &[&Record]) -> Result<Vec<Option<Refusal>>, PutError> {
        self.put(records, md5).await
    }
}

impl PutReplayed for &Stream {
    async fn put_replayed(
        &self,
        _stream: &str,
        records: &[&Record],
    ) -> Result<Vec<Option<Refusal>>, PutError> {
        self.put(records, replayed::hash_key).await
    }
}
