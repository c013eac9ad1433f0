//! Lambda's concurrency: what an account has and what its functions reserve of it.

use std::collections::BTreeMap;

use sluice::limits::{
    SQS_MAPPING_CONCURRENCY_MAX, SQS_MAPPING_CONCURRENCY_MIN, UNRESERVED_CONCURRENCY_MIN,
};
use sluice::ports::QueueMapping;

use crate::stream::ApiError;

/// An account's concurrency.
#[derive(Debug, Clone)]
pub struct Account {
    /// All functions together.
    pub concurrency_limit: u32,
    /// Reserved by functions that are none of ours.
    pub reserved_by_others: u32,
    functions: BTreeMap<String, Option<u32>>,
    mappings: BTreeMap<String, QueueMapping>,
}

impl Account {
    /// An account without functions.
    #[must_use]
    pub fn new(concurrency_limit: u32) -> Self {
        Self {
            concurrency_limit,
            reserved_by_others: 0,
            functions: BTreeMap::new(),
            mappings: BTreeMap::new(),
        }
    }

    /// Creates a function.
    pub fn create_function(&mut self, name: &str, reserved: Option<u32>) {
        self.functions.insert(name.to_owned(), reserved);
    }

    /// Maps a queue to a function.
    pub fn map_queue(&mut self, function: &str, queue: &str, maximum: u32) {
        let mapping = QueueMapping {
            id: format!("{queue}-to-{function}"),
            queue: queue.to_owned(),
            maximum: Some(maximum),
        };
        self.mappings.insert(function.to_owned(), mapping);
    }

    /// ListEventSourceMappings.
    #[must_use]
    pub fn mapping(&self, function: &str) -> Option<QueueMapping> {
        self.mappings.get(function).cloned()
    }

    /// UpdateEventSourceMapping.
    pub fn put_mapping_concurrency(&mut self, id: &str, maximum: u32) -> Result<(), ApiError> {
        if !(SQS_MAPPING_CONCURRENCY_MIN..=SQS_MAPPING_CONCURRENCY_MAX).contains(&maximum) {
            let detail = format!("a maximum concurrency of {maximum}");
            return Err(ApiError::new("InvalidParameterValueException", detail));
        }
        let mapping = self.mappings.values_mut().find(|mapping| mapping.id == id);
        let mapping =
            mapping.ok_or_else(|| ApiError::new("ResourceNotFoundException", "no mapping"))?;
        mapping.maximum = Some(maximum);
        Ok(())
    }

    /// What is not reserved.
    #[must_use]
    pub fn unreserved(&self) -> u32 {
        let ours: u32 = self.functions.values().flatten().sum();
        self.concurrency_limit.saturating_sub(ours + self.reserved_by_others)
    }

    /// What can still be reserved.
    #[must_use]
    pub fn reservable(&self) -> u32 {
        self.unreserved().saturating_sub(UNRESERVED_CONCURRENCY_MIN)
    }

    /// GetFunctionConcurrency.
    pub fn reserved(&self, function: &str) -> Result<Option<u32>, ApiError> {
        self.functions.get(function).copied().ok_or_else(|| no_function(function))
    }

    /// How many of a function may run at once.
    #[must_use]
    pub fn concurrency(&self, function: &str) -> u32 {
        let reserved = self.functions.get(function).copied().flatten();
        let limit = reserved.unwrap_or_else(|| self.unreserved());
        let mapped = self.mappings.get(function).and_then(|mapping| mapping.maximum);
        mapped.map_or(limit, |maximum| maximum.min(limit))
    }

    /// PutFunctionConcurrency.
    pub fn put_reserved(&mut self, function: &str, reserved: u32) -> Result<(), ApiError> {
        let before = self.reserved(function)?.unwrap_or(0);
        if reserved.saturating_sub(before) > self.reservable() {
            let detail = format!(
                "reserving {reserved} for {function} leaves less than \
                 {UNRESERVED_CONCURRENCY_MIN} unreserved"
            );
            return Err(ApiError::new("InvalidParameterValueException", detail));
        }
        self.functions.insert(function.to_owned(), Some(reserved));
        Ok(())
    }
}

fn no_function(function: &str) -> ApiError {
    ApiError::new("ResourceNotFoundException", format!("no function {function}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_stay_unreserved() {
        let mut account = Account::new(120);
        account.create_function("ours", None);
        let code = |result: Result<(), ApiError>| result.err().map(|error| error.code);
        let refused = code(account.put_reserved("ours", 21));
        assert_eq!(refused.as_deref(), Some("InvalidParameterValueException"));
        assert_eq!(code(account.put_reserved("ours", 20)), None);
        assert_eq!(account.reservable(), 0);
        assert_eq!(code(account.put_reserved("ours", 15)), None);
        assert_eq!(code(account.put_reserved("ours", 20)), None);
        let unknown = code(account.put_reserved("gone", 1));
        assert_eq!(unknown.as_deref(), Some("ResourceNotFoundException"));
    }
}
