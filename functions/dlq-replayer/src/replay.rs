//! One dead letter: invoke the processor with it, then delete, hide or quarantine it.

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use fastrand::Rng;
use sluice::delivery::{Answer, DeadLetter};
use sluice::invocation::{Backoff, Within};
use sluice::ports::{Clock, InvokeError, InvokeFunction, Message, ReceiveMessages, SendMessage};
use tracing::warn;

use crate::config::Config;
use crate::decide::{After, Step, decide_after, decide_step};
use crate::run::Done;

/// A receipt hides its message for so long; it is renewed while the processor works.
pub(crate) const VISIBILITY: Duration = Duration::from_secs(120);
/// The processor's answer may come so much later than its timeout: a cold start is not in it.
pub(crate) const ANSWER_MARGIN: Duration = Duration::from_secs(15);
/// Before a busy processor is invoked again.
const BUSY_BACKOFF: Backoff = Backoff::equal_jitter(1_000, 20_000);

/// Replays dead letters, one at a time.
pub(crate) struct Replay<'a, Q, F, C> {
    pub config: &'a Config,
    pub queue: &'a Q,
    pub quarantine: &'a Q,
    pub functions: &'a F,
    pub clock: &'a C,
    pub rng: &'a RefCell<Rng>,
    pub until_ms: u64,
}

impl<Q, F, C> Replay<'_, Q, F, C>
where
    Q: ReceiveMessages + SendMessage,
    F: InvokeFunction,
    C: Clock,
{
    /// Replays one dead letter and does with it what was decided.
    pub async fn run(&self, message: Message, letter: DeadLetter) -> Done {
        let step = decide_step(&letter, message.receive_count, self.config.replay_attempts_max);
        let after = match step {
            Step::Quarantine(quarantined) => After::Quarantine(quarantined),
            Step::Replay { event, replay } => {
                let answer = self.invoke_while_hiding(&message, &event).await;
                if let Err(error) = &answer {
                    warn!(message = message.id, attempt = replay.attempt, %error, "replay of dead letter failed");
                }
                decide_after(&letter, replay, answer)
            }
        };
        let after = self.act(&message, after).await;
        Done { letter, after }
    }

    /// Invokes the processor, again and again while it is busy, and keeps the message hidden.
    async fn invoke_while_hiding(
        &self,
        message: &Message,
        event: &str,
    ) -> Result<Answer, InvokeError> {
        let renewal_ms = VISIBILITY.as_millis() as u64 / 2;
        let mut invoked = pin!(self.invoke(event));
        loop {
            if let Some(answer) = self.clock.within(renewal_ms, invoked.as_mut()).await {
                return answer;
            }
            let renewed = self.queue.change_visibility(&message.receipt_handle, VISIBILITY).await;
            if let Err(error) = renewed {
                warn!(message = message.id, %error, "could not keep the dead letter hidden; it may be replayed twice");
            }
        }
    }

    async fn invoke(&self, event: &str) -> Result<Answer, InvokeError> {
        let mut attempts = 0;
        loop {
            let Config { processor_function, processor_timeout, .. } = self.config;
            let wait = *processor_timeout + ANSWER_MARGIN;
            let answer = self.functions.invoke(processor_function, event, wait).await;
            attempts += 1;
            let pause = BUSY_BACKOFF.pause(attempts, &mut self.rng.borrow_mut());
            match answer {
                Err(InvokeError::Throttled { .. })
                    if self.clock.epoch_ms() + (pause.as_millis() as u64) < self.until_ms =>
                {
                    self.clock.sleep(pause).await;
                }
                // Another function's "ok" is no reason to let go of anything.
                Ok(answer) => {
                    return Answer::parse(&answer).ok_or_else(|| InvokeError::Failed {
                        error_type: "UnexpectedAnswer".to_owned(),
                        message: "it does not say where the log events are".to_owned(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The next place has it before this one lets go. What could not be done is left to a later run.
    async fn act(&self, message: &Message, after: After) -> After {
        let Self { queue, quarantine, .. } = self;
        let receipt = &message.receipt_handle;
        if let After::Quarantine(letter) = &after {
            warn!(
                message = message.id,
                reason = letter.reason.code(),
                detail = letter.detail,
                attempts = letter.attempts,
                "dead letter quarantined"
            );
            // With our attributes a message may be larger than it was with Lambda's.
            for letter in letter.clone().messages() {
                if let Err(error) = quarantine.send_message(&letter.to_message(0)).await {
                    warn!(message = message.id, %error, "quarantine did not accept the dead letter; it stays in the queue");
                    return After::Untried;
                }
            }
        }
        let done = match &after {
            After::Delivered
            | After::HandedBack { .. }
            | After::Quarantined
            | After::Quarantine(_) => queue.delete_message(receipt).await,
            After::Failed(pause) => queue.change_visibility(receipt, *pause).await,
            After::Untried | After::Unavailable(_) => {
                queue.change_visibility(receipt, Duration::ZERO).await
            }
        };
        if let Err(error) = done {
            warn!(message = message.id, %error, "could not settle the dead letter; it becomes visible again too early");
        }
        after
    }
}
