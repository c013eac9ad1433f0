//! One stream, its processors and what waits before them, second by second, under a rule that
//! scales it.

use sluice::limits::RESHARD_WINDOW_SECONDS;
use sluice::records::BURST_SECONDS;
use sluice::scaling::{Shard, StreamStatus};
use sluice_simulated::fluid::percentile;
use sluice_simulated::stream::ApiError;
use sluice_simulated::{Backlog, Stream, StreamLimits, VirtualClock};

use crate::what_if::clock::{SECONDS_PER_DAY, SECONDS_PER_MINUTE};
use crate::what_if::cost::{self, Bill, ScalingEffort};
use crate::what_if::metrics::{Metrics, Minute};
use crate::what_if::result::{Decision, Outcome, Point};
use crate::what_if::trace::Trace;
use crate::what_if::waiting::{Path, Supply, Waiting};

/// Rules are asked every so many seconds, the period of high-resolution alarms.
pub const TICK_SECONDS: u64 = 10;
/// Points of a timeline, about.
const POINTS: u64 = 1_000;
/// What still waits when the traffic ends is carried for so long.
const DRAIN_SECONDS_MAX: u64 = 7 * 3_600;
/// Paced processors serve more evenly than by chance, which is worth so many places more: fitted to
/// the tries that one processor refused at loads of 0.4 to 1.7 in `tests/event_by_event.rs`.
const EVENNESS: f64 = 1.5;
/// The simulation's time zero: no call may lie before 1970.
const BEGIN_SECOND: u64 = 10 * SECONDS_PER_DAY;

/// What is the same for every rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Everything that chance decides.
    pub seed: u64,
    /// Bytes of one payload of CloudWatch Logs, uncompressed.
    pub payload_bytes: f64,
    /// Bytes of one record as it is put.
    pub record_bytes: f64,
    /// Bytes of one log event.
    pub event_bytes: f64,
    /// Consumers that on-demand bills for reading.
    pub readers: f64,
    /// No rule opens more shards.
    pub shards_max: u32,
    /// What a stream allows and how long it takes.
    pub limits: StreamLimits,
    /// What Lambda does when processors cannot keep up.
    pub backlog: Backlog,
}

impl Settings {
    /// What a shard takes a second: whole records. What remains of its bytes refuses the next one.
    #[must_use]
    pub fn shard_takes_bytes_per_second(&self) -> f64 {
        let shard = self.limits.shard_bytes_per_second as f64;
        let record = self.record_bytes.min(shard);
        (shard / record + 1e-9).floor() * record
    }
}

/// Something that scales the stream. It sees what AWS shows, when AWS shows it.
pub trait Rule {
    /// Before the first second.
    fn begin(&mut self, world: &mut World<'_>);
    /// Every [`TICK_SECONDS`].
    fn wake(&mut self, world: &mut World<'_>);
}

/// What a stream is billed by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Capacity {
    Shards,
    OnDemand(f64),
}

/// The world of one rule.
pub struct World<'a> {
    /// What arrives.
    pub trace: &'a Trace,
    /// What is the same for every rule.
    pub settings: &'a Settings,
    /// What AWS shows.
    pub metrics: Metrics,
    /// What scaling did so far.
    pub effort: ScalingEffort,
    stream: Stream,
    capacity: Capacity,
    /// Reserved concurrency; `None` follows the shards at once.
    concurrency: Option<u32>,
    waiting: Waiting,
    path: Path,
    second: u64,
    /// The widest shard's share of the hash space, as a number of equal shards.
    even_shards: f64,
    shard_seconds: f64,
    on_demand_dollars: f64,
    refused_bytes: f64,
    minutes_over: u64,
    calls: Vec<u64>,
    splits: u64,
    merges: u64,
    shards_most: u32,
    decisions: Vec<Decision>,
}

impl<'a> World<'a> {
    /// A stream of `shards` shards, before the first second.
    #[must_use]
    pub fn new(trace: &'a Trace, settings: &'a Settings, path: Path, shards: u32) -> Self {
        let clock = VirtualClock::begin();
        let mut world = Self {
            trace,
            settings,
            metrics: Metrics::new(settings.seed),
            effort: ScalingEffort::default(),
            stream: Stream::with_limits(clock, shards as usize, settings.limits),
            capacity: Capacity::Shards,
            concurrency: None,
            waiting: Waiting::new(path, settings.payload_bytes, settings.backlog, settings.seed),
            path,
            second: 0,
            even_shards: f64::from(shards),
            shard_seconds: 0.0,
            on_demand_dollars: 0.0,
            refused_bytes: 0.0,
            minutes_over: 0,
            calls: Vec::new(),
            splits: 0,
            merges: 0,
            shards_most: shards,
            decisions: Vec::new(),
        };
        world.look_at_shards();
        world
    }

    /// Seconds since the begin.
    #[must_use]
    pub fn second(&self) -> u64 {
        self.second
    }

    /// Milliseconds since 1970, of a day that has no date.
    #[must_use]
    pub fn epoch_ms(&self) -> u64 {
        (BEGIN_SECOND + self.second) * 1_000
    }

    /// The number of a minute since 1970, counted from the begin; `None` lies before it.
    #[must_use]
    pub fn minute_number(&self, epoch_minute: u64) -> Option<usize> {
        epoch_minute.checked_sub(BEGIN_SECOND / SECONDS_PER_MINUTE).map(|number| number as usize)
    }

    /// Seconds after midnight.
    #[must_use]
    pub fn second_of_day(&self) -> u64 {
        (self.trace.begins_at_second + self.second) % SECONDS_PER_DAY
    }

    /// Whether a minute begins now.
    #[must_use]
    pub fn is_minute(&self) -> bool {
        self.second.is_multiple_of(SECONDS_PER_MINUTE)
    }

    /// Open shards.
    #[must_use]
    pub fn open_shards(&self) -> u32 {
        self.stream.open_shards()
    }

    /// `StreamStatus`.
    #[must_use]
    pub fn status(&self) -> StreamStatus {
        self.stream.status()
    }

    /// Whether the stream can be resharded.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status() == StreamStatus::Active
    }

    /// Its open shards.
    #[must_use]
    pub fn shards(&self) -> Vec<Shard> {
        self.stream.shards().open().map(|(_, shard)| shard.clone()).collect()
    }

    /// Bytes that arrive from now until the next tick.
    #[must_use]
    pub fn arriving_in_tick(&self) -> f64 {
        let end = (self.second + TICK_SECONDS).min(self.trace.seconds());
        let step = |second: u64| (second / self.trace.step_seconds) as usize;
        (self.second..end).map(|second| self.trace.bytes_per_second[step(second)]).sum()
    }

    /// From now on, the stream is on demand and takes so many bytes a second.
    pub fn set_on_demand(&mut self, bytes_per_second: f64) {
        self.capacity = Capacity::OnDemand(bytes_per_second);
    }

    /// Bills an on-demand stream.
    pub fn bill_on_demand(&mut self, dollars: f64) {
        self.on_demand_dollars += dollars;
    }

    /// From now on, so many processors run at once.
    pub fn set_concurrency(&mut self, processors: u32) {
        self.concurrency = Some(processors);
    }

    /// UpdateShardCount.
    pub fn update_shard_count(
        &mut self,
        target: u32,
        why: impl Into<String>,
    ) -> Result<(), ApiError> {
        let from = self.open_shards();
        let result = self.stream.update_shard_count(target, self.epoch_ms());
        if result.is_ok() {
            self.calls.push(self.second);
        }
        self.note(from, target, why.into(), &result);
        result
    }

    /// SplitShard.
    pub fn split_shard(
        &mut self,
        id: &str,
        at: u128,
        why: impl Into<String>,
    ) -> Result<(), ApiError> {
        let from = self.open_shards();
        let result = self.stream.split_shard(id, at, self.epoch_ms());
        self.splits += u64::from(result.is_ok());
        self.note(from, from + 1, why.into(), &result);
        result
    }

    /// MergeShards.
    pub fn merge_shards(
        &mut self,
        id: &str,
        adjacent_id: &str,
        why: impl Into<String>,
    ) -> Result<(), ApiError> {
        let from = self.open_shards();
        let result = self.stream.merge_shards(id, adjacent_id, self.epoch_ms());
        self.merges += u64::from(result.is_ok());
        self.note(from, from - 1, why.into(), &result);
        result
    }

    fn note(&mut self, from: u32, to: u32, why: String, result: &Result<(), ApiError>) {
        let error = result.as_ref().err().map(|error| error.code.clone());
        // A call that is refused again and again is told once.
        let is_told = error.is_some()
            && self.decisions.last().is_some_and(|last| (last.to, &last.error) == (to, &error));
        if !is_told {
            self.decisions.push(Decision { second: self.second, from, to, why, error });
        }
    }

    /// Gives the calls that came without a reason theirs.
    pub fn explain(&mut self, why: impl FnOnce() -> String) {
        let told = self.decisions.iter().rposition(|decision| !decision.why.is_empty());
        let silent = &mut self.decisions[told.map_or(0, |told| told + 1)..];
        if !silent.is_empty() {
            let why = why();
            silent.iter_mut().for_each(|decision| decision.why.clone_from(&why));
        }
    }

    /// Plays the whole of the traffic under `rule`.
    #[must_use]
    pub fn play(mut self, name: &str, rule: &mut dyn Rule) -> Outcome {
        rule.begin(&mut self);
        let end = self.trace.seconds();
        let bucket = end.div_ceil(POINTS).next_multiple_of(SECONDS_PER_MINUTE);
        let mut points: Vec<Point> = Vec::new();
        let mut point = Point::default();
        let mut minute = Minute::default();
        let mut lags: Vec<(u64, f64)> = Vec::new();
        let (mut arrived_in_minute, mut capacity_in_minute) = (0.0, 0.0);
        while self.second < end
            || (self.waiting.waiting_bytes() >= 1.0 && self.second < end + DRAIN_SECONDS_MAX)
        {
            if self.second.is_multiple_of(TICK_SECONDS) {
                rule.wake(&mut self);
            }
            let is_traffic = self.second < end;
            self.reshard();
            let step = (self.second / self.trace.step_seconds) as usize;
            let arrived = if is_traffic { self.trace.bytes_per_second[step] } else { 0.0 };
            let supply = self.supply();
            let served = self.waiting.second(self.second, arrived, supply);
            let refused = self.over_the_stream(served.offered);
            self.refused_bytes += refused;
            minute.refused += refused;
            minute.arrived += arrived;
            minute.taken += served.bytes;
            minute.throttles += served.throttles;
            minute.queue_age_seconds = minute.queue_age_seconds.max(served.oldest_seconds);
            if served.oldest_seconds > 0 {
                lags.push((served.oldest_seconds, served.bytes));
            }
            self.metrics.took(served.bytes);
            if is_traffic {
                let shards = self.open_shards();
                if self.capacity == Capacity::Shards {
                    self.shard_seconds += f64::from(shards);
                }
                point.add(arrived, supply.bytes_per_second, served.oldest_seconds);
                arrived_in_minute += arrived;
                capacity_in_minute += supply.bytes_per_second;
            }
            self.second += 1;
            if self.is_minute() {
                self.minutes_over +=
                    u64::from(arrived_in_minute > capacity_in_minute * (1.0 + 1e-9));
                (arrived_in_minute, capacity_in_minute) = (0.0, 0.0);
                minute.lag_seconds = percentile(&mut lags, 99.0);
                lags.clear();
                self.metrics.end_minute(std::mem::take(&mut minute));
            }
            if is_traffic && (self.second.is_multiple_of(bucket) || self.second == end) {
                let dollars = self.bill(self.second).total();
                points.push(std::mem::take(&mut point).finish(self.second, dollars));
            }
        }
        self.outcome(name, points)
    }

    fn reshard(&mut self) {
        let now_ms = self.epoch_ms();
        if self.stream.resharded_ms().is_some_and(|done_ms| done_ms <= now_ms) {
            self.stream.settle(now_ms);
            self.look_at_shards();
        }
    }

    fn look_at_shards(&mut self) {
        let widest = self.stream.shards().open().map(|(_, shard)| shard.width()).max();
        self.even_shards = u128::MAX as f64 / (widest.unwrap_or(u128::MAX) as f64 + 1.0);
        self.shards_most = self.shards_most.max(self.open_shards());
    }

    /// What the stream takes a second: as much as its widest shard's share allows.
    fn stream_bytes_per_second(&self) -> f64 {
        match self.capacity {
            Capacity::Shards => self.even_shards * self.settings.shard_takes_bytes_per_second(),
            Capacity::OnDemand(bytes_per_second) => bytes_per_second,
        }
    }

    /// What all processors together send a second, each paced to a shard.
    fn sent_bytes_per_second(&self) -> f64 {
        match self.capacity {
            Capacity::Shards => {
                let processors = self.concurrency.unwrap_or_else(|| self.open_shards());
                f64::from(processors) * self.settings.limits.shard_bytes_per_second as f64
            }
            // Nothing holds the processors of an on-demand stream back.
            Capacity::OnDemand(_) => f64::INFINITY,
        }
    }

    fn supply(&self) -> Supply {
        let sent = self.sent_bytes_per_second();
        let payloads_per_second = sent / self.settings.payload_bytes;
        let processors = sent / self.settings.limits.shard_bytes_per_second as f64;
        Supply {
            bytes_per_second: self.stream_bytes_per_second().min(sent),
            places: EVENNESS * (processors + BURST_SECONDS * payloads_per_second),
        }
    }

    /// What processors offer beyond what the stream takes.
    fn over_the_stream(&self, offered: f64) -> f64 {
        let over = offered.min(self.sent_bytes_per_second()) - self.stream_bytes_per_second();
        if over > 1.0 { over } else { 0.0 }
    }

    /// What it has cost up to `second`.
    fn bill(&self, second: u64) -> Bill {
        let bytes = self.trace.bytes_per_second[..(second / self.trace.step_seconds) as usize]
            .iter()
            .sum::<f64>()
            * self.trace.step_seconds as f64;
        self.bill_for(bytes, second)
    }

    fn bill_for(&self, bytes: f64, second: u64) -> Bill {
        let Settings { payload_bytes, record_bytes, ref limits, .. } = *self.settings;
        let puts = match self.capacity {
            Capacity::Shards => cost::put_dollars(bytes, record_bytes),
            Capacity::OnDemand(_) => 0.0,
        };
        let queue = match self.path {
            Path::LambdaRetries => 0.0,
            Path::Queue => cost::queue_dollars(bytes, payload_bytes),
        };
        let days = second as f64 / SECONDS_PER_DAY as f64;
        Bill {
            shards: cost::shard_dollars(self.shard_seconds / 3_600.0) + self.on_demand_dollars,
            puts,
            lambda: cost::processor_dollars(
                bytes,
                payload_bytes,
                limits.shard_bytes_per_second as f64,
            ),
            other: queue + cost::scaling_dollars(self.effort, days),
        }
    }

    fn outcome(self, name: &str, points: Vec<Point>) -> Outcome {
        let lags = &self.waiting.lags;
        Outcome {
            name: name.to_owned(),
            source: String::new(),
            bill: self.bill_for(self.trace.bytes(), self.trace.seconds()),
            days: self.trace.seconds() as f64 / SECONDS_PER_DAY as f64,
            shard_hours: self.shard_seconds / 3_600.0,
            shards_most: self.shards_most,
            lag_p50: lags.percentile(50.0),
            lag_p95: lags.percentile(95.0),
            lag_p99: lags.percentile(99.0),
            lag_max: lags.max(),
            refused_megabytes: self.refused_bytes / 1e6,
            lost_megabytes: (self.waiting.given_up_bytes + self.waiting.deleted_bytes) / 1e6,
            undelivered_megabytes: self.waiting.waiting_bytes().max(0.0).floor() / 1e6,
            reshards: self.calls.len() as u64,
            splits: self.splits,
            merges: self.merges,
            reshards_most_in_a_day: most_in_a_day(&self.calls),
            minutes_over: self.minutes_over,
            decisions: self.decisions,
            points,
        }
    }
}

/// The most calls that lie within any 24 hours.
fn most_in_a_day(calls: &[u64]) -> u64 {
    let since =
        |&call: &u64| calls.partition_point(|&other| other + RESHARD_WINDOW_SECONDS <= call);
    let within = |(place, call): (usize, &u64)| (place + 1 - since(call)) as u64;
    calls.iter().enumerate().map(within).max().unwrap_or(0)
}
