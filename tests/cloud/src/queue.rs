//! An SQS queue, as far as sending goes.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use sluice::delivery::DeadLetter;
use sluice::limits::SQS_MESSAGE_BYTES_MAX;
use sluice::ports::{Clock, SendDeadLetter, SendError};

use crate::VirtualClock;

/// A call takes this long.
const CALL_TIME: Duration = Duration::from_millis(10);

/// How the queue answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It takes messages.
    Takes,
    /// It refuses them.
    Refuses,
    /// It never answers.
    Hangs,
}

/// A queue that keeps what it was sent.
#[derive(Debug)]
pub struct Queue {
    clock: VirtualClock,
    mood: Cell<Mood>,
    messages: RefCell<Vec<DeadLetter>>,
}

impl Queue {
    /// An empty queue that takes messages.
    #[must_use]
    pub fn new(clock: VirtualClock) -> Self {
        Self { clock, mood: Cell::new(Mood::Takes), messages: RefCell::default() }
    }

    /// From now on it answers like this.
    pub fn set_mood(&self, mood: Mood) {
        self.mood.set(mood);
    }

    /// What it holds.
    #[must_use]
    pub fn messages(&self) -> Vec<DeadLetter> {
        self.messages.borrow().clone()
    }

    /// Takes everything out.
    #[must_use]
    pub fn drain(&self) -> Vec<DeadLetter> {
        self.messages.take()
    }
}

impl SendDeadLetter for &Queue {
    async fn send_dead_letter(&self, dead_letter: &DeadLetter) -> Result<(), SendError> {
        self.clock.sleep(CALL_TIME).await;
        let refused =
            |code: &str| Err(SendError { code: code.to_owned(), detail: "simulated".to_owned() });
        match self.mood.get() {
            Mood::Hangs => std::future::pending().await,
            Mood::Refuses => refused("ServiceUnavailable"),
            Mood::Takes => {
                let bytes =
                    dead_letter.body.len() + dead_letter.reason.len() + dead_letter.detail.len();
                if bytes > SQS_MESSAGE_BYTES_MAX {
                    return refused("InvalidParameterValue");
                }
                self.messages.borrow_mut().push(dead_letter.clone());
                Ok(())
            }
        }
    }
}
