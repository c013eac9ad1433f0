//! The log processor: an event of a CloudWatch Logs subscription in, or a batch of a queue of them, packed and paced
//! PutRecords out; and the forwarder, which fills that queue. `main.rs` wires it to Lambda and the SDK; tests wire it to the simulated AWS.

pub mod batch;
pub mod config;
mod forwarder;
pub mod handler;
mod report;

pub use config::{Config, Role};
pub use forwarder::{Forwarder, NotForwarded};
pub use handler::{HandOverFailed, PackFn, Ports, Processor};
