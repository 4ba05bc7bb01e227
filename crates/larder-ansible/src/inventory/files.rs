//! Which files belong to an inventory, found through a query's context, so that whatever is added, taken away or
//! changed among them is noticed.
//!
//! Rules are those of Ansible's inventory manager and of its plugin `host_group_vars`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder::engine::Context;
use larder::query::{Listed, ListedKind};
use serde::{Deserialize, Serialize};

use super::InventoryError;
use super::assemble::{ENCRYPTED, Part};
use super::json;
use super::value::{Value, Variables};
use crate::problem::Problem;
use crate::yaml;

/// How deep directories of an inventory nest; links can lead in circles.
const DEPTH_LIMIT: usize = 16;

const IGNORED_NAMES: [&str; 3] = ["host_vars", "group_vars", "vars_plugins"];
const IGNORED_ENDS: [&str; 12] =
    [".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"];

/// Where an inventory is: one `-i` of the command line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// A file or a directory, below the root of the session.
    Path(String),
    /// Hosts separated by commas.
    Hosts(String),
}

/// All that an inventory is made of. Equal ones are the same inventory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Sources {
    /// In order; later ones win.
    pub sources: Vec<Source>,
    /// Of each program that may be one of them, or in a directory of them: a file with what it printed.
    pub outputs: BTreeMap<String, String>,
}

impl From<Vec<Source>> for Sources {
    fn from(sources: Vec<Source>) -> Self {
        Self { sources, outputs: BTreeMap::new() }
    }
}

/// Variables, and what is missing among them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Known {
    /// The variables by name.
    pub variables: Variables,
    /// Files that are encrypted as a whole, so that what they set is not known.
    pub encrypted: Vec<Box<str>>,
}

impl Known {
    /// Takes over what wins over what is there.
    pub(super) fn extend(&mut self, other: &Self) {
        self.variables.extend(&other.variables);
        self.encrypted.extend(other.encrypted.iter().cloned());
    }
}

/// Of what `group_vars/` and `host_vars/` have files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Entity {
    Group,
    Host,
}

/// What to call a path in messages.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The parts that a source has.
pub(super) async fn parts(
    cx: &Context,
    source: &Source,
    outputs: &BTreeMap<String, String>,
) -> Result<Vec<Part>, InventoryError> {
    let path = match source {
        Source::Hosts(list) => return Ok(vec![Part::Hosts(list.clone())]),
        Source::Path(path) => PathBuf::from(path),
    };
    let mut parts = Vec::new();
    let Some(names) = cx.list(&path).await? else {
        let missing = || Problem::of_file(&shown(&path), "there is no such inventory");
        let remedy = "name a file or a directory with -i, or hosts with a comma after each: -i web1,web2,";
        parts.push(part(cx, path.clone(), outputs).await?.ok_or_else(|| missing().remedy(remedy))?);
        return Ok(parts);
    };
    // Directories still to be looked into, the next one last, so that files come in the order of their paths.
    let mut pending: Vec<(PathBuf, ListedKind, usize)> = Vec::new();
    push(&mut pending, &path, &names, 0);
    while let Some((path, kind, depth)) = pending.pop() {
        let is_directory = match kind {
            ListedKind::Directory | ListedKind::Link => cx.list(&path).await?,
            ListedKind::File | ListedKind::Special => None,
        };
        match is_directory {
            Some(_) if depth == DEPTH_LIMIT => {
                let problem = Problem::of_file(&shown(&path), "directories of the inventory nest too deeply");
                return Err(problem.remedy("a link that leads to a directory above it has to go").into());
            }
            Some(names) => push(&mut pending, &path, &names, depth + 1),
            // A link may lead nowhere.
            None => parts.extend(part(cx, path, outputs).await?),
        }
    }
    Ok(parts)
}

fn push(pending: &mut Vec<(PathBuf, ListedKind, usize)>, directory: &Path, names: &[Listed], depth: usize) {
    let taken = names.iter().rev().filter(|listed| !is_ignored(&listed.name.to_string_lossy()));
    pending.extend(taken.map(|listed| (directory.join(&listed.name), listed.kind, depth)));
}

fn is_ignored(name: &str) -> bool {
    name.starts_with('.')
        || IGNORED_NAMES.contains(&name)
        || IGNORED_ENDS.iter().any(|end| name.ends_with(end))
}

/// The part that a file is; `None` if it is not there.
async fn part(
    cx: &Context,
    path: PathBuf,
    outputs: &BTreeMap<String, String>,
) -> Result<Option<Part>, InventoryError> {
    let Some(content) = cx.read(&path).await? else { return Ok(None) };
    let name = shown(&path);
    // Without a slash it would be looked for among the programs of the machine.
    let program = if name.contains('/') { name.clone() } else { format!("./{name}") };
    let may_run = content.starts_with(b"#!") || content.starts_with(b"\x7fELF");
    if !may_run || cx.tool(&program).await?.is_none() {
        return Ok(Some(Part::File { name, content }));
    }
    let Some(output) = outputs.get(&name) else { return Err(InventoryError::Program(name)) };
    match cx.read(output).await? {
        Some(content) => Ok(Some(Part::Output { name, content })),
        None => Err(Problem::of_file(&name, "what the program printed is gone").into()),
    }
}

/// The directory that `group_vars/` and `host_vars/` stand in for a source.
pub(super) async fn directory(cx: &Context, source: &Source) -> Result<Option<PathBuf>, InventoryError> {
    let Source::Path(path) = source else { return Ok(None) };
    let path = Path::new(path);
    let is_directory = cx.list(path).await?.is_some();
    Ok(Some(if is_directory { path.to_owned() } else { path.parent().unwrap_or(Path::new("")).to_owned() }))
}

/// What files beside an inventory or a playbook set for a group or a host.
pub(super) async fn beside(
    cx: &Context,
    directory: &Path,
    entity: Entity,
    name: &str,
) -> Result<Known, InventoryError> {
    let mut known = Known::default();
    // A path as a name is that of a chroot; a slash within would lead elsewhere.
    if name.contains('/') || name == "." || name == ".." {
        return Ok(known);
    }
    let directory = directory.join(match entity {
        Entity::Group => "group_vars",
        Entity::Host => "host_vars",
    });
    let Some(names) = cx.list(&directory).await? else { return Ok(known) };
    for end in ["", ".yml", ".yaml", ".json"] {
        let file = format!("{name}{end}");
        let found = names.binary_search_by(|listed| listed.name.as_os_str().cmp(file.as_ref()));
        let Ok(at) = found else { continue };
        let path = directory.join(&file);
        let inside = match names[at].kind {
            ListedKind::Directory | ListedKind::Link => cx.list(&path).await?,
            ListedKind::File | ListedKind::Special => None,
        };
        match inside {
            Some(inside) => {
                for path in files_in(cx, path, &inside).await? {
                    let content = cx.read(&path).await?;
                    load(&path, content, &mut known)?;
                }
                break;
            }
            None => {
                let content = cx.read(&path).await?;
                // A link that leads nowhere is as if it were not there.
                if content.is_some() {
                    load(&path, content, &mut known)?;
                    break;
                }
            }
        }
    }
    Ok(known)
}

/// The files of a directory of variables and of those in it, in the order of their paths.
async fn files_in(
    cx: &Context,
    directory: PathBuf,
    names: &[Listed],
) -> Result<Vec<PathBuf>, InventoryError> {
    let mut files = Vec::new();
    let mut pending = Vec::new();
    let push = |pending: &mut Vec<_>, directory: &Path, names: &[Listed], depth: usize| {
        let taken = names.iter().rev().filter(|listed| {
            let name = listed.name.to_string_lossy();
            !name.starts_with('.') && !name.ends_with('~')
        });
        pending.extend(taken.map(|listed| (directory.join(&listed.name), listed.kind, depth)));
    };
    push(&mut pending, &directory, names, 0);
    while let Some((path, kind, depth)) = pending.pop() {
        let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
        let inside = match kind {
            ListedKind::Directory | ListedKind::Link => cx.list(&path).await?,
            ListedKind::File | ListedKind::Special => None,
        };
        match inside {
            Some(_) if depth == DEPTH_LIMIT => {
                let problem = Problem::of_file(&shown(&path), "directories of variables nest too deeply");
                return Err(problem.remedy("a link that leads to a directory above it has to go").into());
            }
            Some(inside) if extension.is_none() => push(&mut pending, &path, &inside, depth + 1),
            Some(_) => {}
            None if kind == ListedKind::Directory => {}
            None => match extension.as_deref() {
                None | Some("yml" | "yaml" | "json") => files.push(path),
                Some(_) => {}
            },
        }
    }
    Ok(files)
}

fn load(path: &Path, content: Option<Arc<[u8]>>, known: &mut Known) -> Result<(), InventoryError> {
    let Some(content) = content else { return Ok(()) };
    let name = shown(path);
    if content.starts_with(ENCRYPTED) {
        known.encrypted.push(name.into());
        return Ok(());
    }
    let documents = match json::parse(&content) {
        Some(document) => vec![document],
        None => yaml::parse(&name, &content)?,
    };
    let problem = |at, message: &str| Problem::at(&name, &content, at, message);
    if let [_, second, ..] = documents.as_slice() {
        let problem = problem(second.at, "a file of variables is one document, and this is a second");
        return Err(problem.remedy("take the `---` between them out").into());
    }
    let Some(document) = documents.first().filter(|document| !Value::is_falsy(document)) else {
        return Ok(());
    };
    let Some(entries) = document.as_mapping() else {
        let found = document.value.described();
        let problem = problem(document.at, &format!("a file of variables must be a mapping, not {found}"));
        return Err(problem.remedy("write each variable as `name: value`").into());
    };
    let entries = entries.iter().map(|(name, value)| (Value::from(name).as_key(), Value::from(value)));
    known.variables.extend(&entries.collect());
    Ok(())
}
