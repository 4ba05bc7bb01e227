//! Paths inside the workspace, and globs over them.
//!
//! Invariant: a [`RelPath`] is normalised, `/`-separated and never leads out of the root; a [`Pattern`] starts at
//! one. Both are compared and keyed as text, so two clones of a project have the same ones.
//! Not here: looking at files (`larder::source`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::GlobMatcher;
use larder::glob;

/// Why a path cannot stand inside the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// More `..` than there are directories.
    #[error("leads outside the workspace root")]
    Outside,
    /// Starts with a single `/`.
    #[error("must be relative")]
    Absolute,
}

/// A path relative to the workspace root; the root itself is the empty one, shown as `.`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Arc<str>);

impl RelPath {
    /// The root itself.
    pub fn root() -> Self {
        Self(Arc::from(""))
    }

    /// Follows a written path from here; `//` at its start means from the root.
    pub fn join(&self, written: &str) -> Result<Self, PathError> {
        let (mut segments, rest) = match written.strip_prefix("//") {
            Some(rest) => (Vec::new(), rest),
            None if written.starts_with('/') => return Err(PathError::Absolute),
            None => (self.segments().collect::<Vec<_>>(), written),
        };
        for segment in rest.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop().ok_or(PathError::Outside)?),
                name => segments.push(name),
            }
        }
        Ok(Self(segments.join("/").into()))
    }

    /// Appends one name that a directory listing gave.
    pub(crate) fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.into()) } else { Self(format!("{}/{name}", self.0).into()) }
    }

    /// The names from the root down.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The last name; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.segments().last()
    }

    /// The text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `other` or lies in it.
    pub fn is_in(&self, other: &Self) -> bool {
        match self.0.strip_prefix(&*other.0) {
            Some(rest) => other.0.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// Where it is on this machine.
    pub fn under(&self, root: &Path) -> PathBuf {
        if self.0.is_empty() { root.to_owned() } else { root.join(&*self.0) }
    }
}

/// As its text, which it is compared by.
impl std::borrow::Borrow<str> for RelPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.0.is_empty() { "." } else { &self.0 })
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelPath({self})")
    }
}

/// A glob that does not parse, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It leads where it must not.
    #[error(transparent)]
    Path(#[from] PathError),
    /// It is not a glob.
    #[error("{0}")]
    Glob(String),
}

/// A path or glob below some directory of the workspace.
///
/// `*` and `?` stay within one name, `**` is any number of directories, `[ab]` and `{a,b}` choose. A pattern
/// without any of these is a path: it means that file, or that directory with everything in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    base: RelPath,
    glob: Box<str>,
    negated: bool,
    written: Box<str>,
}

fn is_wild(segment: &str) -> bool {
    segment.contains(['*', '?', '[', '{', '\\'])
}

impl Pattern {
    /// Checks that `written` could be a pattern, wherever it will start; for templates.
    pub fn check(written: &str) -> Result<(), PatternError> {
        let text = written.strip_prefix('!').unwrap_or(written);
        match text.split_once(['*', '?', '[', '{', '\\']) {
            Some(_) => glob::of_paths(text).map(drop).map_err(|error| PatternError::Glob(error.to_string())),
            None if text.is_empty() => Err(PatternError::Glob("it is empty".into())),
            None => Ok(()),
        }
    }

    /// Reads a pattern that stands in a file of directory `from`; a `!` at its start takes away.
    pub fn new(from: &RelPath, written: &str) -> Result<Self, PatternError> {
        Self::check(written)?;
        Self::of_checked(from, written)
    }

    /// As [`Pattern::new`], for a text that has passed [`Pattern::check`]: parsing a template's globs again for
    /// each package would cost more than all the rest of reading a workspace.
    pub(crate) fn of_checked(from: &RelPath, written: &str) -> Result<Self, PatternError> {
        let (negated, text) = match written.strip_prefix('!') {
            Some(text) => (true, text),
            None => (false, written),
        };
        let wild = text.split('/').position(is_wild);
        // The literal directories at the start are followed as a path: `..` works there, and a name with
        // brackets in `from` is not mistaken for a glob.
        let cut = match wild {
            Some(n) => text.split('/').take(n).map(|segment| segment.len() + 1).sum(),
            None => text.len(),
        };
        let (literal, glob) = text.split_at(cut);
        if glob.split('/').any(|segment| segment == "..") {
            return Err(PatternError::Glob("`..` after a wildcard".into()));
        }
        let glob = glob.trim_end_matches('/').into();
        Ok(Self { base: from.join(literal)?, glob, negated, written: written.into() })
    }

    /// The directory that it starts at, or the path itself when it is not a glob.
    pub fn base(&self) -> &RelPath {
        &self.base
    }

    /// What follows the base; `None` for a path.
    pub fn glob(&self) -> Option<&str> {
        (!self.glob.is_empty()).then_some(&*self.glob)
    }

    /// Whether it takes away.
    pub fn is_negated(&self) -> bool {
        self.negated
    }

    /// As the user wrote it.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// As one glob from the root, the base escaped.
    pub fn to_glob(&self) -> String {
        let base = glob::escape(self.base.as_str());
        match (base.is_empty(), self.glob.is_empty()) {
            (_, true) => base,
            (true, false) => self.glob.to_string(),
            (false, false) => format!("{base}/{}", self.glob),
        }
    }

    /// Makes it ready to match.
    pub fn matcher(&self) -> Matcher {
        let glob = (!self.glob.is_empty())
            .then(|| glob::of_paths(&self.glob).expect("it was read before it was made").compile_matcher());
        Matcher { base: self.base.clone(), glob }
    }
}

/// A pattern made ready to match.
#[derive(Debug, Clone)]
pub struct Matcher {
    base: RelPath,
    glob: Option<GlobMatcher>,
}

impl Matcher {
    /// Whether the pattern covers `path`; whether it takes away is the caller's to know.
    pub fn matches(&self, path: &RelPath) -> bool {
        self.matches_path(Path::new(path.as_str()))
    }

    /// The same of a path below the root that need not be UTF-8. It is normalised.
    pub(crate) fn matches_path(&self, path: &Path) -> bool {
        let Ok(rest) = path.strip_prefix(self.base.as_str()) else { return false };
        self.glob.as_ref().is_none_or(|glob| glob.is_match(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::root().join(text).unwrap()
    }

    #[test]
    fn paths_are_followed_from_their_directory_and_never_out_of_the_root() {
        let web = path("packages/web");
        assert_eq!(web.join("../core/./x/").unwrap(), path("packages/core/x"));
        assert_eq!(web.join("//x").unwrap(), path("x"));
        assert_eq!(web.join("../..").unwrap(), RelPath::root());
        assert_eq!(web.join("../../.."), Err(PathError::Outside));
        assert_eq!(web.join("/etc"), Err(PathError::Absolute));
        assert!(path("a/b").is_in(&path("a")) && path("a").is_in(&path("a")) && path("a").is_in(&path("")));
        assert!(!path("ab").is_in(&path("a")) && !path("a").is_in(&path("a/b")));
    }

    #[test]
    fn globs_stay_within_names_and_start_at_their_literal_directory() {
        let check = |written: &str, hits: &[&str], misses: &[&str]| {
            let pattern = Pattern::new(&path("odd[1]/web"), written).unwrap();
            let whole = glob::of_paths(&pattern.to_glob()).unwrap().compile_matcher();
            for hit in hits {
                assert!(pattern.matcher().matches(&path(hit)), "{written} {hit}");
                assert!(pattern.glob().is_none() || whole.is_match(hit), "{written} {hit}");
            }
            for miss in misses {
                assert!(!pattern.matcher().matches(&path(miss)), "{written} {miss}");
            }
        };
        check("src", &["odd[1]/web/src", "odd[1]/web/src/a/b"], &["odd[1]/web/srcs", "src"]);
        check("src/**", &["odd[1]/web/src/a", "odd[1]/web/src/a/b"], &["odd[1]/web/a"]);
        check("*.rs", &["odd[1]/web/a.rs"], &["odd[1]/web/src/a.rs", "a.rs", "odd1/web/a.rs"]);
        check("**/*.{c,h}", &["odd[1]/web/a.c", "odd[1]/web/x/y/a.h"], &["odd[1]/web/a.rs"]);
        check("!../core/**/*.py", &["odd[1]/core/a.py"], &["odd[1]/web/a.py"]);
        check("//*.lock", &["a.lock"], &["odd[1]/web/a.lock"]);
    }

    #[test]
    fn a_bad_glob_says_why() {
        let check = |written: &str| Pattern::new(&path("a"), written).unwrap_err().to_string();
        assert_eq!(check("src/["), "unclosed character class; missing ']'");
        assert_eq!(check("../../x"), "leads outside the workspace root");
        assert_eq!(check("/x"), "must be relative");
        assert_eq!(check("*/../x"), "`..` after a wildcard");
        assert_eq!(check("!"), "it is empty");
    }
}
