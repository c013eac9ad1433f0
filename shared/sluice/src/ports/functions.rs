//! Lambda functions that a function invokes.

use std::time::Duration;

/// Why an invocation of another function gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// No execution environment was free; the function did not see the event.
    #[error("{detail}")]
    Throttled {
        /// What the service said.
        detail: String,
    },
    /// The function failed on the event.
    #[error("{error_type}: {message}")]
    Failed {
        /// `errorType` of the function's error.
        error_type: String,
        /// `errorMessage` of it.
        message: String,
    },
    /// The service refuses the event, and always will.
    #[error("{code}: {detail}")]
    Refused {
        /// The service's error code.
        code: String,
        /// What the service said.
        detail: String,
    },
    /// The service refuses every event: no such function, no permission.
    #[error("{code}: {detail}")]
    Unavailable {
        /// The service's error code.
        code: String,
        /// What the service said.
        detail: String,
    },
    /// Nobody knows whether the function saw the event: a 5xx, a timeout, a broken connection.
    #[error("{code}: {detail}")]
    Unknown {
        /// The service's error code, or the kind of failure when there was no answer.
        code: String,
        /// What the service or the connection said.
        detail: String,
    },
}

/// Invokes a function.
pub trait InvokeFunction {
    /// Invoke with `RequestResponse`, not retried, waiting up to `timeout`; the answer is JSON.
    fn invoke(
        &self,
        function: &str,
        event: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<String, InvokeError>>;

    /// Invoke with `Event`.
    fn invoke_later(
        &self,
        function: &str,
        event: &str,
    ) -> impl Future<Output = Result<(), InvokeError>>;
}
