//! The log processor: takes an event of a CloudWatch Logs subscription, or a batch of a queue of them,
//! and makes packed, paced PutRecords calls; and the forwarder, which fills that queue. `main.rs` wires
//! it to Lambda and the SDK; tests wire it to the simulated AWS.

#![allow(missing_docs, reason = "a comment stands where the name does not say it")]

pub mod config;
mod decide;
pub mod event;
mod forwarder;
mod hand_over;
pub mod handler;
mod report;

pub use config::{Config, Role};
pub use event::SqsBatch;
pub use forwarder::{Forwarder, NotForwarded};
pub use hand_over::HandoffError;
pub use handler::{PackFn, Ports, Processor};
