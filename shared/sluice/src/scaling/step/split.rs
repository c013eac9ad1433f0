//! SplitShard: the way up when no UpdateShardCount call is left, and relief for a hot shard.

use super::Step;
use crate::scaling::{Blocked, Observation, Policy, Shard, ShardLoad};

/// A shard narrower than this share of an even one has been split before: it is hot because of a
/// key, and splitting on would not help.
const SKEW_WIDTH_MAX: f64 = 1.0 / 12.0;

/// Splits the hottest shard, or the widest where heat is not known.
pub fn hottest(policy: &Policy, seen: &Observation) -> Result<Step, Blocked> {
    let heat = |load: &ShardLoad| {
        load.offered.map_or(0.0, |rate| rate.utilization_of(policy.shard_capacity()))
    };
    let hottest = seen.shards.iter().flatten().max_by(|one, other| {
        heat(one)
            .total_cmp(&heat(other))
            .then(one.shard.width().cmp(&other.shard.width()))
            .then(other.shard.id.cmp(&one.shard.id))
    });
    match hottest.map(|load| &load.shard) {
        Some(shard) if shard.width() > 0 => Ok(split(shard)),
        _ => Err(Blocked::NothingToSplit),
    }
}

/// Records are refused though the stream has room: splits the shard that is over its limit, or says
/// that no number of shards would help.
pub fn relieve_hot_shard(policy: &Policy, seen: &Observation) -> Result<Step, Blocked> {
    if seen.open_shards >= policy.shard_count_max {
        return Ok(Step::Stay);
    }
    let capacity = policy.shard_capacity();
    let hot = seen.shards.iter().flatten().filter_map(|load| {
        let heat = load.offered?.utilization_of(capacity);
        (heat > 1.0).then_some((heat, &load.shard))
    });
    let Some((_, shard)) = hot.max_by(|one, other| one.0.total_cmp(&other.0)) else {
        return Err(Blocked::HotShardSuspected);
    };
    let even = u128::MAX as f64 / f64::from(seen.open_shards);
    if (shard.width() as f64) < even * SKEW_WIDTH_MAX {
        return Err(Blocked::KeySkew(shard.id.clone()));
    }
    Ok(split(shard))
}

fn split(shard: &Shard) -> Step {
    let new_starting_hash_key = shard.from + shard.width() / 2 + 1;
    Step::Split { shard_id: shard.id.clone(), new_starting_hash_key }
}
