//! What arrives each second.

use fastrand::Rng;
use sluice::scaling::Rate;
use sluice_simulated::Arrival;
use sluice_simulated::clock::BEGIN_EPOCH_MS;

use crate::scenario::Traffic;

struct Spike {
    from_ms: u64,
    until_ms: u64,
    factor: f64,
}

/// The arrivals as a function of the epoch second.
pub fn arrivals(traffic: &Traffic, seed: u64) -> impl FnMut(u64) -> Arrival + 'static {
    let mut rng = Rng::with_seed(seed ^ 0x7261_6666_6963);
    let traffic = traffic.clone();
    let spikes: Vec<Spike> = traffic
        .spikes
        .iter()
        .flat_map(|spikes| std::iter::repeat_n(*spikes, spikes.count))
        .map(|spikes| {
            let from_ms = rng.u64(0..spikes.before.0);
            let minutes = rng.u64(1..=spikes.minutes_max);
            let factor = 1.0 + rng.f64() * (spikes.factor_max - 1.0);
            Spike { from_ms, until_ms: from_ms + minutes * 60_000, factor }
        })
        .collect();
    move |second| {
        let ms = (second * 1_000).saturating_sub(BEGIN_EPOCH_MS);
        let spike = spikes
            .iter()
            .filter(|spike| (spike.from_ms..spike.until_ms).contains(&ms))
            .map(|spike| spike.factor)
            .fold(1.0, f64::max);
        let noise = 1.0 + (rng.f64() * 2.0 - 1.0) * traffic.noise_percent / 100.0;
        let bytes = level(&traffic, ms) * 1e6 * spike * noise;
        let rate = Rate { bytes, records: bytes / (traffic.record_kilobytes * 1e3) };
        let hot = traffic.hot_key.filter(|hot| hot.from.0 <= ms && ms < hot.until.0);
        Arrival { rate, hot: hot.map(|hot| ((hot.place * u128::MAX as f64) as u128, hot.share)) }
    }
}

/// Megabytes a second at `ms`.
fn level(traffic: &Traffic, ms: u64) -> f64 {
    let points = &traffic.megabytes_per_second;
    let next = points.partition_point(|(at, _)| at.0 <= ms);
    match (next.checked_sub(1).map(|place| points[place]), points.get(next)) {
        (Some((from, low)), Some(&(until, high))) => {
            low + (high - low) * (ms - from.0) as f64 / (until.0 - from.0) as f64
        }
        (Some((_, last)), None) => last,
        (None, first) => first.map_or(0.0, |&(_, level)| level),
    }
}
