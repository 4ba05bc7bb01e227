//! Checking all that is kept: structure of the index, each envelope, each blob, and that they agree.
//!
//! Invariant: verifying changes nothing. What it finds is said; [`Disk::repair`] does something about it.
//! Others may write meanwhile; an entry that leaves in between is no problem.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::blobs::{locate, read_raw};
use super::fault::Fault;
use super::invalidate;
use super::open::Disk;
use super::put::tags;
use super::restore::digest_of_content;
use super::select::{Kinds, kinds};
use super::store::Totals;
use super::sweep::{digest_of, files, folders};
use crate::entry::{EnvelopeError, Record, open};
use crate::key::{Digest, Key, Selector};
use crate::tier::{Epoch, TierError};

/// How many entries are read in one go.
pub(super) const BATCH: usize = 64;

/// How many problems are listed. Beyond that they are counted.
const LISTED: usize = 1_000;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The index's structure is damaged; says what SQLite says.
    #[error("index: {0}")]
    Index(String),
    /// An entry's envelope does not open.
    #[error("entry {key}: {error}")]
    Entry {
        /// The entry's key.
        key: Key,
        /// What is wrong with the envelope.
        error: EnvelopeError,
    },
    /// An entry has no envelope.
    #[error("entry {0}: its envelope is not there")]
    Empty(Key),
    /// What the index says about an entry differs from what the entry says itself.
    #[error("entry {0}: the index disagrees with it")]
    Disagrees(Key),
    /// An entry names a blob that is not there.
    #[error("entry {key}: blob {digest} is not there")]
    MissingBlob {
        /// The entry's key.
        key: Key,
        /// The blob that it names.
        digest: Digest,
    },
    /// A blob's file does not hold the content that it is named by.
    #[error("blob {}: does not match its name", .0.display())]
    BadBlob(PathBuf),
    /// The log of invalidations has a gap or a damaged row.
    #[error("log of invalidations is not whole")]
    Log,
    /// The totals are not the sums over the blobs that are there.
    #[error("totals are not the sums over the blobs that are there")]
    Totals,
}

/// What verifying found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many entries were checked.
    pub entries: u64,
    /// How many blobs' files were checked.
    pub blobs: u64,
    /// How many bytes of both were read.
    pub bytes: u64,
    /// How many problems there are.
    pub found: u64,
    /// The first thousand of them.
    pub problems: Vec<Problem>,
}

impl Verified {
    fn add(&mut self, problem: Problem) {
        self.found += 1;
        if self.problems.len() < LISTED {
            self.problems.push(problem);
        }
    }
}

/// An entry as the index has it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) row: i64,
    pub(super) key: Key,
    pub(super) envelope: Option<Vec<u8>>,
    pub(super) spill: Option<Digest>,
}

impl Disk {
    /// Reads and checks all that is kept. Blocks, at the speed of the disk.
    ///
    /// # Errors
    /// Only if the file system fails; an index that can't be read is a [`Problem`].
    pub fn verify(&self) -> Result<Verified, TierError> {
        let mut verified = Verified::default();
        self.verify_blobs(&mut verified)?;
        match self.verify_index(&mut verified) {
            Ok(()) => {}
            Err(fault) if fault.is_damage() => verified.add(Problem::Index(words(&fault))),
            Err(fault) => return Err(fault.into()),
        }
        Ok(verified)
    }

    fn verify_index(&self, verified: &mut Verified) -> Result<(), Fault> {
        let store = self.store();
        let connection = store.connection()?;
        // One view of the index for all of it, so that what is counted is of the same moment as totals.
        let view = connection.unchecked_transaction()?;
        for problem in structure(&view)? {
            verified.add(Problem::Index(problem));
        }
        each_entry(&view, |stored| {
            verified.entries += 1;
            self.verify_entry(&view, stored, verified)
        })?;
        if !log_is_whole(&view)? {
            verified.add(Problem::Log);
        }
        if Totals::read(&view)? != Totals::count(&view)? {
            verified.add(Problem::Totals);
        }
        Ok(())
    }

    fn verify_blobs(&self, verified: &mut Verified) -> Result<(), TierError> {
        for folder in folders(&self.root().join("blobs")).map_err(TierError::Io)? {
            for (path, _) in files(&folder).map_err(TierError::Io)? {
                let Some(matches) = blob_matches(&path, &mut verified.bytes)? else { continue };
                verified.blobs += 1;
                if !matches {
                    verified.add(Problem::BadBlob(path));
                }
            }
        }
        Ok(())
    }

    fn verify_entry(
        &self,
        connection: &Connection,
        stored: Stored,
        verified: &mut Verified,
    ) -> Result<(), Fault> {
        let Some(envelope) = self.envelope(&stored)? else {
            verified.add(Problem::Empty(stored.key));
            return Ok(());
        };
        verified.bytes += envelope.len() as u64;
        match open(&stored.key, &envelope) {
            Err(error) => verified.add(Problem::Entry { key: stored.key, error }),
            Ok(opened) => {
                if !agrees(connection, &stored, &envelope, &opened.record)? {
                    verified.add(Problem::Disagrees(stored.key.clone()));
                }
                for &digest in &opened.record.blobs {
                    if locate(self.root(), digest)?.is_none() && self.still_has(stored.row)? {
                        verified.add(Problem::MissingBlob { key: stored.key.clone(), digest });
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether an entry is there at this moment, whatever the view is that it was found in.
    fn still_has(&self, row: i64) -> Result<bool, Fault> {
        let store = self.store();
        let connection = store.connection()?;
        Ok(connection.prepare_cached("SELECT 1 FROM entries WHERE id = ?1")?.exists([row])?)
    }

    /// An entry's envelope, from the index or from its file.
    pub(super) fn envelope(&self, stored: &Stored) -> Result<Option<Vec<u8>>, Fault> {
        match (&stored.envelope, stored.spill) {
            (Some(envelope), _) => Ok(Some(envelope.clone())),
            (None, Some(spill)) => Ok(read_raw(self.root(), spill)?),
            (None, None) => Ok(None),
        }
    }
}

/// What a fault says, for people.
pub(super) fn words(fault: &Fault) -> String {
    match fault {
        Fault::Sql(error) => error.to_string(),
        Fault::Io(error) => error.to_string(),
        Fault::Damaged(what) => format!("{what} is damaged"),
        Fault::Tier(error) => error.to_string(),
    }
}

/// What SQLite finds wrong with the index, at most a hundred things.
pub(super) fn structure(connection: &Connection) -> Result<Vec<String>, Fault> {
    let mut query = connection.prepare("PRAGMA integrity_check(100)")?;
    let found = query.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, rusqlite::Error>>()?;
    Ok(if found == ["ok"] { Vec::new() } else { found })
}

/// Calls `visit` with each entry, in the order of their rows, a batch at a time.
pub(super) fn each_entry(
    connection: &Connection,
    mut visit: impl FnMut(Stored) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let kinds = kinds(connection, &Selector::all())?;
    let mut after = i64::MIN;
    loop {
        let batch = stored_after(connection, &kinds, after, BATCH)?;
        let Some(last) = batch.last() else { return Ok(()) };
        after = last.row;
        batch.into_iter().try_for_each(&mut visit)?;
    }
}

/// The first entries after a row.
pub(super) fn stored_after(
    connection: &Connection,
    kinds: &Kinds,
    after: i64,
    limit: usize,
) -> Result<Vec<Stored>, Fault> {
    let mut query = connection.prepare_cached(
        "SELECT id, kind, name, (SELECT bytes FROM envelopes v WHERE v.id = e.id), spill FROM entries e \
         WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?;
    let mut rows = query.query((after, limit as i64))?;
    let mut batch = Vec::new();
    while let Some(row) = rows.next()? {
        let damaged = Fault::Damaged("name of an entry");
        let Some((scope, kind)) = kinds.get(&row.get::<_, i64>(1)?) else { return Err(damaged) };
        let name = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        batch.push(Stored {
            row: row.get(0)?,
            key: Key::new(scope, kind, name).map_err(|_| damaged)?,
            envelope: row.get(3)?,
            spill: row.get::<_, Option<[u8; 32]>>(4)?.map(Digest::from_bytes),
        });
    }
    Ok(batch)
}

/// Whether the index's columns, tags and references are those of the record.
pub(super) fn agrees(
    connection: &Connection,
    stored: &Stored,
    envelope: &[u8],
    record: &Record,
) -> Result<bool, Fault> {
    let mut query = connection.prepare_cached(
        "SELECT digest FROM blobs WHERE id IN (SELECT blob FROM refs WHERE entry = ?1) ORDER BY digest",
    )?;
    let named = query.query_map([stored.row], |row| row.get(0).map(Digest::from_bytes))?;
    let named = named.collect::<Result<Vec<_>, rusqlite::Error>>()?;
    let mut expected: Vec<Digest> = record.blobs.iter().copied().chain(stored.spill).collect();
    expected.sort();
    expected.dedup();
    let columns: (i64, i64, i64, Option<i64>) = connection
        .prepare_cached("SELECT bytes, created, cost, expires FROM entries WHERE id = ?1")?
        .query_row([stored.row], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let own = (
        envelope.len() as i64,
        record.created.as_millis() as i64,
        i64::try_from(record.cost.as_nanos()).unwrap_or(i64::MAX),
        record.expires.map(|time| time.as_millis() as i64),
    );
    Ok(named == expected && columns == own && *tags(connection, stored.row)? == *record.tags)
}

/// Whether the log has no gap and no damaged row.
pub(super) fn log_is_whole(connection: &Connection) -> Result<bool, Fault> {
    let oldest: Option<i64> = connection.query_row("SELECT min(epoch) FROM log", [], |row| row.get(0))?;
    let Some(oldest) = oldest else { return Ok(true) };
    let before = Epoch((oldest as u64).saturating_sub(1));
    Ok(invalidate::since(connection, before)?.all.is_some())
}

/// Whether a blob's file holds what its name says; `None` if it is no blob's file or is gone by now. Adds what was
/// read to `bytes`.
pub(super) fn blob_matches(path: &Path, bytes: &mut u64) -> Result<Option<bool>, TierError> {
    let Some(digest) = digest_of(path) else { return Ok(None) };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(TierError::Io(error)),
    };
    *bytes += file.metadata().map_err(TierError::Io)?.len();
    let packed = path.extension().is_some();
    Ok(Some(digest_of_content(&mut file, packed)? == Some(digest)))
}
