//! Reading all packages below a root and joining what their files say.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::find::{PACKAGE_JSON, Root, RootFile, member_manifest};
use super::foreign::{CargoToml, PackageJson};
use super::{Package, Workspace, WorkspaceError, members, read_if_there};
use crate::environment::EnvironmentRules;
use crate::manifest::{CommandLine, Definition, EnvironmentTable, Manifest};
use crate::name::{Dependency, ROOT, TaskId, TaskName};
use crate::path::RelPath;
use crate::place::{Located, Place, SourceText};
use crate::problem::{Fault, Problem, Problems};
use crate::task::{Surroundings, Task};

/// Scripts that run until they are stopped, by the names that projects give them.
const PERSISTENT_SCRIPTS: [&str; 5] = ["dev", "start", "serve", "watch", "preview"];

/// The files of one package.
struct Files {
    dir: RelPath,
    manifest: Option<Manifest>,
    json: Option<PackageJson>,
    cargo: Option<CargoToml>,
}

pub(super) fn load(root: Root) -> Result<Workspace, WorkspaceError> {
    let mut problems = root.problems;
    let globs = match &root.file {
        RootFile::Manifest(manifest) => manifest.workspace.as_ref().map(|section| &section.members[..]),
        RootFile::PackageJson(json) => Some(&json.workspaces[..]),
    };
    let directories = members::expand(&root.path, globs.unwrap_or_default(), &mut problems)?;
    if let Some(nearest) = root
        .nearest
        .as_ref()
        .filter(|nearest| !directories.iter().any(|directory| directory.under(&root.path) == **nearest))
    {
        // A wrong glob is the likelier reason, and is said first.
        Problems::check(problems)?;
        let manifest = nearest.join(super::find::MANIFEST);
        return Err(WorkspaceError::NotAMember { manifest, root: root.path });
    }
    let scripts_only = matches!(root.file, RootFile::PackageJson(_));
    let mut all = vec![root_files(&root.path, root.file, &mut problems)?];
    for dir in directories {
        let files = member_files(&root.path, dir, &mut problems)?;
        // What npm calls a workspace has a package.json.
        if !scripts_only || files.json.is_some() {
            all.push(files);
        }
    }
    let names = names(&root.path, &all, &mut problems);
    let depends_on = dependencies(&all, &names, &mut problems);
    let tasks = if scripts_only {
        scripts(&all, &names, &mut problems)
    } else {
        resolve_tasks(&all, &names, &mut problems)
    };
    Problems::check(problems)?;
    let name = declared_name(&all[0]);
    let packages: Vec<Package> = all
        .into_iter()
        .zip(names)
        .zip(depends_on.into_iter().zip(tasks))
        .map(|((files, name), (depends_on, tasks))| Package { name, dir: files.dir, depends_on, tasks })
        .collect();
    let by_name = packages.iter().enumerate().map(|(at, package)| (Arc::clone(&package.name), at)).collect();
    Ok(Workspace { root: root.path, real_root: OnceLock::new(), name, packages, by_name })
}

fn root_files(root: &Path, file: RootFile, problems: &mut Vec<Problem>) -> Result<Files, WorkspaceError> {
    let dir = RelPath::root();
    Ok(match file {
        RootFile::Manifest(manifest) => Files {
            manifest: Some(*manifest),
            json: package_json(root, &dir, problems)?,
            cargo: cargo_toml(root, &dir, problems)?,
            dir,
        },
        RootFile::PackageJson(json) => {
            Files { manifest: None, json: Some(*json), cargo: cargo_toml(root, &dir, problems)?, dir }
        }
    })
}

fn member_files(root: &Path, dir: RelPath, problems: &mut Vec<Problem>) -> Result<Files, WorkspaceError> {
    let manifest = member_manifest(root, &dir, problems)?;
    if let Some(section) = manifest.as_ref().and_then(|manifest| manifest.workspace.as_ref()) {
        let fault = Fault::Contradiction("a member of a workspace cannot be the root of another");
        problems.push(Problem::at(&section.place, fault));
    }
    if let Some(place) = manifest.as_ref().and_then(|manifest| manifest.settings.as_ref()) {
        let fault = Fault::Contradiction("the cache is one for the whole workspace");
        problems.push(Problem::at(place, fault).hint("move [cache] to the root's larder.toml"));
    }
    let json = package_json(root, &dir, problems)?;
    let cargo = cargo_toml(root, &dir, problems)?;
    Ok(Files { dir, manifest, json, cargo })
}

fn package_json(
    root: &Path,
    dir: &RelPath,
    problems: &mut Vec<Problem>,
) -> Result<Option<PackageJson>, WorkspaceError> {
    let file = dir.child(PACKAGE_JSON);
    let Some(text) = read_if_there(&file.under(root))? else { return Ok(None) };
    let read = PackageJson::read(&SourceText::new(file.as_str(), text));
    Ok(read.map_err(|problem| problems.push(problem)).ok())
}

fn cargo_toml(
    root: &Path,
    dir: &RelPath,
    problems: &mut Vec<Problem>,
) -> Result<Option<CargoToml>, WorkspaceError> {
    let file = dir.child("Cargo.toml");
    let Some(text) = read_if_there(&file.under(root))? else { return Ok(None) };
    let read = CargoToml::read(&SourceText::new(file.as_str(), text), dir);
    Ok(read.map_err(|problem| problems.push(problem)).ok())
}

/// The name that a package's own files give it.
fn declared_name(files: &Files) -> Option<String> {
    let manifest = files.manifest.as_ref();
    let workspace = manifest.and_then(|manifest| manifest.workspace.as_ref()?.name.as_ref());
    let package = manifest.and_then(|manifest| manifest.package.name.as_ref());
    package
        .or(workspace)
        .map(|name| name.value.clone())
        .or_else(|| files.json.as_ref()?.name.clone())
        .or_else(|| files.cargo.as_ref()?.name.clone())
}

/// A name for each package; two with one name are a problem, unless the root's is only its directory's.
fn names(root: &Path, all: &[Files], problems: &mut Vec<Problem>) -> Vec<Arc<str>> {
    let mut first: HashMap<Arc<str>, usize> = HashMap::new();
    let mut names: Vec<Arc<str>> = Vec::with_capacity(all.len());
    for (at, files) in all.iter().enumerate() {
        let name: Arc<str> = match declared_name(files).as_deref().or_else(|| files.dir.name()) {
            Some(name) => name.into(),
            None => Arc::from(ROOT),
        };
        if crate::name::check_package(&name).is_err() {
            let rule = "be used for a package, because of its characters";
            problems.push(Problem::nowhere(Fault::Name {
                what: "directory name",
                name: name.to_string(),
                rule,
            }));
        }
        if let Some(other) = first.insert(Arc::clone(&name), at) {
            let fault = Fault::DuplicatePackage {
                name: name.to_string(),
                first: all[other].dir.to_string(),
                second: files.dir.to_string(),
            };
            let problem = match &files.manifest {
                Some(manifest) => Problem::at(&manifest.source.whole(), fault),
                None => Problem::nowhere(fault),
            };
            problems.push(problem.hint("give one of them another `name` in its [package]"));
        }
        names.push(name);
    }
    // The root is named after its directory only where that cannot be mistaken for a member.
    if let Some(name) = root.file_name().and_then(|name| name.to_str())
        && *names[0] == *ROOT
        && !first.contains_key(name)
        && crate::name::check_package(name).is_ok()
    {
        names[0] = name.into();
    }
    names
}

fn dependencies(all: &[Files], names: &[Arc<str>], problems: &mut Vec<Problem>) -> Vec<Vec<usize>> {
    let by_name: HashMap<&str, usize> = names.iter().enumerate().map(|(at, name)| (&**name, at)).collect();
    let by_dir: HashMap<&RelPath, usize> =
        all.iter().enumerate().map(|(at, files)| (&files.dir, at)).collect();
    let shared = all[0].cargo.as_ref().map(|cargo| &cargo.shared);
    let mut result = Vec::with_capacity(all.len());
    for (at, files) in all.iter().enumerate() {
        let mut found = BTreeSet::new();
        let json = files.json.iter().flat_map(|json| &json.depends_on);
        found.extend(json.filter_map(|name| by_name.get(name.as_str())));
        if let Some(cargo) = &files.cargo {
            let inherited = cargo.inherited.iter().filter_map(|name| shared?.get(name));
            found.extend(cargo.paths.iter().chain(inherited).filter_map(|dir| by_dir.get(dir)));
        }
        found.remove(&at);
        let written = files.manifest.as_ref().map(|manifest| &manifest.package.depends_on[..]);
        for Located { value, place } in written.unwrap_or_default() {
            let (name, dropped) = match value.strip_prefix('!') {
                Some(name) => (name, true),
                None => (value.as_str(), false),
            };
            let other = if name == ROOT { Some(&0) } else { by_name.get(name) };
            match other {
                None => {
                    let problem = Problem::at(place, Fault::UnknownPackage(name.to_owned()));
                    problems.push(problem.suggest(name, names.iter().map(|name| &**name)));
                }
                Some(other) if *other == at => {
                    let fault = Fault::Contradiction("a package cannot depend on itself");
                    problems.push(Problem::at(place, fault));
                }
                Some(other) if dropped => drop(found.remove(other)),
                Some(other) => drop(found.insert(*other)),
            }
        }
        result.push(found.into_iter().collect());
    }
    result
}

type Tasks = BTreeMap<TaskName, Arc<Task>>;

fn resolve_tasks(all: &[Files], names: &[Arc<str>], problems: &mut Vec<Problem>) -> Vec<Tasks> {
    let no_environment = EnvironmentTable::default();
    let section = all[0].manifest.as_ref().and_then(|manifest| manifest.workspace.as_ref());
    let environment = section.map_or(&no_environment, |section| &section.environment);
    let shared_environment = Arc::new(EnvironmentRules::new(environment, None));
    let no_tasks = BTreeMap::new();
    let templates = section.map_or(&no_tasks, |section| &section.tasks);
    let mut result = Vec::with_capacity(all.len());
    for (at, (files, name)) in all.iter().zip(names).enumerate() {
        let templates = if at == 0 { &no_tasks } else { templates };
        let own = files.manifest.as_ref().map_or(&no_tasks, |manifest| &manifest.tasks);
        let mut tasks = BTreeMap::new();
        for task in own.keys().chain(templates.keys()) {
            let Entry::Vacant(entry) = tasks.entry(task.clone()) else { continue };
            let template = templates.get(task);
            let Some(definition) = own.get(task).or(template) else { continue };
            let around = Surroundings {
                package: &files.dir,
                template: template.filter(|_| own.contains_key(task)).map(|template| &**template),
                is_template: !own.contains_key(task),
                workspace_environment: environment,
                shared_environment: &shared_environment,
            };
            let id = TaskId { package: Arc::clone(name), task: task.clone() };
            if let Some(task) = Task::resolve(id, definition, &around, problems) {
                entry.insert(Arc::new(task));
            }
        }
        result.push(tasks);
    }
    result
}

/// Tasks from package.json where there is no `larder.toml`: each script once its package's dependencies have run
/// theirs of the same name. They declare nothing, so they are never kept.
fn scripts(all: &[Files], names: &[Arc<str>], problems: &mut Vec<Problem>) -> Vec<Tasks> {
    let environment = EnvironmentTable::default();
    let shared_environment = Arc::new(EnvironmentRules::new(&environment, None));
    let mut result = Vec::with_capacity(all.len());
    for (files, package) in all.iter().zip(names) {
        let mut tasks = BTreeMap::new();
        for (name, script) in files.json.iter().flat_map(|json| &json.scripts) {
            let Ok(name) = TaskName::new(name) else { continue };
            if script.value.trim().is_empty() {
                continue;
            }
            let definition = script_definition(&name, script);
            let around = Surroundings {
                package: &files.dir,
                template: None,
                is_template: true,
                workspace_environment: &environment,
                shared_environment: &shared_environment,
            };
            let id = TaskId { package: Arc::clone(package), task: name.clone() };
            if let Some(mut task) = Task::resolve(id, &definition, &around, problems) {
                task.path_first = program_directories(&files.dir);
                tasks.insert(name, Arc::new(task));
            }
        }
        result.push(tasks);
    }
    result
}

fn script_definition(name: &TaskName, script: &Located<String>) -> Definition {
    let place: &Place = &script.place;
    let persistent = PERSISTENT_SCRIPTS.contains(&name.as_str());
    // One that never ends is waited for by nobody.
    let upstream = Located { value: Dependency::Upstream(name.clone()), place: place.clone() };
    Definition {
        command: Some(Located { value: CommandLine::Script(script.value.clone()), place: place.clone() }),
        depends_on: (!persistent).then(|| vec![upstream]),
        persistent: Some(persistent),
        ..Definition::empty(place.clone())
    }
}

/// Where a package's scripts find programs: its own `node_modules/.bin` and those of all directories above.
fn program_directories(dir: &RelPath) -> Vec<RelPath> {
    let mut directories = Vec::new();
    let mut at = dir.clone();
    loop {
        directories.push(at.child("node_modules").child(".bin"));
        match at.join("..") {
            Ok(parent) => at = parent,
            Err(_) => return directories,
        }
    }
}
