//! The workspace: its root, its packages, what each depends on and which tasks it has.
//!
//! Invariant: package names are unique, each dependency is a package of the workspace, and every task has been
//! resolved. The root is a package too and is always the first.
//! A package depends on what its `[package] depends_on` names, and on the packages that its package.json names
//! or its Cargo.toml has a path to; `!name` in `depends_on` drops one of the latter.
//! Not here: how tasks depend on each other (`graph`).

mod find;
mod foreign;
mod load;
mod members;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

pub(crate) use find::real_path;

use crate::manifest::Manifest;
use crate::name::{ROOT, TaskName};
use crate::path::RelPath;
use crate::place::SourceText;
use crate::problem::Problems;
use crate::task::Task;

/// A workspace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// There is none.
    #[error("no larder.toml and no package.json with scripts in {} or above", from.display())]
    NotFound {
        /// Where the search began.
        from: PathBuf,
    },
    /// A file or directory cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A manifest stands below a root that does not count it as a member.
    #[error("{} is not a member of the workspace {}", manifest.display(), root.display())]
    NotAMember {
        /// The manifest.
        manifest: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// The definitions are wrong.
    #[error(transparent)]
    Wrong(#[from] Problems),
}

/// A directory with tasks.
#[derive(Debug)]
pub struct Package {
    name: Arc<str>,
    dir: RelPath,
    depends_on: Vec<usize>,
    tasks: BTreeMap<TaskName, Arc<Task>>,
}

impl Package {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory.
    pub fn dir(&self) -> &RelPath {
        &self.dir
    }

    /// The packages that it depends on, as positions in [`Workspace::packages`], ascending.
    pub fn depends_on(&self) -> &[usize] {
        &self.depends_on
    }

    /// Its tasks by name.
    pub fn tasks(&self) -> &BTreeMap<TaskName, Arc<Task>> {
        &self.tasks
    }
}

/// All packages below one root.
#[derive(Debug)]
pub struct Workspace {
    root: PathBuf,
    /// The root without symbolic links, once it was asked for.
    real_root: OnceLock<PathBuf>,
    name: Option<String>,
    packages: Vec<Package>,
    by_name: HashMap<Arc<str>, usize>,
}

impl Workspace {
    /// Finds the root from a directory upwards and reads everything.
    ///
    /// The root is the nearest directory whose `larder.toml` has `[workspace]`, else the nearest with a
    /// `larder.toml`, else the nearest whose `package.json` has workspaces, else the nearest whose `package.json`
    /// has scripts.
    ///
    /// Blocks on the disk: one listing for each wildcard of `members` and three attempts to open a file for
    /// each package.
    pub fn load(from: &Path) -> Result<Self, WorkspaceError> {
        load::load(find::root(from)?)
    }

    /// A workspace with this root, as a text describes it that takes the place of the root's `larder.toml`.
    pub fn described(root: &Path, description: &Arc<SourceText>) -> Result<Self, WorkspaceError> {
        let mut problems = Vec::new();
        let file = find::RootFile::Manifest(Box::new(Manifest::read(description, &mut problems)));
        load::load(find::Root { path: root.to_owned(), file, nearest: None, problems })
    }

    /// The root on this machine.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The root without symbolic links. Blocks, the first time.
    pub(crate) fn real_root(&self) -> io::Result<&Path> {
        if self.real_root.get().is_none() {
            let _ = self.real_root.set(real_path(&self.root)?);
        }
        Ok(self.real_root.get().map_or(&self.root, PathBuf::as_path))
    }

    /// The name that `[workspace]` or the root's own manifest gives it; never made up from a directory, so that
    /// all clones have the same one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The root package, then the members by directory.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// Looks a package up; `//` is the root.
    pub fn package(&self, name: &str) -> Option<usize> {
        if name == ROOT { Some(0) } else { self.by_name.get(name).copied() }
    }

    /// A path of this machine as one of the workspace; `None` when it lies outside or is not UTF-8.
    pub fn relative(&self, path: &Path) -> Option<RelPath> {
        let inside = path.strip_prefix(&self.root).ok()?;
        RelPath::root().join(inside.to_str()?).ok()
    }

    /// The package whose directory holds `path`, the innermost if several do.
    pub fn package_of(&self, path: &RelPath) -> usize {
        let holding = self.packages.iter().enumerate().filter(|(_, package)| path.is_in(&package.dir));
        holding.max_by_key(|(_, package)| package.dir.as_str().len()).map_or(0, |(at, _)| at)
    }

    /// All tasks, by package and name.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.packages.iter().flat_map(|package| package.tasks.values())
    }
}

/// Reads a file; `None` when there is none.
fn read_if_there(path: &Path) -> Result<Option<String>, WorkspaceError> {
    let error = match std::fs::read_to_string(path) {
        Ok(text) => return Ok(Some(text)),
        Err(error) => error,
    };
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
        _ => Err(WorkspaceError::Read { path: path.to_owned(), source: error }),
    }
}
