//! aws-samples/kinesis-auto-scaling: doubles after 25 of 25 minutes at 75 % or more, halves after
//! 285 of 300 minutes below 25 %, in periods of five minutes.
//!
//! Source: its terraform/stream.tf and golang/scale.go. Half is rounded down, which
//! UpdateShardCount refuses for odd numbers; on a refused call it tries again for ever.

use super::alarm::is_alarmed;
use crate::what_if::clock::SECONDS_PER_MINUTE;
use crate::what_if::world::{Rule, World};

/// Where the rule is documented.
pub const SOURCE: &str =
    "github.com/aws-samples/kinesis-auto-scaling (terraform/stream.tf, golang/scale.go)";

const PERIOD_MINUTES: usize = 5;
const UP_PERIODS: usize = 5;
const DOWN_DATAPOINTS: usize = 57;
const DOWN_PERIODS: usize = 60;

/// Slow alarms.
pub struct KinesisAutoScaling;

impl Rule for KinesisAutoScaling {
    fn begin(&mut self, world: &mut World<'_>) {
        world.effort.alarms = 5.0;
    }

    fn wake(&mut self, world: &mut World<'_>) {
        let period = PERIOD_MINUTES as u64 * SECONDS_PER_MINUTE;
        if !world.second().is_multiple_of(period) || !world.is_active() {
            return;
        }
        let open = world.open_shards();
        if is_alarmed(world, (UP_PERIODS, UP_PERIODS, PERIOD_MINUTES), |seen| seen >= 0.75) {
            let target = (open * 2).min(world.settings.shards_max);
            if target > open {
                world.update_shard_count(target, "75 % or more for 25 minutes: doubled").ok();
            }
        } else if open > 1
            && is_alarmed(world, (DOWN_DATAPOINTS, DOWN_PERIODS, PERIOD_MINUTES), |seen| {
                seen < 0.25
            })
        {
            world.update_shard_count(open / 2, "below 25 % for 285 of 300 minutes: halved").ok();
        }
    }
}
