//! What a task reads, as a set of files.
//!
//! Not here: looking at them (`larder::source`), and when that is done (`job`).

use std::path::Path;

use larder::clock::Timestamp;
use larder::glob;
use larder::source::{FileSet, FileSetBuilder, GitIgnores, Ignore, SourceError};

use crate::path::{Pattern, RelPath};
use crate::place::Located;
use crate::task::{Inputs, Task};
use crate::workspace::Workspace;

/// What sets of inputs have in common in one run.
#[derive(Debug)]
pub(crate) struct InputRules {
    ignores: GitIgnores,
    umask: u32,
    /// The cache, if it lies in the workspace: it changes with every run, and is no input of any.
    cache: Option<String>,
}

impl InputRules {
    pub(crate) fn new(umask: u32, root: &Path, cache: Option<&Path>) -> Self {
        let inside = |cache: &Path| {
            let (root, cache) = (root.canonicalize().ok()?, cache.canonicalize().ok()?);
            Some(glob::escape(cache.strip_prefix(root).ok()?.to_str()?))
        };
        let cache = cache.and_then(inside).filter(|cache| !cache.is_empty());
        Self { ignores: GitIgnores::new(), umask, cache }
    }

    /// A glob of the cache's directory, if that lies in the workspace.
    pub(crate) fn cache(&self) -> Option<&str> {
        self.cache.as_deref()
    }

    /// Forgets what may have changed, as something was written in the workspace or may have been.
    pub(crate) fn forget(&self, now: Timestamp) {
        self.ignores.forget(now);
    }

    /// The input files of a task, all paths from the workspace's root.
    pub(crate) fn of(&self, workspace: &Workspace, task: &Task) -> Result<FileSet, SourceError> {
        let mut patterns: Vec<String> = Vec::new();
        let mut set = FileSet::inputs(workspace.root()).umask(self.umask).excludes(self.cache.clone());
        match &task.inputs {
            Inputs::Undeclared => {}
            Inputs::Declared(declared) => patterns.extend(declared.iter().map(signed)),
            Inputs::Package => {
                patterns.push(everything_in(&task.package));
                set = foreign(workspace, task).fold(set, FileSetBuilder::excludes);
                set = set.ignore(Ignore::Git(self.ignores.clone()));
            }
        }
        patterns.extend(task.extra_inputs.iter().map(signed));
        set.patterns(patterns).excludes(task.ignored_inputs.iter().map(signed)).build()
    }
}

fn signed(pattern: &Located<Pattern>) -> String {
    let glob = pattern.value.to_glob();
    if pattern.value.is_negated() { format!("!{glob}") } else { glob }
}

fn everything_in(directory: &RelPath) -> String {
    match directory.as_str() {
        "" => "**".to_owned(),
        path => format!("{}/**", glob::escape(path)),
    }
}

/// What lies in a package's directory and is not its source: the packages inside it, and the outputs of each of its tasks.
fn foreign<'a>(workspace: &'a Workspace, task: &Task) -> impl Iterator<Item = Vec<String>> + 'a {
    let package = &workspace.packages()[workspace.package_of(&task.package)];
    let inside = workspace.packages().iter().map(crate::workspace::Package::dir);
    let inside = inside.filter(|dir| *dir != package.dir() && dir.is_in(package.dir()));
    let inside = inside.map(|dir| glob::escape(dir.as_str())).collect();
    let written = package.tasks().values().map(|task| task.outputs.iter().map(signed).collect());
    std::iter::once(inside).chain(written)
}

/// The programs that tools resolve to, as a set from the root of the file system, so that their contents are read
/// only when they have changed.
pub(crate) fn programs<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<FileSet, SourceError> {
    let globs = paths.filter_map(|path| Some(glob::escape(path.to_str()?.trim_start_matches('/'))));
    FileSet::inputs("/").patterns(globs.collect::<Vec<_>>()).build()
}
