//! What was seen.

use super::{Lease, Ledger, Rate, ShardMetricsSeen};
use crate::ports::{AlarmState, Shard, StreamStatus};

/// Why a scaling function runs. It changes what is wanted only when a person or a plan says so;
/// all else is read off the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// An alarm went off.
    Alarm(String),
    /// The schedule that looks whether something is pending.
    Reconcile,
    /// The schedule in off-peak hours.
    OffPeak,
    /// A plan: at least so many shards for a while.
    Floor(Floor),
    /// A person: exactly so many shards.
    Person(u32),
}

/// At least `shards` until `until_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// Shards.
    pub shards: u32,
    /// Milliseconds since 1970.
    pub until_ms: u64,
}

/// A function whose reserved concurrency follows the shards.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionSeen {
    /// Its name.
    pub name: String,
    /// Its share of shards × `ConcurrencyPerShard`.
    pub share: f64,
    /// Its reserved concurrency; `None` when it has none.
    pub reserved: Option<u32>,
    /// Whether it is there at all: the stacks launch in any order.
    pub exists: bool,
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
    /// Its name.
    pub name: String,
    /// What it watches.
    pub limit: AlarmLimit,
    /// Its state.
    pub state: AlarmState,
    /// Its threshold, a sum over its period.
    pub threshold: f64,
    /// Its period.
    pub period_seconds: u32,
}

/// A shard with what it is offered, where that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardLoad {
    /// The shard.
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
    /// Why it looked.
    pub wake: Wake,
    /// The stream's status.
    pub status: StreamStatus,
    /// Its open shards.
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
    /// The stream's alarms.
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
    #[must_use]
    pub fn is_alarmed(&self) -> bool {
        self.alarms.iter().any(|alarm| alarm.state == AlarmState::Alarm)
    }

    /// Whether the alarm on refused records says that some are.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        let is_refused = |alarm: &AlarmSeen| alarm.limit == AlarmLimit::Refused;
        self.alarms.iter().any(|alarm| is_refused(alarm) && alarm.state == AlarmState::Alarm)
    }

    /// The plan that is in force now.
    #[must_use]
    pub fn floor_in_force(&self) -> Option<Floor> {
        let planned = match self.wake {
            Wake::Floor(floor) => Some(floor),
            _ => self.floor,
        };
        planned.filter(|floor| floor.until_ms > self.now_ms)
    }
}
