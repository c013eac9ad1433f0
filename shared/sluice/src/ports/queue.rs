//! Queues of SQS.

use std::collections::BTreeMap;
use std::time::Duration;

/// Why a call of a queue failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct QueueError {
    /// The service's error code, or the kind of failure when there was no answer.
    pub code: String,
    /// What the service or the connection said.
    pub detail: String,
}

impl QueueError {
    /// Whether the same call may succeed within the invocation. (SQS API, errors of SendMessage and
    /// common errors; Nov 2026)
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        // Some endpoints answer with the older names, some put the service before the code.
        let code = self.code.rsplit(['.', '#']).next().unwrap_or_default();
        !matches!(
            code,
            "QueueDoesNotExist"
                | "NonExistentQueue"
                | "AccessDenied"
                | "AccessDeniedException"
                | "InvalidAddress"
                | "InvalidClientTokenId"
                | "InvalidMessageContents"
                | "InvalidParameterValue"
                | "InvalidSecurity"
                | "KmsAccessDenied"
                | "KmsDisabled"
                | "KmsInvalidKeyUsage"
                | "KmsInvalidState"
                | "KmsNotFound"
                | "KmsOptInRequired"
                | "OptInRequired"
                | "RequestNotSent"
                | "UnsupportedOperation"
        )
    }
}

/// An attribute of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageAttribute {
    /// `Name`.
    pub name: &'static str,
    /// `DataType`: `String` or `Number`.
    pub data_type: &'static str,
    /// `StringValue`.
    pub value: String,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage<'a> {
    /// `MessageBody`.
    pub body: &'a str,
    /// `MessageAttributes`.
    pub attributes: Vec<MessageAttribute>,
    /// `DelaySeconds`: how long the queue hides it from its receivers.
    pub delay_seconds: u32,
}

impl NewMessage<'_> {
    /// What counts against SQS's largest message.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let attribute_bytes =
            |one: &MessageAttribute| one.name.len() + one.data_type.len() + one.value.len();
        self.body.len() + self.attributes.iter().map(attribute_bytes).sum::<usize>()
    }
}

/// Sends messages to a queue.
pub trait SendMessage {
    /// SendMessage. Returns once the queue has the message.
    fn send_message(
        &self,
        message: &NewMessage<'_>,
    ) -> impl Future<Output = Result<(), QueueError>>;
}

/// A message of a queue, received and not yet deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `MessageId`.
    pub id: String,
    /// `ReceiptHandle`: deletes and hides this receipt of the message.
    pub receipt_handle: String,
    /// `Body`.
    pub body: String,
    /// `MessageAttributes`, those that are text or numbers.
    pub attributes: BTreeMap<String, String>,
    /// `SentTimestamp`, in milliseconds since 1970.
    pub sent_ms: u64,
    /// `ApproximateReceiveCount`, this receipt included.
    pub receive_count: u32,
}

/// How many messages a queue holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// `ApproximateNumberOfMessages`: those that a receiver can have.
    pub visible: u64,
    /// `ApproximateNumberOfMessagesNotVisible`: received and not yet deleted.
    pub in_flight: u64,
    /// `ApproximateNumberOfMessagesDelayed`.
    pub delayed: u64,
}

impl QueueCounts {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}

/// Receives messages of a queue, and settles them.
pub trait ReceiveMessages {
    /// ReceiveMessage: up to `messages_max` (1 to 10), hidden from others for `visibility`, waiting
    /// up to `wait` for the first.
    fn receive_messages(
        &self,
        messages_max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Message>, QueueError>>;

    /// DeleteMessage; a message that is gone already is deleted.
    fn delete_message(&self, receipt_handle: &str) -> impl Future<Output = Result<(), QueueError>>;

    /// ChangeMessageVisibility: from now on for `visibility`; zero shows it at once.
    fn change_visibility(
        &self,
        receipt_handle: &str,
        visibility: Duration,
    ) -> impl Future<Output = Result<(), QueueError>>;

    /// GetQueueAttributes.
    fn count_messages(&self) -> impl Future<Output = Result<QueueCounts, QueueError>>;
}
