//! What an invocation saw, and why it looked.

use super::{Lease, Ledger, Rate, ShardMetricsSeen};
use crate::ports::{AlarmState, QueueMapping, Shard, StreamStatus};

/// Why a scaling function runs. Only an order or a plan changes what is wanted; all else is read off
/// the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// This alarm went off.
    Alarm(String),
    /// The schedule that looks every minute whether something is pending.
    Reconcile,
    /// The schedule in off-peak hours.
    OffPeak,
    /// A plan: at least this many shards for a while.
    Floor(Floor),
    /// An order: exactly this many shards.
    Manual(u32),
}

impl Trigger {
    /// What log queries filter on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Alarm(_) => "alarm",
            Self::Reconcile => "reconcile",
            Self::OffPeak => "off-peak",
            Self::Floor(_) => "floor",
            Self::Manual(_) => "manual",
        }
    }
}

/// A planned floor: at least `shards` shards until `until_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// The fewest shards while it is in force.
    pub shards: u32,
    /// When it ends, in milliseconds since 1970.
    pub until_ms: u64,
}

/// A function whose reserved concurrency follows the shards.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionSeen {
    /// `FunctionName`.
    pub name: String,
    /// Its share of shards × `ConcurrencyPerShard`.
    pub share: f64,
    /// Its reserved concurrency; `None` when it has none.
    pub reserved: Option<u32>,
    /// Whether it is there at all: the stacks launch in any order.
    pub exists: bool,
    /// The mapping of the queue before it, if there is one: it follows the shards then, and nothing is
    /// reserved.
    pub mapping: Option<QueueMapping>,
}

impl FunctionSeen {
    /// How many may run at once; `None` when only the account's limit says.
    pub fn limit(&self) -> Option<u32> {
        self.mapping.as_ref().map_or(self.reserved, |mapping| mapping.maximum)
    }
}

/// What an alarm watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmLimit {
    /// Bytes, accepted or wanted; the threshold follows the shards.
    Bytes,
    /// Records, accepted or wanted; the threshold follows the shards.
    Records,
    /// Refused records; the threshold stays.
    Refused,
}

/// An alarm of the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmSeen {
    /// `AlarmName`.
    pub name: String,
    /// What it watches, which says whether its threshold follows the shards.
    pub limit: AlarmLimit,
    /// `StateValue`.
    pub state: AlarmState,
    /// `Threshold`, a sum over the period.
    pub threshold: f64,
    /// `Period`, in seconds.
    pub period_seconds: u32,
}

/// A shard with what it is offered, where that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardLoad {
    /// The shard and its hash keys.
    pub shard: Shard,
    /// Accepted and refused; `None` without shard-level metrics.
    pub offered: Option<Rate>,
}

/// What one minute asked of the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MinuteLoad {
    /// What the stream took.
    pub accepted: Rate,
    /// Records a second that it refused.
    pub refused_records: f64,
    /// What the processors wanted to send, from Lambda's queue or fresh.
    pub sent: Rate,
    /// What the payloads that came in want of the stream, whether a processor had them yet or not.
    /// Less than `sent` while a backlog drains.
    pub wanted: Rate,
    /// Shards that were open at the least, where scaling has said so and it matters.
    pub open_shards: Option<u32>,
}

/// The stream's load over the look-back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// A minute each, oldest first.
    pub minutes: Vec<MinuteLoad>,
    /// How long the oldest event in Lambda's queue has waited.
    pub queue_age_ms: u64,
    /// How far the slowest consumer is behind.
    pub iterator_age_ms: u64,
    /// What the path adds: the wait in Lambda's queue and the time in the processor. How old the
    /// events were when they came is not in it.
    pub lag_ms: u64,
}

/// What a scaling function saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// When, in milliseconds since 1970.
    pub now_ms: u64,
    /// What the function was invoked for.
    pub trigger: Trigger,
    /// `StreamStatus`: only an ACTIVE stream can be resharded.
    pub status: StreamStatus,
    /// `OpenShardCount`.
    pub open_shards: u32,
    /// Where an earlier wake-up wanted to go and has not arrived.
    pub goal: Option<u32>,
    /// Whether a person wants that goal, and not the load.
    pub is_goal_ordered: bool,
    /// A plan that is in force.
    pub floor: Option<Floor>,
    /// The calls of the last 24 hours.
    pub reshards: Ledger,
    /// The functions whose concurrency follows the shards; none where nothing is reserved.
    pub functions: Vec<FunctionSeen>,
    /// The lease that somebody holds or held.
    pub lease: Option<Lease>,
    /// Concurrency that the account can still reserve, when that is known.
    pub reservable_concurrency: Option<u32>,
    /// The alarms that may invoke scale-up, as far as they exist.
    pub alarms: Vec<AlarmSeen>,
    /// Its load; `None` when nothing was pending that it could decide.
    pub load: Option<Load>,
    /// Its open shards one by one, with their load only when a single one may have to be split.
    /// `None` while it is being resharded, and when they could not be listed.
    pub shards: Option<Vec<ShardLoad>>,
    /// Whether these are off-peak hours.
    pub off_peak: bool,
    /// The metrics of each shard: which are on, and who switched them.
    pub shard_metrics: ShardMetricsSeen,
}

impl Observation {
    /// Whether an alarm says that something is scarce.
    pub fn is_alarmed(&self) -> bool {
        self.alarms.iter().any(|alarm| alarm.state == AlarmState::Alarm)
    }

    /// Whether the alarm on refused records says that some are.
    pub fn is_refusing(&self) -> bool {
        let is_refused = |alarm: &AlarmSeen| alarm.limit == AlarmLimit::Refused;
        self.alarms.iter().any(|alarm| is_refused(alarm) && alarm.state == AlarmState::Alarm)
    }

    /// The plan that is in force now.
    pub fn floor_in_force(&self) -> Option<Floor> {
        let planned = match self.trigger {
            Trigger::Floor(floor) => Some(floor),
            _ => self.floor,
        };
        planned.filter(|floor| floor.until_ms > self.now_ms)
    }
}
