//! Reserved concurrency of Lambda functions.

use super::ControlError;

/// Reads a function's reserved concurrency.
pub trait ReadConcurrency {
    /// GetFunctionConcurrency; `None` when the function reserves none.
    fn get_reserved_concurrency(
        &self,
        function: &str,
    ) -> impl Future<Output = Result<Option<u32>, ControlError>>;
}

/// Sets a function's reserved concurrency.
pub trait SetConcurrency {
    /// GetAccountSettings: unreserved concurrency less what must stay unreserved.
    fn get_reservable_concurrency(&self) -> impl Future<Output = Result<u32, ControlError>>;

    /// PutFunctionConcurrency.
    fn put_reserved_concurrency(
        &self,
        function: &str,
        reserved: u32,
    ) -> impl Future<Output = Result<(), ControlError>>;
}
