//! Logs as JSON lines on standard output.

use tracing_subscriber::filter::LevelFilter;

/// Logs as JSON lines on stdout, from `AWS_LAMBDA_LOG_LEVEL` up (INFO when it is not set).
pub fn log_as_json() {
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
