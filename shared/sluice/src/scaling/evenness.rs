//! How evenly the open shards divide the hash keys. Even keys fill the widest shard first, so that
//! uneven shards take no more than as many shards of the widest one's width.

use super::{Observation, ShardLoad};

/// For this long after a hot shard was suspected, shards count as split for their heat. No
/// neighbours are merged then: the narrow ones may be the hot ones.
pub const HEAT_KEPT_MS: u64 = 24 * 3_600_000;

/// How many equal shards would take what the open ones do, when keys lie evenly and the widest
/// shard is the limit. Fewer than are open while shards are split or merged one by one.
pub(super) fn even_shards(seen: &Observation) -> u32 {
    let widest = seen.shards.iter().flatten().map(|load| load.shard.width()).max();
    let even = widest.map_or(seen.open_shards, |width| {
        // A shard's width is a hair off when the hash space does not divide.
        (u128::MAX as f64 / (width as f64 + 1.0) + 1e-6).floor() as u32
    });
    even.clamp(1, seen.open_shards.max(1))
}

/// How many shards can be filled: concurrency and thresholds go by it. Where heat led the splits,
/// the keys are not even and the widest shards are the cold ones, so every open shard counts.
pub fn shards_to_fill(seen: &Observation) -> u32 {
    if is_led_by_heat(seen) { seen.open_shards } else { even_shards(seen) }
}

/// The narrowest neighbours that together are no wider than the widest shard: with even keys they
/// take no more as two than as one. `None` where they might be the hot ones.
pub(super) fn idle_pair(seen: &Observation) -> Option<(&ShardLoad, &ShardLoad)> {
    if is_led_by_heat(seen) {
        return None;
    }
    let mut shards: Vec<&ShardLoad> = seen.shards.iter().flatten().collect();
    shards.sort_by_key(|load| load.shard.from);
    let widest = shards.iter().map(|load| load.shard.width()).max().unwrap_or(0);
    // Widths are a hair off when the hash space does not divide.
    let width_max = widest.saturating_add(u128::from(seen.open_shards));
    let width = |two: &(&ShardLoad, &ShardLoad)| two.1.shard.to - two.0.shard.from;
    let pairs = shards.windows(2).map(|two| (two[0], two[1]));
    pairs.filter(|pair| width(pair) <= width_max).min_by_key(width)
}

/// Whether shards may have been split for their heat: then the narrow ones are the hot ones.
fn is_led_by_heat(seen: &Observation) -> bool {
    let suspected_ms = seen.shard_metrics.switched.suspected_ms;
    seen.shard_metrics.missing().is_empty()
        || seen.now_ms.saturating_sub(suspected_ms) < HEAT_KEPT_MS
}
