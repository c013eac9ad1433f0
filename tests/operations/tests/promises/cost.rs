//! What the metrics cost.

use std::collections::BTreeSet;

use sluice::limits::{METRIC_MONTH_DOLLARS, SHARD_BYTES_PER_SECOND};
use sluice::ports::Clock;
use sluice_cloud::cloudwatch::MetricName;

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
    // What docs/decisions.md says.
    assert_eq!((billed.len(), format!("{dollars:.2}")), (38, "11.40".to_owned()));
}
