//! The UpdateShardCount calls of the last 24 hours, as a tag on the stream.

use crate::limits::RESHARD_WINDOW_SECONDS;

/// The stream's tag that holds the ledger: epoch seconds with blanks between them. Kinesis allows
/// neither colon nor comma in a tag.
pub const TAG_RESHARDS: &str = "sluice/reshards";

/// A tag's 256 characters have room for this many entries.
const ENTRIES_MAX: usize = 22;

/// When UpdateShardCount was called, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    epoch_seconds: Vec<u64>,
}

impl Ledger {
    /// Reads the tag, leaving out what is not a number: a malformed tag must not stop scaling, and AWS
    /// refuses the call that is one too many.
    pub fn parse(tag: &str) -> Self {
        let mut epoch_seconds: Vec<u64> =
            tag.split_whitespace().filter_map(|entry| entry.parse().ok()).collect();
        epoch_seconds.sort_unstable();
        Self { epoch_seconds }
    }

    /// The value of the tag [`TAG_RESHARDS`].
    pub fn to_tag(&self) -> String {
        let entries: Vec<String> = self.epoch_seconds.iter().map(u64::to_string).collect();
        entries.join(" ")
    }

    /// Calls within the 24 hours before `now_ms`. A call that a faster clock noted in the future
    /// counts, too.
    pub fn used(&self, now_ms: u64) -> u32 {
        let since = (now_ms / 1_000).saturating_sub(RESHARD_WINDOW_SECONDS);
        self.epoch_seconds.iter().filter(|&&second| second > since).count() as u32
    }

    /// Calls that are left of `calls_max`.
    pub fn left(&self, now_ms: u64, calls_max: u32) -> u32 {
        calls_max.saturating_sub(self.used(now_ms))
    }

    /// The ledger with a call at `now_ms` and without what is too old to count.
    pub fn with_call(&self, now_ms: u64) -> Self {
        self.with(now_ms, now_ms)
    }

    /// The ledger without the call that was noted at `now_ms`.
    pub fn without_call(&self, now_ms: u64) -> Self {
        let mut epoch_seconds = self.epoch_seconds.clone();
        if let Some(noted) = epoch_seconds.iter().position(|&second| second == now_ms / 1_000) {
            epoch_seconds.remove(noted);
        }
        Self { epoch_seconds }
    }

    /// The ledger at `now_ms` with a call at `call_ms`.
    pub fn with(&self, call_ms: u64, now_ms: u64) -> Self {
        let since = (now_ms / 1_000).saturating_sub(RESHARD_WINDOW_SECONDS);
        let mut epoch_seconds: Vec<u64> =
            self.epoch_seconds.iter().copied().filter(|&second| second > since).collect();
        epoch_seconds.push(call_ms / 1_000);
        epoch_seconds.sort_unstable();
        let surplus = epoch_seconds.len().saturating_sub(ENTRIES_MAX);
        Self { epoch_seconds: epoch_seconds.split_off(surplus) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    #[test]
    fn calls_count_for_24_hours() {
        let ledger = Ledger::default().with_call(1_000).with_call(DAY_MS);
        assert_eq!(ledger.used(DAY_MS), 2);
        assert_eq!(ledger.used(DAY_MS + 1_000), 1);
        assert_eq!(ledger.left(DAY_MS, 10), 8);
        assert_eq!(ledger.left(DAY_MS, 1), 0);
    }

    #[test]
    fn a_call_that_was_refused_is_taken_out_again() {
        let before = Ledger::default().with_call(5_000);
        assert_eq!(before.with_call(9_000).without_call(9_000), before);
        assert_eq!(before.without_call(9_000), before);
    }

    #[test]
    fn the_tag_gives_the_ledger_back_and_survives_damage() {
        let ledger = Ledger::default().with_call(5_000).with_call(9_000);
        assert_eq!(ledger.to_tag(), "5 9");
        assert_eq!(Ledger::parse(&ledger.to_tag()), ledger);
        assert_eq!(Ledger::parse("9 x 5  -1"), ledger);
        assert_eq!(Ledger::parse(""), Ledger::default());
    }

    #[test]
    fn the_tag_fits_even_when_a_quota_was_raised() {
        let now_ms = 1_795_219_200_000;
        let ledger = (0..100).fold(Ledger::default(), |ledger, n| ledger.with_call(now_ms + n));
        assert!(ledger.to_tag().len() <= 256);
    }
}
