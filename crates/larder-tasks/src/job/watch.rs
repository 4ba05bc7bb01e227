//! Watching: which tasks of a graph an edit touches.
//!
//! Watched are the files that tasks read, the directories in which others may come, and the files that define tasks. What
//! is watched only says when to look; whether a task is touched is told by its inputs, so that a file which is written
//! and stays the same touches none.
//! Not here: running what is touched.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use larder::key::Digest;
use larder::source::WatchedFiles;

use super::Tasks;
use super::prepare::said;
use crate::graph::Graph;
use crate::name::TaskId;
use crate::task::Task;
use crate::workspace::Workspace;

/// How often it is looked at most for directories that came while others were looked at.
const MAX_LOOKS: usize = 4;

/// How the inputs of the tasks of a graph looked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputState(BTreeMap<TaskId, Result<Digest, String>>);

impl InputState {
    /// Which tasks read something else than they did `before`, or were not there.
    pub fn touched_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a TaskId> {
        self.0.iter().filter(|(id, now)| before.0.get(id) != Some(now)).map(|(id, _)| id)
    }
}

impl Tasks {
    /// Looks at the inputs of all tasks of a graph that have a command. All of them are watched before the last look at
    /// them begins.
    pub async fn watch_inputs(&self, graph: &Graph, watched: &Arc<WatchedFiles>) -> InputState {
        let tasks = graph.nodes().iter().map(|node| Arc::clone(node.task()));
        let tasks: Vec<Arc<Task>> = tasks.filter(|task| task.command.is_some()).collect();
        let (inner, watched) = (Arc::clone(&self.inner), Arc::clone(watched));
        let look = move || {
            let mut seen = vec![None; tasks.len()];
            let mut state = BTreeMap::new();
            let never = AtomicBool::new(false);
            for _ in 0..MAX_LOOKS {
                let mut is_new = false;
                for (task, seen) in tasks.iter().zip(&mut seen) {
                    let known = seen.take().or_else(|| inner.remembered(task).inputs);
                    let files = inner.inputs.of(&inner.workspace, task);
                    let scan = files.and_then(|files| inner.scan(&files, known.as_ref(), &never));
                    let looks = scan.map(|scan| {
                        is_new |= watched.add_scanned(&scan) > 0;
                        *seen = Some(Arc::clone(&scan.snapshot));
                        scan.fingerprint()
                    });
                    state.insert(task.id.clone(), looks.map_err(|error| said(&error)));
                }
                if !is_new {
                    break;
                }
            }
            InputState(state)
        };
        self.inner.blocking(look).await
    }
}

/// The files that define what a workspace has, there or not, and the directories in which packages may come. Relative to
/// the root.
pub fn definitions(workspace: &Workspace) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for package in workspace.packages() {
        let directory = Path::new(package.dir().as_str());
        paths.extend(directory.parent().map(Path::to_owned));
        paths.extend(["larder.toml", "package.json", "Cargo.toml"].map(|file| directory.join(file)));
    }
    paths
}
