//! Who has the lowest key, where keys rise while nobody is told.
//!
//! Each slot is filed in a heap under a key that is at most its own. The lowest filed one is looked at: if its key
//! has risen, it is filed anew, else nobody has a lower key, because the others' keys are at least what they are
//! filed under. So a rise costs nothing when it happens, and one filing when it matters; several rises of one
//! slot cost one filing together.
//!
//! Invariant: `filed[slot]` is what a slot is filed under; pairs in the heap that it does not confirm mean
//! nothing, and are never the majority.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::Slot;

/// Slots filed anew at most for one answer. Rarely that many rose since the last one; then the lowest of them
/// that were looked at will do, rather than keep a caller waiting for all.
const MOST_REFILED: usize = 1024;

/// A heap of slots under keys that may rise behind its back.
#[derive(Debug)]
pub(super) struct Lowest<T> {
    filed: Vec<Option<T>>,
    heap: BinaryHeap<Reverse<(T, Slot)>>,
    len: usize,
}

impl<T: Ord> Default for Lowest<T> {
    fn default() -> Self {
        Self { filed: Vec::new(), heap: BinaryHeap::new(), len: 0 }
    }
}

impl<T: Ord + Copy> Lowest<T> {
    /// Files a slot, for the first time or anew under any key.
    pub(super) fn file(&mut self, slot: Slot, key: T) {
        if self.filed.len() <= slot as usize {
            self.filed.resize(slot as usize + 1, None);
        }
        self.len += usize::from(self.filed[slot as usize].replace(key).is_none());
        self.heap.push(Reverse((key, slot)));
        if self.heap.len() > 2 * self.len + 64 {
            let filed = &self.filed;
            self.heap.retain(|&Reverse((key, slot))| filed[slot as usize] == Some(key));
        }
    }

    /// Takes a slot out.
    pub(super) fn remove(&mut self, slot: Slot) {
        self.len -= usize::from(self.filed[slot as usize].take().is_some());
    }

    /// What a slot is filed under.
    pub(super) fn filed(&self, slot: Slot) -> Option<T> {
        self.filed[slot as usize]
    }

    /// Takes out the slot with the lowest key, by what `key` says the keys are now.
    pub(super) fn take(&mut self, key: impl Fn(Slot) -> T) -> Option<(Slot, T)> {
        let mut lowest = None;
        for _ in 0..MOST_REFILED {
            let (slot, now) = loop {
                let mut first = self.heap.peek_mut()?;
                let Reverse((filed, slot)) = *first;
                if self.filed[slot as usize] != Some(filed) {
                    PeekMut::pop(first);
                    continue;
                }
                let now = key(slot);
                if now <= filed {
                    PeekMut::pop(first);
                    self.remove(slot);
                    return Some((slot, filed));
                }
                *first = Reverse((now, slot));
                break (slot, now);
            };
            self.filed[slot as usize] = Some(now);
            lowest = lowest.into_iter().chain([(now, slot)]).min();
        }
        let (now, slot) = lowest?;
        self.remove(slot);
        Some((slot, now))
    }

    /// Takes out the slot with the lowest key, where keys do not rise.
    pub(super) fn take_filed(&mut self) -> Option<Slot> {
        loop {
            let Reverse((filed, slot)) = self.heap.pop()?;
            if self.filed[slot as usize] == Some(filed) {
                self.remove(slot);
                return Some(slot);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn pairs(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_waits_for_a_limited_number_of_slots() {
        let mut lowest = Lowest::default();
        let slots = 3 * MOST_REFILED as u64;
        (0..slots).for_each(|key| lowest.file(key as Slot, key));
        let looks = std::cell::Cell::new(0);
        // All have risen, the first of them most.
        let answer = lowest.take(|slot| {
            looks.set(looks.get() + 1);
            10_000 - u64::from(slot)
        });
        assert_eq!(looks.get(), MOST_REFILED);
        assert_eq!(answer, Some((MOST_REFILED as Slot - 1, 10_001 - MOST_REFILED as u64)));
        let rest: Vec<_> = std::iter::from_fn(|| lowest.take(|slot| 10_000 - u64::from(slot))).collect();
        assert_eq!(rest.len() as u64, slots - 1);
        assert_eq!(lowest.pairs(), 0);
    }

    #[test]
    fn what_was_removed_does_not_pile_up() {
        let mut lowest = Lowest::default();
        for key in 0..10_000 {
            lowest.file(0, key);
            lowest.remove(0);
        }
        assert!(lowest.pairs() <= 66, "{}", lowest.pairs());
        assert_eq!(lowest.take(|_| 0), None);
    }
}
