//! The stream replayer: reads a window of a stream's past and brings it into a function or another
//! stream, at a chosen rate. `main.rs` wires it to Lambda and the SDK; tests wire it to the simulated
//! AWS.

pub mod config;
pub mod decide;
pub mod filter;
pub mod function_event;
pub mod handler;
pub mod plan;
pub mod report;
pub mod wake;

pub use config::Config;
pub use decide::Stop;
pub use handler::{NoteResume, Ports, ReplayError, Replayer};
pub use plan::Plan;
pub use report::Report;
pub use wake::Wake;
