//! The simulated AWS: plays the library's ports in memory and in virtual time.
//!
//! Virtual time is tokio's paused clock: run a test with `#[tokio::test(start_paused = true)]` and
//! a sleep of an hour takes no time. Faults come by plan, never by chance that no seed repeats.

pub mod clock;
pub mod consumer;
pub mod logs;
pub mod metrics;
pub mod queue;
pub mod stream;

pub use clock::VirtualClock;
pub use metrics::MetricLines;
pub use queue::Queue;
pub use stream::{Fault, Stream};
