//! `larder.toml`: read, checked once, and turned into definitions that still may be overridden.
//!
//! The parsed document is walked key by key, so each complaint has the span of the very value it is about, and
//! all complaints of a file are found in one pass.
//! Not here: what a definition means for one package (`task`), and which files are read (`workspace`).

mod definition;
mod reader;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use definition::{CacheTable, CacheWish, CommandLine, Component, Definition, EnvironmentTable, Tool};

use crate::name::TaskName;
use crate::path::Pattern;
use crate::place::{Located, Place, SourceText};
use crate::problem::{Fault, Problem};
use reader::{Reader, Section};

/// One `larder.toml`.
#[derive(Debug)]
pub struct Manifest {
    /// Its text.
    pub source: Arc<SourceText>,
    /// `[workspace]`, which makes the file's directory the root.
    pub workspace: Option<WorkspaceSection>,
    /// `[package]`.
    pub package: PackageSection,
    /// `[tasks.NAME]`.
    pub tasks: BTreeMap<TaskName, Arc<Definition>>,
    /// Where `[cache]` stands, which `larder::config` reads from the root's file.
    pub settings: Option<Place>,
}

/// `[workspace]`.
#[derive(Debug)]
pub struct WorkspaceSection {
    /// Where it stands.
    pub place: Place,
    /// `name`: whose the kept results are.
    pub name: Option<Located<String>>,
    /// `members`: globs of directories, `!` takes away.
    pub members: Vec<Located<String>>,
    /// `env`: what all tasks see.
    pub environment: EnvironmentTable,
    /// `[workspace.tasks.NAME]`: a template for every member.
    pub tasks: BTreeMap<TaskName, Arc<Definition>>,
}

/// `[package]`.
#[derive(Debug, Default)]
pub struct PackageSection {
    /// `name`: instead of the one in package.json or Cargo.toml, or the directory's.
    pub name: Option<Located<String>>,
    /// `depends_on`: names of packages; `!name` drops one that package.json or Cargo.toml brought.
    pub depends_on: Vec<Located<String>>,
}

const FILE_KEYS: &[&str] = &["workspace", "package", "tasks", "cache"];
const WORKSPACE_KEYS: &[&str] = &["name", "members", "env", "tasks"];
const PACKAGE_KEYS: &[&str] = &["name", "depends_on"];

impl Manifest {
    /// Reads a manifest; what is wrong is added to `problems` and left out of the result.
    pub fn read(source: &Arc<SourceText>, problems: &mut Vec<Problem>) -> Self {
        let mut reader = Reader::new(source, problems);
        let mut manifest = Self {
            source: Arc::clone(source),
            workspace: None,
            package: PackageSection::default(),
            tasks: BTreeMap::new(),
            settings: None,
        };
        let text = source.text().strip_prefix('\u{feff}').unwrap_or(source.text());
        reader.skipped = source.text().len() - text.len();
        let Some(document) = reader.parse(text) else { return manifest };
        for (key, value) in document.get_ref() {
            match key.get_ref().as_ref() {
                "workspace" => manifest.workspace = Some(workspace(&mut reader, key, value)),
                "package" => manifest.package = package(&mut reader, value),
                "tasks" => manifest.tasks = tasks(&mut reader, "tasks", value),
                "cache" => manifest.settings = Some(reader.place(key.span())),
                _ => reader.unknown(key, "the file", FILE_KEYS.iter().copied()),
            }
        }
        manifest
    }
}

fn workspace(reader: &mut Reader<'_>, key: &reader::Key<'_>, value: &reader::Value<'_>) -> WorkspaceSection {
    let mut section = WorkspaceSection {
        place: reader.place(key.span()),
        name: None,
        members: Vec::new(),
        environment: EnvironmentTable::default(),
        tasks: BTreeMap::new(),
    };
    let Some(Section { table, .. }) = reader.section("workspace", value) else { return section };
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "name" => section.name = reader.name("workspace.name", value),
            "members" => section.members = reader.strings("members", value).unwrap_or_default(),
            "env" => section.environment = EnvironmentTable::read(reader, "workspace.env", value),
            "tasks" => section.tasks = tasks(reader, "workspace.tasks", value),
            _ => reader.unknown(key, "[workspace]", WORKSPACE_KEYS.iter().copied()),
        }
    }
    section.members.retain(|member| reader.accepts_glob("member", member, Pattern::check));
    section
}

fn package(reader: &mut Reader<'_>, value: &reader::Value<'_>) -> PackageSection {
    let mut section = PackageSection::default();
    let Some(Section { table, .. }) = reader.section("package", value) else { return section };
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "name" => section.name = reader.name("package.name", value),
            "depends_on" => section.depends_on = reader.strings("depends_on", value).unwrap_or_default(),
            _ => reader.unknown(key, "[package]", PACKAGE_KEYS.iter().copied()),
        }
    }
    section
}

fn tasks(
    reader: &mut Reader<'_>,
    prefix: &str,
    value: &reader::Value<'_>,
) -> BTreeMap<TaskName, Arc<Definition>> {
    let mut tasks = BTreeMap::new();
    let Some(Section { table, .. }) = reader.section(prefix, value) else { return tasks };
    for (key, value) in table {
        let place = reader.place(key.span());
        match TaskName::new(key.get_ref()) {
            Ok(name) => {
                let definition = Definition::read(reader, &format!("{prefix}.{name}"), place, value);
                tasks.insert(name, Arc::new(definition));
            }
            Err(rule) => {
                let fault = Fault::Name { what: "task name", name: key.get_ref().to_string(), rule: rule.0 };
                reader.problems.push(Problem::at(&place, fault));
            }
        }
    }
    tasks
}
