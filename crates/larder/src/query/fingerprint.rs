//! Fingerprints: what stands for the state of a source.
//!
//! Each sort of source has a domain of its own, so that no state of one is mistaken for a state of another. The
//! value of an environment variable is not told by its fingerprint otherwise than as a digest.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::key::Digest;

/// Stands for the state of a source: equal fingerprints of one source mean that an observer saw the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fingerprint {
    /// It is not there.
    Absent,
    /// It is there, and this is the digest of what was seen of it: of a file or a program, the content's.
    Is(Digest),
}

/// What a name in a listing belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListedKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, wherever it leads.
    Link,
    /// A pipe, socket or device.
    Special,
}

/// A name in a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The name, without the directory.
    pub name: OsString,
    /// What it belongs to.
    pub kind: ListedKind,
}

impl Fingerprint {
    /// Of an environment variable. The name goes into it, so that two variables with one value do not show that
    /// they have.
    pub(crate) fn of_variable(name: &str, value: Option<&OsStr>) -> Self {
        let Some(value) = value else { return Self::Absent };
        let mut said = Said::new("larder variable 1");
        said.part(name.as_bytes());
        said.part(value.as_bytes());
        said.finish()
    }

    /// Of a directory's names, which are sorted.
    pub(crate) fn of_listing(names: &[Listed]) -> Self {
        let mut said = Said::new("larder listing 1");
        for listed in names {
            said.part(listed.name.as_bytes());
            said.0.push(match listed.kind {
                ListedKind::File => 0,
                ListedKind::Directory => 1,
                ListedKind::Link => 2,
                ListedKind::Special => 3,
            });
        }
        said.finish()
    }

    /// Of the paths that a glob matches, which are sorted, as [`RootPath`](super::RootPath)s spell them.
    pub(crate) fn of_paths<P: AsRef<Path>>(paths: impl Iterator<Item = P>) -> Self {
        let mut said = Said::new("larder paths 1");
        paths.for_each(|path| said.part(path.as_ref().as_os_str().as_bytes()));
        said.finish()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Is(digest) => write!(f, "{digest:.12}"),
        }
    }
}

/// What is digested: a domain, then parts with their lengths before them.
struct Said(Vec<u8>);

impl Said {
    fn new(domain: &str) -> Self {
        let mut said = Self(Vec::with_capacity(256));
        said.part(domain.as_bytes());
        said
    }

    fn part(&mut self, part: &[u8]) {
        self.0.extend_from_slice(&(part.len() as u64).to_le_bytes());
        self.0.extend_from_slice(part);
    }

    fn finish(self) -> Fingerprint {
        Fingerprint::Is(Digest::of(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_what_was_seen_counts() {
        let listed = |name: &str, kind| Listed { name: name.into(), kind };
        let paths = |paths: &[&str]| Fingerprint::of_paths(paths.iter());
        let all = [
            Fingerprint::Absent,
            Fingerprint::Is(Digest::of(b"")),
            Fingerprint::of_variable("A", None),
            Fingerprint::of_variable("A", Some(OsStr::new(""))),
            Fingerprint::of_variable("A", Some(OsStr::new("x"))),
            Fingerprint::of_variable("B", Some(OsStr::new("x"))),
            Fingerprint::of_listing(&[]),
            Fingerprint::of_listing(&[listed("a", ListedKind::File)]),
            Fingerprint::of_listing(&[listed("a", ListedKind::Directory)]),
            Fingerprint::of_listing(&[listed("a", ListedKind::File), listed("b", ListedKind::File)]),
            paths(&[]),
            paths(&["a", "b"]),
            paths(&["ab"]),
            paths(&["a/b"]),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        // A variable that is not set is as absent as anything else.
        assert_eq!(distinct.len(), all.len() - 1);
    }

    #[test]
    fn fingerprints_are_these_forever() {
        let variable = Fingerprint::of_variable("LANG", Some(OsStr::new("C")));
        let listing = Fingerprint::of_listing(&[Listed { name: "a".into(), kind: ListedKind::Link }]);
        let paths = Fingerprint::of_paths(["a/b"].iter());
        assert_eq!(
            [variable, listing, paths].map(|one| one.to_string()),
            ["dace1f44447b", "ad2577f6d1f0", "a8cbe77d268a"]
        );
    }
}
