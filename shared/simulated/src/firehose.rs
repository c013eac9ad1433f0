//! A Firehose: what it takes, refuses, and has delivered.

use std::cell::RefCell;
use std::time::Duration;

use sluice::limits::{
    FIREHOSE_RECORD_BYTES_MAX, PUT_RECORD_BATCH_BYTES_MAX, PUT_RECORD_BATCH_ENTRIES_MAX,
};
use sluice::ports::{Clock, PutError, PutRecords, Refusal};
use sluice::records::Record;

use crate::VirtualClock;
use crate::stream::{Call, Fault};

/// A call takes this long.
const CALL_TIME: Duration = Duration::from_millis(30);
/// Bytes a second that it takes by default: Direct PUT in the large regions. (Firehose quotas; Nov
/// 2026)
const BYTES_PER_SECOND: u64 = 5 * 1_048_576;

type FaultPlan = Box<dyn FnMut(Call) -> Fault>;

struct State {
    records: Vec<Vec<u8>>,
    faults: FaultPlan,
    calls: u64,
    bytes_per_second: u64,
    second: u64,
    second_bytes: u64,
}

/// A Firehose. Its faults are those of a stream.
pub struct Firehose {
    clock: VirtualClock,
    state: RefCell<State>,
}

impl Firehose {
    /// One that has taken nothing yet.
    #[must_use]
    pub fn new(clock: VirtualClock) -> Self {
        Self {
            clock,
            state: RefCell::new(State {
                records: Vec::new(),
                faults: Box::new(|_| Fault::None),
                calls: 0,
                bytes_per_second: BYTES_PER_SECOND,
                second: 0,
                second_bytes: 0,
            }),
        }
    }

    /// From now on, calls go wrong by this plan.
    pub fn set_faults(&self, faults: impl FnMut(Call) -> Fault + 'static) {
        self.state.borrow_mut().faults = Box::new(faults);
    }

    /// From now on it takes so many bytes a second.
    pub fn set_bytes_per_second(&self, bytes: u64) {
        self.state.borrow_mut().bytes_per_second = bytes;
    }

    /// Every record that it took, in order.
    #[must_use]
    pub fn records(&self) -> Vec<Vec<u8>> {
        self.state.borrow().records.clone()
    }

    /// The lines of all records, as they lie in the objects of the archive, without their newlines.
    ///
    /// # Panics
    /// When a record does not end with a newline.
    #[must_use]
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let text = self.state.borrow().records.concat();
        let Some(text) = text.strip_suffix(b"\n") else {
            assert!(text.is_empty(), "a record ends with its last line");
            return Vec::new();
        };
        text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    /// PutRecordBatch calls that were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state.borrow().calls
    }
}

impl State {
    /// Takes the record, unless there has been too much in this second.
    fn write(&mut self, epoch_ms: u64, record: &Record) -> Option<Refusal> {
        if self.second != epoch_ms / 1_000 {
            (self.second, self.second_bytes) = (epoch_ms / 1_000, 0);
        }
        let bytes = record.data.len() as u64;
        if self.second_bytes + bytes > self.bytes_per_second.max(bytes) {
            return Some(Refusal { code: "ServiceUnavailableException".to_owned() });
        }
        self.second_bytes += bytes;
        self.records.push(record.data.clone());
        None
    }
}

/// What the API refuses before it looks at anything.
fn invalid(records: &[&Record]) -> Option<PutError> {
    let bytes: usize = records.iter().map(|record| record.data.len()).sum();
    let bad_record = records
        .iter()
        .any(|record| record.data.is_empty() || record.data.len() > FIREHOSE_RECORD_BYTES_MAX);
    let bad_count = records.is_empty() || records.len() > PUT_RECORD_BATCH_ENTRIES_MAX;
    (bad_record || bad_count || bytes > PUT_RECORD_BATCH_BYTES_MAX).then(|| PutError::Permanent {
        code: "InvalidArgumentException".to_owned(),
        detail: "a record, the number of records or their size".to_owned(),
    })
}

impl PutRecords for &Firehose {
    async fn put_records(&self, records: &[&Record]) -> Result<Vec<Option<Refusal>>, PutError> {
        if let Some(error) = invalid(records) {
            return Err(error);
        }
        let fault = {
            let mut state = self.state.borrow_mut();
            let epoch_ms = self.clock.epoch_ms();
            let call = Call { number: state.calls, epoch_ms, entries: records.len() };
            state.calls += 1;
            (state.faults)(call)
        };
        self.clock.sleep(CALL_TIME).await;
        let refused: &[usize] = match &fault {
            Fault::Hang => return std::future::pending().await,
            Fault::Error(error) => return Err(error.clone()),
            Fault::RefuseEntries(places) => places,
            _ => &[],
        };
        let epoch_ms = self.clock.epoch_ms();
        let mut answer: Vec<Option<Refusal>> = {
            let mut state = self.state.borrow_mut();
            let entries = records.iter().enumerate();
            entries
                .map(|(place, record)| match refused.contains(&place) {
                    true => Some(Refusal { code: "InternalFailure".to_owned() }),
                    false => state.write(epoch_ms, record),
                })
                .collect()
        };
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
