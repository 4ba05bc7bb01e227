//! One shard: a table from keys to slots, an entry in each slot, and the policy.
//!
//! What a hit is made of is memory that it has to fetch. So the table holds slot numbers alone and as small as they can
//! be, an entry holds what a hit needs, and what only arrivals and departures need stands in an array of its own: more of
//! the table and of the entries stays in the processor's nearer caches. Times and places in lists of members, which few
//! entries have, stand aside as well.
//!
//! Invariant: slot `n` is taken if and only if the table has it, `entries[n]` is there and the policy has it, and then
//! `facts[n]` tells of it; the totals are the sums over the entries.

use std::borrow::Borrow;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::entry::{Cause, Departed, Gone, Seen, Times, Timing};
use super::quota::{AXES, Members, Quota, Usage};
use super::table::Table;
use crate::clock::Instant;
use crate::policy::{AnyPolicy, Arrival, Mark, Marks, Policy, PolicyName, Random, Slot, fetch};

/// Members of a group that are compared when one of them has to leave.
const SAMPLE: usize = 8;

/// What a hit reads stands first, on a pair of cache lines with the lock.
#[repr(C)]
pub(super) struct Shard<K, V> {
    table: Table,
    entries: Entries<K, V>,
    policy: AnyPolicy,
    timers: Vec<Timer>,
    vacant: Vec<Slot>,
    groups: [Vec<Members>; 2],
    /// How many groups have a quota.
    quotas: usize,
    /// Where in each group's list of members a slot stands, if the group has a quota.
    places: [Vec<u32>; 2],
    bytes: u64,
    load: u64,
    timed: usize,
    random: Random,
    /// Room that this shard holds unused.
    pub(super) slack_bytes: u64,
    pub(super) slack_entries: u64,
}

/// What a hit needs, in one place: if it is small, on one cache line.
#[repr(align(32))]
pub(super) struct Entry<K, V> {
    key: K,
    pub(super) value: V,
    pub(super) mark: Mark,
    pub(super) timing: Timing,
}

/// What a hit does not need, on one cache line. Means nothing where the slot is vacant.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub(super) struct Facts {
    hash: u64,
    weight: u64,
    groups: [u32; 2],
    /// As the policy was told, as exact as policies keep it.
    cost: f32,
    /// Whether it counts for how full the shard is in comparison to others.
    bulk: Bulk,
}

/// Until when the entry in a slot may be returned. Means nothing where it is not timed.
#[derive(Debug)]
struct Timer {
    times: Times,
    used: AtomicU64,
}

/// Whether an entry is so heavy that a shard is not fuller than others for having it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bulk {
    Usual,
    Outsize,
}

/// An entry on its way in.
pub(super) struct Newcomer<K, V> {
    pub(super) key: K,
    pub(super) value: V,
    pub(super) arrival: Arrival,
    pub(super) groups: [u32; 2],
    pub(super) times: Times,
    pub(super) bulk: Bulk,
}

/// By slot; `None` where it is vacant.
struct Entries<K, V> {
    /// What hits need.
    hot: Vec<Option<Entry<K, V>>>,
    /// What they do not.
    facts: Vec<Facts>,
}

impl<K, V> Entries<K, V> {
    #[inline]
    fn get(&self, slot: Slot) -> Option<&Entry<K, V>> {
        self.hot.get(slot as usize)?.as_ref()
    }
}

impl<K, V> Marks for Entries<K, V> {
    fn mark(&self, slot: Slot) -> &Mark {
        &self.get(slot).expect("the policy knows taken slots only").mark
    }

    #[inline]
    fn prepare(&self, slot: Slot) {
        fetch::soon(self.hot.get(slot as usize));
        fetch::soon(self.facts.get(slot as usize));
    }
}

impl<K, V> Shard<K, V> {
    pub(super) fn new(policy: PolicyName, seed: u64) -> Self {
        Self {
            table: Table::new(),
            entries: Entries { hot: Vec::new(), facts: Vec::new() },
            timers: Vec::new(),
            policy: AnyPolicy::new(policy),
            vacant: Vec::new(),
            groups: [Vec::new(), Vec::new()],
            quotas: 0,
            places: [Vec::new(), Vec::new()],
            bytes: 0,
            load: 0,
            timed: 0,
            random: Random::new(!seed),
            slack_bytes: 0,
            slack_entries: 0,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Sum of the weights of all entries that are not outsize.
    pub(super) fn load(&self) -> u64 {
        self.load
    }

    /// How many entries may expire or become idle.
    pub(super) fn timed(&self) -> usize {
        self.timed
    }

    /// How many slots there are, taken or not.
    pub(super) fn slots(&self) -> usize {
        self.entries.facts.len()
    }

    /// The slot and entry of a key.
    #[inline]
    pub(super) fn find<Q: Eq + ?Sized>(&self, hash: u64, key: &Q) -> Option<(Slot, &Entry<K, V>)>
    where
        K: Borrow<Q>,
    {
        let is_it = |slot| self.entries.get(slot).is_some_and(|entry| entry.key.borrow() == key);
        self.table.find(hash, is_it, |slot| Some((slot, self.entries.get(slot)?)))
    }

    /// The slot of a key, for whoever looks at the facts next: begins to fetch them.
    #[inline]
    pub(super) fn find_to_store(&self, hash: u64, key: &K) -> Option<Slot>
    where
        K: Eq,
    {
        let is_it = |slot: Slot| {
            // With the entry, so that both are waited for at once.
            fetch::soon(self.entries.facts.get(slot as usize));
            self.entries.get(slot).is_some_and(|entry| entry.key == *key)
        };
        self.table.find(hash, is_it, Some)
    }

    #[inline]
    pub(super) fn hit(&self, entry: &Entry<K, V>, hash: u64) {
        self.policy.hit(&entry.mark, hash);
    }

    /// Why the time of the entry in a slot is over, if there is one and its time is.
    pub(super) fn lapse(&self, slot: Slot, now: Instant) -> Option<Cause> {
        if self.entries.get(slot)?.timing == Timing::Endless {
            return None;
        }
        let timer = &self.timers[slot as usize];
        timer.times.lapse(timer.used.load(Relaxed), now)
    }

    /// Notes when the entry in a slot was used, if that matters.
    pub(super) fn touch(&self, slot: Slot, now: Instant) {
        if let Some(timer) = self.timers.get(slot as usize) {
            timer.used.store(now.as_nanos(), Relaxed);
        }
    }

    /// The entry in a slot, if the slot is taken.
    pub(super) fn look(&self, slot: Slot) -> Option<Seen<'_, K, V>> {
        let Entry { key, value, .. } = self.entries.get(slot)?;
        let Facts { weight, groups: [scope, kind], .. } = self.entries.facts[slot as usize];
        Some(Seen { key, value, weight, scope, kind })
    }

    /// What a group takes here.
    pub(super) fn usage(&self, axis: usize, number: u32) -> Usage {
        self.groups[axis].get(number as usize).map_or(Usage::default(), |members| members.usage)
    }

    /// The quota of a group, if it has one.
    pub(super) fn quota(&self, axis: usize, number: u32) -> Option<&Arc<Quota>> {
        Some(&self.groups[axis].get(number as usize)?.limited.as_ref()?.0)
    }

    /// Whether any group has a quota here.
    #[inline]
    pub(super) fn has_quotas(&self) -> bool {
        self.quotas > 0
    }

    /// Begins to fetch what storing an entry will touch.
    #[inline]
    pub(super) fn prepare(&self, hash: u64) {
        self.policy.prepare(hash);
    }

    /// Stores an entry whose key is not here, for which room and quotas have been taken.
    pub(super) fn insert(&mut self, newcomer: Newcomer<K, V>) {
        let Newcomer { key, value, arrival, groups, times, bulk } = newcomer;
        let Arrival { hash, weight, cost } = arrival;
        let facts = Facts { hash, weight, cost: cost as f32, groups, bulk };
        let timing = times.timing();
        let mark = Mark::default();
        let slot = self.vacant.pop().unwrap_or(self.entries.facts.len() as Slot);
        self.policy.insert(slot, &mark, arrival);
        let entry = Some(Entry { key, value, mark, timing });
        match self.entries.facts.get_mut(slot as usize) {
            Some(vacant) => {
                *vacant = facts;
                self.entries.hot[slot as usize] = entry;
            }
            None => {
                self.entries.facts.push(facts);
                self.entries.hot.push(entry);
            }
        }
        let facts = &self.entries.facts;
        self.table.insert(hash, slot, |slot| facts[slot as usize].hash);
        self.add(weight, bulk);
        self.time(slot, times);
        for (axis, number) in AXES.into_iter().zip(groups) {
            self.join(axis, number, slot, weight);
        }
    }

    /// Exchanges the value in a slot for a new one, if nothing else of the entry is new and no time matters to it.
    #[inline]
    pub(super) fn renew(&mut self, slot: Slot, value: &mut V, arrival: Arrival, groups: [u32; 2]) -> bool {
        let Some(entry) = &mut self.entries.hot[slot as usize] else { return false };
        let facts = &self.entries.facts[slot as usize];
        if (facts.weight, facts.cost, facts.groups) != (arrival.weight, arrival.cost as f32, groups)
            || entry.timing == Timing::Timed
        {
            return false;
        }
        mem::swap(&mut entry.value, value);
        self.policy.hit(&entry.mark, arrival.hash);
        true
    }

    /// Puts a new value in the place of an old one, if it fits in where that is. The newcomer comes back with the
    /// old key and value in it, and tells by its weight what the old one weighed.
    pub(super) fn replace(&mut self, newcomer: &mut Newcomer<K, V>) -> Replacing
    where
        K: Eq,
    {
        let arrival = newcomer.arrival;
        let Some((slot, _)) = self.find(arrival.hash, &newcomer.key) else { return Replacing::Absent };
        let Some(entry) = &mut self.entries.hot[slot as usize] else { return Replacing::Absent };
        let facts = &mut self.entries.facts[slot as usize];
        let (timing, was_timed) = (newcomer.times.timing(), entry.timing == Timing::Timed);
        let more = arrival.weight.saturating_sub(facts.weight);
        if facts.groups != newcomer.groups || more > self.slack_bytes {
            return Replacing::Unfit;
        }
        let limited = AXES.map(|axis| {
            let members = &self.groups[axis][facts.groups[axis] as usize];
            members.limited.as_ref().map(|(quota, _)| quota)
        });
        if more > 0 && limited.iter().any(Option::is_some) {
            return Replacing::Unfit;
        }
        let less = facts.weight.saturating_sub(arrival.weight);
        limited.into_iter().flatten().for_each(|quota| quota.give(less));
        let (old_weight, old_bulk) = (facts.weight, facts.bulk);
        mem::swap(&mut entry.value, &mut newcomer.value);
        self.policy.hit(&entry.mark, arrival.hash);
        entry.timing = timing;
        (facts.weight, facts.cost, facts.bulk) = (arrival.weight, arrival.cost as f32, newcomer.bulk);
        self.policy.reweigh(slot, arrival);
        self.slack_bytes = self.slack_bytes - more + less;
        self.subtract(old_weight, old_bulk);
        self.add(arrival.weight, newcomer.bulk);
        for (axis, number) in AXES.into_iter().zip(newcomer.groups) {
            let usage = &mut self.groups[axis][number as usize].usage;
            usage.bytes = usage.bytes - old_weight + arrival.weight;
        }
        self.timed -= usize::from(was_timed);
        self.time(slot, newcomer.times);
        newcomer.arrival.weight = old_weight;
        Replacing::Replaced
    }

    /// Removes the entry of a key.
    pub(super) fn remove<Q: Eq + ?Sized>(
        &mut self,
        hash: u64,
        key: &Q,
        cause: Cause,
    ) -> Option<Departed<K, V>>
    where
        K: Borrow<Q>,
    {
        let (slot, _) = self.find(hash, key)?;
        self.remove_slot(slot, cause)
    }

    /// Removes the entry in a slot, if it is taken.
    pub(super) fn remove_slot(&mut self, slot: Slot, cause: Cause) -> Option<Departed<K, V>> {
        self.entries.get(slot)?;
        self.policy.remove(slot);
        self.release(slot, cause)
    }

    /// Makes the entry leave that the policy picks.
    pub(super) fn evict(&mut self, cause: Cause) -> Option<Departed<K, V>> {
        let slot = self.pick()?;
        self.release(slot, cause)
    }

    /// The slot of the entry that has to leave next. The policy has forgotten it: it has to be exchanged or released.
    #[inline]
    pub(super) fn pick(&mut self) -> Option<Slot> {
        self.policy.evict(&self.entries)
    }

    /// Whether there is room for an entry once the one in a slot has left.
    #[inline]
    pub(super) fn fits_in(&self, slot: Slot, weight: u64) -> bool {
        self.slack_bytes + self.entries.facts[slot as usize].weight >= weight
    }

    /// Makes an entry leave that was picked, and keeps its room as slack.
    pub(super) fn release_into_slack(&mut self, slot: Slot, gone: &mut Gone<K, V>) {
        if let Some(departed) = self.release(slot, Cause::Capacity) {
            self.slack_bytes += departed.weight;
            self.slack_entries += 1;
            gone.push(departed);
        }
    }

    /// Puts an entry whose key is not here in the place of one that was picked and fits in: the same as releasing that one
    /// and inserting the other, where no group has a quota, and without counting down what is counted up again.
    #[inline]
    pub(super) fn exchange(&mut self, slot: Slot, newcomer: Newcomer<K, V>) -> Option<Departed<K, V>> {
        let Newcomer { key, value, arrival, groups, times, bulk } = newcomer;
        let Arrival { hash, weight, cost } = arrival;
        let facts = Facts { hash, weight, cost: cost as f32, groups, bulk };
        let old = mem::replace(&mut self.entries.facts[slot as usize], facts);
        self.table.remove(old.hash, slot);
        let facts = &self.entries.facts;
        self.table.insert(hash, slot, |slot| facts[slot as usize].hash);
        let mark = Mark::default();
        self.policy.insert(slot, &mark, arrival);
        let entry = Entry { key, value, mark, timing: times.timing() };
        let left = self.entries.hot[slot as usize].replace(entry)?;
        self.slack_bytes = self.slack_bytes + old.weight - weight;
        if (old.weight, old.bulk) != (weight, bulk) {
            self.subtract(old.weight, old.bulk);
            self.add(weight, bulk);
        }
        self.timed -= usize::from(left.timing == Timing::Timed);
        self.time(slot, times);
        for axis in AXES {
            if (old.groups[axis], old.weight) != (groups[axis], weight) {
                self.part(axis, old.groups[axis], slot, old.weight);
                self.join(axis, groups[axis], slot, weight);
            }
        }
        let Entry { key, value, .. } = left;
        let [scope, kind] = old.groups;
        Some(Departed { key, value, weight: old.weight, scope, kind, cause: Cause::Capacity })
    }

    /// Makes an entry of a group with a quota leave: of a few members, the one that the policy ranks lowest.
    pub(super) fn evict_member(&mut self, axis: usize, number: u32) -> Option<Departed<K, V>> {
        let (_, members) = self.groups[axis].get(number as usize)?.limited.as_ref()?;
        let rank = |&slot: &Slot| self.policy.rank(slot, self.entries.mark(slot));
        let slot = if members.len() <= SAMPLE {
            *members.iter().min_by_key(|slot| rank(slot))?
        } else {
            let sample = [(); SAMPLE].map(|()| members[self.random.below(members.len())]);
            *sample.iter().min_by_key(|slot| rank(slot))?
        };
        self.policy.remove(slot);
        self.release(slot, Cause::Quota)
    }

    /// Introduces or lifts a group's quota here.
    pub(super) fn set_quota(&mut self, axis: usize, number: u32, quota: Option<&Arc<Quota>>) {
        let members = group(&mut self.groups[axis], number);
        self.quotas -= usize::from(members.limited.is_some());
        self.quotas += usize::from(quota.is_some());
        members.limited = quota.map(|quota| {
            quota.count(members.usage.bytes);
            (Arc::clone(quota), Vec::new())
        });
        if let Some((_, list)) = &mut members.limited {
            for slot in self.table.iter() {
                if self.entries.facts[slot as usize].groups[axis] == number {
                    enlist(list, &mut self.places[axis], slot);
                }
            }
        }
    }

    /// Forgets an entry that the policy has forgotten. Its quotas get back what it took; its room is the caller's.
    fn release(&mut self, slot: Slot, cause: Cause) -> Option<Departed<K, V>> {
        let Entry { key, value, timing, .. } = self.entries.hot[slot as usize].take()?;
        let Facts { hash, weight, groups: [scope, kind], bulk, .. } = self.entries.facts[slot as usize];
        self.table.remove(hash, slot);
        for (axis, number) in AXES.into_iter().zip([scope, kind]) {
            self.part(axis, number, slot, weight);
        }
        self.subtract(weight, bulk);
        self.timed -= usize::from(timing == Timing::Timed);
        self.vacant.push(slot);
        Some(Departed { key, value, weight, scope, kind, cause })
    }

    fn add(&mut self, weight: u64, bulk: Bulk) {
        self.bytes += weight;
        if bulk == Bulk::Usual {
            self.load += weight;
        }
    }

    fn subtract(&mut self, weight: u64, bulk: Bulk) {
        self.bytes -= weight;
        if bulk == Bulk::Usual {
            self.load -= weight;
        }
    }

    /// Notes until when the entry in a slot may be returned, if that ends.
    fn time(&mut self, slot: Slot, times: Times) {
        if times.timing() == Timing::Endless {
            return;
        }
        self.timed += 1;
        if self.timers.len() <= slot as usize {
            self.timers.resize_with(slot as usize + 1, Timer::endless);
        }
        self.timers[slot as usize] = Timer { times, used: AtomicU64::new(times.stored) };
    }

    /// Counts an entry as a member of its group. What it takes of the quota was taken before.
    #[inline]
    fn join(&mut self, axis: usize, number: u32, slot: Slot, weight: u64) {
        let members = group(&mut self.groups[axis], number);
        members.usage.bytes += weight;
        members.usage.entries += 1;
        if let Some((_, list)) = &mut members.limited {
            enlist(list, &mut self.places[axis], slot);
        }
    }

    fn part(&mut self, axis: usize, number: u32, slot: Slot, weight: u64) {
        let members = &mut self.groups[axis][number as usize];
        members.usage.bytes -= weight;
        members.usage.entries -= 1;
        if let Some((quota, list)) = &mut members.limited {
            quota.give(weight);
            let place = self.places[axis][slot as usize];
            list.swap_remove(place as usize);
            if let Some(&moved) = list.get(place as usize) {
                self.places[axis][moved as usize] = place;
            }
        }
    }

    #[cfg(test)]
    pub(super) fn audit(&self) {
        let taken = self.entries.hot.iter().enumerate().filter(|(_, entry)| entry.is_some());
        let here = taken.clone().map(|(slot, _)| &self.entries.facts[slot]);
        assert_eq!(here.clone().map(|facts| facts.weight).sum::<u64>(), self.bytes);
        let usual = here.clone().filter(|facts| facts.bulk == Bulk::Usual);
        assert_eq!(usual.map(|facts| facts.weight).sum::<u64>(), self.load);
        assert_eq!(here.clone().count(), self.table.len());
        assert_eq!(self.table.len() + self.vacant.len(), self.entries.facts.len());
        assert!(self.table.iter().all(|slot| self.entries.get(slot).is_some()));
        let timed = self.entries.hot.iter().flatten().filter(|entry| entry.timing == Timing::Timed);
        assert_eq!(timed.count(), self.timed);
        for axis in AXES {
            for (number, members) in self.groups[axis].iter().enumerate() {
                let group = here.clone().filter(|facts| facts.groups[axis] as usize == number);
                assert_eq!(group.clone().count() as u64, members.usage.entries);
                assert_eq!(group.map(|facts| facts.weight).sum::<u64>(), members.usage.bytes);
                if let Some((_, list)) = &members.limited {
                    assert_eq!(list.len() as u64, members.usage.entries);
                    for (place, &slot) in list.iter().enumerate() {
                        assert_eq!(self.places[axis][slot as usize] as usize, place);
                    }
                }
            }
        }
    }
}

impl Timer {
    fn endless() -> Self {
        Self { times: Times { expires: u64::MAX, idle: u64::MAX, stored: 0 }, used: AtomicU64::new(0) }
    }
}

/// What became of the wish to put a value in the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replacing {
    /// It is there now.
    Replaced,
    /// There is none.
    Absent,
    /// It does not fit in: it takes more room, or belongs to another group.
    Unfit,
}

#[inline]
fn group(groups: &mut Vec<Members>, number: u32) -> &mut Members {
    if groups.len() <= number as usize {
        groups.resize_with(number as usize + 1, Members::default);
    }
    &mut groups[number as usize]
}

/// Adds a slot to a list of members and notes where in it.
fn enlist(list: &mut Vec<Slot>, places: &mut Vec<u32>, slot: Slot) {
    if places.len() <= slot as usize {
        places.resize(slot as usize + 1, 0);
    }
    places[slot as usize] = list.len() as u32;
    list.push(slot);
}
