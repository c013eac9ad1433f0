//! What holds at every step, in every scenario.

use std::collections::{BTreeMap, BTreeSet};

use sluice::ports::Clock;
use sluice::scaling::evenness::HEAT_KEPT_MS;
use sluice::scaling::shard_metrics::{PAUSE_MS, SHARD_METRICS_ALL, Switched, TAG_SHARD_METRICS};
use sluice::scaling::{AlarmState, Policy, ShardLevelMetrics, StreamStatus};
use sluice_simulated::Cloud;
use sluice_simulated::cloud::{Entry, Happening};

use crate::scenario::Scenario;

const DAY_MS: u64 = 86_400_000;
/// Bytes that rounding may hide.
const ROUNDING_BYTES: f64 = 1_000.0;

/// Follows what happens and notes what must not.
#[derive(Debug)]
pub struct Invariants {
    policy: Policy,
    function: String,
    /// How many of the function may run at once, as of the latest entry.
    concurrency: u32,
    /// Each alarm's threshold, as of the latest entry.
    thresholds: BTreeMap<String, f64>,
    strict_order: bool,
    settle_ms: u64,
    concurrency_may_lack: bool,
    open_shards: u32,
    /// Since when nothing disturbs: no reshard, no fault, no act of others.
    calm_since_ms: u64,
    /// Whether somebody past the scaler changed the shards, and the bounds are not the scaler's.
    is_out_of_hand: bool,
    accepted_ms: Vec<u64>,
    /// UpdateShardCount calls that AWS accepted.
    pub calls: u32,
    /// SplitShard calls that AWS accepted.
    pub splits: u32,
    /// Times that the scaler switched shard-level metrics on, and off.
    pub shard_metric_switches: (u32, u32),
    /// When it last did so.
    switched_ms: Option<u64>,
    /// Shard-level metrics that a person switched on.
    by_hand: BTreeSet<String>,
    /// MergeShards calls that AWS accepted.
    pub merges: u32,
    /// Calls that AWS's rules refused.
    pub refused_by_rule: u32,
    /// Open shards one after another.
    pub path: Vec<u32>,
    /// When a scaling function last changed something.
    pub changed_ms: u64,
    /// What must not happen, and when.
    pub violations: Vec<(u64, String)>,
}

impl Invariants {
    /// For a world that begins now.
    #[must_use]
    pub fn new(
        scenario: &Scenario,
        policy: &Policy,
        function: &str,
        cloud: &Cloud,
        now_ms: u64,
    ) -> Self {
        let open_shards = cloud.stream.open_shards();
        Self {
            policy: policy.clone(),
            function: function.to_owned(),
            concurrency: cloud.account.borrow().concurrency(function),
            thresholds: cloud
                .alarms
                .borrow()
                .iter()
                .map(|(name, alarm)| (name.clone(), alarm.alarm.threshold))
                .collect(),
            strict_order: scenario.accepts.strict_order,
            settle_ms: scenario.accepts.settle_minutes * 60_000,
            concurrency_may_lack: scenario.accepts.concurrency_may_lack,
            open_shards,
            calm_since_ms: now_ms,
            is_out_of_hand: false,
            accepted_ms: Vec::new(),
            calls: 0,
            splits: 0,
            shard_metric_switches: (0, 0),
            switched_ms: None,
            by_hand: BTreeSet::new(),
            merges: 0,
            refused_by_rule: 0,
            path: vec![open_shards],
            changed_ms: 0,
            violations: Vec::new(),
        }
    }

    /// Something disturbs: concurrency and thresholds need not fit for a while.
    pub fn disturb(&mut self, now_ms: u64) {
        self.calm_since_ms = now_ms;
    }

    fn violate(&mut self, epoch_ms: u64, what: String) {
        self.violations.push((epoch_ms, what));
    }

    /// One thing happened.
    pub fn step(&mut self, entry: &Entry, cloud: &Cloud) {
        let now_ms = entry.epoch_ms;
        if let Happening::Call { name, input, result: Ok(()), .. } = &entry.what {
            self.remember(name, input);
        }
        match &entry.what {
            Happening::Resharded { from, to } => {
                self.disturb(now_ms);
                self.resharded(now_ms, *from, *to, cloud);
            }
            Happening::Call { actor: "by-hand", name, input, result } => {
                self.disturb(now_ms);
                if *name == "EnableEnhancedMonitoring" {
                    self.by_hand.extend(input.split(' ').map(str::to_owned));
                }
                if *name == "UpdateShardCount" && result.is_ok() {
                    self.is_out_of_hand = true;
                    self.accept(now_ms);
                }
            }
            Happening::Call { name, input, result: Ok(()), .. } => {
                self.changed_ms = now_ms;
                self.acted(now_ms, name, input, cloud);
            }
            Happening::Call { name, input, result: Err(error), .. } => {
                self.changed_ms = now_ms;
                // What was to follow is left to the next wake-up.
                self.disturb(now_ms);
                let by_plan = error.ends_with(": simulated");
                let is_race = error.starts_with("ResourceInUseException");
                if !by_plan && !is_race {
                    self.refused_by_rule += 1;
                    let illegal = error.starts_with("InvalidArgumentException");
                    if illegal && !self.is_out_of_hand {
                        self.violate(now_ms, format!("{name} {input} is not legal: {error}"));
                    }
                }
            }
            Happening::AlarmChanged { .. } => {}
        }
    }

    fn remember(&mut self, name: &str, input: &str) {
        let Some((of, value)) = input.split_once(' ') else { return };
        match name {
            "PutFunctionConcurrency" | "UpdateEventSourceMapping"
                if of.ends_with(&self.function) =>
            {
                self.concurrency = value.parse().unwrap_or(0);
            }
            "PutMetricAlarm" => {
                self.thresholds.insert(of.to_owned(), value.parse().unwrap_or(0.0));
            }
            _ => {}
        }
    }

    fn accept(&mut self, now_ms: u64) {
        self.calls += 1;
        self.accepted_ms.push(now_ms);
        let in_a_day = self.accepted_ms.iter().filter(|&&ms| ms + DAY_MS > now_ms).count();
        if in_a_day as u32 > self.policy.reshard_calls_max {
            self.violate(now_ms, format!("{in_a_day} UpdateShardCount calls within 24 hours"));
        }
    }

    fn resharded(&mut self, now_ms: u64, from: u32, to: u32, cloud: &Cloud) {
        if from != self.open_shards || to > from * 2 || to < from.div_ceil(2) {
            self.violate(now_ms, format!("{from} -> {to} shards is no legal step"));
        }
        self.open_shards = to;
        self.path.push(to);
        if !self.is_out_of_hand
            && !(self.policy.shard_count_min..=self.policy.shard_count_max).contains(&to)
        {
            self.violate(now_ms, format!("{to} shards are out of bounds"));
        }
        self.order(now_ms, even_shards(cloud), cloud, "take the load");
    }

    fn acted(&mut self, now_ms: u64, name: &str, input: &str, cloud: &Cloud) {
        match name {
            "UpdateShardCount" => {
                self.accept(now_ms);
                let target: u32 = input.parse().unwrap_or(0);
                if target < self.open_shards {
                    self.order(now_ms, target, cloud, "will be left");
                }
            }
            "SplitShard" => self.splits += 1,
            "EnableEnhancedMonitoring" => {
                self.shard_metric_switches.0 += 1;
                self.switch(now_ms);
            }
            "DisableEnhancedMonitoring" => {
                self.shard_metric_switches.1 += 1;
                self.switch(now_ms);
                let is_theirs =
                    |metric| self.by_hand.contains("ALL") || self.by_hand.contains(metric);
                if input.split(' ').any(is_theirs) {
                    self.violate(now_ms, format!("a person switched {input} on, the scaler off"));
                }
            }
            "MergeShards" => {
                self.merges += 1;
                let left = even_shards_after_merge(cloud, input).min(even_shards(cloud));
                self.order(now_ms, left, cloud, "will take the load");
            }
            "PutFunctionConcurrency" | "PutMetricAlarm" => {
                self.order(now_ms, even_shards(cloud), cloud, "take the load");
            }
            _ => {}
        }
    }

    fn switch(&mut self, now_ms: u64) {
        let last_ms = self.switched_ms.replace(now_ms);
        // The note is made some calls before the switch.
        if last_ms.is_some_and(|last_ms| now_ms - last_ms + 1_000 < PAUSE_MS) {
            self.violate(now_ms, "shard-level metrics were switched again at once".to_owned());
        }
    }

    /// No more concurrency and no higher thresholds than `shards` allow.
    fn order(&mut self, now_ms: u64, shards: u32, cloud: &Cloud, are: &str) {
        if !self.strict_order {
            return;
        }
        let concurrency = self.concurrency;
        if concurrency > self.policy.concurrency(shards, 1.0) {
            self.violate(now_ms, format!("concurrency {concurrency} while {shards} shards {are}"));
        }
        for (name, _, fits) in thresholds(&self.policy, cloud, shards) {
            let has = self.thresholds.get(&name).copied().unwrap_or(0.0);
            if has > fits * 1.000_001 + 1.0 {
                let what = format!("threshold of {name} at {has:.0} while {shards} shards {are}");
                self.violate(now_ms, what);
            }
        }
    }

    /// A moment has passed: nothing is lost, and what has settled fits.
    pub fn moment(&mut self, now_ms: u64, cloud: &Cloud) {
        if let Some(fluid) = cloud.fluid.borrow().as_ref() {
            let placed = fluid.delivered.plus(fluid.dead).plus(fluid.waiting());
            let lost = fluid.arrived.bytes - placed.bytes;
            if lost.abs() > ROUNDING_BYTES + fluid.arrived.bytes * 1e-9 {
                self.violate(now_ms, format!("{lost:.0} bytes are in no place"));
            }
        }
        if cloud.stream.status() != StreamStatus::Active {
            self.disturb(now_ms);
        }
        if now_ms < self.calm_since_ms + self.settle_ms {
            return;
        }
        let even = even_shards(cloud);
        let fits = self.policy.concurrency(even, 1.0);
        let concurrency = cloud.account.borrow().concurrency(&self.function);
        if concurrency > fits || (concurrency < fits && !self.concurrency_may_lack) {
            self.violate(now_ms, format!("concurrency stays at {concurrency} for {even} shards"));
        }
        for (name, has, fits) in thresholds(&self.policy, cloud, even) {
            if (has - fits).abs() > fits * 1e-6 {
                let what = format!("threshold of {name} stays at {has:.0} instead of {fits:.0}");
                self.violate(now_ms, what);
            }
        }
    }

    /// The end: all is quiet.
    pub fn end(&mut self, scenario: &Scenario, quiet_since_ms: u64, now_ms: u64, cloud: &Cloud) {
        let ends_at = scenario.accepts.ends_at.unwrap_or(self.policy.shard_count_default);
        if self.open_shards != ends_at {
            self.violate(now_ms, format!("{} shards in the end, not {ends_at}", self.open_shards));
        }
        let always = scenario.world.shard_level_metrics == ShardLevelMetrics::Always;
        let as_at_begin = if always { SHARD_METRICS_ALL } else { 0 };
        let metrics = scenario.accepts.shard_metrics_at_end.unwrap_or(as_at_begin);
        let on = cloud.stream.shard_metrics();
        if on.len() != metrics {
            self.violate(now_ms, format!("{on:?} are on in the end, not {metrics} metrics"));
        }
        if !scenario.accepts.ends_quiet {
            return;
        }
        if self.changed_ms >= quiet_since_ms {
            self.violate(now_ms, "still changing things in the end".to_owned());
        }
        for alarm in cloud.alarms.borrow().values() {
            if alarm.alarm.state != AlarmState::Ok {
                let what = format!("{} is {:?} in the end", alarm.alarm.name, alarm.alarm.state);
                self.violate(now_ms, what);
            }
        }
        let goal = cloud.stream.tags().get("sluice/goal").cloned().unwrap_or_default();
        if !matches!(goal.trim(), "" | "0") {
            self.violate(now_ms, format!("the goal {goal} is left in the end"));
        }
        if let Some(fluid) = cloud.fluid.borrow().as_ref()
            && fluid.waiting().bytes > 60.0 * self.policy.shard_capacity().bytes
        {
            self.violate(now_ms, format!("{:.0} bytes wait in the end", fluid.waiting().bytes));
        }
    }
}

/// Whole shards that even keys fill: as many as the widest goes into the hash space. Where heat led
/// the splits, every open shard counts.
fn even_shards(cloud: &Cloud) -> u32 {
    let shards = cloud.stream.shards();
    let tags = cloud.stream.tags();
    let switched = tags.get(TAG_SHARD_METRICS).map(|tag| Switched::from_tag(tag));
    let suspected_ms = switched.unwrap_or_default().suspected_ms;
    let was_suspected = cloud.clock().epoch_ms().saturating_sub(suspected_ms) < HEAT_KEPT_MS;
    if was_suspected || !cloud.stream.shard_metrics().is_empty() {
        return shards.open().len() as u32;
    }
    shards.open().map(|(_, shard)| as_wide_as(shard.width())).min().unwrap_or(1)
}

/// The same of the shard that a MergeShards call makes.
fn even_shards_after_merge(cloud: &Cloud, input: &str) -> u32 {
    let shards = cloud.stream.shards();
    let merged = |id: &str| input.split(" and ").any(|merged| merged == id);
    let widths =
        shards.open().filter(|(_, shard)| merged(&shard.id)).map(|(_, shard)| shard.width());
    as_wide_as(widths.sum())
}

/// How many shards of this width fit the hash space.
fn as_wide_as(width: u128) -> u32 {
    (u128::MAX as f64 / (width as f64 + 1.0) + 1e-6).floor() as u32
}

/// Each alarm that follows the shards: its threshold, and the one that fits `shards`.
fn thresholds(policy: &Policy, cloud: &Cloud, shards: u32) -> Vec<(String, f64, f64)> {
    let capacity = policy.shard_capacity();
    let alarms = cloud.alarms.borrow();
    let follows = alarms.values().filter_map(|alarm| {
        let per_shard = match alarm.metric.name.as_str() {
            "IncomingBytes" | "WantedBytes" => capacity.bytes,
            "IncomingRecords" => capacity.records,
            _ => return None,
        };
        let fits = policy.threshold(per_shard, shards, alarm.alarm.period_seconds);
        Some((alarm.alarm.name.clone(), alarm.alarm.threshold, fits))
    });
    follows.collect()
}
