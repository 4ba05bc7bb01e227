//! Finding the root from a directory upwards.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::foreign::PackageJson;
use super::{WorkspaceError, read_if_there};
use crate::manifest::Manifest;
use crate::place::SourceText;
use crate::problem::{Fault, Problem, Problems};

/// The file of each package.
pub(super) const MANIFEST: &str = "larder.toml";
/// Read where there is no `larder.toml` at all.
pub(super) const PACKAGE_JSON: &str = "package.json";

/// The root and what makes it one.
pub(super) struct Root {
    pub(super) path: PathBuf,
    pub(super) file: RootFile,
    /// The nearest directory with a manifest, which must turn out to be a member.
    pub(super) nearest: Option<PathBuf>,
    /// What is wrong with its file.
    pub(super) problems: Vec<Problem>,
}

pub(super) enum RootFile {
    Manifest(Box<Manifest>),
    PackageJson(Box<PackageJson>),
}

pub(super) fn root(from: &Path) -> Result<Root, WorkspaceError> {
    let mut nearest: Option<(PathBuf, Box<Manifest>, Vec<Problem>)> = None;
    for directory in from.ancestors() {
        let Some(text) = read_if_there(&directory.join(MANIFEST))? else { continue };
        let mut problems = Vec::new();
        let manifest = Box::new(Manifest::read(&SourceText::new(MANIFEST, text), &mut problems));
        if problems.iter().any(|problem| matches!(*problem.fault, Fault::Syntax(_))) {
            // Whether it is the root cannot be told from a file that does not parse.
            Problems::check(problems)?;
        } else if manifest.workspace.is_some() {
            let nearest = nearest.map(|(path, ..)| path);
            return Ok(Root {
                path: directory.to_owned(),
                file: RootFile::Manifest(manifest),
                nearest,
                problems,
            });
        } else {
            nearest.get_or_insert((directory.to_owned(), manifest, problems));
        }
    }
    match nearest {
        Some((path, manifest, problems)) => {
            Ok(Root { path, file: RootFile::Manifest(manifest), nearest: None, problems })
        }
        None => package_json(from),
    }
}

fn package_json(from: &Path) -> Result<Root, WorkspaceError> {
    let mut nearest = None;
    for directory in from.ancestors() {
        let Some(text) = read_if_there(&directory.join(PACKAGE_JSON))? else { continue };
        let source = SourceText::new(PACKAGE_JSON, text);
        let json = PackageJson::read(&source).map_err(|problem: Problem| Problems::from(problem))?;
        let found = |json| Root {
            path: directory.to_owned(),
            file: RootFile::PackageJson(Box::new(json)),
            nearest: None,
            problems: Vec::new(),
        };
        if !json.workspaces.is_empty() {
            return Ok(found(json));
        }
        if !json.scripts.is_empty() && nearest.is_none() {
            nearest = Some(found(json));
        }
    }
    nearest.ok_or_else(|| WorkspaceError::NotFound { from: from.to_owned() })
}

/// A package's manifest, named by its path from the root.
pub(super) fn member_manifest(
    root: &Path,
    directory: &crate::path::RelPath,
    problems: &mut Vec<Problem>,
) -> Result<Option<Manifest>, WorkspaceError> {
    let file = directory.child(MANIFEST);
    let Some(text) = read_if_there(&file.under(root))? else { return Ok(None) };
    let source: Arc<SourceText> = SourceText::new(file.as_str(), text);
    Ok(Some(Manifest::read(&source, problems)))
}

/// A directory's path without symbolic links. Linux knows it of an open directory, in one call where asking name by
/// name takes one for each.
pub(crate) fn real_path(directory: &Path) -> io::Result<PathBuf> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        let open = rustix::fs::open(directory, flags, Mode::empty())?;
        let known = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open)));
        if let Ok(known) = known {
            return Ok(known);
        }
    }
    directory.canonicalize()
}
