//! Storing an entry: from what its shard has where that is enough; else what it needs is claimed first, from others as well.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::entry::{Cause, Departed, Gone, Keeping, Put, Refusal, Terms, Times};
use super::lock::LockGuard;
use super::quota::{AXES, Quota, Taking};
use super::shard::{Bulk, Newcomer, Replacing, Shard};
use super::{Cell, Limits, Memory};
use crate::clock::Instant;
use crate::policy::{Arrival, Slot};

/// An entry heavier than one in this many of a shard's fair share is outsize.
const OUTSIZE_SHARE: u64 = 8;

/// How often a put goes home with what it claimed elsewhere, before it finds that others were quicker each time.
const ATTEMPTS: usize = 16;

/// What a put under way holds.
pub(super) struct Claim {
    pub(super) weight: u64,
    pub(super) bytes: u64,
    pub(super) entries: u64,
    groups: [u32; 2],
    quotas: [Option<Arc<Quota>>; 2],
}

/// What a put needs that is not to be had at home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    /// Bytes or an entry.
    Room,
    /// Some of the quota of the group on this axis.
    Quota(usize),
}

impl Claim {
    /// Whether there is room for the entry in it.
    pub(super) fn has_room(&self) -> bool {
        self.bytes >= self.weight && self.entries >= 1
    }

    /// Takes over the room of an entry that left.
    pub(super) fn inherit<K, V>(&mut self, departed: &Departed<K, V>) {
        self.bytes += departed.weight;
        self.entries += 1;
    }

    /// The number of the group on an axis.
    pub(super) fn group(&self, axis: usize) -> u32 {
        self.groups[axis]
    }

    /// Holds a quota that was taken.
    pub(super) fn hold(&mut self, axis: usize, quota: Arc<Quota>) {
        self.quotas[axis] = Some(quota);
    }
}

impl<K: Hash + Eq, V: Clone> Memory<K, V> {
    /// Keeps `value` under `key`, in place of any older value, and makes others leave if it must. `now` is asked
    /// only if the terms depend on it.
    ///
    /// Where it is refused, an older value of the key is gone all the same: it is not what a caller who put a
    /// newer one wants to find.
    pub fn put(&self, key: K, mut value: V, terms: Terms, now: impl FnOnce() -> Instant) -> Put<K, V> {
        let hash = self.hash(&key);
        let arrival = Arrival { hash, weight: terms.weight.max(1), cost: nanos(terms.cost) };
        let cell = &self.cells[self.home(hash)];
        let mut shard = cell.lock.lock();
        let Some(slot) = shard.find_to_store(hash, &key) else {
            let newcomer = self.newcomer(key, value, arrival, &terms, now);
            return self.keep_new(cell, shard, newcomer);
        };
        // Limits may have been lowered since it came.
        let may_stay = terms.are_endless() && self.is_light_enough(arrival.weight);
        if may_stay && shard.renew(slot, &mut value, arrival, [terms.scope, terms.kind]) {
            drop(shard);
            let Terms { scope, kind, .. } = terms;
            let old = Departed { key, value, weight: arrival.weight, scope, kind, cause: Cause::Replaced };
            return Put { keeping: Keeping::Kept, gone: Gone::of(old) };
        }
        drop(shard);
        let newcomer = self.newcomer(key, value, arrival, &terms, now);
        self.keep(newcomer, Gone::default())
    }

    /// Stores an entry whose key is not here.
    #[inline]
    fn keep_new(
        &self,
        cell: &Cell<K, V>,
        mut shard: LockGuard<'_, Shard<K, V>>,
        newcomer: Newcomer<K, V>,
    ) -> Put<K, V> {
        let Arrival { hash, weight, .. } = newcomer.arrival;
        shard.prepare(hash);
        let mut gone = Gone::default();
        // Mostly this shard alone can make room.
        let mut has_room = false;
        if !shard.has_quotas() && self.is_light_enough(weight) {
            // Mostly one who leaves makes enough.
            if let Some(slot) = self.pick_at_home(&mut shard, weight) {
                if shard.fits_in(slot, weight) {
                    return self.keep_instead(cell, shard, slot, newcomer);
                }
                shard.release_into_slack(slot, &mut gone);
            }
            let most = Self::BATCH - gone.len();
            has_room = self.take_room_at_home(&mut shard, weight, most, &mut gone);
        }
        if !has_room {
            cell.tell(&shard);
            drop(shard);
            return self.keep(newcomer, gone);
        }
        shard.insert(newcomer);
        self.free(&mut shard, 0, 0);
        cell.tell(&shard);
        Put { keeping: Keeping::Kept, gone }
    }

    /// Stores an entry in the place of one that was picked to leave.
    #[inline]
    fn keep_instead(
        &self,
        cell: &Cell<K, V>,
        mut shard: LockGuard<'_, Shard<K, V>>,
        slot: Slot,
        newcomer: Newcomer<K, V>,
    ) -> Put<K, V> {
        let before = (shard.bytes(), shard.load());
        let gone = shard.exchange(slot, newcomer).map(Gone::of).unwrap_or_default();
        self.free(&mut shard, 0, 0);
        if (shard.bytes(), shard.load()) != before {
            cell.tell(&shard);
        }
        Put { keeping: Keeping::Kept, gone }
    }

    /// Whether no more than half of what there may be.
    #[inline]
    fn is_light_enough(&self, weight: u64) -> bool {
        weight <= Limits::bytes(self.bytes.limit()).heaviest()
    }

    #[inline]
    fn newcomer(
        &self,
        key: K,
        value: V,
        arrival: Arrival,
        terms: &Terms,
        now: impl FnOnce() -> Instant,
    ) -> Newcomer<K, V> {
        let outsize = arrival.weight > self.share() / OUTSIZE_SHARE;
        let bulk = if outsize { Bulk::Outsize } else { Bulk::Usual };
        let times = Times::of(terms, now);
        Newcomer { key, value, arrival, groups: [terms.scope, terms.kind], times, bulk }
    }

    /// Stores an entry for which others may have to be asked.
    fn keep(&self, newcomer: Newcomer<K, V>, gone: Gone<K, V>) -> Put<K, V> {
        let Newcomer { arrival: Arrival { hash, weight, .. }, groups, .. } = newcomer;
        let mut put = Put { keeping: Keeping::Kept, gone };
        if !self.is_light_enough(weight) {
            self.refuse(hash, &newcomer.key, Refusal::TooLarge, &mut put);
            return put;
        }
        let cell = &self.cells[self.home(hash)];
        let mut newcomer = Some(newcomer);
        let mut claim = Claim { weight, bytes: 0, entries: 0, groups, quotas: [None, None] };
        for _ in 0..ATTEMPTS {
            let kept =
                cell.change(|shard| self.keep_at_home(shard, &mut newcomer, &mut claim, &mut put.gone));
            let Err(short) = kept else { return put };
            let claimed = match short {
                Short::Room => self.claim_room(&mut claim, &mut put.gone),
                Short::Quota(axis) => self.claim_quota(axis, &mut claim, &mut put.gone),
            };
            if let Err(refusal) = claimed {
                return self.turn_away(newcomer, claim, refusal, put);
            }
        }
        self.turn_away(newcomer, claim, Refusal::Crowded, put)
    }

    #[cold]
    fn turn_away(
        &self,
        newcomer: Option<Newcomer<K, V>>,
        claim: Claim,
        refusal: Refusal,
        mut put: Put<K, V>,
    ) -> Put<K, V> {
        self.give_up(claim);
        if let Some(Newcomer { key, arrival, .. }) = newcomer {
            self.refuse(arrival.hash, &key, refusal, &mut put);
        }
        put
    }

    /// Stores the entry, which is taken then, if what it needs can be had without another shard's lock.
    fn keep_at_home(
        &self,
        shard: &mut Shard<K, V>,
        waiting: &mut Option<Newcomer<K, V>>,
        claim: &mut Claim,
        gone: &mut Gone<K, V>,
    ) -> Result<(), Short> {
        let Some(newcomer) = waiting else { return Ok(()) };
        match shard.replace(newcomer) {
            Replacing::Absent => {}
            Replacing::Replaced => {
                let Some(newcomer) = waiting.take() else { return Ok(()) };
                let Newcomer { key, value, arrival, groups: [scope, kind], .. } = newcomer;
                gone.push(Departed {
                    key,
                    value,
                    weight: arrival.weight,
                    scope,
                    kind,
                    cause: Cause::Replaced,
                });
                // What a first attempt may have claimed.
                self.settle(shard, claim, 0, 0);
                return Ok(());
            }
            Replacing::Unfit => {
                if let Some(old) = shard.remove(newcomer.arrival.hash, &newcomer.key, Cause::Replaced) {
                    claim.inherit(&old);
                    gone.push(old);
                }
            }
        }
        for axis in AXES {
            if let Some(short) = self.claim_quota_at_home(shard, axis, claim, gone) {
                return Err(short);
            }
        }
        if let Some(short) = self.claim_room_at_home(shard, claim, gone) {
            return Err(short);
        }
        claim.quotas = [None, None];
        if let Some(newcomer) = waiting.take() {
            shard.insert(newcomer);
        }
        self.settle(shard, claim, claim.weight, 1);
        Ok(())
    }

    /// Takes what the group's quota demands, making members of this shard leave.
    fn claim_quota_at_home(
        &self,
        shard: &mut Shard<K, V>,
        axis: usize,
        claim: &mut Claim,
        gone: &mut Gone<K, V>,
    ) -> Option<Short> {
        let number = claim.groups[axis];
        let quota = shard.quota(axis, number).map(Arc::clone);
        // It may have been introduced, changed or lifted since some of it was claimed.
        match (claim.quotas[axis].take(), &quota) {
            (Some(claimed), Some(quota)) if Arc::ptr_eq(&claimed, quota) => {
                claim.quotas[axis] = Some(claimed);
                return None;
            }
            (Some(outdated), _) => outdated.give(claim.weight),
            (None, _) => {}
        }
        let quota = quota?;
        if claim.weight > quota.limit() {
            return Some(Short::Quota(axis));
        }
        for _ in 0..Self::BATCH {
            if quota.take(claim.weight) == Taking::Taken {
                claim.quotas[axis] = Some(quota);
                return None;
            }
            let Some(departed) = shard.evict_member(axis, number) else { break };
            claim.inherit(&departed);
            gone.push(departed);
        }
        Some(Short::Quota(axis))
    }

    /// Puts what a claim holds beyond these where it belongs.
    fn settle(&self, shard: &mut Shard<K, V>, claim: &mut Claim, bytes: u64, entries: u64) {
        for quota in claim.quotas.iter_mut().filter_map(Option::take) {
            quota.give(claim.weight);
        }
        let (bytes, entries) = (claim.bytes - bytes, claim.entries - entries);
        self.free(shard, bytes, entries);
        (claim.bytes, claim.entries) = (0, 0);
    }

    /// Gives back all that a claim holds.
    fn give_up(&self, claim: Claim) {
        for quota in claim.quotas.into_iter().flatten() {
            quota.give(claim.weight);
        }
        self.bytes.give(claim.bytes);
        self.entries.give(claim.entries);
    }

    fn refuse(&self, hash: u64, key: &K, refusal: Refusal, put: &mut Put<K, V>) {
        let old = self.cells[self.home(hash)].change(|shard| {
            let old = shard.remove(hash, key, Cause::Replaced)?;
            self.free(shard, old.weight, 1);
            Some(old)
        });
        if let Some(old) = old {
            put.gone.push(old);
        }
        put.keeping = Keeping::Refused(refusal);
    }
}

/// In nanoseconds, or as many as there can be.
fn nanos(cost: Duration) -> u64 {
    cost.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(cost.subsec_nanos()))
}
