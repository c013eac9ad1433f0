//! awslabs/amazon-kinesis-scaling-utils: polls every minute; with its README's configuration, 20 %
//! more after 10 minutes above 80 %, one shard less after 60 minutes below 20 %, at most every two
//! hours.
//!
//! Source: its README.md. It splits and merges shards itself where UpdateShardCount's calls of the
//! day are spent; here it stops, because single splits leave the keys uneven.

use super::alarm::is_alarmed;
use crate::what_if::clock::SECONDS_PER_MINUTE;
use crate::what_if::world::{Rule, World};

/// Where the rule is documented.
pub const SOURCE: &str = "github.com/awslabs/amazon-kinesis-scaling-utils (README.md, its example)";

const UP_SHARE: f64 = 0.2;
const COOL_OFF_SECONDS: u64 = 120 * SECONDS_PER_MINUTE;

/// Counts and percentages.
#[derive(Default)]
pub struct ScalingUtils {
    down_after: u64,
}

impl Rule for ScalingUtils {
    fn begin(&mut self, _: &mut World<'_>) {}

    fn wake(&mut self, world: &mut World<'_>) {
        if !world.is_minute() || !world.is_active() {
            return;
        }
        world.effort.metrics_read += 2.0;
        let open = world.open_shards();
        if is_alarmed(world, (10, 10, 1), |seen| seen > 0.8) {
            let more = (f64::from(open) * UP_SHARE).ceil() as u32;
            let target = (open + more).min(world.settings.shards_max);
            if target > open {
                world.update_shard_count(target, "above 80 % for 10 minutes: 20 % more").ok();
            }
        } else if open > 1
            && world.second() >= self.down_after
            && is_alarmed(world, (60, 60, 1), |seen| seen < 0.2)
            && world.update_shard_count(open - 1, "below 20 % for an hour: one less").is_ok()
        {
            self.down_after = world.second() + COOL_OFF_SECONDS;
        }
    }
}
