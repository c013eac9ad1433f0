//! What the metrics of each shard cost: switched on for a hot shard, beside always on.

use simulator::scenario::{At, Fault, How, load, parse};
use simulator::{Options, Outcome, run};

/// A stream of a hundred shards of which one is hot for twenty minutes, over a day.
fn day(shard_level_metrics: &str) -> Outcome {
    let text = format!(
        r#"
            why = "The cost of the metrics of each shard."
            hours = 24
            traffic.megabytes_per_second = [["00:00", 60.0]]
            traffic.hot_key = {{ from = "01:00", until = "01:20", share = 0.01, place = 0.302 }}
            policy = {{ shard_count_default = 100, shard_count_max = 200 }}
            world.shard_level_metrics = "{shard_level_metrics}"
            world.off_peak = {{ from = "25:00", until = "25:00" }}
            accepts = {{ shards_max = [100, 101], calls = [0, 0], lag_seconds_max = 60 }}
        "#
    );
    let scenario = parse("a-hundred-shards", &text).expect("a scenario");
    run(&scenario, &Options { seed: 1, ..Options::default() })
}

/// The figures are those of docs/decisions/scaling.md.
#[test]
fn a_hot_shard_of_a_hundred_costs_an_hour_or_two_of_three_metrics_and_not_a_day_of_seven() {
    let (auto, always) = (day("auto"), day("true"));
    assert_eq!((auto.splits, always.splits), (1, 1), "{}", auto.text);
    let dollars = |outcome: &Outcome| format!("{:.2}", outcome.shard_metrics_dollars);
    assert_eq!((dollars(&auto), dollars(&always)), ("0.25".to_owned(), "6.97".to_owned()));
}

/// Without the permission nobody knows the hot shard; everything else goes on.
#[test]
fn a_switch_that_is_refused_fails_no_wake_up_and_is_tried_every_five_minutes() {
    let mut scenario = load("hot-shard-auto").expect("a scenario");
    scenario.faults.push(Fault {
        from: At(0),
        until: At(u64::MAX),
        call: Some("EnableEnhancedMonitoring".to_owned()),
        probability: 1.0,
        times: None,
        how: How::Error("AccessDeniedException".to_owned()),
    });
    let outcome = run(&scenario, &Options { seed: 1, ..Options::default() });
    assert!(!outcome.text.contains("failed:"), "{}", outcome.text);
    let tries = outcome.text.matches("EnableEnhancedMonitoring").count();
    // The shard is hot for two hours.
    assert!((2..=120 / 5 + 1).contains(&tries), "{tries} tries");
    assert_eq!(outcome.splits, 0);
    assert!(!outcome.text.contains("VIOLATION"), "{}", outcome.text);
}
