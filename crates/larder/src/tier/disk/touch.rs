//! When entries were used last, and how often.
//!
//! A use is noted only if the last one that was written down is older than the option says, so an entry's `uses`
//! counts the intervals in which it was used, and a process that reads what was just read writes nothing.
//! Invariant: at most [`MAX_PENDING`] uses wait to be written down.
//! Not here: statistics of hits (`stats`); what is kept here serves the order of eviction.

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::fault::Fault;
use super::open::Disk;
use super::store::{Store, Sync, Write};
use crate::clock::Timestamp;
use crate::key::Key;
use crate::tier::TierError;

/// How many uses are collected before they are written down.
const MAX_PENDING: usize = 4096;

/// How many uses are written down in one transaction.
const BATCH: usize = 256;

/// Uses that are not written down yet: row number of the entry, and when.
#[derive(Debug, Default)]
pub(super) struct Touches(Mutex<HashMap<i64, Timestamp, foldhash::fast::RandomState>>);

impl Disk {
    /// Notes that the entry in row `entry` is used, which was last noted at `used`.
    pub(super) fn touch(&self, store: &Store, entry: i64, used: Timestamp) {
        let now = self.options().clock.wall();
        // A time from the future comes from a clock that stepped back since; it is put right at once.
        let stale = now < used || now.since(used) > self.options().touch_after;
        if !stale || store.read_only() {
            return;
        }
        let mut pending = store.touches().0.lock();
        pending.insert(entry, now);
        let full = pending.len() >= MAX_PENDING;
        drop(pending);
        if full {
            // Without them only the order of eviction suffers.
            let _ = self.flush_touches();
        }
    }

    /// Writes down what was used.
    pub(super) fn flush_touches(&self) -> Result<(), TierError> {
        let store = self.store();
        if store.touches().0.lock().is_empty() {
            return Ok(());
        }
        let _turn = self.writer().lock();
        if write_down(&store)? {
            self.note_written();
        }
        Ok(())
    }
}

impl Disk {
    /// Writes down that entries were used, which memory gave and the disk was not asked for. Blocks.
    ///
    /// One that was noted a short while ago, or is not there, costs a look-up.
    pub fn note_uses(&self, keys: &[Key]) -> Result<(), TierError> {
        if self.read_only() {
            return Ok(());
        }
        let now = self.options().clock.wall();
        let stale = now.as_millis().saturating_sub(self.options().touch_after.as_millis() as u64);
        for batch in keys.chunks(BATCH) {
            self.write(|write| {
                let mut update = write.prepare_cached(
                    "UPDATE entries SET used = ?3, uses = uses + 1 \
                     WHERE kind = ?1 AND name = ?2 AND (used < ?4 OR used > ?3)",
                )?;
                for key in batch {
                    let now = now.as_millis() as i64;
                    update.execute((write.kind(key)?, key.id(), now, stale as i64))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Writes down what was used on this store; tells whether there was anything.
pub(super) fn write_down(store: &Store) -> Result<bool, Fault> {
    let pending = std::mem::take(&mut *store.touches().0.lock());
    if pending.is_empty() {
        return Ok(false);
    }
    store.write(Sync::Later, |write: &Write<'_>| {
        let mut update =
            write.prepare_cached("UPDATE entries SET used = ?2, uses = uses + 1 WHERE id = ?1")?;
        for (entry, used) in &pending {
            update.execute((entry, used.as_millis() as i64))?;
        }
        Ok(true)
    })
}
