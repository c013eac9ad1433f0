//! Partition keys.

use std::str::FromStr;

use fastrand::Rng;
use md5::{Digest, Md5};

use crate::limits::PARTITION_KEY_CHARS_MAX;

include!("base36.rs");

/// For each of 2^14 equal slices of the hash space, a number whose base-36 text hashes into it:
/// little-endian u32s, made by build.rs.
static PARTITION_KEYS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/partition_keys.bin"));

const STRATA: usize = PARTITION_KEYS.len() / 4;

/// What decides a record's shard (`PARTITION_BY`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionBy {
    /// Records lie evenly over all shards, whatever their number.
    Even,
    /// Each log stream has one shard.
    LogStream,
}

impl FromStr for PartitionBy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "even" => Ok(Self::Even),
            "log-stream" => Ok(Self::LogStream),
            _ => Err("no such way to partition"),
        }
    }
}

/// Walks the hash space so that the first n keys lie evenly over any number of shards, for every n.
///
/// The strata are visited in van der Corput order (the bits of a counter, reversed) from a random
/// start, so that execution environments do not walk in step.
#[derive(Debug, Clone)]
pub struct Spread {
    counter: u16,
    start: usize,
}

impl Spread {
    /// A walk that starts somewhere.
    pub fn new(rng: &mut Rng) -> Self {
        Self { counter: 0, start: rng.usize(..STRATA) }
    }

    /// The next partition key.
    pub fn next_key(&mut self) -> String {
        let reversed = usize::from(self.counter.reverse_bits() >> (u16::BITS - STRATA.ilog2()));
        self.counter = (self.counter + 1) % STRATA as u16;
        let stratum = (reversed + self.start) % STRATA;
        let bytes = PARTITION_KEYS[stratum * 4..].first_chunk().copied().unwrap_or_default();
        base36(u32::from_le_bytes(bytes))
    }
}

/// The partition key of a log stream: `group:stream` where that fits, else the MD5 of it.
pub fn log_stream_key(log_group: &str, log_stream: &str) -> String {
    let key = format!("{log_group}:{log_stream}");
    if key.chars().count() <= PARTITION_KEY_CHARS_MAX {
        return key;
    }
    let hash: [u8; 16] = Md5::digest(key.as_bytes()).into();
    format!("{:032x}", u128::from_be_bytes(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(key: &str) -> u128 {
        u128::from_be_bytes(Md5::digest(key.as_bytes()).into())
    }

    #[test]
    fn each_key_hashes_into_its_own_stratum() {
        let mut spread = Spread { counter: 0, start: 0 };
        let mut strata: Vec<usize> =
            (0..STRATA).map(|_| (hash_of(&spread.next_key()) >> (128 - 14)) as usize).collect();
        strata.sort_unstable();
        assert_eq!(strata, (0..STRATA).collect::<Vec<_>>());
    }

    #[test]
    fn any_number_of_keys_lies_evenly_over_any_number_of_shards() {
        let mut rng = Rng::with_seed(7);
        for shards in [1u128, 2, 3, 5, 16, 100] {
            for keys in [1usize, 4, 10, 97, 1_000, 20_000] {
                let mut spread = Spread::new(&mut rng);
                let mut counts = vec![0f64; shards as usize];
                for _ in 0..keys {
                    let shard = ((hash_of(&spread.next_key()) >> 64) * shards) >> 64;
                    counts[shard as usize] += 1.0;
                }
                let fair = keys as f64 / shards as f64;
                // A van der Corput walk is off by about log2(n) keys at the worst; chance would be
                // off by several times the root of `fair`.
                let bound = (keys as f64).log2().max(1.0) + fair * 0.03;
                for count in counts {
                    assert!((count - fair).abs() <= bound, "{count} of {fair} ({keys}/{shards})");
                }
            }
        }
    }

    #[test]
    fn a_log_stream_has_one_key_that_fits() {
        assert_eq!(log_stream_key("/app", "web-1"), "/app:web-1");
        let long = log_stream_key("/app", &"é".repeat(512));
        assert_eq!(long.len(), 32);
        assert_ne!(long, log_stream_key("/app", &"è".repeat(512)));
    }
}
