//! Where the outputs of one build lie while the go command reads them: a folder that goes with the process.
//!
//! Invariant: a folder whose process is gone, however that ended, is removed by the next one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile, TempDir};

/// What the names of these folders begin with.
const PREFIX: &str = "gocache-";
/// The file in each that its process holds a lock on.
const LOCK: &str = "lock";
/// How often a folder is made anew that another process took for one that was left.
const ATTEMPTS: usize = 5;

/// A folder of this process.
#[derive(Debug)]
pub(super) struct Place {
    folder: TempDir,
    /// Holds the lock.
    _lock: File,
}

impl Place {
    /// Makes a folder below `root`, and removes those that others left there.
    pub(super) fn below(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        sweep(&root);
        for _ in 0..ATTEMPTS {
            let folder = Builder::new().prefix(PREFIX).tempdir_in(&root)?;
            let path = folder.path().join(LOCK);
            let lock = File::create(&path)?;
            lock.lock()?;
            // Between the two lines above another process may have taken the folder for one that was left.
            if path.exists() {
                return Ok(Self { folder, _lock: lock });
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Where the output of this name is, or is to be.
    pub(super) fn path(&self, output: &[u8]) -> PathBuf {
        self.folder.path().join(format!("o{}", super::hex(output)))
    }

    /// Takes an output as it comes. All of it is read, whatever happens to the file.
    pub(super) fn take(&self, output: &[u8], mut content: impl Read) -> io::Result<PathBuf> {
        let taken = self.write(output, &mut content);
        if taken.is_err() {
            io::copy(&mut content, &mut io::sink())?;
        }
        taken
    }

    fn write(&self, output: &[u8], content: &mut impl Read) -> io::Result<PathBuf> {
        let mut file = NamedTempFile::new_in(self.folder.path())?;
        io::copy(content, file.as_file_mut())?;
        let path = self.path(output);
        file.persist(&path)?;
        Ok(path)
    }
}

/// Removes folders whose processes are gone. What cannot be removed stays.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_left_is_removed_and_one_that_is_in_use_is_not() {
        let root = tempfile::tempdir().unwrap();
        let left = root.path().join("gocache-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        let first = Place::below(root.path()).unwrap();
        assert!(!left.exists());
        let path = first.take(b"\x12", &b"content"[..]).unwrap();
        let second = Place::below(root.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"content");
        drop((first, second));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
