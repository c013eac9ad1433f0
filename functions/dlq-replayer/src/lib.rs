//! The dead-letter replayer: takes dead letters, invokes the processor with each, deletes what
//! succeeded, leaves what failed, and quarantines what will not succeed. `main.rs` wires it to Lambda
//! and the SDK; tests wire it to the simulated AWS.

#![allow(missing_docs, reason = "a comment stands where the name does not say it")]

pub mod config;
pub mod decide;
pub mod event;
pub mod handler;
mod replay;
pub mod report;
mod run;

pub use config::Config;
pub use decide::Stop;
pub use event::Trigger;
pub use handler::{Ports, Replayer};
pub use report::Report;
pub use run::ReplayError;
