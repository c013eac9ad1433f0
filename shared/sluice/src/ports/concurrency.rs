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

/// The event source mapping that brings a queue's messages to a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMapping {
    /// Its `UUID`.
    pub id: String,
    /// The queue's name.
    pub queue: String,
    /// `MaximumConcurrency`; `None` when it has none.
    pub maximum: Option<u32>,
}

/// Limits how many invocations of a function run at once: by reserved concurrency, or by the mapping
/// of the queue before it.
pub trait SetConcurrency {
    /// ListEventSourceMappings of a function, every page: the first whose source is an SQS queue.
    fn find_queue_mapping(
        &self,
        function: &str,
    ) -> impl Future<Output = Result<Option<QueueMapping>, ControlError>>;

    /// UpdateEventSourceMapping with `MaximumConcurrency` alone.
    fn put_mapping_concurrency(
        &self,
        mapping: &str,
        maximum: u32,
    ) -> impl Future<Output = Result<(), ControlError>>;

    /// GetAccountSettings: unreserved concurrency less what must stay unreserved.
    fn get_reservable_concurrency(&self) -> impl Future<Output = Result<u32, ControlError>>;

    /// PutFunctionConcurrency.
    fn put_reserved_concurrency(
        &self,
        function: &str,
        reserved: u32,
    ) -> impl Future<Output = Result<(), ControlError>>;
}
