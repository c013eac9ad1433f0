//! What becomes of a dead letter, and of the run. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice::delivery::{Answer, DeadLetter, Reason, Replay, replayed_event};
use sluice::invocation::Chain;
use sluice::ports::InvokeError;

/// Why a run took no more dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// There were no more.
    QueueEmpty,
    /// It took as many as it was asked to.
    MaxReached,
    /// The invocation's time is over.
    OutOfTime,
    /// One after the other failed.
    NoProgress,
    /// The processor's reserved concurrency is zero.
    ProcessorStopped,
}

impl Stop {
    /// As the answer and the log have it.
    pub fn code(self) -> &'static str {
        match self {
            Self::QueueEmpty => "queue-empty",
            Self::MaxReached => "max-reached",
            Self::OutOfTime => "out-of-time",
            Self::NoProgress => "no-progress",
            Self::ProcessorStopped => "processor-stopped",
        }
    }
}

/// A dead letter that failed is hidden for so long, so that one run does not spend all its attempts.
const FAILED_PAUSE: Duration = Duration::from_secs(3_600);
/// Half of what the processor reserves, but no more than so many bodies of 1 MiB in memory.
const PARALLELISM_MAX: usize = 50;
/// When the processor reserves nothing, there is nothing to take half of.
const PARALLELISM_UNRESERVED: usize = 10;

/// How many invocations of the processor may run at once; `None` when it is stopped.
pub fn decide_parallelism(wanted: Option<usize>, reserved: Option<u32>) -> Option<usize> {
    match (wanted, reserved) {
        (_, Some(0)) => None,
        (Some(wanted), _) => Some(wanted),
        (None, Some(reserved)) => Some((reserved as usize / 2).clamp(1, PARALLELISM_MAX)),
        (None, None) => Some(PARALLELISM_UNRESERVED),
    }
}

/// Why to take no more dead letters, if there is a reason.
pub fn decide_stop(has_failed: bool, left: u64, is_late: bool) -> Option<Stop> {
    if has_failed {
        Some(Stop::NoProgress)
    } else if left == 0 {
        Some(Stop::MaxReached)
    } else if is_late {
        Some(Stop::OutOfTime)
    } else {
        None
    }
}

/// What to do with a dead letter that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Invoke the processor with this event.
    Replay {
        event: String,
        /// What it says of itself.
        replay: Replay,
    },
    /// Quarantine it as it is: it cannot succeed.
    Quarantine(DeadLetter),
}

/// Decides on a dead letter that has been received `receive_count` times, this one included.
///
/// Its attempts are those that it brings along and its receipts since: each was one, unless a
/// replayer died or found the processor busy. It is tried at least once by whoever quarantines it.
pub fn decide_step(letter: &DeadLetter, receive_count: u32, attempts_max: u32) -> Step {
    if letter.reason.is_permanent() || letter.attempts >= attempts_max {
        return Step::Quarantine(letter.clone());
    }
    let attempt = letter.attempts.saturating_add(receive_count);
    let is_last = attempt >= attempts_max;
    let replay = Replay { attempt, is_last, dead_lettered_ms: letter.dead_lettered_ms };
    match replayed_event(&letter.body, replay) {
        Some(event) => Step::Replay { event, replay },
        None => Step::Quarantine(DeadLetter {
            reason: Reason::NotAnAwslogsEvent,
            detail: format!("the message has no awslogs; before: {}", letter.reason),
            ..letter.clone()
        }),
    }
}

/// What to do with a dead letter that was replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// The stream has it, or it was filtered: delete it.
    Delivered,
    /// The processor sent what it could not deliver to the queue as a new dead letter: delete this
    /// one.
    HandedBack {
        /// Whether some of it was delivered.
        has_progress: bool,
    },
    /// The processor quarantined what cannot succeed: delete this one.
    Quarantined,
    /// It failed for the last time: quarantine it, then delete it.
    Quarantine(DeadLetter),
    /// It failed: leave it, hidden for so long.
    Failed(Duration),
    /// The processor was too busy to see it: leave it.
    Untried,
    /// Nothing can be replayed now: leave it, and stop.
    Unavailable(String),
}

/// Decides on what the processor made of a dead letter.
pub fn decide_after(
    letter: &DeadLetter,
    replay: Replay,
    answer: Result<Answer, InvokeError>,
) -> After {
    let quarantine = |error: &InvokeError| {
        let detail = error.to_string();
        After::Quarantine(
            DeadLetter { attempts: replay.attempt, ..letter.clone() }.because(&detail),
        )
    };
    match answer {
        Ok(answer) if answer.dead_letters > 0 => After::HandedBack {
            has_progress: answer.events_delivered
                + answer.events_filtered
                + answer.events_quarantined
                > 0,
        },
        Ok(answer) if answer.quarantined > 0 => After::Quarantined,
        Ok(_) => After::Delivered,
        Err(InvokeError::Throttled { .. }) => After::Untried,
        Err(InvokeError::Unavailable { code, detail }) => {
            After::Unavailable(format!("{code}: {detail}"))
        }
        Err(error @ InvokeError::Refused { .. }) => quarantine(&error),
        Err(error) if replay.is_last => quarantine(&error),
        Err(_) => After::Failed(FAILED_PAUSE),
    }
}

/// The next hop, when only time stopped this one and it was of use.
pub fn decide_next(stop: Stop, has_progress: bool, chain: Chain) -> Option<u32> {
    chain.next_hop(stop == Stop::OutOfTime, has_progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPTS_MAX: u32 = 5;

    fn letter(reason: Reason, attempts: u32) -> DeadLetter {
        DeadLetter {
            body: r#"{"awslogs":{"data":""}}"#.to_owned(),
            reason,
            detail: "why".to_owned(),
            log_events: None,
            attempts,
            dead_lettered_ms: 7,
        }
    }

    fn replay_of(step: Step) -> Replay {
        match step {
            Step::Replay { replay, .. } => replay,
            Step::Quarantine(letter) => panic!("quarantined: {letter:?}"),
        }
    }

    #[test]
    fn half_of_the_reserved_concurrency_is_left_to_live_traffic() {
        assert_eq!(decide_parallelism(None, Some(8)), Some(4));
        assert_eq!(decide_parallelism(None, Some(1)), Some(1));
        assert_eq!(decide_parallelism(None, Some(1_000)), Some(PARALLELISM_MAX));
        assert_eq!(decide_parallelism(None, None), Some(PARALLELISM_UNRESERVED));
        assert_eq!(decide_parallelism(Some(200), Some(8)), Some(200));
        assert_eq!(decide_parallelism(Some(200), Some(0)), None, "a person stopped the flow");
    }

    #[test]
    fn attempts_count_across_remainders_and_receipts() {
        let letter = letter(Reason::Deadline, 2);
        assert_eq!(replay_of(decide_step(&letter, 1, ATTEMPTS_MAX)).attempt, 3);
        let last = replay_of(decide_step(&letter, 3, ATTEMPTS_MAX));
        assert_eq!((last.attempt, last.is_last, last.dead_lettered_ms), (5, true, 7));
    }

    #[test]
    fn what_was_received_often_is_still_tried_before_it_is_quarantined() {
        assert!(replay_of(decide_step(&letter(Reason::Deadline, 0), 70, ATTEMPTS_MAX)).is_last);
    }

    #[test]
    fn what_cannot_succeed_is_quarantined_with_its_reason_and_not_tried() {
        for reason in Reason::ALL.into_iter().filter(|reason| reason.is_permanent()) {
            let letter = letter(reason, 0);
            assert_eq!(decide_step(&letter, 1, ATTEMPTS_MAX), Step::Quarantine(letter));
        }
        let foreign = DeadLetter { body: "hello".to_owned(), ..letter(Reason::Deadline, 0) };
        let Step::Quarantine(quarantined) = decide_step(&foreign, 1, ATTEMPTS_MAX) else {
            panic!("replayed")
        };
        assert_eq!(quarantined.reason, Reason::NotAnAwslogsEvent);
        assert_eq!(quarantined.body, "hello");
    }

    #[test]
    fn a_processor_without_a_quarantine_does_not_go_on_for_ever() {
        let letter = letter(Reason::RefusedTooOften, ATTEMPTS_MAX);
        assert_eq!(decide_step(&letter, 1, ATTEMPTS_MAX), Step::Quarantine(letter));
    }

    #[test]
    fn only_a_real_failure_counts() {
        let letter = letter(Reason::Deadline, 0);
        let replay = |is_last| Replay { attempt: 5, is_last, dead_lettered_ms: 7 };
        let after =
            |is_last, error: InvokeError| decide_after(&letter, replay(is_last), Err(error));
        let text = || "x".to_owned();
        let failed = || InvokeError::Failed { error_type: text(), message: text() };
        let unknown = || InvokeError::Unknown { code: text(), detail: text() };
        let throttled = || InvokeError::Throttled { detail: text() };
        assert_eq!(after(false, failed()), After::Failed(FAILED_PAUSE));
        assert_eq!(after(false, unknown()), After::Failed(FAILED_PAUSE));
        let quarantined = DeadLetter { attempts: 5, detail: "x: x".to_owned(), ..letter.clone() };
        assert_eq!(after(true, failed()), After::Quarantine(quarantined.clone()));
        assert_eq!(after(true, unknown()), After::Quarantine(quarantined.clone()));
        assert_eq!(after(true, throttled()), After::Untried);
        let gone = InvokeError::Unavailable { code: text(), detail: text() };
        assert_eq!(after(true, gone), After::Unavailable("x: x".to_owned()));
        let refused = InvokeError::Refused { code: text(), detail: text() };
        assert_eq!(after(false, refused), After::Quarantine(quarantined));
    }

    #[test]
    fn the_answer_decides_what_is_deleted() {
        let letter = letter(Reason::Deadline, 0);
        let replay = Replay { attempt: 1, is_last: false, dead_lettered_ms: 7 };
        let after = |answer| decide_after(&letter, replay, Ok(answer));
        let delivered = Answer { events_delivered: 5, ..Answer::default() };
        assert_eq!(after(delivered), After::Delivered);
        let part = Answer { dead_letters: 1, ..delivered };
        assert_eq!(after(part), After::HandedBack { has_progress: true });
        let nothing = Answer { dead_letters: 1, ..Answer::default() };
        assert_eq!(after(nothing), After::HandedBack { has_progress: false });
        let poison = Answer { quarantined: 1, ..delivered };
        assert_eq!(after(poison), After::Quarantined);
    }

    #[test]
    fn the_chain_continues_only_when_time_stopped_it_and_it_was_of_use() {
        let chain = Chain { hop: 15, hops_max: 16 };
        assert_eq!(decide_next(Stop::OutOfTime, true, chain), Some(16));
        assert_eq!(decide_next(Stop::OutOfTime, true, Chain { hop: 16, ..chain }), None);
        assert_eq!(decide_next(Stop::OutOfTime, false, Chain { hop: 0, ..chain }), None);
        for stop in [Stop::QueueEmpty, Stop::NoProgress, Stop::MaxReached, Stop::ProcessorStopped] {
            assert_eq!(decide_next(stop, true, Chain { hop: 0, ..chain }), None, "{stop:?}");
        }
    }
}
