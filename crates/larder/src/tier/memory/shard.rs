//! One shard: a table of entries, facts about them that a hit does not need, and the policy.
//!
//! Invariant: slot `n` is taken if and only if one entry of the table has it, the policy has it and `facts[n]`
//! tells its hash, weight and groups; the totals are the sums over the entries.

use std::borrow::Borrow;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hashbrown::HashTable;

use super::entry::{Cause, Departed, Seen, Times, Timing};
use super::quota::{AXES, Members, Quota, Usage};
use crate::clock::Instant;
use crate::policy::{AnyPolicy, Arrival, Mark, Marks, Policy, PolicyName, Random, Slot};

/// Members of a group that are compared when one of them has to leave.
const SAMPLE: usize = 8;

pub(super) struct Shard<K, V> {
    entries: Entries<K, V>,
    policy: AnyPolicy,
    vacant: Vec<Slot>,
    groups: [Vec<Members>; 2],
    bytes: u64,
    load: u64,
    timed: usize,
    random: Random,
    /// Room that this shard holds unused.
    pub(super) slack_bytes: u64,
    pub(super) slack_entries: u64,
}

/// What a hit needs, in one place.
pub(super) struct Entry<K, V> {
    pub(super) key: K,
    pub(super) value: V,
    pub(super) mark: Mark,
    slot: Slot,
    pub(super) timing: Timing,
}

/// What a hit does not need.
pub(super) struct Facts {
    hash: u64,
    weight: u64,
    times: Times,
    used: AtomicU64,
    groups: [u32; 2],
    /// Where in each group's list of members its slot stands, if the group has a quota.
    at: [u32; 2],
    /// Whether it counts for how full the shard is in comparison to others.
    bulk: Bulk,
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
    pub(super) hash: u64,
    pub(super) weight: u64,
    pub(super) cost: u64,
    pub(super) groups: [u32; 2],
    pub(super) times: Times,
    pub(super) bulk: Bulk,
}

struct Entries<K, V> {
    table: HashTable<Entry<K, V>>,
    facts: Vec<Facts>,
}

impl<K, V> Entries<K, V> {
    fn of_slot(&self, slot: Slot) -> Option<&Entry<K, V>> {
        let hash = self.facts.get(slot as usize)?.hash;
        self.table.find(hash, |entry| entry.slot == slot)
    }
}

impl<K, V> Marks for Entries<K, V> {
    fn mark(&self, slot: Slot) -> &Mark {
        &self.of_slot(slot).expect("the policy knows taken slots only").mark
    }
}

impl<K, V> Shard<K, V> {
    pub(super) fn new(policy: PolicyName, seed: u64) -> Self {
        Self {
            entries: Entries { table: HashTable::new(), facts: Vec::new() },
            policy: AnyPolicy::new(policy),
            vacant: Vec::new(),
            groups: [Vec::new(), Vec::new()],
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
        self.entries.table.len()
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

    #[inline]
    pub(super) fn find<Q: Eq + ?Sized>(&self, hash: u64, key: &Q) -> Option<&Entry<K, V>>
    where
        K: Borrow<Q>,
    {
        self.entries.table.find(hash, |entry| entry.key.borrow() == key)
    }

    #[inline]
    pub(super) fn hit(&self, entry: &Entry<K, V>, hash: u64) {
        self.policy.hit(&entry.mark, hash);
    }

    /// Whether an entry's time is over.
    pub(super) fn lapse(&self, entry: &Entry<K, V>, now: Instant) -> Option<Cause> {
        let facts = &self.entries.facts[entry.slot as usize];
        facts.times.lapse(facts.used.load(Relaxed), now)
    }

    /// Notes when an entry was used.
    pub(super) fn touch(&self, entry: &Entry<K, V>, now: Instant) {
        self.entries.facts[entry.slot as usize].used.store(now.as_nanos(), Relaxed);
    }

    /// The entry in a slot, if the slot is taken.
    pub(super) fn look(&self, slot: usize) -> Option<Seen<'_, K, V>> {
        let Entry { key, value, .. } = self.entries.of_slot(Slot::try_from(slot).ok()?)?;
        let Facts { weight, groups: [scope, kind], .. } = self.entries.facts[slot];
        Some(Seen { key, value, weight, scope, kind })
    }

    /// Whether the time of the entry in a slot is over.
    pub(super) fn lapse_at(&self, slot: usize, now: Instant) -> Option<Cause> {
        // A vacant slot may still tell of the last entry's times, so the table is asked; but only if they are over.
        let facts = &self.entries.facts[slot];
        let cause = facts.times.lapse(facts.used.load(Relaxed), now)?;
        self.entries.of_slot(Slot::try_from(slot).ok()?).map(|_| cause)
    }

    /// What a group takes here.
    pub(super) fn usage(&self, axis: usize, number: u32) -> Usage {
        self.groups[axis].get(number as usize).map_or(Usage::default(), |members| members.usage)
    }

    /// The quota of a group, if it has one.
    pub(super) fn quota(&self, axis: usize, number: u32) -> Option<&Arc<Quota>> {
        Some(&self.groups[axis].get(number as usize)?.limited.as_ref()?.0)
    }

    /// Stores an entry whose key is not here, for which room and quotas have been taken.
    pub(super) fn insert(&mut self, newcomer: Newcomer<K, V>) {
        let Newcomer { key, value, hash, weight, cost, groups, times, bulk } = newcomer;
        let used = AtomicU64::new(times.stored);
        let facts = Facts { hash, weight, times, used, groups, at: [0; 2], bulk };
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.entries.facts[slot as usize] = facts;
                slot
            }
            None => {
                self.entries.facts.push(facts);
                (self.entries.facts.len() - 1) as Slot
            }
        };
        let timing = times.timing();
        let mark = Mark::default();
        self.policy.insert(slot, &mark, Arrival { hash, weight, cost });
        let entry = Entry { key, value, mark, slot, timing };
        let facts = &self.entries.facts;
        self.entries.table.insert_unique(hash, entry, |entry| facts[entry.slot as usize].hash);
        self.add(weight, bulk);
        self.timed += usize::from(timing == Timing::Timed);
        for axis in AXES {
            self.join(axis, slot);
        }
    }

    /// Puts a new value in the place of an old one, if it fits in where that is. The newcomer comes back with the
    /// old key and value in it, and tells by its weight what the old one weighed.
    pub(super) fn replace(&mut self, newcomer: &mut Newcomer<K, V>) -> Replacing
    where
        K: Eq,
    {
        let found = self.entries.table.find_mut(newcomer.hash, |entry| entry.key == newcomer.key);
        let Some(entry) = found else { return Replacing::Absent };
        let facts = &mut self.entries.facts[entry.slot as usize];
        let more = newcomer.weight.saturating_sub(facts.weight);
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
        let less = facts.weight.saturating_sub(newcomer.weight);
        limited.into_iter().flatten().for_each(|quota| quota.give(less));
        let (slot, old_weight, old_bulk) = (entry.slot, facts.weight, facts.bulk);
        let timing = newcomer.times.timing();
        let was_timed = mem::replace(&mut entry.timing, timing);
        mem::swap(&mut entry.value, &mut newcomer.value);
        self.policy.hit(&entry.mark, newcomer.hash);
        let arrival = Arrival { hash: newcomer.hash, weight: newcomer.weight, cost: newcomer.cost };
        facts.weight = newcomer.weight;
        facts.times = newcomer.times;
        facts.used = AtomicU64::new(newcomer.times.stored);
        facts.bulk = newcomer.bulk;
        let groups = facts.groups;
        self.policy.reweigh(slot, arrival);
        self.slack_bytes = self.slack_bytes - more + less;
        self.subtract(old_weight, old_bulk);
        self.add(newcomer.weight, newcomer.bulk);
        for axis in AXES {
            let usage = &mut self.groups[axis][groups[axis] as usize].usage;
            usage.bytes = usage.bytes - old_weight + newcomer.weight;
        }
        self.timed =
            self.timed + usize::from(timing == Timing::Timed) - usize::from(was_timed == Timing::Timed);
        newcomer.weight = old_weight;
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
        let slot = self.find(hash, key)?.slot;
        self.policy.remove(slot);
        self.release(slot, cause)
    }

    /// Removes the entry in a slot, if it is taken.
    pub(super) fn remove_slot(&mut self, slot: usize, cause: Cause) -> Option<Departed<K, V>> {
        let slot = Slot::try_from(slot).ok()?;
        self.entries.of_slot(slot)?;
        self.policy.remove(slot);
        self.release(slot, cause)
    }

    /// Makes the entry leave that the policy picks.
    pub(super) fn evict(&mut self, cause: Cause) -> Option<Departed<K, V>> {
        let slot = self.policy.evict(&self.entries)?;
        self.release(slot, cause)
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
        members.limited = quota.map(|quota| {
            quota.count(members.usage.bytes);
            (Arc::clone(quota), Vec::new())
        });
        if let Some((_, list)) = &mut members.limited {
            for entry in &self.entries.table {
                let facts = &mut self.entries.facts[entry.slot as usize];
                if facts.groups[axis] == number {
                    facts.at[axis] = list.len() as u32;
                    list.push(entry.slot);
                }
            }
        }
    }

    /// Forgets an entry that the policy has forgotten. Its quotas get back what it took; its room is the caller's.
    fn release(&mut self, slot: Slot, cause: Cause) -> Option<Departed<K, V>> {
        let hash = self.entries.facts[slot as usize].hash;
        let found = self.entries.table.find_entry(hash, |entry| entry.slot == slot).ok()?;
        let (entry, _) = found.remove();
        for axis in AXES {
            self.part(axis, slot);
        }
        let facts = &self.entries.facts[slot as usize];
        let (weight, [scope, kind], bulk) = (facts.weight, facts.groups, facts.bulk);
        self.subtract(weight, bulk);
        self.timed -= usize::from(entry.timing == Timing::Timed);
        self.vacant.push(slot);
        Some(Departed { key: entry.key, value: entry.value, weight, scope, kind, cause })
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

    /// Counts an entry as a member of its group. What it takes of the quota was taken before.
    fn join(&mut self, axis: usize, slot: Slot) {
        let facts = &mut self.entries.facts[slot as usize];
        let members = group(&mut self.groups[axis], facts.groups[axis]);
        members.usage.bytes += facts.weight;
        members.usage.entries += 1;
        if let Some((_, list)) = &mut members.limited {
            facts.at[axis] = list.len() as u32;
            list.push(slot);
        }
    }

    fn part(&mut self, axis: usize, slot: Slot) {
        let facts = &self.entries.facts[slot as usize];
        let members = &mut self.groups[axis][facts.groups[axis] as usize];
        members.usage.bytes -= facts.weight;
        members.usage.entries -= 1;
        if let Some((quota, list)) = &mut members.limited {
            quota.give(facts.weight);
            let at = facts.at[axis];
            list.swap_remove(at as usize);
            if let Some(&moved) = list.get(at as usize) {
                self.entries.facts[moved as usize].at[axis] = at;
            }
        }
    }

    #[cfg(test)]
    pub(super) fn audit(&self) {
        let here = self.entries.table.iter().map(|entry| &self.entries.facts[entry.slot as usize]);
        assert_eq!(here.clone().map(|facts| facts.weight).sum::<u64>(), self.bytes);
        let usual = here.clone().filter(|facts| facts.bulk == Bulk::Usual);
        assert_eq!(usual.map(|facts| facts.weight).sum::<u64>(), self.load);
        assert_eq!(self.entries.table.len() + self.vacant.len(), self.entries.facts.len());
        for axis in AXES {
            for (number, members) in self.groups[axis].iter().enumerate() {
                let group = here.clone().filter(|facts| facts.groups[axis] as usize == number);
                assert_eq!(group.clone().count() as u64, members.usage.entries);
                assert_eq!(group.map(|facts| facts.weight).sum::<u64>(), members.usage.bytes);
                if let Some((_, list)) = &members.limited {
                    assert_eq!(list.len() as u64, members.usage.entries);
                    for (at, &slot) in list.iter().enumerate() {
                        assert_eq!(self.entries.facts[slot as usize].at[axis] as usize, at);
                    }
                }
            }
        }
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

fn group(groups: &mut Vec<Members>, number: u32) -> &mut Members {
    if groups.len() <= number as usize {
        groups.resize_with(number as usize + 1, Members::default);
    }
    &mut groups[number as usize]
}
