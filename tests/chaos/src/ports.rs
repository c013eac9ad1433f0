//! The ports of the functions: as the adapters call the services, or wrong in a way that the
//! functions stand on, so that a test can show that it is noticed.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use clap::ValueEnum;
use sluice::ports::{
    Message, NewMessage, PutError, PutRecords, QueueCounts, QueueError, ReceiveMessages, Refusal,
    SendMessage,
};
use sluice::records::Record;
use sluice_simulated::CloudStream;
use sluice_simulated::queue::SharedQueue;

/// One try of a call, as the adapters have it.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(6);
/// Tries of a call of a queue, as the SDK has it,
const ATTEMPTS_MAX: u32 = 3;
/// and the pause before the second; before the third it is twice as long.
const BACKOFF: Duration = Duration::from_millis(500);

/// A call of a queue as the adapter makes it: it ends, and it is tried again.
async fn adapted<T, F: Future<Output = Result<T, QueueError>>>(
    time: Duration,
    call: impl Fn() -> F,
) -> Result<T, QueueError> {
    let mut attempt = 1;
    loop {
        let ended = tokio::time::timeout(time, call()).await.unwrap_or_else(|_| {
            Err(QueueError { code: "Timeout".to_owned(), detail: "simulated".to_owned() })
        });
        let is_final = |error: &QueueError| {
            attempt == ATTEMPTS_MAX
                || matches!(&*error.code, "MessageNotInflight" | "InvalidParameterValue")
        };
        match ended {
            Err(error) if !is_final(&error) => tokio::time::sleep(BACKOFF * attempt).await,
            ended => return ended,
        }
        attempt += 1;
    }
}

/// What is removed from the functions, seen from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Mutation {
    /// Nothing.
    #[default]
    #[value(skip)]
    None,
    /// Partial failures are not handled: entries that were refused pass for accepted.
    RefusedPassForAccepted,
    /// A whole call that fails passes for one that was accepted.
    FailedCallsPassForAccepted,
    /// There is no hand-over: a dead letter is let go as if a queue had it.
    NoHandOver,
    /// Deletion comes before success: who receives a message deletes it.
    DeletesFirst,
}

/// The stream of the processor.
#[derive(Clone)]
pub struct StreamPort {
    /// The stream.
    pub stream: CloudStream,
    /// What is wrong with it.
    pub mutation: Mutation,
}

impl PutRecords for StreamPort {
    async fn put_records(&self, records: &[&Record]) -> Result<Vec<Option<Refusal>>, PutError> {
        let answered = tokio::time::timeout(ATTEMPT_TIMEOUT, self.stream.put_records(records));
        let answer = answered.await.unwrap_or_else(|_| {
            Err(PutError::Unknown { code: "Timeout".to_owned(), detail: "simulated".to_owned() })
        });
        match self.mutation {
            Mutation::RefusedPassForAccepted => answer.map(|entries| vec![None; entries.len()]),
            Mutation::FailedCallsPassForAccepted => {
                Ok(answer.unwrap_or_else(|_| vec![None; records.len()]))
            }
            _ => answer,
        }
    }
}

/// A queue of the processor or the replayer.
#[derive(Clone)]
pub struct QueuePort {
    /// The queue.
    pub queue: SharedQueue,
    /// What is wrong with it.
    pub mutation: Mutation,
    /// What is received is hidden for so many times shorter than asked for, and stays so: its
    /// visibility expires in the middle of its replay.
    pub visibility_divisor: Rc<Cell<u32>>,
}

impl SendMessage for QueuePort {
    async fn send_message(&self, message: &NewMessage<'_>) -> Result<(), QueueError> {
        if self.mutation == Mutation::NoHandOver {
            return Ok(());
        }
        adapted(ATTEMPT_TIMEOUT, || self.queue.send_message(message)).await
    }
}

impl ReceiveMessages for QueuePort {
    async fn receive_messages(
        &self,
        messages_max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        let visibility = visibility / self.visibility_divisor.get();
        let receive = || self.queue.receive_messages(messages_max, visibility, wait);
        let messages = adapted(wait + ATTEMPT_TIMEOUT, receive).await?;
        if self.mutation == Mutation::DeletesFirst {
            for message in &messages {
                self.queue.delete_message(&message.receipt_handle).await?;
            }
        }
        Ok(messages)
    }

    async fn delete_message(&self, receipt_handle: &str) -> Result<(), QueueError> {
        adapted(ATTEMPT_TIMEOUT, || self.queue.delete_message(receipt_handle)).await
    }

    async fn change_visibility(
        &self,
        receipt_handle: &str,
        visibility: Duration,
    ) -> Result<(), QueueError> {
        adapted(ATTEMPT_TIMEOUT, || self.queue.change_visibility(receipt_handle, visibility)).await
    }

    async fn count_messages(&self) -> Result<QueueCounts, QueueError> {
        adapted(ATTEMPT_TIMEOUT, || self.queue.count_messages()).await
    }
}
