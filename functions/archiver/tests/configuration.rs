//! The archiver's environment: every bad value named, and none replaced in silence.

use std::collections::BTreeMap;

use archiver::Config;
use sluice::config::EnvReader;

fn good() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("DELIVERY_STREAM_NAME", "archive"),
        ("ON_FAILURE_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/on-failure"),
        ("AWS_LAMBDA_FUNCTION_NAME", "archiver"),
    ])
}

fn read(variables: &BTreeMap<&str, &str>) -> Result<Config, Vec<String>> {
    let lookup = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let mut env = EnvReader::new(&lookup);
    let config = Config::read(&mut env);
    env.finish(config).map_err(|error| error.0)
}

#[test]
fn a_good_environment_is_read() {
    let config = read(&good()).expect("nothing is wrong");
    assert_eq!(config.delivery_stream_name, "archive");
    assert_eq!(config.function_name, "archiver");
}

#[test]
fn every_missing_variable_is_named_at_once() {
    let problems = read(&BTreeMap::new()).expect_err("everything is missing");
    assert_eq!(problems.len(), good().len());
    for name in good().keys() {
        assert!(problems.iter().any(|problem| problem.starts_with(name)), "{name}");
    }
}

#[test]
fn every_bad_value_is_named_with_what_it_should_be() {
    let long = "x".repeat(65);
    for (name, value, form) in [
        ("DELIVERY_STREAM_NAME", "arn:aws:firehose:eu-west-1:1:deliverystream/archive", "letters"),
        ("DELIVERY_STREAM_NAME", &*long, "64"),
        ("ON_FAILURE_QUEUE_URL", "on-failure", "https://"),
    ] {
        let mut variables = good();
        variables.insert(name, value);
        let problems = read(&variables).expect_err("a bad value");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains(name) && problems[0].contains(form), "{problems:?}");
        assert!(problems[0].contains(value), "{problems:?}");
    }
}
