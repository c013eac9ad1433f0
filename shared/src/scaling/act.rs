//! Makes the calls that a decision lists, in order.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::shard_metrics::TAG_SHARD_METRICS;
use super::state::State;
use super::{Act, Decision, ShardMetricsAct};
use crate::limits::RESHARD_WINDOW_SECONDS;
use crate::ports::{ControlError, ControlPlane};

/// A refused reshard call is tried again after an hour: until then shards are split one by one.
const LIMIT_HOLD_SECONDS: u64 = 3_600;

/// Makes the calls of `decision`. Stops at the first that fails, since later ones rely on it; the
/// next wake-up decides anew. Somebody else resharding is no error.
pub async fn act<W: ControlPlane>(
    world: &W,
    decision: &Decision,
    now_ms: u64,
) -> Result<(), ControlError> {
    for act in &decision.acts {
        let Err(error) = make(world, act).await else { continue };
        match (act, error.code.as_str()) {
            (Act::UpdateShardCount(_), "ResourceInUseException") => {
                info!("somebody else is resharding; the next wake-up looks again");
                // The call was refused for certain: it must not count for a day.
                let mut state = saved(decision);
                state.reshards = state.reshards.without_call(now_ms);
                return world.add_tags(&state.to_tags()).await;
            }
            (Act::SplitShard { .. } | Act::MergeShards { .. }, "ResourceInUseException") => {
                info!("somebody else is resharding; the next wake-up looks again");
                return Ok(());
            }
            (Act::UpdateShardCount(_), "LimitExceededException") => {
                warn!("no reshard call is left, whatever the ledger says");
                return world.add_tags(&exhausted(decision, now_ms).to_tags()).await;
            }
            // Fewer processors than shards make data late; stopping here would keep the shards from
            // growing, too.
            (Act::PutConcurrency { .. }, _) if decision.shards_after() >= decision.open_shards => {
                warn!(%error, "the concurrency cannot be raised");
            }
            // Scaling does without them, and the next wake-up tries again.
            (Act::ShardMetrics(_), _) => {
                warn!(%error, "the metrics of each shard cannot be switched");
                return Ok(());
            }
            _ => return Err(error),
        }
    }
    Ok(())
}

async fn make<W: ControlPlane>(world: &W, act: &Act) -> Result<(), ControlError> {
    match act {
        Act::SaveState(state) => world.add_tags(&state.to_tags()).await,
        Act::UpdateShardCount(target) => world.update_shard_count(*target).await,
        Act::SplitShard { shard_id, new_starting_hash_key } => {
            world.split_shard(shard_id, *new_starting_hash_key).await
        }
        Act::MergeShards { shard_id, adjacent_shard_id } => {
            world.merge_shards(shard_id, adjacent_shard_id).await
        }
        Act::PutConcurrency { function, reserved } => {
            world.put_reserved_concurrency(function, *reserved).await
        }
        Act::PutThreshold { alarm, threshold } => {
            world.put_alarm_threshold(alarm, *threshold).await
        }
        Act::Rearm { alarm } => world.rearm_alarm(alarm).await,
        Act::ShardMetrics(ShardMetricsAct::Note(switched)) => {
            let tag = (TAG_SHARD_METRICS.to_owned(), switched.to_tag());
            world.add_tags(&BTreeMap::from([tag])).await
        }
        Act::ShardMetrics(ShardMetricsAct::Enable(metrics)) => {
            world.enable_shard_metrics(metrics).await
        }
        Act::ShardMetrics(ShardMetricsAct::Disable(metrics)) => {
            world.disable_shard_metrics(metrics).await
        }
    }
}

/// The state that the decision saves.
fn saved(decision: &Decision) -> State {
    let saved = decision.acts.iter().find_map(|act| match act {
        Act::SaveState(state) => Some(state.clone()),
        _ => None,
    });
    saved.unwrap_or_default()
}

/// The state with a ledger that is full for the next hour.
fn exhausted(decision: &Decision, now_ms: u64) -> State {
    let mut state = saved(decision);
    let expiring_ms = now_ms.saturating_sub((RESHARD_WINDOW_SECONDS - LIMIT_HOLD_SECONDS) * 1_000);
    for _ in 0..decision.reshards_left {
        state.reshards = state.reshards.with(expiring_ms, now_ms);
    }
    state
}
