//! What a shard takes, what a load asks for, and how many shards that makes.

use std::fmt;

use crate::limits::{SHARD_BYTES_PER_SECOND, SHARD_RECORDS_PER_SECOND};

/// Bytes and records a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate {
    /// Payload bytes per second.
    pub bytes: f64,
    /// Kinesis records per second.
    pub records: f64,
}

impl Rate {
    /// What one shard can be used for: its own limits, or what its processors can send, whichever
    /// is less.
    pub fn of_shard(sent_by_its_processors: Self) -> Self {
        Self {
            bytes: sent_by_its_processors.bytes.min(SHARD_BYTES_PER_SECOND as f64),
            records: sent_by_its_processors.records.min(SHARD_RECORDS_PER_SECOND as f64),
        }
    }

    /// The larger of both, limit by limit.
    pub fn max(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), records: self.records.max(other.records) }
    }

    /// The sum, limit by limit.
    pub fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, records: self.records + other.records }
    }

    /// `factor` times as much of both.
    pub fn times(self, factor: f64) -> Self {
        Self { bytes: self.bytes * factor, records: self.records * factor }
    }

    /// The share of `capacity` that this rate uses: of bytes or records, whichever is nearer its
    /// limit.
    pub fn utilization_of(self, capacity: Self) -> f64 {
        (self.bytes / capacity.bytes).max(self.records / capacity.records)
    }

    /// The least number of shards that carries this rate at `target_utilization`.
    pub fn shards_needed(self, shard: Self, target_utilization: f64) -> u32 {
        // A hair below a whole number is that number: 0.8 is no binary fraction.
        let shards = (self.utilization_of(shard) / target_utilization - 1e-9).ceil();
        shards.clamp(1.0, f64::from(u32::MAX)) as u32
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.3} MB/s and {:.0} records/s", self.bytes / 1e6, self.records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: Rate = Rate { bytes: 1e6, records: 1e3 };

    #[test]
    fn whichever_limit_is_nearer_decides() {
        assert_eq!(Rate { bytes: 4e6, records: 10.0 }.shards_needed(SHARD, 0.8), 5);
        assert_eq!(Rate { bytes: 10.0, records: 4e3 }.shards_needed(SHARD, 0.8), 5);
        assert_eq!(Rate { bytes: 4.000_001e6, records: 0.0 }.shards_needed(SHARD, 0.8), 6);
        assert_eq!(Rate::default().shards_needed(SHARD, 0.8), 1);
    }

    #[test]
    fn slow_processors_make_a_shard_smaller_and_fast_ones_no_larger() {
        let slow = Rate::of_shard(Rate { bytes: 5e5, records: 1e9 });
        assert_eq!(slow, Rate { bytes: 5e5, records: 1e3 });
    }
}
