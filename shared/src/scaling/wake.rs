//! The events that wake a scaling function.

use aws_smithy_types::date_time::{DateTime, Format};
use serde_json::Value;

use super::{Floor, Wake};
use crate::limits::SHARDS_MAX;

/// A scheduled wake-up that is older than this comes too late to mean its window.
const OFF_PEAK_AGE_MS_MAX: u64 = 15 * 60_000;

/// The event is none that wakes a scaling function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{problem}: expected a CloudWatch alarm, {{\"wake\":\"reconcile\"}}, \
     {{\"wake\":\"off-peak\"}}, {{\"shardCount\":64}} or \
     {{\"wake\":\"floor\",\"shardCount\":64,\"until\":\"2026-11-21T23:00:00Z\"}}"
)]
pub struct UnknownWake {
    /// What is wrong with it.
    pub problem: String,
}

/// A wake-up, and whether it falls within the off-peak window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Woken {
    /// Why the function runs.
    pub wake: Wake,
    /// Whether the off-peak schedule said so, and just now.
    pub off_peak: bool,
}

/// Reads an event.
pub fn parse_wake(event: &str, now_ms: u64) -> Result<Woken, UnknownWake> {
    let bad = |problem: &str| UnknownWake { problem: problem.to_owned() };
    let event: Value = serde_json::from_str(event).map_err(|_| bad("the event is not JSON"))?;
    if let Some(alarm) = event.pointer("/alarmData/alarmName").and_then(Value::as_str) {
        return Ok(Woken { wake: Wake::Alarm(alarm.to_owned()), off_peak: false });
    }
    let shard_count = match event.get("shardCount") {
        None => None,
        Some(count) => {
            let within = |count: &u64| (1..=SHARDS_MAX as u64).contains(count);
            let problem = format!("shardCount is {count}, no whole number from 1 to {SHARDS_MAX}");
            Some(count.as_u64().filter(within).ok_or_else(|| bad(&problem))? as u32)
        }
    };
    let time = |name: &str| match event.get(name) {
        None => Ok(None),
        Some(time) => {
            let time =
                time.as_str().and_then(|text| DateTime::from_str(text, Format::DateTime).ok());
            let epoch_ms = time.and_then(|time| u64::try_from(time.to_millis().ok()?).ok());
            epoch_ms
                .map(Some)
                .ok_or_else(|| bad(&format!("{name} is {}, no time as in RFC 3339", event[name])))
        }
    };
    let mut off_peak = false;
    let wake = match (event.get("wake").and_then(Value::as_str), shard_count) {
        (Some("reconcile"), None) => Wake::Reconcile,
        (Some("off-peak"), None) => {
            let scheduled_ms = time("scheduledTime")?.unwrap_or(now_ms);
            off_peak = now_ms.saturating_sub(scheduled_ms) <= OFF_PEAK_AGE_MS_MAX;
            Wake::OffPeak
        }
        (Some("floor"), Some(shards)) => {
            let minutes = event.get("forMinutes").and_then(Value::as_u64);
            let until_ms = match (time("until")?, minutes) {
                (Some(until_ms), None) => until_ms,
                (None, Some(minutes)) => time("scheduledTime")?
                    .unwrap_or(now_ms)
                    .saturating_add(minutes.saturating_mul(60_000)),
                _ => return Err(bad("a floor needs either until or forMinutes")),
            };
            Wake::Floor(Floor { shards, until_ms })
        }
        (None, Some(shards)) => Wake::Person(shards),
        _ => return Err(bad("the event is of an unknown kind")),
    };
    Ok(Woken { wake, off_peak })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_795_219_200_000;

    fn wake(event: &str) -> Wake {
        parse_wake(event, NOW_MS).expect("a wake-up").wake
    }

    #[test]
    fn each_kind_of_event_is_known() {
        let alarm = r#"{"source":"aws.cloudwatch","alarmData":{"alarmName":"bytes","state":{"value":"ALARM"}}}"#;
        assert_eq!(wake(alarm), Wake::Alarm("bytes".to_owned()));
        assert_eq!(wake(r#"{"wake":"reconcile"}"#), Wake::Reconcile);
        assert_eq!(wake(r#"{"shardCount":64}"#), Wake::Person(64));
        let until_ms = NOW_MS + 3_600_000;
        let floor = Wake::Floor(Floor { shards: 64, until_ms });
        assert_eq!(
            wake(r#"{"wake":"floor","shardCount":64,"until":"2026-11-21T01:00:00Z"}"#),
            floor
        );
        assert_eq!(wake(r#"{"wake":"floor","shardCount":64,"forMinutes":60}"#), floor);
    }

    #[test]
    fn a_plan_without_an_end_in_sight_lasts_as_long_as_time() {
        let event = format!(r#"{{"wake":"floor","shardCount":4,"forMinutes":{}}}"#, u64::MAX);
        assert_eq!(wake(&event), Wake::Floor(Floor { shards: 4, until_ms: u64::MAX }));
    }

    #[test]
    fn an_off_peak_wake_up_that_comes_hours_late_is_outside_the_window() {
        let off_peak = |event: &str| parse_wake(event, NOW_MS).expect("a wake-up").off_peak;
        assert!(off_peak(r#"{"wake":"off-peak"}"#));
        assert!(off_peak(r#"{"wake":"off-peak","scheduledTime":"2026-11-20T23:50:00Z"}"#));
        assert!(!off_peak(r#"{"wake":"off-peak","scheduledTime":"2026-11-20T20:00:00Z"}"#));
    }

    #[test]
    fn anything_else_is_refused_with_what_was_expected() {
        for event in [
            "",
            "{}",
            "7",
            r#"{"wake":"up"}"#,
            r#"{"shardCount":0}"#,
            r#"{"shardCount":"64"}"#,
            r#"{"shardCount":20000}"#,
            r#"{"wake":"floor","shardCount":4}"#,
            r#"{"wake":"floor","shardCount":4,"until":"tonight"}"#,
            r#"{"wake":"floor","until":"2026-11-21T01:00:00Z"}"#,
        ] {
            let error = parse_wake(event, NOW_MS).expect_err(event);
            assert!(error.to_string().contains("expected a CloudWatch alarm"), "{error}");
        }
        for count in ["0", "-1", "20001", "1.5", "\"64\""] {
            let event = format!("{{\"shardCount\":{count}}}");
            let error = parse_wake(&event, NOW_MS).expect_err(&event);
            assert!(error.problem.contains(&format!("shardCount is {count},")), "{error}");
        }
    }
}
