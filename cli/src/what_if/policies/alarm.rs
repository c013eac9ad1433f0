//! What most peers stand on: alarms that want so many periods in a row on one side of a bar.

use crate::what_if::clock::SECONDS_PER_MINUTE;
use crate::what_if::world::World;

/// The stream's utilisation in each of the latest `periods` whole periods of `minutes` minutes,
/// by the shards that are open now; `None` until there are so many. Peers look at what the stream
/// accepted, which is all that its metrics show.
pub fn utilizations(world: &World<'_>, periods: usize, minutes: usize) -> Option<Vec<f64>> {
    let visible = world.metrics.visible_minutes() / minutes * minutes;
    let begin = visible.checked_sub(periods * minutes)?;
    let shard = world.settings.limits.shard_bytes_per_second as f64;
    let capacity =
        f64::from(world.open_shards()) * shard * (minutes as u64 * SECONDS_PER_MINUTE) as f64;
    let taken = |from: usize| {
        (from..from + minutes)
            .filter_map(|number| world.metrics.minute(number))
            .map(|minute| minute.taken)
            .sum::<f64>()
    };
    Some((begin..visible).step_by(minutes).map(|from| taken(from) / capacity).collect())
}

/// Whether at least `datapoints` of the latest `periods` periods satisfy `is_breaching`.
pub fn is_alarmed(
    world: &World<'_>,
    (datapoints, periods, minutes): (usize, usize, usize),
    is_breaching: impl Fn(f64) -> bool,
) -> bool {
    utilizations(world, periods, minutes).is_some_and(|seen| {
        seen.into_iter().filter(|&seen| is_breaching(seen)).count() >= datapoints
    })
}
