//! Takes the KPL's aggregated records apart, as strictly as KCL does.
//!
//! An aggregate is the magic `F3 89 9A C2`, a protobuf `AggregatedRecord`, and the MD5 of the
//! protobuf. Whatever fails any part of that is one plain record: nothing is dropped, and no event
//! is made up. KCL (`AggregatorUtil`, read in November 2026) agrees on magic, MD5 and protobuf. Where
//! it would lose data, this differs:
//!
//! - *An index outside its table*: KCL logs it and gives the sub-records before it. Here the whole
//!   is a plain record.
//! - *No sub-records*: KCL gives nothing. Here it is a plain record, since nobody writes one on
//!   purpose.
//! - *A sub-record that hashes outside the shard*: KCL drops the aggregate, because the KPL writes
//!   its events again elsewhere. Lambda does not say what a shard's range is, and another writer may
//!   not write again: here they are kept. At worst such events are there twice.

use std::borrow::Cow;

use md5::{Digest, Md5};

use super::aggregate::{DIGEST_BYTES, MAGIC};

/// Wire types of protobuf.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

/// One event of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord<'a> {
    /// Its own partition key.
    pub partition_key: Cow<'a, str>,
    /// Its own explicit hash key.
    pub explicit_hash_key: Option<Cow<'a, str>>,
    /// What was written.
    pub data: &'a [u8],
}

/// Why data that begin with an aggregate's magic are not an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// There is nothing between magic and MD5, or no room for an MD5.
    #[error("too short for an aggregate")]
    TooShort,
    /// The MD5 is that of other bytes.
    #[error("the MD5 is wrong")]
    Digest,
    /// What is between magic and MD5 is no `AggregatedRecord`.
    #[error("the protobuf is no AggregatedRecord")]
    Protobuf,
    /// A sub-record names a key that its table does not have.
    #[error("a key index is outside its table")]
    KeyIndex,
    /// There are no sub-records.
    #[error("no sub-records")]
    NoSubRecords,
}

/// What a record's data are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deaggregated<'a> {
    /// They do not begin as an aggregate does.
    Plain,
    /// They begin so and are none. KCL takes them for a plain record, and so should who reads this.
    Damaged(Damage),
    /// An aggregate's events, one at least, in order.
    Aggregate(Vec<UserRecord<'a>>),
}

/// Takes a record's data apart; the events borrow from them.
pub fn deaggregate(data: &[u8]) -> Deaggregated<'_> {
    match data.strip_prefix(&MAGIC) {
        None => Deaggregated::Plain,
        Some(rest) => match open(rest) {
            Ok(records) => Deaggregated::Aggregate(records),
            Err(damage) => Deaggregated::Damaged(damage),
        },
    }
}

fn open(sealed: &[u8]) -> Result<Vec<UserRecord<'_>>, Damage> {
    let (message, digest) = sealed.split_last_chunk::<DIGEST_BYTES>().ok_or(Damage::TooShort)?;
    if message.is_empty() {
        return Err(Damage::TooShort);
    }
    if Md5::digest(message)[..] != digest[..] {
        return Err(Damage::Digest);
    }
    let mut partition_keys = Vec::new();
    let mut explicit_hash_keys = Vec::new();
    let mut sub_records = Vec::new();
    let mut fields = Fields(message);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(key)) => partition_keys.push(key),
            (2, Value::Bytes(key)) => explicit_hash_keys.push(key),
            (3, Value::Bytes(record)) => sub_records.push(SubRecord::parse(record)?),
            _ => {}
        }
    }
    if sub_records.is_empty() {
        return Err(Damage::NoSubRecords);
    }
    // A writer may put its tables after the records, so keys are looked up last.
    sub_records
        .into_iter()
        .map(|record| {
            Ok(UserRecord {
                partition_key: key(&partition_keys, record.partition_key_index)?,
                explicit_hash_key: record
                    .explicit_hash_key_index
                    .map(|index| key(&explicit_hash_keys, index))
                    .transpose()?,
                data: record.data,
            })
        })
        .collect()
}

fn key<'a>(table: &[&'a [u8]], index: u64) -> Result<Cow<'a, str>, Damage> {
    let key = usize::try_from(index).ok().and_then(|index| table.get(index));
    // Java's proto2 replaces what is not UTF-8, too.
    key.map(|key| String::from_utf8_lossy(key)).ok_or(Damage::KeyIndex)
}

struct SubRecord<'a> {
    partition_key_index: u64,
    explicit_hash_key_index: Option<u64>,
    data: &'a [u8],
}

impl<'a> SubRecord<'a> {
    /// `partition_key_index` and `data` are required; of a field that is there twice the last counts.
    fn parse(message: &'a [u8]) -> Result<Self, Damage> {
        let (mut partition_key_index, mut explicit_hash_key_index, mut data) = (None, None, None);
        let mut fields = Fields(message);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Number(index)) => partition_key_index = Some(index),
                (2, Value::Number(index)) => explicit_hash_key_index = Some(index),
                (3, Value::Bytes(bytes)) => data = Some(bytes),
                // Tags, and what nobody here knows.
                _ => {}
            }
        }
        Ok(Self {
            partition_key_index: partition_key_index.ok_or(Damage::Protobuf)?,
            explicit_hash_key_index,
            data: data.ok_or(Damage::Protobuf)?,
        })
    }
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a fixed width; no field that is read here has one.
    Fixed,
}

/// The fields of a protobuf message that are left. Groups, which proto2 gave up, are damage.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Damage> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            VARINT => Value::Number(self.varint()?),
            LENGTH_DELIMITED => {
                let bytes = usize::try_from(self.varint()?).map_err(|_| Damage::Protobuf)?;
                Value::Bytes(self.take(bytes)?)
            }
            FIXED_64 => self.take(8).map(|_| Value::Fixed)?,
            FIXED_32 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Damage::Protobuf),
        };
        match tag >> 3 {
            0 => Err(Damage::Protobuf),
            field => Ok(Some((field, value))),
        }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Damage::Protobuf)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Damage> {
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Damage::Protobuf)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damage::Protobuf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One field of a message.
    fn bytes_field(field: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![field << 3 | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(bytes);
        out
    }

    fn sub_record(key: u8, hash_key: Option<u8>, data: &[u8]) -> Vec<u8> {
        let mut message = vec![1 << 3, key];
        message.extend(hash_key.iter().flat_map(|&index| [2 << 3, index]));
        message.extend(bytes_field(3, data));
        bytes_field(3, &message)
    }

    fn sealed(message: &[u8]) -> Vec<u8> {
        [&MAGIC[..], message, &Md5::digest(message)[..]].concat()
    }

    fn damage(data: &[u8]) -> Damage {
        match deaggregate(data) {
            Deaggregated::Damaged(damage) => damage,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_sub_record_has_its_own_keys() {
        let message = [
            // Tables may come last.
            sub_record(1, Some(0), b"one"),
            bytes_field(1, b"a"),
            bytes_field(1, "ü".as_bytes()),
            bytes_field(2, b"340282366920938463463374607431768211455"),
            sub_record(0, None, b""),
        ]
        .concat();
        let data = sealed(&message);
        let Deaggregated::Aggregate(records) = deaggregate(&data) else { panic!("an aggregate") };
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].partition_key, "ü");
        let hash_key = records[0].explicit_hash_key.as_deref();
        assert_eq!(hash_key, Some("340282366920938463463374607431768211455"));
        assert_eq!(records[0].data, b"one");
        assert!(data.as_ptr_range().contains(&records[0].data.as_ptr()), "borrowed, not copied");
        assert_eq!((&*records[1].partition_key, records[1].data), ("a", &b""[..]));
        assert_eq!(records[1].explicit_hash_key, None);
    }

    #[test]
    fn a_field_that_nobody_knows_is_skipped() {
        let unknown = [&bytes_field(4, b"tag")[..], &[5 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
        let mut record = sub_record(0, None, b"one");
        record.extend(&unknown);
        record[1] += unknown.len() as u8;
        let message =
            [bytes_field(1, b"a"), record, unknown, vec![6 << 3 | 5, 1, 2, 3, 4], vec![7 << 3, 1]];
        let data = sealed(&message.concat());
        let Deaggregated::Aggregate(records) = deaggregate(&data) else { panic!("an aggregate") };
        assert_eq!(records[0].data, b"one");
    }

    #[test]
    fn what_does_not_begin_with_the_magic_is_plain() {
        for data in [&b""[..], b"\xf3", b"\xf3\x89\x9a", b"{}", b"\xf3\x89\x9a\xc3 and more"] {
            assert_eq!(deaggregate(data), Deaggregated::Plain);
        }
    }

    #[test]
    fn a_corrupt_aggregate_is_a_plain_record_with_the_reason() {
        let good = [bytes_field(1, b"a"), sub_record(0, None, b"one")].concat();
        assert!(matches!(deaggregate(&sealed(&good)), Deaggregated::Aggregate(_)));

        assert_eq!(damage(&MAGIC), Damage::TooShort);
        assert_eq!(damage(&[&MAGIC[..], &[0; 15]].concat()), Damage::TooShort);
        assert_eq!(damage(&sealed(b"")), Damage::TooShort);
        let mut wrong = sealed(&good);
        *wrong.last_mut().expect("an MD5") ^= 1;
        assert_eq!(damage(&wrong), Damage::Digest);
        assert_eq!(damage(&sealed(&good)[..10]), Damage::TooShort);
        assert_eq!(damage(&sealed(&good)[..sealed(&good).len() - 1]), Damage::Digest);
        // Its MD5 is right, and it ends in the middle of a field.
        assert_eq!(damage(&sealed(&good[..good.len() - 1])), Damage::Protobuf);
        assert_eq!(damage(&sealed(&bytes_field(1, b"a"))), Damage::NoSubRecords);
        let tables = bytes_field(1, b"a");
        for record in [sub_record(1, None, b"x"), sub_record(0, Some(0), b"x")] {
            assert_eq!(damage(&sealed(&[&tables[..], &record].concat())), Damage::KeyIndex);
        }
        for message in [
            // A record without data, one without a key, field 0, a group, a varint without end.
            &[&tables[..], &bytes_field(3, &[1 << 3, 0])].concat()[..],
            &[&tables[..], &bytes_field(3, &bytes_field(3, b"x"))].concat(),
            &[0, 0],
            &[1 << 3 | 3, 1 << 3 | 4],
            &[1 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[1 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert_eq!(damage(&sealed(message)), Damage::Protobuf, "{message:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_bytes_under_a_right_md5_give_a_verdict_and_only_bytes_of_their_own(
            message in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let data = sealed(&message);
            if let Deaggregated::Aggregate(records) = deaggregate(&data) {
                prop_assert!(!records.is_empty());
                for record in records {
                    let inside = record.data.is_empty()
                        || data.as_ptr_range().contains(&record.data.as_ptr());
                    prop_assert!(inside);
                }
            }
        }

        #[test]
        fn a_mutated_protobuf_under_a_right_md5_never_panics(
            events in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..6),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut message = bytes_field(1, b"key");
            for event in &events {
                message.extend(sub_record(0, None, event));
            }
            for (place, byte) in flips {
                let place = place.index(message.len());
                message[place] = byte;
            }
            message.truncate(cut.index(message.len()) + 1);
            let total: usize = match deaggregate(&sealed(&message)) {
                Deaggregated::Aggregate(records) => records.iter().map(|r| r.data.len()).sum(),
                _ => 0,
            };
            prop_assert!(total <= message.len());
        }

        #[test]
        fn a_mutated_record_is_plain_and_never_another_set_of_events(
            events in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..6),
            place in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let mut message = bytes_field(1, b"key");
            for event in &events {
                message.extend(sub_record(0, None, event));
            }
            let mut data = sealed(&message);
            let place = place.index(data.len());
            data[place] ^= flip;
            prop_assert!(!matches!(deaggregate(&data), Deaggregated::Aggregate(_)));
        }
    }
}
