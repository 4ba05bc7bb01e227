//! Removing files that nothing needs: blobs that no entry names, and what dead processes left.
//!
//! Invariant: a blob goes within a write transaction in which no entry names it, under the exclusive lock on pins,
//! and only if it is neither pinned nor younger than the grace time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hashbrown::HashSet;
use rusqlite::OptionalExtension;

use super::blobs::{Located, locate};
use super::fault::Fault;
use super::gc::{BATCH, Run};
use super::lease::is_at;
use super::lock::Locked;
use super::pin::pinned;
use super::store::{Sync, Write};
use crate::clock::Timestamp;
use crate::key::Digest;
use crate::tier::TierError;

/// How often the folder of blobs is searched for files that the index does not know.
const ORPHANS_EVERY: Duration = Duration::from_secs(24 * 3600);

/// How old a temporary file must be to belong to a dead process: one that is written to is younger.
const TEMPORARY_AGE: Duration = Duration::from_secs(3600);

/// How many files stay in quarantine, and for how long.
const QUARANTINE: (usize, Duration) = (64, Duration::from_secs(30 * 24 * 3600));

impl Run<'_> {
    /// Removes the blobs that the index knows and no entry names: what an earlier gc had to leave.
    pub(super) fn sweep_unnamed(&mut self) -> Result<(), TierError> {
        let mut after = 0;
        loop {
            let batch = self.disk.read(|connection, _| {
                let mut query = connection.prepare_cached(
                    "SELECT id, digest FROM blobs b WHERE id > ?1 \
                     AND NOT EXISTS(SELECT 1 FROM refs r WHERE r.blob = b.id) ORDER BY id LIMIT ?2",
                )?;
                let rows = query.query_map((after, BATCH as i64), |row| {
                    Ok((row.get(0)?, Digest::from_bytes(row.get(1)?)))
                })?;
                Ok(rows.collect::<Result<Vec<(i64, Digest)>, rusqlite::Error>>()?)
            })?;
            let Some(&(last, _)) = batch.last() else { return Ok(()) };
            after = last;
            let digests: Vec<Digest> = batch.into_iter().map(|(_, digest)| digest).collect();
            self.remove_blobs(&digests)?;
        }
    }

    /// Removes blobs, no more than a batch, unless an entry names them by now or they are to stay.
    pub(super) fn remove_blobs(&mut self, digests: &[Digest]) -> Result<(), TierError> {
        let _alone = Locked::alone(&self.disk.root().join("pins.lock")).map_err(TierError::Io)?;
        let pinned = pinned(self.disk.root()).map_err(TierError::Io)?;
        let (number, bytes, held) = self.disk.write_to_remove(Sync::Later, |write| {
            let mut sum = (0, 0, 0);
            for &digest in digests {
                match self.remove_blob(write, digest, &pinned)? {
                    Removal::Gone(bytes) => sum = (sum.0 + 1, sum.1 + bytes, sum.2),
                    Removal::Stays(bytes) => sum.2 += bytes,
                }
            }
            Ok(sum)
        })?;
        self.reclaimed.blobs += number;
        self.reclaimed.bytes += bytes;
        self.reclaimed.held_bytes += held;
        Ok(())
    }

    fn remove_blob(
        &self,
        write: &Write<'_>,
        digest: Digest,
        pinned: &HashSet<Digest>,
    ) -> Result<Removal, Fault> {
        let known: Option<(i64, i64, bool)> = write
            .prepare_cached(
                "SELECT id, bytes, EXISTS(SELECT 1 FROM refs WHERE blob = b.id) FROM blobs b WHERE digest = ?1",
            )?
            .query_row([digest.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        if known.is_some_and(|(_, _, named)| named) {
            return Ok(Removal::Stays(0));
        }
        let mut freed = 0;
        // One content may lie there twice, compressed and not, if two processes did not see it alike.
        while let Some(found) = locate(self.disk.root(), digest)? {
            if pinned.contains(&digest) || self.is_young(&found) {
                return Ok(Removal::Stays(found.bytes));
            }
            fs::remove_file(&found.path)?;
            freed += found.bytes;
        }
        if let Some((id, bytes, _)) = known {
            write.prepare_cached("DELETE FROM blobs WHERE id = ?1")?.execute([id])?;
            write.count_blobs(-1, -bytes);
        }
        Ok(Removal::Gone(freed))
    }

    fn is_young(&self, found: &Located) -> bool {
        // The file system's clock may be a little ahead of ours. A file from further in the future counts as old:
        // the clock stepped back, and it would be young for ever.
        let modified = Timestamp::from(found.modified);
        self.now.since(modified).max(modified.since(self.now)) < self.limits.grace
    }

    /// Once a day removes blobs that the index does not know: of entries that were refused, or of an index that was
    /// set aside.
    pub(super) fn sweep_orphans_if_due(&mut self) -> Result<(), TierError> {
        let last = self.disk.meta("gc", "orphans swept")?;
        let last = last.and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let last = last.map(Timestamp::from_millis);
        if last.is_some_and(|last| last <= self.now && self.now.since(last) < ORPHANS_EVERY) {
            return Ok(());
        }
        self.sweep_orphans()?;
        let now = self.now.as_millis().to_le_bytes().to_vec();
        self.disk.update_meta("gc", "orphans swept", |_| Some(now.clone()))
    }

    /// Removes blobs that the index does not know.
    pub(super) fn sweep_orphans(&mut self) -> Result<(), TierError> {
        for folder in folders(&self.disk.root().join("blobs")).map_err(TierError::Io)? {
            let mut batch = Vec::new();
            for (path, _) in files(&folder).map_err(TierError::Io)? {
                let Some(digest) = digest_of(&path) else { continue };
                let known = self.disk.read(|connection, _| {
                    let mut query = connection.prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1")?;
                    Ok(query.exists([digest.as_bytes()])?)
                })?;
                if !known {
                    batch.push(digest);
                }
                if batch.len() == BATCH {
                    self.remove_blobs(&std::mem::take(&mut batch))?;
                }
            }
            self.remove_blobs(&batch)?;
        }
        Ok(())
    }

    /// Removes temporary files and leases of dead processes, and old quarantine.
    pub(super) fn sweep_leftovers(&mut self) -> Result<(), TierError> {
        let root = self.disk.root();
        let mut removed = 0;
        let mut old = |path: &Path| removed += u64::from(fs::remove_file(path).is_ok());
        for (path, modified) in files(&root.join("tmp")).map_err(TierError::Io)? {
            if self.age(modified) > TEMPORARY_AGE {
                old(&path);
            }
        }
        let (number, age) = QUARANTINE;
        let mut quarantine = files(&root.join("quarantine")).map_err(TierError::Io)?;
        quarantine.sort_by_key(|&(_, modified)| std::cmp::Reverse(modified));
        for (n, (path, modified)) in quarantine.into_iter().enumerate() {
            if n >= number || self.age(modified) > age {
                old(&path);
            }
        }
        for (path, _) in files(&root.join("locks")).map_err(TierError::Io)? {
            let Ok(file) = File::open(&path) else { continue };
            // Removed while locked: whoever opened it meanwhile sees that it is gone and makes another.
            if file.try_lock().is_ok() && is_at(&file, &path).unwrap_or(false) {
                old(&path);
            }
        }
        self.reclaimed.leftovers += removed;
        Ok(())
    }

    fn age(&self, modified: SystemTime) -> Duration {
        self.now.since(modified.into())
    }
}

enum Removal {
    Gone(u64),
    Stays(u64),
}

/// The digest that a blob's file is named by.
pub(super) fn digest_of(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".zst").unwrap_or(name).parse().ok()
}

/// The folders in a folder, sorted; none if it is not there.
pub(super) fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

/// The files in a folder with the time of their last change; none if it is not there.
pub(super) fn files(folder: &Path) -> io::Result<Vec<(PathBuf, SystemTime)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => files.push((entry.path(), metadata.modified()?)),
            Ok(_) => {}
            // Another process was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}
