//! The same code in its other role: what CloudWatch Logs hands over goes into the queue before the
//! processor, as it came, and nothing else happens here.

use std::time::Duration;

use fastrand::Rng;
use sluice::delivery::escape_for_sqs;
use sluice::ports::{Clock, NewMessage, QueueError, SendMessage};

/// A queue that refuses is asked again within this, then within twice as long.
const BACKOFF_MS: u64 = 200;
/// No pause before asking the queue again is longer.
const BACKOFF_MS_MAX: u64 = 10_000;
/// Kept free before the deadline, so that the invocation says why it fails.
const CLOSING_MS: u64 = 2_000;

/// The queue did not take the payload. Lambda tries twice more, then its own dead-letter setting
/// takes it.
#[derive(Debug, thiserror::Error)]
pub enum NotForwarded {
    /// What it said.
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
        let mut backoff_ms = BACKOFF_MS;
        loop {
            let left_ms = until_ms.saturating_sub(self.clock.epoch_ms());
            let deadline = self.clock.sleep(Duration::from_millis(left_ms));
            let sent = tokio::select! {
                biased;
                sent = self.queue.send_message(&message) => sent,
                () = deadline => return Err(NotForwarded::OutOfTime),
            };
            let Err(error) = sent else { return Ok(()) };
            let pause_ms = self.rng.u64(backoff_ms / 2..=backoff_ms);
            if !error.may_pass() || self.clock.epoch_ms() + pause_ms >= until_ms {
                return Err(error.into());
            }
            self.clock.sleep(Duration::from_millis(pause_ms)).await;
            backoff_ms = (backoff_ms * 2).min(BACKOFF_MS_MAX);
        }
    }
}
