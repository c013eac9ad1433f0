//! Virtual time.

use std::time::Duration;

use sluice::ports::Clock;
use tokio::time::Instant;

/// 2026-11-21 00:00:00 UTC, when every simulation begins.
pub const BEGIN_EPOCH_MS: u64 = 1_795_219_200_000;

/// tokio's paused clock as the wall clock and the monotonic one.
#[derive(Debug, Clone, Copy)]
pub struct VirtualClock {
    origin: Instant,
}

impl VirtualClock {
    /// A clock that stands at [`BEGIN_EPOCH_MS`].
    #[must_use]
    pub fn begin() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for VirtualClock {
    fn epoch_ms(&self) -> u64 {
        BEGIN_EPOCH_MS + self.monotonic().as_millis() as u64
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// A clock whose wall time is wrong by a fixed difference.
#[derive(Debug, Clone, Copy)]
pub struct SkewedClock {
    /// The right clock.
    pub clock: VirtualClock,
    /// Milliseconds that it is ahead.
    pub ahead_ms: i64,
}

impl Clock for SkewedClock {
    fn epoch_ms(&self) -> u64 {
        self.clock.epoch_ms().saturating_add_signed(self.ahead_ms)
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}
