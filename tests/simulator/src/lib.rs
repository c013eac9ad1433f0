//! Runs the scaling functions, unchanged, against the simulated AWS: virtual time, one seed, faults
//! by plan, invariants at every step. `main.rs` is the command, `tests/` runs every scenario.

pub mod invariants;
pub mod run;
pub mod scenario;
pub mod traffic;

pub use run::{Kill, Mutation, Options, Outcome, run};
pub use scenario::Scenario;
