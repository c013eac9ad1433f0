//! Where each log event of a payload goes that the stream does not have, and what became of each. Pure.

use std::ops::Range;

use sluice::delivery::{DeadLetter, Destination, Invocation, Reason};
use sluice::logs::{Batch, Payload};
use sluice::records::{PutReport, Stopped};
use sluice::telemetry::Outcome;

/// Events of one payload that go to the quarantine in a message each, for the same reason. A message
/// takes some 10 ms.
const ALONE_MAX: usize = 100;
/// Every log group of Sluice's functions is under this, as the templates have it.
pub(crate) const OWN_LOG_GROUPS: &str = "/sluice/";

/// Whether a log group's events are let go. Forwarding them would make another function of Sluice
/// print a line, or this one, and each line would come back as another event.
pub(crate) fn is_own(log_group: &str, own_log_group: Option<&str>) -> bool {
    log_group.starts_with(OWN_LOG_GROUPS) || own_log_group == Some(log_group)
}

/// Events that were not delivered for one reason.
pub(crate) struct Undeliverable {
    /// Which ones of the payload.
    events: Vec<usize>,
    reason: Reason,
    detail: String,
}

/// Everything that was not delivered, each event once.
pub(crate) fn decide_undeliverable(
    payload: &Payload<'_>,
    batch: &Batch,
    too_large: &[usize],
    undelivered: Vec<usize>,
    put: &PutReport,
) -> Vec<Undeliverable> {
    let mut all = Vec::new();
    for &item in too_large {
        let item = &batch.items[item];
        let detail = format!("{} bytes after the transform", batch.bytes_of(item).len());
        let reason = Reason::EventTooLarge;
        all.push(Undeliverable { events: vec![item.event], reason, detail });
    }
    let failed = batch.failed.iter().map(|(event, detail)| (*event, detail.clone()));
    all.extend(one_by_one(Reason::TransformFailed, failed.collect()));
    let odd = (payload.log_events.len()..).zip(&payload.odd_events);
    all.extend(one_by_one(
        Reason::OtherShape,
        odd.map(|(event, odd_event)| (event, odd_event.detail())).collect(),
    ));
    if !undelivered.is_empty() {
        let (reason, detail) = why_undelivered(put);
        all.push(Undeliverable { events: undelivered, reason, detail });
    }
    all
}

/// Why the stream did not take all.
pub(crate) fn why_undelivered(put: &PutReport) -> (Reason, String) {
    match &put.stopped {
        Some(Stopped::Permanent { code, detail }) => {
            (Reason::StreamUnavailable, format!("{code}: {detail}"))
        }
        Some(Stopped::DeadlineReached(last)) => (Reason::Deadline, last.clone()),
        Some(Stopped::AttemptsExhausted(last)) => (Reason::RefusedTooOften, last.clone()),
        None => (Reason::RefusedTooOften, String::new()),
    }
}

/// Each event alone with its detail, but only as long as there is time to send so many messages; all
/// others of the reason together.
fn one_by_one(reason: Reason, mut events: Vec<(usize, String)>) -> Vec<Undeliverable> {
    let others = events.split_off(events.len().min(ALONE_MAX));
    let alone = |(event, detail)| Undeliverable { events: vec![event], reason, detail };
    let mut all: Vec<_> = events.into_iter().map(alone).collect();
    if let Some((_, detail)) = others.first() {
        let detail = format!("the first of {}: {detail}", others.len());
        let events = others.into_iter().map(|(event, _)| event).collect();
        all.push(Undeliverable { events, reason, detail });
    }
    all
}

/// The dead letters of a payload. They hold each undeliverable event once.
pub(crate) fn dead_letters(
    payload: &Payload<'_>,
    undeliverable: &[Undeliverable],
    invocation: Invocation,
) -> Vec<DeadLetter> {
    let letters: Vec<DeadLetter> = undeliverable
        .iter()
        .flat_map(|Undeliverable { events, reason, detail }| {
            DeadLetter::remainder(payload, events, *reason, detail, invocation)
        })
        .collect();
    let in_letters: usize = letters.iter().filter_map(|letter| letter.log_events).sum();
    let events: usize = undeliverable.iter().map(|left| left.events.len()).sum();
    assert_eq!(in_letters, events, "the dead letters hold every event that was not delivered");
    letters
}

/// What became of each log event, on its own evidence, so that an event that fell out on the way is
/// seen as lost. `items` are those of each record; the letters have the events one after the other.
pub(crate) fn outcomes(
    payload: &Payload<'_>,
    batch: &Batch,
    items: &[Range<usize>],
    undeliverable: &[Undeliverable],
    dead_letters: &[DeadLetter],
    outcome_of: impl Fn(&DeadLetter) -> Outcome,
) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::Lost; payload.events()];
    batch.filtered.iter().for_each(|&event| outcomes[event] = Outcome::Filtered);
    for item in items.iter().flat_map(|items| &batch.items[items.clone()]) {
        outcomes[item.event] = Outcome::Delivered;
    }
    let mut events = undeliverable.iter().flat_map(|left| &left.events);
    for letter in dead_letters {
        for &event in events.by_ref().take(letter.log_events.unwrap_or(0)) {
            outcomes[event] = outcome_of(letter);
        }
    }
    outcomes
}

/// Where a letter goes: without a quarantine, to the dead-letter queue.
pub(crate) fn decide_destination(
    letter: &DeadLetter,
    invocation: Invocation,
    has_quarantine: bool,
) -> Destination {
    match invocation.destination(letter.reason) {
        Destination::Quarantine if !has_quarantine => {
            Destination::DeadLetterQueue { delay_seconds: 0 }
        }
        destination => destination,
    }
}
