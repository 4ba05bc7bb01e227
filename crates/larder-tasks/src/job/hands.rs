//! How many threads work at once: as many as there are processors, which are not counted for one alone.

use std::sync::Once;

use larder::config::processors;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The hands that there are.
pub(super) struct Hands {
    free: Semaphore,
    counted: Once,
}

impl Default for Hands {
    fn default() -> Self {
        Self { free: Semaphore::new(1), counted: Once::new() }
    }
}

impl Hands {
    /// Takes one, once one is free, until what is returned ends.
    pub(super) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(free) = self.free.try_acquire() {
            return Some(free);
        }
        self.counted.call_once(|| self.free.add_permits(processors().get() - 1));
        // It is never closed.
        self.free.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_as_many_hands_as_processors_whoever_comes_and_goes() {
        let hands = Hands::default();
        drop(hands.take().await);
        assert_eq!(hands.free.available_permits(), 1);
        let first = hands.take().await;
        let mut more = Vec::new();
        for _ in 1..processors().get() {
            more.push(hands.take().await);
        }
        assert!(hands.free.try_acquire().is_err());
        drop((first, more));
        drop(hands.take().await);
        assert_eq!(hands.free.available_permits(), processors().get());
    }
}
