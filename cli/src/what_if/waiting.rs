//! What waits before the processors, and for how long.
//!
//! [`Path::LambdaRetries`] is Lambda's asynchronous queue as documented: an event that finds no
//! concurrency is tried again after 1 s, then after twice as long each time, up to 5 min, and is
//! given up after 6 h. A long queue is read more slowly, and may lose events ([`Backlog`]). So a
//! backlog is not taken in order, and concurrency stands idle while events sit out their pauses.
//! [`Path::Queue`] is an SQS queue before the processor, read by an event
//! source mapping whose maximum concurrency is that of the stream: first in, first out, and none
//! idle.

use std::collections::VecDeque;

use fastrand::Rng;
use sluice::limits::{
    ASYNC_EVENT_AGE_SECONDS_MAX, ASYNC_PAUSE_SECONDS_MAX, ASYNC_PAUSE_SECONDS_MIN,
};
use sluice_simulated::Backlog;

/// How events come to the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// CloudWatch Logs invokes the processor asynchronously.
    LambdaRetries,
    /// CloudWatch Logs invokes a forwarder, which has concurrency to spare and puts each payload
    /// into an SQS queue.
    Queue,
}

/// The forwarder and the long poll take less than this, in seconds.
const QUEUE_HOP_SECONDS: u64 = 1;

/// What is offered and what is there to take it, in one second.
#[derive(Debug, Clone, Copy)]
pub struct Supply {
    /// Bytes that all of them, or the stream, take.
    pub bytes_per_second: f64,
    /// Payloads that processors hold at once: one each, and as many as a burst lets through.
    /// Infinite where nothing holds them back.
    pub places: f64,
}

impl Supply {
    /// The share of the tries that find a processor when the tries of a second are `load` times
    /// what is taken. Tries are not evenly spaced: as in a queue of so many places (M/M/1/K), some
    /// find all of them taken before the load is a whole one, the fewer places the more.
    fn part(&self, load: f64) -> f64 {
        if load <= 0.0 {
            return 1.0;
        }
        if self.places.is_infinite() {
            return (1.0 / load).min(1.0);
        }
        // Near a whole load the quotient below is 0 / 0.
        if (load - 1.0).abs() < 1e-6 {
            return self.places / (self.places + 1.0);
        }
        // Divided by load^places where that is large.
        let blocked = if load < 1.0 {
            let full = load.powf(self.places);
            (1.0 - load) * full / (1.0 - full * load)
        } else {
            (load - 1.0) / (load - load.powf(-self.places))
        };
        1.0 - blocked
    }
}

/// How late bytes were delivered: bytes for each whole second of lag.
#[derive(Debug, Clone)]
pub struct Lags {
    bytes: Vec<f64>,
}

impl Default for Lags {
    fn default() -> Self {
        Self { bytes: vec![0.0; ASYNC_EVENT_AGE_SECONDS_MAX as usize + 2] }
    }
}

impl Lags {
    fn add(&mut self, lag_seconds: u64, bytes: f64) {
        let last = self.bytes.len() - 1;
        self.bytes[(lag_seconds as usize).min(last)] += bytes;
    }

    /// The lag in seconds that `percent` of all bytes do not exceed.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> u64 {
        let whole: f64 = self.bytes.iter().sum();
        let mut sum = 0.0;
        for (lag, bytes) in self.bytes.iter().enumerate() {
            sum += bytes;
            if sum >= whole * percent / 100.0 * (1.0 - 1e-12) {
                return lag as u64;
            }
        }
        0
    }

    /// The longest lag, in seconds.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.bytes.iter().rposition(|&bytes| bytes > 0.0).unwrap_or(0) as u64
    }
}

/// What happened in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Served {
    /// Bytes that came in, and bytes whose pause ended.
    pub offered: f64,
    /// Bytes that were taken and delivered.
    pub bytes: f64,
    /// Tries that found no concurrency.
    pub throttles: f64,
    /// The oldest that was taken had waited so many seconds.
    pub oldest_seconds: u64,
}

#[derive(Debug, Clone, Copy)]
struct Cohort {
    since: u64,
    tries: u32,
    bytes: f64,
}

/// Parts that one throttled cohort is cut into, each with a pause of its own.
const PARTS_MAX: u64 = 4;
/// Parts that wait at once, about.
const COHORTS_MAX: f64 = 2_000.0;

/// Everything that waits.
pub struct Waiting {
    path: Path,
    /// Bytes of one payload: nothing smaller waits.
    payload_bytes: f64,
    /// What Lambda does when processors cannot keep up.
    backlog: Backlog,
    rng: Rng,
    /// By the second modulo its length: whose pause ends then.
    wheel: Vec<Vec<Cohort>>,
    spare: Vec<Cohort>,
    line: VecDeque<(u64, f64)>,
    waiting_bytes: f64,
    /// Bytes that should have been throttled, had they been whole payloads.
    rounded_off: f64,
    /// How late everything was that has been delivered.
    pub lags: Lags,
    /// Bytes that were given up: they go to the dead-letter queue.
    pub given_up_bytes: f64,
    /// Bytes that Lambda deleted, so that they are nowhere.
    pub deleted_bytes: f64,
}

impl Waiting {
    /// Nothing waits.
    #[must_use]
    pub fn new(path: Path, payload_bytes: f64, backlog: Backlog, seed: u64) -> Self {
        Self {
            path,
            payload_bytes,
            backlog,
            rng: Rng::with_seed(seed ^ 0x0077_6169_7469_6e67),
            wheel: vec![Vec::new(); (ASYNC_PAUSE_SECONDS_MAX as usize + 2).next_power_of_two()],
            spare: Vec::new(),
            line: VecDeque::new(),
            waiting_bytes: 0.0,
            rounded_off: 0.0,
            lags: Lags::default(),
            given_up_bytes: 0.0,
            deleted_bytes: 0.0,
        }
    }

    /// What waits now.
    #[must_use]
    pub fn waiting_bytes(&self) -> f64 {
        self.waiting_bytes
    }

    /// One second in which `arrived` bytes come in.
    pub fn second(&mut self, second: u64, arrived: f64, supply: Supply) -> Served {
        match self.path {
            Path::LambdaRetries => self.second_of_retries(second, arrived, supply),
            Path::Queue => self.second_of_queue(second, arrived, supply),
        }
    }

    fn second_of_retries(&mut self, second: u64, arrived: f64, supply: Supply) -> Served {
        let slot = second as usize & (self.wheel.len() - 1);
        let mut due = std::mem::replace(&mut self.wheel[slot], std::mem::take(&mut self.spare));
        let mut offered = arrived;
        due.retain(|cohort| {
            let is_kept = second - cohort.since <= u64::from(ASYNC_EVENT_AGE_SECONDS_MAX);
            if is_kept {
                offered += cohort.bytes;
            } else {
                self.given_up_bytes += cohort.bytes;
                self.waiting_bytes -= cohort.bytes;
            }
            is_kept
        });
        let fill = self.backlog.fill(self.waiting_bytes / self.payload_bytes);
        let part = supply.part(offered / (supply.bytes_per_second * fill));
        let mut served = Served { offered, ..Served::default() };
        self.waiting_bytes += arrived;
        let fresh = Cohort { since: second, tries: 0, bytes: arrived };
        for cohort in due.drain(..).chain([fresh]) {
            self.try_once(second, cohort, part, fill, &mut served);
        }
        self.spare = due;
        served
    }

    fn try_once(&mut self, second: u64, cohort: Cohort, part: f64, fill: f64, served: &mut Served) {
        let mut throttled_bytes = self.throttled_bytes(cohort.bytes, part);
        let throttled = (throttled_bytes / self.payload_bytes).ceil();
        let taken_bytes = cohort.bytes - throttled_bytes;
        if taken_bytes > 0.0 {
            let lag = second - cohort.since;
            self.lags.add(lag, taken_bytes);
            served.bytes += taken_bytes;
            served.oldest_seconds = served.oldest_seconds.max(lag);
            self.waiting_bytes -= taken_bytes;
        }
        if throttled_bytes <= 0.0 {
            return;
        }
        served.throttles += throttled;
        let deleted_bytes = throttled_bytes * self.backlog.deleted;
        self.deleted_bytes += deleted_bytes;
        self.waiting_bytes -= deleted_bytes;
        throttled_bytes -= deleted_bytes;
        let pause = f64::from(ASYNC_PAUSE_SECONDS_MIN << cohort.tries.min(20)) / fill;
        let pause = pause.min(f64::from(ASYNC_PAUSE_SECONDS_MAX));
        // In a flood, parts stay so large that they remain countable.
        let part_bytes = self.payload_bytes.max(self.waiting_bytes / COHORTS_MAX);
        let parts = ((throttled_bytes / part_bytes) as u64).clamp(1, PARTS_MAX);
        for place in 0..parts {
            // Pauses are drawn between half and whole, so that tries do not come in step.
            let drawn = (place as f64 + self.rng.f64()) / parts as f64;
            let pause = pause * (0.5 + 0.5 * drawn) + self.rng.f64();
            let due = second + (pause as u64).max(1);
            let slot = due as usize & (self.wheel.len() - 1);
            let bytes = throttled_bytes / parts as f64;
            self.wheel[slot].push(Cohort { since: cohort.since, tries: cohort.tries + 1, bytes });
        }
    }

    /// What of `bytes` finds no processor when `part` of it does. A payload waits as a whole or not
    /// at all; what that rounds off is carried on, so that processors take what they can and no
    /// more.
    fn throttled_bytes(&mut self, bytes: f64, part: f64) -> f64 {
        if part >= 1.0 {
            return 0.0;
        }
        let due = self.rounded_off + bytes * (1.0 - part);
        let whole = (due / self.payload_bytes).floor() * self.payload_bytes;
        let throttled = whole.min(bytes);
        self.rounded_off = due - throttled;
        throttled
    }

    fn second_of_queue(&mut self, second: u64, arrived: f64, supply: Supply) -> Served {
        if arrived > 0.0 {
            self.line.push_back((second, arrived));
            self.waiting_bytes += arrived;
        }
        let mut served = Served { offered: self.waiting_bytes, ..Served::default() };
        let mut free = supply.bytes_per_second;
        while free > 0.0
            && let Some((since, bytes)) = self.line.front_mut()
        {
            let taken = bytes.min(free);
            let lag = second - *since;
            self.lags.add(lag + QUEUE_HOP_SECONDS, taken);
            served.bytes += taken;
            served.oldest_seconds = served.oldest_seconds.max(lag);
            self.waiting_bytes -= taken;
            free -= taken;
            *bytes -= taken;
            if *bytes > 0.0 {
                break;
            }
            self.line.pop_front();
        }
        served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUPPLY: Supply = Supply { bytes_per_second: 8e6, places: 28.0 };

    fn run(path: Path, seconds: u64, arrivals: impl Fn(u64) -> f64) -> Waiting {
        run_with(path, Backlog::IDEAL, seconds, arrivals)
    }

    fn run_with(
        path: Path,
        backlog: Backlog,
        seconds: u64,
        arrivals: impl Fn(u64) -> f64,
    ) -> Waiting {
        let mut waiting = Waiting::new(path, 1e5, backlog, 1);
        let mut arrived = 0.0;
        let mut served = 0.0;
        for second in 0..seconds {
            arrived += arrivals(second);
            served += waiting.second(second, arrivals(second), SUPPLY).bytes;
        }
        let gone = waiting.given_up_bytes + waiting.deleted_bytes;
        let placed = served + waiting.waiting_bytes() + gone;
        assert!((placed - arrived).abs() < arrived * 1e-9 + 1.0, "{placed} of {arrived}");
        waiting
    }

    #[test]
    fn a_flood_is_taken_as_fast_as_the_supply_and_no_faster() {
        for (payloads, supply) in [(30.0, 20e3), (3.0, 20e3), (0.4, 300.0), (25.0, 20e3)] {
            let mut waiting = Waiting::new(Path::LambdaRetries, 1_068.0, Backlog::IDEAL, 7);
            let taken: f64 = (0..3_600)
                .map(|second| {
                    let supply = Supply { bytes_per_second: supply, places: 7.0 };
                    waiting.second(second, payloads * 1_068.0, supply).bytes
                })
                .sum();
            let most = (payloads * 1_068.0_f64).min(supply) * 3_600.0;
            // A payload more or less, which is whole.
            let apart = (taken - most).abs();
            assert!(apart <= 2.0 * 1_068.0, "{payloads} a second: {taken} of {most}");
        }
    }

    #[test]
    fn a_light_load_does_not_wait() {
        assert_eq!(run(Path::LambdaRetries, 3_600, |_| 1e6).lags.percentile(99.9), 0);
        assert_eq!(run(Path::Queue, 3_600, |_| 7.9e6).lags.max(), QUEUE_HOP_SECONDS);
    }

    #[test]
    fn a_queue_is_emptied_in_order_and_retries_are_later() {
        let burst = |second| if second < 60 { 16e6 } else { 1e6 };
        let queue = run(Path::Queue, 3_600, burst);
        // 480 MB in excess leave at 7 MB/s.
        assert_eq!(queue.lags.max(), 60 + QUEUE_HOP_SECONDS);
        let retries = run(Path::LambdaRetries, 3_600, burst);
        assert!(retries.lags.max() > queue.lags.max(), "{}", retries.lags.max());
        assert!(retries.waiting_bytes() < 1.0);
    }

    #[test]
    fn the_longer_the_queue_the_more_slowly_it_is_read() {
        // 24 GB in excess: 240,000 payloads, which leave at 7 MB/s at the most.
        let flood = |second| if second < 600 { 48e6 } else { 1e6 };
        let drained = |fill_min| {
            let backlog = Backlog { fill_min, ..Backlog::default() };
            let mut waiting = Waiting::new(Path::LambdaRetries, 1e5, backlog, 1);
            (0..8 * 3_600)
                .position(|second| {
                    waiting.second(second, flood(second), SUPPLY);
                    second > 600 && waiting.waiting_bytes() < 1e6
                })
                .expect("the queue is empty within eight hours")
        };
        let seconds = [1.0, 0.75, 0.5].map(drained);
        let ratios = [1, 2].map(|place| seconds[place] as f64 / seconds[0] as f64);
        assert!(ratios[0] > 1.25 && ratios[1] > 1.8, "{seconds:?}");
    }

    #[test]
    fn a_queue_that_is_kept_up_with_loses_nothing_and_a_flood_may() {
        let backlog = Backlog { deleted: 0.01, ..Backlog::default() };
        let calm = run_with(Path::LambdaRetries, backlog, 3_600, |_| 1e6);
        assert_eq!(calm.deleted_bytes, 0.0);
        let flood = |second| if second < 600 { 48e6 } else { 1e6 };
        let flooded = run_with(Path::LambdaRetries, backlog, 3_600, flood);
        assert!(flooded.deleted_bytes > 1e8, "{}", flooded.deleted_bytes);
        assert_eq!(run_with(Path::Queue, backlog, 3_600, flood).deleted_bytes, 0.0);
        let default = run_with(Path::LambdaRetries, Backlog::default(), 3_600, flood);
        assert_eq!(default.deleted_bytes, 0.0, "off unless a scenario asks for it");
    }

    #[test]
    fn what_never_finds_a_processor_is_given_up_after_six_hours() {
        let waiting = run(Path::LambdaRetries, 8 * 3_600, |_| 80e6);
        assert!(waiting.given_up_bytes > 0.0);
        assert!(waiting.lags.max() <= u64::from(ASYNC_EVENT_AGE_SECONDS_MAX));
    }
}
