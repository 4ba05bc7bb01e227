//! Programs: where the name of one leads.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Whether a program is given by its path, not by a name to be looked up in `PATH`.
pub(crate) fn is_path(program: &OsStr) -> bool {
    program.as_bytes().contains(&b'/')
}

/// The path of a program that a `PATH` leads to from a directory.
pub(crate) fn which(program: &OsStr, path: Option<&OsStr>, cwd: &Path) -> Option<PathBuf> {
    let runs = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if is_path(program) {
        let path = cwd.join(program);
        return runs(&path).then_some(path);
    }
    let directories = std::env::split_paths(path?);
    directories.map(|directory| cwd.join(directory).join(program)).find(|path| runs(path))
}
