//! Finding an entry.

use std::borrow::Borrow;
use std::hash::Hash;

use super::entry::{Lookup, Timing};
use super::{Cell, Memory};
use crate::clock::Instant;

impl<K: Hash + Eq, V: Clone> Memory<K, V> {
    /// Returns the value of `key`, and notes that it was used. `now` is asked only if the entry may expire.
    ///
    /// Takes one shard's lock; never waits for more than one table operation of each who came before.
    #[inline(always)]
    pub fn get<Q>(&self, key: &Q, now: impl FnOnce() -> Instant) -> Lookup<K, V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hash(key);
        let cell = &self.cells[self.home(hash)];
        let shard = cell.lock.lock();
        let Some((_, entry)) = shard.find(hash, key) else { return Lookup::Miss };
        if entry.timing == Timing::Timed {
            drop(shard);
            return self.get_timed(cell, hash, key, now());
        }
        shard.hit(entry, hash);
        Lookup::Hit(entry.value.clone())
    }

    #[cold]
    fn get_timed<Q>(&self, cell: &Cell<K, V>, hash: u64, key: &Q, now: Instant) -> Lookup<K, V>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        {
            let shard = cell.lock.lock();
            let Some((slot, entry)) = shard.find(hash, key) else { return Lookup::Miss };
            if shard.lapse(slot, now).is_none() {
                shard.touch(slot, now);
                shard.hit(entry, hash);
                return Lookup::Hit(entry.value.clone());
            }
        }
        let lapsed = cell.change(|shard| {
            // Between the two locks it may have been replaced.
            let cause = shard.lapse(shard.find(hash, key)?.0, now)?;
            let departed = shard.remove(hash, key, cause)?;
            self.free(shard, departed.weight, 1);
            Some(departed)
        });
        lapsed.map_or(Lookup::Miss, Lookup::Lapsed)
    }
}
