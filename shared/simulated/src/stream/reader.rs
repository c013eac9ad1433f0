//! The reading side of the stream: iterators that expire, limits a shard, closed shards that end.
//!
//! An iterator is opaque to its user. Here it is the shard's number, the next record's sequence
//! number, the shard's time up to which everything before that was looked at, and when it was given.

use std::time::Duration;

use sluice::limits::{
    GET_RECORDS_BYTES_MAX, GET_RECORDS_RECORDS_MAX, ITERATOR_SECONDS_MAX,
    SHARD_READ_BYTES_PER_SECOND, SHARD_READS_PER_SECOND,
};
use sluice::ports::{
    Clock, ReadError, ReadFrom, ReadStream, RecordsPage, ShardLineage, StreamHistory, StreamRecord,
};

use super::{CALL_TIME, ReadCall, ReadFault, ReadsUse, State, StoredRecord, Stream};

/// Where an iterator stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Iterator {
    shard: usize,
    sequence: u64,
    at_ms: u64,
    given_ms: u64,
}

impl Iterator {
    fn to_text(self) -> String {
        format!("{} {} {} {}", self.shard, self.sequence, self.at_ms, self.given_ms)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(|number| number.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        Some(Self {
            shard: usize::try_from(next()?).ok()?,
            sequence: next()?,
            at_ms: next()?,
            given_ms: next()?,
        })
    }
}

fn permanent(code: &str, detail: impl Into<String>) -> ReadError {
    ReadError::Permanent { code: code.to_owned(), detail: detail.into() }
}

impl StoredRecord {
    /// `SequenceNumber`: 56 digits, as those of Kinesis.
    #[must_use]
    pub fn sequence_number(&self) -> String {
        format!("{:056}", self.sequence)
    }
}

impl Stream {
    /// One call of a reader, by the plan of faults.
    async fn read<T>(
        &self,
        name: &'static str,
        effect: impl FnOnce(&mut State, u64) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let fault = {
            let mut state = self.state.borrow_mut();
            let call = ReadCall { number: state.read_calls, name, epoch_ms: self.clock.epoch_ms() };
            state.read_calls += 1;
            (state.read_faults)(call)
        };
        self.clock.sleep(CALL_TIME).await;
        let now_ms = self.clock.epoch_ms();
        self.settle(now_ms);
        let answer = match fault {
            ReadFault::Error(error) => return Err(error),
            _ if self.state.borrow().is_deleted => {
                return Err(permanent("ResourceNotFoundException", "there is no such stream"));
            }
            _ => effect(&mut self.state.borrow_mut(), now_ms),
        };
        if let ReadFault::Delay(ms) = fault {
            self.clock.sleep(Duration::from_millis(ms)).await;
        }
        answer
    }
}

impl State {
    fn oldest_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.read_limits.retention_ms).max(self.created_ms)
    }

    /// When a record says that it arrived.
    fn arrived_ms(&self, record: &StoredRecord) -> u64 {
        let jitter_ms = self.read_limits.arrival_jitter_ms;
        // A prime spreads the records over the jitter without any order.
        record.epoch_ms + (record.sequence * 7_919).checked_rem(jitter_ms).unwrap_or_default()
    }

    fn page(
        &mut self,
        iterator: &str,
        records_max: usize,
        now_ms: u64,
    ) -> Result<RecordsPage, ReadError> {
        let at = Iterator::parse(iterator)
            .ok_or_else(|| permanent("InvalidArgumentException", "no iterator of this stream"))?;
        if !(1..=GET_RECORDS_RECORDS_MAX).contains(&records_max) {
            return Err(permanent("InvalidArgumentException", "the limit"));
        }
        if now_ms > at.given_ms + ITERATOR_SECONDS_MAX * 1_000 {
            return Err(ReadError::IteratorExpired);
        }
        let used = self.reads.entry(at.shard).or_default();
        used.admit(now_ms)?;
        let closed_ms = self.closed_ms.get(&at.shard).copied();
        let end_ms = closed_ms.unwrap_or(now_ms);
        let from_ms = at.at_ms.max(self.oldest_ms(now_ms));
        let walk_to_ms = (from_ms + self.read_limits.walk_ms).min(end_ms);
        let mut next = Iterator { at_ms: walk_to_ms, given_ms: now_ms, ..at };
        let (mut records, mut bytes) = (Vec::new(), 0);
        let begin = self.records.partition_point(|record| record.sequence < at.sequence);
        for record in &self.records[begin..] {
            if record.shard != at.shard || record.epoch_ms < self.oldest_ms(now_ms) {
                continue;
            }
            let more = record.record.bytes();
            let is_full = records.len() == records_max
                || (!records.is_empty() && bytes + more > GET_RECORDS_BYTES_MAX);
            if record.epoch_ms > walk_to_ms || is_full {
                next.at_ms = record.epoch_ms.min(walk_to_ms);
                break;
            }
            bytes += more;
            next.sequence = record.sequence + 1;
            records.push(StreamRecord {
                sequence_number: record.sequence_number(),
                partition_key: record.record.partition_key.clone(),
                data: record.record.data.clone(),
                arrived_ms: self.arrived_ms(record),
            });
        }
        if let Some(used) = self.reads.get_mut(&at.shard) {
            used.pay(now_ms, bytes as u64);
        }
        let has_more =
            |record: &StoredRecord| record.shard == at.shard && record.sequence >= next.sequence;
        let is_over = closed_ms.is_some_and(|closed_ms| next.at_ms >= closed_ms)
            && !self.records[begin..].iter().any(has_more);
        Ok(RecordsPage {
            records,
            next_iterator: (!is_over).then(|| next.to_text()),
            behind_ms: now_ms - next.at_ms,
        })
    }
}

impl ReadsUse {
    fn admit(&mut self, now_ms: u64) -> Result<(), ReadError> {
        self.calls_ms.retain(|&call_ms| call_ms + 1_000 > now_ms);
        if self.calls_ms.len() as u64 >= SHARD_READS_PER_SECOND || now_ms < self.paid_ms {
            return Err(ReadError::Throttled {
                code: "ProvisionedThroughputExceededException".to_owned(),
                detail: "Rate exceeded for the shard".to_owned(),
            });
        }
        self.calls_ms.push(now_ms);
        Ok(())
    }

    /// 10 MB are five seconds' worth; what fits into the second of the call costs nothing more.
    fn pay(&mut self, now_ms: u64, bytes: u64) {
        let takes_ms = bytes * 1_000 / SHARD_READ_BYTES_PER_SECOND;
        self.paid_ms = if takes_ms > 1_000 { now_ms + takes_ms } else { self.paid_ms };
    }
}

impl ReadStream for &Stream {
    async fn describe_history(&self) -> Result<StreamHistory, ReadError> {
        self.read("DescribeStreamSummary", |state, _| {
            Ok(StreamHistory {
                arn: "arn:aws:kinesis:eu-west-1:123456789012:stream/logs".to_owned(),
                retention_ms: state.read_limits.retention_ms,
                created_ms: state.created_ms,
            })
        })
        .await
    }

    async fn list_shards_since(&self, from_ms: u64) -> Result<Vec<ShardLineage>, ReadError> {
        self.read("ListShards", |state, now_ms| {
            let from_ms = from_ms.max(state.oldest_ms(now_ms));
            let id = |number: usize| state.map.all()[number].shard.id.clone();
            let lived = |number: usize| {
                state.closed_ms.get(&number).is_none_or(|&closed_ms| closed_ms >= from_ms)
            };
            Ok((0..state.map.all().len())
                .filter(|&number| lived(number))
                .map(|number| ShardLineage {
                    id: id(number),
                    // A parent's id stays when the parent itself is no longer listed.
                    parents: state.map.all()[number].parents.iter().map(|&p| id(p)).collect(),
                })
                .collect())
        })
        .await
    }

    async fn get_shard_iterator(
        &self,
        shard_id: &str,
        from: &ReadFrom,
    ) -> Result<String, ReadError> {
        self.read("GetShardIterator", |state, now_ms| {
            let oldest_ms = state.oldest_ms(now_ms);
            let shard = (0..state.map.all().len())
                .find(|&number| state.map.all()[number].shard.id == shard_id)
                .filter(|number| {
                    state.closed_ms.get(number).is_none_or(|&closed_ms| closed_ms >= oldest_ms)
                })
                .ok_or_else(|| permanent("ResourceNotFoundException", "no such shard"))?;
            let (sequence, at_ms) = match from {
                ReadFrom::At(from_ms) => {
                    let first = state
                        .records
                        .iter()
                        .filter(|record| record.shard == shard)
                        .find(|record| state.arrived_ms(record) >= *from_ms);
                    (first.map_or(state.sequence, |record| record.sequence), *from_ms)
                }
                ReadFrom::After(number) => {
                    let sequence = number
                        .parse::<u64>()
                        .ok()
                        .filter(|&sequence| sequence < state.sequence)
                        .ok_or_else(|| {
                            permanent("InvalidArgumentException", "not of this shard")
                        })?;
                    let at = state.records.iter().find(|record| record.sequence == sequence);
                    (sequence + 1, at.map_or(oldest_ms, |record| record.epoch_ms))
                }
            };
            let at_ms = at_ms.max(oldest_ms).min(now_ms);
            Ok(Iterator { shard, sequence, at_ms, given_ms: now_ms }.to_text())
        })
        .await
    }

    async fn get_records(
        &self,
        iterator: &str,
        records_max: usize,
    ) -> Result<RecordsPage, ReadError> {
        self.read("GetRecords", |state, now_ms| state.page(iterator, records_max, now_ms)).await
    }
}
