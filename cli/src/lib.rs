//! What the program `sluice` does, as a library for its tests.

pub mod program;
pub mod what_if;
