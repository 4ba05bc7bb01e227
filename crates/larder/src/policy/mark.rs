//! What a hit leaves on an entry.
//!
//! Invariant: none between the two numbers. They are written without order, so that a hit costs two plain stores;
//! a policy reads each as a hint.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Slot;

/// What hits leave on an entry; each policy gives it its own meaning.
#[derive(Debug, Default)]
pub struct Mark {
    word: AtomicU64,
    count: AtomicU32,
}

impl Mark {
    pub(super) fn reset(&self, word: u64) {
        self.word.store(word, Relaxed);
        self.count.store(0, Relaxed);
    }

    pub(super) fn word(&self) -> u64 {
        self.word.load(Relaxed)
    }

    /// Writes only what changes: an entry that several threads find all the time stays in all their caches.
    pub(super) fn set_word(&self, word: u64) {
        if self.word.load(Relaxed) != word {
            self.word.store(word, Relaxed);
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.count.load(Relaxed)
    }

    pub(super) fn set_count(&self, count: u32) {
        self.count.store(count, Relaxed);
    }

    /// Counts one more, up to `most`.
    pub(super) fn bump(&self, most: u32) {
        let count = self.count.load(Relaxed);
        if count < most {
            self.count.store(count + 1, Relaxed);
        }
    }
}

/// Where a policy finds the marks of a cache's entries.
pub trait Marks {
    /// The mark of the entry in `slot`, which is there.
    fn mark(&self, slot: Slot) -> &Mark;
}

impl Marks for Vec<Mark> {
    fn mark(&self, slot: Slot) -> &Mark {
        &self[slot as usize]
    }
}
