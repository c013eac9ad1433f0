//! The exact place of an event at each hand-over. The next place has it before the one before lets
//! go, so a kill between the two leaves it in both, and a kill just before leaves it where it was.
//! Never is it in neither.
//!
//! Each test kills at every call that a small run makes, before its effect and after it, and says
//! where the event is when the environment is found dead (Lambda still has it then, or the
//! dead-letter queue, whoever invoked), and where it is in the end, and how often.

use chaos::plan::{StreamTrouble, Trouble, Window};
use chaos::{Death, Options, Outcome, Plan, Role, run};
use sluice_simulated::queue::QueueFault;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// How often the one event is in the stream, in the dead-letter queue and in quarantine.
type Copies = [u32; 3];

fn at_the_end(outcome: &Outcome) -> Copies {
    let places = &outcome.places;
    [places.stream.of(0), places.dead_letters.of(0), places.quarantine.of(0)]
}

fn at_death(outcome: &Outcome) -> Copies {
    let [places] = &outcome.at_death[..] else { panic!("{} deaths", outcome.at_death.len()) };
    [places.stream.of(0), places.dead_letters.of(0), places.quarantine.of(0)]
}

/// The calls of a run in which nobody is killed.
fn calls(plan: &Plan, role: Role) -> Vec<&'static str> {
    let outcome = run(plan, &Options::default());
    assert_eq!(outcome.verdict.failures, [] as [&str; 0]);
    assert_eq!(outcome.events, 1);
    match role {
        Role::Processor => outcome.processor_calls,
        Role::Replayer => outcome.replayer_calls,
    }
}

/// Kills at every call of `role` from `first` on, before and after, and compares with
/// `expected(name, number of that name, after)`: at death and in the end.
fn killed_at_every_call(
    plan: &Plan,
    role: Role,
    first: usize,
    expected: impl Fn(&str, usize, bool) -> (Copies, Copies),
) {
    let calls = calls(plan, role);
    assert!(calls.len() > first, "{calls:?}");
    for (call, name) in calls.iter().enumerate().skip(first) {
        let nth = calls[first..call].iter().filter(|earlier| *earlier == name).count();
        for after in [false, true] {
            let death = Death { role, call, after };
            let outcome = run(plan, &Options { death: Some(death), ..Options::default() });
            let text = format!("{name} #{nth}, {death:?}, of {calls:?}: {outcome}");
            assert_eq!(outcome.verdict.failures, [] as [&str; 0], "{text}");
            assert_eq!(outcome.deaths, 1, "{text}");
            let (at_death_expected, at_the_end_expected) = expected(name, nth, after);
            assert_eq!(at_death(&outcome), at_death_expected, "at death: {text}");
            assert_eq!(at_the_end(&outcome), at_the_end_expected, "in the end: {text}");
        }
    }
}

/// The stream throttles until everything of the first delivery is over.
fn throttled() -> Plan {
    let window = Window { from_ms: 0, to_ms: 20 * MINUTE_MS };
    let troubles = vec![Trouble::Stream(window, 1.0, StreamTrouble::Throttles)];
    Plan { troubles, ..Plan::still(1) }
}

/// A payload that nobody can decode lies in the dead-letter queue as it came: there was no
/// processor for so long that Lambda gave it up.
fn poison_in_the_queue(seed: u64) -> Plan {
    let window = Window { from_ms: 0, to_ms: 7 * HOUR_MS };
    Plan {
        seed,
        poison: 1.0,
        traffic_ms: 8 * HOUR_MS,
        troubles: vec![Trouble::ProcessorsStopped(window)],
        ..Plan::still(1)
    }
}

#[test]
fn logs_to_lambdas_queue_to_processor_to_stream() {
    killed_at_every_call(&Plan::still(1), Role::Processor, 0, |name, _, after| {
        assert_eq!(name, "PutRecords");
        // Lambda lets go of what was answered for, and nothing was: it goes again.
        if after { ([1, 0, 0], [2, 0, 0]) } else { ([0, 0, 0], [1, 0, 0]) }
    });
}

#[test]
fn logs_hands_over_twice_what_it_was_not_answered_for() {
    let plan = Plan { troubles: vec![Trouble::PayloadTwice(1.0)], ..Plan::still(1) };
    let outcome = run(&plan, &Options::default());
    assert_eq!(at_the_end(&outcome), [2, 0, 0]);
    assert_eq!((outcome.handed_over_twice, outcome.verdict.duplicates), (1, 1));
}

#[test]
fn processor_to_dead_letter_queue() {
    killed_at_every_call(&throttled(), Role::Processor, 0, |name, nth, after| {
        match (name, nth, after) {
            ("PutRecords", 0 | 1, _) => ([0, 0, 0], [1, 0, 0]),
            ("SendMessage", 0, false) => ([0, 0, 0], [1, 0, 0]),
            // The queue has it, Lambda has it still, and each brings it in.
            ("SendMessage", 0, true) => ([0, 1, 0], [2, 0, 0]),
            // The replay.
            ("PutRecords", 2, false) => ([0, 1, 0], [1, 0, 0]),
            ("PutRecords", 2, true) => ([1, 1, 0], [2, 0, 0]),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn what_is_refused_of_a_payload_is_handed_over_and_the_rest_is_not() {
    let window = Window { from_ms: 0, to_ms: 20 * MINUTE_MS };
    let troubles = vec![Trouble::Stream(window, 1.0, StreamTrouble::RefusesLast)];
    let plan = Plan { troubles, ..Plan::still(2) };
    let copies = |outcome: &Outcome, id| {
        let places = outcome.at_death.first().unwrap_or(&outcome.places);
        [places.stream.of(id), places.dead_letters.of(id), places.quarantine.of(id)]
    };
    let undisturbed = run(&plan, &Options::default());
    assert_eq!(undisturbed.verdict.failures, [] as [&str; 0]);
    assert_eq!((undisturbed.dead_lettered, undisturbed.replayed), (1, 1));
    assert_eq!((copies(&undisturbed, 0), copies(&undisturbed, 1)), ([1, 0, 0], [1, 0, 0]));
    assert_eq!(undisturbed.processor_calls[..3], ["PutRecords", "PutRecords", "SendMessage"]);

    for (after, of_second) in [(false, [0, 0, 0]), (true, [0, 1, 0])] {
        let death = Some(Death { role: Role::Processor, call: 2, after });
        let killed = run(&plan, &Options { death, ..Options::default() });
        assert_eq!(killed.verdict.failures, [] as [&str; 0]);
        // At death the stream has the first, and Lambda both.
        assert_eq!((copies(&killed, 0), copies(&killed, 1)), ([1, 0, 0], of_second));
        let [first, second] = [0, 1].map(|id| killed.places.stream.of(id));
        assert_eq!((first, second), (2, 1 + u32::from(after)));
    }
}

#[test]
fn dead_letter_queue_to_replayer_to_processor() {
    killed_at_every_call(&throttled(), Role::Replayer, 0, |name, nth, after| {
        match (name, nth, after) {
            ("GetFunctionConcurrency" | "ReceiveMessage", 0, _) | ("Invoke", 0, false) => {
                ([0, 1, 0], [1, 0, 0])
            }
            // The stream has it, the queue has it still.
            ("Invoke", 0, true) | ("DeleteMessage", 0, false) => ([1, 1, 0], [2, 0, 0]),
            ("DeleteMessage", 0, true) => ([1, 0, 0], [1, 0, 0]),
            ("ReceiveMessage" | "GetQueueAttributes", _, _) => ([1, 0, 0], [1, 0, 0]),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_remainder_of_a_replay_is_back_in_the_queue_before_its_letter_leaves_it() {
    // It is down for live traffic and for the first replay, and up for the second.
    let window = Window { from_ms: 0, to_ms: 65 * MINUTE_MS };
    let plan = Plan {
        troubles: vec![Trouble::Stream(window, 1.0, StreamTrouble::Throttles)],
        traffic_ms: 90 * MINUTE_MS,
        replay_every_ms: 60 * MINUTE_MS,
        ..Plan::still(1)
    };
    let calls = calls(&plan, Role::Replayer);
    let handed_back = calls.iter().position(|name| *name == "DeleteMessage").expect("a delete");
    let killed = |call, after| {
        let death = Death { role: Role::Replayer, call, after };
        run(&plan, &Options { death: Some(death), ..Options::default() })
    };
    // Both letters are there, and both are delivered.
    let before = killed(handed_back, false);
    assert_eq!((at_death(&before), at_the_end(&before)), ([0, 2, 0], [2, 0, 0]));
    let after = killed(handed_back, true);
    assert_eq!((at_death(&after), at_the_end(&after)), ([0, 1, 0], [1, 0, 0]));
}

#[test]
fn processor_to_quarantine() {
    for plan in [Plan { failing: 1.0, ..Plan::still(1) }, Plan { poison: 1.0, ..Plan::still(1) }] {
        killed_at_every_call(&plan, Role::Processor, 0, |name, _, after| {
            assert_eq!(name, "SendMessage");
            if after { ([0, 0, 1], [0, 0, 2]) } else { ([0, 0, 0], [0, 0, 1]) }
        });
    }
}

#[test]
fn replayer_to_quarantine() {
    let by_replayer =
        |seed: &u64| calls(&poison_in_the_queue(*seed), Role::Replayer).contains(&"SendMessage");
    let seed = (0..100).find(by_replayer).expect("a payload without awslogs");
    killed_at_every_call(&poison_in_the_queue(seed), Role::Replayer, 0, |name, nth, after| match (
        name, nth, after,
    ) {
        ("GetFunctionConcurrency" | "ReceiveMessage", 0, _) | ("SendMessage", 0, false) => {
            ([0, 1, 0], [0, 0, 1])
        }
        ("SendMessage", 0, true) | ("DeleteMessage", 0, false) => ([0, 1, 1], [0, 0, 2]),
        ("DeleteMessage", 0, true) => ([0, 0, 1], [0, 0, 1]),
        ("ReceiveMessage" | "GetQueueAttributes", _, _) => ([0, 0, 1], [0, 0, 1]),
        other => panic!("{other:?}"),
    });
}

#[test]
fn dead_letter_queue_to_replayer_to_processor_to_quarantine() {
    let by_processor =
        |seed: &u64| calls(&poison_in_the_queue(*seed), Role::Replayer).contains(&"Invoke");
    let seed = (0..100).find(by_processor).expect("a payload with awslogs");
    let plan = poison_in_the_queue(seed);
    killed_at_every_call(&plan, Role::Processor, 0, |name, _, after| {
        assert_eq!(name, "SendMessage");
        if after { ([0, 1, 1], [0, 0, 2]) } else { ([0, 1, 0], [0, 0, 1]) }
    });
    killed_at_every_call(&plan, Role::Replayer, 0, |name, nth, after| match (name, nth, after) {
        ("GetFunctionConcurrency" | "ReceiveMessage", 0, _) | ("Invoke", 0, false) => {
            ([0, 1, 0], [0, 0, 1])
        }
        ("Invoke", 0, true) | ("DeleteMessage", 0, false) => ([0, 1, 1], [0, 0, 2]),
        ("DeleteMessage", 0, true) => ([0, 0, 1], [0, 0, 1]),
        ("ReceiveMessage" | "GetQueueAttributes", _, _) => ([0, 0, 1], [0, 0, 1]),
        other => panic!("{other:?}"),
    });
}

#[test]
fn who_dies_three_times_leaves_the_event_to_lambdas_own_dead_letter_queue() {
    let plan = Plan { troubles: vec![Trouble::Kill(Role::Processor, 1.0)], ..Plan::still(1) };
    let outcome = run(&plan, &Options::default());
    assert_eq!(outcome.verdict.failures, [] as [&str; 0]);
    assert_eq!((outcome.deaths, outcome.dead_lettered, outcome.replayed), (3, 1, 1));
    let [stream, dead_letters, quarantine] = at_the_end(&outcome);
    assert!((1..=4).contains(&stream), "{outcome}");
    assert_eq!((dead_letters, quarantine), (0, 0));
}

#[test]
fn the_queue_takes_what_lambda_gives_up_as_soon_as_it_is_there_again() {
    let window = |minutes| Window { from_ms: 0, to_ms: minutes * MINUTE_MS };
    let both_down = |minutes| {
        let troubles = vec![
            Trouble::Stream(window(30), 1.0, StreamTrouble::Throttles),
            Trouble::Queues(window(minutes), 1.0, QueueFault::Error),
        ];
        run(&Plan { troubles, ..Plan::still(1) }, &Options::default())
    };
    let outcome = both_down(2);
    assert_eq!(outcome.verdict.failures, [] as [&str; 0]);
    assert_eq!(at_the_end(&outcome), [1, 0, 0]);

    // The limit, so that nobody takes it for none: while both the stream and the queue are down for
    // longer than Lambda tries, there is no place left that could hold the event. Lambda deletes it,
    // and says so (`DeadLetterErrors`).
    let outcome = both_down(20);
    assert_eq!(outcome.verdict.lost, [0]);
    assert!(outcome.to_string().contains("deleted by Lambda"), "{outcome}");
}
