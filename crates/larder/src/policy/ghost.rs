//! Who left not long ago: hashes without their entries.
//!
//! A queue tells who left, in order. To find a hash in it there are buckets of a cache line each, with a short tag
//! and the turn of each hash that falls into them; so remembering and recalling fetch one line that is not at hand,
//! and forgetting the oldest none at all: a turn that is no longer in the queue says that its place is free. A bucket
//! with more than fit forgets its oldest, which happens to less than one hash in a hundred; where there are few
//! hashes, or where it should not happen, there are more buckets instead.
//!
//! Who left different queues of a policy is remembered apart, each as long as it pays, and found in one look all the same:
//! the buckets are common, and a turn tells whose it is.
//!
//! Invariant: `weight` and `remembered` are the sums over those of a line that were not forgotten; each of them has one
//! place in its bucket, and no other place has a turn that is in a line.

use std::collections::VecDeque;

use super::fetch;
use super::random::mix;

/// Hashes of a bucket.
const WAYS: usize = 8;
/// Hashes of a bucket on average, at most.
const LOAD: usize = 4;
/// The same where next to none may be forgotten before its turn: one in some thousands is.
const EXACT_LOAD: usize = 2;
/// How many others are forgotten before the one that is asked for ahead of time: those of a cache line.
const SOON: usize = 4;
/// With fewer than this many, none is forgotten before its turn.
const FEW: usize = 256;

/// A bounded memory of hashes in `N` lines, the oldest of each forgotten first.
#[derive(Debug)]
pub(super) struct Ghost<const N: usize> {
    load: usize,
    lines: [Line; N],
    buckets: Vec<Bucket>,
}

/// Who left one of the queues.
#[derive(Debug, Default)]
struct Line {
    gone: VecDeque<Gone>,
    /// The turn of the first; those after it have the next ones. Wraps.
    first: u32,
    weight: u64,
    remembered: usize,
    /// Weight of all who left before the first.
    before: Sum,
    /// Weight of all who ever left.
    total: Sum,
}

/// Four to a cache line, as who leaves makes the oldest be forgotten, which is seldom at hand.
#[derive(Debug)]
struct Gone {
    hash: u64,
    /// Weight of all who had left by then, flagged when it was forgotten.
    until: Sum,
}

const _: () = assert!(size_of::<Gone>() == 16);

/// A sum of weights, which wraps, in all bits but the lowest, and a flag in that.
#[derive(Debug, Clone, Copy, Default)]
struct Sum(u64);

impl Sum {
    fn plus(self, weight: u64) -> Self {
        Self(self.0.wrapping_add(weight << 1))
    }

    /// How much has come since `earlier`.
    fn since(self, earlier: Self) -> u64 {
        (self.0 & !1).wrapping_sub(earlier.0 & !1) >> 1
    }

    fn flagged(self) -> Self {
        Self(self.0 | 1)
    }

    fn is_flagged(self) -> bool {
        self.0 & 1 == 1
    }
}

#[derive(Debug, Clone, Default)]
#[repr(align(64))]
struct Bucket {
    tags: [u32; WAYS],
    turns: [Turn; WAYS],
}

/// The line in the highest bit, and when it was the hash's turn in that line, which begins anew after two billion.
#[derive(Debug, Clone, Copy, Default)]
struct Turn(u32);

impl Turn {
    const BITS: u32 = 31;
    const MASK: u32 = (1 << Self::BITS) - 1;

    fn new(line: usize, turn: u32) -> Self {
        Self((line as u32) << Self::BITS | turn & Self::MASK)
    }

    fn line(self) -> usize {
        (self.0 >> Self::BITS) as usize
    }
}

impl Line {
    /// Where in the line a turn of this line stands, if it is there.
    #[inline]
    fn at(&self, turn: Turn) -> Option<usize> {
        let at = (turn.0.wrapping_sub(self.first) & Turn::MASK) as usize;
        (at < self.gone.len()).then_some(at)
    }

    fn forget(&mut self, at: usize) {
        let before = if at == 0 { self.before } else { self.gone[at - 1].until };
        let until = &mut self.gone[at].until;
        self.weight -= until.since(before);
        *until = until.flagged();
        self.remembered -= 1;
    }

    fn forget_first(&mut self) -> Option<()> {
        let Gone { until, .. } = self.gone.pop_front()?;
        self.first = self.first.wrapping_add(1);
        if !until.is_flagged() {
            self.weight -= until.since(self.before);
            self.remembered -= 1;
        }
        self.before = until;
        fetch::soon(self.gone.get(SOON));
        Some(())
    }
}

impl<const N: usize> Default for Ghost<N> {
    fn default() -> Self {
        Self::with(LOAD)
    }
}

impl<const N: usize> Ghost<N> {
    const FEW: () = assert!(N == 1 || N == 2, "a turn has one bit for the line");

    /// One that takes twice the room for its buckets, and forgets next to none before its turn.
    pub(super) fn exact() -> Self {
        Self::with(EXACT_LOAD)
    }

    fn with(load: usize) -> Self {
        const { Self::FEW };
        Self { load, lines: std::array::from_fn(|_| Line::default()), buckets: Vec::new() }
    }

    /// Remembers that an entry left, which was recalled if it had left before, and forgets the oldest of the line beyond
    /// either limit.
    pub(super) fn push(&mut self, line: usize, hash: u64, weight: u64, most_weight: u64, most: usize) {
        if self.remembered() >= self.buckets.len() * self.load {
            self.grow();
        }
        let weight = weight.max(1);
        let Line { gone, first, .. } = &self.lines[line];
        self.file(hash, Turn::new(line, first.wrapping_add(gone.len() as u32)));
        let line = &mut self.lines[line];
        line.total = line.total.plus(weight);
        line.gone.push_back(Gone { hash, until: line.total });
        line.weight += weight;
        line.remembered += 1;
        // Who was recalled stays in the line until its turn comes: not too many of those.
        while line.weight > most_weight
            || line.remembered > most
            || line.gone.len() > 8 * line.remembered + 64
        {
            if line.forget_first().is_none() {
                break;
            }
        }
    }

    /// Begins to fetch what [`recall`](Self::recall) and [`push`](Self::push) will look at.
    #[inline]
    pub(super) fn prepare(&self, hash: u64) {
        fetch::soon(self.home(hash).map(|(home, _)| &self.buckets[home]));
    }

    /// If an entry that arrives was here, tells the line that it stood in and the weight of those who joined that line
    /// after it, and forgets that it was.
    #[inline]
    pub(super) fn recall(&mut self, hash: u64) -> Option<(usize, u64)> {
        let (home, tag) = self.home(hash)?;
        // Mostly there is none, which is told by the tags alone.
        if !self.buckets[home].tags.contains(&tag) {
            return None;
        }
        self.recall_from(home, tag, hash)
    }

    fn recall_from(&mut self, home: usize, tag: u32, hash: u64) -> Option<(usize, u64)> {
        let bucket = &self.buckets[home];
        let is_it = |&way: &usize| {
            let at = self.at(bucket.turns[way]).filter(|_| bucket.tags[way] == tag);
            at.is_some_and(|(line, at)| self.lines[line].gone[at].hash == hash)
        };
        let way = (0..WAYS).find(is_it)?;
        let (number, at) = self.at(bucket.turns[way])?;
        self.buckets[home].turns[way] = self.passed();
        let line = &mut self.lines[number];
        line.forget(at);
        Some((number, line.total.since(line.gone[at].until)))
    }

    /// The bucket of a hash, and its tag there. The bucket follows from the tag's highest bits.
    #[inline]
    fn home(&self, hash: u64) -> Option<(usize, u32)> {
        let tag = mix(hash) >> 32;
        let home = (tag * self.buckets.len() as u64) >> 32;
        (!self.buckets.is_empty()).then_some((home as usize, tag as u32))
    }

    /// Which line a turn is of and where in it it stands, if it is there.
    #[inline]
    fn at(&self, turn: Turn) -> Option<(usize, usize)> {
        let line = turn.line() % N;
        Some((line, self.lines[line].at(turn)?))
    }

    /// A turn that is in no line.
    fn passed(&self) -> Turn {
        Turn::new(0, self.lines[0].first.wrapping_sub(1))
    }

    fn remembered(&self) -> usize {
        self.lines.iter().map(|line| line.remembered).sum()
    }

    /// Gives a hash a place in its bucket, in place of the oldest where none is free.
    fn file(&mut self, hash: u64, turn: Turn) {
        let Some((home, tag)) = self.home(hash) else { return };
        let turns = &self.buckets[home].turns;
        let way = match (0..WAYS).find(|&way| self.at(turns[way]).is_none()) {
            Some(way) => way,
            None if self.remembered() < FEW && self.buckets.len() < 4 * FEW => {
                self.grow();
                return self.file(hash, turn);
            }
            None => self.vacate(home),
        };
        let bucket = &mut self.buckets[home];
        (bucket.tags[way], bucket.turns[way]) = (tag, turn);
    }

    /// Forgets who of a full bucket is nearest to its turn.
    #[cold]
    fn vacate(&mut self, home: usize) -> usize {
        let turns = self.buckets[home].turns;
        let way = (0..WAYS).min_by_key(|&way| self.at(turns[way]).map(|(_, at)| at)).unwrap_or(0);
        if let Some((line, at)) = self.at(turns[way]) {
            self.lines[line].forget(at);
        }
        way
    }

    /// Doubles the buckets.
    #[cold]
    fn grow(&mut self) {
        let free = Bucket { tags: [0; WAYS], turns: [self.passed(); WAYS] };
        self.buckets = vec![free; (2 * self.buckets.len()).max(1)];
        for line in 0..N {
            for at in 0..self.lines[line].gone.len() {
                let Line { gone, first, .. } = &self.lines[line];
                if !gone[at].until.is_flagged() {
                    self.file(gone[at].hash, Turn::new(line, first.wrapping_add(at as u32)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_a_line_are_forgotten_first_by_weight_and_by_number() {
        let mut ghost = Ghost::<2>::default();
        ghost.push(1, 99, 7, 100, 100);
        for hash in 0..10 {
            ghost.push(0, hash, 2, 12, 5);
        }
        assert_eq!((0..5).map(|hash| ghost.recall(hash)).collect::<Vec<_>>(), [None; 5]);
        let since = [8, 6, 4, 2, 0].map(|since| Some((0, since)));
        assert_eq!((5..10).map(|hash| ghost.recall(hash)).collect::<Vec<_>>(), since);
        assert_eq!(ghost.recall(9), None, "recalled once only");
        for hash in 0..10 {
            ghost.push(0, hash, 2, 5, 100);
        }
        assert_eq!(ghost.lines[0].remembered, 2);
        assert_eq!(ghost.recall(99), Some((1, 0)));
    }

    #[test]
    fn of_many_almost_all_are_remembered_and_nobody_else_is() {
        for (mut ghost, at_least, load) in [(Ghost::<2>::default(), 49_000, 4), (Ghost::exact(), 49_950, 2)] {
            (0..200_000).for_each(|hash| ghost.push(hash as usize % 2, hash, 3, 3 * 25_000, usize::MAX));
            let recalled = |ghost: &mut Ghost<2>, hashes: std::ops::Range<u64>| {
                hashes
                    .filter(|&hash| ghost.recall(hash).is_some_and(|(line, _)| line == hash as usize % 2))
                    .count()
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
        let mut ghost = Ghost::<1>::default();
        for _ in 0..10_000 {
            ghost.push(0, 1, 1, 100, 100);
            ghost.recall(1);
        }
        let line = &ghost.lines[0];
        assert!(line.gone.len() <= 72, "{}", line.gone.len());
        assert_eq!((line.weight, line.remembered), (0, 0));
    }
}
