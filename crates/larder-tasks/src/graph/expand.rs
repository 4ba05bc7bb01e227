//! From what was asked for to everything that must run.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::name::{Dependency, TaskName};
use crate::place::Located;
use crate::problem::{Fault, Problem, Problems};
use crate::task::Task;
use crate::workspace::Workspace;

/// A task by its package's position and its name; the order of these is the order of ties.
pub(super) type Handle = (usize, TaskName);

/// A task of the graph before it is ordered.
pub(super) struct Open {
    pub(super) handle: Handle,
    pub(super) task: Arc<Task>,
    pub(super) needs: BTreeSet<Handle>,
    pub(super) requested: bool,
}

fn task<'w>(workspace: &'w Workspace, handle: &Handle) -> Option<&'w Arc<Task>> {
    workspace.packages()[handle.0].tasks().get(&handle.1)
}

/// All names of tasks, for suggestions.
fn task_names(workspace: &Workspace) -> BTreeSet<&str> {
    workspace.packages().iter().flat_map(|package| package.tasks().keys().map(TaskName::as_str)).collect()
}

fn exists_anywhere(workspace: &Workspace, name: &TaskName) -> bool {
    workspace.packages().iter().any(|package| package.tasks().contains_key(name))
}

/// The tasks that the words of a request mean.
pub(super) fn requested(
    workspace: &Workspace,
    words: &[String],
    chosen: &[bool],
    filtered: bool,
) -> Result<BTreeSet<Handle>, Problems> {
    let mut found = BTreeSet::new();
    let mut problems = Vec::new();
    for word in words {
        match Dependency::parse(word) {
            Ok(Dependency::Of { package, task: name }) => {
                match lookup(workspace, &package, &name) {
                    Ok(handle) => drop(found.insert(handle)),
                    Err(problem) => problems.push(problem),
                }
                continue;
            }
            Ok(Dependency::Same(name)) => {
                let packages = workspace.packages().iter().enumerate();
                let having =
                    packages.filter(|(at, package)| chosen[*at] && package.tasks().contains_key(&name));
                let handles: Vec<Handle> = having.map(|(at, _)| (at, name.clone())).collect();
                let any = !handles.is_empty();
                found.extend(handles);
                if !any {
                    problems.push(not_found(workspace, &name, filtered));
                }
            }
            Ok(Dependency::Upstream(_)) => {
                let rule = "start with '^' on the command line; `--filter` chooses packages";
                problems.push(Problem::nowhere(Fault::Name { what: "task", name: word.clone(), rule }));
            }
            Err(rule) => {
                problems.push(Problem::nowhere(Fault::Name {
                    what: "task",
                    name: word.clone(),
                    rule: rule.0,
                }));
            }
        }
    }
    Problems::check(problems)?;
    Ok(found)
}

fn not_found(workspace: &Workspace, name: &TaskName, filtered: bool) -> Problem {
    if filtered && exists_anywhere(workspace, name) {
        return Problem::nowhere(Fault::NotChosen(name.to_string()));
    }
    let fault = Fault::UnknownTask { task: name.to_string(), package: None };
    let names = task_names(workspace);
    let problem = Problem::nowhere(fault).suggest(name.as_str(), names.iter().copied());
    match problem.hint {
        None if !names.is_empty() => {
            problem.hint(format!("there are: {}", names.into_iter().collect::<Vec<_>>().join(", ")))
        }
        _ => problem,
    }
}

fn lookup(workspace: &Workspace, package: &str, name: &TaskName) -> Result<Handle, Problem> {
    let Some(at) = workspace.package(package) else {
        let problem = Problem::nowhere(Fault::UnknownPackage(package.to_owned()));
        return Err(problem.suggest(package, workspace.packages().iter().map(|package| package.name())));
    };
    let own = workspace.packages()[at].tasks();
    if own.contains_key(name) {
        return Ok((at, name.clone()));
    }
    let fault = Fault::UnknownTask { task: name.to_string(), package: Some(package.to_owned()) };
    Err(Problem::nowhere(fault).suggest(name.as_str(), own.keys().map(TaskName::as_str)))
}

/// Adds to the requested tasks all that they depend on.
pub(super) fn expand(workspace: &Workspace, requested: &BTreeSet<Handle>) -> Result<Vec<Open>, Problems> {
    let mut problems = Vec::new();
    let mut found: HashSet<Handle> = HashSet::new();
    let mut open: Vec<Handle> = requested.iter().cloned().collect();
    let mut nodes = Vec::new();
    while let Some(handle) = open.pop() {
        if !found.insert(handle.clone()) {
            continue;
        }
        let Some(task) = task(workspace, &handle) else { continue };
        let mut needs = BTreeSet::new();
        for dependency in &task.depends_on {
            match resolve(workspace, &handle, task, dependency) {
                Ok(handles) => needs.extend(handles),
                Err(problem) => problems.push(problem),
            }
        }
        open.extend(needs.iter().filter(|need| !found.contains(*need)).cloned());
        let requested = requested.contains(&handle);
        nodes.push(Open { handle, task: Arc::clone(task), needs, requested });
    }
    Problems::check(problems)?;
    nodes.sort_by(|a, b| a.handle.cmp(&b.handle));
    Ok(nodes)
}

/// The tasks that one entry of `depends_on` means, refused where it means one that never ends.
fn resolve(
    workspace: &Workspace,
    handle: &Handle,
    dependent: &Task,
    dependency: &Located<Dependency>,
) -> Result<Vec<Handle>, Problem> {
    let place = &dependency.place;
    let own = &workspace.packages()[handle.0];
    let found = match &dependency.value {
        Dependency::Same(name) if own.tasks().contains_key(name) => vec![(handle.0, name.clone())],
        // A template serves packages of several sorts; what one of them lacks it need not wait for.
        Dependency::Same(name) if dependent.depends_by_template && exists_anywhere(workspace, name) => {
            Vec::new()
        }
        Dependency::Same(name) => {
            let package = (!dependent.depends_by_template).then(|| own.name().to_owned());
            let fault = Fault::UnknownTask { task: name.to_string(), package };
            let names = own.tasks().keys().map(TaskName::as_str).filter(|other| *other != handle.1.as_str());
            return Err(Problem::at(place, fault).suggest(name.as_str(), names));
        }
        Dependency::Upstream(name) if !exists_anywhere(workspace, name) => {
            let fault = Fault::UnknownTask { task: name.to_string(), package: None };
            return Err(Problem::at(place, fault).suggest(name.as_str(), task_names(workspace)));
        }
        Dependency::Upstream(name) => upstream(workspace, handle.0, name),
        Dependency::Of { package, task } => vec![
            lookup(workspace, package, task)
                .map_err(|problem| Problem { place: Some(place.clone()), ..problem })?,
        ],
    };
    for need in &found {
        if let Some(task) = task(workspace, need).filter(|task| task.persistent) {
            let fault =
                Fault::WaitsForever { task: dependent.id.to_string(), persistent: task.id.to_string() };
            return Err(Problem::at(place, fault));
        }
    }
    Ok(found)
}

/// The task in the packages that `package` depends on; one that lacks it stands for those that it depends on.
fn upstream(workspace: &Workspace, package: usize, name: &TaskName) -> Vec<Handle> {
    let packages = workspace.packages();
    let mut seen = vec![false; packages.len()];
    let mut open = packages[package].depends_on().to_vec();
    let mut found = Vec::new();
    while let Some(at) = open.pop() {
        if std::mem::replace(&mut seen[at], true) {
            continue;
        }
        if packages[at].tasks().contains_key(name) {
            found.push((at, name.clone()));
        } else {
            open.extend_from_slice(packages[at].depends_on());
        }
    }
    found
}
