//! What is wanted.

use super::Rate;

/// The scaling parameters, as the template gives them.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Shards at rest; scale-down goes no lower.
    pub shard_count_default: u32,
    /// Never fewer.
    pub shard_count_min: u32,
    /// Never more.
    pub shard_count_max: u32,
    /// Where the alarms fire and the goal aims, as a share of capacity.
    pub target_utilization: f64,
    /// m: what one processor really sends a second.
    pub sent_by_processor: Rate,
    /// Processors that share one shard.
    pub concurrency_per_shard: u32,
    /// UpdateShardCount calls in 24 hours (10 unless the quota was raised).
    pub reshard_calls_max: u32,
    /// Calls that scale-down leaves for going up.
    pub reshards_kept_for_up: u32,
    /// Calls that scale-up leaves for going down again, unless more comes in than fits.
    pub reshards_kept_for_down: u32,
    /// Minutes that must all have been calm before scale-down halves the shards,
    pub look_back_minutes: u32,
    /// and so many more for each call of the last 24 hours.
    pub calm_minutes_per_call: u32,
    /// Seconds in which a backlog should drain.
    pub drain_seconds: f64,
    /// Scale-down wants the projected utilisation below this, throughout the look-back.
    pub utilization_down_max: f64,
    /// Scale-down wants every lag below this, in milliseconds.
    pub lag_ms_max: u64,
}

impl Policy {
    /// What one shard can be used for.
    pub fn shard_capacity(&self) -> Rate {
        Rate::of_shard(self.sent_by_processor.times(f64::from(self.concurrency_per_shard)))
    }

    /// Minutes that must all have been calm once `calls_used` calls are spent: the fewer are left,
    /// the surer it must be that the next one is not taken back.
    pub fn calm_minutes(&self, calls_used: u32) -> u32 {
        let used = calls_used.min(self.reshard_calls_max);
        self.look_back_minutes.saturating_add(self.calm_minutes_per_call.saturating_mul(used))
    }

    /// The most of these: so much load is looked at.
    pub fn calm_minutes_max(&self) -> u32 {
        self.calm_minutes(self.reshard_calls_max)
    }

    /// A shard count within bounds.
    pub fn clamp(&self, shards: u32) -> u32 {
        shards.clamp(self.shard_count_min, self.shard_count_max)
    }

    /// Reserved concurrency of a function with `share` of the concurrency, for `shards`.
    pub fn concurrency(&self, shards: u32, share: f64) -> u32 {
        let all = f64::from(shards) * f64::from(self.concurrency_per_shard);
        // At least one: zero would stop the function.
        ((all * share + 1e-9).floor() as u32).max(1)
    }

    /// An alarm's threshold for `shards`: the target's share of what they take in a period.
    pub fn threshold(&self, per_shard_and_second: f64, shards: u32, period_seconds: u32) -> f64 {
        self.target_utilization
            * per_shard_and_second
            * f64::from(shards)
            * f64::from(period_seconds)
    }
}
