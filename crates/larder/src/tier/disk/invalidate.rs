//! Removing what a selector selects, and the log by which everybody who shares the directory hears of it.
//!
//! Invariant: epochs have no gaps. A reader that finds one, or a row whose checksum does not fit, does not know
//! what was invalidated, and says so, which counts as "anything". Beside the index lies a witness, a file as long
//! as the last epoch: an index that knows fewer epochs than its witness lost invalidations, and is emptied.

use std::io;
use std::path::Path;

use rusqlite::Connection;
use twox_hash::XxHash3_128;

use super::blobs::blob_path;
use super::fault::Fault;
use super::lock::Locked;
use super::open::Disk;
use super::put::{find, remove};
use super::select::visit;
use super::store::Sync;
use crate::key::{Digest, Key, Selector};
use crate::tier::{Epoch, Invalidated, Invalidation, Invalidations, TierError};

/// How many invalidations the log holds. Who has seen none of the last so many forgets everything instead.
const LOG_LENGTH: u64 = 1_000;

impl Disk {
    /// Removes what `selector` selects, and revokes what is being computed from before. Blocks, until the disk has
    /// it: a power cut brings nothing back.
    pub fn blocking_invalidate(&self, selector: &Selector) -> Result<Invalidated, TierError> {
        if self.read_only() {
            return Err(TierError::Io(io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        let now = self.options().clock.wall().as_millis();
        let done = self.write_to_remove(Sync::Now, |write| {
            let mut rows = Vec::new();
            let mut done = Invalidated::default();
            visit(write, selector, |selected| {
                rows.push(selected.row);
                done.keys.push(selected.key);
                Ok(())
            })?;
            for row in rows {
                done.bytes += remove(write, row)?.bytes;
            }
            done.epoch = Epoch(newest(write)? + 1);
            append(write, done.epoch.0, now, selector)?;
            Ok(done)
        })?;
        witness(self.root(), done.epoch.0)?;
        Ok(done)
    }

    /// The position in the invalidation log now. Blocks, for about 3 µs.
    pub fn blocking_epoch(&self) -> Result<Epoch, TierError> {
        self.read_latest(|connection, _| newest(connection).map(Epoch))
    }

    /// What was invalidated after `epoch`. Blocks.
    pub fn blocking_invalidated_since(&self, epoch: Epoch) -> Result<Invalidations, TierError> {
        self.read_latest(|connection, _| since(connection, epoch))
    }

    /// Removes one entry whose bytes proved bad, and keeps them aside. Blocks. No invalidation: whoever has a good
    /// value of the same key may keep it.
    pub fn blocking_quarantine(&self, key: &Key) -> Result<(), TierError> {
        if self.read_only() {
            return Ok(());
        }
        if let Some(bad) = self.blocking_get(key)? {
            self.keep_aside("entry", &bad);
        }
        let spill = self.write(|write| {
            let Some(row) = find(write, key)? else { return Ok(None) };
            let mut query = write.prepare_cached("SELECT spill FROM entries WHERE id = ?1")?;
            let spill: Option<[u8; 32]> = query.query_row([row], |row| row.get(0))?;
            remove(write, row)?;
            Ok(spill)
        })?;
        if let Some(spill) = spill {
            // Or the same envelope, put again, would be taken for there already.
            self.set_blob_aside(&blob_path(self.root(), Digest::from_bytes(spill), false));
        }
        Ok(())
    }

    /// Empties an index that lost invalidations which its witness has seen.
    pub(super) fn make_up_for_lost_invalidations(&self) -> Result<(), TierError> {
        // The witness is read first: it is written last, so it can't be ahead of an index that is whole.
        let Some(seen) = witnessed(self.root()) else { return Ok(()) };
        let lost = |connection: &Connection| Ok::<_, Fault>(newest(connection)? < seen);
        if self.read_only() || !self.read(|connection, _| lost(connection))? {
            return Ok(());
        }
        tracing::warn!(epoch = seen, "index lost invalidations and is emptied");
        let now = self.options().clock.wall().as_millis();
        self.write_with(Sync::Now, |write| {
            if !lost(write)? {
                return Ok(());
            }
            let mut rows = Vec::new();
            visit(write, &Selector::all(), |selected| {
                rows.push(selected.row);
                Ok(())
            })?;
            rows.into_iter().try_for_each(|row| remove(write, row).map(drop))?;
            write.execute("DELETE FROM log", ())?;
            append(write, seen + 1, now, &Selector::all())
        })?;
        witness(self.root(), seen + 1)
    }
}

/// Adds a row to the log, and forgets the oldest.
pub(super) fn append(connection: &Connection, epoch: u64, at: u64, selector: &Selector) -> Result<(), Fault> {
    let selector = selector.to_string();
    let checksum = checksum(epoch, at, &selector);
    connection
        .prepare_cached("INSERT INTO log(epoch, at, selector, checksum) VALUES(?1, ?2, ?3, ?4)")?
        .execute((epoch as i64, at as i64, &selector, checksum))?;
    connection
        .prepare_cached("DELETE FROM log WHERE epoch <= ?1")?
        .execute([epoch.saturating_sub(LOG_LENGTH) as i64])?;
    Ok(())
}

fn checksum(epoch: u64, at: u64, selector: &str) -> [u8; 16] {
    let mut bytes = Vec::with_capacity(16 + selector.len());
    bytes.extend_from_slice(&epoch.to_le_bytes());
    bytes.extend_from_slice(&at.to_le_bytes());
    bytes.extend_from_slice(selector.as_bytes());
    XxHash3_128::oneshot(&bytes).to_le_bytes()
}

/// The last epoch; 0 before the first invalidation.
pub(super) fn newest(connection: &Connection) -> Result<u64, Fault> {
    let newest: Option<i64> =
        connection.prepare_cached("SELECT max(epoch) FROM log")?.query_row([], |row| row.get(0))?;
    Ok(newest.unwrap_or(0) as u64)
}

/// Asks what was invalidated after an epoch.
pub(super) const SINCE: &str =
    "SELECT epoch, at, selector, checksum FROM log WHERE epoch > ?1 ORDER BY epoch";

/// What was invalidated after `epoch`.
pub(super) fn since(connection: &Connection, epoch: Epoch) -> Result<Invalidations, Fault> {
    let mut query = connection.prepare_cached(SINCE)?;
    let mut rows = query.query([i64::try_from(epoch.0).unwrap_or(i64::MAX)])?;
    let mut expected = epoch.0;
    let mut all = Some(Vec::new());
    let mut last = None;
    while let Some(row) = rows.next()? {
        let (found, at) = (row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64);
        let text = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        let sound = row.get::<_, [u8; 16]>(3)? == checksum(found, at, text);
        expected += 1;
        last = Some(found);
        match text.parse() {
            Ok(selector) if sound && found == expected => {
                all = all.map(|mut all: Vec<Invalidation>| {
                    all.push(Invalidation { epoch: Epoch(found), selector });
                    all
                });
            }
            _ => all = None,
        }
    }
    let now = match last {
        Some(last) => last,
        None => newest(connection)?,
    };
    // An epoch from the future was told by an index that is no more.
    Ok(Invalidations { epoch: Epoch(now), all: all.filter(|_| epoch.0 <= now) })
}

/// The last epoch that the witness beside the index has seen; `None` where there is no witness.
pub(super) fn witnessed(root: &Path) -> Option<u64> {
    std::fs::metadata(root.join("epochs")).ok().map(|metadata| metadata.len())
}

/// Lets the witness see an epoch. It is a sparse file as long as the last one, so no flipped byte can change it.
pub(super) fn witness(root: &Path, epoch: u64) -> Result<(), TierError> {
    let lengthen = || -> io::Result<()> {
        let witness = Locked::alone(&root.join("epochs"))?;
        let file = witness.file();
        if file.metadata()?.len() < epoch { file.set_len(epoch) } else { Ok(()) }
    };
    lengthen().map_err(TierError::Io)
}
