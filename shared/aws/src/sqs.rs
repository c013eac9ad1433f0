//! Queues through the SDK.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::connection::{ATTEMPT_TIMEOUT, held_back};
use crate::describe;
use sluice::ports::{
    Message, MessageAttribute, NewMessage, QueueCounts, QueueError, ReceiveMessages, SendMessage,
};

/// An SQS queue, by URL.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    queue_url: String,
}

impl Queue {
    /// The queue at `queue_url`.
    pub fn new(client: Client, queue_url: String) -> Self {
        Self { client, queue_url }
    }
}

fn failed<E, R>(error: &SdkError<E, R>) -> QueueError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let (code, detail) = describe(error);
    QueueError { code, detail }
}

impl SendMessage for Queue {
    async fn send_message(&self, message: &NewMessage<'_>) -> Result<(), QueueError> {
        let mut request = self
            .client
            .send_message()
            .queue_url(&self.queue_url)
            .message_body(message.body)
            .delay_seconds(i32::try_from(message.delay_seconds).unwrap_or(i32::MAX));
        for MessageAttribute { name, data_type, value } in &message.attributes {
            request = request.message_attributes(*name, attribute(data_type, value.clone())?);
        }
        request.send().await.map_err(|error| failed(&error))?;
        Ok(())
    }
}

impl ReceiveMessages for Queue {
    async fn receive_messages(
        &self,
        messages_max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        let timeouts = held_back(wait + ATTEMPT_TIMEOUT);
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(i32::try_from(messages_max).unwrap_or(i32::MAX))
            .visibility_timeout(seconds(visibility))
            .wait_time_seconds(seconds(wait))
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .customize()
            .config_override(aws_sdk_sqs::Config::builder().timeout_config(timeouts))
            .send()
            .await
            .map_err(|error| failed(&error))?;
        answer.messages.unwrap_or_default().into_iter().map(message).collect()
    }

    async fn delete_message(&self, receipt_handle: &str) -> Result<(), QueueError> {
        // SQS itself answers 200 when the message is gone.
        self.client
            .delete_message()
            .queue_url(&self.queue_url)
            .receipt_handle(receipt_handle)
            .send()
            .await
            .map_err(|error| failed(&error))?;
        Ok(())
    }

    async fn change_visibility(
        &self,
        receipt_handle: &str,
        visibility: Duration,
    ) -> Result<(), QueueError> {
        self.client
            .change_message_visibility()
            .queue_url(&self.queue_url)
            .receipt_handle(receipt_handle)
            .visibility_timeout(seconds(visibility))
            .send()
            .await
            .map_err(|error| failed(&error))?;
        Ok(())
    }

    async fn count_messages(&self) -> Result<QueueCounts, QueueError> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages, ApproximateNumberOfMessagesDelayed,
            ApproximateNumberOfMessagesNotVisible,
        };
        let answer = self
            .client
            .get_queue_attributes()
            .queue_url(&self.queue_url)
            .attribute_names(ApproximateNumberOfMessages)
            .attribute_names(ApproximateNumberOfMessagesNotVisible)
            .attribute_names(ApproximateNumberOfMessagesDelayed)
            .send()
            .await
            .map_err(|error| failed(&error))?;
        let attributes = answer.attributes.unwrap_or_default();
        let count = |name: QueueAttributeName| {
            let count = attributes.get(&name).and_then(|count| count.parse().ok());
            count.ok_or_else(|| unexpected(format!("no number at {name}")))
        };
        Ok(QueueCounts {
            visible: count(ApproximateNumberOfMessages)?,
            in_flight: count(ApproximateNumberOfMessagesNotVisible)?,
            delayed: count(ApproximateNumberOfMessagesDelayed)?,
        })
    }
}

fn message(message: aws_sdk_sqs::types::Message) -> Result<Message, QueueError> {
    let system = message.attributes.unwrap_or_default();
    let system = |name: MessageSystemAttributeName| {
        system.get(&name).ok_or_else(|| unexpected(format!("a message without {name}")))
    };
    let no_number = |_| unexpected("a message's system attribute is no number");
    let sent_ms = system(MessageSystemAttributeName::SentTimestamp)?;
    let receive_count = system(MessageSystemAttributeName::ApproximateReceiveCount)?;
    let attributes: BTreeMap<_, _> = message
        .message_attributes
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(name, attribute)| Some((name, attribute.string_value?)))
        .collect();
    Ok(Message {
        id: message.message_id.ok_or_else(|| unexpected("a message without MessageId"))?,
        receipt_handle: message
            .receipt_handle
            .ok_or_else(|| unexpected("a message without ReceiptHandle"))?,
        body: message.body.unwrap_or_default(),
        attributes,
        sent_ms: sent_ms.parse().map_err(no_number)?,
        receive_count: receive_count.parse().map_err(no_number)?,
    })
}

fn unexpected(detail: impl Into<String>) -> QueueError {
    QueueError { code: "UnexpectedAnswer".to_owned(), detail: detail.into() }
}

/// Whole seconds, as SQS counts.
fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

fn attribute(data_type: &str, value: String) -> Result<MessageAttributeValue, QueueError> {
    MessageAttributeValue::builder().data_type(data_type).string_value(value).build().map_err(
        |error| QueueError { code: "RequestNotSent".to_owned(), detail: error.to_string() },
    )
}
