//! The counters of a series, by number.
//!
//! Invariant: a number keeps its meaning forever, as stored statistics name counters by it. Numbers below
//! [`STRIPED`] are counted in stripes (see `stripe`): whatever may happen at the speed of memory stands there.

use std::ops::{Index, IndexMut};

use super::event::{Computed, EvictionCause, Place, RefusalCause};

/// A counter of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count(u8);

/// Numbers below this are counted in stripes.
pub(super) const STRIPED: usize = 30;
/// How many numbers there are.
pub(super) const COUNTS: usize = 112;

const PLACES: u8 = 16;
const PER_PLACE: u8 = 32;
const _: () = assert!(PLACES as usize + Place::ALL.len() * PER_PLACE as usize == COUNTS);
const _: () = {
    let causes = EvictionCause::ALL;
    let last = Count::evicted(Place::Memory, causes[causes.len() - 1]);
    assert!(last.number() < STRIPED, "what leaves memory is counted in stripes");
};
const _: () = assert!(EvictionCause::ALL.len() <= 8 && RefusalCause::ALL.len() <= 8);
const _: () = assert!(Computed::ALL.len() <= 4);

impl Count {
    /// Nanoseconds that computing took once for each answer that was served without computing it again.
    pub(super) const SPARED: Self = Self(0);
    /// Nanoseconds that asking took.
    pub(super) const ASKING: Self = Self(1);
    /// Requests that found no answer.
    pub(super) const MISSES: Self = Self(2);
    /// Requests that waited for a computation that another had begun.
    pub(super) const WAITED: Self = Self(3);
    /// Nanoseconds that computations took, however they ended.
    pub(super) const COMPUTING: Self = Self(4);
    /// Entries that invalidations removed.
    pub(super) const INVALIDATED: Self = Self(5);

    /// Computations, by how they ended.
    pub(super) const fn computed(end: Computed) -> Self {
        Self(8 + end as u8)
    }

    const fn at(place: Place, number: u8) -> Self {
        Self(PLACES + place as u8 * PER_PLACE + number)
    }

    /// Requests answered with a kept answer that holds.
    pub(super) const fn hits(place: Place) -> Self {
        Self::at(place, 0)
    }

    /// Requests answered with a kept answer while it is being refreshed.
    pub(super) const fn stale(place: Place) -> Self {
        Self::at(place, 1)
    }

    /// Entries stored.
    pub(super) const fn puts(place: Place) -> Self {
        Self::at(place, 2)
    }

    /// Bytes of the values of these entries, before compression.
    pub(super) const fn encoded(place: Place) -> Self {
        Self::at(place, 3)
    }

    /// Bytes that they took in the tier.
    pub(super) const fn stored(place: Place) -> Self {
        Self::at(place, 4)
    }

    /// Bytes that left with evicted entries.
    pub(super) const fn evicted_bytes(place: Place) -> Self {
        Self::at(place, 5)
    }

    /// Entries that left.
    pub(super) const fn evicted(place: Place, cause: EvictionCause) -> Self {
        Self::at(place, 8 + cause as u8)
    }

    /// Answers that were not kept.
    pub(super) const fn refused(place: Place, cause: RefusalCause) -> Self {
        Self::at(place, 16 + cause as u8)
    }

    /// Times the tier was asked for an entry.
    pub(super) const fn lookups(place: Place) -> Self {
        Self::at(place, 24)
    }

    /// Times it had it.
    pub(super) const fn found(place: Place) -> Self {
        Self::at(place, 25)
    }

    /// Entries whose bytes proved bad.
    pub(super) const fn corrupt(place: Place) -> Self {
        Self::at(place, 26)
    }

    /// Operations that failed.
    pub(super) const fn failures(place: Place) -> Self {
        Self::at(place, 27)
    }

    /// Writes that were dropped, as the queue was full.
    pub(super) const fn dropped(place: Place) -> Self {
        Self::at(place, 28)
    }

    /// Its number.
    pub(super) const fn number(self) -> usize {
        self.0 as usize
    }
}

/// A value for each counter of a series. Sums of nanoseconds outgrow 64 bits where a busy server saves much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counts(Box<[u128; COUNTS]>);

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0.iter()) {
            *sum = sum.saturating_add(*more);
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|&count| count == 0)
    }

    /// The counters that are not zero, by number.
    pub(super) fn sparse(&self) -> impl Iterator<Item = (usize, u128)> {
        self.0.iter().copied().enumerate().filter(|&(_, count)| count != 0)
    }

    /// The counter with this number, unless a newer version counts something that this one doesn't know.
    pub(super) fn numbered(&mut self, number: usize) -> Option<&mut u128> {
        self.0.get_mut(number)
    }

    /// Requests, however they ended.
    pub(super) fn requests(&self) -> u64 {
        let answered = |place| self.number_of(Count::hits(place)) + self.number_of(Count::stale(place));
        let kept: u64 = Place::ALL.into_iter().map(answered).sum();
        kept + self.number_of(Count::MISSES) + self.number_of(Count::WAITED)
    }

    /// Whether anything was counted of a tier.
    pub(super) fn touch(&self, place: Place) -> bool {
        let first = Count::at(place, 0).number();
        self.0[first..first + usize::from(PER_PLACE)].iter().any(|&count| count != 0)
    }

    /// A counter that counts things rather than nanoseconds.
    pub(super) fn number_of(&self, count: Count) -> u64 {
        u64::try_from(self[count]).unwrap_or(u64::MAX)
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self(Box::new([0; COUNTS]))
    }
}

impl Index<Count> for Counts {
    type Output = u128;

    fn index(&self, count: Count) -> &u128 {
        &self.0[count.number()]
    }
}

impl IndexMut<Count> for Counts {
    fn index_mut(&mut self, count: Count) -> &mut u128 {
        &mut self.0[count.number()]
    }
}
