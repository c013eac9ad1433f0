//! The KPL's aggregated record: magic, protobuf `AggregatedRecord`, MD5 of the protobuf.
//!
//! Format: awslabs/kinesis-aggregation, `messages.proto` and the KPL's aggregation-format page,
//! read in November 2026. Every sub-record carries the outer record's one partition key and no
//! explicit hash key: KCL discards an aggregate in which a sub-record's key hashes outside the
//! shard's range.

use md5::{Digest, Md5};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST_BYTES: usize = 16;

/// Protobuf tags, `field << 3 | wire type`.
const PARTITION_KEY_TABLE: u8 = 1 << 3 | 2;
const RECORDS: u8 = 3 << 3 | 2;
const RECORD_PARTITION_KEY_INDEX: u8 = 1 << 3;
const RECORD_DATA: u8 = 3 << 3 | 2;

fn varint_bytes(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

fn append_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Length of the `Record` message that holds `data_bytes`, without its own tag and length.
fn record_message_bytes(data_bytes: usize) -> usize {
    2 + 1 + varint_bytes(data_bytes) + data_bytes
}

/// What an aggregate without events takes, under a partition key of `key_bytes`.
pub(super) fn frame_bytes(key_bytes: usize) -> usize {
    MAGIC.len() + 1 + varint_bytes(key_bytes) + key_bytes + DIGEST_BYTES
}

/// What one event of `data_bytes` adds.
pub(super) fn event_bytes(data_bytes: usize) -> usize {
    let message = record_message_bytes(data_bytes);
    1 + varint_bytes(message) + message
}

/// The aggregate of `events`, `bytes` long.
pub(super) fn aggregate<'a>(
    partition_key: &str,
    bytes: usize,
    events: impl Iterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut data = Vec::with_capacity(bytes);
    data.extend_from_slice(&MAGIC);
    data.push(PARTITION_KEY_TABLE);
    append_varint(partition_key.len(), &mut data);
    data.extend_from_slice(partition_key.as_bytes());
    for event in events {
        data.push(RECORDS);
        append_varint(record_message_bytes(event.len()), &mut data);
        data.extend_from_slice(&[RECORD_PARTITION_KEY_INDEX, 0, RECORD_DATA]);
        append_varint(event.len(), &mut data);
        data.extend_from_slice(event);
    }
    let digest = Md5::digest(&data[MAGIC.len()..]);
    data.extend_from_slice(&digest);
    debug_assert_eq!(data.len(), bytes);
    data
}
