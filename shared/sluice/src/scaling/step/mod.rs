//! The second of three values: the one legal step towards the goal, or none.

mod merge;
mod shard_metrics;
mod split;
mod update;

pub(super) use shard_metrics::{Switches, switch};

use super::goal::Goal;
use super::{Action, Blocked, Observation, Policy, StreamStatus};

/// One change of the stream's shards.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Step {
    /// Nothing changes.
    #[default]
    Stay,
    /// UpdateShardCount; it is entered in the ledger.
    Update(u32),
    /// SplitShard, which needs no call of the ledger.
    Split { shard_id: String, new_starting_hash_key: u128 },
    /// MergeShards, which needs none either.
    Merge { shard_id: String, adjacent_shard_id: String },
}

impl Step {
    /// The call to make.
    pub fn action(self) -> Option<Action> {
        match self {
            Self::Stay => None,
            Self::Update(shards) => Some(Action::UpdateShardCount(shards)),
            Self::Split { shard_id, new_starting_hash_key } => {
                Some(Action::SplitShard { shard_id, new_starting_hash_key })
            }
            Self::Merge { shard_id, adjacent_shard_id } => {
                Some(Action::MergeShards { shard_id, adjacent_shard_id })
            }
        }
    }
}

/// The step to take, and what kept a larger one.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Stepped {
    pub step: Step,
    pub blocked: Vec<Blocked>,
}

impl Stepped {
    fn blocked_by(blocked: Blocked) -> Self {
        Self { step: Step::Stay, blocked: vec![blocked] }
    }
}

impl From<Result<Step, Blocked>> for Stepped {
    fn from(step: Result<Step, Blocked>) -> Self {
        step.map_or_else(Self::blocked_by, |step| Self { step, blocked: Vec::new() })
    }
}

/// One step towards `goal`; once the stream is there, whatever evens out its load.
pub(super) fn up(policy: &Policy, seen: &Observation, goal: &Goal) -> Stepped {
    if seen.status != StreamStatus::Active {
        return Stepped::blocked_by(Blocked::Resharding(seen.status));
    }
    if goal.shards != seen.open_shards {
        return towards(policy, seen, goal);
    }
    if seen.is_refusing() {
        return split::relieve_hot_shard(policy, seen).into();
    }
    Ok(merge::idle_pair(policy, seen)).into()
}

/// Scale-down's step: the goal's gates have looked at everything already.
pub(super) fn down(policy: &Policy, seen: &Observation, goal: &Goal) -> Stepped {
    if goal.blocked.is_some() { Stepped::default() } else { towards(policy, seen, goal) }
}

/// UpdateShardCount. Where no call is left, the way up goes on shard by shard.
fn towards(policy: &Policy, seen: &Observation, goal: &Goal) -> Stepped {
    match update::towards(policy, seen, goal) {
        Err(Blocked::CallsGone) if goal.shards > seen.open_shards => {
            let mut split = Stepped::from(split::hottest(policy, seen));
            split.blocked.insert(0, Blocked::CallsGone);
            split
        }
        step => step.into(),
    }
}
