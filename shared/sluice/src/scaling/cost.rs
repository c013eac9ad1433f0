//! What open shards cost, by `SHARD_HOUR_DOLLARS`.

use crate::limits::SHARD_HOUR_DOLLARS;

/// Dollars an hour for `shards` open shards.
pub fn dollars_per_hour(shards: u32) -> f64 {
    f64::from(shards) * SHARD_HOUR_DOLLARS
}
