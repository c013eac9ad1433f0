//! The scaling functions' environment: every bad value named, and none replaced in silence.

use std::collections::BTreeMap;

use sluice::config::EnvReader;
use sluice::scaling::ShardLevelMetrics;
use sluice_autoscaler::ScalingConfig;

fn good() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("STREAM_NAME", "logs"),
        ("SHARD_COUNT_DEFAULT", "2"),
        ("SHARD_COUNT_MIN", "1"),
        ("SHARD_COUNT_MAX", "64"),
        ("TARGET_UTILIZATION", "80"),
        ("UTILIZATION_DOWN_MAX", "60"),
        ("PROCESSOR_BYTES_PER_SECOND", "1000000"),
        ("PROCESSOR_RECORDS_PER_SECOND", "1000"),
        ("CONCURRENCY_PER_SHARD", "1"),
        ("RESHARD_CALLS_MAX", "10"),
        ("RESHARDS_KEPT_FOR_UP", "1"),
        ("RESHARDS_KEPT_FOR_DOWN", "3"),
        ("CALM_MINUTES_PER_CALL", "10"),
        ("DRAIN_SECONDS", "300"),
        ("LAG_SECONDS_MAX", "30"),
        ("LOOK_BACK_MINUTES", "15"),
        ("PROCESSOR_FUNCTIONS", "web=0.75, worker=0.25"),
        ("ALARM_BYTES", "bytes"),
        ("ALARM_RECORDS", "records"),
        ("ALARM_REFUSED", "refused"),
        ("SHARD_LEVEL_METRICS", "false"),
        ("DRY_RUN", "false"),
        ("RESERVE_CONCURRENCY", "true"),
        ("TIMEOUT_SECONDS", "60"),
    ])
}

fn read(variables: &BTreeMap<&str, &str>) -> Result<ScalingConfig, Vec<String>> {
    let lookup = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let mut env = EnvReader::new(&lookup);
    let config = ScalingConfig::read(&mut env);
    env.finish(config).map_err(|error| error.0)
}

#[test]
fn a_good_environment_is_read() {
    let config = read(&good()).expect("nothing is wrong");
    assert_eq!(config.functions, [("web".to_owned(), 0.75), ("worker".to_owned(), 0.25)]);
    assert_eq!(config.policy.target_utilization, 0.8);
    assert_eq!(config.policy.lag_ms_max, 30_000);
    assert_eq!(config.alarms.fast, None);
}

#[test]
fn the_metrics_of_each_shard_are_switched_by_one_of_three() {
    for (value, expected) in [
        ("auto", ShardLevelMetrics::Auto),
        ("true", ShardLevelMetrics::Always),
        ("false", ShardLevelMetrics::Never),
    ] {
        let mut variables = good();
        variables.insert("SHARD_LEVEL_METRICS", value);
        assert_eq!(read(&variables).expect("fine").shard_level_metrics, expected);
    }
}

#[test]
fn no_function_need_follow_and_one_alone_has_it_all() {
    for (value, expected) in [("", vec![]), ("web", vec![("web".to_owned(), 1.0)])] {
        let mut variables = good();
        variables.insert("PROCESSOR_FUNCTIONS", value);
        assert_eq!(read(&variables).expect("fine").functions, expected);
    }
}

#[test]
fn every_missing_variable_is_named_at_once() {
    let problems = read(&BTreeMap::new()).expect_err("everything is missing");
    for name in good().keys().filter(|name| **name != "PROCESSOR_FUNCTIONS") {
        let of_name = problems.iter().filter(|problem| problem.starts_with(&format!("{name} ")));
        assert_eq!(of_name.count(), 1, "{name} in {problems:?}");
    }
}

#[test]
fn a_malformed_variable_is_named_with_its_value() {
    for (name, value) in [
        ("SHARD_COUNT_MAX", "0"),
        ("SHARD_COUNT_MAX", "10001"),
        ("SHARD_COUNT_DEFAULT", "65"),
        ("SHARD_COUNT_DEFAULT", "many"),
        ("TARGET_UTILIZATION", "0.8"),
        ("TARGET_UTILIZATION", "101"),
        ("UTILIZATION_DOWN_MAX", "80"),
        ("PROCESSOR_BYTES_PER_SECOND", "-1"),
        ("PROCESSOR_RECORDS_PER_SECOND", "NaN"),
        ("CONCURRENCY_PER_SHARD", "11"),
        ("DRAIN_SECONDS", "0"),
        ("LOOK_BACK_MINUTES", "4"),
        ("PROCESSOR_FUNCTIONS", "web=0.75,worker=0.5"),
        ("PROCESSOR_FUNCTIONS", "web=0"),
        ("PROCESSOR_FUNCTIONS", "web,"),
        ("SHARD_LEVEL_METRICS", "yes"),
        ("SHARD_LEVEL_METRICS", "Auto"),
        ("DRY_RUN", "yes"),
        ("RESERVE_CONCURRENCY", "yes"),
        ("TIMEOUT_SECONDS", "0"),
        ("TIMEOUT_SECONDS", "901"),
    ] {
        let mut variables = good();
        variables.insert(name, value);
        let problems = read(&variables).expect_err(value);
        assert_eq!(problems.len(), 1, "{name}={value}: {problems:?}");
        let names_it = problems[0].starts_with(&format!("{name} = {value:?}: expected"));
        assert!(names_it, "{problems:?}");
    }
}
