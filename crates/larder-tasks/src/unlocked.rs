//! Directories without write permission, out of which outputs are taken and into which they are put.
//!
//! Invariant: a directory that was made writable here and is still there has its mode again once this is dropped, or the
//! one that it is to have instead.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::mem;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use larder::source::EntryKind;

/// Directories with the modes that they get in the end.
#[derive(Debug, Default)]
pub(crate) struct Unlocked(BTreeMap<PathBuf, u32>);

impl Unlocked {
    /// Lets the owner write into the directory of `path`.
    pub(crate) fn parent_of(&mut self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        let mode = fs::symlink_metadata(parent)?.permissions().mode();
        if mode & 0o300 == 0o300 {
            return Ok(());
        }
        fs::set_permissions(parent, Permissions::from_mode(mode | 0o700))?;
        self.0.entry(parent.to_owned()).or_insert(mode);
        Ok(())
    }

    /// Removes a file, a link or an empty directory.
    pub(crate) fn remove(&mut self, path: &Path, kind: EntryKind<'_>) -> io::Result<()> {
        let remove =
            || if kind == EntryKind::Directory { fs::remove_dir(path) } else { fs::remove_file(path) };
        match remove() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.parent_of(path)?;
                remove()?;
            }
            gone => gone?,
        }
        self.0.remove(path);
        Ok(())
    }

    /// Has a directory get this mode in the end, whatever it had.
    pub(crate) fn set(&mut self, directory: PathBuf, mode: u32) {
        self.0.insert(directory, mode);
    }

    /// Leaves a directory as it is now.
    pub(crate) fn forget(&mut self, directory: &Path) {
        self.0.remove(directory);
    }

    /// Sets the modes, innermost first: one may forbid to go further in. The first that cannot be set is the error.
    pub(crate) fn lock(mut self) -> Result<(), (PathBuf, io::Error)> {
        self.set_modes()
    }

    fn set_modes(&mut self) -> Result<(), (PathBuf, io::Error)> {
        let mut done = Ok(());
        for (path, mode) in mem::take(&mut self.0).into_iter().rev() {
            let set = fs::symlink_metadata(&path).and_then(|is| match is.permissions().mode() ^ mode {
                differing if differing & 0o777 == 0 => Ok(()),
                // What else it has, as the group of the one above it, stays.
                differing => {
                    let mode = (is.permissions().mode() ^ (differing & 0o777)) & 0o7777;
                    fs::set_permissions(&path, Permissions::from_mode(mode))
                }
            });
            match set {
                Err(error) if error.kind() != io::ErrorKind::NotFound => done = done.and(Err((path, error))),
                _ => {}
            }
        }
        done
    }
}

impl Drop for Unlocked {
    fn drop(&mut self) {
        // Whoever has to know whether that went well has called `lock`.
        let _ = self.set_modes();
    }
}
