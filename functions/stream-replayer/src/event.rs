//! What triggers a replay: a window, a target and how to fill it, from a person; the same with how
//! far it came, from itself or out of a log line.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use sluice::{quote, time};

use crate::config::{BYTES_PER_SECOND_MAX, RECORDS_PER_SECOND_MAX};
use crate::filter::Filter;

/// Characters of a parser's error, which may name all of a long member.
const ERROR_CHARS_MAX: usize = 300;

/// A moment, in milliseconds since 1970; RFC 3339 as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Moment(pub u64);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        time::read_json_instant(&value).map(Self).map_err(D::Error::custom)
    }
}

fn from_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
    named("from", deserializer)
}

fn until_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
    named("until", deserializer)
}

fn named<'de, D: Deserializer<'de>>(name: &str, deserializer: D) -> Result<Moment, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let epoch_ms = time::read_json_instant(&value);
    epoch_ms.map(Moment).map_err(|error| D::Error::custom(format_args!("{name}: {error}")))
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&time::write(self.0))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// A function by name, name and alias, or ARN.
    Function(String),
    /// A stream by name or ARN.
    Stream(String),
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_name = |name: &str, also: &str| {
            (1..=200).contains(&name.len())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
        };
        let target = match text.split_once(':') {
            Some(("function", name)) if is_name(name, "-_:$") => {
                Some(Self::Function(name.to_owned()))
            }
            Some(("stream", name)) if is_name(name, "-_.") => Some(Self::Stream(name.to_owned())),
            Some(("arn", _)) if text.len() <= 400 => {
                let parts: Vec<&str> = text.splitn(6, ':').collect();
                match parts.as_slice() {
                    [_, _, "lambda", _, _, rest] if rest.starts_with("function:") => {
                        Some(Self::Function(text.clone()))
                    }
                    [_, _, "kinesis", _, _, rest] if rest.starts_with("stream/") => {
                        Some(Self::Stream(text.clone()))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        target.ok_or_else(|| {
            let target = quote(&text);
            format!("the target {target} is not function:NAME, stream:NAME or the ARN of one")
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::Function(name) => ("function:", name),
            Self::Stream(name) => ("stream:", name),
        };
        let kind = if name.starts_with("arn:") { "" } else { kind };
        write!(out, "{kind}{name}")
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

/// How far a replay came. Its size depends on how many shards are read at once, not on how many
/// there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resume {
    /// The stream that it belongs to.
    pub stream: String,
    /// The last shard that was begun. What comes before it is done, but for `shards`.
    pub begun: String,
    /// The shards under way: the sequence number of the last record that the target has; empty when
    /// it has none yet.
    pub shards: BTreeMap<String, String>,
    /// The target has everything that arrived before.
    pub reached: Moment,
    /// Records that the target has.
    pub records: u64,
    /// Records that the target does not take, and that were passed over.
    #[serde(default, skip_serializing_if = "is_none")]
    pub set_aside: u64,
}

/// What to replay, where to and how fast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trigger {
    /// Where the window begins: what arrived at this time is in it.
    #[serde(deserialize_with = "from_time")]
    pub from: Moment,
    /// Where it ends: what arrived at this time is not in it.
    #[serde(deserialize_with = "until_time")]
    pub until: Moment,
    pub target: Target,
    /// Which of them; all when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// How many a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_per_second: Option<u32>,
    /// How many bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// The stream's own name, when it is to have its own records again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_same_stream: Option<String>,
    /// Counts and estimates, and moves nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// How often the replayer has invoked itself in a row.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hop: u32,
    /// Where to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
}

fn is_zero(hop: &u32) -> bool {
    *hop == 0
}

fn is_none(records: &u64) -> bool {
    *records == 0
}

/// The event is not a trigger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the event is not {{\"from\": time, \"until\": time, \"target\": \"function:NAME\" or \
     \"stream:NAME\"}} with \"filter\", \"recordsPerSecond\", \"bytesPerSecond\", \
     \"allowSameStream\", \"dryRun\" or \"resume\": {0}"
)]
pub struct UnknownEvent(String);

impl Trigger {
    /// Parses the event, given as the JSON text that Lambda hands over.
    pub fn parse(event: &str) -> Result<Self, UnknownEvent> {
        let trigger: Self = serde_json::from_str(event).map_err(|error| {
            UnknownEvent(error.to_string().chars().take(ERROR_CHARS_MAX).collect())
        })?;
        let refuse = |what: String| Err(UnknownEvent(what));
        if trigger.from >= trigger.until {
            return refuse(format!("from {} is not before until {}", trigger.from, trigger.until));
        }
        if trigger.records_per_second.is_some_and(|n| !(1..=RECORDS_PER_SECOND_MAX).contains(&n)) {
            return refuse(format!("recordsPerSecond is not 1 to {RECORDS_PER_SECOND_MAX}"));
        }
        if trigger.bytes_per_second.is_some_and(|n| !(1..=BYTES_PER_SECOND_MAX).contains(&n)) {
            return refuse(format!("bytesPerSecond is not 1 to {BYTES_PER_SECOND_MAX}"));
        }
        if let Some(problem) = trigger.filter.as_ref().and_then(Filter::problem) {
            return refuse(problem);
        }
        Ok(trigger)
    }

    /// The event that goes on from `resume`, in the same chain or, by a person, in a new one.
    pub fn resumed(&self, resume: Resume, hop: u32) -> Self {
        Self { resume: Some(resume), hop, ..self.clone() }
    }

    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("text and numbers are JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{"from":"2026-11-21T08:00:00Z","until":"2026-11-21T09:00:00Z","target":"function:archiver"}"#;

    #[test]
    fn a_person_and_the_replayer_itself_trigger_it() {
        let trigger = Trigger::parse(PLAIN).expect("a trigger");
        assert_eq!(trigger.until.0 - trigger.from.0, 3_600_000);
        assert_eq!(trigger.target, Target::Function("archiver".to_owned()));
        assert_eq!(trigger.to_text(), PLAIN);
        let resume = Resume {
            stream: "logs".to_owned(),
            begun: "shardId-000000000001".to_owned(),
            shards: BTreeMap::from([("shardId-000000000001".to_owned(), "49".to_owned())]),
            reached: trigger.from,
            records: 5,
            set_aside: 2,
        };
        let next = trigger.resumed(resume, 1);
        assert_eq!(Trigger::parse(&next.to_text()), Ok(next));
    }

    #[test]
    fn a_time_is_read_however_aws_writes_it() {
        let from_ms = Trigger::parse(PLAIN).expect("a trigger").from.0;
        for from in [
            r#""2026-11-21T09:00:00+01:00""#,
            r#""2026-11-21T08:00:00.000+0000""#,
            r#""20261121T080000Z""#,
            "1795248000",
            "1.795248E9",
            "1795248000000",
        ] {
            let event = PLAIN.replacen(r#""2026-11-21T08:00:00Z""#, from, 1);
            assert_eq!(Trigger::parse(&event).expect(from).from.0, from_ms, "{from}");
        }
        let fraction = PLAIN.replace("08:00:00Z", "08:00:00.250Z");
        let from = Trigger::parse(&fraction).expect("a trigger").from;
        assert_eq!(from.to_string(), "2026-11-21T08:00:00.25Z");
    }

    #[test]
    fn targets_are_functions_and_streams_by_name_or_arn() {
        for text in [
            "function:archiver",
            "function:archiver:live",
            "stream:logs.2",
            "arn:aws:lambda:eu-west-1:123456789012:function:archiver",
            "arn:aws:kinesis:eu-west-1:123456789012:stream/logs",
        ] {
            let target = Target::try_from(text.to_owned()).expect(text);
            assert_eq!(target.to_string(), text);
        }
        for text in ["archiver", "queue:q", "function:", "stream:a/b", "arn:aws:s3:::bucket"] {
            assert!(Target::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        let with = |member: &str| PLAIN.replacen('{', &format!("{{{member},"), 1);
        for (event, named) in [
            ("{}".to_owned(), "missing field `from`"),
            (PLAIN.replace("08:00", "10:00"), "is not before until"),
            (
                PLAIN.replace("2026-11-21T08:00:00Z", "yesterday"),
                "from: \"yesterday\" is not a time",
            ),
            (PLAIN.replace("08:00:00Z", "08:00:00"), "add Z or an offset"),
            (PLAIN.replace(r#""2026-11-21T09:00:00Z""#, "null"), "until: null is not a time"),
            (PLAIN.replace("function:archiver", "archiver"), "\"archiver\" is not function:NAME"),
            (with(r#""untill":"x""#), "untill"),
            (with(r#""recordsPerSecond":0"#), "recordsPerSecond"),
            (with(r#""bytesPerSecond":-1"#), "-1"),
            (with(r#""filter":{"level":"x"}"#), "level"),
            (with(r#""filter":{}"#), "filter"),
            (with(r#""resume":{}"#), "stream"),
            (with(&format!(r#""{}":1"#, "x".repeat(100_000))), "unknown field"),
            (PLAIN.replace("08:00:00Z", &"9".repeat(100_000)), "is not a time"),
        ] {
            let refused = Trigger::parse(&event).expect_err(&event).to_string();
            assert!(refused.contains(named), "{event}: {refused}");
            assert!(refused.contains("allowSameStream"), "{refused}");
            assert!(refused.len() < 800, "{refused}");
        }
    }
}
