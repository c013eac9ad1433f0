//! A bound on how long a call may take.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::ports::Clock;

/// Gives a future so much time and no more, on any [`Clock`].
pub trait Within: Clock {
    /// What `future` gives, or `None` when it gives nothing within `ms`. To go on with a future that
    /// was not ready, pass it pinned.
    fn within<F: Future>(&self, ms: u64, future: F) -> impl Future<Output = Option<F::Output>> {
        async move {
            let (future, over) = (pin!(future), pin!(self.sleep(Duration::from_millis(ms))));
            match select(future, over).await {
                Either::Left((output, _)) => Some(output),
                Either::Right(_) => None,
            }
        }
    }
}

impl<C: Clock> Within for C {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tokio's paused time.
    struct Paused(tokio::time::Instant);

    impl Clock for Paused {
        fn epoch_ms(&self) -> u64 {
            self.0.elapsed().as_millis() as u64
        }

        fn monotonic(&self) -> Duration {
            self.0.elapsed()
        }

        async fn sleep(&self, duration: Duration) {
            tokio::time::sleep(duration).await;
        }
    }

    proptest! {
        #[test]
        fn what_is_ready_in_time_is_given_and_nothing_is_waited_for_longer(
            takes_ms in 0..10_000u64,
            ms in 0..10_000u64,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let clock = Paused(tokio::time::Instant::now());
                let mut call = pin!(async {
                    clock.sleep(Duration::from_millis(takes_ms)).await;
                    7
                });
                let answer = clock.within(ms, call.as_mut()).await;
                prop_assert_eq!(answer, (takes_ms <= ms).then_some(7));
                prop_assert_eq!(clock.epoch_ms(), takes_ms.min(ms));
                if answer.is_none() {
                    prop_assert_eq!(call.await, 7, "it goes on where it was");
                    prop_assert_eq!(clock.epoch_ms(), takes_ms);
                }
                Ok(())
            })?;
        }
    }
}
