//! File sets: which files below a root belong together.
//!
//! Not here: looking at them (`scan`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::pattern::{Covers, Meaning, Reading, Rules};
use super::{GitIgnores, SourceError};
use crate::key::{Algorithm, Digest, Hasher};

/// Which files below a root belong together.
///
/// Patterns are relative to the root. One that starts with `!` takes back what those before it selected; of
/// several that match a path, the last decides. A pattern whose last component has no wildcard also selects
/// everything below a directory of that name, as does one with a slash at its end: `src` and `src/**` differ
/// only in that `src` may be a file. `*`, `?` and `[…]` stay within one component and match leading dots;
/// `**` is any number of directories; `{a,b}` is either; `\` quotes.
///
/// A directory called `.git` is selected or entered only by a pattern that spells the name, such as
/// `.git/HEAD`: what git keeps there changes with every command and is no input of anything.
#[derive(Debug)]
pub struct FileSet {
    pub(super) root: PathBuf,
    pub(super) rules: Rules,
    /// The selecting patterns as they were given; `None` stands for one that takes back.
    pub(super) includes: Vec<Option<String>>,
    pub(super) role: Role,
    pub(super) ignore: Ignore,
    pub(super) umask: u32,
    /// Stands for everything that decides which paths belong to the set.
    pub(super) choice: Digest,
}

/// What a set is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// What a computation reads: links are followed, directories are no entries.
    Inputs,
    /// What a computation leaves behind, to be put back as it was: links are not followed, directories are
    /// entries.
    Outputs,
}

/// Which files do not belong to a set although a pattern selects them.
#[derive(Debug, Clone, Default)]
pub enum Ignore {
    /// None.
    #[default]
    Nothing,
    /// Those that git ignores, and pipes, sockets and devices, which git does not see.
    ///
    /// Rules are read from `.git/info/exclude` and from the `.gitignore` files from the repository's root down;
    /// outside of a repository from those in the set's root and below. The user's global excludes are left
    /// out, as they differ between machines. A file that git tracks is not ignored, whatever the rules say. What
    /// lies in a repository inside another is ignored or not by its own rules and index.
    Git(GitIgnores),
}

/// Makes a [`FileSet`].
#[derive(Debug)]
pub struct FileSetBuilder {
    root: PathBuf,
    role: Role,
    patterns: Vec<String>,
    /// Lists in each of which `!` takes back.
    excludes: Vec<Vec<String>>,
    ignore: Ignore,
    umask: u32,
}

impl FileSet {
    /// Starts a set of files that a computation reads.
    ///
    /// Links are followed: what a link leads to is in the set under the link's path, files with their content
    /// and directories with everything selected in them. A link to a directory that it is itself in is followed for
    /// what would not be selected without it, and what patterns take away there is none of that: `**` selects nothing
    /// through one, and its text says all. If it leads to above the root, only patterns without `**` lead through it;
    /// where others do, a scan ends with [`SourceError::LeadsOut`].
    pub fn inputs(root: impl Into<PathBuf>) -> FileSetBuilder {
        FileSetBuilder::new(root.into(), Role::Inputs)
    }

    /// Starts a set of files that a computation leaves behind.
    ///
    /// Links are entries by their text alone. Directories are entries, so that empty ones can be put back. A
    /// pattern that matches a directory selects everything below it, also where it ends in a wildcard.
    pub fn outputs(root: impl Into<PathBuf>) -> FileSetBuilder {
        FileSetBuilder::new(root.into(), Role::Outputs)
    }

    /// The path of an entry below the root.
    pub(super) fn path_of(&self, below: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(below))
    }

    /// The directory that paths and patterns are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl FileSetBuilder {
    fn new(root: PathBuf, role: Role) -> Self {
        Self { root, role, patterns: Vec::new(), excludes: Vec::new(), ignore: Ignore::Nothing, umask: 0o022 }
    }

    /// Adds patterns, in order. A set without a selecting pattern is empty.
    #[must_use]
    pub fn patterns<T: Into<String>>(mut self, patterns: impl IntoIterator<Item = T>) -> Self {
        self.patterns.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Adds patterns whose matches do not belong to the set, whatever its own patterns say. A directory that one
    /// matches is left out with everything below it. One that starts with `!` takes back what those before it in the
    /// same list leave out, which then belongs to the set if it did without them: what a set of outputs with these
    /// patterns has is left out.
    #[must_use]
    pub fn excludes<T: Into<String>>(mut self, patterns: impl IntoIterator<Item = T>) -> Self {
        self.excludes.push(patterns.into_iter().map(Into::into).collect());
        self
    }

    /// Leaves out files that another rule ignores.
    #[must_use]
    pub fn ignore(mut self, ignore: Ignore) -> Self {
        self.ignore = ignore;
        self
    }

    /// Says which umask the files were made under ([`process_umask`](super::process_umask)); without this,
    /// 0o022. See [`Snapshot::fingerprint`](super::Snapshot::fingerprint).
    #[must_use]
    pub fn umask(mut self, umask: u32) -> Self {
        self.umask = umask & 0o777;
        self
    }

    /// Checks the patterns.
    pub fn build(self) -> Result<FileSet, SourceError> {
        let Self { root, role, patterns, excludes, ignore, umask } = self;
        let covers = match role {
            Role::Inputs => Covers::IfNamed,
            Role::Outputs => Covers::Always,
        };
        let choice = choice(role, &patterns, &excludes, &ignore);
        let mut rules = Rules::new((role == Role::Inputs).then_some(b".git"));
        let mut includes = Vec::with_capacity(patterns.len());
        for (origin, text) in patterns.into_iter().enumerate() {
            let taken_back = text.strip_prefix('!');
            let means = if taken_back.is_none() { Meaning::Selects } else { Meaning::TakesBack };
            let reading = Reading { means, covers };
            let added = rules.add(taken_back.unwrap_or(&text), origin, reading);
            added.map_err(|source| SourceError::Pattern { pattern: text.clone(), source })?;
            includes.push(taken_back.is_none().then_some(text));
        }
        let origin = includes.len();
        for list in excludes {
            let from = rules.len();
            for text in list {
                let spared = text.strip_prefix('!');
                let means = if spared.is_some() { Meaning::Spares(from) } else { Meaning::TakesBack };
                let reading = Reading { means, covers: Covers::Always };
                let added = rules.add(spared.unwrap_or(&text), origin, reading);
                added.map_err(|source| SourceError::Pattern { pattern: text, source })?;
            }
        }
        Ok(FileSet { root, rules, includes, role, ignore, umask, choice })
    }
}

fn choice(role: Role, patterns: &[String], excludes: &[Vec<String>], ignore: &Ignore) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Blake3);
    hasher.update(b"larder choice of files 2\n");
    hasher.update(&[role as u8, u8::from(matches!(ignore, Ignore::Git(_)))]);
    for texts in std::iter::once(patterns).chain(excludes.iter().map(Vec::as_slice)) {
        hasher.update(&(texts.len() as u64).to_le_bytes());
        for text in texts {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
    }
    hasher.finish()
}
