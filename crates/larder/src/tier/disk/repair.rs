//! Putting right what is not as it should be.
//!
//! What is broken is dropped, and kept aside for whoever looks into it; what can be derived from what is sound is
//! derived anew: columns, tags and references of an entry from its envelope, totals from rows, a whole index from
//! the entries that the damaged one still gives.
//! Invariant: an entry that survives opens under its own key, and all blobs that it names are there and sound.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;

use super::blobs::locate;
use super::fault::Fault;
use super::gc::{Departed, Limits, Reclaimed, Run};
use super::invalidate::{append, newest, witness, witnessed};
use super::open::Disk;
use super::put::{find, remove};
use super::schema::{self, Access, Found};
use super::select::kinds;
use super::store::{Sync, Totals};
use super::sweep::{files, folders};
use super::verify::{BATCH, Stored, agrees, blob_matches, log_is_whole, stored_after, structure};
use crate::entry::open;
use crate::key::Selector;
use crate::tier::{Sealed, TierError};

/// What repairing did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Whether the index was damaged, set aside, and a new one made.
    pub index_renewed: bool,
    /// Entries that the damaged index still gave and that stand in the new one.
    pub entries_rescued: u64,
    /// Entries that were dropped: damaged, or naming blobs that are not there.
    pub entries_dropped: u64,
    /// Entries whose columns, tags or references were derived anew.
    pub entries_derived: u64,
    /// Blobs that did not match their name.
    pub blobs_dropped: u64,
    /// Blobs that no entry named, and leftovers of dead processes.
    pub swept: Reclaimed,
}

/// What is to happen to an entry.
enum Verdict {
    Sound,
    Drop,
    Derive,
}

impl Disk {
    /// Checks all that is kept like [`Disk::verify`] and puts right what is not as it should be. Blocks, at the
    /// speed of the disk. Others may use the tier meanwhile.
    pub fn repair(&self) -> Result<Repaired, TierError> {
        if self.read_only() {
            return Err(TierError::Io(std::io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        let mut repaired = Repaired::default();
        self.drop_bad_blobs(&mut repaired)?;
        self.renew_damaged_index(&mut repaired)?;
        self.settle_entries(&mut repaired)?;
        self.renew_log()?;
        self.write(Totals::recount)?;
        let limits = Limits::default();
        let now = self.options().clock.wall();
        let hears = &mut |_: &Departed| ();
        let mut run = Run { disk: self, limits: &limits, now, reclaimed: Reclaimed::default(), hears };
        run.sweep_unnamed()?;
        run.sweep_orphans()?;
        run.sweep_leftovers()?;
        repaired.swept = run.reclaimed;
        self.compact();
        Ok(repaired)
    }

    fn drop_bad_blobs(&self, repaired: &mut Repaired) -> Result<(), TierError> {
        for folder in folders(&self.root().join("blobs")).map_err(TierError::Io)? {
            for (path, _) in files(&folder).map_err(TierError::Io)? {
                if blob_matches(&path, &mut 0)? == Some(false) {
                    self.set_blob_aside(&path);
                    repaired.blobs_dropped += 1;
                }
            }
        }
        Ok(())
    }

    /// Sets a damaged index aside, and fills a new one with the entries that the old one still gives.
    fn renew_damaged_index(&self, repaired: &mut Repaired) -> Result<(), TierError> {
        let store = self.store();
        let found = store.connection().and_then(|connection| structure(&connection));
        let fault = match found {
            Ok(problems) if problems.is_empty() => return Ok(()),
            Ok(_) => Fault::Damaged("structure of the index"),
            Err(fault) if fault.is_damage() => fault,
            Err(fault) => return Err(fault.into()),
        };
        let seen = witnessed(self.root());
        let Some(aside) = self.replace_store(&store, Some(&fault))? else { return Ok(()) };
        repaired.index_renewed = true;
        // Whatever fails while reading a damaged file ends the rescue, not the repair.
        let _ = self.rescue(&aside, seen.unwrap_or(0), repaired);
        Ok(())
    }

    fn rescue(&self, aside: &Path, seen: u64, repaired: &mut Repaired) -> Result<(), Fault> {
        let (old, found) = schema::connect(aside, Access::Write)?;
        // Entries of an index that lost invalidations may be among those that these removed.
        if found != Found::Current || newest(&old)? < seen || !log_is_whole(&old)? {
            return Ok(());
        }
        let kinds = kinds(&old, &Selector::all())?;
        for row in rows_still_given(&old) {
            // A row that can't be read is lost; the next one may lie on a page that is sound.
            let Ok(stored) = stored_after(&old, &kinds, row - 1, 1) else { continue };
            let Some(stored) = stored.first().filter(|stored| stored.row == row) else { continue };
            if let Some(sealed) = self.sealed(stored)? {
                let outcome = self.blocking_put(&[sealed])?;
                repaired.entries_rescued += outcome.iter().filter(|outcome| outcome.is_kept()).count() as u64;
            }
        }
        Ok(())
    }

    /// An entry made anew from its envelope, if that is sound.
    fn sealed(&self, stored: &Stored) -> Result<Option<Sealed>, Fault> {
        let Some(envelope) = self.envelope(stored)? else { return Ok(None) };
        let Ok(opened) = open(&stored.key, &envelope) else { return Ok(None) };
        let began = self.blocking_epoch()?;
        Ok(Some(Sealed { key: stored.key.clone(), record: opened.record, envelope, began }))
    }

    /// Drops the entries that are damaged or not whole, and derives anew what the index says about the others.
    fn settle_entries(&self, repaired: &mut Repaired) -> Result<(), TierError> {
        // What is derived anew gets a row beyond these, and is not looked at again.
        let last = self.read(|connection, _| {
            Ok(connection.query_row("SELECT max(id) FROM entries", [], |row| row.get::<_, Option<i64>>(0))?)
        })?;
        let Some(last) = last else { return Ok(()) };
        let mut after = i64::MIN;
        while after < last {
            let batch = self.read(|connection, _| {
                let kinds = kinds(connection, &Selector::all())?;
                let batch = stored_after(connection, &kinds, after, BATCH)?;
                batch.into_iter().map(|stored| Ok((self.judge(connection, &stored)?, stored))).collect()
            });
            let batch: Vec<(Verdict, Stored)> = batch?;
            let Some((_, end)) = batch.last() else { break };
            after = end.row;
            for (verdict, stored) in batch {
                self.carry_out(verdict, &stored, repaired)?;
            }
        }
        Ok(())
    }

    fn judge(&self, connection: &Connection, stored: &Stored) -> Result<Verdict, Fault> {
        let Some(envelope) = self.envelope(stored)? else { return Ok(Verdict::Drop) };
        let Ok(opened) = open(&stored.key, &envelope) else { return Ok(Verdict::Drop) };
        for &digest in &opened.record.blobs {
            if locate(self.root(), digest)?.is_none() {
                return Ok(Verdict::Drop);
            }
        }
        let agrees = agrees(connection, stored, &envelope, &opened.record)?;
        Ok(if agrees { Verdict::Sound } else { Verdict::Derive })
    }

    fn carry_out(&self, verdict: Verdict, stored: &Stored, repaired: &mut Repaired) -> Result<(), TierError> {
        match verdict {
            Verdict::Sound => {}
            Verdict::Drop => {
                if let Some(envelope) = &stored.envelope {
                    self.keep_aside("entry", envelope);
                }
                repaired.entries_dropped += u64::from(self.write(|write| {
                    // Another process may have replaced or removed it meanwhile.
                    match find(write, &stored.key)? {
                        Some(row) if row == stored.row => remove(write, row).map(|_| true),
                        _ => Ok(false),
                    }
                })?);
            }
            Verdict::Derive => {
                if let Some(sealed) = self.sealed(stored)? {
                    let outcome = self.blocking_put(&[sealed])?;
                    repaired.entries_derived +=
                        outcome.iter().filter(|outcome| outcome.is_kept()).count() as u64;
                }
            }
        }
        Ok(())
    }

    /// Begins the log anew if it is not whole: what was invalidated is not known any more, so anything may have
    /// been.
    fn renew_log(&self) -> Result<(), TierError> {
        if self.read(|connection, _| log_is_whole(connection))? {
            return Ok(());
        }
        let at = self.options().clock.wall().as_millis();
        let epoch = self.write_with(Sync::Now, |write| {
            let epoch = newest(write)?.max(witnessed(self.root()).unwrap_or(0)) + 1;
            write.execute("DELETE FROM log", ())?;
            append(write, epoch, at, &Selector::all())?;
            Ok(epoch)
        })?;
        witness(self.root(), epoch)
    }

    /// Rewrites the index without gaps. If that fails, for want of space or because others are at work, it stays
    /// as it is.
    fn compact(&self) {
        let _turn = self.writer().lock();
        let store = self.store();
        let compacted = store.connection().and_then(|connection| {
            connection.execute_batch("VACUUM")?;
            Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
        });
        if let Err(fault) = compacted {
            tracing::debug!(?fault, "index was not compacted");
        }
    }
}

/// The rows of entries that a damaged index still gives, by each way through it, as far as that leads.
fn rows_still_given(old: &Connection) -> BTreeSet<i64> {
    let mut all = BTreeSet::new();
    for order in ["kind, name", "id", "id DESC"] {
        let mut walk = || -> Result<(), Fault> {
            let mut query = old.prepare(&format!("SELECT id FROM entries ORDER BY {order}"))?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                all.insert(row.get(0)?);
            }
            Ok(())
        };
        // Where one way ends at a damaged page, another leads to what lies beyond.
        let _ = walk();
    }
    all
}
