//! What package.json and Cargo.toml say about a package: its name, and which packages it depends on.
//!
//! Only that is read; both files belong to other tools, which check the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use crate::path::RelPath;
use crate::place::{Located, SourceText};
use crate::problem::{Fault, Problem};

/// A package.json.
#[derive(Debug)]
pub(super) struct PackageJson {
    pub(super) name: Option<String>,
    /// Globs of members.
    pub(super) workspaces: Vec<Located<String>>,
    /// Scripts in order of name.
    pub(super) scripts: BTreeMap<String, Located<String>>,
    /// Names of packages, of this workspace or not.
    pub(super) depends_on: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredPackageJson {
    name: Option<String>,
    workspaces: Option<StoredWorkspaces>,
    #[serde(default)]
    scripts: BTreeMap<String, String>,
    #[serde(default)]
    dependencies: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(default)]
    dev_dependencies: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(default)]
    peer_dependencies: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum StoredWorkspaces {
    List(Vec<String>),
    Table { packages: Vec<String> },
}

impl PackageJson {
    pub(super) fn read(source: &Arc<SourceText>) -> Result<Self, Problem> {
        let text = source.text().trim_start_matches('\u{feff}');
        let stored: StoredPackageJson = serde_json::from_str(text).map_err(|error| syntax(source, &error))?;
        // JSON values carry no positions: a word is looked for after the key that it belongs to.
        let located = |after: &str, word: &str, value: String| {
            let from = source.text().find(&format!("\"{after}\"")).unwrap_or(0);
            let quoted = format!("\"{word}\"");
            let start = source.text()[from..].find(&quoted).map_or(from, |offset| from + offset);
            Located { value, place: source.at(start..start + quoted.len()) }
        };
        let workspaces = match stored.workspaces {
            None => Vec::new(),
            Some(StoredWorkspaces::List(globs) | StoredWorkspaces::Table { packages: globs }) => globs,
        };
        let dependencies = [
            stored.dependencies,
            stored.dev_dependencies,
            stored.optional_dependencies,
            stored.peer_dependencies,
        ];
        Ok(Self {
            name: stored.name.filter(|name| crate::name::check_package(name).is_ok()),
            workspaces: workspaces
                .into_iter()
                .map(|glob| located("workspaces", &glob.clone(), glob))
                .collect(),
            scripts: stored
                .scripts
                .into_iter()
                .map(|(name, script)| (name.clone(), located("scripts", &name, script)))
                .collect(),
            depends_on: dependencies.into_iter().flat_map(BTreeMap::into_keys).collect(),
        })
    }
}

fn syntax(source: &Arc<SourceText>, error: &serde_json::Error) -> Problem {
    let line_start: usize =
        source.text().split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = line_start + error.column().saturating_sub(1);
    let message = error.to_string();
    // The position is shown in this project's own form.
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    Problem::at(&source.at(at..at + 1), Fault::Syntax(message.to_owned()))
}

/// A Cargo.toml.
#[derive(Debug, Default)]
pub(super) struct CargoToml {
    pub(super) name: Option<String>,
    /// Directories that the package depends on.
    pub(super) paths: Vec<RelPath>,
    /// Dependencies that the root's Cargo.toml describes.
    pub(super) inherited: Vec<String>,
    /// `[workspace.dependencies]` with a path.
    pub(super) shared: BTreeMap<String, RelPath>,
}

const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

impl CargoToml {
    /// Reads the Cargo.toml of `directory`.
    pub(super) fn read(source: &Arc<SourceText>, directory: &RelPath) -> Result<Self, Problem> {
        let document = DeTable::parse(source.text()).map_err(|error| {
            let place = source.at(error.span().unwrap_or_default());
            Problem::at(&place, Fault::Syntax(error.message().replace('\n', ", ")))
        })?;
        let document = document.get_ref();
        let mut cargo = Self::default();
        if let Some(package) = table(document, "package") {
            cargo.name = package.get("name").and_then(|name| name.get_ref().as_str()).map(str::to_owned);
        }
        cargo.name = cargo.name.filter(|name| crate::name::check_package(name).is_ok());
        cargo.add_dependencies(document, directory);
        for target in table(document, "target").into_iter().flat_map(|targets| targets.values()) {
            if let Some(target) = target.get_ref().as_table() {
                cargo.add_dependencies(target, directory);
            }
        }
        if let Some(shared) = table(document, "workspace").and_then(|table_| table(table_, "dependencies")) {
            for (name, dependency) in shared {
                if let Some(path) = path(dependency.get_ref(), directory) {
                    cargo.shared.insert(name.get_ref().to_string(), path);
                }
            }
        }
        Ok(cargo)
    }

    fn add_dependencies(&mut self, tables: &DeTable<'_>, directory: &RelPath) {
        for kind in DEPENDENCIES {
            for (name, dependency) in table(tables, kind).into_iter().flatten() {
                let dependency = dependency.get_ref();
                if let Some(path) = path(dependency, directory) {
                    self.paths.push(path);
                } else if dependency.get("workspace").is_some_and(|own| own.get_ref().as_bool() == Some(true))
                {
                    self.inherited.push(name.get_ref().to_string());
                }
            }
        }
    }
}

fn table<'a, 'i>(of: &'a DeTable<'i>, key: &str) -> Option<&'a DeTable<'i>> {
    of.get(key)?.get_ref().as_table()
}

/// Where a dependency with a path lies, if that is inside the workspace.
fn path(dependency: &DeValue<'_>, directory: &RelPath) -> Option<RelPath> {
    directory.join(dependency.get("path")?.get_ref().as_str()?).ok()
}
