//! Members: the directories that the globs of `members` choose.
//!
//! A glob is followed name by name, so only its wildcards list directories. Hidden directories and
//! `node_modules` are chosen by no wildcard.

use std::path::{Path, PathBuf};

use globset::GlobMatcher;
use larder::glob::{self, GlobError};

use super::WorkspaceError;
use crate::path::{Pattern, RelPath};
use crate::place::Located;
use crate::problem::{Fault, Problem};

/// What makes a directory a package below `**`, where not each directory can be one.
const MARKS: [&str; 3] = ["larder.toml", "package.json", "Cargo.toml"];

/// The chosen directories, sorted, each once.
pub(super) fn expand(
    root: &Path,
    globs: &[Located<String>],
    problems: &mut Vec<Problem>,
) -> Result<Vec<RelPath>, WorkspaceError> {
    let mut chosen = Vec::new();
    let mut dropped = Vec::new();
    for glob in globs {
        let pattern = match Pattern::new(&RelPath::root(), &glob.value) {
            Ok(pattern) => pattern,
            Err(error) => {
                problems.push(Problem::at(&glob.place, Fault::of_pattern("member", &glob.value, &error)));
                continue;
            }
        };
        if pattern.is_negated() {
            dropped.push(pattern.matcher());
            continue;
        }
        let before = chosen.len();
        let mut walk = Walk { root, glob, real_root: None, found: &mut chosen, problems };
        walk.follow(&pattern)?;
        if chosen.len() == before {
            let fault = Fault::MissingMember(glob.value.clone());
            problems.push(missing(root, &pattern, Problem::at(&glob.place, fault)));
        }
    }
    chosen.retain(|path| !dropped.iter().any(|matcher| matcher.matches(path)) && *path != RelPath::root());
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

/// Adds a suggestion from the directory where the member should have been.
fn missing(root: &Path, pattern: &Pattern, problem: Problem) -> Problem {
    let (None, Some(name)) = (pattern.glob(), pattern.base().name()) else { return problem };
    let parent = pattern.base().under(root).parent().map(Path::to_owned).unwrap_or_default();
    let names: Vec<String> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    problem.suggest(name, names.iter().map(String::as_str))
}

struct Walk<'a> {
    root: &'a Path,
    glob: &'a Located<String>,
    /// The root without symbolic links, once one has been met.
    real_root: Option<PathBuf>,
    found: &'a mut Vec<RelPath>,
    problems: &'a mut Vec<Problem>,
}

enum Step {
    Name(String),
    /// A name that this matches; without it, each.
    Wild(Option<GlobMatcher>),
    Any,
}

impl Walk<'_> {
    fn follow(&mut self, pattern: &Pattern) -> Result<(), WorkspaceError> {
        let steps: Vec<Step> = pattern
            .glob()
            .into_iter()
            .flat_map(|glob| glob.split('/'))
            .map(|segment| match segment {
                "**" => Ok(Step::Any),
                // What matches anything need not be compiled.
                "*" => Ok(Step::Wild(None)),
                name if !name.contains(['*', '?', '[', '{', '\\']) => Ok(Step::Name(name.to_owned())),
                wild => glob::of_names(wild).map(|glob| Step::Wild(Some(glob.compile_matcher()))),
            })
            .collect::<Result<_, _>>()
            .or_else(|error: GlobError| {
                // A glob whose braces span names is a whole one only when it is not cut at the slashes.
                let fault = Fault::Glob { glob: self.glob.value.clone(), reason: error.to_string() };
                self.problems.push(Problem::at(&self.glob.place, fault));
                Ok::<_, WorkspaceError>(Vec::new())
            })?;
        let deep = steps.iter().any(|step| matches!(step, Step::Any));
        let mut open = vec![(pattern.base().clone(), 0)];
        while let Some((directory, at)) = open.pop() {
            match steps.get(at) {
                None => {
                    let path = directory.under(self.root);
                    let is_package = if deep {
                        MARKS.iter().any(|mark| path.join(mark).is_file())
                    } else {
                        // What a listing gave is a directory; only the literal end of a glob may not be.
                        matches!(steps.last(), Some(Step::Wild(_))) || path.is_dir()
                    };
                    if is_package {
                        self.found.push(directory);
                    }
                }
                Some(Step::Name(name)) => open.push((directory.child(name), at + 1)),
                Some(Step::Wild(wild)) => {
                    for name in self.directories(&directory, true)? {
                        if wild.as_ref().is_none_or(|wild| wild.is_match(&name)) {
                            open.push((directory.child(&name), at + 1));
                        }
                    }
                }
                Some(Step::Any) => {
                    open.push((directory.clone(), at + 1));
                    // Links are not followed here, as one to a directory above would be followed for ever.
                    for name in self.directories(&directory, false)? {
                        open.push((directory.child(&name), at));
                    }
                }
            }
        }
        Ok(())
    }

    /// The names of the directories in a directory, as far as a wildcard may choose them.
    fn directories(&mut self, directory: &RelPath, links: bool) -> Result<Vec<String>, WorkspaceError> {
        let path = directory.under(self.root);
        let listing = match std::fs::read_dir(&path) {
            Ok(listing) => listing,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(Vec::new()),
            Err(source) => return Err(WorkspaceError::Read { path, source }),
        };
        let mut names = Vec::new();
        for entry in listing {
            let unreadable = |source| WorkspaceError::Read { path: path.clone(), source };
            let entry = entry.map_err(unreadable)?;
            let kind = entry.file_type().map_err(unreadable)?;
            if !(kind.is_dir() || links && kind.is_symlink()) {
                continue;
            }
            let name = match entry.file_name().into_string() {
                Ok(name) if name.starts_with('.') || name == "node_modules" => continue,
                Ok(name) => name,
                Err(name) => {
                    let fault = Fault::NotUtf8(path.join(name).to_string_lossy().into_owned());
                    self.problems.push(Problem::at(&self.glob.place, fault));
                    continue;
                }
            };
            if kind.is_dir() || self.link_stays_inside(directory, &name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Whether a symbolic link leads to a directory of the workspace; one that leads out is reported.
    fn link_stays_inside(&mut self, directory: &RelPath, name: &str) -> bool {
        let link = directory.child(name);
        let path = link.under(self.root);
        if !path.is_dir() {
            return false;
        }
        let root = self.root;
        let real_root =
            self.real_root.get_or_insert_with(|| root.canonicalize().unwrap_or_else(|_| root.to_owned()));
        let inside = path.canonicalize().is_ok_and(|path| path.starts_with(real_root));
        if !inside {
            let fault = Fault::Outside { key: "member", path: link.to_string() };
            self.problems.push(Problem::at(&self.glob.place, fault));
        }
        inside
    }
}
