//! Whether a replay may begin, what of a page goes, and what follows an answer. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice::invocation::Chain;
use sluice::limits::SHARD_READ_BYTES_PER_SECOND;
use sluice::ports::{DataPoint, InvokeError, RecordsPage, StreamHistory, StreamRecord};

use crate::config::Config;
use crate::event::{Moment, Target, Trigger};
use crate::progress::End;

/// Arrival times are approximate and go back and forth: so much before and after the window is read,
/// and left out by its time. Ours; nobody documents a bound.
pub const SLACK_MS: u64 = 5_000;
/// One minute, the period of the stream's metrics.
const MINUTE_MS: u64 = 60_000;

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// The target has everything.
    Done,
    /// The invocation's time is over.
    OutOfTime,
    /// The target or the stream failed too often.
    Failed,
    /// Nothing was to be moved.
    DryRun,
}

impl Stop {
    /// As the answer and the log have it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::OutOfTime => "out-of-time",
            Self::Failed => "failed",
            Self::DryRun => "dry-run",
        }
    }
}

/// Why a replay does not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotBegin {
    /// The window is not over.
    #[error("until {until} is in the future, it is {now}: a replay reads the past")]
    Future { until: Moment, now: Moment },
    /// The window, or its beginning, is gone.
    #[error(
        "the window begins at {from}, and the stream {stream} has nothing before {oldest} any more \
         ({why}); a later \"from\" is needed"
    )]
    Expired {
        from: Moment,
        /// The oldest that there may be.
        oldest: Moment,
        stream: String,
        /// Retention, or the stream's age.
        why: String,
    },
    /// What it came from would get it again.
    #[error(
        "the target is {stream}, where the records come from; they are sent there again only with \
         \"allowSameStream\": \"{stream}\""
    )]
    SameStream { stream: String },
    /// `allowSameStream` names another stream.
    #[error("\"allowSameStream\" is {named:?}, and the records come from {stream}")]
    OtherStreamAllowed { named: String, stream: String },
    /// The replayer would invoke itself with records.
    #[error("the target is the replayer itself")]
    Itself,
    /// The position belongs elsewhere.
    #[error("\"resume\" belongs to the stream {of}, and the records come from {stream}")]
    ResumeOfAnother { of: String, stream: String },
}

/// Whether the replay may begin.
pub fn decide_begin(
    config: &Config,
    trigger: &Trigger,
    history: &StreamHistory,
    now_ms: u64,
) -> Result<(), CannotBegin> {
    let stream = config.stream_name.clone();
    let stream = || stream.clone();
    if let Some(named) = trigger.allow_same_stream.as_ref().filter(|&named| *named != stream()) {
        return Err(CannotBegin::OtherStreamAllowed { named: named.clone(), stream: stream() });
    }
    let is_same = match &trigger.target {
        Target::Stream(name) => *name == stream() || *name == history.arn,
        Target::Function(_) => false,
    };
    if is_same && trigger.allow_same_stream.is_none() {
        return Err(CannotBegin::SameStream { stream: stream() });
    }
    if let Target::Function(name) = &trigger.target {
        let name = name.split_once(":function:").map_or(name.as_str(), |(_, name)| name);
        if name.split(':').next() == Some(&config.function_name) {
            return Err(CannotBegin::Itself);
        }
    }
    if trigger.until.0 > now_ms {
        return Err(CannotBegin::Future { until: trigger.until, now: Moment(now_ms) });
    }
    if let Some(resume) = trigger.resume.as_ref().filter(|resume| resume.stream != stream()) {
        return Err(CannotBegin::ResumeOfAnother { of: resume.stream.clone(), stream: stream() });
    }
    // A window from before the stream's creation misses nothing; one from before its retention does.
    let oldest_ms = oldest_ms(history, now_ms);
    let is_gone = match &trigger.resume {
        None => trigger.from.0 < oldest_ms || trigger.until.0 <= history.created_ms,
        // What was read before it was gone is not gone: only when all the rest is, there is no point.
        Some(_) => trigger.until.0 <= oldest_ms,
    };
    if is_gone {
        let (oldest_ms, why) = if trigger.until.0 <= history.created_ms {
            (history.created_ms, "it was created then".to_owned())
        } else {
            (oldest_ms, format!("retention is {} h", history.retention_ms / 3_600_000))
        };
        return Err(CannotBegin::Expired {
            from: trigger.from,
            oldest: Moment(oldest_ms),
            stream: stream(),
            why,
        });
    }
    Ok(())
}

/// The arrival of the oldest record that retention keeps.
pub fn oldest_ms(history: &StreamHistory, now_ms: u64) -> u64 {
    now_ms.saturating_sub(history.retention_ms)
}

/// What a replay is about to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Records that the stream took within the window, by its metrics: before the filter, an
    /// aggregate counting as one.
    pub records: u64,
    pub bytes: u64,
    /// How long they take at the chosen rate, or at that of the shards that are read at once.
    pub seconds: u64,
}

/// Estimates from the stream's metrics by the minute: records and bytes. The window's first and last
/// minute count by their part in it.
pub fn estimate(
    trigger: &Trigger,
    rate: Rate,
    shards_read_at_once: usize,
    records: &[DataPoint],
    bytes: &[DataPoint],
) -> Estimate {
    let (from_ms, until_ms) = (trigger.from.0, trigger.until.0);
    let sum = |points: &[DataPoint]| {
        let inside = |point: &DataPoint| {
            let end_ms = (point.epoch_ms + MINUTE_MS).min(until_ms);
            let part_ms = end_ms.saturating_sub(point.epoch_ms.max(from_ms));
            point.value * part_ms as f64 / MINUTE_MS as f64
        };
        points.iter().map(inside).sum::<f64>()
    };
    let (records, bytes) = (sum(records), sum(bytes));
    let read = (shards_read_at_once.max(1) as u64 * READ_BYTES_PER_SECOND) as f64;
    let seconds = (records / f64::from(rate.records_per_second))
        .max(bytes / rate.bytes_per_second as f64)
        .max(bytes / read);
    Estimate {
        records: records.round() as u64,
        bytes: bytes.round() as u64,
        seconds: seconds.ceil() as u64,
    }
}

/// How fast the target is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub records_per_second: u32,
    pub bytes_per_second: u64,
}

impl Rate {
    /// What the event asks for, or the configuration's.
    pub fn of(config: &Config, trigger: &Trigger) -> Self {
        Self {
            records_per_second: trigger.records_per_second.unwrap_or(config.records_per_second),
            bytes_per_second: trigger.bytes_per_second.unwrap_or(config.bytes_per_second),
        }
    }
}

/// A shard gives its other readers as much as this one.
const READ_BYTES_PER_SECOND: u64 = SHARD_READ_BYTES_PER_SECOND / 2;
/// Two of the five calls a second that a shard answers.
const READ_INTERVAL: Duration = Duration::from_millis(500);

/// How long to leave a shard alone after a page of so many bytes.
pub fn decide_read_pause(bytes: u64) -> Duration {
    READ_INTERVAL.max(Duration::from_millis(bytes * 1_000 / READ_BYTES_PER_SECOND))
}

/// Whether a record lies in the window.
pub fn is_inside(trigger: &Trigger, record: &StreamRecord) -> bool {
    (trigger.from.0..trigger.until.0).contains(&record.arrived_ms)
}

/// Whether a shard is done after a page that was asked for at `asked_ms`.
///
/// A page with records says nothing about those behind them: it may be cut at its size and still
/// claim to be at the tip, as a local engine does. [`End::Until`] only by a record beyond the window,
/// by more than arrival times go back and forth: a closed shard that is read to its end may say that
/// it is not behind, and its children may still lie in the window.
pub fn decide_end(trigger: &Trigger, page: &RecordsPage, asked_ms: u64) -> Option<End> {
    let stop_ms = trigger.until.0 + SLACK_MS;
    if page.records.iter().any(|record| record.arrived_ms >= stop_ms) {
        return Some(End::Until);
    }
    let is_read = page.records.is_empty() && asked_ms.saturating_sub(page.behind_ms) >= stop_ms;
    (page.next_iterator.is_none() || is_read).then_some(End::Closed)
}

/// Whether a stream refuses a call for what is in it, and not for whom it is: some record of it is
/// too large or has an impossible key. (Kinesis API, PutRecords, errors; Nov 2026)
pub fn is_about_records(code: &str) -> bool {
    matches!(code, "InvalidArgumentException" | "ValidationException" | "SerializationException")
}

/// What came of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The function has the first so many records. All: go on. Less: the others again.
    Has(usize),
    /// It was too busy to see them: again, and that was no try.
    Busy,
    Failed(String),
    /// Lambda refuses this event, and always will: for what is in it, not for whom it is.
    Refused(String),
    /// There is no such function, or it may not be invoked.
    Unavailable(String),
}

/// Decides on a function's answer to a batch with these sequence numbers. A function that reports
/// batch item failures has everything before the first of them, as with an event source mapping.
pub fn decide_response(sequence_numbers: &[&str], answer: Result<String, InvokeError>) -> Response {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct PartialResponse {
        batch_item_failures: Option<Vec<Failure>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Failure {
        item_identifier: Option<String>,
    }
    let answer = match answer {
        Ok(answer) => answer,
        Err(InvokeError::Throttled { .. }) => return Response::Busy,
        Err(error @ (InvokeError::Failed { .. } | InvokeError::Unknown { .. })) => {
            return Response::Failed(error.to_string());
        }
        Err(error @ InvokeError::Refused { .. }) => return Response::Refused(error.to_string()),
        Err(error @ InvokeError::Unavailable { .. }) => {
            return Response::Unavailable(error.to_string());
        }
    };
    // Most functions answer something else, or nothing.
    let failures = serde_json::from_str(&answer)
        .ok()
        .and_then(|answer: PartialResponse| answer.batch_item_failures)
        .unwrap_or_default();
    let place = |failure: &Failure| {
        let identifier = failure.item_identifier.as_deref();
        sequence_numbers.iter().position(|&number| Some(number) == identifier).unwrap_or_default()
    };
    match failures.iter().map(place).min() {
        None => Response::Has(sequence_numbers.len()),
        Some(0) => Response::Failed("it reports the first record of a batch as failed".to_owned()),
        Some(first) => Response::Has(first),
    }
}

/// Whether this run left some of its work.
pub fn is_unfinished(stop: Stop) -> bool {
    matches!(stop, Stop::OutOfTime | Stop::Failed)
}

/// The next hop, when there is more to do and this one was of use. A run that only failed is left to
/// Lambda, which tries twice more, and then to a person.
pub fn decide_next(stop: Stop, has_progress: bool, chain: Chain) -> Option<u32> {
    chain.next_hop(is_unfinished(stop), has_progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    const HOUR_MS: u64 = 3_600_000;
    const NOW: &str = "2026-11-21T12:00:00Z";

    fn now_ms() -> u64 {
        sluice::time::read(NOW).expect("a time").epoch_ms
    }

    fn history() -> StreamHistory {
        StreamHistory {
            arn: "arn:aws:kinesis:eu-west-1:123456789012:stream/logs".to_owned(),
            retention_ms: 24 * HOUR_MS,
            created_ms: 0,
        }
    }

    fn trigger(from: &str, until: &str, target: &str, more: &str) -> Trigger {
        let event = format!(r#"{{"from":"{from}","until":"{until}","target":"{target}"{more}}}"#);
        Trigger::parse(&event).expect("a trigger")
    }

    fn begin(trigger: &Trigger) -> Result<(), String> {
        decide_begin(&config(), trigger, &history(), now_ms())
            .map_err(|refused| refused.to_string())
    }

    fn window(from: &str, until: &str) -> Trigger {
        trigger(from, until, "function:archiver", "")
    }

    #[test]
    fn a_window_lies_in_what_is_kept() {
        assert_eq!(begin(&window("2026-11-20T12:00:00Z", NOW)), Ok(()));
        for (from, until, named) in [
            ("2026-11-20T11:59:59Z", NOW, "nothing before 2026-11-20T12:00:00Z"),
            ("2026-11-01T08:00:00Z", "2026-11-01T09:00:00Z", "retention is 24 h"),
            ("2026-11-21T11:00:00Z", "2026-11-21T12:00:01Z", "is in the future"),
            ("2026-11-22T11:00:00Z", "2026-11-22T12:00:00Z", "is in the future"),
        ] {
            let refused = begin(&window(from, until)).expect_err(from);
            assert!(refused.contains(named), "{refused}");
        }
        let young = StreamHistory { created_ms: now_ms() - HOUR_MS, ..history() };
        let early = window("2026-11-21T08:00:00Z", "2026-11-21T11:30:00Z");
        assert_eq!(decide_begin(&config(), &early, &young, now_ms()), Ok(()));
        let before = window("2026-11-21T08:00:00Z", "2026-11-21T09:00:00Z");
        let refused =
            decide_begin(&config(), &before, &young, now_ms()).expect_err("not there yet");
        assert!(refused.to_string().contains("created"), "{refused}");
    }

    #[test]
    fn records_go_back_where_they_came_from_only_by_name() {
        let to = |target: &str, more: &str| {
            begin(&trigger("2026-11-21T08:00:00Z", "2026-11-21T09:00:00Z", target, more))
        };
        let by_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/logs";
        for target in ["stream:logs", by_arn] {
            let refused = to(target, "").expect_err(target);
            assert!(refused.contains(r#""allowSameStream": "logs""#), "{refused}");
            let refused = to(target, r#","allowSameStream":"log""#).expect_err(target);
            assert!(refused.contains("\"log\", and the records come from logs"), "{refused}");
            assert_eq!(to(target, r#","allowSameStream":"logs""#), Ok(()));
        }
        assert_eq!(to("stream:logs2", ""), Ok(()));
        assert_eq!(to("arn:aws:kinesis:eu-west-1:999999999999:stream/logs", ""), Ok(()));
        for target in [
            "function:stream-replayer",
            "function:stream-replayer:live",
            "arn:aws:lambda:eu-west-1:123456789012:function:stream-replayer",
        ] {
            assert_eq!(to(target, ""), Err("the target is the replayer itself".to_owned()));
        }
    }

    #[test]
    fn a_position_belongs_to_its_stream() {
        let resume = r#","resume":{"stream":"other","begun":"","shards":{},"reached":"2026-11-21T08:30:00Z","records":0}"#;
        let trigger = trigger("2026-11-21T08:00:00Z", "2026-11-21T09:00:00Z", "function:a", resume);
        assert!(begin(&trigger).expect_err("of another").contains("belongs to the stream other"));
    }

    #[test]
    fn a_position_is_good_as_long_as_something_of_the_window_is() {
        let with = |until: &str| {
            let resume = r#","resume":{"stream":"logs","begun":"","shards":{},"reached":"2026-11-20T08:30:00Z","records":0}"#;
            begin(&trigger("2026-11-20T08:00:00Z", until, "function:a", resume))
        };
        assert_eq!(with("2026-11-20T13:00:00Z"), Ok(()));
        assert!(with("2026-11-20T11:00:00Z").is_err());
    }

    #[test]
    fn an_estimate_counts_what_lies_in_the_window() {
        let trigger = window("2026-11-21T08:00:30Z", "2026-11-21T08:02:15Z");
        let begin_ms = trigger.from.0 - 30_000;
        let points: Vec<DataPoint> = (0..5)
            .map(|minute| DataPoint { epoch_ms: begin_ms + minute * MINUTE_MS, value: 60_000.0 })
            .collect();
        let bytes: Vec<DataPoint> =
            points.iter().map(|point| DataPoint { value: 60e6, ..*point }).collect();
        let rate = Rate { records_per_second: 500, bytes_per_second: 10_000_000 };
        let estimate = |rate, shards| estimate(&trigger, rate, shards, &points, &bytes);
        let by_records = Estimate { records: 105_000, bytes: 105_000_000, seconds: 210 };
        assert_eq!(estimate(rate, 4), by_records);
        let fast = Rate { records_per_second: 1_000_000, bytes_per_second: 1_000_000_000 };
        assert_eq!(estimate(fast, 4).seconds, 27, "four shards give 4 MB/s");
        let slow = Rate { records_per_second: 1_000_000, bytes_per_second: 105_000 };
        assert_eq!(estimate(slow, 4).seconds, 1_000);
    }

    #[test]
    fn half_of_what_a_shard_gives_is_left_to_live_consumers() {
        assert_eq!(decide_read_pause(0), Duration::from_millis(500));
        assert_eq!(decide_read_pause(10_000_000), Duration::from_secs(10));
    }

    #[test]
    fn a_window_ends_before_until_and_is_over_a_little_later() {
        let trigger = window("2026-11-21T08:00:00Z", "2026-11-21T09:00:00Z");
        let until_ms = trigger.until.0;
        let record = |arrived_ms| StreamRecord {
            sequence_number: "1".to_owned(),
            partition_key: "k".to_owned(),
            data: Vec::new(),
            arrived_ms,
        };
        assert!(
            is_inside(&trigger, &record(trigger.from.0))
                && is_inside(&trigger, &record(until_ms - 1))
        );
        assert!(
            !is_inside(&trigger, &record(trigger.from.0 - 1))
                && !is_inside(&trigger, &record(until_ms))
        );
        let late = until_ms + HOUR_MS;
        let end = |arrived_ms: &[u64], asked_ms, behind_ms, has_next: bool| {
            let records = arrived_ms.iter().map(|&arrived_ms| record(arrived_ms)).collect();
            let next_iterator = has_next.then(String::new);
            decide_end(&trigger, &RecordsPage { records, next_iterator, behind_ms }, asked_ms)
        };
        assert_eq!(end(&[until_ms], late, HOUR_MS, true), None, "arrival times go back");
        assert_eq!(end(&[until_ms + SLACK_MS], late, late, true), Some(End::Until));
        assert_eq!(end(&[], late, 0, true), Some(End::Closed), "at the tip");
        assert_eq!(end(&[until_ms - 1], late, 0, true), None, "a full page that claims the tip");
        assert_eq!(end(&[], until_ms + 1, 0, true), None, "what just arrived may not show yet");
        assert_eq!(end(&[], late, HOUR_MS, true), None, "on the way through an empty stretch");
        assert_eq!(end(&[], late, HOUR_MS, false), Some(End::Closed), "its children go on");
    }

    #[test]
    fn a_functions_answer_says_what_it_has() {
        let numbers = ["a", "b", "c"];
        let after = |answer: &str| decide_response(&numbers, Ok(answer.to_owned()));
        for answer in
            ["", "null", "\"ok\"", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#]
        {
            assert_eq!(after(answer), Response::Has(3), "{answer}");
        }
        let failed = |identifiers: &[&str]| {
            let failures: Vec<String> = identifiers
                .iter()
                .map(|identifier| format!(r#"{{"itemIdentifier":"{identifier}"}}"#))
                .collect();
            after(&format!(r#"{{"batchItemFailures":[{}]}}"#, failures.join(",")))
        };
        assert_eq!(failed(&["c", "b"]), Response::Has(1));
        assert!(matches!(failed(&["a"]), Response::Failed(_)));
        assert!(
            matches!(failed(&["c", "elsewhere"]), Response::Failed(_)),
            "all of it, as AWS has it"
        );
        assert!(matches!(after(r#"{"batchItemFailures":[{}]}"#), Response::Failed(_)));
    }

    #[test]
    fn only_what_can_pass_is_tried_again() {
        let text = || "x".to_owned();
        let after = |error| decide_response(&["a"], Err(error));
        assert_eq!(after(InvokeError::Throttled { detail: text() }), Response::Busy);
        let failed = InvokeError::Failed { error_type: text(), message: text() };
        assert_eq!(after(failed), Response::Failed("x: x".to_owned()));
        let unknown = InvokeError::Unknown { code: text(), detail: text() };
        assert_eq!(after(unknown), Response::Failed("x: x".to_owned()));
        let refused = InvokeError::Refused { code: text(), detail: text() };
        assert_eq!(after(refused), Response::Refused("x: x".to_owned()));
        let gone = InvokeError::Unavailable { code: text(), detail: text() };
        assert_eq!(after(gone), Response::Unavailable("x: x".to_owned()));
    }

    #[test]
    fn a_stream_that_is_gone_refuses_no_record() {
        assert!(is_about_records("ValidationException"));
        for code in ["ResourceNotFoundException", "AccessDeniedException", "KMSDisabledException"] {
            assert!(!is_about_records(code), "{code}");
        }
    }

    #[test]
    fn the_chain_continues_only_while_it_is_of_use_and_within_its_bound() {
        let chain = Chain { hop: 15, hops_max: 16 };
        for stop in [Stop::OutOfTime, Stop::Failed] {
            assert_eq!(decide_next(stop, true, chain), Some(16));
            assert_eq!(decide_next(stop, true, Chain { hop: 16, ..chain }), None);
            assert_eq!(decide_next(stop, false, Chain { hop: 0, ..chain }), None);
        }
        for stop in [Stop::Done, Stop::DryRun] {
            assert_eq!(decide_next(stop, true, Chain { hop: 0, ..chain }), None);
        }
    }
}
