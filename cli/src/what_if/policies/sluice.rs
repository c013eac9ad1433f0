//! Sluice itself: the very scaling functions, with the defaults of `infra/autoscaling.yaml`. This
//! file evaluates their alarms and invokes them; `account.rs` plays what they ask.

use futures_util::FutureExt;
use serde_json::{Value, json};
use sluice::ports::{Alarm, AlarmState};
use sluice::quote;
use sluice::scaling::{
    Observation, Policy, Rate, ShardLevelMetrics, decide_scale_down, decide_scale_up,
};
use sluice_autoscaler::{AlarmNames, Autoscaler, ScalingConfig, ScalingError};

use crate::what_if::account::{Account, Moment, Stack};
use crate::what_if::clock::SECONDS_PER_MINUTE;
use crate::what_if::template::{parameter, schedule_hours};
use crate::what_if::world::{Rule, World};

/// Where the rule is documented.
pub const SOURCE: &str = "docs/internals/scaling.md; the code is shared/sluice/src/scaling";

/// The off-peak schedule runs every so many seconds.
const OFF_PEAK_EVERY_SECONDS: u64 = 600;
/// Alarms are not older than so many minutes when they go off.
const EVALUATION_MINUTES: usize = 5;

/// The hours, UTC, of those who scale down by night only.
pub const NIGHT_HOURS: (u64, u64) = (1, 5);

const STREAM: &str = "what-if";
const PROCESSOR: &str = "log-processor";
const BYTES: &str = "bytes";
const RECORDS: &str = "records";
const REFUSED: &str = "refused";
const FAST: &str = "fast";

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

type Decide = fn(&Policy, &Observation) -> sluice::scaling::Decision;

/// The scaling functions with their tags, alarms and schedules.
pub struct Sluice {
    parameters: Parameters,
    config: ScalingConfig,
    stack: Stack,
}

impl Sluice {
    /// As deployed.
    #[must_use]
    pub fn new(parameters: Parameters) -> Self {
        let config = ScalingConfig {
            stream_name: STREAM.to_owned(),
            policy: parameters.policy.clone(),
            functions: vec![(PROCESSOR.to_owned(), 1.0)],
            alarms: AlarmNames {
                bytes: BYTES.to_owned(),
                records: RECORDS.to_owned(),
                refused: REFUSED.to_owned(),
                fast: parameters.fast_alarm.then(|| FAST.to_owned()),
            },
            // The load is even: no shard is hot.
            shard_level_metrics: ShardLevelMetrics::Never,
            dry_run: false,
            reserve_concurrency: true,
            timeout_seconds: SECONDS_PER_MINUTE,
        };
        Self { parameters, config, stack: Stack::default() }
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
        for alarm in &mut self.stack.alarms {
            let is_fast = alarm.name == FAST;
            if !is_fast && !world.is_minute() {
                continue;
            }
            let value = match alarm.name.as_str() {
                FAST => fast.unwrap_or(0.0) * f64::from(alarm.period_seconds),
                BYTES => accepted,
                RECORDS => accepted / record_bytes,
                _ => refused / record_bytes,
            };
            let state = if value > alarm.threshold { AlarmState::Alarm } else { AlarmState::Ok };
            if state != alarm.state && state == AlarmState::Alarm {
                fired.get_or_insert_with(|| alarm.name.clone());
            }
            alarm.state = state;
        }
        fired
    }

    fn invoke(&mut self, world: &mut World<'_>, event: &Value, decide: Decide) {
        world.effort.wake_ups += 1.0;
        let clock = Moment { epoch_ms: world.epoch_ms() };
        let account = Account::new(world, &mut self.stack);
        let event = event.to_string();
        // Reserved concurrency keeps one scaler at a time here, so no lease is drawn.
        let rng = fastrand::Rng::with_seed(0);
        let function = Autoscaler::new(self.config.clone(), &account, clock, &account, rng, decide);
        let handled = function.handle(&event).now_or_never().expect("every call answers at once");
        drop(function);
        match handled {
            // The world has noted the call; the next schedule looks again, as Lambda's retry would.
            Ok(()) | Err(ScalingError::Call(_)) => {}
            Err(error) => panic!("the scaling functions refuse {event}: {error}"),
        }
        let emitted = account.into_emitted();
        world.explain(|| {
            let line: Value = serde_json::from_str(&emitted).unwrap_or_default();
            line["Decision"].as_str().unwrap_or_default().to_owned()
        });
    }
}

impl Rule for Sluice {
    fn begin(&mut self, world: &mut World<'_>) {
        let policy = &self.parameters.policy;
        let shards = world.open_shards();
        let shard = policy.shard_capacity();
        let alarm = |name: &str, per_second: f64, period_seconds: u32| Alarm {
            name: name.to_owned(),
            state: AlarmState::Ok,
            threshold: policy.threshold(per_second, shards, period_seconds),
            period_seconds,
        };
        self.stack.alarms = vec![
            alarm(BYTES, shard.bytes, 60),
            alarm(RECORDS, shard.records, 60),
            alarm(REFUSED, 0.0, 60),
        ];
        world.effort.alarms = 3.0;
        if self.parameters.fast_alarm {
            self.stack.alarms.push(alarm(FAST, shard.bytes, 10));
            world.effort.fast_alarms = 1.0;
        }
        self.stack.reserved = policy.concurrency(shards, 1.0);
        world.set_concurrency(self.stack.reserved);
    }

    fn wake(&mut self, world: &mut World<'_>) {
        if let Some(alarm) = self.evaluate_alarms(world) {
            let event = json!({ "alarmData": { "alarmName": alarm } });
            self.invoke(world, &event, decide_scale_up);
        }
        // Somewhere within its minute; not with the alarms.
        if world.second() % SECONDS_PER_MINUTE == 30 {
            self.invoke(world, &json!({ "wake": "reconcile" }), decide_scale_up);
        }
        let (from, until) = self.parameters.off_peak_hours;
        let is_off_peak = (from * 3_600..until * 3_600).contains(&world.second_of_day());
        if is_off_peak && world.second_of_day() % OFF_PEAK_EVERY_SECONDS == 20 {
            self.invoke(world, &json!({ "wake": "off-peak" }), decide_scale_down);
        }
    }
}
