//! How many threads work at once: as many as there are processors, which are not counted for one alone.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder::config::processors;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The hands that there are.
#[derive(Default)]
pub(super) struct Hands {
    /// How many are at work, or wait for that.
    taken: AtomicUsize,
    /// Those beside the first.
    others: OnceLock<Semaphore>,
}

/// A hand that is at work, until this ends.
pub(super) struct Hand<'a> {
    _taken: Taken<'a>,
    _permit: Option<SemaphorePermit<'a>>,
}

struct Taken<'a>(&'a AtomicUsize);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hands {
    /// Takes one, once there is one.
    pub(super) async fn take(&self) -> Hand<'_> {
        let is_first = self.taken.fetch_add(1, Ordering::Relaxed) == 0;
        let taken = Taken(&self.taken);
        let others = || self.others.get_or_init(|| Semaphore::new((processors().get() - 1).max(1)));
        // It is never closed.
        let permit = if is_first { None } else { others().acquire().await.ok() };
        Hand { _taken: taken, _permit: permit }
    }
}
