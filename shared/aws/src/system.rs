//! The machine's own clock and standard output.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sluice::ports::{Clock, EmitMetrics};

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn epoch_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Standard output, where Lambda picks up EMF lines.
#[derive(Debug, Clone, Copy)]
pub struct Stdout;

impl EmitMetrics for Stdout {
    fn emit(&self, line: &str) {
        // One write a line, so that lines never interleave. Metrics are not worth failing for.
        let _ = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
    }
}
