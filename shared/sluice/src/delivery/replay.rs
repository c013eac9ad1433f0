//! What the replayer and the processor tell each other.
//!
//! A replayed event is the dead letter's body with one member more, `sluiceReplay`. The processor's
//! answer says what became of it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::logs::SubscriptionEvent;

/// `sluiceReplay` in a replayed event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// 1 for the first replay.
    pub attempt: u32,
    /// Whether what fails now goes to the quarantine.
    pub is_last: bool,
    /// When the event was first dead-lettered, in milliseconds since 1970.
    pub dead_lettered_ms: u64,
}

impl Replay {
    /// The replay that an event belongs to. A mark of another make is no reason to refuse the logs.
    pub fn of(event: &SubscriptionEvent<'_>) -> Option<Self> {
        event.replay.and_then(|mark| serde_json::from_str(mark.get()).ok())
    }
}

/// What became of an event; the processor's answer to a synchronous invocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Log events in it.
    pub events_in: u64,
    /// Log events that the stream has.
    pub events_delivered: u64,
    /// Log events that the transform left out.
    pub events_filtered: u64,
    /// Log events that the dead-letter queue has.
    pub events_dead_lettered: u64,
    /// Log events that the quarantine has.
    pub events_quarantined: u64,
    /// Messages that the dead-letter queue was given.
    pub dead_letters: u64,
    /// Messages that the quarantine was given.
    pub quarantined: u64,
}

impl Answer {
    /// An answer as a function gave it; `None` when it is another function's, or does not say of
    /// each log event where it is.
    pub fn parse(answer: &str) -> Option<Self> {
        let answer: Self = serde_json::from_str(answer).ok()?;
        let somewhere = [
            answer.events_delivered,
            answer.events_filtered,
            answer.events_dead_lettered,
            answer.events_quarantined,
        ];
        (somewhere.iter().sum::<u64>() == answer.events_in).then_some(answer)
    }
}

/// An event of a log subscription, for what a replay needs of it.
#[derive(Serialize, Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    awslogs: &'a RawValue,
    #[serde(rename = "sluiceReplay", default, skip_deserializing)]
    replay: Option<Replay>,
}

/// `body` as an event that tells the processor of the replay; `None` when it is no JSON object
/// with `awslogs`, which no processor could decode.
pub fn replayed_event(body: &str, replay: Replay) -> Option<String> {
    if !body.trim_ascii_start().starts_with('{') {
        return None;
    }
    let event: Event<'_> = serde_json::from_str(body).ok()?;
    serde_json::to_string(&Event { replay: Some(replay), ..event }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLAY: Replay = Replay { attempt: 2, is_last: true, dead_lettered_ms: 5 };

    #[test]
    fn a_replayed_event_says_which_attempt_it_is() {
        let once = replayed_event(r#" {"awslogs": {"data":"é"}, "other": 1}"#, REPLAY);
        let expected = r#"{"awslogs":{"data":"é"},"sluiceReplay":{"attempt":2,"isLast":true,"deadLetteredMs":5}}"#;
        assert_eq!(once.as_deref(), Some(expected));
        // What an earlier replay said is not what this one says.
        let again = replayed_event(expected, Replay { attempt: 3, ..REPLAY }).expect("an event");
        assert_eq!(again, expected.replace(r#""attempt":2"#, r#""attempt":3"#));
    }

    #[test]
    fn what_is_no_event_cannot_be_replayed() {
        for body in [
            "",
            "{}",
            "[]",
            r#"[{"data":""}]"#,
            "null",
            "awslogs",
            r#"{"awslogs":{}"#,
            "\u{feff}{}",
        ] {
            assert_eq!(replayed_event(body, REPLAY), None, "{body}");
        }
    }

    #[test]
    fn an_answer_that_does_not_account_for_every_event_is_none() {
        let answer = Answer {
            events_in: 4,
            events_delivered: 1,
            events_filtered: 1,
            events_dead_lettered: 1,
            events_quarantined: 1,
            dead_letters: 1,
            quarantined: 1,
        };
        let text = |answer: Answer| serde_json::to_string(&answer).expect("JSON");
        assert_eq!(Answer::parse(&text(answer)), Some(answer));
        assert_eq!(Answer::parse(&text(Answer::default())), Some(Answer::default()));
        assert_eq!(Answer::parse(&text(Answer { events_delivered: 0, ..answer })), None);
        for other in ["", "null", "{}", r#"{"statusCode":200}"#, "\"ok\""] {
            assert_eq!(Answer::parse(other), None, "{other}");
        }
    }
}
