//! The parameters of scaling.

use super::Rate;

/// The scaling parameters, as the template gives them.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Shards at rest; scale-down stops here.
    pub shard_count_default: u32,
    /// Scaling never goes below this.
    pub shard_count_min: u32,
    /// Scaling never goes above this.
    pub shard_count_max: u32,
    /// Where the alarms fire and the goal aims, as a share of capacity.
    pub target_utilization: f64,
    /// What one processor really sends per second.
    pub sent_by_processor: Rate,
    /// Processors that share one shard.
    pub concurrency_per_shard: u32,
    /// UpdateShardCount calls in 24 hours (10 unless the quota was raised).
    pub reshard_calls_max: u32,
    /// Calls that scale-down leaves for going up.
    pub reshards_kept_for_up: u32,
    /// Calls that scale-up leaves for going down again, unless demand exceeds capacity.
    pub reshards_kept_for_down: u32,
    /// Minutes that must all have been calm before scale-down halves the shards.
    pub look_back_minutes: u32,
    /// Minutes added to the look-back for each reshard call of the last 24 hours.
    pub calm_minutes_per_call: u32,
    /// Target time, in seconds, to drain the backlog in Lambda's queue.
    pub drain_seconds: f64,
    /// Scale-down keeps the shards when half of them would be used above this share.
    pub utilization_down_max: f64,
    /// Scale-down keeps the shards while any lag is above this, in milliseconds.
    pub lag_ms_max: u64,
}

impl Policy {
    /// What one shard can be used for.
    pub fn shard_capacity(&self) -> Rate {
        Rate::of_shard(self.sent_by_processor.times(f64::from(self.concurrency_per_shard)))
    }

    /// Minutes that must all have been calm after `calls_used` calls: the fewer are left, the surer
    /// it must be that the next one is not taken back.
    pub fn calm_minutes(&self, calls_used: u32) -> u32 {
        let used = calls_used.min(self.reshard_calls_max);
        self.look_back_minutes.saturating_add(self.calm_minutes_per_call.saturating_mul(used))
    }

    /// The longest look-back, which is how much load is read.
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
