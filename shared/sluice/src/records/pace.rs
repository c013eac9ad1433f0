//! Pacing: an execution environment's share of one shard, as a token bucket.

use std::time::Duration;

use crate::limits::{SHARD_BYTES_PER_SECOND, SHARD_RECORDS_PER_SECOND};

/// How much of a second's share may go at once after a rest.
///
/// A call that fits leaves without waiting; in the worst second the stream is offered 1.25 times
/// what it takes, and the refused quarter goes again.
pub const BURST_SECONDS: f64 = 0.25;

/// What one environment may send: 1 / `ConcurrencyPerShard` of a shard's bytes and records.
///
/// It lives across invocations. Reserved concurrency = shards × `ConcurrencyPerShard` then means
/// that all environments together offer no more than the stream takes.
#[derive(Debug, Clone)]
pub struct Pacer {
    bytes: Bucket,
    records: Bucket,
    refilled_at: Option<Duration>,
}

#[derive(Debug, Clone)]
struct Bucket {
    per_second: f64,
    burst: f64,
    /// Below zero when more has been promised than the rate has given yet.
    tokens: f64,
}

impl Bucket {
    fn new(per_second: f64) -> Self {
        let burst = (per_second * BURST_SECONDS).max(1.0);
        Self { per_second, burst, tokens: burst }
    }

    fn refill(&mut self, seconds: f64) {
        self.tokens = (self.tokens + seconds * self.per_second).min(self.burst);
    }

    /// Takes `cost`; returns the seconds until that much is there. A cost over the burst waits for
    /// a full bucket and leaves a debt.
    fn take(&mut self, cost: f64) -> f64 {
        let missing = cost.min(self.burst) - self.tokens;
        self.tokens -= cost;
        (missing / self.per_second).max(0.0)
    }
}

impl Pacer {
    /// The share of one of `concurrency_per_shard` environments.
    pub fn new(concurrency_per_shard: u32) -> Self {
        let share = 1.0 / f64::from(concurrency_per_shard.max(1));
        Self::at(SHARD_BYTES_PER_SECOND as f64 * share, SHARD_RECORDS_PER_SECOND as f64 * share)
    }

    /// So many bytes and records a second, both above zero.
    pub fn at(bytes_per_second: f64, records_per_second: f64) -> Self {
        Self {
            bytes: Bucket::new(bytes_per_second),
            records: Bucket::new(records_per_second),
            refilled_at: None,
        }
    }

    /// No pace at all, for a target that says by itself when it has enough.
    pub fn unlimited() -> Self {
        // More than any machine sends, and far from where a float cannot count bytes.
        let bucket = Bucket::new(1e15);
        Self { bytes: bucket.clone(), records: bucket, refilled_at: None }
    }

    /// Bytes and records that may go at once: the largest call worth making.
    pub fn burst(&self) -> (usize, usize) {
        (self.bytes.burst as usize, self.records.burst as usize)
    }

    /// Books a call at time `now` and returns how long it must wait. Bookings queue up.
    pub fn reserve(&mut self, now: Duration, bytes: usize, records: usize) -> Duration {
        let since = self.refilled_at.map_or(0.0, |then| now.saturating_sub(then).as_secs_f64());
        self.refilled_at = Some(self.refilled_at.map_or(now, |then| then.max(now)));
        self.bytes.refill(since);
        self.records.refill(since);
        let wait = self.bytes.take(bytes as f64).max(self.records.take(records as f64));
        Duration::from_secs_f64(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// When each call of a sequence that is booked back to back may go.
    fn departures(pacer: &mut Pacer, calls: &[(usize, usize)]) -> Vec<Duration> {
        let mut now = Duration::from_secs(100);
        calls
            .iter()
            .map(|&(bytes, records)| {
                now += pacer.reserve(now, bytes, records);
                now
            })
            .collect()
    }

    #[test]
    fn sustained_load_leaves_at_one_shards_rate() {
        for (call, per_second) in [((100_000, 4), 10.0), ((1_000, 100), 10.0)] {
            let mut pacer = Pacer::new(1);
            let departures = departures(&mut pacer, &[call; 101]);
            let took = (departures[100] - departures[0]).as_secs_f64();
            let ideal = 100.0 / per_second - BURST_SECONDS;
            assert!((took - ideal).abs() < 0.2, "{took} s for {ideal} s of load");
        }
    }

    #[test]
    fn no_second_holds_more_than_a_share_and_a_burst() {
        for concurrency in [1u32, 4, 10] {
            let mut pacer = Pacer::new(concurrency);
            let departures = departures(&mut pacer, &[(20_000, 10); 400]);
            let share = 1_000_000.0 / f64::from(concurrency);
            for &start in &departures {
                let within = departures.iter().filter(|&&d| d >= start && d < start + SECOND);
                assert!(
                    within.count() as f64 * 20_000.0 <= share * (1.0 + BURST_SECONDS) + 20_000.0
                );
            }
        }
    }

    #[test]
    fn a_record_larger_than_the_burst_goes_and_leaves_a_debt() {
        let mut pacer = Pacer::new(10);
        assert_eq!(pacer.reserve(SECOND, 1_000_000, 1), Duration::ZERO);
        let wait = pacer.reserve(SECOND, 25_000, 1);
        assert!((wait.as_secs_f64() - 10.0).abs() < 0.01, "{wait:?}");
    }

    #[test]
    fn a_rest_refills_the_burst_and_no_more() {
        let mut pacer = Pacer::new(1);
        pacer.reserve(SECOND, 250_000, 1);
        assert_eq!(pacer.reserve(SECOND * 1000, 250_000, 1), Duration::ZERO);
        assert!(pacer.reserve(SECOND * 1000, 250_000, 1) > Duration::ZERO);
    }

    #[test]
    fn a_clock_that_jumps_back_gives_nothing() {
        let mut pacer = Pacer::new(1);
        pacer.reserve(SECOND * 100, 250_000, 1);
        assert!(pacer.reserve(SECOND, 250_000, 1) > Duration::ZERO);
        assert!(pacer.reserve(SECOND * 100, 250_000, 1) > Duration::ZERO);
    }
}
