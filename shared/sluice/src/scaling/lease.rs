//! The lease that keeps one scaler at a time where no reserved concurrency does, as a tag on the
//! stream.
//!
//! Kinesis cannot compare and set a tag. So a scaler writes its name, waits a moment, looks again,
//! and acts only while the tag still has its name: of two that write at once, the one that wrote
//! first finds the other's. A write that takes longer than the other's pause defeats that. Then two
//! act, and the stream itself refuses the second reshard.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;

/// The stream's tag that holds the lease: its holder, and the epoch second at which it expires; `0`
/// when nobody holds it.
pub const TAG_LEASE: &str = "sluice/lease";

/// Beyond the function's timeout, for clocks that differ.
const MARGIN_SECONDS: u64 = 15;
/// Milliseconds between writing the tag and looking at it again.
const PAUSE_MS: std::ops::Range<u64> = 1_000..2_000;

/// Who may act, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its holder: a number that each invocation draws.
    pub holder: String,
    /// It is over at this epoch second.
    pub until_seconds: u64,
}

impl Lease {
    /// A new one for a function that ends within `timeout_seconds`.
    pub fn draw(now_ms: u64, timeout_seconds: u64, rng: &mut Rng) -> Self {
        let until_seconds = now_ms / 1_000 + timeout_seconds + MARGIN_SECONDS;
        Self { holder: format!("{:016x}", rng.u64(..)), until_seconds }
    }

    /// Reads the tag; a missing, free or damaged one is nobody's.
    pub fn from_tags(tags: &BTreeMap<String, String>) -> Option<Self> {
        let (holder, until) = tags.get(TAG_LEASE)?.trim().split_once(' ')?;
        Some(Self { holder: holder.to_owned(), until_seconds: until.trim().parse().ok()? })
    }

    /// The tag of a lease that is held.
    pub fn to_tags(&self) -> BTreeMap<String, String> {
        let value = format!("{} {}", self.holder, self.until_seconds);
        BTreeMap::from([(TAG_LEASE.to_owned(), value)])
    }

    /// The tag of a lease that nobody holds.
    pub fn free() -> BTreeMap<String, String> {
        BTreeMap::from([(TAG_LEASE.to_owned(), "0".to_owned())])
    }

    /// Whether it is still in force.
    pub fn is_valid(&self, now_ms: u64) -> bool {
        now_ms / 1_000 < self.until_seconds
    }

    /// How long to wait before looking again.
    pub fn pause(rng: &mut Rng) -> Duration {
        Duration::from_millis(rng.u64(PAUSE_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(TAG_LEASE.to_owned(), value.to_owned())])
    }

    #[test]
    fn the_tag_gives_the_lease_back_in_characters_that_kinesis_allows() {
        let mut rng = Rng::with_seed(7);
        let lease = Lease::draw(1_795_219_200_000, 60, &mut rng);
        assert_eq!(Lease::from_tags(&lease.to_tags()), Some(lease.clone()));
        let allowed = |c: char| c.is_ascii_alphanumeric() || " _./=+-%@".contains(c);
        assert!(lease.to_tags()[TAG_LEASE].chars().all(allowed));
        assert_ne!(lease.holder, Lease::draw(1_795_219_200_000, 60, &mut rng).holder);
    }

    #[test]
    fn a_lease_outlasts_its_function_and_ends_by_itself() {
        let lease = Lease::draw(1_000_000, 60, &mut Rng::with_seed(7));
        assert!(lease.is_valid(1_000_000 + 60_000));
        assert!(!lease.is_valid(1_000_000 + 75_000));
    }

    #[test]
    fn a_free_or_damaged_tag_is_nobodys() {
        assert_eq!(Lease::from_tags(&Lease::free()), None);
        assert_eq!(Lease::from_tags(&BTreeMap::new()), None);
        for damaged in ["", "x", "x y", "x -1", "x 99999999999999999999999"] {
            assert_eq!(Lease::from_tags(&tags(damaged)), None, "{damaged}");
        }
    }
}
