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

use super::observation::MinuteLoad;
use super::{Action, Blocked, Decision, Observation, Policy, Rate, StreamStatus};

/// The metrics that show a hot shard: what it takes and what it refuses.
pub const SHARD_METRICS_READ: [&str; 3] =
    ["IncomingBytes", "IncomingRecords", "WriteProvisionedThroughputExceeded"];

/// Shard-level metrics that there are; a stream that has all of them got them by `ALL`. (Kinesis
/// API, EnableEnhancedMonitoring; Nov 2026)
pub const SHARD_METRICS_ALL: usize = 7;

/// The stream's tag that notes what was switched on: epoch seconds of the last switch and of the
/// last suspicion, then the metrics.
pub const TAG_SHARD_METRICS: &str = "sluice/shard-metrics";

/// So many of the last [`MINUTES`] must look like a hot shard before anything is switched on: one
/// alone may be a burst within seconds, which an evenly used stream refuses, too.
const MINUTES_SUSPICIOUS: usize = 3;
/// See [`MINUTES_SUSPICIOUS`].
const MINUTES: usize = 5;

/// Fewer refused records than this share of what an even shard is asked to take are no matter. Of a
/// shard and not of the stream, which would not notice one hot shard of a hundred.
const REFUSED_SHARE_MIN: f64 = 0.05;

/// Without a suspicion for so long, what was switched on is switched off. Metrics are billed by the
/// hour, so that less would save nothing.
pub const CALM_MS: u64 = 60 * 60_000;

/// At most one switch, or one try of one, in so long.
pub const PAUSE_MS: u64 = 5 * 60_000;

/// A lasting suspicion is noted anew when its note is older than this.
const NOTED_AGE_MS_MAX: u64 = 5 * 60_000;

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
    #[must_use]
    pub fn from_tag(tag: &str) -> Self {
        let mut words = tag.split_whitespace();
        let mut ms = || words.next()?.parse::<u64>().ok()?.checked_mul(1_000);
        let (Some(changed_ms), Some(suspected_ms)) = (ms(), ms()) else { return Self::default() };
        Self { changed_ms, suspected_ms, metrics: words.map(str::to_owned).collect() }
    }

    /// The tag's value.
    #[must_use]
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
    /// What was noted.
    pub switched: Switched,
}

impl ShardMetricsSeen {
    /// Those that would show a hot shard and are off.
    #[must_use]
    pub fn missing(&self) -> BTreeSet<String> {
        let is_off = |metric: &&str| !self.on.contains(*metric) && !self.on.contains("ALL");
        SHARD_METRICS_READ.into_iter().filter(is_off).map(str::to_owned).collect()
    }

    /// Those that are on because scaling switched them on. Nobody's of ours once a person has asked
    /// for all of them.
    fn ours(&self) -> BTreeSet<String> {
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
    /// EnableEnhancedMonitoring.
    Enable(BTreeSet<String>),
    /// DisableEnhancedMonitoring.
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

/// Adds to scale-up's `decision` what is to be done about shard-level metrics.
pub fn decide_shard_metrics(policy: &Policy, seen: &Observation, decision: &mut Decision) {
    // A stream that is not ACTIVE takes no switch, and is looked at in a minute again.
    if seen.status != StreamStatus::Active {
        return;
    }
    let metrics = &seen.shard_metrics;
    let switched = &metrics.switched;
    match metrics.mode {
        ShardLevelMetrics::Auto => {}
        ShardLevelMetrics::Always => {
            // They are the template's now.
            if !switched.metrics.is_empty() {
                note(decision, Switched { metrics: BTreeSet::new(), ..switched.clone() });
            }
            return;
        }
        ShardLevelMetrics::Never => {
            if !metrics.ours().is_empty() {
                decision.blocked.push(Blocked::ShardMetricsLeftOn);
            }
            return;
        }
    }
    let is_free = seen.now_ms.saturating_sub(switched.changed_ms) >= PAUSE_MS
        && decision.shards_after() == seen.open_shards
        && decision.goal == seen.open_shards;
    if is_suspected(policy, seen, decision) {
        let missing = metrics.missing();
        let age_ms = seen.now_ms.saturating_sub(switched.suspected_ms);
        let suspected = Switched { suspected_ms: seen.now_ms, ..switched.clone() };
        if missing.is_empty() {
            if !switched.metrics.is_empty() && age_ms >= NOTED_AGE_MS_MAX {
                note(decision, suspected);
            }
        } else if is_free {
            let ours = metrics.ours().union(&missing).cloned().collect();
            note(decision, Switched { changed_ms: seen.now_ms, metrics: ours, ..suspected });
            decision.actions.push(Action::ShardMetrics(ShardMetricsAction::Enable(missing)));
        }
        return;
    }
    if switched.metrics.is_empty() {
        return;
    }
    let ours = metrics.ours();
    let none = Switched { metrics: BTreeSet::new(), ..switched.clone() };
    let is_calm = seen.now_ms.saturating_sub(switched.suspected_ms) >= CALM_MS;
    if ours.is_empty() {
        // Never switched on, switched off by others, or a person wants all of them.
        note(decision, none);
    } else if is_calm && is_free && !seen.is_alarmed() {
        // Noted still until they are off: metrics that nobody answers for would be billed for ever.
        note(decision, Switched { changed_ms: seen.now_ms, ..switched.clone() });
        decision.actions.push(Action::ShardMetrics(ShardMetricsAction::Disable(ours)));
        note(decision, Switched { changed_ms: seen.now_ms, ..none });
    }
}

fn note(decision: &mut Decision, switched: Switched) {
    decision.actions.push(Action::ShardMetrics(ShardMetricsAction::Note(switched)));
}

/// Whether a shard may be hot: the stream refuses, does not want to grow, could be split, and had
/// room in most of the last minutes in which it refused.
fn is_suspected(policy: &Policy, seen: &Observation, decision: &Decision) -> bool {
    if !seen.is_refusing()
        || decision.goal != seen.open_shards
        || seen.open_shards >= policy.shard_count_max
    {
        return false;
    }
    let minutes = seen.load.iter().flat_map(|load| load.minutes.iter().rev()).take(MINUTES);
    minutes.filter(|minute| is_suspicious(policy, minute)).count() >= MINUTES_SUSPICIOUS
}

/// Whether the minute refused records while as many shards as were open then had room. With the
/// shards of now, the overload before a doubling would look like room.
fn is_suspicious(policy: &Policy, minute: &MinuteLoad) -> bool {
    let Some(open_shards) = minute.open_shards else { return false };
    let Rate { records, .. } = minute.accepted;
    let capacity = policy.shard_capacity().times(f64::from(open_shards));
    let refused = minute.refused_records;
    refused > (records + refused) / f64::from(open_shards) * REFUSED_SHARE_MIN
        && minute.accepted.utilization_of(capacity) < policy.target_utilization
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
