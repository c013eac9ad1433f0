//! What can never be archived, as messages for the on-failure queue.

use serde_json::json;
use sluice::delivery::parts::parts_of;
use sluice::delivery::{DeadLetter, Reason};

use crate::event::KinesisRecord;

/// An event that can never be archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unarchivable {
    /// The place of its record in the batch.
    pub place: usize,
    /// Which one of the record's events it is, from 0.
    pub event: usize,
    pub reason: Reason,
    /// For people; it never quotes the event.
    pub detail: String,
    pub data: Vec<u8>,
}

impl Unarchivable {
    /// Messages that hold all of it: one, but for an event that even compressed is too large.
    pub fn letters(&self, record: &KinesisRecord<'_>, now_ms: u64) -> Vec<DeadLetter> {
        parts_of(&self.data)
            .into_iter()
            .map(|part| DeadLetter {
                body: json!({
                    "reason": self.reason.code(),
                    "detail": self.detail,
                    "streamArn": record.stream_arn,
                    "shardId": record.shard_id(),
                    "sequenceNumber": record.kinesis.sequence_number,
                    "partitionKey": record.kinesis.partition_key,
                    "approximateArrivalTimestamp": record.arrival(),
                    "event": self.event,
                    "bytes": part.bytes,
                    "part": part.part,
                    "parts": part.parts,
                    "dataGzip": part.data_gzip,
                })
                .to_string(),
                reason: self.reason,
                detail: self.detail.clone(),
                log_events: Some(1),
                attempts: 0,
                dead_lettered_ms: now_ms,
            })
            .collect()
    }
}
