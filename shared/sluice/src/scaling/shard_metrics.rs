//! Metrics of each shard, switched on while a hot shard is suspected and off again when that has
//! been over for a while.
//!
//! They are custom metrics, billed by the shard and hour, and only a hot shard needs them: without
//! them nobody knows which shard refuses. Each switch makes the stream UPDATING for a moment, in
//! which it cannot be resharded, so nothing is switched while anything else is to be done.
//!
//! What was switched on is noted on the stream before it is switched on, by name: only what is noted
//! is switched off again. A crash in between leaves a note without metrics, which the next wake-up
//! takes back, and never metrics that nobody answers for.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// The metrics that show a hot shard: what it takes and what it refuses.
pub const SHARD_METRICS_READ: [&str; 3] =
    ["IncomingBytes", "IncomingRecords", "WriteProvisionedThroughputExceeded"];

/// Shard-level metrics that there are; a stream that has all of them got them by `ALL`. (Kinesis
/// API, EnableEnhancedMonitoring; Nov 2026)
pub const SHARD_METRICS_ALL: usize = 7;

/// The stream's tag that notes what was switched on: epoch seconds of the last switch and of the
/// last suspicion, then the metrics.
pub const TAG_SHARD_METRICS: &str = "sluice/shard-metrics";

/// After this long without a suspicion, what was switched on is switched off. Metrics are billed by
/// the hour, so less would save nothing.
pub const CALM_MS: u64 = 60 * 60_000;

/// At most one switch, or one attempt, in this time.
pub const PAUSE_MS: u64 = 5 * 60_000;

/// `ShardLevelMetrics`: who switches the metrics of each shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardLevelMetrics {
    /// `true`: they are always on; the template or a person sees to that.
    Always,
    /// `false`: nobody here. If they are on all the same, they are read.
    Never,
    /// `auto`: scale-up, while a hot shard is suspected.
    Auto,
}

impl FromStr for ShardLevelMetrics {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "true" => Ok(Self::Always),
            "false" => Ok(Self::Never),
            "auto" => Ok(Self::Auto),
            _ => Err("none of auto, true and false"),
        }
    }
}

/// What was switched on here, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switched {
    /// When something was last switched or tried to, in milliseconds since 1970; kept to the second.
    pub changed_ms: u64,
    /// When a hot shard was last suspected, likewise, noted every few minutes.
    pub suspected_ms: u64,
    /// The metrics that scaling switched on.
    pub metrics: BTreeSet<String>,
}

impl Switched {
    /// Reads the tag; a damaged one is nothing noted, so that nothing is switched off.
    pub fn from_tag(tag: &str) -> Self {
        let mut words = tag.split_whitespace();
        let mut ms = || words.next()?.parse::<u64>().ok()?.checked_mul(1_000);
        let (Some(changed_ms), Some(suspected_ms)) = (ms(), ms()) else { return Self::default() };
        Self { changed_ms, suspected_ms, metrics: words.map(str::to_owned).collect() }
    }

    /// The value of the tag [`TAG_SHARD_METRICS`].
    pub fn to_tag(&self) -> String {
        let mut tag = format!("{} {}", self.changed_ms / 1_000, self.suspected_ms / 1_000);
        for metric in &self.metrics {
            tag.push(' ');
            tag.push_str(metric);
        }
        tag
    }
}

/// The stream's shard-level metrics as a scaling function saw them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardMetricsSeen {
    /// Who is to switch them.
    pub mode: ShardLevelMetrics,
    /// Those that are on, whoever switched them.
    pub on: BTreeSet<String>,
    /// What scaling noted that it switched on.
    pub switched: Switched,
}

impl ShardMetricsSeen {
    /// Those that would show a hot shard and are off.
    pub fn missing(&self) -> BTreeSet<String> {
        let is_off = |metric: &&str| !self.on.contains(*metric) && !self.on.contains("ALL");
        SHARD_METRICS_READ.into_iter().filter(is_off).map(str::to_owned).collect()
    }

    /// Those that are on because scaling switched them on. Nobody's of ours once a person has asked
    /// for all of them.
    pub(super) fn ours(&self) -> BTreeSet<String> {
        if self.on.len() >= SHARD_METRICS_ALL || self.on.contains("ALL") {
            return BTreeSet::new();
        }
        self.switched.metrics.intersection(&self.on).cloned().collect()
    }
}

/// One call about shard-level metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardMetricsAction {
    /// Write the note to the stream's tags.
    Note(Switched),
    /// Call `EnableEnhancedMonitoring` for these metrics.
    Enable(BTreeSet<String>),
    /// Call `DisableEnhancedMonitoring` for these metrics.
    Disable(BTreeSet<String>),
}

impl fmt::Display for ShardMetricsAction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(_) => Ok(()),
            Self::Enable(_) => write!(
                out,
                "; switch the metrics of each shard on, since records are refused while the \
                 stream has room: a shard may be hot"
            ),
            Self::Disable(_) => write!(
                out,
                "; switch the metrics of each shard off, since no shard has been suspected for \
                 {} minutes",
                CALM_MS / 60_000
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_gives_the_note_back_and_fits_what_kinesis_allows() {
        let all = ["IteratorAgeMilliseconds", "OutgoingBytes", "OutgoingRecords"];
        let all =
            all.into_iter().chain(SHARD_METRICS_READ).chain(["ReadProvisionedThroughputExceeded"]);
        for metrics in [BTreeSet::new(), all.map(str::to_owned).collect()] {
            let (changed_ms, suspected_ms) = (1_795_219_200_000, 1_795_219_260_000);
            let switched = Switched { changed_ms, suspected_ms, metrics };
            let tag = switched.to_tag();
            assert_eq!(Switched::from_tag(&tag), switched);
            assert!(
                tag.len() <= 256 && tag.chars().all(|c| c.is_alphanumeric() || c == ' '),
                "{tag}"
            );
        }
    }

    #[test]
    fn a_damaged_tag_is_nothing_noted() {
        for tag in ["", "0", "x 5 IncomingBytes", "5 IncomingBytes", "5 -1 IncomingBytes"] {
            assert_eq!(Switched::from_tag(tag), Switched::default(), "{tag}");
        }
    }
}
