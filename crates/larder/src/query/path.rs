//! Paths below the roots of a session.
//!
//! Invariant: a [`RootPath`] names no directory of one machine and has no `.`, no `..` and no empty component, so
//! that it means the same in every clone, and one thing below a root has one spelling.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// What the name of a root stands behind. No path below the main root begins with a slash.
const NAMED: &[u8] = b"/@";
/// How long the name of a root may be.
const MAX_NAME: usize = 64;

/// A path below one of a session's roots, without `.` and `..`.
///
/// Below the main root it is relative, and empty for the root itself. Below a root with a name it is spelled
/// `/@NAME/PATH`, which can't be confused with the former, nor with a path that exists: absolute ones are refused.
/// Where the roots are is no part of it.
#[derive(Clone)]
pub struct RootPath {
    /// What it is spelled in, alone or among others: those that are read back together share one allocation.
    text: Arc<[u8]>,
    start: u32,
    len: u32,
}

/// The path is absolute, has `..` in it, or begins with a root's name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path {} must be relative to the root or begin with `/@` and a root's name, and have no `..`", .0.display())]
pub struct NotBelowRoot(pub PathBuf);

/// The name of a root is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("root name {0:?} must be 1 to 64 of `a-z A-Z 0-9 . _ -`, and not begin with a dot")]
pub struct BadRootName(pub Box<str>);

impl RootPath {
    /// Takes a path below a root. `..` is refused, as where it leads depends on links.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, NotBelowRoot> {
        let path = path.as_ref();
        if is_plain(path.as_os_str().as_bytes()) {
            return Self::spelled(path);
        }
        let not_below = || NotBelowRoot(path.to_owned());
        let (name, rest) = split(path).ok_or_else(not_below)?;
        let mut below = PathBuf::with_capacity(path.as_os_str().len());
        if let Some(name) = name {
            below.push(prefix(name));
        }
        for component in rest.components() {
            match component {
                Component::Normal(name) => below.push(name),
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(not_below()),
            }
        }
        Self::spelled(&below)
    }

    /// A path that is spelled as it should be.
    fn spelled(path: &Path) -> Result<Self, NotBelowRoot> {
        let text = path.as_os_str().as_bytes();
        let len = u32::try_from(text.len()).map_err(|_| NotBelowRoot(path.to_owned()))?;
        Ok(Self { text: text.into(), start: 0, len })
    }

    /// The path that stands in `text` from `start` on, without an allocation where it is below the main root. As long
    /// as somebody has it, so is the whole text. `None` if it is not well formed.
    pub(super) fn within(text: &Arc<[u8]>, start: usize, len: usize) -> Option<Self> {
        let path = text.get(start..start.checked_add(len)?)?;
        if !is_plain(path) {
            return Self::new(OsStr::from_bytes(path)).ok();
        }
        let (start, len) = (u32::try_from(start).ok()?, u32::try_from(len).ok()?);
        Some(Self { text: Arc::clone(text), start, len })
    }

    /// The bytes that it is spelled with.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[self.start as usize..][..self.len as usize]
    }

    /// The path as it is spelled: it may be given wherever a path below a root is asked for.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.as_bytes()))
    }

    /// The name of the root that it is below; `None` for the main root.
    pub fn root(&self) -> Option<&str> {
        split(self.as_path()).and_then(|(name, _)| name)
    }

    /// The path below that root, relative.
    pub fn below(&self) -> &Path {
        split(self.as_path()).map_or(self.as_path(), |(_, below)| below)
    }

    /// The path where its root is the directory `root`.
    pub(crate) fn under(&self, root: &Path) -> PathBuf {
        let below = self.below();
        // Joining an empty path would append a slash.
        if below.as_os_str().is_empty() { root.to_owned() } else { root.join(below) }
    }

    /// A path below a root, of which it is known that it is well formed.
    pub(crate) fn join(root: Option<&str>, below: &Path) -> Result<Self, NotBelowRoot> {
        Self::new(joined(root, below))
    }
}

/// Checks the name of a root.
pub(crate) fn root_name(name: &str) -> Result<Box<str>, BadRootName> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.') {
        true => Ok(name.into()),
        false => Err(BadRootName(name.into())),
    }
}

/// The name of the root that a path or a pattern begins with, and the rest of it. `None` if that name is no name.
pub(crate) fn split(path: &Path) -> Option<(Option<&str>, &Path)> {
    match path.as_os_str().as_bytes().strip_prefix(NAMED) {
        None => Some((None, path)),
        Some(named) => split_named(named),
    }
}

fn split_named(named: &[u8]) -> Option<(Option<&str>, &Path)> {
    let end = named.iter().position(|&byte| byte == b'/').unwrap_or(named.len());
    let name = std::str::from_utf8(&named[..end]).ok().filter(|name| root_name(name).is_ok())?;
    let mut rest = &named[end..];
    while let [b'/', after @ ..] = rest {
        rest = after;
    }
    Some((Some(name), Path::new(OsStr::from_bytes(rest))))
}

/// Whether a path is spelled as those below the main root are: what is kept has no other spelling, and there is much of it.
fn is_plain(path: &[u8]) -> bool {
    let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..");
    path.is_empty() || path.split(|&byte| byte == b'/').all(is_name)
}

/// How a path below a root, of which it is known that it is well formed, is spelled.
pub(crate) fn joined<'p>(root: Option<&str>, below: &'p Path) -> Cow<'p, Path> {
    root.map_or(Cow::Borrowed(below), |name| Cow::Owned(prefix(name).join(below)))
}

fn prefix(name: &str) -> PathBuf {
    PathBuf::from(format!("/@{name}"))
}

/// By its bytes: as it has one spelling, that says the same as component by component, and is quicker.
impl PartialEq for RootPath {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for RootPath {}

impl Hash for RootPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// Component by component, as paths are.
impl Ord for RootPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_path().cmp(other.as_path())
    }
}

impl PartialOrd for RootPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl AsRef<Path> for RootPath {
    fn as_ref(&self) -> &Path {
        self.as_path()
    }
}

impl fmt::Display for RootPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len == 0 { f.write_str(".") } else { self.as_path().display().fmt(f) }
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
    fn a_path_has_one_spelling_and_stays_below_its_root() {
        let check = |path: &str| RootPath::new(path).map(|path| path.to_string()).ok();
        for (path, spelled) in [
            ("./a//b/./c/", "a/b/c"),
            ("", "."),
            ("@roles/a", "@roles/a"),
            ("/@roles/./a//b/", "/@roles/a/b"),
            ("/@roles", "/@roles"),
            ("/@roles//", "/@roles"),
        ] {
            assert_eq!(check(path).as_deref(), Some(spelled), "{path}");
            assert_eq!(check(spelled.trim_start_matches("./")).as_deref(), Some(spelled));
        }
        for bad in
            ["/etc/passwd", "..", "a/../b", "../a", "/@roles/../a", "/@/a", "/@a b/c", "//@roles/a", "/@.."]
        {
            assert_eq!(check(bad), None, "{bad}");
        }
        assert_eq!(
            RootPath::new("/x").unwrap_err().to_string(),
            "path /x must be relative to the root or begin with `/@` and a root's name, and have no `..`"
        );
    }

    #[test]
    fn a_path_knows_its_root_and_where_it_is_below_it() {
        let parts = |path: &str| {
            let path = RootPath::new(path).unwrap();
            let again = RootPath::join(path.root(), path.below()).unwrap();
            assert_eq!(again, path);
            (path.root().map(str::to_owned), path.below().to_owned(), path.under(Path::new("/here")))
        };
        assert_eq!(parts("a/b"), (None, "a/b".into(), "/here/a/b".into()));
        assert_eq!(parts("/@x/a/b"), (Some("x".into()), "a/b".into(), "/here/a/b".into()));
        assert_eq!(parts("/@x"), (Some("x".into()), "".into(), "/here".into()));
        assert_eq!(parts(""), (None, "".into(), "/here".into()));
    }

    #[test]
    fn paths_that_share_a_text_are_those_that_stand_alone_and_none_leads_out_of_it() {
        let text: Arc<[u8]> = (*b"a/b/@roles/c../d").into();
        let within = |start, len| RootPath::within(&text, start, len);
        for (start, len, spelled) in
            [(0, 3, "a/b"), (2, 1, "b"), (3, 9, "/@roles/c"), (7, 0, ""), (12, 0, "")]
        {
            let (shared, alone) = (within(start, len).unwrap(), RootPath::new(spelled).unwrap());
            assert_eq!((&shared, shared.root(), shared.below()), (&alone, alone.root(), alone.below()));
            assert_eq!(shared.cmp(&alone), Ordering::Equal);
        }
        for (start, len) in [(12, 4), (12, 2), (1, 3), (15, 2), (17, 0), (1, usize::MAX)] {
            assert_eq!(within(start, len), None, "{len} from {start}");
        }
    }
}
