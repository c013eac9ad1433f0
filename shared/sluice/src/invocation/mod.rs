//! What every function's invocation has: a [`Deadline`], calls that must answer [`Within`] it, a
//! [`Backoff`] between attempts, and a [`Chain`] of invocations when one is too short for the work, and a [`BatchResponse`] to event source
//! mappings.

mod backoff;
mod batch_response;
mod chain;
mod deadline;
mod within;

pub use backoff::Backoff;
pub use batch_response::{BatchResponse, ItemFailure};
pub use chain::Chain;
pub use deadline::Deadline;
pub use within::Within;
