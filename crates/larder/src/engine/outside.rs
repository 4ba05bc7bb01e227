//! The outside of a session: where its roots are, which variables it has, and what can go wrong with looking there.
//!
//! Not here: looking (`observe`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::carry::Watch;
use crate::key::Digest;
use crate::query::{BadRootName, NotBelowRoot, root_name};
use crate::source::SourceError;

/// What a session sees of the outside.
///
/// Paths are spelled relative to the root or, below a directory that has a name, as `/@NAME/PATH`
/// ([`RootPath`](crate::query::RootPath)). Neither where the root is nor where the others are is in any key, so clones
/// share answers.
///
/// No path leaves its root through `..`. Links are another matter: they are followed wherever they lead, out of the
/// root too, as they are for any program that reads the file. What counts is what is found through them, so whatever
/// changes there shows; what the link says does not count by itself. A root says how things are spelled, and is no
/// fence against those who may make links below it.
#[derive(Debug, Clone)]
pub struct Outside {
    /// The directory that paths are relative to. It is in no key, so that clones share answers.
    pub root: PathBuf,
    /// The environment variables. Only digests of their values are stored.
    pub environment: BTreeMap<OsString, OsString>,
    roots: BTreeMap<Box<str>, PathBuf>,
    pub(super) watch: Option<Watch>,
}

impl Outside {
    /// A root, and no environment variables.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), environment: BTreeMap::new(), roots: BTreeMap::new(), watch: None }
    }

    /// Gives a further directory a name, under which what is below it is found. The name stands in what is kept, the
    /// directory does not: two machines share answers if they call the same things by the same names.
    pub fn with_root(mut self, name: &str, directory: impl Into<PathBuf>) -> Result<Self, BadRootName> {
        self.roots.insert(root_name(name)?, directory.into());
        Ok(self)
    }

    /// Has sessions hand on what they see to those that begin after them, where nothing has happened to it.
    pub fn watched(mut self, watch: &Watch) -> Self {
        self.watch = Some(watch.clone());
        self
    }

    /// The directory of a root; `None` is the main one.
    pub(super) fn directory(&self, root: Option<&str>) -> Option<&Path> {
        match root {
            None => Some(&self.root),
            Some(name) => self.roots.get(name).map(PathBuf::as_path),
        }
    }
}

/// A source can't be looked at. That it is not there is no error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookError {
    /// The path leads out of the root.
    #[error(transparent)]
    Path(#[from] NotBelowRoot),
    /// No directory of the session has this name.
    #[error("root {0} is not known")]
    UnknownRoot(Box<str>),
    /// A root that is watched is somewhere else than when the session began to look below it.
    #[error("root {0:?} was moved")]
    RootMoved(Box<str>),
    /// The patterns of one glob are below several roots.
    #[error("patterns of one glob must be below one root")]
    SeveralRoots,
    /// Looking failed.
    #[error("source can't be looked at")]
    Source(#[source] Arc<SourceError>),
}

/// A program, by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Where it is. Differs between machines, and belongs into no answer.
    pub path: PathBuf,
    /// Digest of its content.
    pub digest: Digest,
}
