//! Which keys are asked for most: SpaceSaving (Metwally, Agrawal, El Abbadi 2005).
//!
//! A bounded number of keys is watched. A key that is not watched takes the place of the one with the least
//! count, and inherits that count as its possible error.
//!
//! Invariants, of the weights that were given: for a watched key, `count − error ≤ true ≤ count`; a key that is
//! not watched has at most [`HotKeys::floor`]; the floor and each error are at most total / capacity. They hold
//! for merged summaries too (Agarwal et al. 2012: a key that one of them doesn't watch gets its floor).
//!
//! Not here: which requests are given (the series samples hits in memory, and the misses of a busy thread, and weighs
//! them by the sampling; what the weights stand for is then an estimate, and the bounds hold for the weights).

use std::cmp::Reverse;

use hashbrown::HashMap;

use crate::key::{Digest, Key};

/// A watched key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HotKey {
    pub(super) key: Key,
    /// At most this much too high.
    pub(super) error: u64,
}

/// A summary of a stream of weighted keys.
#[derive(Debug, Clone)]
pub(super) struct HotKeys {
    capacity: usize,
    /// By position: what is watched, and the counts beside, so that the least is found by one pass over numbers.
    watched: Vec<HotKey>,
    counts: Vec<u64>,
    positions: HashMap<Digest, usize, foldhash::fast::RandomState>,
    total: u64,
    /// What a key may have had that was watched by neither of two merged summaries, or was left out of them.
    unwatched: u64,
}

impl HotKeys {
    /// Watches up to `capacity` keys, at least one.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            watched: Vec::new(),
            counts: Vec::new(),
            positions: HashMap::default(),
            total: 0,
            unwatched: 0,
        }
    }

    /// Puts back what [`Self::items`] and the other accessors gave.
    pub(super) fn from_parts(
        capacity: usize,
        total: u64,
        floor: u64,
        items: impl IntoIterator<Item = (HotKey, u64)>,
    ) -> Self {
        let mut keys = Self { total, unwatched: floor, ..Self::new(capacity) };
        for (key, count) in items {
            keys.watch(key, count);
        }
        keys.shrink();
        keys
    }

    /// The sum of all weights.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The most that a key that is not watched may have had.
    pub(super) fn floor(&self) -> u64 {
        if self.watched.len() < self.capacity {
            return self.unwatched;
        }
        self.counts.iter().copied().min().unwrap_or(0).max(self.unwatched)
    }

    /// The watched keys, highest count first.
    pub(super) fn items(&self) -> Vec<(&HotKey, u64)> {
        let mut items: Vec<_> = self.watched.iter().zip(self.counts.iter().copied()).collect();
        items.sort_by_key(|&(hot, count)| (Reverse(count), hot.error, hot.key.clone()));
        items
    }

    fn watch(&mut self, hot: HotKey, count: u64) {
        self.positions.insert(hot.key.digest(), self.watched.len());
        self.watched.push(hot);
        self.counts.push(count);
    }

    /// Counts a request. Cost: about 20 ns for a watched key, and a pass over `capacity` numbers for another.
    pub(super) fn add(&mut self, key: &Key, weight: u64) {
        self.total = self.total.saturating_add(weight);
        if let Some(&position) = self.positions.get(&key.digest()) {
            self.counts[position] = self.counts[position].saturating_add(weight);
        } else if self.watched.len() < self.capacity {
            let error = self.unwatched;
            self.watch(HotKey { key: key.clone(), error }, error.saturating_add(weight));
        } else {
            let (position, &least) = self
                .counts
                .iter()
                .enumerate()
                .min_by_key(|&(_, count)| count)
                .expect("the capacity is at least one");
            self.positions.remove(&self.watched[position].key.digest());
            self.positions.insert(key.digest(), position);
            let error = least.max(self.unwatched);
            self.watched[position] = HotKey { key: key.clone(), error };
            self.counts[position] = error.saturating_add(weight);
        }
    }

    /// Makes this a summary of both streams.
    pub(super) fn merge(&mut self, other: &Self) {
        let (floor, other_floor) = (self.floor(), other.floor());
        for (hot, count) in self.watched.iter_mut().zip(&mut self.counts) {
            let (more, error) = match other.positions.get(&hot.key.digest()) {
                Some(&there) => (other.counts[there], other.watched[there].error),
                None => (other_floor, other_floor),
            };
            *count = count.saturating_add(more);
            hot.error = hot.error.saturating_add(error);
        }
        for (hot, &count) in other.watched.iter().zip(&other.counts) {
            if !self.positions.contains_key(&hot.key.digest()) {
                let error = hot.error.saturating_add(floor);
                self.watch(HotKey { key: hot.key.clone(), error }, count.saturating_add(floor));
            }
        }
        self.total = self.total.saturating_add(other.total);
        self.unwatched = floor.saturating_add(other_floor);
        self.capacity = self.capacity.max(other.capacity);
        self.shrink();
    }

    /// Lets go of the least until no more than `capacity` are watched.
    fn shrink(&mut self) {
        if self.watched.len() <= self.capacity {
            return;
        }
        let mut items: Vec<_> = self.items().into_iter().map(|(hot, count)| (hot.clone(), count)).collect();
        let left_out = items.split_off(self.capacity);
        let most = left_out.iter().map(|&(_, count)| count).max().unwrap_or(0);
        self.unwatched = self.unwatched.max(most);
        self.watched.clear();
        self.counts.clear();
        self.positions.clear();
        items.into_iter().for_each(|(hot, count)| self.watch(hot, count));
    }
}

/// Equal if they say the same of every key.
impl PartialEq for HotKeys {
    fn eq(&self, other: &Self) -> bool {
        self.total == other.total && self.floor() == other.floor() && self.items() == other.items()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap as Exact;

    use proptest::prelude::*;

    use super::*;
    use crate::key::{KindName, Scope};

    fn key(n: u8) -> Key {
        Key::new(&Scope::new("a").unwrap(), &KindName::new("k", 1).unwrap(), &n.to_string()).unwrap()
    }

    fn summary(capacity: usize, stream: &[(u8, u64)]) -> HotKeys {
        let mut keys = HotKeys::new(capacity);
        stream.iter().for_each(|&(n, weight)| keys.add(&key(n), weight));
        keys
    }

    fn check(keys: &HotKeys, stream: &[(u8, u64)]) -> Result<(), TestCaseError> {
        let mut exact: Exact<Key, u64> = Exact::new();
        stream.iter().for_each(|&(n, weight)| *exact.entry(key(n)).or_default() += weight);
        let total: u64 = exact.values().sum();
        prop_assert_eq!(keys.total(), total);
        let bound = total / keys.capacity as u64;
        prop_assert!(keys.floor() <= bound, "floor {} over {}", keys.floor(), bound);
        prop_assert!(keys.items().len() <= keys.capacity);
        for (hot, count) in keys.items() {
            let truth = exact.remove(&hot.key).unwrap_or(0);
            prop_assert!(count - hot.error <= truth && truth <= count, "{truth} in {count} - {}", hot.error);
            prop_assert!(hot.error <= bound);
        }
        for (key, truth) in exact {
            prop_assert!(truth <= keys.floor(), "{key} had {truth}, floor {}", keys.floor());
        }
        Ok(())
    }

    #[test]
    fn with_room_for_all_keys_counts_are_exact_and_in_order() {
        let keys = summary(8, &[(1, 1), (2, 5), (1, 1), (3, 1)]);
        let items: Vec<_> =
            keys.items().iter().map(|&(hot, n)| (hot.key.id().to_owned(), n, hot.error)).collect();
        assert_eq!(items, [("2".into(), 5, 0), ("1".into(), 2, 0), ("3".into(), 1, 0)]);
    }

    proptest! {
        #[test]
        fn every_count_is_within_its_stated_error(
            stream in proptest::collection::vec((0u8..40, 1u64..70), 0..300), capacity in 1usize..20,
        ) {
            check(&summary(capacity, &stream), &stream)?;
        }

        #[test]
        fn merged_summaries_keep_the_stated_errors(
            parts in proptest::collection::vec(
                proptest::collection::vec((0u8..40, 1u64..70), 0..80), 2..5),
            capacity in 1usize..20,
        ) {
            let mut merged = HotKeys::new(capacity);
            parts.iter().for_each(|part| merged.merge(&summary(capacity, part)));
            check(&merged, &parts.concat())?;
            // A merged summary goes on as one, too.
            let more: Vec<_> = (0..60u8).map(|n| (n % 50, 3)).collect();
            more.iter().for_each(|&(n, weight)| merged.add(&key(n), weight));
            check(&merged, &[parts.concat(), more].concat())?;
        }

        #[test]
        fn merging_does_not_depend_on_the_order_of_two(
            a in proptest::collection::vec((0u8..40, 1u64..70), 0..80),
            b in proptest::collection::vec((0u8..40, 1u64..70), 0..80),
        ) {
            let (a, b) = (summary(7, &a), summary(7, &b));
            let (mut ab, mut ba) = (a.clone(), b.clone());
            ab.merge(&b);
            ba.merge(&a);
            prop_assert_eq!(ab, ba);
        }
    }
}
