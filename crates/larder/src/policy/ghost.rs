//! Who left not long ago: hashes without their entries.
//!
//! A queue tells who left, in order. To find a hash in it there are buckets of a cache line each, with a short tag
//! and the turn of each hash that falls into them; so remembering and recalling fetch one line that is not at hand,
//! and forgetting the oldest none at all: a turn that is no longer in the queue says that its place is free. A bucket
//! with more than fit forgets its oldest, which happens to less than one hash in a hundred; where there are few
//! hashes, or where it should not happen, there are more buckets instead.
//!
//! Invariant: `weight` and `remembered` are the sums over those in the queue that were not forgotten; each of them has
//! one place in its bucket, and no other place has a turn that is in the queue.

use std::collections::VecDeque;

use super::fetch;
use super::random::mix;

/// Hashes of a bucket.
const WAYS: usize = 8;
/// Hashes of a bucket on average, at most.
const LOAD: usize = 4;
/// The same where next to none may be forgotten before its turn: one in some thousands is.
const EXACT_LOAD: usize = 2;
/// With fewer than this many, none is forgotten before its turn.
const FEW: usize = 256;

/// A bounded memory of hashes, oldest forgotten first.
#[derive(Debug)]
pub(super) struct Ghost {
    load: usize,
    queue: VecDeque<Gone>,
    buckets: Vec<Bucket>,
    /// The turn of the first in the queue; those after it have the next ones. Wraps.
    first: u32,
    weight: u64,
    remembered: usize,
    /// Weight of all who ever left.
    gone: u64,
}

#[derive(Debug)]
struct Gone {
    hash: u64,
    /// Zero when it was forgotten.
    weight: u64,
    /// Weight of all who had left by then.
    until: u64,
}

#[derive(Debug, Clone, Default)]
#[repr(align(64))]
struct Bucket {
    tags: [u32; WAYS],
    turns: [u32; WAYS],
}

impl Default for Ghost {
    fn default() -> Self {
        Self::with(LOAD)
    }
}

impl Ghost {
    /// One that takes twice the room for its buckets, and forgets next to none before its turn.
    pub(super) fn exact() -> Self {
        Self::with(EXACT_LOAD)
    }

    fn with(load: usize) -> Self {
        Self {
            load,
            queue: VecDeque::new(),
            buckets: Vec::new(),
            first: 0,
            weight: 0,
            remembered: 0,
            gone: 0,
        }
    }

    /// Remembers that an entry left, and forgets the oldest beyond either limit.
    pub(super) fn push(&mut self, hash: u64, weight: u64, most_weight: u64, most: usize) {
        self.recall(hash);
        if self.remembered >= self.buckets.len() * self.load {
            self.grow();
        }
        let weight = weight.max(1);
        self.gone += weight;
        self.file(hash, self.first.wrapping_add(self.queue.len() as u32));
        self.queue.push_back(Gone { hash, weight, until: self.gone });
        self.weight += weight;
        self.remembered += 1;
        // Who was recalled stays in the queue until its turn comes: not too many of those.
        while self.weight > most_weight
            || self.remembered > most
            || self.queue.len() > 8 * self.remembered + 64
        {
            let Some(oldest) = self.queue.pop_front() else { break };
            self.first = self.first.wrapping_add(1);
            self.weight -= oldest.weight;
            self.remembered -= usize::from(oldest.weight > 0);
        }
    }

    /// Begins to fetch what [`recall`](Self::recall) will look at.
    #[inline]
    pub(super) fn prepare(&self, hash: u64) {
        fetch::soon(self.home(hash).map(|(home, _)| &self.buckets[home]));
    }

    /// If an entry that arrives was here, tells the weight of those who left after it, and forgets that it was.
    pub(super) fn recall(&mut self, hash: u64) -> Option<u64> {
        let (home, tag) = self.home(hash)?;
        let bucket = &self.buckets[home];
        // Mostly there is none, which is told by the tags alone.
        if !bucket.tags.contains(&tag) {
            return None;
        }
        let is_it = |&way: &usize| {
            let at = self.at(bucket.turns[way]).filter(|_| bucket.tags[way] == tag);
            at.is_some_and(|at| self.queue[at].hash == hash)
        };
        let way = (0..WAYS).find(is_it)?;
        let at = self.at(bucket.turns[way])?;
        self.buckets[home].turns[way] = self.passed();
        self.forget(at);
        Some(self.gone - self.queue[at].until)
    }

    /// The bucket of a hash, and its tag there. The bucket follows from the tag's highest bits.
    fn home(&self, hash: u64) -> Option<(usize, u32)> {
        let tag = mix(hash) >> 32;
        let home = (tag * self.buckets.len() as u64) >> 32;
        (!self.buckets.is_empty()).then_some((home as usize, tag as u32))
    }

    /// Where in the queue a turn stands, if it is there.
    fn at(&self, turn: u32) -> Option<usize> {
        let at = turn.wrapping_sub(self.first) as usize;
        (at < self.queue.len()).then_some(at)
    }

    /// A turn that is not in the queue.
    fn passed(&self) -> u32 {
        self.first.wrapping_sub(1)
    }

    /// Gives a hash a place in its bucket, in place of the oldest where none is free.
    fn file(&mut self, hash: u64, turn: u32) {
        let Some((home, tag)) = self.home(hash) else { return };
        let turns = self.buckets[home].turns;
        let way = (0..WAYS).find(|&way| self.at(turns[way]).is_none());
        if way.is_none() && self.remembered < FEW && self.buckets.len() < 4 * FEW {
            self.grow();
            return self.file(hash, turn);
        }
        let way = way.unwrap_or_else(|| {
            let way = (0..WAYS).min_by_key(|&way| self.at(turns[way])).unwrap_or(0);
            if let Some(oldest) = self.at(turns[way]) {
                self.forget(oldest);
            }
            way
        });
        let bucket = &mut self.buckets[home];
        (bucket.tags[way], bucket.turns[way]) = (tag, turn);
    }

    fn forget(&mut self, at: usize) {
        self.weight -= std::mem::take(&mut self.queue[at].weight);
        self.remembered -= 1;
    }

    /// Doubles the buckets.
    fn grow(&mut self) {
        let free = Bucket { tags: [0; WAYS], turns: [self.passed(); WAYS] };
        self.buckets = vec![free; (2 * self.buckets.len()).max(1)];
        for at in 0..self.queue.len() {
            if self.queue[at].weight > 0 {
                self.file(self.queue[at].hash, self.first.wrapping_add(at as u32));
            }
        }
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
        assert_eq!(ghost.remembered, 2);
    }

    #[test]
    fn of_many_almost_all_are_remembered_and_nobody_else_is() {
        for (mut ghost, at_least, load) in [(Ghost::default(), 49_000, 4), (Ghost::exact(), 49_950, 2)] {
            (0..200_000).for_each(|hash| ghost.push(hash, 3, 3 * 50_000, usize::MAX));
            let recalled = |ghost: &mut Ghost, hashes: std::ops::Range<u64>| {
                hashes.filter(|&hash| ghost.recall(hash).is_some()).count()
            };
            assert_eq!(recalled(&mut ghost, 200_000..400_000), 0);
            assert_eq!(recalled(&mut ghost, 0..149_000), 0);
            let recent = recalled(&mut ghost, 150_000..200_000);
            assert!(recent >= at_least, "{recent}");
            assert!(ghost.buckets.len() * load <= 2 * 65_536, "{} buckets", ghost.buckets.len());
        }
    }

    #[test]
    fn one_that_keeps_coming_and_going_does_not_pile_up() {
        let mut ghost = Ghost::default();
        for _ in 0..10_000 {
            ghost.push(1, 1, 100, 100);
            ghost.recall(1);
        }
        assert!(ghost.queue.len() <= 72, "{}", ghost.queue.len());
        assert_eq!((ghost.weight, ghost.remembered), (0, 0));
    }
}
