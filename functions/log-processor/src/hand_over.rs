//! Hands over to the queues what the stream does not have.

use fastrand::Rng;
use sluice::delivery::{DeadLetter, Destination, Invocation, Reason};
use sluice::invocation::{Backoff, Within};
use sluice::ports::{Clock, NewMessage, QueueError, SendMessage};
use tracing::warn;

use crate::decide::decide_destination;
use crate::report::Places;

/// Between attempts to send one message.
const BACKOFF: Backoff = Backoff::equal_jitter(1_000, 10_000);

/// The invocation fails: what could not be delivered could not be handed over either. Lambda tries
/// the event twice more, then its own dead-letter setting takes it.
#[derive(Debug, thiserror::Error)]
pub enum HandoffError {
    /// `DEAD_LETTER_QUEUE_URL` is not set.
    #[error("{reason}, and there is no dead-letter queue")]
    NoQueue {
        /// Why there was something to hand over.
        reason: Reason,
    },
    /// The queue did not take a dead letter.
    #[error("{reason}, and the dead-letter queue refused")]
    QueueRefused {
        /// Why there was something to hand over.
        reason: Reason,
        /// What the queue said.
        #[source]
        source: QueueError,
    },
    /// The queue gave no answer before the invocation's deadline.
    #[error("{reason}, and the dead-letter queue did not answer in time")]
    OutOfTime {
        /// Why there was something to hand over.
        reason: Reason,
    },
}

/// Where to hand over, and by when.
pub(crate) struct HandOver<'a, Q, C> {
    pub queue: Option<&'a Q>,
    pub quarantine: Option<&'a Q>,
    pub clock: &'a C,
    pub deadline_ms: u64,
}

impl<Q: SendMessage, C: Clock> HandOver<'_, Q, C> {
    /// Returns once the queues have every dead letter.
    pub async fn send_all(
        &self,
        rng: &mut Rng,
        dead_letters: &[DeadLetter],
        invocation: Invocation,
    ) -> Result<Places, HandoffError> {
        let mut places = Places::default();
        for dead_letter in dead_letters {
            let reason = dead_letter.reason;
            let destination =
                decide_destination(dead_letter, invocation, self.quarantine.is_some());
            let (queue, place, name) = match destination {
                Destination::Quarantine => (self.quarantine, &mut places.quarantined, "quarantine"),
                Destination::DeadLetterQueue { .. } => {
                    (self.queue, &mut places.dead_letters, "dead-letter queue")
                }
            };
            warn!(
                reason = reason.code(),
                detail = dead_letter.detail,
                log_events = dead_letter.log_events,
                attempts = dead_letter.attempts,
                "log events go to the {name}"
            );
            let Some(queue) = queue else { return Err(HandoffError::NoQueue { reason }) };
            let message = dead_letter.to_message(destination.delay_seconds());
            let sent = send(queue, self.clock, rng, &message, BACKOFF, self.deadline_ms);
            match sent.await {
                Some(Ok(())) => place.add(dead_letter),
                Some(Err(source)) => return Err(HandoffError::QueueRefused { reason, source }),
                None => return Err(HandoffError::OutOfTime { reason }),
            }
        }
        Ok(places)
    }
}

/// Sends a message until the queue has it, an error is permanent or there is no time for another
/// attempt; `None` when the queue does not answer by `until_ms`. Giving up early would cost more: an
/// invocation that fails brings all of its payload again, also what was delivered.
pub(crate) async fn send<Q: SendMessage, C: Clock>(
    queue: &Q,
    clock: &C,
    rng: &mut Rng,
    message: &NewMessage<'_>,
    backoff: Backoff,
    until_ms: u64,
) -> Option<Result<(), QueueError>> {
    let mut attempts = 0;
    loop {
        let ms_left = until_ms.saturating_sub(clock.epoch_ms());
        let Err(error) = clock.within(ms_left, queue.send_message(message)).await? else {
            return Some(Ok(()));
        };
        attempts += 1;
        let pause = backoff.pause(attempts, rng);
        if !error.is_retryable() || clock.epoch_ms() + pause.as_millis() as u64 >= until_ms {
            return Some(Err(error));
        }
        clock.sleep(pause).await;
    }
}
