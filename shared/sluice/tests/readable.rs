//! What is readable: one table of cases, to which the quarantine tool is held, too.

use serde::Deserialize;
use sluice::delivery::Reason;
use sluice::logs::{Decoder, MessageType};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    event_body: Body,
    verdict: String,
    #[serde(default)]
    log_events: usize,
    #[serde(default)]
    odd_events: usize,
    #[serde(default)]
    control: bool,
}

/// A text, or texts and how often each is repeated.
#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Text(String),
    Repeated(Vec<(String, usize)>),
}

impl Body {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Repeated(parts) => {
                parts.iter().map(|(text, times)| text.repeat(*times)).collect()
            }
        }
    }
}

#[test]
fn every_case_is_read_as_the_table_says() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("readable/cases.json")).expect("the table");
    assert!(cases.len() > 100, "{} cases", cases.len());
    let mut decoder = Decoder::new();
    let mut wrong = Vec::new();
    for case in &cases {
        let event = case.event_body.text();
        let verdict = match decoder.decode(event.as_bytes()) {
            Err(error) => Reason::from(&error).code().to_owned(),
            Ok(payload) if payload.message_type == MessageType::Control => {
                if case.control {
                    "readable".to_owned()
                } else {
                    "a control message".to_owned()
                }
            }
            Ok(payload) => {
                let (all, odd) = (payload.events(), payload.odd_events.len());
                if !case.control && (all, odd) == (case.log_events, case.odd_events) {
                    "readable".to_owned()
                } else {
                    format!("{all} log events, {odd} of them odd")
                }
            }
        };
        if verdict != case.verdict {
            wrong.push(format!("{}: {verdict}, not {}", case.name, case.verdict));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_has_every_reason_that_an_undecodable_event_may_have() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("readable/cases.json")).expect("the table");
    for reason in [
        "not-an-awslogs-event",
        "not-base64",
        "not-gzip",
        "truncated-gzip",
        "corrupt-gzip",
        "data-after-gzip",
        "inflates-too-large",
        "not-json",
        "other-shape",
        "unknown-message-type",
    ] {
        assert!(cases.iter().any(|case| case.verdict == reason), "{reason}");
    }
}
