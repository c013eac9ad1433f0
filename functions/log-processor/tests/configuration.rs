//! The environment: every bad value named, and none replaced in silence.

use std::collections::BTreeMap;

use log_processor::config::TransformName;
use log_processor::{Config, Role};
use sluice::config::EnvReader;
use sluice::records::{PartitionBy, RecordFormat};
use sluice_aws::Connection;

fn good() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("STREAM_NAME", "logs"),
        ("DEAD_LETTER_QUEUE_URL", "https://sqs.example/queue"),
        ("TRANSFORM", "envelope"),
        ("RECORD_FORMAT", "kpl"),
        ("RECORD_BYTES_TARGET", "24900"),
        ("MAX_RECORD_KIB", "1024"),
        ("PARTITION_BY", "even"),
        ("CONCURRENCY_PER_SHARD", "1"),
        ("PUT_ATTEMPTS_MAX", "10"),
        ("AWS_LAMBDA_FUNCTION_NAME", "log-processor"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ])
}

fn read(variables: &BTreeMap<&str, &str>) -> Result<Config, Vec<String>> {
    let lookup = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let mut env = EnvReader::new(&lookup);
    let (config, connection) = (Config::read(&mut env), Connection::read(&mut env));
    let both = env.finish(config.zip(connection)).map_err(|error| error.0)?;
    Ok(both.0)
}

#[test]
fn a_good_environment_is_read() {
    let config = read(&good()).expect("nothing is wrong");
    assert_eq!(config.stream_name, "logs");
    assert_eq!(config.transform, TransformName::Envelope);
    assert_eq!(config.record_format, RecordFormat::Kpl);
    assert_eq!(config.record_bytes_target, 24_900);
    assert_eq!(config.record_bytes_max, 1_048_576);
    assert_eq!(config.partition_by, PartitionBy::Even);
}

#[test]
fn a_queue_to_forward_to_makes_it_a_forwarder_that_needs_nothing_else() {
    let role = |url: Option<&str>, variables: &BTreeMap<&str, &str>| {
        let lookup = |name: &str| match name {
            "FORWARD_QUEUE_URL" => url.map(str::to_owned),
            name => variables.get(name).map(|value| (*value).to_owned()),
        };
        let mut env = EnvReader::new(&lookup);
        let role = Role::read(&mut env);
        env.finish(role).map_err(|error| error.0)
    };
    let forwarder = role(Some("https://sqs.example/buffer"), &BTreeMap::new());
    assert!(
        matches!(forwarder, Ok(Role::Forwarder { queue_url }) if queue_url.ends_with("/buffer"))
    );
    assert!(matches!(role(None, &good()), Ok(Role::Processor(_))));
    let problems = role(Some("buffer"), &good()).expect_err("no URL");
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("FORWARD_QUEUE_URL = \"buffer\": "), "{problems:?}");
}

#[test]
fn the_queue_may_be_left_out() {
    for value in [None, Some(""), Some(" ")] {
        let mut variables = good();
        variables.remove("DEAD_LETTER_QUEUE_URL");
        variables.extend(value.map(|value| ("DEAD_LETTER_QUEUE_URL", value)));
        assert_eq!(read(&variables).expect("fine").dead_letter_queue_url, None);
    }
}

#[test]
fn every_missing_variable_is_named_at_once() {
    let problems = read(&BTreeMap::new()).expect_err("everything is missing");
    for name in good().keys().filter(|name| **name != "DEAD_LETTER_QUEUE_URL") {
        let of_name = problems.iter().filter(|problem| problem.starts_with(&format!("{name} ")));
        assert_eq!(of_name.count(), 1, "{name} in {problems:?}");
    }
}

#[test]
fn a_malformed_variable_is_named_with_its_value_and_the_form_it_needs() {
    for (name, value, form) in [
        ("TRANSFORM", "vrl?", "passthrough or envelope"),
        ("RECORD_FORMAT", "KPL", "single, kpl or gzip"),
        ("RECORD_BYTES_TARGET", "25 KB", "bytes, 1024 to 1048576"),
        ("RECORD_BYTES_TARGET", "1023", "bytes, 1024 to 1048576"),
        ("RECORD_BYTES_TARGET", "1048577", "bytes, 1024 to 1048576"),
        ("MAX_RECORD_KIB", "1023", "KiB, 1024 to 10240"),
        ("MAX_RECORD_KIB", "10241", "KiB, 1024 to 10240"),
        ("MAX_RECORD_KIB", "1 MB", "KiB, 1024 to 10240"),
        ("PARTITION_BY", "stream", "even or log-stream"),
        ("CONCURRENCY_PER_SHARD", "0", "a number, 1 to 10"),
        ("CONCURRENCY_PER_SHARD", "11", "a number, 1 to 10"),
        ("CONCURRENCY_PER_SHARD", "1.5", "a number, 1 to 10"),
        ("PUT_ATTEMPTS_MAX", "-1", "a number, 1 to 100"),
        ("DEAD_LETTER_QUEUE_URL", "my-queue", "an SQS queue URL"),
        ("AWS_ENDPOINT_URL", "localhost:4566", "a URL beginning with http:// or https://"),
        ("AWS_ENDPOINT_URL_KINESIS", "x", "a URL beginning with http:// or https://"),
    ] {
        let mut variables = good();
        variables.insert(name, value);
        let problems = read(&variables).expect_err("one thing is wrong");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&format!("{name} = {value:?}: ")), "{problems:?}");
        assert!(problems[0].contains(form), "{problems:?}");
    }
}
