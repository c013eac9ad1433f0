//! The Application Auto Scaling sample: one shard more after a minute above 80 %, one less after 15
//! minutes below 80 %.
//!
//! Source: aws-samples/aws-application-auto-scaling-kinesis, kept in aws-solutions/
//! centralized-logging. Its alarms watch IncomingRecords only, which with aggregated records would
//! never go off; in its favour they are taken to watch whichever limit is nearer.

use super::alarm::is_alarmed;
use crate::what_if::world::{Rule, World};

/// Where the rule is documented.
pub const SOURCE: &str =
    "github.com/aws-solutions/centralized-logging, the Application Auto Scaling sample";

/// Steps of one.
pub struct ApplicationAutoScaling;

impl Rule for ApplicationAutoScaling {
    fn begin(&mut self, world: &mut World<'_>) {
        world.effort.alarms = 2.0;
    }

    fn wake(&mut self, world: &mut World<'_>) {
        if !world.is_minute() || !world.is_active() {
            return;
        }
        let open = world.open_shards();
        if is_alarmed(world, (1, 1, 1), |seen| seen > 0.8) {
            if open < world.settings.shards_max {
                world.update_shard_count(open + 1, "above 80 % for a minute: one more").ok();
            }
        } else if open > 1 && is_alarmed(world, (15, 15, 1), |seen| seen < 0.8) {
            world.update_shard_count(open - 1, "below 80 % for 15 minutes: one less").ok();
        }
    }
}
