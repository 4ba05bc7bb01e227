//! From keys to slots.
//!
//! Each lookup waits for slot numbers that are seldom at hand. So they take two bytes each, as long as that is enough for
//! all: twice as many of them stay in the processor's nearer caches.
//!
//! Invariant: a table is small until a slot number comes that does not fit, and large from then on.
//!
//! Not here: keys and their hashes, which stand with the entries.

use hashbrown::HashTable;

use crate::policy::Slot;

/// The slots of a shard, by the hashes of their keys.
pub(super) enum Table {
    /// As long as there were no more than 65,536 slots.
    Small(HashTable<u16>),
    /// Since then.
    Large(HashTable<Slot>),
}

impl Table {
    pub(super) fn new() -> Self {
        Self::Small(HashTable::new())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Small(table) => table.len(),
            Self::Large(table) => table.len(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> {
        let (small, large) = match self {
            Self::Small(table) => (Some(table), None),
            Self::Large(table) => (None, Some(table)),
        };
        let small = small.into_iter().flatten().map(|&slot| slot.into());
        small.chain(large.into_iter().flatten().copied())
    }

    /// What `then` makes of the slot with this hash that is the right one. It is called in both branches, where `is_it` has
    /// just looked at the same entry: after a branch that joins them, that look would be done once more.
    #[inline]
    pub(super) fn find<R>(
        &self,
        hash: u64,
        is_it: impl Fn(Slot) -> bool,
        then: impl FnOnce(Slot) -> Option<R>,
    ) -> Option<R> {
        match self {
            Self::Small(table) => {
                let &slot = table.find(hash, |&slot| is_it(slot.into()))?;
                then(slot.into())
            }
            Self::Large(table) => find_in_large(table, hash, is_it, then),
        }
    }

    /// Adds a slot that is not there. `hash_of` tells the hashes of those that are.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64, slot: Slot, hash_of: impl Fn(Slot) -> u64) {
        if let Self::Small(table) = self {
            if let Ok(slot) = u16::try_from(slot) {
                table.insert_unique(hash, slot, |&slot| hash_of(slot.into()));
                return;
            }
            *self = Self::Large(enlarged(table, &hash_of));
        }
        if let Self::Large(table) = self {
            table.insert_unique(hash, slot, |&slot| hash_of(slot));
        }
    }

    /// Removes a slot, if it is there.
    #[inline]
    pub(super) fn remove(&mut self, hash: u64, slot: Slot) {
        match self {
            Self::Small(table) => {
                if let Ok(found) = table.find_entry(hash, |&other| Slot::from(other) == slot) {
                    found.remove();
                }
            }
            Self::Large(table) => {
                if let Ok(found) = table.find_entry(hash, |&other| other == slot) {
                    found.remove();
                }
            }
        }
    }
}

#[cold]
fn enlarged(small: &HashTable<u16>, hash_of: &impl Fn(Slot) -> u64) -> HashTable<Slot> {
    let mut large = HashTable::with_capacity(small.len() + 1);
    for slot in small.iter().map(|&slot| slot.into()) {
        large.insert_unique(hash_of(slot), slot, |&slot| hash_of(slot));
    }
    large
}

/// Out of line, as a second search beside it slows the one in small tables down.
#[inline(never)]
fn find_in_large<R>(
    table: &HashTable<Slot>,
    hash: u64,
    is_it: impl Fn(Slot) -> bool,
    then: impl FnOnce(Slot) -> Option<R>,
) -> Option<R> {
    let &slot = table.find(hash, |&slot| is_it(slot))?;
    then(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(slot: Slot) -> u64 {
        u64::from(slot).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn has(table: &Table, slot: Slot) -> bool {
        table.find(hash_of(slot), |other| other == slot, Some) == Some(slot)
    }

    #[test]
    fn a_table_has_what_was_added_and_not_removed_before_and_after_it_becomes_large() {
        let mut table = Table::new();
        (0..=0xffff).for_each(|slot| table.insert(hash_of(slot), slot, hash_of));
        (0..=0xffff).filter(|slot| slot % 3 == 0).for_each(|slot| table.remove(hash_of(slot), slot));
        assert!(matches!(table, Table::Small(_)));
        assert!((0..=0xffff).all(|slot| has(&table, slot) == (slot % 3 != 0)));
        (0x10000..70_000).for_each(|slot| table.insert(hash_of(slot), slot, hash_of));
        (0..70_000).filter(|slot| slot % 5 == 0).for_each(|slot| table.remove(hash_of(slot), slot));
        table.insert(hash_of(0), 0, hash_of);
        assert!(matches!(table, Table::Large(_)));
        let stays =
            |slot: Slot| slot == 0 || !slot.is_multiple_of(5) && (slot > 0xffff || !slot.is_multiple_of(3));
        assert!((0..80_000).all(|slot| has(&table, slot) == (slot < 70_000 && stays(slot))));
        let mut all: Vec<Slot> = table.iter().collect();
        all.sort_unstable();
        assert_eq!(table.len(), all.len());
        assert_eq!(all, (0..70_000).filter(|&slot| stays(slot)).collect::<Vec<_>>());
    }
}
