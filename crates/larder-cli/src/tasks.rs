//! The workspace that we are in, and what is said when its definitions are wrong.

use anyhow::anyhow;
use larder_tasks::graph::{Graph, Request};
use larder_tasks::path::RelPath;
use larder_tasks::problem::Problems;
use larder_tasks::workspace::{Workspace, WorkspaceError};

use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// Reads the workspace, and tells where in it we are.
pub(crate) fn workspace() -> Result<(Workspace, RelPath), Failure> {
    let current = Surroundings::look()?.current;
    let workspace = Workspace::load(&current).map_err(|error| match error {
        WorkspaceError::Wrong(problems) => wrong(&problems),
        WorkspaceError::NotFound { .. } => {
            Failure::usage(error).hint("`larder init` writes a larder.toml from what is here")
        }
        WorkspaceError::NotAMember { .. } => Failure::usage(error)
            .hint("add it to `members` in the root's [workspace], or take its larder.toml away"),
        error @ WorkspaceError::Read { .. } => Failure::usage(error),
    })?;
    let here = workspace.relative(&current).unwrap_or_else(RelPath::root);
    Ok((workspace, here))
}

/// Chooses and orders tasks.
pub(crate) fn graph(workspace: &Workspace, request: &Request, here: &RelPath) -> Result<Graph, Failure> {
    let graph = Graph::new(workspace, request, here)
        .map_err(|problems| misread(workspace, &request.tasks).unwrap_or_else(|| wrong(&problems)))?;
    larder_tasks::check::tasks(workspace, graph.nodes().iter().map(|node| &**node.task()))
        .map_err(|problems| wrong(&problems))?;
    Ok(graph)
}

/// What is said of a word that names no task as it would elsewhere.
fn misread(workspace: &Workspace, words: &[String]) -> Option<Failure> {
    let is_task = |word: &str| {
        workspace.tasks().any(|task| task.id.task.as_str() == word || task.id.to_string() == word)
    };
    let word = words.iter().find(|word| !is_task(word))?;
    let unknown = || Failure::usage(anyhow!("there is no task `{word}`"));
    if word.starts_with('-') {
        let error = anyhow!("{word} is no task, and arguments for a task's command are not taken");
        return Some(Failure::usage(error).hint("write them in the `command` of the task"));
    }
    if word.contains(',') {
        let words = word.replace(',', " ");
        return Some(unknown().hint(format!("between tasks is a space: {}", words.trim())));
    }
    let (package, task) = word.split_once(':')?;
    workspace.package(package)?;
    Some(unknown().hint(format!("a task of one package is PACKAGE#TASK: {package}#{task}")))
}

/// All that is wrong, each with its line.
pub(crate) fn wrong(problems: &Problems) -> Failure {
    let all: Vec<_> = problems.iter().collect();
    if let [problem] = all.as_slice()
        && problem.place.is_none()
    {
        let failure = Failure::usage(anyhow!("{problem}"));
        return match &problem.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        };
    }
    let failure = match all.len() {
        1 => Failure::usage(anyhow!("a definition is wrong")),
        many => Failure::usage(anyhow!("definitions are wrong in {many} places")),
    };
    failure.details(problems.render())
}
