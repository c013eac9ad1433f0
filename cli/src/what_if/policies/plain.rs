//! The rule that Sluice grew from: an alarm at 80 % over five minutes doubles the shards; in
//! off-peak hours a schedule halves them every ten minutes down to the default, and skips while
//! the stream is busy or being resharded.
//!
//! Source: Disney Streaming, "Auto-scaling Kinesis streams" (2019). Its processors' concurrency
//! follows the shards. In its favour, an alarm that stays in ALARM is taken to fire again.

use super::alarm::is_alarmed;
use crate::what_if::clock::SECONDS_PER_MINUTE;
use crate::what_if::world::{Rule, World};

/// Where the rule is documented.
pub const SOURCE: &str = "Disney Streaming, auto-scaling Kinesis streams (2019)";

const UTILIZATION_UP: f64 = 0.8;
const HALVES_EVERY_SECONDS: u64 = 600;

/// Doubles by day and halves by night.
pub struct Plain {
    /// Scale-down stops here.
    pub shard_count_default: u32,
    /// Hours of the day in which it runs.
    pub off_peak_hours: (u64, u64),
}

impl Rule for Plain {
    fn begin(&mut self, world: &mut World<'_>) {
        world.effort.alarms = 2.0;
    }

    fn wake(&mut self, world: &mut World<'_>) {
        if !world.is_minute() || !world.is_active() {
            return;
        }
        let open = world.open_shards();
        let is_busy = is_alarmed(world, (1, 1, 5), |seen| seen > UTILIZATION_UP);
        if is_busy && world.second().is_multiple_of(5 * SECONDS_PER_MINUTE) {
            let target = (open * 2).min(world.settings.shards_max);
            if target > open {
                world.update_shard_count(target, "over 80 % for 5 minutes: doubled").ok();
            }
            return;
        }
        let (from, until) = self.off_peak_hours;
        let is_off_peak = (from * 3_600..until * 3_600).contains(&world.second_of_day());
        if is_off_peak && !is_busy && world.second_of_day().is_multiple_of(HALVES_EVERY_SECONDS) {
            let target = open.div_ceil(2).max(self.shard_count_default);
            if target < open {
                world.update_shard_count(target, "off-peak: halved").ok();
            }
        }
    }
}
