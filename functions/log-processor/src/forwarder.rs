//! The same code in its other role: what CloudWatch Logs hands over goes into the queue before the
//! processor, as it came, and nothing else happens here.

use fastrand::Rng;
use sluice::delivery::escape_for_sqs;
use sluice::invocation::Backoff;
use sluice::ports::{Clock, NewMessage, QueueError, SendMessage};

use crate::hand_over::send;

/// Between attempts to send a payload.
const BACKOFF: Backoff = Backoff::equal_jitter(200, 10_000);
/// Kept free before the deadline, so that the invocation says why it fails.
const CLOSING_MS: u64 = 2_000;

/// The queue did not take the payload. Lambda tries twice more, then its own dead-letter setting
/// takes it.
#[derive(Debug, thiserror::Error)]
pub enum NotForwarded {
    #[error("the queue before the processor refused the payload")]
    Refused(#[from] QueueError),
    /// It gave no answer before the invocation's deadline.
    #[error("the queue before the processor did not answer in time")]
    OutOfTime,
}

/// What lives as long as an execution environment.
#[derive(Debug)]
pub struct Forwarder<Q, C> {
    queue: Q,
    clock: C,
    rng: Rng,
}

impl<Q: SendMessage, C: Clock> Forwarder<Q, C> {
    /// A forwarder into `queue`.
    pub fn new(queue: Q, clock: C, rng: Rng) -> Self {
        Self { queue, clock, rng }
    }

    /// Returns once the queue has `event`, the JSON text that Lambda hands over.
    pub async fn forward(
        &mut self,
        event: &str,
        deadline_epoch_ms: u64,
    ) -> Result<(), NotForwarded> {
        let body = escape_for_sqs(event);
        let message = NewMessage { body: &body, attributes: Vec::new(), delay_seconds: 0 };
        let until_ms = deadline_epoch_ms.saturating_sub(CLOSING_MS);
        let sent = send(&self.queue, &self.clock, &mut self.rng, &message, BACKOFF, until_ms);
        Ok(sent.await.ok_or(NotForwarded::OutOfTime)??)
    }
}
