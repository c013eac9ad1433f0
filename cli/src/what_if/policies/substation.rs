//! brexhq/substation: after 5 of 5 minutes at 70 % or more to 2, 1.75, 1.5 or 1.25 times the
//! shards, the less the more there are; after 60 of 60 minutes at 35 % or less the same way down.
//!
//! Source: its cmd/aws/lambda/autoscale/main.go and build/terraform. It does not count calls.

use super::alarm::is_alarmed;
use crate::what_if::world::{Rule, World};

/// Where the rule is documented.
pub const SOURCE: &str = "github.com/brexhq/substation (cmd/aws/lambda/autoscale)";

/// Factors by size.
pub struct Substation;

fn factor(shards: u32) -> f64 {
    match shards {
        0..5 => 2.0,
        5..13 => 1.75,
        13..33 => 1.5,
        _ => 1.25,
    }
}

impl Rule for Substation {
    fn begin(&mut self, world: &mut World<'_>) {
        world.effort.alarms = 4.0;
    }

    fn wake(&mut self, world: &mut World<'_>) {
        if !world.is_minute() || !world.is_active() {
            return;
        }
        let open = world.open_shards();
        if is_alarmed(world, (5, 5, 1), |seen| seen >= 0.7) {
            let target = (f64::from(open) * factor(open)).floor() as u32;
            let target = target.min(world.settings.shards_max);
            if target > open {
                world.update_shard_count(target, "70 % or more for 5 minutes").ok();
            }
        } else if is_alarmed(world, (60, 60, 1), |seen| seen <= 0.35) {
            let target = (f64::from(open) / factor(open)).ceil() as u32;
            if target < open {
                world.update_shard_count(target.max(1), "35 % or less for an hour").ok();
            }
        }
    }
}
