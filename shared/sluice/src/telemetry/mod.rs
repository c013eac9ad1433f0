//! What functions say about themselves: metrics as lines in the embedded metric format.

pub mod emf;
pub mod fate;

pub use emf::{EmfLine, Unit};
pub use fate::{Fate, FatesByMinute};

/// The namespace of every metric.
pub const NAMESPACE: &str = "Sluice";
