//! Where a plan's files are: the directory that all of them lie in, and paths relative to it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use crate::failure::Failure;

/// The root of what is planned, and the playbooks in it.
pub(super) struct Place {
    current: PathBuf,
    root: PathBuf,
    playbooks: Vec<String>,
}

impl Place {
    /// The current directory, or the nearest above it that holds all playbooks, what else is named, and the
    /// directories in which roles are looked for.
    pub(super) fn of(playbooks: &[PathBuf], others: &[PathBuf], current: &Path) -> Result<Self, Failure> {
        let current = current.canonicalize()?;
        let mut root = current.clone();
        let mut found = Vec::new();
        for playbook in playbooks {
            let missing = || format!("the playbook {} could not be found", playbook.display());
            let path = playbook.canonicalize().with_context(missing).map_err(Failure::usage)?;
            root = common(&root, path.parent().unwrap_or(&path));
            found.push(path);
        }
        for path in others {
            let path = located(&current, path);
            root = common(&root, path.parent().unwrap_or(&path));
        }
        for path in ["ANSIBLE_ROLES_PATH", "ANSIBLE_COLLECTIONS_PATH"].iter().flat_map(|name| listed(name)) {
            root = common(&root, &path);
        }
        let relative = |path: &PathBuf| match path.strip_prefix(&root).ok().and_then(Path::to_str) {
            Some(path) => Ok(path.to_owned()),
            None => Err(Failure::usage(anyhow!("{} is not UTF-8", path.display()))),
        };
        let playbooks = found.iter().map(relative).collect::<Result<_, _>>()?;
        Ok(Self { current, root, playbooks })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Relative to the root.
    pub(super) fn playbooks(&self) -> &[String] {
        &self.playbooks
    }

    /// The path relative to the root of something that was named to [`of`](Self::of).
    pub(super) fn relative(&self, path: &Path) -> Result<String, Failure> {
        let located = located(&self.current, path);
        let below = located.strip_prefix(&self.root).ok().and_then(Path::to_str);
        let below = below.ok_or_else(|| Failure::usage(anyhow!("{} is not UTF-8", path.display())))?;
        Ok(below.to_owned())
    }

    /// The directories that a variable lists and that are there, relative to the root.
    pub(super) fn listed(&self, name: &str) -> Vec<String> {
        let relative = |path: PathBuf| Some(path.strip_prefix(&self.root).ok()?.to_str()?.to_owned());
        listed(name).into_iter().filter_map(relative).collect()
    }
}

/// Where a path leads. A link at its end is not followed: what belongs to an inventory stands beside the link.
fn located(current: &Path, path: &Path) -> PathBuf {
    let full = current.join(path);
    match (full.parent().map(Path::canonicalize), full.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        // What is not there is complained of by whoever reads it.
        _ => full.canonicalize().unwrap_or(full),
    }
}

/// The directories that a variable lists with colons, as far as they are there.
fn listed(name: &str) -> Vec<PathBuf> {
    let value = env::var_os(name).unwrap_or_default();
    let directories = env::split_paths(&value).filter(|path| !path.as_os_str().is_empty());
    directories.filter_map(|path| path.canonicalize().ok()).filter(|path| path.is_dir()).collect()
}

/// The deepest directory that both lie in.
fn common(a: &Path, b: &Path) -> PathBuf {
    a.components().zip(b.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}
