//! The mark of a replayed record: its partition key begins with `replayed:`.
//!
//! Consumers see a record's data and its partition key, and the data are not ours to change. The
//! explicit hash key of the original key goes with it, so that a marked record lies where it would
//! lie without: KCL throws an aggregate away whose sub-records hash outside of its shard.

use md5::{Digest, Md5};

use super::Record;
use crate::limits::{PARTITION_KEY_CHARS_MAX, RECORD_BYTES_MAX};

/// What a replayed record's partition key begins with.
pub const MARK: &str = "replayed:";

/// The record with its mark, or as it is when it has the mark already; `false` when there is no
/// room for one, and it goes without.
pub fn mark(record: Record) -> (Record, bool) {
    if record.partition_key.starts_with(MARK) {
        return (record, true);
    }
    let has_room = record.partition_key.chars().count() + MARK.len() <= PARTITION_KEY_CHARS_MAX
        // Beyond the usual limit, the stream's own is not known, but it is in MiB.
        && (record.bytes() + MARK.len() <= RECORD_BYTES_MAX || record.bytes() > RECORD_BYTES_MAX);
    match has_room {
        true => {
            (Record { partition_key: format!("{MARK}{}", record.partition_key), ..record }, true)
        }
        false => (record, false),
    }
}

/// The partition key that a record had before it was marked.
pub fn original_key(partition_key: &str) -> &str {
    partition_key.strip_prefix(MARK).unwrap_or(partition_key)
}

/// The hash key that the record had in the stream that it came from.
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(original_key(partition_key).as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition_key: &str, bytes: usize) -> Record {
        Record { partition_key: partition_key.to_owned(), data: vec![7; bytes] }
    }

    #[test]
    fn the_mark_is_in_the_key_and_not_in_the_data_and_does_not_move_the_record() {
        let (marked, has_mark) = mark(record("a", 3));
        assert!(has_mark);
        assert_eq!((marked.partition_key.as_str(), &marked.data), ("replayed:a", &vec![7; 3]));
        assert_eq!(original_key(&marked.partition_key), "a");
        assert_eq!(hash_key("replayed:a"), hash_key("a"));
        assert_eq!(hash_key("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    }

    #[test]
    fn a_record_that_is_replayed_twice_has_one_mark() {
        let (once, _) = mark(record("a", 3));
        assert_eq!(mark(once.clone()), (once, true));
    }

    #[test]
    fn what_has_no_room_for_the_mark_goes_without_and_uncut() {
        for full in [record(&"k".repeat(248), 1), record("k", RECORD_BYTES_MAX - 1)] {
            assert_eq!(mark(full.clone()), (full, false));
        }
        assert!(mark(record(&"k".repeat(247), 1)).1);
        assert!(mark(record("k", RECORD_BYTES_MAX - 1 - MARK.len())).1);
    }
}
