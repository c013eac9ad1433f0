//! What a function answers to an event source mapping.

use serde::{Deserialize, Serialize};

/// A partial batch response: which items of the batch Lambda brings again. Of a queue these are the
/// messages named; of a stream, everything from the first of them on. Empty, all of it succeeded.
///
/// ```
/// let response: sluice::invocation::BatchResponse = ["49".to_owned()].into_iter().collect();
/// let json = serde_json::to_string(&response)?;
/// assert_eq!(json, r#"{"batchItemFailures":[{"itemIdentifier":"49"}]}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// The items that come again.
    pub batch_item_failures: Vec<ItemFailure>,
}

/// An item that comes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemFailure {
    /// A message's id, or a record's sequence number.
    pub item_identifier: String,
}

impl FromIterator<String> for BatchResponse {
    fn from_iter<I: IntoIterator<Item = String>>(identifiers: I) -> Self {
        let failure = |item_identifier| ItemFailure { item_identifier };
        Self { batch_item_failures: identifiers.into_iter().map(failure).collect() }
    }
}
