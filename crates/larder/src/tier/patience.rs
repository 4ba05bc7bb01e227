//! How long callers wait for a tier in vain before they leave it alone.
//!
//! A tier that is far away is asked because that is quicker than computing. Time that a caller waits for it and gets
//! nothing is lost, so there is a sum of it that a process may lose: while something of it is left the tier is asked,
//! and each wait is cut off at what is left. A hit gives back what it saved.
//!
//! Invariant: from one restoration to the next callers wait no longer in vain than the whole sum, whatever the tier
//! does, also if many wait at once: when the sum is used up they all go on.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// A wait up to this is what a look at a healthy tier takes, and is not counted.
const USUAL: Duration = Duration::from_millis(5);

/// What is left of the time that may be lost.
#[derive(Debug)]
pub(super) struct Patience {
    whole: Duration,
    left: Mutex<Duration>,
    gone: watch::Sender<bool>,
}

impl Patience {
    pub(super) fn new(whole: Duration) -> Self {
        Self { whole, left: Mutex::new(whole), gone: watch::Sender::new(whole.is_zero()) }
    }

    /// How long callers may wait in all.
    pub(super) fn whole(&self) -> Duration {
        self.whole
    }

    /// How long a caller may wait now.
    pub(super) fn left(&self) -> Duration {
        *self.left.lock()
    }

    /// Counts a wait that brought nothing.
    pub(super) fn lost(&self, wait: Duration) {
        let mut left = self.left.lock();
        *left = left.saturating_sub(wait);
        if left.is_zero() {
            self.gone.send_replace(true);
        }
    }

    /// Counts a look that ended as it should and found nothing.
    pub(super) fn missed(&self, wait: Duration) {
        self.lost(wait.saturating_sub(USUAL));
    }

    /// Gives back what was saved.
    pub(super) fn gained(&self, saved: Duration) {
        let mut left = self.left.lock();
        if !left.is_zero() {
            *left = left.saturating_add(saved).min(self.whole);
        }
    }

    /// Begins anew.
    pub(super) fn restore(&self) {
        *self.left.lock() = self.whole;
        self.gone.send_replace(self.whole.is_zero());
    }

    /// How long a probe may take that shows that it is worth to ask again.
    pub(super) fn quick(&self) -> Duration {
        USUAL.max(self.whole / 8)
    }

    /// Ends when nothing is left.
    pub(super) async fn gone(&self) {
        // The sender lives as long as `self`.
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn quick_misses_cost_nothing_slow_ones_add_up_and_a_hit_gives_back_what_it_saved() {
        let patience = Patience::new(millis(80));
        for _ in 0..100 {
            patience.missed(millis(5));
        }
        assert_eq!(patience.left(), millis(80));
        patience.missed(millis(35));
        assert_eq!(patience.left(), millis(50));
        patience.gained(millis(10));
        assert_eq!(patience.left(), millis(60));
        patience.gained(Duration::from_secs(10));
        assert_eq!(patience.left(), millis(80), "no more than there was");
    }

    #[test]
    fn once_used_up_it_is_given_back_by_a_restoration_only() {
        let patience = Patience::new(millis(80));
        patience.lost(millis(50));
        patience.lost(millis(50));
        patience.gained(Duration::from_secs(1));
        assert!(patience.left().is_zero() && *patience.gone.borrow());
        patience.restore();
        assert!(patience.left() == millis(80) && !*patience.gone.borrow());
    }
}
