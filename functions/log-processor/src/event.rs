//! What an event source mapping of an SQS queue hands over, and the answers to both kinds of event.
//!
//! Not `aws_lambda_events`: it copies each body, and a batch is up to 6 MB of them. Here they are
//! borrowed from the text that Lambda's runtime holds.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sluice::delivery::Answer;
use sluice::invocation::BatchResponse;

/// Messages of the queue before this function.
#[derive(Debug, Deserialize)]
pub struct SqsBatch<'a> {
    /// The messages, in no order.
    #[serde(borrow, rename = "Records")]
    pub messages: Vec<Message<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message<'a> {
    /// What the answer calls it.
    #[serde(borrow, rename = "messageId")]
    pub id: Cow<'a, str>,
    /// The event of a subscription, as the forwarder got it.
    #[serde(borrow)]
    pub body: Cow<'a, str>,
    #[serde(borrow)]
    event_source: Cow<'a, str>,
}

impl<'a> SqsBatch<'a> {
    /// The batch, when `event` is one.
    pub fn parse(event: &'a str) -> Option<Self> {
        // An event of a subscription has another first member, and may be long.
        let members = event.trim_ascii_start().strip_prefix('{')?.trim_ascii_start();
        if !members.starts_with("\"Records\"") {
            return None;
        }
        let batch: Self = serde_json::from_str(event).ok()?;
        batch.messages.iter().all(|message| message.event_source == "aws:sqs").then_some(batch)
    }
}

/// The answer to whatever Lambda handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// To an event of a subscription or a replay.
    Event(Answer),
    Batch(BatchResponse),
}
