//! What the metrics cost.

use std::collections::BTreeSet;

use sluice::limits::{METRIC_MONTH_DOLLARS, SHARD_BYTES_PER_SECOND};
use sluice::ports::Clock;
use sluice_simulated::cloudwatch::MetricName;

use crate::world::{World, event, everything_printed};

const MEGABYTES_PER_SECOND: u64 = 100;
const METRICS_MAX: usize = 100;
const DOLLARS_A_MONTH_MAX: f64 = 40.0;

/// Metrics are billed by name and dimensions and not by what is put into them, so a day is played with
/// few events in each minute: of all ages, in the full size of the stream.
#[tokio::test(start_paused = true)]
async fn a_day_of_a_stream_of_100_megabytes_a_second_stays_within_100_metrics_and_40_dollars() {
    let shards = (MEGABYTES_PER_SECOND * 1_000_000 / SHARD_BYTES_PER_SECOND) as usize;
    let mut world = World::new(shards);
    everything_printed(&mut world).await;
    let mut billed: BTreeSet<MetricName> = BTreeSet::new();
    for minute in 0..24 * 60 {
        let deadline_ms = world.clock().epoch_ms() + 60_000;
        let ages = [0, 1, 60, 24 * 60];
        let log_events: Vec<(i64, String)> =
            ages.iter().map(|age| ((minute - age) * 60_000, format!("{minute}"))).collect();
        let mut processor = world.processor();
        processor.handle(&event(&log_events), deadline_ms).await.expect("delivered");
        drop(processor);
        world.scale_up(r#"{"wake":"reconcile"}"#).await;
        world.sleep_to_next_minute().await;
    }
    billed.extend(world.own_metrics());
    let dollars = billed.len() as f64 * METRIC_MONTH_DOLLARS;
    assert!(billed.len() <= METRICS_MAX, "{} metrics", billed.len());
    assert!(dollars <= DOLLARS_A_MONTH_MAX, "${dollars}");
    // What docs/decisions/metrics.md says.
    assert_eq!((billed.len(), format!("{dollars:.2}")), (39, "11.70".to_owned()));
}

/// A person sees what a wake-up would do before it does it, and only that one.
#[tokio::test(start_paused = true)]
async fn a_dry_run_of_one_wake_up_prints_the_decision_and_changes_nothing() {
    let world = World::new(2);
    let before = world.cloud.stream.tags();
    for event in [
        r#"{"shardCount":4,"dryRun":true}"#,
        r#"{"wake":"floor","shardCount":4,"forMinutes":60,"dryRun":true}"#,
    ] {
        world.scale_up(event).await;
        assert_eq!(world.cloud.stream.open_shards(), 2, "{event}");
        assert_eq!(world.cloud.stream.tags(), before, "{event}");
    }
    let goals = || world.own_metrics().iter().filter(|name| name.name == "GoalShards").count();
    assert_eq!(goals(), 1, "it reports");
    world.scale_up(r#"{"shardCount":4}"#).await;
    assert_ne!(world.cloud.stream.tags(), before);
}
