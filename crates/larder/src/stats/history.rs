//! What happened when: sums over slots of a second, a minute, an hour and a day.
//!
//! Slots are numbered by the wall clock, so that the histories of several processes and of successive runs add
//! up slot by slot. A slot in which nothing was counted is not there.
//!
//! A wall clock may step. What is counted goes to the slot that the clock names at the time, so a step back adds
//! to slots that were there before, and no step loses what was counted elsewhere: pruning keeps the newest
//! slots up to now *by number*, however far back they lie, and as many that seem to lie in the future; they
//! are shown when the clock gets there.
//!
//! Invariant: after [`History::prune`] each resolution holds at most twice its number of slots.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::count::{Count, Counts};
use super::event::{Computed, EvictionCause, Place, named};
use crate::clock::Timestamp;

named! {
    /// How long a slot of the history is.
    pub enum Resolution {
        /// A second; 120 of them are kept.
        Second => "second",
        /// A minute; 120 of them are kept.
        Minute => "minute",
        /// An hour; 72 of them are kept.
        Hour => "hour",
        /// A day (UTC); 60 of them are kept.
        Day => "day",
    }
}

impl Resolution {
    /// How long a slot is, in milliseconds.
    pub const fn millis(self) -> u64 {
        match self {
            Self::Second => 1_000,
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }

    /// How many slots are kept.
    pub const fn slots(self) -> usize {
        match self {
            Self::Second | Self::Minute => 120,
            Self::Hour => 72,
            Self::Day => 60,
        }
    }

    /// How many slots make up `kept`, as far as slots are kept; at least one.
    fn slots_within(self, kept: Duration) -> usize {
        let slots = kept.as_millis().div_ceil(self.millis().into());
        usize::try_from(slots).unwrap_or(usize::MAX).clamp(1, self.slots())
    }

    const fn slot_of(self, time: Timestamp) -> u64 {
        time.as_millis() / self.millis()
    }
}

pub(super) const SUMS: usize = 14;

/// Sums over one slot, by field. Stored by position: append, never reorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Slot(pub(super) [u128; SUMS]);

impl Slot {
    /// What happened according to these counters.
    pub(super) fn of(counts: &Counts) -> Self {
        let places = |count: fn(Place) -> Count| Place::ALL.iter().map(|&place| counts[count(place)]).sum();
        let evicted =
            |place| EvictionCause::ALL.iter().map(move |&cause| counts[Count::evicted(place, cause)]);
        Self([
            counts[Count::hits(Place::Memory)],
            counts[Count::hits(Place::Disk)],
            counts[Count::hits(Place::Shared)],
            places(Count::stale),
            counts[Count::MISSES],
            counts[Count::WAITED],
            Computed::ALL.iter().map(|&end| counts[Count::computed(end)]).sum(),
            counts[Count::SPARED],
            counts[Count::ASKING],
            places(Count::puts),
            Place::ALL.into_iter().flat_map(evicted).sum(),
            counts[Count::INVALIDATED],
            places(Count::corrupt),
            places(Count::failures),
        ])
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(more);
        }
    }

    fn is_zero(&self) -> bool {
        self.0 == [0; SUMS]
    }
}

/// The slots of all resolutions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct History([BTreeMap<u64, Slot>; Resolution::ALL.len()]);

impl History {
    /// Adds to the slots of `now`.
    pub(super) fn add(&mut self, now: Timestamp, slot: &Slot) {
        if !slot.is_zero() {
            for resolution in Resolution::ALL {
                self.add_slot(resolution, resolution.slot_of(now), slot);
            }
        }
    }

    pub(super) fn add_slot(&mut self, resolution: Resolution, number: u64, slot: &Slot) {
        self.0[resolution as usize].entry(number).or_default().add(slot);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for resolution in Resolution::ALL {
            other.slots(resolution).iter().for_each(|(&n, slot)| self.add_slot(resolution, n, slot));
        }
    }

    pub(super) fn slots(&self, resolution: Resolution) -> &BTreeMap<u64, Slot> {
        &self.0[resolution as usize]
    }

    /// Lets go of all but as many of the newest slots up to `now` as make up `kept`, and as many of the nearest
    /// ones after it.
    pub(super) fn prune(&mut self, now: Timestamp, kept: Duration) {
        for resolution in Resolution::ALL {
            let slots = &mut self.0[resolution as usize];
            let limit = resolution.slots_within(kept);
            if slots.len() <= limit {
                continue;
            }
            let mut future = slots.split_off(&(resolution.slot_of(now) + 1));
            while slots.len() > limit {
                slots.pop_first();
            }
            while future.len() > limit {
                future.pop_last();
            }
            slots.append(&mut future);
        }
    }

    /// The slots of the time `kept` up to `now`, oldest first.
    pub(super) fn points(&self, resolution: Resolution, now: Timestamp, kept: Duration) -> Vec<Point> {
        let current = resolution.slot_of(now);
        let first = current.saturating_sub(resolution.slots_within(kept) as u64 - 1);
        let point = |(&number, slot): (&u64, &Slot)| Point::of(resolution, number, slot);
        self.slots(resolution).range(first..=current).map(point).collect()
    }
}

/// What happened in one slot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// When it began.
    pub start: Timestamp,
    /// How long it is.
    pub seconds: u64,
    /// Requests.
    pub requests: u64,
    /// Requests answered with a kept answer that held, from memory.
    pub memory_hits: u64,
    /// The same from disk.
    pub disk_hits: u64,
    /// The same from the shared store.
    pub shared_hits: u64,
    /// Requests answered with an answer that was being refreshed.
    pub stale: u64,
    /// Requests that found no answer.
    pub misses: u64,
    /// Requests that waited for another's computation.
    pub waited: u64,
    /// Share of requests that were answered with a kept answer; absent where nothing was asked.
    pub hit_rate: Option<f64>,
    /// Time saved, less what asking took; absent where nothing was asked.
    pub saved_seconds: Option<f64>,
    /// Computations that ended, in whatever way.
    pub computed: u64,
    /// Entries stored, over all tiers.
    pub puts: u64,
    /// Entries evicted, over all tiers.
    pub evicted: u64,
    /// Entries that invalidations removed.
    pub invalidated: u64,
    /// Entries whose bytes proved bad.
    pub corrupt: u64,
    /// Operations of tiers that failed.
    pub failures: u64,
}

impl Point {
    fn of(resolution: Resolution, number: u64, slot: &Slot) -> Self {
        let count = |field: usize| u64::try_from(slot.0[field]).unwrap_or(u64::MAX);
        let hits: u64 = (0..4).map(count).sum();
        let requests = hits + count(4) + count(5);
        let asked = requests > 0;
        Self {
            start: Timestamp::from_millis(number.saturating_mul(resolution.millis())),
            seconds: resolution.millis() / 1_000,
            requests,
            memory_hits: count(0),
            disk_hits: count(1),
            shared_hits: count(2),
            stale: count(3),
            misses: count(4),
            waited: count(5),
            hit_rate: asked.then(|| hits as f64 / requests as f64),
            saved_seconds: asked.then(|| (slot.0[7] as f64 - slot.0[8] as f64) / 1e9),
            computed: count(6),
            puts: count(9),
            evicted: count(10),
            invalidated: count(11),
            corrupt: count(12),
            failures: count(13),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit() -> Slot {
        let mut counts = Counts::default();
        counts[Count::hits(Place::Memory)] = 1;
        Slot::of(&counts)
    }

    const LONG: Duration = Duration::from_secs(100 * 86_400);
    const START: Timestamp = Timestamp::from_millis(20_834 * 86_400_000);

    fn millis(n: u64) -> Timestamp {
        Timestamp::from_millis(START.as_millis() + n)
    }

    fn check(history: &History, resolution: Resolution, now: Timestamp) -> Vec<(u64, u64)> {
        let since = |point: &Point| (point.start.as_millis() - START.as_millis()) / resolution.millis();
        history.points(resolution, now, LONG).iter().map(|point| (since(point), point.requests)).collect()
    }

    #[test]
    fn what_happens_is_filed_under_its_second_minute_hour_and_day() {
        let mut history = History::default();
        for time in [0, 900, 1_000, 60_000, 3_600_000] {
            history.add(millis(time), &hit());
        }
        let now = millis(3_600_000);
        assert_eq!(check(&history, Resolution::Second, now), [(3_600, 1)]);
        assert_eq!(check(&history, Resolution::Second, millis(1_000)), [(0, 2), (1, 1)]);
        assert_eq!(check(&history, Resolution::Minute, now), [(0, 3), (1, 1), (60, 1)]);
        assert_eq!(check(&history, Resolution::Hour, now), [(0, 4), (1, 1)]);
        assert_eq!(check(&history, Resolution::Day, now), [(0, 5)]);
    }

    #[test]
    fn each_resolution_keeps_its_number_of_slots() {
        let mut history = History::default();
        for second in 0..500 {
            history.add(millis(second * 1_000), &hit());
            history.prune(millis(second * 1_000), LONG);
        }
        assert_eq!(history.slots(Resolution::Second).len(), 120);
        assert_eq!(check(&history, Resolution::Second, millis(499_999)).first(), Some(&(380, 1)));
        assert_eq!(history.slots(Resolution::Minute).len(), 9);
    }

    #[test]
    fn a_shorter_history_keeps_fewer_slots() {
        let mut history = History::default();
        (0..50).for_each(|day| history.add(millis(day * 86_400_000), &hit()));
        let (now, week) = (millis(49 * 86_400_000), Duration::from_secs(7 * 86_400));
        assert_eq!(history.points(Resolution::Day, now, week).len(), 7);
        history.prune(now, week);
        assert_eq!(history.slots(Resolution::Day).len(), 7);
        history.prune(now, Duration::ZERO);
        assert_eq!(history.slots(Resolution::Day).len(), 1);
    }

    #[test]
    fn a_clock_that_steps_and_comes_back_costs_no_history() {
        for elsewhere in [0, 4_000_000_000_000] {
            let mut history = History::default();
            for day in 0..60 {
                history.add(millis(day * 86_400_000), &hit());
            }
            let now = millis(59 * 86_400_000);
            let before = history.points(Resolution::Day, now, LONG);
            let elsewhere = Timestamp::from_millis(elsewhere);
            history.add(elsewhere, &hit());
            history.prune(elsewhere, LONG);
            history.prune(now, LONG);
            // A slot long ago gives way to newer ones, and one far ahead does not push out the present; a slot
            // that was written meanwhile may only cost the oldest one.
            let after = history.points(Resolution::Day, now, LONG);
            assert!(after.len() >= 59 && before.ends_with(&after), "{} of {}", after.len(), before.len());
            assert!(history.slots(Resolution::Day).len() <= 120);
        }
    }

    #[test]
    fn what_seems_to_lie_ahead_neither_grows_without_bound_nor_pushes_out_what_is_counted_now() {
        let mut history = History::default();
        let second = |n: u64| Timestamp::from_millis(n * 1_000);
        (1_000_000..1_000_500).for_each(|n| history.add(second(n), &hit()));
        for n in 0..500 {
            history.add(second(n), &hit());
            history.prune(second(n), LONG);
        }
        assert_eq!(history.points(Resolution::Second, second(499), LONG).len(), 120);
        let ahead: Vec<u64> = history.slots(Resolution::Second).range(500..).map(|(&n, _)| n).collect();
        assert_eq!(ahead, (1_000_000..1_000_120).collect::<Vec<_>>());
    }

    #[test]
    fn a_step_back_adds_to_the_slots_that_are_there() {
        let mut history = History::default();
        history.add(millis(0), &hit());
        history.add(millis(7_200_000), &hit());
        history.add(millis(3_600_000), &hit());
        history.add(millis(0), &hit());
        history.prune(millis(0), LONG);
        assert_eq!(check(&history, Resolution::Hour, millis(0)), [(0, 2)]);
        assert_eq!(check(&history, Resolution::Hour, millis(7_200_000)), [(0, 2), (1, 1), (2, 1)]);
    }
}
