//! The alarm on what Lambda deletes from its queue, with the simulated queue, hour by hour.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sluice::ports::Clock;
use sluice::scaling::AlarmState;
use sluice_simulated::cloudwatch::{MINUTE_MS, MetricName, Unpublished};
use sluice_simulated::functions::{Failure, Handler};
use sluice_simulated::{AsyncFunction, Asynchronous, Backlog, Queue};
use tokio::task::{LocalSet, spawn_local};

use crate::world::{ANSWERS, PROCESSOR, World, all_alarms};

const PROCESSORS: u32 = 2;
/// Two processors take 15 payloads a minute.
const INVOCATION: Duration = Duration::from_secs(8);
const CALM_PER_MINUTE: u64 = 6;
const FLOOD_PER_MINUTE: u64 = 30;
const REPLAYER: &str = "carry-dlq-replayer";

/// What happens, by the hour.
#[derive(Clone, Copy)]
struct Days {
    hours: u64,
    flood: fn(u64) -> bool,
    /// The function fails.
    outage: fn(u64) -> bool,
    /// Reserved concurrency is 0.
    stopped: fn(u64) -> bool,
    /// The dead-letter queue is replayed.
    replay: fn(u64) -> bool,
    backlog: Backlog,
    unpublished: Unpublished,
}

const CALM: Days = Days {
    hours: 20,
    flood: |_| false,
    outage: |_| false,
    stopped: |_| false,
    replay: |hour| hour == 14,
    backlog: Backlog { events: 100.0, fill_min: 0.75, deleted: 0.0 },
    unpublished: Unpublished::IsFilled,
};

/// What came of it.
struct Told {
    /// The hours in which the alarm was on.
    alarm: Vec<u64>,
    deleted: usize,
    dead_lettered: usize,
}

fn play(days: Days) -> Told {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    LocalSet::new().block_on(&runtime, carry(days))
}

async fn carry(days: Days) -> Told {
    let world = World::new(PROCESSORS as usize);
    let (cloud, clock) = (Rc::clone(&world.cloud), world.clock());
    cloud.metrics.borrow_mut().unpublished = days.unpublished;
    let queue = Rc::new(Queue::new(clock));
    let is_down = Rc::new(Cell::new(false));
    let down = Rc::clone(&is_down);
    let handler: Handler = Rc::new(move |_| {
        let is_down = down.get();
        Box::pin(async move {
            clock.sleep(INVOCATION).await;
            if is_down { Err(Failure::from("down".to_owned())) } else { Ok(String::new()) }
        })
    });
    let asynchronous = Asynchronous {
        dead_letter_queue: Some(Rc::clone(&queue)),
        backlog: days.backlog,
        ..Asynchronous::default()
    };
    let function = AsyncFunction::start(Rc::clone(&cloud), PROCESSOR, asynchronous, handler);
    let rule = all_alarms()["queue-loss"].rule.clone();
    let (mut state, mut alarm) = (AlarmState::Ok, Vec::new());
    for minute in 0..days.hours * 60 {
        let hour = minute / 60;
        is_down.set((days.outage)(hour));
        let reserved = if (days.stopped)(hour) { 0 } else { PROCESSORS };
        cloud.account.borrow_mut().put_reserved(PROCESSOR, reserved).expect("room");
        if (days.replay)(hour) && minute % 60 == 0 {
            spawn_local(replay(Rc::clone(&function), Rc::clone(&queue), Rc::clone(&cloud)));
        }
        let payloads = if (days.flood)(hour) { FLOOD_PER_MINUTE } else { CALM_PER_MINUTE };
        for place in 0..payloads {
            let spread_ms = MINUTE_MS / payloads;
            let delay_ms = place * spread_ms + cloud.draw(0..=spread_ms);
            function.invoke("payload".to_owned(), delay_ms);
        }
        world.sleep_to_next_minute().await;
        cloud.publish_counts(PROCESSOR, function.take_counts());
        let now_ms = clock.epoch_ms();
        if minute % 60 == 59 {
            state = rule.evaluate(&cloud.metrics.borrow(), state, now_ms);
        }
        if state == AlarmState::Alarm && alarm.last() != Some(&hour) {
            alarm.push(hour);
        }
    }
    let dead_lettered = queue.ever().len();
    Told { alarm, deleted: function.deleted().len(), dead_lettered }
}

/// The replayer: one at a time, synchronously.
async fn replay(function: Rc<AsyncFunction>, queue: Rc<Queue>, cloud: Rc<sluice_simulated::Cloud>) {
    let clock = cloud.clock();
    let mut answered = 0;
    for letter in queue.drain() {
        let answer = loop {
            match function.invoke_now(letter.body.clone()) {
                Some(answer) => break answer,
                None => clock.sleep(Duration::from_secs(1)).await,
            }
        };
        match answer.await.expect("an answer") {
            Ok(_) => answered += 1,
            Err(_) => queue.put(&letter.body, BTreeMap::new(), 0),
        }
    }
    let metric = MetricName::new("Sluice", "DeadLettersAnswered", &[("FunctionName", REPLAYER)]);
    let now_ms = clock.epoch_ms();
    let mut metrics = cloud.metrics.borrow_mut();
    metrics.publish(&metric, now_ms, f64::from(answered), now_ms + MINUTE_MS);
}

#[test]
fn the_alarm_is_silent_when_lambda_keeps_what_it_queued() {
    let cases = [
        ("calm", false, CALM),
        ("a flood", false, Days { flood: |hour| hour == 5, ..CALM }),
        ("a flood that lasts", true, Days { flood: |hour| (2..12).contains(&hour), ..CALM }),
        ("an outage", true, Days { outage: |hour| (5..9).contains(&hour), ..CALM }),
        ("processors stopped", true, Days { stopped: |hour| (5..13).contains(&hour), ..CALM }),
        ("floods", false, Days { flood: |hour| hour % 6 == 1, ..CALM }),
        (
            "an outage in a flood, and a replay that fails",
            true,
            Days {
                flood: |hour| (4..7).contains(&hour),
                outage: |hour| (6..8).contains(&hour) || hour == 12,
                replay: |hour| hour == 12 || hour == 14,
                ..CALM
            },
        ),
    ];
    // In turns, since each plays days.
    let answers = ANSWERS.into_iter().cycle();
    for ((name, is_given_up, days), unpublished) in cases.into_iter().zip(answers) {
        let told = play(Days { unpublished, ..days });
        assert_eq!((told.alarm.as_slice(), told.deleted), (&[][..], 0), "{name}");
        assert_eq!(told.dead_lettered > 0, is_given_up, "{name}: {}", told.dead_lettered);
    }
}

#[test]
fn the_alarm_speaks_within_hours_when_lambda_deletes() {
    let backlog = Backlog { deleted: 0.02, ..CALM.backlog };
    for (name, hours, days) in [
        ("a flood", 7..=12, Days { flood: |hour| (5..7).contains(&hour), ..CALM }),
        (
            "a flood, an outage and a replay",
            7..=16,
            Days {
                flood: |hour| (5..7).contains(&hour),
                outage: |hour| (8..9).contains(&hour),
                replay: |hour| hour == 10,
                ..CALM
            },
        ),
        ("floods", 2..=12, Days { flood: |hour| hour % 6 == 1, ..CALM }),
    ] {
        for unpublished in ANSWERS {
            let told = play(Days { backlog, unpublished, ..days });
            let case = format!("{name}, {unpublished:?}: {} deleted", told.deleted);
            assert!(told.deleted > 50, "{case}");
            let first = told.alarm.first().unwrap_or_else(|| panic!("{case}"));
            assert!(hours.contains(first), "{case}: {:?}", told.alarm);
        }
    }
}
