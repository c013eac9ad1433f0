//! Time.

use std::time::Duration;

/// Time, so that it can be virtual.
pub trait Clock {
    /// The wall clock, in milliseconds since 1970. It may jump.
    fn epoch_ms(&self) -> u64;
    /// A clock that never goes back, from an arbitrary origin.
    fn monotonic(&self) -> Duration;
    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
}
