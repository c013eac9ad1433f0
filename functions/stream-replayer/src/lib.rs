//! The stream replayer: reads a window of a stream's past and brings it into a function or another
//! stream, at a chosen rate. `main.rs` wires it to Lambda and the SDK; tests wire it to the simulated
//! AWS.

#![allow(missing_docs, reason = "a comment stands where the name does not say it")]

pub mod config;
pub mod decide;
pub mod event;
pub mod filter;
pub mod function_event;
pub mod handler;
pub mod progress;
pub mod report;
mod run;
mod send;
mod shard;

pub use config::Config;
pub use decide::Stop;
pub use event::Trigger;
pub use handler::{Ports, ReplayError, Replayer};
pub use progress::Progress;
pub use report::Report;
pub use run::NoteResume;
