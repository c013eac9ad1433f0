//! How an invocation divides its time.

use std::time::Duration;

/// Kept for what comes after the work (hand over, report, start the next hop), unless the invocation
/// is short: then a quarter of it.
const RESERVE_MS_MAX: u64 = 10_000;

/// When an invocation began and when Lambda ends it, in milliseconds since 1970.
///
/// ```
/// use std::time::Duration;
/// use sluice::invocation::Deadline;
///
/// let deadline = Deadline::new(0, 60_000);
/// assert_eq!(deadline.work_until_ms(), 50_000);
/// assert_eq!(deadline.take_until_ms(Duration::from_secs(15)), 35_000);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    begun_ms: u64,
    end_ms: u64,
}

impl Deadline {
    /// The deadline of an invocation that began at `begun_ms` and is killed at `end_ms`.
    pub fn new(begun_ms: u64, end_ms: u64) -> Self {
        Self { begun_ms, end_ms }
    }

    /// When Lambda ends the invocation.
    pub fn end_ms(self) -> u64 {
        self.end_ms
    }

    /// When work must stop, so that its remainder can be handed over and reported.
    pub fn work_until_ms(self) -> u64 {
        self.end_ms - self.reserve_ms()
    }

    /// When handing over must stop, so that the invocation can still answer.
    pub fn hand_over_until_ms(self) -> u64 {
        self.end_ms - self.reserve_ms() / 5
    }

    /// When to take no more work whose answer may take `answer`. Work that may take as long as the
    /// invocation itself gets half of its time.
    pub fn take_until_ms(self, answer: Duration) -> u64 {
        let work_until_ms = self.work_until_ms();
        let half_ms = work_until_ms.saturating_sub(self.begun_ms) / 2;
        work_until_ms.saturating_sub(answer.as_millis() as u64).max(self.begun_ms + half_ms)
    }

    /// How much is kept for what comes after the work.
    pub fn reserve_ms(self) -> u64 {
        RESERVE_MS_MAX.min(self.end_ms.saturating_sub(self.begun_ms) / 4)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_seconds_are_kept_or_a_quarter_of_a_short_invocation() {
        assert_eq!(Deadline::new(1_000, 901_000).work_until_ms(), 891_000);
        assert_eq!(Deadline::new(1_000, 5_000).work_until_ms(), 4_000);
        assert_eq!(Deadline::new(1_000, 901_000).hand_over_until_ms(), 899_000);
    }

    #[test]
    fn work_as_long_as_the_invocation_is_taken_in_its_first_half() {
        let deadline = Deadline::new(1_000, 901_000);
        assert_eq!(deadline.take_until_ms(Duration::from_secs(60)), 831_000);
        assert_eq!(deadline.take_until_ms(Duration::from_secs(900)), 446_000);
    }

    proptest! {
        #[test]
        fn taking_ends_before_work_before_handing_over_before_the_end(
            begun_ms in 0..=u64::MAX / 4,
            whole_ms in 0..=1_000_000u64,
            answer_ms in 0..=2_000_000u64,
        ) {
            let deadline = Deadline::new(begun_ms, begun_ms + whole_ms);
            let times = [
                begun_ms,
                deadline.take_until_ms(Duration::from_millis(answer_ms)),
                deadline.work_until_ms(),
                deadline.hand_over_until_ms(),
                deadline.end_ms(),
            ];
            prop_assert!(times.is_sorted(), "{times:?}");
            let answered_ms = times[1] + answer_ms;
            prop_assert!(answered_ms <= times[2] || times[1] - begun_ms == (times[2] - begun_ms) / 2);
        }

        #[test]
        fn a_deadline_that_is_over_leaves_no_time_and_does_not_panic(
            begun_ms in 0..=u64::MAX / 4,
            end_ms in 0..=u64::MAX / 4,
        ) {
            let deadline = Deadline::new(begun_ms.max(end_ms), end_ms);
            prop_assert_eq!(deadline.work_until_ms(), end_ms);
            prop_assert_eq!(deadline.hand_over_until_ms(), end_ms);
            prop_assert!(deadline.take_until_ms(Duration::ZERO) >= end_ms);
        }
    }
}
