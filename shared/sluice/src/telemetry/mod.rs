//! What functions say about themselves: metrics as lines in the embedded metric format.

pub mod emf;
pub mod outcome;

pub use emf::{EmfLine, Unit};
pub use outcome::{Outcome, OutcomesByMinute};

/// The namespace of every metric.
pub const NAMESPACE: &str = "Sluice";
