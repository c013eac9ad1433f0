//! Sluice itself: the very decisions of `sluice::scaling`, on what CloudWatch shows, with the
//! defaults of `infra/autoscaling.yaml`.
//!
//! This file looks and acts, as `scaling::observe` and `scaling::act` do against AWS; it decides
//! nothing.

use std::collections::BTreeSet;

use sluice::quote;
use sluice::scaling::observation::{AlarmLimit, MinuteLoad};
use sluice::scaling::shard_metrics::Switched;
use sluice::scaling::state::State;
use sluice::scaling::{
    Action, AlarmSeen, AlarmState, Decision, FunctionSeen, Load, Observation, Policy, Rate,
    ShardLevelMetrics, ShardLoad, ShardMetricsSeen, Trigger, decide, decide_scale_down,
    decide_scale_up,
};

use crate::what_if::clock::SECONDS_PER_MINUTE;
use crate::what_if::template::{parameter, schedule_hours};
use crate::what_if::world::{Rule, World};

/// Where the rule is documented.
pub const SOURCE: &str = "docs/internals/scaling.md; the code is shared/sluice/src/scaling";

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
    /// Bytes that the processors fill a record to.
    pub record_bytes: f64,
}

impl Parameters {
    /// The templates' defaults, with at most `shards_max` shards.
    #[must_use]
    pub fn of_template(shards_max: u32) -> Self {
        let number = |name| -> f64 {
            let default = parameter(name).default();
            default.parse().unwrap_or_else(|_| panic!("the default of {name} is not a number"))
        };
        let mut parameters = Self {
            policy: Policy {
                shard_count_default: 0,
                shard_count_min: 0,
                shard_count_max: 0,
                target_utilization: 0.0,
                sent_by_processor: Rate {
                    bytes: number("ProcessorBytesPerSecond"),
                    records: number("ProcessorRecordsPerSecond"),
                },
                concurrency_per_shard: number("ConcurrencyPerShard") as u32,
                reshard_calls_max: 0,
                reshards_kept_for_up: 0,
                reshards_kept_for_down: 0,
                look_back_minutes: 0,
                calm_minutes_per_call: 0,
                drain_seconds: 0.0,
                utilization_down_max: 0.0,
                lag_ms_max: 0,
            },
            fast_alarm: false,
            off_peak_hours: (0, 0),
            record_bytes: 0.0,
        };
        for name in SETTABLE {
            parameters.set(name, parameter(name).default()).expect("a default within its range");
        }
        parameters.policy.shard_count_max = shards_max;
        parameters
    }
}

/// A parameter that cannot be set so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadParameter(String);

/// The templates' parameters that [`Parameters::set`] knows.
pub const SETTABLE: [&str; 15] = [
    "ShardCountDefault",
    "ShardCountMin",
    "ShardCountMax",
    "TargetUtilization",
    "UtilizationDownMax",
    "DrainSeconds",
    "LagSecondsMax",
    "LookBackMinutes",
    "ReshardCallsMax",
    "ReshardsKeptForUp",
    "ReshardsKeptForDown",
    "CalmMinutesPerCall",
    "FastAlarm",
    "OffPeakSchedule",
    "RecordBytesTarget",
];

/// Those in percent.
const PERCENT: [&str; 2] = ["TargetUtilization", "UtilizationDownMax"];

impl Parameters {
    /// The parameter called `name`, which may also be written with dashes, as in
    /// `target-utilization`, and with either spelling of utilization.
    pub fn known_name(name: &str) -> Result<&'static str, BadParameter> {
        let plain = |name: &str| name.replace(['-', '_'], "").to_lowercase();
        let wanted = plain(name).replace("utilisation", "utilization");
        if ["offpeakfrom", "offpeakuntil"].contains(&wanted.as_str()) {
            return Err(BadParameter(format!(
                "{name} is now the stack's OffPeakSchedule: write OffPeakSchedule='cron(0/10 1-4 * * ? *)'"
            )));
        }
        SETTABLE.into_iter().find(|known| plain(known) == wanted).ok_or_else(|| {
            let known = SETTABLE.join(", ");
            BadParameter(format!("there is no parameter {}; there are {known}", quote(name)))
        })
    }

    /// Sets one parameter, written as for the stack: the same name, unit and range.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), BadParameter> {
        let name = Self::known_name(name)?;
        let bad = |what: String| Err(BadParameter(format!("{name} is {}: {what}", quote(text))));
        match name {
            "FastAlarm" => match text {
                "true" | "false" => self.fast_alarm = text == "true",
                _ => return bad("write true or false".to_owned()),
            },
            "OffPeakSchedule" => match schedule_hours(text) {
                Some(hours) => self.off_peak_hours = hours,
                None => {
                    let form = "what-if knows every ten minutes of some hours, as in cron(0/10 1-4 * * ? *)";
                    return bad(form.to_owned());
                }
            },
            _ => {
                let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
                let Some(value) = value else { return bad("write a plain number".to_owned()) };
                let range = parameter(name).range().expect("numbers have a range");
                let is_percent = PERCENT.contains(&name);
                if is_percent
                    && value > 0.0
                    && (value < 1.0 || !range.contains(&value) && value <= 1.0)
                {
                    let percent = (value * 1e8).round() / 1e6;
                    return bad(format!("it is in percent, as in the stack; write {percent}"));
                }
                if !range.contains(&value) {
                    let unit = if is_percent { " percent" } else { "" };
                    return bad(format!("it may be {} to {}{unit}", range.start(), range.end()));
                }
                if !is_percent && value.fract() != 0.0 {
                    return bad("it is a whole number".to_owned());
                }
                self.set_number(name, value);
            }
        }
        Ok(())
    }

    fn set_number(&mut self, name: &str, value: f64) {
        let policy = &mut self.policy;
        match name {
            "TargetUtilization" => policy.target_utilization = value / 100.0,
            "UtilizationDownMax" => policy.utilization_down_max = value / 100.0,
            "ShardCountDefault" => policy.shard_count_default = value as u32,
            "ShardCountMin" => policy.shard_count_min = value as u32,
            "ShardCountMax" => policy.shard_count_max = value as u32,
            "ReshardsKeptForUp" => policy.reshards_kept_for_up = value as u32,
            "ReshardsKeptForDown" => policy.reshards_kept_for_down = value as u32,
            "ReshardCallsMax" => policy.reshard_calls_max = value as u32,
            "DrainSeconds" => policy.drain_seconds = value,
            "LagSecondsMax" => policy.lag_ms_max = value as u64 * 1_000,
            "LookBackMinutes" => policy.look_back_minutes = value as u32,
            "CalmMinutesPerCall" => policy.calm_minutes_per_call = value as u32,
            "RecordBytesTarget" => self.record_bytes = value,
            _ => unreachable!("{name} is not a number"),
        }
    }

    /// Refuses parameters that contradict each other, as the functions themselves would.
    pub fn check(&self) -> Result<(), BadParameter> {
        let policy = &self.policy;
        let bad = |what: &str| Err(BadParameter(what.to_owned()));
        if policy.utilization_down_max >= policy.target_utilization {
            return bad("UtilizationDownMax must be below TargetUtilization");
        }
        let (min, max) = (policy.shard_count_min, policy.shard_count_max);
        if !(min..=max).contains(&policy.shard_count_default) {
            return bad("ShardCountDefault must lie from ShardCountMin to ShardCountMax");
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

    fn observe(&self, world: &mut World<'_>, wake: Trigger, off_peak: bool) -> Observation {
        let mut seen = Observation {
            now_ms: world.epoch_ms(),
            trigger: wake,
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
                mapping: None,
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
        for action in &decision.actions {
            match action {
                Action::SaveState(state) => self.state = state.clone(),
                Action::UpdateShardCount(target) => {
                    if world.update_shard_count(*target, why.as_str()).is_err() {
                        return;
                    }
                }
                Action::SplitShard { shard_id, new_starting_hash_key } => {
                    if world.split_shard(shard_id, *new_starting_hash_key, why.as_str()).is_err() {
                        return;
                    }
                }
                Action::MergeShards { shard_id, adjacent_shard_id } => {
                    if world.merge_shards(shard_id, adjacent_shard_id, why.as_str()).is_err() {
                        return;
                    }
                }
                Action::PutConcurrency { reserved, .. } => {
                    self.reserved = Some(*reserved);
                    world.set_concurrency(*reserved);
                }
                Action::PutThreshold { alarm, threshold } => {
                    let found = self.alarms.iter_mut().find(|known| known.name == *alarm);
                    found.expect("an alarm of this stream").threshold = *threshold;
                }
                Action::Rearm { alarm } => {
                    let found = self.alarms.iter_mut().find(|known| known.name == *alarm);
                    found.expect("an alarm of this stream").state = AlarmState::InsufficientData;
                }
                Action::ShardMetrics(_) => unreachable!("no shard is hot in this world"),
                Action::PutMappingConcurrency { .. } => unreachable!("no queue is in this world"),
            }
        }
    }

    fn wake_up(&mut self, world: &mut World<'_>, wake: Trigger) {
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
            self.wake_up(world, Trigger::Alarm(alarm));
        }
        // Somewhere within its minute; not with the alarms.
        if world.second() % SECONDS_PER_MINUTE == 30 {
            self.wake_up(world, Trigger::Reconcile);
        }
        let (from, until) = self.parameters.off_peak_hours;
        let is_off_peak = (from * 3_600..until * 3_600).contains(&world.second_of_day());
        if is_off_peak && world.second_of_day() % OFF_PEAK_EVERY_SECONDS == 20 {
            let seen = self.observe(world, Trigger::OffPeak, true);
            let decision = decide_scale_down(&self.parameters.policy, &seen);
            self.act(world, &decision);
        }
    }
}
