//! One name, one unit: what-if's parameters are those of the stacks.

use std::collections::BTreeSet;

use serde_yaml_ng::Value;
use sluice_cli::what_if::policies::sluice::{Parameters, SETTABLE};

const SHARDS_MAX: u32 = 64;

/// The parameters of both templates.
fn stack(name: &str) -> Value {
    for template in ["autoscaling", "log-processing"] {
        let path = format!("{}/../infra/{template}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("a template");
        let template: Value = serde_yaml_ng::from_str(&text).expect("YAML");
        if let Some(parameter) = template["Parameters"].get(name) {
            return parameter.clone();
        }
    }
    panic!("no stack has a parameter {name}");
}

fn defaults() -> Parameters {
    Parameters::of_template(SHARDS_MAX)
}

fn try_set(name: &str, value: &str) -> Result<Parameters, String> {
    let mut parameters = defaults();
    parameters.set(name, value).map_err(|error| error.to_string())?;
    Ok(parameters)
}

#[test]
fn names_ranges_and_defaults_are_those_of_the_stacks() {
    for name in SETTABLE {
        let parameter = stack(name);
        let kebab: String = name
            .char_indices()
            .map(|(at, c)| {
                let dash = if at > 0 && c.is_uppercase() { "-" } else { "" };
                format!("{dash}{}", c.to_lowercase())
            })
            .collect();
        assert_eq!(Parameters::known_name(&kebab), Ok(name));
        let default = match &parameter["Default"] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            other => panic!("{name}: {other:?}"),
        };
        let mut wanted = defaults();
        if name == "ShardCountMax" {
            // The maximum must not decide the comparison: it follows the traffic.
            wanted.policy.shard_count_max = default.parse().expect("a number");
        }
        assert_eq!(try_set(name, &default), Ok(wanted), "{name}");
        if parameter["Type"].as_str() != Some("Number") {
            continue;
        }
        let (Some(least), Some(most)) =
            (parameter["MinValue"].as_i64(), parameter["MaxValue"].as_i64())
        else {
            panic!("{name} has no range")
        };
        for inside in [least, most] {
            assert!(try_set(name, &inside.to_string()).is_ok(), "{name}={inside}");
        }
        for outside in [least - 1, most + 1] {
            let error = try_set(name, &outside.to_string()).expect_err("outside");
            assert!(error.contains(&format!("it may be {least} to {most}")), "{error}");
        }
    }
    assert_eq!(SETTABLE.iter().collect::<BTreeSet<_>>().len(), SETTABLE.len());
}

#[test]
fn percentages_are_written_as_for_the_stack() {
    let policy = try_set("TargetUtilization", "72.5").expect("percent").policy;
    assert_eq!(policy.target_utilization, 0.725);
    let policy = try_set("utilization-down-max", "1").expect("one percent").policy;
    assert_eq!(policy.utilization_down_max, 0.01);
    for (name, fraction, percent) in [
        ("target-utilization", "0.8", "80"),
        ("TargetUtilization", "1", "100"),
        ("UtilizationDownMax", "0.65", "65"),
    ] {
        let error = try_set(name, fraction).expect_err("a fraction");
        assert!(
            error.ends_with(&format!("it is in percent, as in the stack; write {percent}")),
            "{error}"
        );
    }
}

#[test]
fn every_parameter_reaches_what_it_is_called_after() {
    let set = |name, value| try_set(name, value).expect(name);
    assert_eq!(set("DrainSeconds", "77").policy.drain_seconds, 77.0);
    assert_eq!(set("LagSecondsMax", "77").policy.lag_ms_max, 77_000);
    assert_eq!(set("LookBackMinutes", "77").policy.look_back_minutes, 77);
    assert_eq!(set("CalmMinutesPerCall", "77").policy.calm_minutes_per_call, 77);
    assert_eq!(set("ReshardCallsMax", "77").policy.reshard_calls_max, 77);
    assert_eq!(set("ReshardsKeptForUp", "77").policy.reshards_kept_for_up, 77);
    assert_eq!(set("ReshardsKeptForDown", "77").policy.reshards_kept_for_down, 77);
    assert_eq!(set("ShardCountDefault", "77").policy.shard_count_default, 77);
    assert_eq!(set("ShardCountMin", "77").policy.shard_count_min, 77);
    assert_eq!(set("ShardCountMax", "77").policy.shard_count_max, 77);
    assert_eq!(set("RecordBytesTarget", "7777").record_bytes, 7_777.0);
    assert!(set("FastAlarm", "true").fast_alarm);
    assert_eq!(set("OffPeakSchedule", "cron(0/10 1-4 * * ? *)").off_peak_hours, (1, 5));
    assert_eq!(set("OffPeakSchedule", "").off_peak_hours, (0, 0));
}
