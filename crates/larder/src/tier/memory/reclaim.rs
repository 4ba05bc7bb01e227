//! Making room: who has to leave so that a newcomer fits.
//!
//! A shard first makes its own entries leave, for its lock is held already. One that has less than its fair share
//! lets others give instead, or small shards would stay small. Outsize entries do not count towards the share:
//! a shard that holds one would otherwise lose all its usual ones.

use std::hash::Hash;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Memory;
use super::entry::{Cause, Gone, Refusal};
use super::keep::{Claim, Short};
use super::quota::{Group, Taking};
use super::shard::Shard;
use crate::policy::Slot;

impl<K: Hash + Eq, V: Clone> Memory<K, V> {
    /// Entries that leave, or are looked at, while a lock is held once.
    pub(super) const BATCH: usize = 64;

    /// Picks who leaves this shard to make room for an entry, if there is none and the shard should give some.
    #[inline]
    pub(super) fn pick_at_home(&self, shard: &mut Shard<K, V>, weight: u64) -> Option<Slot> {
        self.draw(shard, weight, 1);
        let has_room = shard.slack_bytes >= weight && shard.slack_entries >= 1;
        if has_room || !self.has_fair_share(shard) { None } else { shard.pick() }
    }

    /// Takes room for an entry from what is free and from who leaves this shard, if there is enough after `most` have left.
    pub(super) fn take_room_at_home(
        &self,
        shard: &mut Shard<K, V>,
        weight: u64,
        most: usize,
        gone: &mut Gone<K, V>,
    ) -> bool {
        for _ in 0..most {
            self.draw(shard, weight, 1);
            if shard.slack_bytes >= weight && shard.slack_entries >= 1 {
                shard.slack_bytes -= weight;
                shard.slack_entries -= 1;
                return true;
            }
            if !self.has_fair_share(shard) {
                return false;
            }
            let Some(slot) = shard.pick() else { return false };
            shard.release_into_slack(slot, gone);
        }
        false
    }

    /// The same for a claim, which holds on to what there is if it is not enough.
    pub(super) fn claim_room_at_home(
        &self,
        shard: &mut Shard<K, V>,
        claim: &mut Claim,
        gone: &mut Gone<K, V>,
    ) -> Option<Short> {
        shard.slack_bytes += mem::take(&mut claim.bytes);
        shard.slack_entries += mem::take(&mut claim.entries);
        if self.take_room_at_home(shard, claim.weight, Self::BATCH, gone) {
            (claim.bytes, claim.entries) = (claim.weight, 1);
            return None;
        }
        self.take_slack(shard, claim);
        Some(Short::Room)
    }

    /// Takes the room that is missing from other shards, a little from each.
    pub(super) fn claim_room(&self, claim: &mut Claim, gone: &mut Gone<K, V>) -> Result<(), Refusal> {
        let shards = self.cells.len();
        let mut fruitless = 0;
        while !claim.has_room() {
            if fruitless > 2 * shards {
                return Err(Refusal::Crowded);
            }
            let before = (claim.bytes, claim.entries);
            let missing = claim.weight.saturating_sub(claim.bytes);
            let portion = claim.bytes + missing.div_ceil(shards as u64);
            self.cells[self.giver(fruitless)].change(|shard| {
                self.take_room(shard, claim);
                for _ in 0..Self::BATCH {
                    if claim.has_room() || claim.bytes >= portion && claim.entries >= 1 {
                        break;
                    }
                    let Some(departed) = shard.evict(Cause::Capacity) else { break };
                    claim.inherit(&departed);
                    gone.push(departed);
                }
            });
            fruitless = if (claim.bytes, claim.entries) == before { fruitless + 1 } else { 0 };
        }
        Ok(())
    }

    /// Takes what a group's quota demands, making members in any shard leave.
    pub(super) fn claim_quota(
        &self,
        axis: usize,
        claim: &mut Claim,
        gone: &mut Gone<K, V>,
    ) -> Result<(), Refusal> {
        let number = claim.group(axis);
        let group = if axis == 0 { Group::Scope(number) } else { Group::Kind(number) };
        let quota = self.quotas.read().get(&group).map(Arc::clone);
        // Lifted a moment ago: home has heard of it by the next attempt.
        let Some(quota) = quota else { return Ok(()) };
        if claim.weight > quota.limit() {
            return Err(Refusal::OverQuota);
        }
        for _ in 0..2 * self.cells.len() {
            let taken = self.cells[self.giver(1)].change(|shard| {
                for _ in 0..Self::BATCH {
                    if quota.take(claim.weight) == Taking::Taken {
                        return Taking::Taken;
                    }
                    let Some(departed) = shard.evict_member(axis, number) else { break };
                    claim.inherit(&departed);
                    gone.push(departed);
                }
                Taking::Exceeded
            });
            if taken == Taking::Taken {
                claim.hold(axis, quota);
                return Ok(());
            }
        }
        Err(Refusal::Crowded)
    }

    /// Takes what is missing from the shard's slack and from the pool.
    fn take_room(&self, shard: &mut Shard<K, V>, claim: &mut Claim) {
        self.draw(shard, claim.weight.saturating_sub(claim.bytes), 1u64.saturating_sub(claim.entries));
        self.take_slack(shard, claim);
    }

    /// Takes what is missing from the shard's slack.
    fn take_slack(&self, shard: &mut Shard<K, V>, claim: &mut Claim) {
        let bytes = claim.weight.saturating_sub(claim.bytes).min(shard.slack_bytes);
        shard.slack_bytes -= bytes;
        claim.bytes += bytes;
        let entries = 1u64.saturating_sub(claim.entries).min(shard.slack_entries);
        shard.slack_entries -= entries;
        claim.entries += entries;
    }

    /// Fetches from the pool what the shard's slack lacks for so many bytes and entries, and a little more.
    #[inline]
    fn draw(&self, shard: &mut Shard<K, V>, bytes: u64, entries: u64) {
        if shard.slack_bytes < bytes {
            shard.slack_bytes += self.bytes.take(bytes - shard.slack_bytes + self.bytes.chunk());
        }
        if shard.slack_entries < entries {
            shard.slack_entries += self.entries.take(entries - shard.slack_entries + self.entries.chunk());
        }
    }

    /// Leaves room that became free with the shard, up to a little, and with the pool beyond that.
    pub(super) fn free(&self, shard: &mut Shard<K, V>, bytes: u64, entries: u64) {
        shard.slack_bytes += bytes;
        if shard.slack_bytes > 2 * self.bytes.chunk() {
            let surplus = shard.slack_bytes - self.bytes.chunk();
            shard.slack_bytes -= surplus;
            self.bytes.give(surplus);
        }
        shard.slack_entries += entries;
        if shard.slack_entries > 2 * self.entries.chunk() {
            let surplus = shard.slack_entries - self.entries.chunk();
            shard.slack_entries -= surplus;
            self.entries.give(surplus);
        }
    }

    /// Whether a shard is full enough to give room itself: it has nine tenths of its share, or not much less
    /// than the one that would be asked instead.
    fn has_fair_share(&self, shard: &Shard<K, V>) -> bool {
        let load = shard.load();
        let share = self.share();
        if load >= share - share / 10 {
            return true;
        }
        let other = self.hand.load(Relaxed) & (self.cells.len() - 1);
        let other = self.cells[other].load.load(Relaxed);
        load >= other - other / 5
    }

    /// Which shard is asked for room: the fuller of the next two, or simply the next one after others had none.
    fn giver(&self, fruitless: usize) -> usize {
        let mask = self.cells.len() - 1;
        let one = self.hand.fetch_add(1, Relaxed) & mask;
        let other = (one + 1) & mask;
        let load = |at: usize| self.cells[at].load.load(Relaxed);
        if fruitless == 0 && load(other) > load(one) { other } else { one }
    }
}
