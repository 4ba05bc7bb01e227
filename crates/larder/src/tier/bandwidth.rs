//! How many bytes go to a far tier and come from it in a second, both ways together.
//!
//! A token bucket, told by when it is full again: what is taken puts that off, and who takes more than there is waits
//! until it is there. Those who wait are served in the order in which they came.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How much may be taken at once after a while in which nothing was, as the time in which it comes.
const BURST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Bandwidth {
    bytes_per_second: NonZeroU64,
    /// When all that was taken so far has come.
    settled: Mutex<Instant>,
    waiting: AtomicUsize,
}

/// Counts somebody who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bandwidth {
    pub(super) fn new(bytes_per_second: NonZeroU64) -> Self {
        let settled = Mutex::new(Instant::now());
        Self { bytes_per_second, settled, waiting: AtomicUsize::new(0) }
    }

    /// Takes so many bytes without waiting: they came already. Whoever comes next waits for them.
    pub(super) fn charge(&self, bytes: u64) -> Instant {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.get());
        let costs = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let now = Instant::now();
        let mut settled = self.settled.lock();
        let idle_since = now.checked_sub(BURST).unwrap_or(now);
        // What would take longer than a year is as good as never.
        *settled = (*settled).max(idle_since) + costs.min(Duration::from_secs(31_536_000));
        *settled
    }

    /// Takes so many bytes, and waits until they are there.
    pub(super) async fn take(&self, bytes: u64) {
        let settled = self.charge(bytes);
        let _waiting = Waiting::new(&self.waiting);
        tokio::time::sleep_until(settled).await;
    }

    /// Waits until all that was taken has come, if that is soon. Says whether it is.
    pub(super) async fn settled_within(&self, most: Duration) -> bool {
        let settled = *self.settled.lock();
        if settled > Instant::now() + most {
            return false;
        }
        tokio::time::sleep_until(settled).await;
        true
    }

    /// Whether somebody waits for bytes to be there.
    pub(super) fn holds_back(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn per_second(bytes: u64) -> Arc<Bandwidth> {
        Arc::new(Bandwidth::new(NonZeroU64::new(bytes).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn many_at_once_take_no_more_together_than_one_alone() {
        let bandwidth = per_second(1_000);
        let began = Instant::now();
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let bandwidth = Arc::clone(&bandwidth);
            all.spawn(async move {
                for _ in 0..10 {
                    bandwidth.take(50).await;
                }
            });
        }
        all.join_all().await;
        let took = began.elapsed();
        assert!((Duration::from_millis(4_900)..=Duration::from_millis(5_100)).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_made_up_for_by_a_little_only() {
        let bandwidth = per_second(1_000);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let began = Instant::now();
        bandwidth.take(100).await;
        assert!(began.elapsed() < Duration::from_millis(2), "what there is is given at once");
        bandwidth.take(500).await;
        assert!(began.elapsed() >= Duration::from_millis(500));
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_already_is_waited_for_by_whoever_comes_next_if_that_is_soon() {
        let bandwidth = per_second(1_000);
        tokio::time::sleep(Duration::from_secs(1)).await;
        bandwidth.charge(2_100);
        assert!(!bandwidth.settled_within(Duration::from_secs(1)).await);
        let began = Instant::now();
        assert!(bandwidth.settled_within(Duration::from_secs(3)).await);
        let took = began.elapsed();
        assert!((Duration::from_millis(1_990)..=Duration::from_millis(2_010)).contains(&took), "{took:?}");
        assert!(!bandwidth.holds_back());
    }
}
