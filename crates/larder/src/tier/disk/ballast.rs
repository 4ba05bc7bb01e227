//! Room to remove things on a full disk: SQLite writes before it frees, so a full disk would stay full.
//!
//! A megabyte is reserved for a file that holds nothing. It is given up when a removal fails for want of space,
//! and laid down again by the next gc that finds space for it.

use std::fs;
use std::io;
use std::path::Path;

use super::fault::Fault;
use super::open::Disk;
use super::store::{Sync, Write};
use crate::tier::TierError;

#[cfg(target_os = "linux")]
const BYTES: u64 = 1 << 20;

impl Disk {
    /// Like [`Disk::write`] for what removes more than it adds: on a full disk it gives up the ballast.
    pub(super) fn write_to_remove<T>(
        &self,
        sync: Sync,
        write: impl Fn(&Write<'_>) -> Result<T, Fault>,
    ) -> Result<T, TierError> {
        match self.write_with(sync, &write) {
            Err(TierError::Io(error)) if error.kind() == io::ErrorKind::StorageFull => {
                if fs::remove_file(self.root().join("ballast")).is_err() {
                    return Err(TierError::Io(error));
                }
                let written = self.write_with(sync, write);
                // The log grew into the room that there was: written back, it can be overwritten from its beginning.
                let _ = self.read(|connection, _| {
                    Ok(connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?)
                });
                written
            }
            written => written,
        }
    }
}

/// Lays the ballast down if it is not there: blocks that belong to a file of no length. Without it, as on systems
/// that have no such thing, only a full disk is harder to empty.
#[cfg(target_os = "linux")]
pub(super) fn lay_down(root: &Path) {
    let path = root.join("ballast");
    if path.exists() {
        return;
    }
    let reserved = fs::File::create_new(&path).is_ok_and(|file| {
        rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, BYTES).is_ok()
    });
    if !reserved {
        let _ = fs::remove_file(path);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lay_down(_root: &Path) {}
