//! What scaling remembers, as tags on the stream: nothing else has to be kept running.

use std::collections::BTreeMap;

use super::Ledger;
use super::ledger::TAG_RESHARDS;
use super::observation::Floor;

/// Where the stream is to arrive, and `ordered` when a person wants it; `0` when it is there.
pub const TAG_GOAL: &str = "sluice/goal";
const ORDERED: &str = "ordered";
/// A plan: shards, and the epoch second until which it is in force; `0` when there is none.
pub const TAG_FLOOR: &str = "sluice/floor";

/// What one invocation leaves for the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Where an earlier wake-up wanted to go and has not arrived.
    pub goal: Option<u32>,
    /// Whether a person wants that goal, and not the load.
    pub is_goal_ordered: bool,
    /// The planned floor, until it ends.
    pub floor: Option<Floor>,
    /// The calls of the last 24 hours.
    pub reshards: Ledger,
}

impl State {
    /// Reads the tags; a missing or damaged one is nothing remembered.
    pub fn from_tags(tags: &BTreeMap<String, String>) -> Self {
        let mut goal_tag =
            tags.get(TAG_GOAL).map(|tag| tag.split_whitespace()).into_iter().flatten();
        let goal = goal_tag.next().and_then(|goal| goal.parse().ok()).filter(|&goal| goal > 0);
        let is_goal_ordered = goal.is_some() && goal_tag.next() == Some(ORDERED);
        let floor = tags.get(TAG_FLOOR).and_then(|tag| {
            let (shards, until) = tag.trim().split_once(' ')?;
            let until_ms = until.trim().parse::<u64>().ok()?.checked_mul(1_000)?;
            Some(Floor { shards: shards.parse().ok()?, until_ms })
        });
        let reshards = tags.get(TAG_RESHARDS).map(|tag| Ledger::parse(tag)).unwrap_or_default();
        Self { goal, is_goal_ordered, floor, reshards }
    }

    /// The tags that hold it.
    pub fn to_tags(&self) -> BTreeMap<String, String> {
        let floor = self.floor.map(|floor| format!("{} {}", floor.shards, floor.until_ms / 1_000));
        let mut goal = self.goal.unwrap_or(0).to_string();
        if self.is_goal_ordered {
            goal = format!("{goal} {ORDERED}");
        }
        let tag = |name: &str, value: String| (name.to_owned(), value);
        BTreeMap::from([
            tag(TAG_GOAL, goal),
            tag(TAG_FLOOR, floor.unwrap_or_else(|| "0".to_owned())),
            tag(TAG_RESHARDS, self.reshards.to_tag()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tags_give_the_state_back() {
        let floor = Floor { shards: 64, until_ms: 1_795_219_200_000 };
        for state in [
            State::default(),
            State {
                goal: Some(8),
                is_goal_ordered: true,
                floor: Some(floor),
                reshards: Ledger::default().with_call(1_795_219_200_000),
            },
            State { goal: Some(8), ..State::default() },
        ] {
            assert_eq!(State::from_tags(&state.to_tags()), state);
        }
    }

    #[test]
    fn damaged_tags_are_nothing_remembered() {
        let damaged = [(TAG_GOAL, "x"), (TAG_FLOOR, "64"), (TAG_RESHARDS, "?")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(State::from_tags(&BTreeMap::from(damaged)), State::default());
    }

    #[test]
    fn tags_hold_only_what_kinesis_allows() {
        let state = State {
            goal: Some(10_000),
            is_goal_ordered: true,
            floor: Some(Floor { shards: 10_000, until_ms: u64::MAX }),
            reshards: Ledger::default().with_call(1_795_219_200_000),
        };
        for (name, value) in state.to_tags() {
            let allowed = |c: char| c.is_alphanumeric() || " _./=+-%@".contains(c);
            assert!(name.chars().chain(value.chars()).all(allowed), "{name} {value}");
        }
    }
}
