//! Pauses between attempts.

use std::time::Duration;

use fastrand::Rng;

/// Pauses that double with each attempt, up to a limit. Each is drawn at random below that, so that
/// callers who failed together do not come back together.
///
/// ```
/// let backoff = sluice::invocation::Backoff::equal_jitter(400, 20_000);
/// let third = backoff.pause(3, &mut fastrand::Rng::with_seed(7)).as_millis();
/// assert!((800..=1_600).contains(&third));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first_ms: u64,
    ms_max: u64,
    jitter: Jitter,
}

/// Named as in "Exponential Backoff And Jitter", AWS Architecture Blog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Jitter {
    Full,
    Equal,
}

impl Backoff {
    /// Pauses from nothing up to the doubling limit: best when many callers share one target.
    pub const fn full_jitter(first_ms: u64, ms_max: u64) -> Self {
        Self { first_ms, ms_max, jitter: Jitter::Full }
    }

    /// Pauses between half of the doubling limit and all of it: each is worth waiting for.
    pub const fn equal_jitter(first_ms: u64, ms_max: u64) -> Self {
        Self { first_ms, ms_max, jitter: Jitter::Equal }
    }

    /// The pause after so many attempts.
    pub fn pause(&self, attempts: u32, rng: &mut Rng) -> Duration {
        let doublings = attempts.saturating_sub(1).min(u64::BITS / 2);
        let most_ms = self.first_ms.saturating_mul(1 << doublings).min(self.ms_max);
        let least_ms = match self.jitter {
            Jitter::Full => 0,
            Jitter::Equal => most_ms / 2,
        };
        Duration::from_millis(rng.u64(least_ms..=most_ms))
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::prelude::{prop_assert, proptest};

    use super::Backoff;

    proptest! {
        #[test]
        fn pauses_double_up_to_their_limit_and_are_random_below_it(
            first_ms in 1..=u64::MAX,
            ms_max in 1..=u64::MAX,
            attempts in 0..=u32::MAX,
            seed: u64,
        ) {
            let doubled_ms = (1..attempts.min(100)).fold(first_ms, |ms, _| ms.saturating_mul(2));
            // 32 doublings of a millisecond are 50 days.
            let most_ms = doubled_ms.min(first_ms.saturating_mul(1 << 32)).min(ms_max);
            let rng = &mut Rng::with_seed(seed);
            let full = Backoff::full_jitter(first_ms, ms_max).pause(attempts, rng).as_millis();
            prop_assert!(full <= u128::from(most_ms));
            let equal = Backoff::equal_jitter(first_ms, ms_max).pause(attempts, rng).as_millis();
            prop_assert!((u128::from(most_ms / 2)..=u128::from(most_ms)).contains(&equal));
        }
    }

    #[test]
    fn callers_who_failed_together_spread_over_the_whole_pause() {
        let mut rng = Rng::with_seed(1);
        for (backoff, least_ms) in
            [(Backoff::full_jitter(1_000, 8_000), 0), (Backoff::equal_jitter(1_000, 8_000), 4_000)]
        {
            let pauses: Vec<u64> =
                (0..1_000).map(|_| backoff.pause(9, &mut rng).as_millis() as u64).collect();
            let tenth = (8_000 - least_ms) / 10;
            assert!(pauses.iter().min() < Some(&(least_ms + tenth)));
            assert!(pauses.iter().max() > Some(&(8_000 - tenth)));
        }
    }
}
