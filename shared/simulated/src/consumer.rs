//! A consumer of the stream: tells apart and undoes what records hold.
//!
//! Strict on purpose, and written against the format's description rather than with the packer's
//! code. The stranger's library reads the same bytes in `tests/stacks`.

use std::io::Read;

use libdeflater::Decompressor;
use md5::{Digest, Md5};

const AGGREGATE_MAGIC: &[u8] = &[0xf3, 0x89, 0x9a, 0xc2];
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// The events in a record's data.
///
/// # Panics
/// When the data claim to be an aggregate or gzip and are not.
#[must_use]
pub fn events_of(data: &[u8], partition_key: &str) -> Vec<Vec<u8>> {
    if data.starts_with(AGGREGATE_MAGIC) {
        return deaggregate(data, partition_key);
    }
    if data.starts_with(GZIP_MAGIC) {
        let length = u32::from_le_bytes(*data.last_chunk().expect("a gzip trailer")) as usize;
        let mut text = vec![0; length];
        let read = Decompressor::new().gzip_decompress(data, &mut text);
        assert_eq!(read, Ok(length), "a gzip member");
        let text = text.strip_suffix(b"\n").expect("a newline after the last event");
        return text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    }
    vec![data.to_vec()]
}

fn deaggregate(data: &[u8], partition_key: &str) -> Vec<Vec<u8>> {
    let (message, digest) = data[AGGREGATE_MAGIC.len()..].split_last_chunk::<16>().expect("an MD5");
    let expected: [u8; 16] = Md5::digest(message).into();
    assert_eq!(*digest, expected, "the MD5 of an aggregate");
    let mut events = Vec::new();
    let mut keys = 0;
    for (field, value) in fields(message) {
        match field {
            1 => {
                assert_eq!(value, Value::Bytes(partition_key.as_bytes()), "the one partition key");
                keys += 1;
            }
            3 => {
                let Value::Bytes(record) = value else { panic!("a record is a message") };
                let mut data = None;
                for (field, value) in fields(record) {
                    match (field, value) {
                        (1, Value::Number(0)) => {}
                        (3, Value::Bytes(bytes)) => data = Some(bytes.to_vec()),
                        other => panic!("an unexpected field of a record: {other:?}"),
                    }
                }
                events.push(data.expect("a record has data"));
            }
            other => panic!("an unexpected field of an aggregate: {other}"),
        }
    }
    assert_eq!(keys, 1, "one partition key");
    assert!(events.len() > 1, "a lone event stays a plain record");
    events
}

#[derive(Debug, PartialEq, Eq)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message.
fn fields(mut message: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut message)),
            2 => {
                let length = varint(&mut message) as usize;
                let (bytes, rest) = message.split_at(length);
                message = rest;
                Value::Bytes(bytes)
            }
            other => panic!("an unexpected wire type: {other}"),
        };
        fields.push((tag >> 3, value));
    }
    fields
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        message.read_exact(&mut byte).expect("a whole varint");
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return value;
        }
    }
    panic!("a varint of more than 64 bits");
}
