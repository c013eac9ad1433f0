//! What an event source mapping of an SQS queue hands over, borrowed from the JSON text, and the
//! answers to both kinds of event.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sluice::delivery::Answer;

/// Messages of the queue before this function.
#[derive(Debug, Deserialize)]
pub struct Batch<'a> {
    /// The messages, in no order.
    #[serde(borrow, rename = "Records")]
    pub messages: Vec<Message<'a>>,
}

/// One of them.
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

impl<'a> Batch<'a> {
    /// The batch, when `event` is one.
    #[must_use]
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

/// The partial batch response: the mapping deletes every message but these from the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchAnswer {
    /// Those that are to come again.
    pub batch_item_failures: Vec<ItemFailure>,
}

/// A message that is to come again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    /// `messageId`.
    pub item_identifier: String,
}

impl BatchAnswer {
    pub(crate) fn comes_again(&mut self, id: &str) {
        self.batch_item_failures.push(ItemFailure { item_identifier: id.to_owned() });
    }
}

/// The answer to whatever Lambda handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// To an event of a subscription or a replay.
    Event(Answer),
    /// To a batch.
    Batch(BatchAnswer),
}
