//! What functions say about themselves: metrics as EMF lines, logs as JSON lines, both on stdout.

pub mod emf;
pub mod fate;

pub use emf::{EmfLine, Unit};
pub use fate::{Fate, FatesByMinute};

use tracing_subscriber::filter::LevelFilter;

/// The namespace of every metric.
pub const NAMESPACE: &str = "Sluice";

/// Logs as JSON lines on stdout, from `AWS_LAMBDA_LOG_LEVEL` up (INFO when it is not set).
pub fn init() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL")
        .ok()
        .and_then(|level| level.parse().ok())
        .unwrap_or(LevelFilter::INFO);
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(level)
        .init();
}
