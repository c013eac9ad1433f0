//! A Kinesis data stream: shards with hash ranges and limits a second, and faults by plan.

use std::cell::RefCell;
use std::time::Duration;

use md5::{Digest, Md5};
use sluice::limits::{
    PARTITION_KEY_CHARS_MAX, PUT_RECORDS_BYTES_MAX, PUT_RECORDS_ENTRIES_MAX, RECORD_BYTES_MAX,
    SHARD_BYTES_PER_SECOND, SHARD_RECORDS_PER_SECOND,
};
use sluice::ports::{Clock, PutError, PutRecords, Refusal};
use sluice::records::Record;

use crate::VirtualClock;

/// A call takes this long.
const CALL_TIME: Duration = Duration::from_millis(10);

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

/// A record as the stream holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Which shard.
    pub shard: usize,
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

struct State {
    shards: Vec<SecondsUse>,
    records: Vec<StoredRecord>,
    faults: FaultPlan,
    calls: u64,
    throttled: u64,
}

/// A stream of equal shards.
pub struct Stream {
    clock: VirtualClock,
    state: RefCell<State>,
}

impl Stream {
    /// An empty stream.
    #[must_use]
    pub fn new(clock: VirtualClock, shards: usize) -> Self {
        Self {
            clock,
            state: RefCell::new(State {
                shards: vec![SecondsUse::default(); shards],
                records: Vec::new(),
                faults: Box::new(|_| Fault::None),
                calls: 0,
                throttled: 0,
            }),
        }
    }

    /// From now on, calls go wrong by this plan.
    pub fn set_faults(&self, faults: impl FnMut(Call) -> Fault + 'static) {
        self.state.borrow_mut().faults = Box::new(faults);
    }

    /// Everything that was written, in order of arrival.
    #[must_use]
    pub fn records(&self) -> Vec<StoredRecord> {
        self.state.borrow().records.clone()
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
    /// Writes the entry, unless its shard is at its limit in this second.
    fn write(&mut self, epoch_ms: u64, record: &Record) -> Option<Refusal> {
        let hash = u128::from_be_bytes(Md5::digest(record.partition_key.as_bytes()).into());
        let shard = (((hash >> 64) * self.shards.len() as u128) >> 64) as usize;
        let used = &mut self.shards[shard];
        if used.second != epoch_ms / 1_000 {
            *used = SecondsUse { second: epoch_ms / 1_000, bytes: 0, records: 0 };
        }
        let bytes = record.bytes() as u64;
        if used.bytes + bytes > SHARD_BYTES_PER_SECOND.max(bytes)
            || used.records + 1 > SHARD_RECORDS_PER_SECOND
        {
            self.throttled += 1;
            return Some(Refusal { code: "ProvisionedThroughputExceededException".to_owned() });
        }
        used.bytes += bytes;
        used.records += 1;
        self.records.push(StoredRecord { shard, epoch_ms, record: record.clone() });
        None
    }
}

/// What the API refuses before it looks at the stream.
fn invalid(records: &[&Record]) -> Option<PutError> {
    let bytes: usize = records.iter().map(|record| record.bytes()).sum();
    let bad_record = records.iter().any(|record| {
        let key_chars = record.partition_key.chars().count();
        record.bytes() > RECORD_BYTES_MAX || !(1..=PARTITION_KEY_CHARS_MAX).contains(&key_chars)
    });
    let bad_count = records.is_empty() || records.len() > PUT_RECORDS_ENTRIES_MAX;
    (bad_record || bad_count || bytes > PUT_RECORDS_BYTES_MAX).then(|| PutError::Permanent {
        code: "ValidationException".to_owned(),
        detail: "a record, the number of records or their size".to_owned(),
    })
}

impl PutRecords for &Stream {
    async fn put_records(&self, records: &[&Record]) -> Result<Vec<Option<Refusal>>, PutError> {
        if let Some(error) = invalid(records) {
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
        let mut state = self.state.borrow_mut();
        let mut answer: Vec<_> = records
            .iter()
            .enumerate()
            .map(|(place, record)| match &fault {
                Fault::RefuseEntries(places) if places.contains(&place) => {
                    Some(Refusal { code: "InternalFailure".to_owned() })
                }
                _ => state.write(epoch_ms, record),
            })
            .collect();
        match fault {
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
