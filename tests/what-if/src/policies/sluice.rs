//! Sluice itself: the very decisions of `sluice::scaling`, on what CloudWatch shows, with the
//! defaults of `infra/autoscaling.yaml`.
//!
//! This file looks and acts, as `scaling::observe` and `scaling::act` do against AWS; it decides
//! nothing.

use std::collections::BTreeSet;

use sluice::scaling::observation::{AlarmLimit, MinuteLoad};
use sluice::scaling::shard_metrics::Switched;
use sluice::scaling::state::State;
use sluice::scaling::{
    Act, AlarmSeen, AlarmState, Decision, FunctionSeen, Load, Observation, Policy, Rate,
    ShardLevelMetrics, ShardLoad, ShardMetricsSeen, Wake, decide, decide_scale_down,
    decide_scale_up,
};

use crate::clock::SECONDS_PER_MINUTE;
use crate::template::Template;
use crate::world::{Rule, World};

/// Where the rule is documented.
pub const SOURCE: &str = "docs/architecture.md; the code is shared/src/scaling";

/// The off-peak schedule runs every so many seconds.
const OFF_PEAK_EVERY_SECONDS: u64 = 600;
/// Metrics that one look at the load reads, with one processor function.
const METRICS_PER_LOOK: f64 = 11.0;
/// Alarms are not older than so many minutes when they go off.
const EVALUATION_MINUTES: usize = 5;
/// Minutes that ages are taken over, as `scaling::observe` has it.
const MINUTES_NOW: usize = 5;

/// The hours, UTC, of those who scale down by night only.
pub const NIGHT_HOURS: (u64, u64) = (1, 5);

const PROCESSOR: &str = "log-processor";

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    /// What the decisions go by.
    pub policy: Policy,
    /// Whether there is the alarm on the processors' own metric.
    pub fast_alarm: bool,
    /// Hours of the day, from and until, in which scale-down runs.
    pub off_peak_hours: (u64, u64),
}

impl Parameters {
    /// The template's defaults, with so many shards at the most.
    #[must_use]
    pub fn of_template(template: &Template, shards_max: u32) -> Self {
        let number = |name: &str| template.number(name);
        Self {
            policy: Policy {
                shard_count_default: number("ShardCountDefault") as u32,
                shard_count_min: number("ShardCountMin") as u32,
                shard_count_max: shards_max,
                target_utilization: number("TargetUtilization") / 100.0,
                sent_by_processor: Rate {
                    bytes: number("ProcessorBytesPerSecond"),
                    records: number("ProcessorRecordsPerSecond"),
                },
                concurrency_per_shard: number("ConcurrencyPerShard") as u32,
                reshard_calls_max: number("ReshardCallsMax") as u32,
                reshards_kept_for_up: number("ReshardsKeptForUp") as u32,
                reshards_kept_for_down: number("ReshardsKeptForDown") as u32,
                look_back_minutes: number("LookBackMinutes") as u32,
                calm_minutes_per_call: number("CalmMinutesPerCall") as u32,
                drain_seconds: number("DrainSeconds"),
                utilization_down_max: number("UtilizationDownMax") / 100.0,
                lag_ms_max: number("LagSecondsMax") as u64 * 1_000,
            },
            fast_alarm: template.text("FastAlarm") == "true",
            off_peak_hours: template.hours("OffPeakSchedule"),
        }
    }
}

/// A parameter that cannot be set so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadParameter(String);

/// The names that [`Parameters::set`] knows, with the range of each. Shares have fractions, all
/// others are whole numbers.
const SETTABLE: [(&str, f64, f64); 15] = [
    ("target-utilization", 0.1, 1.0),
    ("utilization-down-max", 0.01, 0.99),
    ("shard-count-default", 1.0, 10_000.0),
    ("shard-count-min", 1.0, 10_000.0),
    ("shard-count-max", 1.0, 10_000.0),
    ("reshards-kept-for-up", 0.0, 100.0),
    ("reshards-kept-for-down", 0.0, 100.0),
    ("calm-minutes-per-call", 0.0, 120.0),
    ("reshard-calls-max", 1.0, 100.0),
    ("drain-seconds", 1.0, 21_600.0),
    ("lag-seconds-max", 1.0, 86_400.0),
    ("look-back-minutes", 5.0, 180.0),
    ("fast-alarm", 0.0, 1.0),
    ("off-peak-from", 0.0, 23.0),
    ("off-peak-until", 1.0, 24.0),
];

impl Parameters {
    /// The names that can be set, for a help text.
    #[must_use]
    pub fn settable() -> String {
        SETTABLE.map(|(name, least, most)| format!("{name} ({least} to {most})")).join(", ")
    }

    /// `name` as [`Parameters::set`] has it; both spellings of utilization are at home.
    pub fn known_name(name: &str) -> Result<&'static str, BadParameter> {
        let name = name.replace("utilisation", "utilization");
        let known = SETTABLE.into_iter().find(|(known, ..)| *known == name);
        known.map(|(known, ..)| known).ok_or_else(|| {
            BadParameter(format!("there is no parameter {name}; there are {}", Self::settable()))
        })
    }

    /// Sets one parameter by its name on the command line.
    pub fn set(&mut self, name: &str, value: f64) -> Result<(), BadParameter> {
        let name = Self::known_name(name)?;
        let known = SETTABLE.into_iter().find(|(known, ..)| *known == name);
        let (_, least, most) = known.expect("a known name");
        if !(least..=most).contains(&value) {
            return Err(BadParameter(format!("{name} is {value}, outside {least} to {most}")));
        }
        let is_share = most <= 1.0 && name.contains("utilization");
        if !is_share && value.fract() != 0.0 {
            return Err(BadParameter(format!("{name} is {value}, no whole number")));
        }
        let policy = &mut self.policy;
        match name {
            "target-utilization" => policy.target_utilization = value,
            "utilization-down-max" => policy.utilization_down_max = value,
            "shard-count-default" => policy.shard_count_default = value as u32,
            "shard-count-min" => policy.shard_count_min = value as u32,
            "shard-count-max" => policy.shard_count_max = value as u32,
            "reshards-kept-for-up" => policy.reshards_kept_for_up = value as u32,
            "reshard-calls-max" => policy.reshard_calls_max = value as u32,
            "drain-seconds" => policy.drain_seconds = value,
            "lag-seconds-max" => policy.lag_ms_max = (value * 1e3) as u64,
            "reshards-kept-for-down" => policy.reshards_kept_for_down = value as u32,
            "look-back-minutes" => policy.look_back_minutes = value as u32,
            "calm-minutes-per-call" => policy.calm_minutes_per_call = value as u32,
            "fast-alarm" => self.fast_alarm = value >= 0.5,
            "off-peak-from" => self.off_peak_hours.0 = value as u64,
            _ => self.off_peak_hours.1 = value as u64,
        }
        Ok(())
    }

    /// Refuses parameters that contradict each other, as the functions themselves would.
    pub fn check(&self) -> Result<(), BadParameter> {
        let policy = &self.policy;
        let bad = |what: &str| Err(BadParameter(what.to_owned()));
        if policy.utilization_down_max >= policy.target_utilization {
            return bad("utilization-down-max must be below target-utilization");
        }
        let (min, max) = (policy.shard_count_min, policy.shard_count_max);
        if !(min..=max).contains(&policy.shard_count_default) {
            return bad("shard-count-default must lie from shard-count-min to shard-count-max");
        }
        if self.off_peak_hours.0 >= self.off_peak_hours.1 {
            return bad("off-peak-from must come before off-peak-until");
        }
        Ok(())
    }
}

/// The scaling functions with their tags, alarms and schedules.
pub struct Sluice {
    parameters: Parameters,
    state: State,
    alarms: Vec<AlarmSeen>,
    reserved: Option<u32>,
}

impl Sluice {
    /// As deployed.
    #[must_use]
    pub fn new(parameters: Parameters) -> Self {
        Self { parameters, state: State::default(), alarms: Vec::new(), reserved: None }
    }

    /// Evaluates the alarms; returns the first that went off.
    fn evaluate_alarms(&mut self, world: &World<'_>) -> Option<String> {
        let visible = world.metrics.visible_minutes();
        let minutes_so_far = (world.second() / SECONDS_PER_MINUTE) as usize;
        let is_recent = visible + EVALUATION_MINUTES > minutes_so_far;
        let accepted = world.metrics.latest(1).last().filter(|_| is_recent);
        let (accepted, refused) =
            accepted.map_or((0.0, 0.0), |minute| (minute.taken, minute.refused));
        let fast = world.metrics.taken_in_latest_tick();
        let record_bytes = world.settings.record_bytes;
        let mut fired = None;
        for alarm in &mut self.alarms {
            let is_fast = alarm.period_seconds < SECONDS_PER_MINUTE as u32;
            if !is_fast && !world.is_minute() {
                continue;
            }
            let value = match (alarm.limit, is_fast) {
                (AlarmLimit::Bytes, true) => fast.unwrap_or(0.0) * f64::from(alarm.period_seconds),
                (AlarmLimit::Bytes, false) => accepted,
                (AlarmLimit::Records, _) => accepted / record_bytes,
                (AlarmLimit::Refused, _) => refused / record_bytes,
            };
            let state = if value > alarm.threshold { AlarmState::Alarm } else { AlarmState::Ok };
            if state != alarm.state && state == AlarmState::Alarm {
                fired.get_or_insert_with(|| alarm.name.clone());
            }
            alarm.state = state;
        }
        fired
    }

    fn observe(&self, world: &mut World<'_>, wake: Wake, off_peak: bool) -> Observation {
        let mut seen = Observation {
            now_ms: world.epoch_ms(),
            wake,
            status: world.status(),
            open_shards: world.open_shards(),
            goal: self.state.goal,
            is_goal_ordered: self.state.is_goal_ordered,
            floor: self.state.floor,
            reshards: self.state.reshards.clone(),
            functions: vec![FunctionSeen {
                name: PROCESSOR.to_owned(),
                share: 1.0,
                reserved: self.reserved,
                exists: true,
            }],
            lease: None,
            reservable_concurrency: None,
            alarms: self.alarms.clone(),
            load: None,
            shards: None,
            off_peak,
            // The load is even: no shard is hot.
            shard_metrics: ShardMetricsSeen {
                mode: ShardLevelMetrics::Never,
                on: BTreeSet::new(),
                switched: Switched::default(),
            },
        };
        world.effort.wake_ups += 1.0;
        if world.is_active() {
            let shards = world.shards().into_iter();
            seen.shards = Some(shards.map(|shard| ShardLoad { shard, offered: None }).collect());
        }
        if decide::needs_load(&seen) {
            world.effort.metrics_read += METRICS_PER_LOOK;
            seen.load = Some(self.read_load(world));
        }
        seen
    }

    /// As `scaling::observe` reads it: minutes whose data are not seen yet count as far as the
    /// processors' own metric shows them.
    fn read_load(&self, world: &World<'_>) -> Load {
        let now = (world.second() / SECONDS_PER_MINUTE) as usize;
        let from = now.saturating_sub(self.parameters.policy.calm_minutes_max() as usize);
        let record_bytes = world.settings.record_bytes;
        let rate = |bytes_a_minute: f64| {
            let bytes = bytes_a_minute / SECONDS_PER_MINUTE as f64;
            Rate { bytes, records: bytes / record_bytes }
        };
        let mut load = Load::default();
        for number in from..=now {
            let sent = rate(world.metrics.taken_in_minute(number));
            let minute = match world.metrics.minute(number) {
                Some(minute) => {
                    if number + MINUTES_NOW >= now {
                        load.queue_age_ms = load.queue_age_ms.max(minute.queue_age_seconds * 1_000);
                        load.lag_ms = load.lag_ms.max(minute.lag_seconds * 1_000);
                    }
                    let came_in =
                        if minute.taken > 0.0 { minute.arrived / minute.taken } else { 1.0 };
                    MinuteLoad {
                        accepted: rate(minute.taken),
                        refused_records: rate(minute.refused).records,
                        sent,
                        wanted: sent.times(came_in),
                        open_shards: None,
                    }
                }
                None => MinuteLoad { sent, wanted: sent, ..MinuteLoad::default() },
            };
            load.minutes.push(minute);
        }
        while load.minutes.len() > 1 && load.minutes.last() == Some(&MinuteLoad::default()) {
            load.minutes.pop();
        }
        load
    }

    fn act(&mut self, world: &mut World<'_>, decision: &Decision) {
        let why = decision.to_string();
        for act in &decision.acts {
            match act {
                Act::SaveState(state) => self.state = state.clone(),
                Act::UpdateShardCount(target) => {
                    if world.update_shard_count(*target, why.as_str()).is_err() {
                        return;
                    }
                }
                Act::SplitShard { shard_id, new_starting_hash_key } => {
                    if world.split_shard(shard_id, *new_starting_hash_key, why.as_str()).is_err() {
                        return;
                    }
                }
                Act::MergeShards { shard_id, adjacent_shard_id } => {
                    if world.merge_shards(shard_id, adjacent_shard_id, why.as_str()).is_err() {
                        return;
                    }
                }
                Act::PutConcurrency { reserved, .. } => {
                    self.reserved = Some(*reserved);
                    world.set_concurrency(*reserved);
                }
                Act::PutThreshold { alarm, threshold } => {
                    let found = self.alarms.iter_mut().find(|known| known.name == *alarm);
                    found.expect("an alarm of this stream").threshold = *threshold;
                }
                Act::Rearm { alarm } => {
                    let found = self.alarms.iter_mut().find(|known| known.name == *alarm);
                    found.expect("an alarm of this stream").state = AlarmState::InsufficientData;
                }
                Act::ShardMetrics(_) => unreachable!("no shard is hot in this world"),
            }
        }
    }

    fn wake_up(&mut self, world: &mut World<'_>, wake: Wake) {
        let seen = self.observe(world, wake, false);
        let decision = decide_scale_up(&self.parameters.policy, &seen);
        self.act(world, &decision);
    }
}

impl Rule for Sluice {
    fn begin(&mut self, world: &mut World<'_>) {
        let policy = &self.parameters.policy;
        let shards = world.open_shards();
        let shard = policy.shard_capacity();
        let alarm = |name: &str, limit, per_second: f64, period_seconds: u32| AlarmSeen {
            name: name.to_owned(),
            limit,
            state: AlarmState::Ok,
            threshold: policy.threshold(per_second, shards, period_seconds),
            period_seconds,
        };
        self.alarms = vec![
            alarm("bytes", AlarmLimit::Bytes, shard.bytes, 60),
            alarm("records", AlarmLimit::Records, shard.records, 60),
            alarm("refused", AlarmLimit::Refused, 0.0, 60),
        ];
        world.effort.alarms = 3.0;
        if self.parameters.fast_alarm {
            self.alarms.push(alarm("fast", AlarmLimit::Bytes, shard.bytes, 10));
            world.effort.fast_alarms = 1.0;
        }
        let reserved = policy.concurrency(shards, 1.0);
        self.reserved = Some(reserved);
        world.set_concurrency(reserved);
    }

    fn wake(&mut self, world: &mut World<'_>) {
        if let Some(alarm) = self.evaluate_alarms(world) {
            self.wake_up(world, Wake::Alarm(alarm));
        }
        // Somewhere within its minute; not with the alarms.
        if world.second() % SECONDS_PER_MINUTE == 30 {
            self.wake_up(world, Wake::Reconcile);
        }
        let (from, until) = self.parameters.off_peak_hours;
        let is_off_peak = (from * 3_600..until * 3_600).contains(&world.second_of_day());
        if is_off_peak && world.second_of_day() % OFF_PEAK_EVERY_SECONDS == 20 {
            let seen = self.observe(world, Wake::OffPeak, true);
            let decision = decide_scale_down(&self.parameters.policy, &seen);
            self.act(world, &decision);
        }
    }
}
