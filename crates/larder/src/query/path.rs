//! Paths below a session's root.
//!
//! Invariant: a [`RootPath`] has no root, no `.`, no `..` and no empty component, so that it names the same thing in
//! every clone, and one thing has one spelling.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// A path relative to a session's root, without `.` and `..`; empty for the root itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootPath(Arc<Path>);

/// The path is absolute or has `..` in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path {} must be relative to the root and without `..`", .0.display())]
pub struct NotBelowRoot(pub PathBuf);

impl RootPath {
    /// Takes a relative path. `..` is refused, as where it leads depends on links.
    pub(crate) fn new(path: impl AsRef<Path>) -> Result<Self, NotBelowRoot> {
        let path = path.as_ref();
        let mut below = PathBuf::with_capacity(path.as_os_str().len());
        for component in path.components() {
            match component {
                Component::Normal(name) => below.push(name),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(NotBelowRoot(path.to_owned()));
                }
            }
        }
        Ok(Self(below.into()))
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The path where `root` is.
    pub(crate) fn under(&self, root: &Path) -> PathBuf {
        // Joining an empty path would append a slash.
        if self.0.as_os_str().is_empty() { root.to_owned() } else { root.join(&self.0) }
    }
}

impl AsRef<Path> for RootPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for RootPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.as_os_str().is_empty() { f.write_str(".") } else { self.0.display().fmt(f) }
    }
}

impl fmt::Debug for RootPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootPath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling_and_stays_below_the_root() {
        let check = |path: &str| RootPath::new(path).map(|path| path.to_string()).map_err(|e| e.to_string());
        assert_eq!(check("./a//b/./c/").as_deref(), Ok("a/b/c"));
        assert_eq!(check("").as_deref(), Ok("."));
        for bad in ["/etc/passwd", "..", "a/../b", "../a"] {
            assert_eq!(check(bad), Err(format!("path {bad} must be relative to the root and without `..`")));
        }
    }
}
