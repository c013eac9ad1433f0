//! What can never be archived, as messages for the on-failure queue.

use base64_simd::STANDARD;
use libdeflater::{CompressionLvl, Compressor};
use serde_json::json;
use sluice::delivery::{DeadLetter, Reason};

use crate::event::KinesisRecord;

/// Compressed bytes of one message: as base64 they leave room for everything else in the 1 MiB that
/// SQS takes.
const PART_BYTES_MAX: usize = 750_000;

/// An event that can never be archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unarchivable {
    /// The place of its record in the batch.
    pub place: usize,
    /// Which one of the record's events it is, from 0.
    pub event: usize,
    /// Why.
    pub reason: Reason,
    /// For people; it never quotes the event.
    pub detail: String,
    /// The event.
    pub data: Vec<u8>,
}

impl Unarchivable {
    /// Messages that hold all of it: one, but for an event that even compressed is too large.
    #[must_use]
    pub fn letters(&self, record: &KinesisRecord<'_>, now_ms: u64) -> Vec<DeadLetter> {
        let gzip = compress(&self.data);
        let parts = gzip.chunks(PART_BYTES_MAX);
        let count = parts.len();
        parts
            .enumerate()
            .map(|(part, bytes)| DeadLetter {
                body: json!({
                    "reason": self.reason.code(),
                    "detail": self.detail,
                    "streamArn": record.stream_arn,
                    "shardId": record.shard_id(),
                    "sequenceNumber": record.kinesis.sequence_number,
                    "partitionKey": record.kinesis.partition_key,
                    "approximateArrivalTimestamp": record.kinesis.approximate_arrival_timestamp,
                    "event": self.event,
                    "bytes": self.data.len(),
                    "part": part + 1,
                    "parts": count,
                    "dataGzip": STANDARD.encode_to_string(bytes),
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

fn compress(data: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut gzip = vec![0; compressor.gzip_compress_bound(data.len())];
    // The bound is large enough by its contract.
    let bytes = compressor.gzip_compress(data, &mut gzip).unwrap_or_default();
    gzip.truncate(bytes);
    gzip
}
