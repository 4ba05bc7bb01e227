//! Who left not long ago: hashes without their entries.
//!
//! Invariant: the queue holds each remembered hash once, in the order in which they left, besides pairs whose
//! turn the table does not confirm. A turn is the weight of all who left until then, which only grows.

use std::collections::VecDeque;

use hashbrown::{HashTable, hash_table};

use super::random::mix;

/// A bounded memory of hashes, oldest forgotten first.
#[derive(Debug, Default)]
pub(super) struct Ghost {
    table: HashTable<Gone>,
    queue: VecDeque<(u64, u64)>,
    weight: u64,
    gone: u64,
}

#[derive(Debug, Clone, Copy)]
struct Gone {
    hash: u64,
    turn: u64,
    weight: u64,
}

impl Ghost {
    /// Remembers that an entry left, and forgets the oldest beyond either limit.
    pub(super) fn push(&mut self, hash: u64, weight: u64, most_weight: u64, most: usize) {
        self.recall(hash);
        self.gone += weight.max(1);
        let turn = self.gone;
        self.table.insert_unique(mix(hash), Gone { hash, turn, weight }, |gone| mix(gone.hash));
        self.queue.push_back((hash, turn));
        self.weight += weight;
        while self.weight > most_weight || self.table.len() > most {
            let Some((hash, turn)) = self.queue.pop_front() else { break };
            self.forget(hash, Some(turn));
        }
        if self.queue.len() > 2 * self.table.len() + 64 {
            let table = &self.table;
            self.queue.retain(|&(hash, turn)| {
                table.find(mix(hash), |gone| gone.hash == hash).is_some_and(|gone| gone.turn == turn)
            });
        }
    }

    /// If an entry that arrives was here, tells the weight of those who left after it, and forgets that it was.
    pub(super) fn recall(&mut self, hash: u64) -> Option<u64> {
        if self.table.is_empty() { None } else { self.forget(hash, None) }
    }

    fn forget(&mut self, hash: u64, turn: Option<u64>) -> Option<u64> {
        let found = self
            .table
            .find_entry(mix(hash), |gone| gone.hash == hash && turn.is_none_or(|turn| gone.turn == turn));
        let (gone, _) = found.map(hash_table::OccupiedEntry::remove).ok()?;
        self.weight -= gone.weight;
        Some(self.gone - gone.turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first_by_weight_and_by_number() {
        let mut ghost = Ghost::default();
        for hash in 0..10 {
            ghost.push(hash, 2, 12, 5);
        }
        assert_eq!((0..5).map(|hash| ghost.recall(hash)).collect::<Vec<_>>(), [None; 5]);
        assert_eq!((5..10).map(|hash| ghost.recall(hash)).collect::<Vec<_>>(), [8, 6, 4, 2, 0].map(Some));
        assert_eq!(ghost.recall(9), None, "recalled once only");
        for hash in 0..10 {
            ghost.push(hash, 2, 5, 100);
        }
        assert_eq!(ghost.table.len(), 2);
    }

    #[test]
    fn one_that_keeps_coming_and_going_does_not_pile_up() {
        let mut ghost = Ghost::default();
        for _ in 0..10_000 {
            ghost.push(1, 1, 100, 100);
            ghost.recall(1);
        }
        assert!(ghost.queue.len() <= 66, "{}", ghost.queue.len());
        assert_eq!(ghost.weight, 0);
    }
}
