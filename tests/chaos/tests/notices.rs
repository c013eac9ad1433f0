//! What is removed is noticed, by the seeds and by the tests of `hand_over.rs`, and the same seed
//! gives the same bytes.

use chaos::plan::{StreamTrouble, Trouble, Window};
use chaos::{Death, Family, Mutation, Options, Outcome, Plan, Role, run};
use sluice::records::RecordFormat;

const EVENTS: usize = 1_000;

/// A seed of that family.
fn plan(family: Family) -> Plan {
    let place = Family::ALL.iter().position(|other| *other == family).expect("a family");
    // A record an event, so that there are many to refuse.
    let plan = Plan { record_format: RecordFormat::Single, ..Plan::draw(place as u64, EVENTS) };
    assert_eq!(plan.family, family);
    plan
}

/// The seed passes, and does not with `mutation`: events are nowhere.
fn loses(family: Family, mutation: Mutation) {
    let plan = plan(family);
    let outcome = run(&plan, &Options::default());
    assert_eq!(outcome.verdict.failures, [] as [&str; 0], "{plan}");
    let outcome = run(&plan, &Options { mutation, ..Options::default() });
    let failures = &outcome.verdict.failures;
    assert!(failures.iter().any(|failure| failure.contains("are nowhere")), "{plan}: {failures:?}");
}

#[test]
fn partial_failures_that_are_not_handled() {
    loses(Family::PartialFailuresOfOnePercent, Mutation::RefusedPassForAccepted);
    loses(Family::PartialFailuresOfThirtyPercent, Mutation::RefusedPassForAccepted);
    loses(Family::PartialFailuresOfAll, Mutation::RefusedPassForAccepted);
}

#[test]
fn failed_calls_that_are_not_handled() {
    loses(Family::Errors, Mutation::FailedCallsPassForAccepted);
    loses(Family::StreamMadeAgain, Mutation::FailedCallsPassForAccepted);
}

#[test]
fn a_missing_hand_over_to_the_queue() {
    loses(Family::PartialFailuresOfAll, Mutation::NoHandOver);
    loses(Family::ThrottledForHours, Mutation::NoHandOver);
}

#[test]
fn a_missing_hand_over_to_the_quarantine() {
    loses(Family::Poison, Mutation::NoHandOver);
}

#[test]
fn deletion_before_success() {
    loses(Family::ReplayersKilled, Mutation::DeletesFirst);
}

/// One event that the stream refuses until it lies in the dead-letter queue.
fn throttled() -> Plan {
    let window = Window { from_ms: 0, to_ms: 20 * 60_000 };
    let troubles = vec![Trouble::Stream(window, 1.0, StreamTrouble::Throttles)];
    Plan { troubles, ..Plan::still(1) }
}

fn one_event(mutation: Mutation, death: Option<Death>) -> Outcome {
    run(&throttled(), &Options { death, mutation })
}

#[test]
fn one_event_is_enough_to_notice_a_missing_hand_over() {
    assert!(one_event(Mutation::None, None).verdict.lost.is_empty());
    assert_eq!(one_event(Mutation::NoHandOver, None).verdict.lost, [0]);
    assert_eq!(one_event(Mutation::FailedCallsPassForAccepted, None).verdict.lost, [0]);
}

#[test]
fn one_kill_is_enough_to_notice_deletion_before_success() {
    let calls = one_event(Mutation::None, None).replayer_calls;
    let call = calls.iter().position(|name| *name == "Invoke").expect("a replay");
    let death = Some(Death { role: Role::Replayer, call, after: false });
    assert!(one_event(Mutation::None, death).verdict.lost.is_empty());
    assert_eq!(one_event(Mutation::DeletesFirst, death).verdict.lost, [0]);
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let text = |seed| {
        let plan = Plan::draw(seed, EVENTS);
        format!("{plan}\n{}", run(&plan, &Options::default()))
    };
    // Two of them with several kinds of trouble.
    for seed in [15, 17, 35] {
        let first = text(seed);
        assert_eq!(first, text(seed));
        assert_ne!(first, text(seed + 18));
    }
}
