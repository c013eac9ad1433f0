//! The log processor: an event of a CloudWatch Logs subscription in, packed and paced PutRecords
//! out. `main.rs` wires it to Lambda and the SDK; tests wire it to the simulated AWS.

pub mod config;
pub mod handler;
mod report;

pub use config::Config;
pub use handler::{HandOverFailed, PackFn, Ports, Processor};
