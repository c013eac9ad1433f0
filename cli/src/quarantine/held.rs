//! A message of the quarantine, in hand.

use std::collections::HashMap;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use sluice::delivery::Part;

/// SQS itself moved it here; nobody gave a reason.
const MOVED_BY_SQS: &str = "moved-by-sqs";
/// Left out on the way back: they belong to the failure that is over.
const NOT_SENT_BACK: [&str; 5] =
    ["Reason", "ReasonDetail", "Attempts", "SentBack", "DeadLetteredAt"];

/// A message that was received and not yet given back. Nothing in it is trusted.
#[derive(Debug, Clone)]
pub struct Held {
    /// SQS's name for it.
    pub id: String,
    /// What SQS wants to see to delete it or to give it back.
    pub receipt_handle: String,
    /// The event, as it came.
    pub body: String,
    attributes: HashMap<String, MessageAttributeValue>,
    /// When it came here, if SQS says so.
    pub sent_ms: Option<u64>,
}

impl From<Message> for Held {
    fn from(message: Message) -> Self {
        let sent = message.attributes.and_then(|mut system| {
            system.remove(&MessageSystemAttributeName::SentTimestamp)?.parse().ok()
        });
        Self {
            id: message.message_id.unwrap_or_default(),
            receipt_handle: message.receipt_handle.unwrap_or_default(),
            body: message.body.unwrap_or_default(),
            attributes: message.message_attributes.unwrap_or_default(),
            sent_ms: sent,
        }
    }
}

impl Held {
    /// The text of a message attribute, unless it is empty.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.string_value().filter(|value| !value.is_empty())
    }

    /// A message attribute as a number, read as the functions read it.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.attribute(name)?.parse().ok()
    }

    /// Why it is here.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.attribute("Reason").unwrap_or(MOVED_BY_SQS)
    }

    /// When it was first dead-lettered, if anything says so.
    #[must_use]
    pub fn dead_lettered_ms(&self) -> Option<u64> {
        self.number("DeadLetteredAt").or(self.sent_ms)
    }

    /// The part that it is of an event that no message can hold whole.
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        serde_json::from_str(&self.body).ok()
    }

    /// Its attributes on the way back: as if it had never been replayed, but with its own first day.
    #[must_use]
    pub fn attributes_back(&self) -> HashMap<String, MessageAttributeValue> {
        let has_value = |value: &MessageAttributeValue| {
            value.string_value().is_some_and(|text| !text.is_empty())
                || value.binary_value().is_some_and(|bytes| !bytes.as_ref().is_empty())
        };
        let kept = self
            .attributes
            .iter()
            .filter(|(name, value)| !NOT_SENT_BACK.contains(&name.as_str()) && has_value(value))
            .map(|(name, value)| (name.clone(), value.clone()));
        let first_day =
            self.dead_lettered_ms().map(|ms| ("DeadLetteredAt", "Number", ms.to_string()));
        let ours =
            [("Attempts", "Number", "0".to_owned()), ("SentBack", "String", "true".to_owned())];
        let ours = ours.into_iter().chain(first_day).filter_map(|(name, data_type, value)| {
            let value = MessageAttributeValue::builder().data_type(data_type).string_value(value);
            Some((name.to_owned(), value.build().ok()?))
        });
        kept.chain(ours).collect()
    }

    /// Bytes of it that count against SQS's limit on the way back.
    #[must_use]
    pub fn bytes_back(&self) -> usize {
        let attribute = |(name, value): (&String, &MessageAttributeValue)| {
            let text = value.string_value().map_or(0, str::len);
            let binary = value.binary_value().map_or(0, |bytes| bytes.as_ref().len());
            name.len() + value.data_type().len() + text + binary
        };
        self.body.len() + self.attributes_back().iter().map(attribute).sum::<usize>()
    }
}
