//! The events that invoke a scaling function. The schedules of `infra/autoscaling.yaml` send our own
//! JSON, not EventBridge's envelope.

use serde_json::{Map, Value};

use sluice::limits::SHARDS_MAX;
use sluice::scaling::{Floor, Trigger};
use sluice::{quote, time};

/// A scheduled off-peak event older than this was meant for another window.
const OFF_PEAK_AGE_MS_MAX: u64 = 15 * 60_000;
/// What EventBridge puts around an event. (EventBridge user guide, event structure; Nov 2026)
const ENVELOPE: [&str; 9] =
    ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"];
/// The members of our own events.
const OURS: [&str; 6] = ["wake", "shardCount", "until", "forMinutes", "scheduledTime", "dryRun"];

/// The event is not one that a scaling function knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{problem}: expected a CloudWatch alarm, {{\"wake\":\"reconcile\"}}, \
     {{\"wake\":\"off-peak\"}}, {{\"shardCount\":64}} or \
     {{\"wake\":\"floor\",\"shardCount\":64,\"until\":\"2026-11-21T23:00:00Z\"}}; \
     add \"dryRun\":true to decide and report without changing anything"
)]
pub struct UnknownEvent {
    /// What is wrong with it.
    pub problem: String,
}

fn unknown(problem: impl Into<String>) -> UnknownEvent {
    UnknownEvent { problem: problem.into() }
}

/// An event and how it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Why the function runs.
    pub trigger: Trigger,
    /// Whether the off-peak schedule sent it, and just now.
    pub off_peak: bool,
    /// Whether to decide and report, and change nothing.
    pub dry_run: bool,
}

impl Event {
    /// Reads an event. AWS may add to its own events as it likes. In ours an unknown member is
    /// refused: who misspells `dryRun` does not want the shards changed.
    pub fn parse(event: &str, now_ms: u64) -> Result<Self, UnknownEvent> {
        let event: Value =
            serde_json::from_str(event).map_err(|_| unknown("the event is not JSON"))?;
        let Value::Object(mut event) = event else {
            return Err(unknown("the event is not an object"));
        };
        let dry_run = dry_run(&event)?;
        if let Some(alarm) = alarm_name(&event) {
            only_aws_members(&event)?;
            return Ok(Self { trigger: Trigger::Alarm(alarm), off_peak: false, dry_run });
        }
        if event.contains_key("detail-type") {
            event.retain(|name, _| !ENVELOPE.contains(&name.as_str()));
        }
        only_known_members(&event)?;
        let scheduled_ms = instant(&event, "scheduledTime")?;
        let mut off_peak = false;
        let trigger = match event.get("wake").and_then(Value::as_str) {
            Some("reconcile") => Trigger::Reconcile,
            Some("off-peak") => {
                // Whoever invokes it by hand gives no time.
                let scheduled_ms = scheduled_ms.unwrap_or(now_ms);
                off_peak = now_ms.saturating_sub(scheduled_ms) <= OFF_PEAK_AGE_MS_MAX;
                Trigger::OffPeak
            }
            Some(_) => Trigger::Floor(floor(&event, scheduled_ms.unwrap_or(now_ms))?),
            None => Trigger::Manual(shard_count(&event)?),
        };
        Ok(Self { trigger, off_peak, dry_run })
    }
}

/// The alarm's name in the event of an alarm action, or of an EventBridge rule.
///
/// Not by the types of `aws_lambda_events`: they demand a time, a configuration and a reason, and
/// of the configuration what only some kinds of alarm have. An alarm must get through whatever it
/// says beside its name.
fn alarm_name(event: &Map<String, Value>) -> Option<String> {
    let name = |member: &str| event.get(member)?.get("alarmName")?.as_str();
    name("alarmData").or_else(|| name("detail")).map(str::to_owned)
}

/// Refuses an alarm with members that look like ours: whoever added them meant something by them.
fn only_aws_members(event: &Map<String, Value>) -> Result<(), UnknownEvent> {
    let is_ours = |name: &str| OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name));
    match event.keys().find(|name| *name != "dryRun" && is_ours(name)) {
        Some(name) => Err(unknown(format!("{} is not a member of an alarm's event", quote(name)))),
        None => Ok(()),
    }
}

/// Refuses members that this kind of event does not have.
fn only_known_members(event: &Map<String, Value>) -> Result<(), UnknownEvent> {
    let known: &[&str] = match event.get("wake").map(Value::as_str) {
        None => &["shardCount"],
        Some(Some("reconcile" | "off-peak")) => &["scheduledTime"],
        Some(Some("floor")) => &["shardCount", "until", "forMinutes", "scheduledTime"],
        Some(_) => return Err(unknown(format!("wake is {}", brief(&event["wake"])))),
    };
    let is_known = |name: &str| ["wake", "dryRun"].contains(&name) || known.contains(&name);
    match event.keys().find(|name| !is_known(name)) {
        Some(name) => Err(unknown(format!("{} is not a member of this event", quote(name)))),
        None => Ok(()),
    }
}

fn dry_run(event: &Map<String, Value>) -> Result<bool, UnknownEvent> {
    match event.get("dryRun") {
        None => Ok(false),
        Some(Value::Bool(dry_run)) => Ok(*dry_run),
        Some(other) => Err(unknown(format!("dryRun is {}, not true or false", brief(other)))),
    }
}

fn instant(event: &Map<String, Value>, name: &str) -> Result<Option<u64>, UnknownEvent> {
    let read = event.get(name).map(time::read_json_instant).transpose();
    read.map_err(|error| unknown(format!("{name}: {error}")))
}

fn floor(event: &Map<String, Value>, from_ms: u64) -> Result<Floor, UnknownEvent> {
    let shards = shard_count(event)?;
    let until_ms = match (instant(event, "until")?, event.get("forMinutes")) {
        (Some(until_ms), None) => until_ms,
        (None, Some(minutes)) => {
            let minutes = minutes.as_u64().ok_or_else(|| {
                unknown(format!("forMinutes is {}, not a whole number", brief(minutes)))
            })?;
            from_ms.saturating_add(minutes.saturating_mul(60_000))
        }
        _ => return Err(unknown("a floor needs either until or forMinutes")),
    };
    Ok(Floor { shards, until_ms })
}

fn shard_count(event: &Map<String, Value>) -> Result<u32, UnknownEvent> {
    let count = event.get("shardCount").ok_or_else(|| unknown("shardCount is missing"))?;
    let count_u32 = count.as_u64().and_then(|count| u32::try_from(count).ok());
    count_u32.filter(|&count| (1..=SHARDS_MAX as u32).contains(&count)).ok_or_else(|| {
        let count = brief(count);
        unknown(format!("shardCount is {count}, not a whole number from 1 to {SHARDS_MAX}"))
    })
}

/// A value as it stands in the event, unless it is long.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 80 { text } else { quote(&text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_795_219_200_000;

    fn trigger(event: &str) -> Trigger {
        Event::parse(event, NOW_MS).expect("a trigger").trigger
    }

    #[test]
    fn each_kind_of_event_is_known() {
        let alarm = r#"{"source":"aws.cloudwatch","alarmData":{"alarmName":"bytes","state":{"value":"ALARM"}}}"#;
        assert_eq!(trigger(alarm), Trigger::Alarm("bytes".to_owned()));
        assert_eq!(trigger(r#"{"wake":"reconcile"}"#), Trigger::Reconcile);
        assert_eq!(trigger(r#"{"shardCount":64}"#), Trigger::Manual(64));
        let until_ms = NOW_MS + 3_600_000;
        let floor = Trigger::Floor(Floor { shards: 64, until_ms });
        assert_eq!(
            trigger(r#"{"wake":"floor","shardCount":64,"until":"2026-11-21T01:00:00Z"}"#),
            floor
        );
        assert_eq!(trigger(r#"{"wake":"floor","shardCount":64,"forMinutes":60}"#), floor);
    }

    /// What CloudWatch sends differs by the kind of alarm; only the name counts.
    #[test]
    fn alarms_of_every_kind_wake() {
        let configurations = [
            r#"{"metrics":[{"id":"m","metricStat":{"metric":{"namespace":"AWS/Kinesis","name":"IncomingBytes"},"period":60,"stat":"Sum"},"returnData":true}]}"#,
            r#"{"metrics":[{"id":"e","expression":"a/b","label":"share","returnData":true},{"id":"a"}]}"#,
            r#"{"metrics":[{"id":"band","expression":"ANOMALY_DETECTION_BAND(m, 2)"}],"thresholdMetricId":"band"}"#,
            r#"{"alarmRule":"ALARM(a) OR ALARM(b)","actionsSuppressor":"quiet"}"#,
            r#"{"metrics":[{"id":"q","expression":"SELECT SUM(IncomingBytes) FROM SCHEMA(\"AWS/Kinesis\")"}]}"#,
        ];
        for configuration in configurations {
            let event = format!(
                r#"{{"source":"aws.cloudwatch","alarmArn":"arn:aws:cloudwatch:eu-west-1:111122223333:alarm:bytes","accountId":"111122223333","time":"2026-11-21T08:00:00.000+0000","region":"eu-west-1","alarmData":{{"alarmName":"bytes","state":{{"value":"ALARM","reason":"r"}},"previousState":{{"value":"OK"}},"configuration":{configuration}}}}}"#
            );
            assert_eq!(trigger(&event), Trigger::Alarm("bytes".to_owned()), "{configuration}");
        }
    }

    #[test]
    fn a_plan_without_an_end_in_sight_lasts_as_long_as_time() {
        let event = format!(r#"{{"wake":"floor","shardCount":4,"forMinutes":{}}}"#, u64::MAX);
        assert_eq!(trigger(&event), Trigger::Floor(Floor { shards: 4, until_ms: u64::MAX }));
    }

    #[test]
    fn an_off_peak_wake_up_that_comes_hours_late_is_outside_the_window() {
        let off_peak = |event: &str| Event::parse(event, NOW_MS).expect("a wake-up").off_peak;
        assert!(off_peak(r#"{"wake":"off-peak"}"#));
        assert!(off_peak(r#"{"wake":"off-peak","scheduledTime":"2026-11-20T23:50:00Z"}"#));
        assert!(!off_peak(r#"{"wake":"off-peak","scheduledTime":"2026-11-20T20:00:00Z"}"#));
    }

    #[test]
    fn a_time_is_read_however_aws_writes_it() {
        let ms = NOW_MS + 3_600_000;
        for until in [
            r#""2026-11-21T02:00:00+01:00""#,
            r#""2026-11-21T01:00:00+00:00""#,
            r#""2026-11-21T01:00:00.000+0000""#,
            r#""20261121T010000Z""#,
            "1795222800",
            "1.7952228E9",
            "1795222800000",
        ] {
            let event = format!(r#"{{"wake":"floor","shardCount":64,"until":{until}}}"#);
            assert_eq!(
                trigger(&event),
                Trigger::Floor(Floor { shards: 64, until_ms: ms }),
                "{until}"
            );
        }
    }

    #[test]
    fn what_is_no_time_is_refused_and_never_taken_for_now() {
        for (member, named) in [
            (r#""until":"2026-11-21T01:00:00""#, "until: \"2026-11-21T01:00:00\" has no time zone"),
            (r#""until":"tonight""#, "until: \"tonight\" is not a time"),
            (r#""until":null"#, "until: null is not a time"),
            (r#""until":"""#, "until: \"\" is not a time"),
            (r#""until":1e300"#, "until: 1e+300 is outside"),
            (r#""forMinutes":60,"scheduledTime":null"#, "scheduledTime: null is not"),
            (
                r#""forMinutes":60,"scheduledTime":"<aws.scheduler.scheduled-time>""#,
                "scheduledTime: \"<aws",
            ),
            (r#""forMinutes":"60""#, "forMinutes is \"60\""),
            (r#""forMinutes":1.5"#, "forMinutes is 1.5"),
        ] {
            let event = format!(r#"{{"wake":"floor","shardCount":64,{member}}}"#);
            let error = Event::parse(&event, NOW_MS).expect_err(&event);
            assert!(error.problem.contains(named), "{error}");
        }
        let off_peak = r#"{"wake":"off-peak","scheduledTime":"yesterday"}"#;
        assert!(Event::parse(off_peak, NOW_MS).is_err());
    }

    #[test]
    fn a_member_that_nobody_knows_is_refused_by_name() {
        for (event, named) in [
            (r#"{"shardCount":64,"dryrun":true}"#, "dryrun"),
            (r#"{"shardCount":64,"DryRun":true}"#, "DryRun"),
            (r#"{"shardCount":64,"until":"2026-11-21T01:00:00Z"}"#, "until"),
            (r#"{"wake":"reconcile","shardCount":64}"#, "shardCount"),
            (r#"{"wake":"off-peak","force":true}"#, "force"),
            (r#"{"wake":"floor","shardCount":4,"forMinutes":60,"minutes":5}"#, "minutes"),
            (r#"{"shardCount":64,"detail":{}}"#, "detail"),
        ] {
            let error = Event::parse(event, NOW_MS).expect_err(event);
            let expected = format!("{named:?} is not a member of this event");
            assert_eq!(error.problem, expected, "{event}");
        }
        let long = format!(r#"{{"shardCount":64,"{}":1}}"#, "x".repeat(100_000));
        assert!(Event::parse(&long, NOW_MS).expect_err("long").to_string().len() < 600);
        let long = format!(r#"{{"shardCount":"{}"}}"#, "x".repeat(100_000));
        assert!(Event::parse(&long, NOW_MS).expect_err("long").to_string().len() < 600);
    }

    #[test]
    fn one_wake_up_may_be_a_dry_run() {
        let dry_run = |event: &str| Event::parse(event, NOW_MS).expect(event).dry_run;
        for event in [
            r#"{"shardCount":64,"dryRun":true}"#,
            r#"{"wake":"reconcile","dryRun":true}"#,
            r#"{"wake":"off-peak","dryRun":true}"#,
            r#"{"wake":"floor","shardCount":64,"forMinutes":60,"dryRun":true}"#,
            r#"{"alarmData":{"alarmName":"bytes"},"dryRun":true}"#,
        ] {
            assert!(dry_run(event), "{event}");
            assert!(!dry_run(&event.replace("true", "false")), "{event}");
        }
        for value in ["\"true\"", "1", "null", "{}"] {
            let event = format!(r#"{{"shardCount":64,"dryRun":{value}}}"#);
            let error = Event::parse(&event, NOW_MS).expect_err(&event);
            assert!(error.problem.contains("dryRun is"), "{error}");
        }
    }

    /// An alarm's event has no members of ours, however they are spelled, but `dryRun`.
    #[test]
    fn an_alarm_with_an_order_beside_it_is_refused() {
        for member in ["shardCount", "wake", "dryrun", "DRYRUN", "until"] {
            let event = format!(r#"{{"alarmData":{{"alarmName":"bytes"}},"{member}":64}}"#);
            let error = Event::parse(&event, NOW_MS).expect_err(&event);
            assert!(error.problem.contains(member), "{error}");
        }
    }

    #[test]
    fn aws_may_add_what_it_likes_to_its_own_events() {
        let action = r#"{"source":"aws.cloudwatch","alarmArn":"arn:aws:cloudwatch:eu-west-1:111122223333:alarm:bytes","accountId":"111122223333","time":"2026-11-21T00:00:00.000+0000","region":"eu-west-1","alarmData":{"alarmName":"bytes","state":{"value":"ALARM"},"new":1},"new":2}"#;
        let rule = r#"{"version":"0","id":"1","detail-type":"CloudWatch Alarm State Change","source":"aws.cloudwatch","account":"111122223333","time":"2026-11-21T00:00:00Z","region":"eu-west-1","resources":[],"detail":{"alarmName":"bytes","state":{"value":"ALARM"}},"new":1}"#;
        for event in [action, rule] {
            assert_eq!(trigger(event), Trigger::Alarm("bytes".to_owned()));
        }
        let wrapped = r#"{"version":"0","id":"1","detail-type":"Scheduled Event","source":"aws.events","account":"111122223333","time":"2026-11-21T00:00:00Z","region":"eu-west-1","resources":[],"detail":{},"wake":"reconcile"}"#;
        assert_eq!(trigger(wrapped), Trigger::Reconcile);
    }

    #[test]
    fn anything_else_is_refused_with_what_was_expected() {
        for event in [
            "",
            "{}",
            "[]",
            "7",
            "null",
            r#"{"wake":"up"}"#,
            r#"{"shardCount":0}"#,
            r#"{"shardCount":"64"}"#,
            r#"{"shardCount":20000}"#,
            r#"{"wake":"floor","shardCount":4}"#,
            r#"{"wake":"floor","shardCount":4,"until":"tonight"}"#,
            r#"{"wake":"floor","until":"2026-11-21T01:00:00Z"}"#,
        ] {
            let error = Event::parse(event, NOW_MS).expect_err(event);
            assert!(error.to_string().contains("expected a CloudWatch alarm"), "{error}");
        }
        for count in ["0", "-1", "20001", "1.5", "\"64\""] {
            let event = format!("{{\"shardCount\":{count}}}");
            let error = Event::parse(&event, NOW_MS).expect_err(&event);
            assert!(error.problem.contains(&format!("shardCount is {count},")), "{error}");
        }
    }
}
