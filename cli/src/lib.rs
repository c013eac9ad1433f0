//! What the program `sluice` does, as a library for its tests.

#[cfg(feature = "aws")]
mod aws;
pub mod program;
pub mod quarantine;
pub mod terminal;
pub mod what_if;
