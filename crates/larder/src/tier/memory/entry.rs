//! What goes into a memory tier and what comes out of it.

use std::time::Duration;

use crate::clock::Instant;

/// On what terms an entry is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// What it takes of the byte limit; counts as at least 1.
    pub weight: u64,
    /// What it costs to compute again. An entry that matters more than its cost says is given a higher one.
    pub cost: Duration,
    /// Number of the scope that it belongs to; numbers should be small and used again.
    pub scope: u32,
    /// Number of the kind that it belongs to, likewise.
    pub kind: u32,
    /// How long from now it may be returned.
    pub expires_after: Option<Duration>,
    /// How long from now, and from each hit, it may be returned.
    pub idle_after: Option<Duration>,
}

impl Terms {
    /// Whether time does not matter to them.
    pub(super) fn are_endless(&self) -> bool {
        self.expires_after.is_none() && self.idle_after.is_none()
    }
}

/// Answer to a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<K, V> {
    /// It is there.
    Hit(V),
    /// Nothing is there.
    Miss,
    /// It was there, but its time is over: it was removed just now.
    Lapsed(Departed<K, V>),
}

impl<K, V> Lookup<K, V> {
    /// The value, if it is there.
    pub fn hit(self) -> Option<V> {
        match self {
            Self::Hit(value) => Some(value),
            Self::Miss | Self::Lapsed(_) => None,
        }
    }
}

/// Answer to a `put`.
#[derive(Debug)]
#[must_use = "entries that left are in here, and are dropped with it"]
pub struct Put<K, V> {
    /// Whether the entry is kept.
    pub keeping: Keeping,
    /// Who had to leave for it.
    pub gone: Gone<K, V>,
}

/// Whether an entry is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// It is.
    Kept,
    /// It is not, and no older value of its key is either.
    Refused(Refusal),
}

/// Why an entry is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is heavier than half the byte limit.
    TooLarge,
    /// It is heavier than the quota of its scope or kind.
    OverQuota,
    /// Entries that are being stored at the same time took all the room.
    Crowded,
}

/// Why an entry left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Another one needed the room.
    Capacity,
    /// Another one of its scope or kind needed the room within their quota, or the quota was lowered.
    Quota,
    /// It reached its expiry.
    Expired,
    /// It was not asked for in time.
    Idle,
    /// A new value was put in its place.
    Replaced,
    /// It was removed by name or by a sweep.
    Removed,
    /// The limits were lowered.
    Resized,
}

/// An entry that left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departed<K, V> {
    /// What it was filed under.
    pub key: K,
    /// What it held.
    pub value: V,
    /// What it weighed.
    pub weight: u64,
    /// Number of its scope.
    pub scope: u32,
    /// Number of its kind.
    pub kind: u32,
    /// Why it left.
    pub cause: Cause,
}

/// Entries that left. Usually none or one, which takes no allocation.
#[derive(Debug)]
pub struct Gone<K, V> {
    first: Option<Departed<K, V>>,
    rest: Vec<Departed<K, V>>,
}

impl<K, V> Default for Gone<K, V> {
    fn default() -> Self {
        Self { first: None, rest: Vec::new() }
    }
}

impl<K, V> Gone<K, V> {
    pub(super) fn of(departed: Departed<K, V>) -> Self {
        Self { first: Some(departed), rest: Vec::new() }
    }

    pub(super) fn push(&mut self, departed: Departed<K, V>) {
        if self.first.is_none() {
            self.first = Some(departed);
        } else {
            self.rest.push(departed);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// Whether nobody left.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Looks at them in the order in which they left.
    pub fn iter(&self) -> impl Iterator<Item = &Departed<K, V>> {
        self.first.iter().chain(&self.rest)
    }
}

impl<K, V> IntoIterator for Gone<K, V> {
    type Item = Departed<K, V>;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Self::Item>, std::vec::IntoIter<Self::Item>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

/// An entry that a sweep comes by.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a, K, V> {
    /// What it is filed under.
    pub key: &'a K,
    /// What it holds.
    pub value: &'a V,
    /// What it weighs.
    pub weight: u64,
    /// Number of its scope.
    pub scope: u32,
    /// Number of its kind.
    pub kind: u32,
}

/// What a sweep does with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It leaves.
    Drop,
}

/// Until when an entry may be returned, in nanoseconds of the monotonic clock; `u64::MAX` where it does not end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) expires: u64,
    pub(super) idle: u64,
    /// When it was stored.
    pub(super) stored: u64,
}

impl Times {
    /// Asks for the time only if the terms depend on it.
    pub(super) fn of(terms: &Terms, now: impl FnOnce() -> Instant) -> Self {
        if terms.are_endless() {
            return Self { expires: u64::MAX, idle: u64::MAX, stored: 0 };
        }
        let now = now();
        let nanos = |duration: Duration| Instant::at(duration).as_nanos();
        Self {
            expires: terms.expires_after.map_or(u64::MAX, |after| now.plus(after).as_nanos()),
            idle: terms.idle_after.map_or(u64::MAX, nanos),
            stored: now.as_nanos(),
        }
    }

    pub(super) fn timing(&self) -> Timing {
        if self.expires == u64::MAX && self.idle == u64::MAX { Timing::Endless } else { Timing::Timed }
    }

    /// Whether the entry's time is over, if it was used last at `used`.
    pub(super) fn lapse(&self, used: u64, now: Instant) -> Option<Cause> {
        let now = now.as_nanos();
        if now >= self.expires {
            Some(Cause::Expired)
        } else if self.idle != u64::MAX && now.saturating_sub(used) >= self.idle {
            Some(Cause::Idle)
        } else {
            None
        }
    }
}

/// Whether the time matters to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timing {
    /// It does not.
    Endless,
    /// It may expire or become idle.
    Timed,
}
