//! Traffic made up on the spot, so that the tool works with nothing at hand.

use std::f64::consts::TAU;

use clap::ValueEnum;
use fastrand::Rng;

use crate::what_if::clock::SECONDS_PER_DAY;
use crate::what_if::trace::Trace;

/// Seconds of a generated step.
const STEP_SECONDS: u64 = 60;

/// A kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Quiet nights, busy evenings, calmer weekends.
    Diurnal,
    /// A quiet day with a few sudden crowds, tens of times as much within minutes.
    FlashCrowd,
    /// Two broadcasts a day: people come within half an hour and leave within minutes.
    LiveEvent,
    /// On and off, for hours each.
    Step,
    /// A random walk with bursts.
    Noise,
}

/// Traffic of this kind with its highest step at `peak` bytes a second. The same seed gives the
/// same traffic.
#[must_use]
pub fn generate(shape: Shape, days: u64, peak: f64, seed: u64) -> Trace {
    let mut rng = Rng::with_seed(seed);
    let minutes = (days * SECONDS_PER_DAY / STEP_SECONDS).max(2) as usize;
    let value = shape.to_possible_value().expect("no kind is hidden");
    let mut values = match shape {
        Shape::Diurnal => diurnal(minutes, &mut rng),
        Shape::FlashCrowd => flash_crowd(minutes, &mut rng),
        Shape::LiveEvent => live_event(minutes, &mut rng),
        Shape::Step => step(minutes, &mut rng),
        Shape::Noise => noise(minutes, &mut rng),
    };
    let highest = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    values.iter_mut().for_each(|value| *value *= peak / highest);
    Trace {
        name: format!("{} (generated, seed {seed})", value.get_name()),
        step_seconds: STEP_SECONDS,
        begins_at_second: 0,
        bytes_per_second: values,
        refused_records: None,
        record_bytes: None,
    }
}

/// A share of the day, 0 to 1, from midnight.
fn hour(minute: usize) -> f64 {
    (minute % 1_440) as f64 / 60.0
}

/// Low at four in the morning, high at eight in the evening.
fn day_curve(minute: usize) -> f64 {
    let one = (1.0 - ((hour(minute) - 4.0) / 24.0 * TAU).cos()) / 2.0;
    let two = (1.0 - ((hour(minute) - 8.0) / 12.0 * TAU).cos()) / 2.0;
    0.12 + 0.7 * one + 0.18 * one * two
}

fn jitter(rng: &mut Rng, share: f64) -> f64 {
    1.0 + (rng.f64() * 2.0 - 1.0) * share
}

fn diurnal(minutes: usize, rng: &mut Rng) -> Vec<f64> {
    let curve = |minute: usize| {
        let weekend = if minute / 1_440 % 7 >= 5 { 0.7 } else { 1.0 };
        day_curve(minute) * weekend * jitter(rng, 0.04)
    };
    (0..minutes).map(curve).collect()
}

fn flash_crowd(minutes: usize, rng: &mut Rng) -> Vec<f64> {
    let mut values: Vec<f64> =
        (0..minutes).map(|minute| 0.03 * day_curve(minute) * jitter(rng, 0.1)).collect();
    let crowds = (minutes / (3 * 1_440)).max(1);
    for _ in 0..crowds {
        let begin = rng.usize(0..minutes);
        let height = 0.3 + 0.7 * rng.f64();
        for (after, value) in values.iter_mut().skip(begin).take(240).enumerate() {
            let rise = ((after + 1) as f64 / 4.0).min(1.0);
            *value += height * rise * (-(after as f64) / 45.0).exp();
        }
    }
    values
}

fn live_event(minutes: usize, rng: &mut Rng) -> Vec<f64> {
    let mut values: Vec<f64> =
        (0..minutes).map(|minute| 0.12 * day_curve(minute) * jitter(rng, 0.03)).collect();
    for day in 0..minutes.div_ceil(1_440) {
        for begin_hour in [15.5, 19.0] {
            let begin = day * 1_440 + (begin_hour * 60.0) as usize;
            let height = 0.4 + 0.6 * rng.f64();
            for (after, value) in values.iter_mut().skip(begin).take(180).enumerate() {
                let after = after as f64;
                let come = (after / 30.0).min(1.0);
                let leave = (1.0 - (after - 125.0) / 20.0).clamp(0.0, 1.0);
                let break_time = if (48.0..63.0).contains(&after) { 1.25 } else { 1.0 };
                *value += height * come * leave * break_time * jitter(rng, 0.03);
            }
        }
    }
    values
}

fn step(minutes: usize, rng: &mut Rng) -> Vec<f64> {
    let mut values = Vec::with_capacity(minutes);
    let mut is_on = false;
    while values.len() < minutes {
        let level = if is_on { 0.4 + 0.6 * rng.f64() } else { 0.002 };
        let long = rng.usize(45..240);
        values.extend((0..long.min(minutes - values.len())).map(|_| level));
        is_on = !is_on;
    }
    values
}

fn noise(minutes: usize, rng: &mut Rng) -> Vec<f64> {
    let mut level: f64 = 0.3;
    let mut burst: f64 = 0.0;
    let walk = |_| {
        level = (level * jitter(rng, 0.05)).clamp(0.05, 0.6);
        burst = if rng.u32(0..120) == 0 { rng.f64() } else { burst * 0.8 };
        level * jitter(rng, 0.2) + 0.4 * burst
    };
    (0..minutes).map(walk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reaches_its_peak_and_repeats_by_its_seed() {
        for shape in Shape::value_variants() {
            let (name, shape) = (format!("{shape:?}"), *shape);
            let one = generate(shape, 3, 64e6, 7);
            assert_eq!(one.seconds(), 3 * SECONDS_PER_DAY, "{name}");
            assert!((one.peak() - 64e6).abs() < 1.0, "{name}");
            assert!(one.bytes_per_second.iter().all(|value| *value >= 0.0 && value.is_finite()));
            assert_eq!(one, generate(shape, 3, 64e6, 7), "{name}");
            assert_ne!(one, generate(shape, 3, 64e6, 8), "{name}");
        }
    }

    #[test]
    fn a_flash_crowd_is_sudden() {
        let trace = generate(Shape::FlashCrowd, 3, 64e6, 1);
        let rise = trace.bytes_per_second.windows(6).map(|six| six[5] / six[0]).fold(0.0, f64::max);
        assert!(rise > 8.0, "{rise} times within five minutes");
    }
}
