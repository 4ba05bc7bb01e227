//! Locks between processes, as long as a value of [`Locked`] lives.
//!
//! They are ended by name and not left to the closing of the file: a child process that is just being started still
//! has the file for a moment, and would go on holding the lock.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A lock on a file that exists for nothing else.
#[derive(Debug)]
pub(super) struct Locked(Arc<File>);

impl Locked {
    /// Waits for the lock, and holds it alone.
    pub(super) fn alone(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        file.lock()?;
        Ok(Self(file.into()))
    }

    /// Waits for the lock, and holds it along with others who share it.
    pub(super) fn shared(path: &Path) -> io::Result<Self> {
        Self::shared_again(&open(path)?.into())
    }

    /// Like [`Locked::shared`], on a file that was locked before. Nobody else may lock through the same opening of it
    /// meanwhile.
    pub(super) fn shared_again(file: &Arc<File>) -> io::Result<Self> {
        file.lock_shared()?;
        Ok(Self(Arc::clone(file)))
    }

    /// Takes the lock alone unless somebody holds it.
    pub(super) fn try_alone(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file.into()))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The locked file.
    pub(super) fn file(&self) -> &Arc<File> {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}
