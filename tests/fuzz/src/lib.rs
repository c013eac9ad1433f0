//! Fuzz targets: each makes something of arbitrary bytes and asserts what must hold for any.
//!
//! Two engines run them. `tests/short.rs` mutates the seeds for some seconds in `make test`, and the
//! same seed makes the same inputs. `make fuzz` runs libFuzzer over an instrumented build for as long
//! as it is told to.

mod bytes;
pub mod memory;
mod model;
pub mod mutate;
mod targets;

pub use targets::{TARGETS, Target};
