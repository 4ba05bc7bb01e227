//! Room that nobody holds.
//!
//! Invariant: what is free, plus what shards and puts hold, plus what entries take, is the limit. While the
//! limit is being lowered, what is free may be less than nothing; then nobody gets any.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// The common store of one kind of room: bytes, or entries.
#[derive(Debug)]
pub(super) struct Pool {
    free: AtomicI64,
    limit: AtomicU64,
    chunk: AtomicU64,
}

/// A shard keeps at most about one in this many of its fair share unused, to ask the pool less often.
const SLACK_SHARE: u64 = 64;

impl Pool {
    pub(super) fn new(limit: u64, shards: usize) -> Self {
        Self {
            free: AtomicI64::new(clamp(limit)),
            limit: AtomicU64::new(limit),
            chunk: AtomicU64::new(chunk(limit, shards)),
        }
    }

    /// Takes what is free, up to `most`.
    pub(super) fn take(&self, most: u64) -> u64 {
        let mut free = self.free.load(Relaxed);
        while free > 0 {
            let taken = free.min(clamp(most));
            match self.free.compare_exchange_weak(free, free - taken, Relaxed, Relaxed) {
                Ok(_) => return taken as u64,
                Err(now) => free = now,
            }
        }
        0
    }

    /// Gives back what was taken, or what an entry took.
    pub(super) fn give(&self, amount: u64) {
        if amount > 0 {
            self.free.fetch_add(clamp(amount), Relaxed);
        }
    }

    /// Makes or destroys room, not from two threads at once. What is missing afterwards has to be given back by
    /// somebody.
    pub(super) fn resize(&self, limit: u64, shards: usize) {
        self.chunk.store(chunk(limit, shards), Relaxed);
        let before = self.limit.swap(limit, Relaxed);
        self.free.fetch_add(clamp(limit) - clamp(before), Relaxed);
    }

    /// How much there is in all.
    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// How much has to be given back before anybody gets any.
    pub(super) fn missing(&self) -> u64 {
        self.free.load(Relaxed).min(0).unsigned_abs()
    }

    /// How much a shard takes at once and may keep unused.
    pub(super) fn chunk(&self) -> u64 {
        self.chunk.load(Relaxed)
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> i64 {
        self.free.load(Relaxed)
    }
}

fn chunk(limit: u64, shards: usize) -> u64 {
    limit / shards as u64 / SLACK_SHARE
}

/// Sums of a few of these stay in range.
fn clamp(amount: u64) -> i64 {
    amount.min(super::Limits::UNLIMITED) as i64
}
