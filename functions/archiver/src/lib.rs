//! The archiver: a batch of a Kinesis event source mapping in, lines in Firehose records out.
//! `main.rs` wires it to Lambda and the SDK; tests wire it to the simulated AWS.

#![allow(missing_docs, reason = "a comment stands where the name does not say it")]

pub mod config;
mod decide;
pub mod event;
pub mod handler;
pub mod join;
pub mod letter;
pub mod open;
mod report;

pub use config::Config;
pub use event::{KinesisEvent, NotAKinesisEvent};
pub use handler::{Archiver, Ports};
