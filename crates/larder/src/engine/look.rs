//! Looking at one thing outside: reading a file, listing a directory, finding a program. Everything here blocks.
//!
//! Invariant: what is returned was there, whole, at one moment: stat data before and after are the same.
//! Not here: file sets (`source`), looking once a session (`observe`).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, stat};

use super::observe::{Outside, Tool};
use crate::query::{Fingerprint, Listed, ListedKind};
use crate::source::{SourceError, Stat, digest_file};

/// How often a file or directory that changes while it is read is read again before it is given up.
const ATTEMPTS: usize = 4;

/// The fingerprint of a file's content.
pub(super) fn fingerprint_of_file(path: &Path) -> Result<Fingerprint, SourceError> {
    let found = absent_is_none(digest_file(path))?;
    Ok(found.map_or(Fingerprint::Absent, |file| Fingerprint::Is(file.digest)))
}

/// A file's content; `None` if it is not there.
pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, SourceError> {
    for _ in 0..ATTEMPTS {
        // Opening alone can do something to a device, so its type is asked for first.
        let Some(there) = look(path, || Ok(stat(path)?))? else { return Ok(None) };
        if FileType::from_raw_mode(there.st_mode) != FileType::RegularFile {
            // It knows what to say of anything that is no file; a file that came meanwhile is read.
            absent_is_none(digest_file(path))?;
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let read = look(path, || {
            let mut file = File::from(openat(CWD, path, flags, Mode::empty())?);
            let before = Stat::from(fstat(&file)?);
            let mut content = Vec::with_capacity(usize::try_from(before.size).unwrap_or(0) + 1);
            file.read_to_end(&mut content)?;
            let whole = before == Stat::from(fstat(&file)?) && before.size == content.len() as u64;
            Ok(whole.then_some(content))
        })?;
        match read {
            None => return Ok(None),
            Some(Some(content)) => return Ok(Some(content)),
            Some(None) => {}
        }
    }
    Err(SourceError::Unstable { path: path.to_owned() })
}

/// The names in a directory, sorted; `None` if it is not there.
pub(super) fn list_directory(path: &Path) -> Result<Option<Vec<Listed>>, SourceError> {
    for _ in 0..ATTEMPTS {
        let listed = look(path, || {
            let before = stamp(path)?;
            let mut names = Vec::new();
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                names.push(Listed { name: entry.file_name(), kind: kind(entry.file_type()?) });
            }
            names.sort_unstable();
            Ok((before == stamp(path)?).then_some(names))
        })?;
        match listed {
            None => return Ok(None),
            Some(Some(names)) => return Ok(Some(names)),
            Some(None) => {}
        }
    }
    Err(SourceError::Unstable { path: path.to_owned() })
}

/// The program that a name stands for: below the root if there is a slash in it, else in the directories of the
/// variable `PATH`. `None` if there is none that may be executed.
pub(super) fn find_tool(outside: &Outside, name: &str) -> Result<Option<Tool>, SourceError> {
    let path = outside.environment.get(OsStr::new("PATH"));
    let directories: Vec<PathBuf> = match name.contains('/') {
        true => vec![PathBuf::new()],
        false => path.map(|path| std::env::split_paths(path).collect()).unwrap_or_default(),
    };
    for directory in directories {
        let path = outside.root.join(directory).join(name);
        let is_program =
            |metadata: fs::Metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
        if !fs::metadata(&path).is_ok_and(is_program) {
            continue;
        }
        if let Some(file) = absent_is_none(digest_file(&path))? {
            return Ok(Some(Tool { path, digest: file.digest }));
        }
    }
    Ok(None)
}

/// What changes when names are added to a directory or removed from it.
fn stamp(path: &Path) -> io::Result<[i64; 6]> {
    let it = fs::metadata(path)?;
    let identity = [it.dev().cast_signed(), it.ino().cast_signed()];
    Ok([identity[0], identity[1], it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec()])
}

fn kind(file_type: fs::FileType) -> ListedKind {
    if file_type.is_dir() {
        ListedKind::Directory
    } else if file_type.is_symlink() {
        ListedKind::Link
    } else if file_type.is_file() {
        ListedKind::File
    } else {
        ListedKind::Special
    }
}

/// Runs `look`; `None` if it finds that nothing is there.
fn look<T>(path: &Path, look: impl FnOnce() -> io::Result<T>) -> Result<Option<T>, SourceError> {
    absent_is_none(look().map_err(|source| SourceError::Unreadable { path: path.to_owned(), source }))
}

/// Nothing is there, also where what should be a directory above it is none.
fn absent_is_none<T>(outcome: Result<T, SourceError>) -> Result<Option<T>, SourceError> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(SourceError::Unreadable { source, .. })
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
