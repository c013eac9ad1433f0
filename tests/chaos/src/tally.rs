//! Sums over seeds, and the table at the end.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plan::{Family, Plan};
use crate::world::Outcome;

/// More duplicates than this, in a share of all events, fail a run of many seeds: 1 in 10,000 where
/// nothing that the plan did makes duplicates by itself.
pub const OWN_DUPLICATES_MAX: f64 = 1e-4;

/// What came of some seeds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Seeds.
    pub seeds: u64,
    /// Log events that were sent.
    pub events: u64,
    /// Events in the stream.
    pub delivered: u64,
    /// Events that were in the dead-letter queue at any time.
    pub dead_lettered: u64,
    /// Events that were in the dead-letter queue and are in the stream.
    pub replayed: u64,
    /// Events in quarantine.
    pub quarantined: u64,
    /// Events that the transform left out.
    pub filtered: u64,
    /// Events that are nowhere.
    pub lost: u64,
    /// Events that Lambda deleted before any function saw them.
    #[serde(default)]
    pub deleted: u64,
    /// Events that were sent by plans without injected duplicates.
    pub events_clean: u64,
    /// Copies beyond the first, of those.
    pub duplicates_own: u64,
    /// Copies beyond the first where the plan makes duplicates.
    pub duplicates_injected: u64,
    /// Execution environments that were killed.
    pub deaths: u64,
    /// Seeds that failed.
    pub failed: u64,
}

impl Tally {
    /// Of one seed.
    #[must_use]
    pub fn of(plan: &Plan, outcome: &Outcome) -> Self {
        let verdict = &outcome.verdict;
        let is_clean = !plan.injects_duplicates();
        let if_clean = |number| if is_clean { number } else { 0 };
        Self {
            seeds: 1,
            events: outcome.events,
            delivered: verdict.delivered,
            dead_lettered: outcome.dead_lettered,
            replayed: outcome.replayed,
            quarantined: verdict.quarantined,
            filtered: verdict.filtered,
            lost: verdict.lost.len() as u64,
            deleted: verdict.deleted,
            events_clean: if_clean(outcome.events),
            duplicates_own: if_clean(verdict.duplicates),
            duplicates_injected: verdict.duplicates - if_clean(verdict.duplicates),
            deaths: outcome.deaths,
            failed: u64::from(!verdict.failures.is_empty()),
        }
    }

    /// Of a seed whose run panicked.
    #[must_use]
    pub fn of_panic() -> Self {
        Self { seeds: 1, failed: 1, ..Self::default() }
    }

    fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        self.delivered += other.delivered;
        self.dead_lettered += other.dead_lettered;
        self.replayed += other.replayed;
        self.quarantined += other.quarantined;
        self.filtered += other.filtered;
        self.lost += other.lost;
        self.deleted += other.deleted;
        self.events_clean += other.events_clean;
        self.duplicates_own += other.duplicates_own;
        self.duplicates_injected += other.duplicates_injected;
        self.deaths += other.deaths;
        self.failed += other.failed;
    }
}

/// The tallies of all seeds by family.
#[derive(Debug, Clone, Default)]
pub struct Table {
    families: BTreeMap<Family, Tally>,
    /// All of them.
    pub whole: Tally,
}

impl Table {
    /// Adds a seed.
    pub fn add(&mut self, family: Family, tally: &Tally) {
        self.families.entry(family).or_default().add(tally);
        self.whole.add(tally);
    }

    /// Whether there are more own duplicates than may be.
    #[must_use]
    pub fn has_too_many_duplicates(&self) -> bool {
        let Tally { events_clean, duplicates_own, .. } = self.whole;
        duplicates_own as f64 > events_clean as f64 * OWN_DUPLICATES_MAX
    }
}

fn rate(part: u64, whole: u64) -> String {
    match (part, whole) {
        (_, 0) => "-".to_owned(),
        (0, _) => "0".to_owned(),
        _ => format!("{:.1e}", part as f64 / whole as f64),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<26}{:>6}{:>11}{:>11}{:>11}{:>11}{:>9}{:>9}{:>6}{:>9}{:>10}{:>10}{:>8}",
            "family",
            "seeds",
            "events",
            "delivered",
            "dead-let.",
            "replayed",
            "quarant.",
            "filtered",
            "lost",
            "deleted",
            "dup. own",
            "dup. inj.",
            "killed"
        )?;
        let rows = self.families.iter().map(|(family, tally)| (family.name(), tally));
        for (name, tally) in rows.chain([("all", &self.whole)]) {
            writeln!(
                out,
                "{name:<26}{:>6}{:>11}{:>11}{:>11}{:>11}{:>9}{:>9}{:>6}{:>9}{:>10}{:>10}{:>8}",
                tally.seeds,
                tally.events,
                tally.delivered,
                tally.dead_lettered,
                tally.replayed,
                tally.quarantined,
                tally.filtered,
                tally.lost,
                tally.deleted,
                rate(tally.duplicates_own, tally.events_clean),
                rate(tally.duplicates_injected, tally.events - tally.events_clean),
                tally.deaths,
            )?;
        }
        let Tally { events, events_clean, duplicates_own, duplicates_injected, .. } = self.whole;
        writeln!(
            out,
            "duplicates: {duplicates_own} of {events_clean} events ({}) where nothing was injected \
             that makes them (at most {OWN_DUPLICATES_MAX:.0e}); {duplicates_injected} of {} ({}) \
             where kills, lost answers, or second deliveries were",
            rate(duplicates_own, events_clean),
            events - events_clean,
            rate(duplicates_injected, events - events_clean),
        )
    }
}
