//! Lambda's concurrency: what an account has and what its functions reserve of it.

use std::collections::BTreeMap;

use sluice::limits::UNRESERVED_CONCURRENCY_MIN;

use crate::stream::ApiError;

/// An account's concurrency.
#[derive(Debug, Clone)]
pub struct Account {
    /// All functions together.
    pub concurrency_limit: u32,
    /// Reserved by functions that are none of ours.
    pub reserved_by_others: u32,
    functions: BTreeMap<String, Option<u32>>,
}

impl Account {
    /// An account without functions.
    #[must_use]
    pub fn new(concurrency_limit: u32) -> Self {
        Self { concurrency_limit, reserved_by_others: 0, functions: BTreeMap::new() }
    }

    /// Creates a function.
    pub fn create_function(&mut self, name: &str, reserved: Option<u32>) {
        self.functions.insert(name.to_owned(), reserved);
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
        self.functions.get(function).copied().flatten().unwrap_or_else(|| self.unreserved())
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
