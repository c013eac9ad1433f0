//! The simulated AWS: plays the library's ports in memory and in virtual time.
//!
//! Virtual time is tokio's paused clock: run a test with `#[tokio::test(start_paused = true)]` and
//! a sleep of an hour takes no time. Faults come by plan, never by chance that no seed repeats.

pub mod account;
pub mod alarm_rule;
pub mod backlog;
pub mod clock;
pub mod cloud;
pub mod cloudwatch;
pub mod consumer;
pub mod event_source_mapping;
pub mod firehose;
pub mod fluid;
pub mod functions;
pub mod lambda;
mod log_lines;
pub mod logs;
pub mod metric_math;
pub mod metrics;
pub mod mortal;
pub mod queue;
pub mod shards;
pub mod stream;

pub use account::Account;
pub use backlog::Backlog;
pub use clock::{SkewedClock, VirtualClock};
pub use cloud::{Cloud, CloudMetrics, CloudStream, Control, ControlCall, ControlFault};
pub use event_source_mapping::{EventSourceMapping, MappingCounts, MappingSettings};
pub use firehose::Firehose;
pub use fluid::{Arrival, Fluid};
pub use functions::{AsyncFunction, Asynchronous};
pub use lambda::Lambda;
pub use log_lines::logged;
pub use metrics::MetricLines;
pub use mortal::{Fate, Fates, Life, Mortal};
pub use queue::Queue;
pub use stream::{Fault, ReadFault, ReadLimits, Stream, StreamLimits, Traffic};
