//! Makes the calls that a decision lists, in order.

use std::collections::BTreeMap;

use tracing::{info, warn};

use sluice::limits::RESHARD_WINDOW_SECONDS;
use sluice::ports::{ControlError, ControlPlane};
use sluice::scaling::ledger::TAG_RESHARDS;
use sluice::scaling::shard_metrics::TAG_SHARD_METRICS;
use sluice::scaling::state::State;
use sluice::scaling::{Action, Decision, Ledger, ShardMetricsAction};

/// After Kinesis refuses a reshard call for its limit, none is tried for an hour: until then shards
/// are split one by one.
const LIMIT_HOLD_SECONDS: u64 = 3_600;

const BUSY: &str =
    "the stream is being resharded by somebody else; the next invocation decides anew";

/// Makes the calls of `decision`. Stops at the first that fails, since later ones rely on it; the
/// next invocation decides anew. A reshard by somebody else is no error.
pub async fn act<W: ControlPlane>(
    world: &W,
    decision: &Decision,
    now_ms: u64,
) -> Result<(), ControlError> {
    for action in &decision.actions {
        let Err(error) = take(world, action, decision, now_ms).await else { continue };
        match (action, error.code.as_str()) {
            (Action::UpdateShardCount(_), "ResourceInUseException") => {
                info!(action = action.code(), "{BUSY}");
                // Kinesis refused the call, so it must not count for a day. Whoever was quicker has
                // entered a call since.
                let ledger = noted(world).await?.without_call(now_ms);
                return note(world, &ledger).await;
            }
            (Action::SplitShard { .. } | Action::MergeShards { .. }, "ResourceInUseException") => {
                info!(action = action.code(), "{BUSY}");
                return Ok(());
            }
            (Action::UpdateShardCount(_), "LimitExceededException") => {
                warn!(%error, "UpdateShardCount is at its limit although the ledger has calls left");
                let ledger = exhausted(noted(world).await?, decision.reshards_left, now_ms);
                return note(world, &ledger).await;
            }
            // Too few processors make data late; stopping here would keep the shards from growing, too.
            (Action::PutConcurrency { .. } | Action::PutMappingConcurrency { .. }, _)
                if decision.shards_after() >= decision.open_shards =>
            {
                warn!(%error, "concurrency could not be raised; scaling continues");
            }
            // Scaling works without them, and the next invocation tries again.
            (Action::ShardMetrics(_), _) => {
                warn!(%error, "the metrics of each shard cannot be switched");
                return Ok(());
            }
            _ => return Err(error),
        }
    }
    Ok(())
}

/// Makes the call of `action`.
async fn take<W: ControlPlane>(
    world: &W,
    action: &Action,
    decision: &Decision,
    now_ms: u64,
) -> Result<(), ControlError> {
    match action {
        Action::SaveState(state) => save(world, state, decision, now_ms).await,
        Action::UpdateShardCount(target) => world.update_shard_count(*target).await,
        Action::SplitShard { shard_id, new_starting_hash_key } => {
            world.split_shard(shard_id, *new_starting_hash_key).await
        }
        Action::MergeShards { shard_id, adjacent_shard_id } => {
            world.merge_shards(shard_id, adjacent_shard_id).await
        }
        Action::PutConcurrency { function, reserved } => {
            world.put_reserved_concurrency(function, *reserved).await
        }
        Action::PutMappingConcurrency { mapping, maximum, .. } => {
            world.put_mapping_concurrency(mapping, *maximum).await
        }
        Action::PutThreshold { alarm, threshold } => {
            world.put_alarm_threshold(alarm, *threshold).await
        }
        Action::Rearm { alarm } => world.rearm_alarm(alarm).await,
        Action::ShardMetrics(ShardMetricsAction::Note(switched)) => {
            let tag = (TAG_SHARD_METRICS.to_owned(), switched.to_tag());
            world.add_tags(&BTreeMap::from([tag])).await
        }
        Action::ShardMetrics(ShardMetricsAction::Enable(metrics)) => {
            world.enable_shard_metrics(metrics).await
        }
        Action::ShardMetrics(ShardMetricsAction::Disable(metrics)) => {
            world.disable_shard_metrics(metrics).await
        }
    }
}

/// Writes the state that the decision saves, with the ledger as it is now: another invocation may have
/// entered a call since this one looked.
async fn save<W: ControlPlane>(
    world: &W,
    state: &State,
    decision: &Decision,
    now_ms: u64,
) -> Result<(), ControlError> {
    let reshards = match noted(world).await {
        Ok(ledger)
            if decision
                .actions
                .iter()
                .any(|action| matches!(action, Action::UpdateShardCount(_))) =>
        {
            ledger.with_call(now_ms)
        }
        Ok(ledger) => ledger,
        Err(error) => {
            // Growing must not wait for this; what was read is seconds old.
            warn!(%error, "the ledger could not be read again; writing it as it was read first");
            state.reshards.clone()
        }
    };
    world.add_tags(&State { reshards, ..state.clone() }.to_tags()).await
}

/// The ledger as it is now.
async fn noted<W: ControlPlane>(world: &W) -> Result<Ledger, ControlError> {
    Ok(State::from_tags(&world.list_tags().await?).reshards)
}

/// Writes the ledger alone.
async fn note<W: ControlPlane>(world: &W, ledger: &Ledger) -> Result<(), ControlError> {
    world.add_tags(&BTreeMap::from([(TAG_RESHARDS.to_owned(), ledger.to_tag())])).await
}

/// The ledger, full for the next hour: `left` calls more than it has.
fn exhausted(ledger: Ledger, left: u32, now_ms: u64) -> Ledger {
    let expiring_ms = now_ms.saturating_sub((RESHARD_WINDOW_SECONDS - LIMIT_HOLD_SECONDS) * 1_000);
    (0..left).fold(ledger, |ledger, _| ledger.with(expiring_ms, now_ms))
}
