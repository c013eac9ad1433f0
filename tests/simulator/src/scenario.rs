//! A scenario: why it exists, what happens, what it accepts. Read from a TOML file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Deserializer};
use sluice::scaling::{Policy, Rate, ShardLevelMetrics};

/// Milliseconds since the simulation's begin, which is midnight; written `"26:10"` or `"26:10:30"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(pub u64);

impl At {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':').map(|part| part.parse::<u64>().ok());
        let (hours, minutes) = (parts.next()??, parts.next()??);
        let seconds = parts.next().unwrap_or(Some(0))?;
        (minutes < 60 && seconds < 60 && parts.next().is_none())
            .then_some(Self(((hours * 60 + minutes) * 60 + seconds) * 1_000))
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bad = || serde::de::Error::custom(format!("{text:?} is no time such as \"26:10\""));
        Self::parse(&text).ok_or_else(bad)
    }
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Its first moment.
    pub from: At,
    /// The moment after it.
    pub until: At,
}

impl Window {
    /// Whether `ms` lies in it.
    #[must_use]
    pub fn contains(&self, ms: u64) -> bool {
        self.from.0 <= ms && ms < self.until.0
    }
}

/// One scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without its extension.
    #[serde(skip)]
    pub name: String,
    /// Why it exists.
    pub why: String,
    /// How long it runs.
    pub hours: f64,
    /// What arrives.
    pub traffic: Traffic,
    /// What differs from the usual policy.
    #[serde(default)]
    pub policy: PolicyChanges,
    /// What differs from the usual world.
    #[serde(default)]
    pub world: World,
    /// Calls that go wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Alarms that are lost, late or doubled on their way to the function.
    #[serde(default)]
    pub alarm_faults: Vec<AlarmFault>,
    /// Metrics that come later than usual.
    #[serde(default)]
    pub metric_delays: Vec<Slow>,
    /// A consumer that is behind.
    #[serde(default)]
    pub consumer_lags: Vec<Slow>,
    /// What people, stacks and plans do.
    #[serde(default)]
    pub events: Vec<Event>,
    /// What it accepts.
    pub accepts: Accepts,
}

/// What arrives.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Megabytes a second at points in time, on a line between them; the last one holds.
    pub megabytes_per_second: Vec<(At, f64)>,
    /// Kilobytes in a record.
    #[serde(default = "record_kilobytes")]
    pub record_kilobytes: f64,
    /// Each second is off by up to so much, by the seed.
    #[serde(default = "noise_percent")]
    pub noise_percent: f64,
    /// A key that takes a share of everything for a while.
    pub hot_key: Option<HotKey>,
    /// Spikes at moments that the seed chooses.
    pub spikes: Option<Spikes>,
}

fn record_kilobytes() -> f64 {
    20.0
}

fn noise_percent() -> f64 {
    5.0
}

/// A key that takes a share of everything for a while.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HotKey {
    /// From when on.
    pub from: At,
    /// Until when.
    pub until: At,
    /// Its share of the traffic, 0 to 1.
    pub share: f64,
    /// Where it lies in the hash space, 0 to 1.
    pub place: f64,
}

/// Spikes at moments that the seed chooses.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spikes {
    /// How many.
    pub count: usize,
    /// All of them begin before this.
    pub before: At,
    /// Up to so many times the traffic.
    pub factor_max: f64,
    /// Up to so long.
    pub minutes_max: u64,
}

/// What differs from the usual policy.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyChanges {
    shard_count_default: Option<u32>,
    shard_count_min: Option<u32>,
    shard_count_max: Option<u32>,
    concurrency_per_shard: Option<u32>,
    reshards_kept_for_up: Option<u32>,
    reshards_kept_for_down: Option<u32>,
    drain_seconds: Option<f64>,
    utilization_down_max: Option<f64>,
    processor_megabytes_per_second: Option<f64>,
}

impl PolicyChanges {
    /// The policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            shard_count_default: self.shard_count_default.unwrap_or(2),
            shard_count_min: self.shard_count_min.unwrap_or(1),
            shard_count_max: self.shard_count_max.unwrap_or(32),
            target_utilization: 0.8,
            sent_by_processor: Rate {
                bytes: self.processor_megabytes_per_second.unwrap_or(1.0) * 1e6,
                records: 1_000.0,
            },
            concurrency_per_shard: self.concurrency_per_shard.unwrap_or(1),
            reshard_calls_max: 10,
            reshards_kept_for_up: self.reshards_kept_for_up.unwrap_or(0),
            reshards_kept_for_down: self.reshards_kept_for_down.unwrap_or(3),
            look_back_minutes: 15,
            calm_minutes_per_call: 10,
            drain_seconds: self.drain_seconds.unwrap_or(600.0),
            utilization_down_max: self.utilization_down_max.unwrap_or(0.65),
            lag_ms_max: 60_000,
        }
    }
}

/// What differs from the usual world.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct World {
    /// Open shards at the begin; the default unless given.
    pub shards: Option<u32>,
    /// The account's concurrency.
    pub account_concurrency: u32,
    /// Whether an SQS queue is before the processor, and its mapping follows the shards.
    pub buffer_queue: bool,
    /// What is sent, as a multiple of the processors' pace: above 1, other writers send beside them,
    /// and all shards refuse alike once they are full.
    pub sent_factor: f64,
    /// A reshard takes so long.
    pub reshard_seconds: u64,
    /// Whether there is the alarm on the processors' own metric.
    pub fast_alarm: bool,
    /// The period of the stream's alarms.
    pub alarm_period_seconds: u32,
    /// Who switches the metrics of each shard: `auto`, `true` or `false`.
    #[serde(deserialize_with = "shard_level_metrics")]
    pub shard_level_metrics: ShardLevelMetrics,
    /// Whether the one-minute schedule runs.
    pub reconcile: bool,
    /// When the off-peak schedule runs, every day.
    pub off_peak: Window,
    /// Whether Lambda tries a failed wake-up again.
    pub retries: bool,
    /// The functions' clocks are ahead by so much.
    pub clock_ahead_seconds: i64,
    /// Events are so old when they come; below 0, their source's clock is ahead.
    pub events_old_seconds: i64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            shards: None,
            account_concurrency: 1_000,
            buffer_queue: false,
            sent_factor: 1.0,
            reshard_seconds: 90,
            fast_alarm: true,
            alarm_period_seconds: 60,
            shard_level_metrics: ShardLevelMetrics::Auto,
            reconcile: true,
            off_peak: Window { from: At(3_600_000), until: At(5 * 3_600_000) },
            retries: true,
            clock_ahead_seconds: 0,
            events_old_seconds: 0,
        }
    }
}

fn shard_level_metrics<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<ShardLevelMetrics, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// Calls that go wrong.
#[derive(Debug, Clone, Deserialize)]
pub struct Fault {
    /// From when on.
    pub from: At,
    /// Until when.
    pub until: At,
    /// The API call; every call unless given.
    pub call: Option<String>,
    /// The share of the calls that goes wrong, by the seed.
    #[serde(default = "always")]
    pub probability: f64,
    /// At most so many calls go wrong.
    pub times: Option<u32>,
    /// How.
    #[serde(flatten)]
    pub how: How,
}

fn always() -> f64 {
    1.0
}

/// How a call goes wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// With this error code.
    Error(String),
    /// It takes effect, and its answer is lost.
    AnswerLost(bool),
    /// It takes so many seconds more.
    DelaySeconds(u64),
    /// The function dies: `before` or `after` the call takes effect.
    Kill(Kill),
}

/// When the function dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kill {
    /// Before the call takes effect.
    Before,
    /// After it did, before it hears so.
    After,
}

/// What happens to alarms on their way to the function.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmFault {
    /// From when on.
    pub from: At,
    /// Until when.
    pub until: At,
    /// So many arrive: 0 is lost, 2 is twice.
    #[serde(default = "one")]
    pub copies: u32,
    /// So much later.
    #[serde(default)]
    pub delay_seconds: u64,
    /// The share of the alarms, by the seed.
    #[serde(default = "always")]
    pub probability: f64,
}

fn one() -> u32 {
    1
}

/// Something slow.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// From when on.
    pub from: At,
    /// Until when.
    pub until: At,
    /// By so much.
    pub seconds: u64,
}

/// Something that happens once.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// When.
    pub at: At,
    /// What.
    #[serde(flatten)]
    pub what: Happens,
}

/// What happens.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happens {
    /// Scale-up is invoked with this.
    WakeUp(String),
    /// Scale-down is invoked with this.
    WakeDown(String),
    /// A person calls UpdateShardCount past the scaler.
    UpdateShardCount(u32),
    /// A person sets the processor's concurrency.
    PutConcurrency(u32),
    /// A stack update sets thresholds and concurrency to the template's.
    StackUpdate(bool),
    /// From now on a reshard takes so long.
    ReshardSeconds(u64),
    /// A person switches shard-level metrics on past the scaler.
    EnableShardMetrics(BTreeSet<String>),
}

/// What a scenario accepts, besides what always holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepts {
    /// The most open shards, at least and at most.
    pub shards_max: (u32, u32),
    /// UpdateShardCount calls that were accepted, at least and at most.
    pub calls: (u32, u32),
    /// SplitShard calls that were accepted, at least and at most.
    #[serde(default)]
    pub splits: (u32, u32),
    /// Times that the scaler switched shard-level metrics on, and off again.
    #[serde(default)]
    pub shard_metric_switches: (u32, u32),
    /// Shard-level metrics that are on in the end; all or none, as at the begin, unless given.
    pub shard_metrics_at_end: Option<usize>,
    /// MergeShards calls that were accepted, at least and at most.
    #[serde(default)]
    pub merges: (u32, u32),
    /// No event is delivered later than this.
    pub lag_seconds_max: u64,
    /// Nothing more goes to the dead-letter queue.
    #[serde(default)]
    pub dead_letter_megabytes_max: f64,
    /// Open shards in the end; the default unless given.
    pub ends_at: Option<u32>,
    /// Open shards one after another.
    pub path: Option<Vec<u32>>,
    /// Decisions that must be made.
    #[serde(default)]
    pub says: Vec<String>,
    /// Calls that AWS's rules refuse.
    #[serde(default)]
    pub refused_by_rule_max: u32,
    /// Whether each act keeps its order to the shards: concurrency and thresholds after them going
    /// up, before them going down. Races and others' acts can break it for a few minutes.
    #[serde(default = "yes")]
    pub strict_order: bool,
    /// So long after a disturbance, concurrency and thresholds fit the shards.
    #[serde(default = "settle_minutes")]
    pub settle_minutes: u64,
    /// So long before the end, nothing is done any more.
    #[serde(default = "quiet_minutes")]
    pub quiet_minutes: u64,
    /// Whether the end must be quiet, with every alarm in OK and no goal left.
    #[serde(default = "yes")]
    pub ends_quiet: bool,
    /// Whether the account can give less concurrency than the shards want.
    #[serde(default)]
    pub concurrency_may_lack: bool,
}

fn yes() -> bool {
    true
}

fn quiet_minutes() -> u64 {
    30
}

fn settle_minutes() -> u64 {
    5
}

/// Where the scenarios are.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// The names of all scenarios.
pub fn names() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_stem().context("a scenario has a name")?;
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Reads the scenario called `name`.
pub fn load(name: &str) -> anyhow::Result<Scenario> {
    let path = folder().join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&path).with_context(|| {
        let names = names().unwrap_or_default().join(", ");
        format!("no scenario {name:?}; there are {names}")
    })?;
    parse(name, &text).map_err(|error| anyhow!("{}: {error}", path.display()))
}

/// Reads a scenario.
pub fn parse(name: &str, text: &str) -> anyhow::Result<Scenario> {
    let mut scenario: Scenario = toml::from_str(text)?;
    scenario.name = name.to_owned();
    Ok(scenario)
}
