//! Memory tier: decoded values behind a cheap clone, found without waiting.
//!
//! A [`Memory`] is cut into shards by the hash of the key, each with a lock of its own that is held for one
//! table operation. A hit takes it, writes to the entry's [`Mark`](crate::policy::Mark) and clones the value; no
//! lock, list or counter is common to all hits.
//!
//! Invariants:
//! - The weights of all entries together never exceed the byte limit, and their number never the entry limit:
//!   each unit of either is at any time in one place, in an entry, in a shard's slack, in the common pool or in
//!   the hands of a `put` under way, and only `resize` makes or destroys any.
//! - The weights of a group with a quota never exceed it.
//! - An entry is never returned at or after its expiry, nor when it was idle for as long as it may.
//! - No value is dropped and no caller's code runs under a shard's lock, other than the key's equality, the
//!   value's clone and the judge of a sweep.
//!
//! | phase | file |
//! |---|---|
//! | find | `lookup` |
//! | make room and store | `keep` |
//! | who has to leave to make room | `reclaim` |
//! | remove, sweep, purge | `discard` |
//! | limits and quotas while running | `resize` |
//!
//! The limits are common, not cut into shares: a value may take up to half of all bytes. A shard that needs room
//! makes its own entries leave, as long as it has its fair share of them, else those of others, one lock at a
//! time.
//!
//! Rejected: a lock that lets several readers in (it costs a hit two locked instructions in place of one, see `lock`),
//! a budget for each shard (a value larger than a share could not be kept), and one lock with one order for all (each
//! hit would wait for it).
//!
//! Not here: which entry leaves first (`policy`), computing on a miss, single flight, statistics (`engine`).

mod config;
mod discard;
mod entry;
mod keep;
mod lock;
mod lookup;
mod quota;
mod reclaim;
mod resize;
mod room;
mod shard;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use foldhash::fast::FixedState;
use lock::Lock;
use parking_lot::{Mutex, RwLock};

pub use config::{Config, Limits};
pub use entry::{Cause, Departed, Gone, Keeping, Lookup, Put, Refusal, Seen, Terms, Verdict};
pub use quota::{Group, Usage};

use crate::policy::Slot;
use quota::Quotas;
use room::Pool;
use shard::{Entry, Facts, Shard};

/// A bounded map from keys to values that are cheap to clone, usually `Arc`s. Usable from any number of threads.
pub struct Memory<K, V> {
    cells: Box<[Cell<K, V>]>,
    hasher: FixedState,
    bytes: Pool,
    entries: Pool,
    /// Which shard is asked next to give room.
    hand: AtomicUsize,
    purge_hand: Mutex<(usize, usize)>,
    quotas: RwLock<Quotas>,
    /// Held while limits or quotas change, which one thread does at a time.
    changing: Mutex<()>,
    config: Config,
}

/// A shard and what others may know of it without its lock. Two cache lines of its own, so that shards do not
/// slow one another down.
#[repr(align(128))]
struct Cell<K, V> {
    lock: Lock<Shard<K, V>>,
    bytes: AtomicU64,
    entries: AtomicU64,
    load: AtomicU64,
}

impl<K, V> Cell<K, V> {
    /// Changes the shard, then tells how full it is.
    fn change<R>(&self, change: impl FnOnce(&mut Shard<K, V>) -> R) -> R {
        let mut shard = self.lock.lock();
        let result = change(&mut shard);
        self.tell(&shard);
        result
    }

    /// Tells how full the shard is after a change.
    fn tell(&self, shard: &Shard<K, V>) {
        self.bytes.store(shard.bytes(), Relaxed);
        self.entries.store(shard.len() as u64, Relaxed);
        self.load.store(shard.load(), Relaxed);
    }
}

impl<K: Hash + Eq, V: Clone> Memory<K, V> {
    /// What an entry takes besides what its key and value point to, on average: its places in the table
    /// and in the shard's arrays, and what the policy knows of it. Whoever weighs entries adds it.
    pub const OVERHEAD_BYTES: u64 = {
        // A table is between 7/16 and 7/8 full, and its slots are large; a policy knows about 48 bytes of an entry.
        let table = (size_of::<Slot>() + 1) * 3 / 2;
        (table + size_of::<Option<Entry<K, V>>>() + size_of::<Facts>() + 48) as u64
    };

    /// Makes an empty one.
    pub fn new(config: Config) -> Self {
        let shards = config.shards.get().next_power_of_two();
        let cell = |n: usize| Cell {
            lock: Lock::new(Shard::new(config.policy, config.seed.wrapping_add(n as u64))),
            bytes: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            load: AtomicU64::new(0),
        };
        Self {
            cells: (0..shards).map(cell).collect(),
            hasher: FixedState::with_seed(config.seed),
            bytes: Pool::new(config.limits.bytes, shards),
            entries: Pool::new(config.limits.entries.unwrap_or(Limits::UNLIMITED), shards),
            hand: AtomicUsize::new(0),
            purge_hand: Mutex::new((0, 0)),
            quotas: RwLock::default(),
            changing: Mutex::new(()),
            config,
        }
    }

    /// Sum of the weights of all entries. Costs a load for each shard; what moves meanwhile may be counted twice
    /// or not at all.
    pub fn bytes(&self) -> u64 {
        self.cells.iter().map(|cell| cell.bytes.load(Relaxed)).sum()
    }

    /// Number of entries, whether or not they have expired; else like [`bytes`](Self::bytes).
    pub fn len(&self) -> usize {
        self.cells.iter().map(|cell| cell.entries.load(Relaxed)).sum::<u64>() as usize
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much there may be now.
    pub fn limits(&self) -> Limits {
        let entries = self.entries.limit();
        Limits { bytes: self.bytes.limit(), entries: (entries < Limits::UNLIMITED).then_some(entries) }
    }

    /// What it was made with; the limits may have changed since.
    pub fn config(&self) -> &Config {
        &self.config
    }

    #[inline]
    fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.hasher.hash_one(key)
    }

    /// A shard's fair share of all bytes.
    #[inline]
    fn share(&self) -> u64 {
        // There are a power of two of them.
        self.bytes.limit() >> self.cells.len().trailing_zeros()
    }

    /// Which shard a hash belongs to. The table inside uses the lowest and the seven highest bits.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        (hash >> 40) as usize & (self.cells.len() - 1)
    }
}

impl<K: Hash + Eq, V: Clone> fmt::Debug for Memory<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("policy", &self.config.policy)
            .field("bytes", &self.bytes())
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl<K: Hash + Eq, V: Clone> Memory<K, V> {
    /// Stops everything and adds up what entries take and shards hold: bytes and entries.
    fn held(&self) -> (u64, u64) {
        let shards: Vec<_> = self.cells.iter().map(|cell| cell.lock.lock()).collect();
        shards.iter().for_each(|shard| shard.audit());
        let bytes = shards.iter().map(|shard| shard.bytes() + shard.slack_bytes).sum();
        (bytes, shards.iter().map(|shard| shard.len() as u64 + shard.slack_entries).sum())
    }

    /// Checks that nothing was lost, while no put is under way, which holds room.
    fn audit(&self) {
        let (bytes, entries) = self.held();
        assert_eq!(bytes as i64 + self.bytes.free(), self.bytes.limit() as i64);
        assert_eq!(entries as i64 + self.entries.free(), self.entries.limit() as i64);
        for (&group, quota) in self.quotas.read().iter() {
            assert_eq!(quota.used(), self.usage(group).bytes, "{group:?}");
        }
    }
}
