//! Queues through the SDK.

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::MessageAttributeValue;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::describe;
use crate::delivery::DeadLetter;
use crate::ports::{QueueError, SendDeadLetter};

/// An SQS queue, by URL.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    queue_url: String,
}

impl Queue {
    /// The queue at `queue_url`.
    #[must_use]
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

impl SendDeadLetter for Queue {
    async fn send_dead_letter(
        &self,
        dead_letter: &DeadLetter,
        delay_seconds: u32,
    ) -> Result<(), QueueError> {
        let attributes = dead_letter
            .attributes()
            .into_iter()
            .map(|(name, data_type, value)| Ok((name.to_owned(), attribute(data_type, value)?)))
            .collect::<Result<HashMap<_, _>, QueueError>>()?;
        self.client
            .send_message()
            .queue_url(&self.queue_url)
            .message_body(&dead_letter.body)
            .delay_seconds(i32::try_from(delay_seconds).unwrap_or(i32::MAX))
            .set_message_attributes(Some(attributes))
            .send()
            .await
            .map_err(|error| failed(&error))?;
        Ok(())
    }
}

fn attribute(data_type: &str, value: String) -> Result<MessageAttributeValue, QueueError> {
    MessageAttributeValue::builder().data_type(data_type).string_value(value).build().map_err(
        |error| QueueError { code: "RequestNotSent".to_owned(), detail: error.to_string() },
    )
}
