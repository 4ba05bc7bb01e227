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
    let graph = Graph::new(workspace, request, here).map_err(|problems| wrong(&problems))?;
    larder_tasks::check::tasks(workspace, graph.nodes().iter().map(|node| &**node.task()))
        .map_err(|problems| wrong(&problems))?;
    Ok(graph)
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
