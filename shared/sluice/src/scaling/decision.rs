//! A decision: the actions to take, in order, what blocked more, and why. It explains itself to
//! people by its text and to queries by its codes.

use std::fmt;

use super::cost::dollars_per_hour;
use super::state::State;
use super::{Rate, ShardMetricsAction, StreamStatus};
use crate::limits::SQS_MAPPING_CONCURRENCY_MAX;

/// One call to make.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Write goal, floor and ledger to the stream's tags.
    SaveState(State),
    /// Call `UpdateShardCount` with this target.
    UpdateShardCount(u32),
    /// Call `SplitShard`, in the middle.
    SplitShard {
        /// The shard to split.
        shard_id: String,
        /// The first hash key of the upper half.
        new_starting_hash_key: u128,
    },
    /// Call `MergeShards`.
    MergeShards {
        /// The lower of the two shards.
        shard_id: String,
        /// The shard whose hash keys follow.
        adjacent_shard_id: String,
    },
    /// Call `PutFunctionConcurrency`.
    PutConcurrency {
        /// The function's name.
        function: String,
        /// Its new reserved concurrency.
        reserved: u32,
    },
    /// Call `UpdateEventSourceMapping` for the queue before a function.
    PutMappingConcurrency {
        /// The function behind the queue.
        function: String,
        /// The mapping's `UUID`.
        mapping: String,
        /// Its new maximum concurrency.
        maximum: u32,
    },
    /// Call `PutMetricAlarm` with another threshold.
    PutThreshold {
        /// The alarm's name.
        alarm: String,
        /// Its new threshold.
        threshold: f64,
    },
    /// Call `SetAlarmState` with INSUFFICIENT_DATA, so that the alarm can fire again.
    Rearm {
        /// The alarm's name.
        alarm: String,
    },
    /// A call about shard-level metrics. These come last: they may fail, and nothing waits for them.
    ShardMetrics(ShardMetricsAction),
}

impl Action {
    /// Whether it only brings in line what follows the shards.
    pub fn follows_shards(&self) -> bool {
        matches!(
            self,
            Self::PutConcurrency { .. }
                | Self::PutMappingConcurrency { .. }
                | Self::PutThreshold { .. }
        )
    }

    /// What log queries filter on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SaveState(_) => "save-state",
            Self::UpdateShardCount(_) => "update-shard-count",
            Self::SplitShard { .. } => "split-shard",
            Self::MergeShards { .. } => "merge-shards",
            Self::PutConcurrency { .. } => "put-concurrency",
            Self::PutMappingConcurrency { .. } => "put-mapping-concurrency",
            Self::PutThreshold { .. } => "put-threshold",
            Self::Rearm { .. } => "rearm",
            Self::ShardMetrics(ShardMetricsAction::Note(_)) => "note-shard-metrics",
            Self::ShardMetrics(ShardMetricsAction::Enable(_)) => "enable-shard-metrics",
            Self::ShardMetrics(ShardMetricsAction::Disable(_)) => "disable-shard-metrics",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The decision says how many shards there will be, and state is no news.
            Self::SaveState(_)
            | Self::UpdateShardCount(_)
            | Self::SplitShard { .. }
            | Self::MergeShards { .. } => Ok(()),
            Self::PutConcurrency { function, reserved } => {
                write!(out, "; concurrency of {function} to {reserved}")
            }
            Self::PutMappingConcurrency { function, maximum, .. } => {
                write!(out, "; concurrency of the queue before {function} to {maximum}")
            }
            Self::PutThreshold { alarm, threshold } => {
                write!(out, "; threshold of {alarm} to {threshold:.0}")
            }
            Self::Rearm { alarm } => write!(out, "; re-arm {alarm}"),
            Self::ShardMetrics(action) => write!(out, "{action}"),
        }
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq)]
pub enum Blocked {
    /// The stream is not ACTIVE.
    Resharding(StreamStatus),
    /// The demand needs more shards than the policy allows.
    AtMaximum,
    /// The stream is at the policy's default already.
    AtDefault,
    /// These are not off-peak hours.
    OutsideWindow,
    /// The stream is still on its way up to this many shards.
    GoalPending(u32),
    /// A plan holds at least this many shards.
    Floor(u32),
    /// The metrics could not be read.
    NoLoad,
    /// Half the shards would be used to this share of their capacity.
    Busy(f64),
    /// One of the stream's alarms is in ALARM.
    Alarmed,
    /// Events take this many milliseconds from Lambda's queue to the stream.
    Lagging(u64),
    /// A consumer is this many milliseconds behind.
    IteratorAge(u64),
    /// The oldest event in Lambda's queue has waited this many milliseconds.
    Backlog(u64),
    /// This many `UpdateShardCount` calls are left; they are reserved for scaling up.
    CallsKept(u32),
    /// This many `UpdateShardCount` calls are left; they are reserved for scaling down again.
    CallsKeptForDown(u32),
    /// No `UpdateShardCount` call is left. Going up, shards are split one by one instead.
    CallsGone,
    /// No call is left, and no shard is known that could be split.
    NothingToSplit,
    /// Records are refused while the stream as a whole has room, and no shard stands out.
    HotShardSuspected,
    /// A single key is hotter than this shard can take: no number of shards would help.
    KeySkew(String),
    /// Shard-level metrics that scaling switched on are still on, and it may no longer switch them.
    ShardMetricsLeftOn,
    /// A function whose concurrency should follow the shards does not exist.
    FunctionMissing(String),
    /// A mapping cannot run as many processors as the shards need.
    MappingAtMaximum {
        /// The function behind the queue.
        function: String,
        /// The processors that the shards need.
        wanted: u32,
    },
    /// The account cannot reserve as much concurrency as the shards need.
    ConcurrencyAtEdge {
        /// The function's name.
        function: String,
        /// The reserved concurrency that it needs.
        wanted: u32,
    },
}

impl Blocked {
    /// What log queries filter on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Resharding(_) => "resharding",
            Self::AtMaximum => "at-maximum",
            Self::AtDefault => "at-default",
            Self::OutsideWindow => "outside-window",
            Self::GoalPending(_) => "goal-pending",
            Self::Floor(_) => "floor",
            Self::NoLoad => "no-load",
            Self::Busy(_) => "busy",
            Self::Alarmed => "alarmed",
            Self::Lagging(_) => "lagging",
            Self::IteratorAge(_) => "iterator-age",
            Self::Backlog(_) => "backlog",
            Self::CallsKept(_) => "calls-kept",
            Self::CallsKeptForDown(_) => "calls-kept-for-down",
            Self::CallsGone => "calls-gone",
            Self::NothingToSplit => "nothing-to-split",
            Self::HotShardSuspected => "hot-shard-suspected",
            Self::KeySkew(_) => "key-skew",
            Self::ShardMetricsLeftOn => "shard-metrics-left-on",
            Self::FunctionMissing(_) => "function-missing",
            Self::MappingAtMaximum { .. } => "mapping-at-maximum",
            Self::ConcurrencyAtEdge { .. } => "concurrency-at-edge",
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resharding(status) => write!(out, "the stream is {status:?}"),
            Self::AtMaximum => write!(out, "at the maximum"),
            Self::AtDefault => write!(out, "at the default"),
            Self::OutsideWindow => write!(out, "outside the off-peak window"),
            Self::GoalPending(goal) => write!(out, "on the way to {goal} shards"),
            Self::Floor(shards) => write!(out, "planned for at least {shards} shards"),
            Self::NoLoad => write!(out, "the load is not known"),
            Self::Busy(utilization) => {
                write!(out, "half the shards would be used to {:.0} %", utilization * 100.0)
            }
            Self::Alarmed => write!(out, "an alarm is in ALARM"),
            Self::Lagging(ms) => {
                write!(out, "events take {ms} ms from Lambda's queue to the stream")
            }
            Self::IteratorAge(ms) => write!(out, "a consumer is {ms} ms behind"),
            Self::Backlog(ms) => write!(out, "events have waited {ms} ms in Lambda's queue"),
            Self::CallsKept(left) => write!(out, "the last {left} reshard calls are for going up"),
            Self::CallsKeptForDown(left) => {
                write!(out, "the last {left} reshard calls are for going down again")
            }
            Self::CallsGone => write!(out, "no reshard call is left today"),
            Self::NothingToSplit => write!(out, "no shard is known that could be split"),
            Self::HotShardSuspected => write!(out, "a shard may be hot, and none is known"),
            Self::KeySkew(shard) => write!(out, "a single key is too hot for its shard {shard}"),
            Self::ShardMetricsLeftOn => write!(
                out,
                "the metrics of each shard are on since ShardLevelMetrics was auto, and are \
                 billed: call DisableEnhancedMonitoring, or set it to auto again"
            ),
            Self::FunctionMissing(function) => write!(
                out,
                "there is no function {function}: deploy it, or take it out of ProcessorFunctions"
            ),
            Self::MappingAtMaximum { function, wanted } => write!(
                out,
                "the queue before {function} runs {SQS_MAPPING_CONCURRENCY_MAX} at the most, not {wanted}"
            ),
            Self::ConcurrencyAtEdge { function, wanted } => {
                write!(out, "the account cannot reserve {wanted} for {function}")
            }
        }
    }
}

/// What to do and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Shards that were open when it was made.
    pub open_shards: u32,
    /// The number of shards that the stream should arrive at.
    pub goal: u32,
    /// The load put on the stream, where it was read.
    pub demand: Option<Rate>,
    /// The demand as a share of the open shards' capacity.
    pub utilization: Option<f64>,
    /// `UpdateShardCount` calls left once the actions are taken.
    pub reshards_left: u32,
    /// The calls to make, in order.
    pub actions: Vec<Action>,
    /// What was not done, and why.
    pub blocked: Vec<Blocked>,
}

impl Decision {
    /// Open shards once the actions have taken effect.
    pub fn shards_after(&self) -> u32 {
        self.actions.iter().fold(self.open_shards, |shards, action| match action {
            Action::UpdateShardCount(target) => *target,
            Action::SplitShard { .. } => shards + 1,
            Action::MergeShards { .. } => shards.saturating_sub(1),
            _ => shards,
        })
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = self.shards_after();
        if after == self.open_shards {
            write!(out, "stay at {after} shards")?;
        } else {
            write!(out, "go from {} to {after} shards", self.open_shards)?;
        }
        if self.goal != after {
            write!(out, " on the way to {}", self.goal)?;
        }
        if let (Some(demand), Some(utilization)) = (self.demand, self.utilization) {
            write!(out, "; demand {demand}, {:.0} % of capacity", utilization * 100.0)?;
        }
        for action in &self.actions {
            write!(out, "{action}")?;
        }
        for blocked in &self.blocked {
            write!(out, "; not more, since {blocked}")?;
        }
        let (before, now) = (dollars_per_hour(self.open_shards), dollars_per_hour(after));
        write!(out, "; ${before:.3} an hour before, ${now:.3} after; ")?;
        write!(out, "{} reshard calls left", self.reshards_left)
    }
}
