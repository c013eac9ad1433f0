//! The dead-letter queue through the SDK.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::MessageAttributeValue;

use super::describe;
use crate::delivery::DeadLetter;
use crate::ports::{SendDeadLetter, SendError};

/// An SQS queue, by URL.
#[derive(Debug, Clone)]
pub struct DeadLetterQueue {
    client: Client,
    queue_url: String,
}

impl DeadLetterQueue {
    /// The queue at `queue_url`.
    #[must_use]
    pub fn new(client: Client, queue_url: String) -> Self {
        Self { client, queue_url }
    }
}

impl SendDeadLetter for DeadLetterQueue {
    async fn send_dead_letter(&self, dead_letter: &DeadLetter) -> Result<(), SendError> {
        let mut request = self
            .client
            .send_message()
            .queue_url(&self.queue_url)
            .message_body(&dead_letter.body)
            .message_attributes("Reason", attribute("String", &dead_letter.reason)?);
        // SQS refuses an attribute without a value.
        if !dead_letter.detail.is_empty() {
            request = request
                .message_attributes("ReasonDetail", attribute("String", &dead_letter.detail)?);
        }
        if let Some(log_events) = dead_letter.log_events {
            let log_events = log_events.to_string();
            request = request.message_attributes("LogEvents", attribute("Number", &log_events)?);
        }
        request.send().await.map_err(|error| {
            let (code, detail) = describe(&error);
            SendError { code, detail }
        })?;
        Ok(())
    }
}

fn attribute(data_type: &str, value: &str) -> Result<MessageAttributeValue, SendError> {
    MessageAttributeValue::builder()
        .data_type(data_type)
        .string_value(value)
        .build()
        .map_err(|error| SendError { code: "RequestNotSent".to_owned(), detail: error.to_string() })
}
