//! What CloudWatch shows of the stream and its processors, and when.

use fastrand::Rng;

use crate::what_if::clock::SECONDS_PER_MINUTE;
use crate::what_if::world::TICK_SECONDS;

/// A high-resolution metric is seen so many seconds after its period.
const FAST_DELAY_SECONDS: u64 = 5;

/// One minute; bytes and tries are sums over it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Minute {
    /// Bytes that came in for the processors.
    pub arrived: f64,
    /// Bytes that processors took; the stream accepted them.
    pub taken: f64,
    /// Bytes that processors offered and the stream refused.
    pub refused: f64,
    /// Tries that found no concurrency.
    pub throttles: f64,
    /// The longest that anything taken had waited.
    pub queue_age_seconds: u64,
    /// How late all but the latest 1 % were.
    pub lag_seconds: u64,
    visible_at: u64,
}

/// The metrics so far.
#[derive(Debug, Clone)]
pub struct Metrics {
    rng: Rng,
    minutes: Vec<Minute>,
    /// Bytes that processors took, by tick.
    ticks: Vec<f64>,
    second: u64,
}

impl Metrics {
    /// None so far.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let rng = Rng::with_seed(seed ^ 0x006d_6574_7269_6373);
        Self { rng, minutes: Vec::new(), ticks: Vec::new(), second: 0 }
    }

    pub(crate) fn took(&mut self, bytes: f64) {
        if self.second.is_multiple_of(TICK_SECONDS) {
            self.ticks.push(0.0);
        }
        if let Some(tick) = self.ticks.last_mut() {
            *tick += bytes;
        }
        self.second += 1;
    }

    pub(crate) fn end_minute(&mut self, mut minute: Minute) {
        // Seen one to two minutes late, as the simulated CloudWatch has it.
        let delay = self.rng.u64(SECONDS_PER_MINUTE..2 * SECONDS_PER_MINUTE);
        minute.visible_at = (self.minutes.len() as u64 + 1) * SECONDS_PER_MINUTE + delay;
        self.minutes.push(minute);
    }

    /// The minute with this number, counted from 0, if it is seen now.
    #[must_use]
    pub fn minute(&self, number: usize) -> Option<&Minute> {
        self.minutes.get(number).filter(|minute| minute.visible_at <= self.second)
    }

    /// How many minutes from the first on are seen now.
    #[must_use]
    pub fn visible_minutes(&self) -> usize {
        let mut visible = self.minutes.len();
        while visible > 0 && self.minute(visible - 1).is_none() {
            visible -= 1;
        }
        visible
    }

    /// The latest `count` minutes that are seen now, oldest first; fewer at the begin.
    pub fn latest(&self, count: usize) -> impl ExactSizeIterator<Item = &Minute> {
        let visible = self.visible_minutes();
        self.minutes[visible.saturating_sub(count)..visible].iter()
    }

    /// Bytes a second that processors took in the latest tick, which the service itself knows at
    /// once.
    #[must_use]
    pub fn taken_in_last_tick(&self) -> f64 {
        self.ticks.last().map_or(0.0, |tick| tick / TICK_SECONDS as f64)
    }

    /// Bytes a second that processors took in the latest tick that is seen now.
    #[must_use]
    pub fn taken_in_latest_tick(&self) -> Option<f64> {
        let seen = self.second.checked_sub(FAST_DELAY_SECONDS)? / TICK_SECONDS;
        let tick = (seen as usize).checked_sub(1)?;
        Some(self.ticks.get(tick)? / TICK_SECONDS as f64)
    }

    /// Bytes that processors took in a minute, as far as it is seen now at high resolution.
    #[must_use]
    pub fn taken_in_minute(&self, number: usize) -> f64 {
        let per_minute = (SECONDS_PER_MINUTE / TICK_SECONDS) as usize;
        let seen = (self.second.saturating_sub(FAST_DELAY_SECONDS) / TICK_SECONDS) as usize;
        let end = ((number + 1) * per_minute).min(seen).min(self.ticks.len());
        let begin = (number * per_minute).min(end);
        self.ticks[begin..end].iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_seen_one_to_two_minutes_late_and_ticks_at_once() {
        let mut metrics = Metrics::new(1);
        for second in 1..=240 {
            metrics.took(1.0);
            if second % 60 == 0 {
                metrics.end_minute(Minute { arrived: second as f64, ..Minute::default() });
            }
            let age = |minute: usize| second - (minute as u64 + 1) * 60;
            for minute in 0..metrics.visible_minutes() {
                assert!(age(minute) >= 60, "minute {minute} at {second}");
            }
            assert!(second < 181 || metrics.minute(0).is_some());
        }
        assert_eq!(metrics.taken_in_latest_tick(), Some(1.0));
        assert_eq!((metrics.taken_in_minute(2), metrics.taken_in_minute(3)), (60.0, 50.0));
    }
}
