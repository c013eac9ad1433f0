//! A stream that is looked at and resharded.

use std::collections::{BTreeMap, BTreeSet};

use super::ControlError;

/// `StreamStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamStatus {
    /// Serves, and can be resharded.
    Active,
    /// Serves, and is being resharded.
    Updating,
    /// Being created.
    Creating,
    /// Being deleted.
    Deleting,
}

/// An open shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// `ShardId`.
    pub id: String,
    /// First hash key.
    pub from: u128,
    /// Last hash key.
    pub to: u128,
}

impl Shard {
    /// Hash keys in it, less one.
    #[must_use]
    pub fn width(&self) -> u128 {
        self.to - self.from
    }
}

/// `DescribeStreamSummary`, as far as scaling looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    /// `StreamStatus`.
    pub status: StreamStatus,
    /// `OpenShardCount`.
    pub open_shards: u32,
    /// `EnhancedMonitoring`: the shard-level metrics that are on.
    pub shard_metrics: BTreeSet<String>,
}

/// Looks at a stream, reshards it and tags it.
pub trait ScaleStream {
    /// DescribeStreamSummary.
    fn describe_stream(&self) -> impl Future<Output = Result<StreamSummary, ControlError>>;

    /// ListShards, open ones only, every page.
    fn list_open_shards(&self) -> impl Future<Output = Result<Vec<Shard>, ControlError>>;

    /// UpdateShardCount with uniform scaling.
    fn update_shard_count(&self, target: u32) -> impl Future<Output = Result<(), ControlError>>;

    /// SplitShard.
    fn split_shard(
        &self,
        shard_id: &str,
        new_starting_hash_key: u128,
    ) -> impl Future<Output = Result<(), ControlError>>;

    /// MergeShards.
    fn merge_shards(
        &self,
        shard_id: &str,
        adjacent_shard_id: &str,
    ) -> impl Future<Output = Result<(), ControlError>>;

    /// EnableEnhancedMonitoring: these too, from the next minute or so on. The stream is UPDATING for
    /// a moment.
    fn enable_shard_metrics(
        &self,
        metrics: &BTreeSet<String>,
    ) -> impl Future<Output = Result<(), ControlError>>;

    /// DisableEnhancedMonitoring: these no longer. The stream is UPDATING for a moment.
    fn disable_shard_metrics(
        &self,
        metrics: &BTreeSet<String>,
    ) -> impl Future<Output = Result<(), ControlError>>;

    /// ListTagsForStream, every page.
    fn list_tags(&self) -> impl Future<Output = Result<BTreeMap<String, String>, ControlError>>;

    /// AddTagsToStream.
    fn add_tags(
        &self,
        tags: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<(), ControlError>>;
}
