//! Leases: the right to compute a key, held by one process at a time.
//!
//! A lease is a lock on `locks/<digest of the key>`. The system lets go of it when its holder dies, however it
//! dies. The file goes when the lease ends, unless the same key is leased again and again; one that was left is
//! taken over, or removed by gc.
//!
//! Rejected: a fixed number of lock files shared by many keys (a process that needs a second key while it holds a
//! first may wait for itself), and record locks on ranges of one file (not in the standard library, and a process
//! loses all of them when it closes the file anywhere).

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::open::Disk;
use super::store::identity_of;
use crate::key::Key;
use crate::tier::TierError;

/// The right to compute a key. Ends when it is dropped, or with the process.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    /// Whether the file stays when the lease ends.
    stays: bool,
    file: File,
}

impl Disk {
    /// Takes the lease on `key`, or returns `None` if somebody holds it, in this process or another. Blocks, for
    /// about 20 µs.
    pub fn blocking_try_lease(&self, key: &Key) -> Result<Option<Lease>, TierError> {
        let path = self.root().join("locks").join(key.digest().to_string());
        loop {
            let file = match File::options().create(true).truncate(false).write(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(self.root().join("locks")).map_err(TierError::Io)?;
                    continue;
                }
                opened => opened.map_err(TierError::Io)?,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(TierError::Io(error)),
            }
            // Whoever held it before removed the file at its end: a lock on that one would exclude nobody.
            if is_at(&file, &path).map_err(TierError::Io)? {
                return Ok(Some(Lease { path, stays: false, file }));
            }
        }
    }
}

/// Whether `file` still is the one at `path`.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let metadata = file.metadata()?;
    Ok(identity_of(path)? == Some((metadata.dev(), metadata.ino())))
}

impl Lease {
    /// Leaves the file for the next lease on the same key. Making a file and removing it costs ten times what
    /// locking it does, so this is for keys of which there are few.
    #[must_use]
    pub fn standing(self) -> Self {
        let mut lease = self;
        lease.stays = true;
        lease
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.stays {
            // Removed while still locked, so that nobody holds a lock on a file of that name in between.
            let _ = fs::remove_file(&self.path);
        }
        let _ = self.file.unlock();
    }
}
