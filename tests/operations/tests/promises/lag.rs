//! What the path adds keeps the shards; what the events' own timestamps say does not.

use serde_json::{Value, json};
use sluice::ports::Clock;
use sluice_simulated::Fault;
use sluice_simulated::cloudwatch::{MINUTE_MS, MetricName};

use crate::world::{PROCESSOR, World, event};

const HOUR_MS: i64 = 3_600_000;

/// Open shards after scale-down has looked at a stream of eight, five minutes into the night, in
/// which an invocation a minute brought `event`. A silent stream answers no call.
async fn shards_after(event: &str, is_silent: bool, queue_age_ms: f64) -> u32 {
    let mut world = World::new(8);
    world.cloud.stream.set_faults(move |_| if is_silent { Fault::Hang } else { Fault::None });
    for _ in 0..5 {
        let now_ms = world.clock().epoch_ms();
        let metric = MetricName::new("AWS/Lambda", "AsyncEventAge", &[("FunctionName", PROCESSOR)]);
        world.cloud.metrics.borrow_mut().publish(&metric, now_ms, queue_age_ms, now_ms + MINUTE_MS);
        world.processor().handle(event, now_ms + 58_000).await.expect("delivered or handed over");
        world.next_minute().await;
    }
    world.scale_down(r#"{"wake":"off-peak"}"#).await;
    for _ in 0..5 {
        world.next_minute().await;
    }
    world.cloud.stream.open_shards()
}

fn aged(ms: i64) -> String {
    event(&[(-ms, "one"), (-ms, "two")])
}

/// `event` as the replayer sends it.
fn replayed(event: &str) -> String {
    let mut event: Value = serde_json::from_str(event).expect("JSON");
    event["sluiceReplay"] = json!({"attempt": 1, "isLast": false, "deadLetteredMs": 1});
    event.to_string()
}

#[tokio::test(start_paused = true)]
async fn events_that_are_old_when_they_come_keep_no_shards() {
    for ms in [0, HOUR_MS / 6, 30 * HOUR_MS] {
        assert_eq!(shards_after(&aged(ms), false, 40.0).await, 4, "{ms} ms old");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_whose_clock_is_ahead_keeps_no_shards_and_hides_no_delay() {
    assert_eq!(shards_after(&aged(-HOUR_MS), false, 40.0).await, 4);
    assert_eq!(shards_after(&aged(-HOUR_MS), false, 31_000.0).await, 8);
    assert_eq!(shards_after(&aged(-HOUR_MS), true, 40.0).await, 8);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_old_and_a_path_that_is_slow_keep_the_shards() {
    assert_eq!(shards_after(&aged(0), false, 31_000.0).await, 8);
    assert_eq!(shards_after(&aged(0), true, 40.0).await, 8);
}

#[tokio::test(start_paused = true)]
async fn a_replay_at_night_keeps_no_shards_however_old_and_slow_it_is() {
    let event = replayed(&aged(20 * HOUR_MS));
    assert_eq!(shards_after(&event, false, 40.0).await, 4);
    assert_eq!(shards_after(&event, true, 40.0).await, 4);
}
