//! Limits and quotas while the memory is in use.

use std::hash::Hash;
use std::sync::Arc;

use super::entry::{Cause, Departed, Gone};
use super::quota::{Group, Quota, Usage};
use super::{Limits, Memory};

impl<K: Hash + Eq, V: Clone> Memory<K, V> {
    /// Changes how much there may be. Returns when no more than that is there; others go on meanwhile, because
    /// entries leave in batches, shard by shard. `gone` gets them outside all shards' locks; it must not change
    /// limits or quotas.
    pub fn resize(&self, limits: Limits, mut gone: impl FnMut(Departed<K, V>)) {
        let _changing = self.changing.lock();
        self.bytes.resize(limits.bytes, self.cells.len());
        self.entries.resize(limits.entries.unwrap_or(Limits::UNLIMITED), self.cells.len());
        loop {
            // Each shard is visited at least once, so that none keeps more unused than it now may.
            let mut left = 0;
            for at in 0..self.cells.len() {
                let batch = self.shrink_some(at);
                left += batch.len();
                batch.into_iter().for_each(&mut gone);
            }
            if self.bytes.missing() == 0 && self.entries.missing() == 0 {
                return;
            }
            if left == 0 {
                // What is still missing is in the hands of puts under way.
                std::thread::yield_now();
            }
        }
    }

    /// Takes from one shard its part of what is missing.
    fn shrink_some(&self, at: usize) -> Gone<K, V> {
        let shards = self.cells.len() as u64;
        let mut gone = Gone::default();
        self.cells[at].change(|shard| {
            self.bytes.give(std::mem::take(&mut shard.slack_bytes));
            self.entries.give(std::mem::take(&mut shard.slack_entries));
            let bytes = self.bytes.missing().div_ceil(shards);
            let entries = self.entries.missing().div_ceil(shards);
            let (mut given_bytes, mut given_entries) = (0, 0);
            while given_bytes < bytes || given_entries < entries {
                if gone.len() == Self::BATCH {
                    break;
                }
                let Some(departed) = shard.evict(Cause::Resized) else { break };
                given_bytes += departed.weight;
                given_entries += 1;
                gone.push(departed);
            }
            self.bytes.give(given_bytes);
            self.entries.give(given_entries);
        });
        gone
    }

    /// Gives a group a quota in bytes, or lifts it. Returns when the group takes no more than that; its entries
    /// leave in batches, shard by shard, and `gone` gets them outside all shards' locks; it must not change limits
    /// or quotas.
    pub fn set_quota(&self, group: Group, bytes: Option<u64>, mut gone: impl FnMut(Departed<K, V>)) {
        let (axis, number) = group.place();
        let _changing = self.changing.lock();
        let known = self.quotas.read().get(&group).map(Arc::clone);
        let quota = match (bytes, known) {
            (None, _) => {
                self.quotas.write().remove(&group);
                self.cells.iter().for_each(|cell| cell.change(|shard| shard.set_quota(axis, number, None)));
                return;
            }
            (Some(bytes), Some(quota)) => {
                quota.set_limit(bytes);
                quota
            }
            (Some(bytes), None) => {
                let quota = Arc::new(Quota::new(bytes));
                self.quotas.write().insert(group, Arc::clone(&quota));
                for cell in &self.cells {
                    cell.change(|shard| shard.set_quota(axis, number, Some(&quota)));
                }
                quota
            }
        };
        let mut at = 0;
        while quota.excess() > 0 {
            let batch = self.shrink_group(at, axis, number, &quota);
            at = (at + 1) % self.cells.len();
            if at == 0 && batch.is_empty() {
                std::thread::yield_now();
            }
            batch.into_iter().for_each(&mut gone);
        }
    }

    fn shrink_group(&self, at: usize, axis: usize, number: u32, quota: &Quota) -> Gone<K, V> {
        let shards = self.cells.len() as u64;
        let mut gone = Gone::default();
        self.cells[at].change(|shard| {
            let portion = quota.excess().div_ceil(shards);
            let mut given = 0;
            while given < portion && gone.len() < Self::BATCH {
                let Some(departed) = shard.evict_member(axis, number) else { break };
                given += departed.weight;
                self.free(shard, departed.weight, 1);
                gone.push(departed);
            }
        });
        gone
    }

    /// The quota of a group in bytes, if it has one.
    pub fn quota(&self, group: Group) -> Option<u64> {
        self.quotas.read().get(&group).map(|quota| quota.limit())
    }

    /// What a group takes. Takes each shard's lock once.
    pub fn usage(&self, group: Group) -> Usage {
        let (axis, number) = group.place();
        self.cells.iter().fold(Usage::default(), |sum, cell| {
            let usage = cell.lock.lock().usage(axis, number);
            Usage { bytes: sum.bytes + usage.bytes, entries: sum.entries + usage.entries }
        })
    }
}
