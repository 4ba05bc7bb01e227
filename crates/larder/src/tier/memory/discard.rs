//! Removing entries by name, by judgement and by age.

use std::borrow::Borrow;
use std::hash::Hash;

use super::entry::{Cause, Departed, Gone, Seen, Verdict};
use super::shard::Shard;
use super::{Cell, Memory};
use crate::clock::Instant;
use crate::policy::Slot;

impl<K: Hash + Eq, V: Clone> Memory<K, V> {
    /// Removes the entry of `key`.
    pub fn remove<Q>(&self, key: &Q) -> Option<Departed<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.remove_if(key, |_| Verdict::Drop)
    }

    /// Removes the entry of `key` if that is what `judge` says of its value.
    ///
    /// The judge runs under the shard's lock and must not use this memory.
    pub fn remove_if<Q>(&self, key: &Q, judge: impl FnOnce(&V) -> Verdict) -> Option<Departed<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hash(key);
        self.cells[self.home(hash)].change(|shard| {
            if judge(&shard.find(hash, key)?.1.value) == Verdict::Keep {
                return None;
            }
            let departed = shard.remove(hash, key, Cause::Removed)?;
            self.free(shard, departed.weight, 1);
            Some(departed)
        })
    }

    /// Comes by every entry that is there from beginning to end, in no order, and removes those that `judge`
    /// drops; `gone` gets them outside all locks. Entries that arrive meanwhile may be passed over.
    ///
    /// One shard is locked at a time, for a batch of entries at a time. The judge runs under the lock and must
    /// not use this memory.
    pub fn sweep(
        &self,
        mut judge: impl FnMut(Seen<'_, K, V>) -> Verdict,
        mut gone: impl FnMut(Departed<K, V>),
    ) {
        for cell in &self.cells {
            let mut from = Some(0);
            while let Some(slot) = from {
                let mut batch = Gone::default();
                from = self.visit(cell, slot, Self::BATCH, &mut batch, |shard, slot| {
                    match judge(shard.look(slot)?) {
                        Verdict::Keep => None,
                        Verdict::Drop => Some(Cause::Removed),
                    }
                });
                batch.into_iter().for_each(&mut gone);
            }
        }
    }

    /// Removes entries whose time is over, of the next `most` entries after those that the last call came by.
    ///
    /// A lookup never returns such entries; this frees the room of those that nobody looks up any more. Costs
    /// next to nothing where no entry may expire.
    pub fn purge(&self, now: Instant, most: usize) -> Gone<K, V> {
        let mut gone = Gone::default();
        let mut hand = self.purge_hand.lock();
        let mut left = most;
        for _ in 0..=self.cells.len() {
            let cell = &self.cells[hand.0];
            while left > 0 {
                if cell.lock.lock().timed() == 0 {
                    break;
                }
                let batch = left.min(Self::BATCH);
                left -= batch;
                let next = self.visit(cell, hand.1, batch, &mut gone, |shard, slot| shard.lapse(slot, now));
                match next {
                    Some(next) => hand.1 = next,
                    None => break,
                }
            }
            if left == 0 {
                break;
            }
            *hand = ((hand.0 + 1) % self.cells.len(), 0);
        }
        gone
    }

    /// Removes those of `most` slots that `judge` gives a cause for; tells where to go on, if there is more.
    fn visit(
        &self,
        cell: &Cell<K, V>,
        from: usize,
        most: usize,
        gone: &mut Gone<K, V>,
        mut judge: impl FnMut(&Shard<K, V>, Slot) -> Option<Cause>,
    ) -> Option<usize> {
        cell.change(|shard| {
            let end = shard.slots().min(from.saturating_add(most));
            for slot in from as Slot..end as Slot {
                let cause = judge(shard, slot);
                if let Some(departed) = cause.and_then(|cause| shard.remove_slot(slot, cause)) {
                    self.free(shard, departed.weight, 1);
                    gone.push(departed);
                }
            }
            (end < shard.slots()).then_some(end)
        })
    }
}
