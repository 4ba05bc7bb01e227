//! What a hit leaves on an entry.
//!
//! A count of eight bits and a word of 56 share one number, because marks stand among what every hit fetches.
//! They are written without order and without locked instructions: a policy reads each as a hint.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Slot;

/// What hits leave on an entry; each policy gives it its own meaning.
#[derive(Debug, Default)]
pub struct Mark(AtomicU64);

/// The bits of the count; the word has all others.
const COUNT: u64 = 0xff;

impl Mark {
    /// The lowest number that a word is told apart from another by: the bits below are not kept.
    pub(super) const WORD_UNIT: u64 = COUNT + 1;

    pub(super) fn reset(&self, word: u64) {
        self.0.store(word & !COUNT, Relaxed);
    }

    pub(super) fn word(&self) -> u64 {
        self.0.load(Relaxed) & !COUNT
    }

    pub(super) fn set_word(&self, word: u64) {
        let now = self.0.load(Relaxed);
        self.change(now, word & !COUNT | now & COUNT);
    }

    pub(super) fn count(&self) -> u32 {
        (self.0.load(Relaxed) & COUNT) as u32
    }

    pub(super) fn set_count(&self, count: u32) {
        let now = self.0.load(Relaxed);
        self.change(now, now & !COUNT | u64::from(count) & COUNT);
    }

    /// Counts one more, up to `most`, which is at most 255.
    pub(super) fn bump(&self, most: u32) {
        debug_assert!(u64::from(most) <= COUNT);
        let now = self.0.load(Relaxed);
        if now & COUNT < u64::from(most) {
            self.0.store(now + 1, Relaxed);
        }
    }

    /// Writes only what changes: an entry that several threads find all the time stays in all their caches.
    fn change(&self, now: u64, to: u64) {
        if now != to {
            self.0.store(to, Relaxed);
        }
    }
}

/// Where a policy finds the marks of a cache's entries.
pub trait Marks {
    /// The mark of the entry in `slot`, which is there.
    fn mark(&self, slot: Slot) -> &Mark;

    /// Begins to fetch the entry in `slot`, which may have to leave soon. Changes nothing; for speed alone.
    fn prepare(&self, slot: Slot) {
        let _ = slot;
    }
}

impl Marks for Vec<Mark> {
    fn mark(&self, slot: Slot) -> &Mark {
        &self[slot as usize]
    }
}
