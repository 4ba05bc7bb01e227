//! Keeping the tier within its limits.
//!
//! Invariants: what is removed at once is a bounded batch, between which other writers get their turn; entries go
//! first, and only then, in another transaction, the blobs that nothing names any more, so a crash in between
//! leaves blobs too many and never an entry whose blobs gc took. One process collects at a time.
//! Not here: when gc is due (`engine`); which blobs and files may go (`sweep`).

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::Connection;

use super::amount::Amount;
use super::ballast;
use super::fault::Fault;
use super::lock::Locked;
use super::open::Disk;
use super::put::{Removed, remove};
use super::quota::ScopeLimits;
use super::store::{Sync, Totals, Write};
use crate::clock::Timestamp;
use crate::key::{Digest, Key, KindName, Scope};
use crate::stats::EvictionCause;
use crate::tier::TierError;

/// How many entries or blobs are removed in one transaction.
pub(super) const BATCH: usize = 64;

/// How many entries are picked to leave at once; picking by cost or last use looks at all.
pub(super) const PICKED: usize = 4096;

/// Once a limit is exceeded, it is undercut by a tenth, so that gc is not due again at once.
pub(super) const LOW_WATER: f64 = 0.9;

/// Which entries leave first where a limit is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eviction {
    /// Those that save the least: cost × (uses + 1) ÷ bytes, blobs included, ÷ (time since the last use + 1 h).
    #[default]
    Cost,
    /// Those that were not used for longest.
    LeastRecentlyUsed,
}

/// What gc keeps the tier to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of entries and of blobs that entries name.
    pub max_bytes: Option<u64>,
    /// Number of entries.
    pub max_entries: Option<u64>,
    /// How long an entry may be unused.
    pub max_age: Option<Duration>,
    /// How much of the disk stays free.
    pub min_free_bytes: Option<u64>,
    /// How much stays here however little of the disk is free: what others fill the disk with is not made up for by
    /// losing everything.
    pub reserved_bytes: u64,
    /// Limits of single scopes, which are met first and at nobody else's cost.
    pub scopes: BTreeMap<Scope, ScopeLimits>,
    /// Which entries leave first.
    pub eviction: Eviction,
    /// How old a blob must be to go when no entry names it: whoever put it may be about to store the entry.
    pub grace: Duration,
}

impl Default for Limits {
    /// No limits, and ten minutes of grace.
    fn default() -> Self {
        Self {
            max_bytes: None,
            max_entries: None,
            max_age: None,
            min_free_bytes: None,
            reserved_bytes: 0,
            scopes: BTreeMap::new(),
            eviction: Eviction::default(),
            grace: Duration::from_secs(600),
        }
    }
}

/// What gc removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Entries that had ended to hold.
    pub expired: u64,
    /// Entries that were unused for too long.
    pub unused: u64,
    /// Entries that left because of a limit.
    pub evicted: u64,
    /// Blobs that no entry named.
    pub blobs: u64,
    /// Bytes of all these.
    pub bytes: u64,
    /// Bytes of blobs that no entry names, but that are pinned or too young to go.
    pub held_bytes: u64,
    /// Files that dead processes left: temporary files, leases, old quarantine.
    pub leftovers: u64,
    /// Whether less of the disk was free than is to stay free, and something left for that.
    pub tight: bool,
}

/// How a gc went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collected {
    /// It is done.
    Done(Reclaimed),
    /// Another process is at it.
    Busy,
}

/// An entry that gc removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departed {
    /// What it was filed under.
    pub key: Key,
    /// Why it left: it had ended to hold, was unused for too long, or a limit was exceeded.
    pub cause: EvictionCause,
    /// Bytes that it took, without blobs.
    pub bytes: u64,
}

/// One run of gc.
pub(super) struct Run<'a> {
    pub(super) disk: &'a Disk,
    pub(super) limits: &'a Limits,
    pub(super) now: Timestamp,
    pub(super) reclaimed: Reclaimed,
    /// Hears of each entry once it is gone.
    pub(super) hears: &'a mut dyn FnMut(&Departed),
}

impl Disk {
    /// Removes what has ended to hold, what was unused for too long, and what exceeds a limit; then the blobs that
    /// nothing names, and what dead processes left. Blocks, in steps that let other writers in between.
    ///
    /// If a limit can't be met because what is left is pinned or too young, that is no error:
    /// [`Reclaimed::held_bytes`] tells.
    pub fn gc(&self, limits: &Limits) -> Result<Collected, TierError> {
        self.gc_telling(limits, &mut |_| ())
    }

    /// Does what [`gc`](Self::gc) does, and tells of each entry that is gone.
    pub fn gc_telling(
        &self,
        limits: &Limits,
        hears: &mut dyn FnMut(&Departed),
    ) -> Result<Collected, TierError> {
        if self.read_only() {
            return Err(TierError::Io(std::io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        let lock = Locked::try_alone(&self.root().join("gc.lock")).map_err(TierError::Io)?;
        let Some(_alone) = lock else { return Ok(Collected::Busy) };
        // On a full disk the order of eviction has to do without the last uses.
        let _ = self.flush_touches();
        let now = self.options().clock.wall();
        let mut run = Run { disk: self, limits, now, reclaimed: Reclaimed::default(), hears };
        run.sweep_leftovers()?;
        run.sweep_unnamed()?;
        run.forget_the_future()?;
        run.remove_expired_and_unused()?;
        run.meet_scope_limits()?;
        run.meet_limits()?;
        run.sweep_orphans_if_due()?;
        run.give_pages_back()?;
        ballast::lay_down(self.root());
        Ok(Collected::Done(run.reclaimed))
    }
}

impl Run<'_> {
    /// A use in the future was noted under a clock that stepped back since. It counts as now, or it would never
    /// grow old.
    fn forget_the_future(&self) -> Result<(), TierError> {
        let now = self.now.as_millis() as i64;
        let ahead = self.disk.read(|connection, _| {
            let mut query =
                connection.prepare_cached("SELECT EXISTS(SELECT 1 FROM entries WHERE used > ?1)")?;
            Ok(query.query_row([now], |row| row.get::<_, bool>(0))?)
        })?;
        if !ahead {
            return Ok(());
        }
        self.disk.write_to_remove(Sync::Later, |write| {
            write.prepare_cached("UPDATE entries SET used = ?1 WHERE used > ?1")?.execute([now])?;
            Ok(())
        })
    }

    fn remove_expired_and_unused(&mut self) -> Result<(), TierError> {
        let now = self.now.as_millis() as i64;
        while self.remove_batch(EvictionCause::Expired, |connection| expired(connection, now))?.entries > 0 {}
        match self.limits.max_age {
            Some(age) => self.remove_unused(None, age),
            None => Ok(()),
        }
    }

    /// Removes what was unused for longer than `age`, of all scopes or of one.
    pub(super) fn remove_unused(&mut self, scope: Option<&Scope>, age: Duration) -> Result<(), TierError> {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let until = (self.now.as_millis() as i64).saturating_sub(age);
        let mut after = 0;
        loop {
            let picked = self.disk.read(|connection, _| unused(connection, after, until, scope))?;
            for batch in picked.chunks(BATCH) {
                self.remove_batch(EvictionCause::Idle, |connection| still_there(connection, batch))?;
            }
            match picked.last() {
                Some(&(last, _)) => after = last,
                None => return Ok(()),
            }
        }
    }

    /// Removes the entries that `pick` names, which are no more than a batch, and then their blobs. Returns what that
    /// was, without the blobs.
    pub(super) fn remove_batch(
        &mut self,
        cause: EvictionCause,
        pick: impl Fn(&Connection) -> Result<Vec<i64>, Fault>,
    ) -> Result<Amount, TierError> {
        let (gone, released) = self.disk.write_to_remove(Sync::Later, |write| {
            let (mut gone, mut released) = (Vec::new(), Vec::new());
            for id in pick(write)? {
                released.extend(named_by(write, id)?);
                gone.push((key_of(write, id), remove(write, id)?));
            }
            // A blob that two of them named is released once.
            released.sort();
            released.dedup();
            Ok((gone, released))
        })?;
        let mut amount = Amount { bytes: 0, entries: gone.len() as u64 };
        for (key, Removed { bytes, spilled }) in gone {
            self.reclaimed.bytes += bytes;
            amount.bytes += if spilled { 0 } else { bytes };
            // One whose name is damaged leaves without a word.
            if let Some(key) = key {
                (self.hears)(&Departed { key, cause, bytes });
            }
        }
        for digests in released.chunks(BATCH) {
            self.remove_blobs(digests)?;
        }
        *match cause {
            EvictionCause::Expired => &mut self.reclaimed.expired,
            EvictionCause::Idle => &mut self.reclaimed.unused,
            _ => &mut self.reclaimed.evicted,
        } += amount.entries;
        Ok(amount)
    }

    /// Evicts until all limits are met, or nothing is left to evict.
    fn meet_limits(&mut self) -> Result<(), TierError> {
        if self.goal()?.is_none() {
            return Ok(());
        }
        // Before anything leaves for it, the sum is made sure of.
        self.disk.write_to_remove(Sync::Later, Totals::recount)?;
        let Some(goal) = self.goal()? else { return Ok(()) };
        let more_than_reserved = self.named(self.entries()?)?.bytes > self.limits.reserved_bytes;
        self.reclaimed.tight = self.short()? > 0 && more_than_reserved;
        loop {
            // What others store meanwhile counts from the next time on.
            let mut entries = self.entries()?;
            let picked = self.pick(goal, self.named(entries)?)?;
            if picked.is_empty() {
                return Ok(());
            }
            for batch in picked.chunks(BATCH) {
                let gone =
                    self.remove_batch(EvictionCause::Capacity, |connection| still_there(connection, batch))?;
                entries = entries.less(gone);
                if self.named(entries)?.is_within(goal) {
                    return Ok(());
                }
            }
        }
    }

    fn entries(&self) -> Result<Amount, TierError> {
        self.disk.read(|connection, _| Amount::of_entries(connection))
    }

    /// How much there is with the blobs that `entries` name, without what stays for now though nothing names it:
    /// evicting more would not free that.
    fn named(&self, entries: Amount) -> Result<Amount, TierError> {
        let held = Amount { bytes: self.reclaimed.held_bytes, entries: 0 };
        Ok(self.disk.read(|connection, _| entries.with_blobs(connection))?.less(held))
    }

    /// What is to be reached, if a limit is exceeded.
    fn goal(&self) -> Result<Option<Amount>, TierError> {
        let named = self.named(self.entries()?)?;
        let mut goal = Amount { bytes: u64::MAX, entries: u64::MAX };
        if let Some(limit) = self.limits.max_bytes.filter(|&limit| named.bytes > limit) {
            goal.bytes = (limit as f64 * LOW_WATER) as u64;
        }
        if let Some(limit) = self.limits.max_entries.filter(|&limit| named.entries > limit) {
            goal.entries = (limit as f64 * LOW_WATER) as u64;
        }
        let short = self.short()?;
        if short > 0 {
            let left = named.bytes.saturating_sub(short).max(self.limits.reserved_bytes);
            goal.bytes = goal.bytes.min(left);
        }
        Ok((!named.is_within(goal)).then_some(goal))
    }

    /// How many bytes too few of the disk are free, once what is held is gone.
    fn short(&self) -> Result<u64, TierError> {
        let Some(floor) = self.limits.min_free_bytes else { return Ok(0) };
        Ok(floor.saturating_sub(self.disk.free_bytes()? + self.reclaimed.held_bytes))
    }

    /// The entries that leave next, in order: no more than the goal needs if no blob is shared, nor than are picked
    /// at once.
    fn pick(&self, goal: Amount, named: Amount) -> Result<Vec<(i64, i64)>, TierError> {
        let now = self.now.as_millis() as i64;
        let sql = match self.limits.eviction {
            Eviction::LeastRecentlyUsed => {
                "SELECT id, used, bytes + blob_bytes FROM entries WHERE used <= ?1 ORDER BY used, id LIMIT ?2"
            }
            Eviction::Cost => {
                "SELECT id, used, bytes + blob_bytes FROM entries \
                 ORDER BY CAST(cost AS REAL) * (uses + 1) / (bytes + blob_bytes + 512) \
                 / (max(?1 - used, 0) + 3600000), used, id LIMIT ?2"
            }
        };
        self.disk.read(|connection, _| {
            let Amount { mut bytes, mut entries } = named;
            let mut picked = Vec::new();
            let mut query = connection.prepare_cached(sql)?;
            let mut rows = query.query((now, PICKED as i64))?;
            while let Some(row) = rows.next()? {
                if bytes <= goal.bytes && entries <= goal.entries {
                    break;
                }
                picked.push((row.get(0)?, row.get(1)?));
                bytes = bytes.saturating_sub(row.get::<_, i64>(2)? as u64);
                entries = entries.saturating_sub(1);
            }
            Ok(picked)
        })
    }

    /// Gives pages that the index does not need any more back to the file system, where that is worth it.
    fn give_pages_back(&self) -> Result<(), TierError> {
        const STEP: i64 = 512;
        loop {
            let pages = |connection: &Connection, what: &str| -> Result<i64, Fault> {
                Ok(connection.query_row(&format!("PRAGMA {what}"), [], |row| row.get(0))?)
            };
            let (free, all) = self.disk.read(|connection, _| {
                Ok((pages(connection, "freelist_count")?, pages(connection, "page_count")?))
            })?;
            let tight = self.limits.min_free_bytes.is_some() && free > 0;
            if !(tight || (free > STEP && free > all / 4)) {
                return Ok(());
            }
            self.disk.write(|write: &Write<'_>| {
                let mut step = write.prepare(&format!("PRAGMA incremental_vacuum({STEP})"))?;
                let mut rows = step.query([])?;
                while rows.next()?.is_some() {}
                Ok(())
            })?;
        }
    }
}

/// What an entry is filed under, if that can be read.
fn key_of(connection: &Connection, entry: i64) -> Option<Key> {
    let sql = "SELECT k.scope, k.name, k.version, e.name FROM entries e \
               JOIN kinds k ON k.id = e.kind WHERE e.id = ?1";
    let mut query = connection.prepare_cached(sql).ok()?;
    let (scope, kind, version, id): (String, String, u32, String) =
        query.query_row([entry], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).ok()?;
    Key::new(&Scope::new(&scope).ok()?, &KindName::new(&kind, version).ok()?, &id).ok()
}

/// The blobs that an entry names.
fn named_by(connection: &Connection, entry: i64) -> Result<Vec<Digest>, Fault> {
    let mut query = connection
        .prepare_cached("SELECT digest FROM blobs WHERE id IN (SELECT blob FROM refs WHERE entry = ?1)")?;
    let digests = query.query_map([entry], |row| row.get(0).map(Digest::from_bytes))?;
    Ok(digests.collect::<Result<_, rusqlite::Error>>()?)
}

/// The first entries that have ended to hold, no more than a batch.
fn expired(connection: &Connection, now: i64) -> Result<Vec<i64>, Fault> {
    let mut query = connection.prepare_cached("SELECT id FROM entries WHERE expires <= ?1 LIMIT ?2")?;
    let ids = query.query_map((now, BATCH as i64), |row| row.get(0))?;
    Ok(ids.collect::<Result<_, rusqlite::Error>>()?)
}

/// The first entries after row `after` that were not used since `until`, no more than are picked at once, of all scopes
/// or of one.
fn unused(
    connection: &Connection,
    after: i64,
    until: i64,
    scope: Option<&Scope>,
) -> Result<Vec<(i64, i64)>, Fault> {
    let mut query = connection.prepare_cached(
        "SELECT id, used FROM entries \
         WHERE id > ?1 AND used < ?2 AND (?3 IS NULL OR kind IN (SELECT id FROM kinds WHERE scope = ?3)) \
         ORDER BY id LIMIT ?4",
    )?;
    let named = (after, until, scope.map(Scope::as_str), PICKED as i64);
    let picked = query.query_map(named, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(picked.collect::<Result<_, rusqlite::Error>>()?)
}

/// Of the picked entries those that nobody replaced or used since.
pub(super) fn still_there(connection: &Connection, picked: &[(i64, i64)]) -> Result<Vec<i64>, Fault> {
    let mut query =
        connection.prepare_cached("SELECT EXISTS(SELECT 1 FROM entries WHERE id = ?1 AND used = ?2)")?;
    let mut ids = Vec::with_capacity(picked.len());
    for &(id, used) in picked {
        if query.query_row((id, used), |row| row.get(0))? {
            ids.push(id);
        }
    }
    Ok(ids)
}
