//! Invalidations that somebody began and did not end yet, as this process sees them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use larder::tier::Epoch;
use parking_lot::Mutex;

/// After how long one counts as left behind, and is taken up by others.
const LEFT_BEHIND: Duration = Duration::from_secs(5);

/// Since when pending invalidations are seen.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<HashMap<Epoch, Instant>>);

impl Pending {
    /// Takes note of all that are pending now. Returns those that were left behind, each once in a while.
    pub(crate) fn left_behind(&self, listed: impl Iterator<Item = Epoch> + Clone) -> Vec<Epoch> {
        let now = Instant::now();
        let mut seen = self.0.lock();
        seen.retain(|epoch, _| listed.clone().any(|listed| listed == *epoch));
        let mut left = Vec::new();
        for epoch in listed {
            let since = seen.entry(epoch).or_insert(now);
            if now.duration_since(*since) >= LEFT_BEHIND {
                *since = now;
                left.push(epoch);
            }
        }
        left
    }

    /// Forgets one that came to its end.
    pub(crate) fn ended(&self, epoch: Epoch) {
        self.0.lock().remove(&epoch);
    }
}
