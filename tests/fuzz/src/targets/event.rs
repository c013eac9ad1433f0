//! The event as Lambda hands it over, and its way through a replay.

use serde_json::json;
use sluice::delivery::{DeadLetter, Invocation, Reason, Replay, replayed_event};
use sluice::logs::{Decoder, SubscriptionEvent};
use sluice_simulated::logs;

use super::{Target, sqs_takes};
use crate::model::Members;

pub(super) const TARGET: Target = Target {
    name: "event",
    check,
    seeds,
    words: &[
        "awslogs",
        "\"data\":",
        "sluiceReplay",
        "\"attempt\":",
        "\"isLast\":true",
        "\"deadLetteredMs\":",
        "H4sIAAAAAAAA/wMAAAAAAAAAAAA=",
        "\\u0061",
        "\\ud83d",
        "null",
        "18446744073709551616",
        "\u{ffff}",
    ],
};

const REPLAY: Replay = Replay { attempt: 3, is_last: true, dead_lettered_ms: 7 };

fn check(event: &[u8]) {
    let parsed = SubscriptionEvent::parse(event);
    // What is no UTF-8 never comes from Lambda's runtime.
    let Ok(text) = std::str::from_utf8(event) else { return };
    let expected = data_of(text);
    match (&parsed, expected) {
        (Ok(parsed), Some(data)) => {
            assert_eq!(parsed.data, data);
            check_replay_mark(text, Replay::of(parsed));
        }
        (Err(_), Some(_)) => panic!("an event with data was refused"),
        (Ok(_), None) => panic!("an event without data was taken"),
        (Err(_), None) => {}
    }

    if let Ok(parsed) = &parsed {
        let once = replayed_event(text, REPLAY).expect("what can be decoded can be replayed");
        let again = SubscriptionEvent::parse(once.as_bytes()).expect("a replay is an event");
        assert_eq!((&again.data, Replay::of(&again)), (&parsed.data, Some(REPLAY)));
        let twice = replayed_event(&once, REPLAY);
        assert_eq!(twice.as_deref(), Some(&*once), "replays do not pile up");
    }
    let decoded = Decoder::new().decode(event).map(|payload| payload.bytes);
    if let (Err(error), Ok(_)) =
        (decoded, serde_json::from_str::<&serde_json::value::RawValue>(text))
    {
        let invocation = Invocation { now_ms: 5, replay: Some(REPLAY) };
        let letter =
            DeadLetter::undecodable(text, Reason::from(&error), &error.to_string(), invocation);
        assert!(sqs_takes(&letter.body) && sqs_takes(&letter.detail), "SQS refuses {letter:?}");
        assert_eq!((letter.attempts, letter.dead_lettered_ms), (3, 7));
        if let Ok(parsed) = parsed {
            let again = SubscriptionEvent::parse(letter.body.as_bytes()).expect("an event");
            assert_eq!(again.data, parsed.data);
        }
    }
}

/// `awslogs.data`, when there is just one and it is text.
fn data_of(event: &str) -> Option<String> {
    let members = Members::of(event)?;
    // A mark more than once makes no sense, but is no text for `awslogs.data` either.
    if members.all("sluiceReplay").count() > 1 {
        return None;
    }
    let awslogs = members.only("awslogs")?;
    // serde takes the list of a struct's fields for the struct. Nothing depends on it.
    if let Ok([data]) = serde_json::from_str::<[String; 1]>(awslogs) {
        return Some(data);
    }
    serde_json::from_str(Members::of(awslogs)?.only("data")?).ok()
}

fn check_replay_mark(event: &str, parsed: Option<Replay>) {
    let members = Members::of(event);
    let mark = members.as_ref().and_then(|members| members.only("sluiceReplay"));
    if mark.is_some_and(|mark| mark.starts_with('[')) {
        return;
    }
    let mark = mark.and_then(Members::of).and_then(|mark| {
        Some(Replay {
            attempt: mark.only("attempt")?.parse().ok()?,
            is_last: mark.only("isLast")?.parse().ok()?,
            dead_lettered_ms: mark.only("deadLetteredMs")?.parse().ok()?,
        })
    });
    assert_eq!(parsed, mark);
}

fn seeds() -> Vec<Vec<u8>> {
    let event = logs::event(&logs::payload(&["one", "zwei \"é\""], 1_000));
    let replayed = replayed_event(&event, REPLAY).unwrap_or_default();
    let other = json!({ "awslogs": { "data": "H4sI", "more": [1, {}] }, "other": null });
    let control = logs::event(&logs::control_payload());
    let lists = [r#"[{"data":"H4sI"},{}]"#, r#"{"awslogs":["H4sI"],"sluiceReplay":[1,true,2]}"#];
    let mut seeds = vec![event, replayed, other.to_string(), control];
    seeds.extend(lists.map(str::to_owned));
    seeds.into_iter().map(String::into_bytes).collect()
}
