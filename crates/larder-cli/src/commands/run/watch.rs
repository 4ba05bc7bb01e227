//! `larder run --watch`: stays, and runs again what an edit touches.
//!
//! An edit touches the tasks that read what is in the edited file. Run again are those, what depends on them, and what
//! has not succeeded so far. Definitions are read anew when one of them may have changed; then everything is asked for
//! again, and given back where it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use larder::key::Digest;
use larder::source::WatchedFiles;
use larder_tasks::graph::{Graph, Request};
use larder_tasks::job::{InputState, definitions};
use larder_tasks::name::TaskId;
use larder_tasks::path::RelPath;

use super::{Arguments, Session, code};
use crate::arguments::Global;
use crate::console::{Console, NAME, styled};
use crate::failure::{Code, Failure};
use crate::notices::{some_of, watching};
use crate::signals::Signals;
use crate::tasks;

/// How many files, directories and names without either are watched at most.
const MAX_WATCHED: usize = 1 << 16;

/// What is known of the tasks since they were run last.
#[derive(Default)]
struct Known {
    inputs: InputState,
    /// Those that succeeded.
    succeeded: BTreeSet<TaskId>,
    /// The files that define tasks, as far as they are there.
    definitions: BTreeMap<PathBuf, Digest>,
}

pub(super) async fn run(arguments: &Arguments, global: &Global, console: Console) -> Result<Code, Failure> {
    // Before anything is looked at, so that none gets lost between two runs.
    let mut signals = Signals::listen()?;
    let (workspace, _) = tasks::workspace()?;
    let root = workspace.root().to_owned();
    drop(workspace);
    let watched = Arc::new(WatchedFiles::new(&root, MAX_WATCHED));
    let mut notices = watched.notices();
    let mut known = Known::default();
    let mut last = Code::Done;
    let mut is_first = true;
    loop {
        match again(arguments, global, console, &watched, &mut known).await {
            Ok(None) => {}
            Ok(Some(Ended::Interrupted(code))) => return Ok(code),
            Ok(Some(Ended::Ran(code))) => {
                last = code;
                watching(console);
            }
            Err(failure) if is_first => return Err(failure),
            // Whoever edits it next may mend it.
            Err(failure) => {
                let _ = failure.report();
                watching(console);
                last = failure.code();
            }
        }
        is_first = false;
        tokio::select! {
            _ = notices.next() => {}
            _ = signals.next() => return Ok(last),
        }
    }
}

enum Ended {
    Ran(Code),
    /// By a signal.
    Interrupted(Code),
}

/// Runs what has been touched since the last time; `None` if that is nothing.
async fn again(
    arguments: &Arguments,
    global: &Global,
    console: Console,
    watched: &Arc<WatchedFiles>,
    known: &mut Known,
) -> Result<Option<Ended>, Failure> {
    let is_first = known.definitions.is_empty();
    let (workspace, here) = tasks::workspace()?;
    let root = workspace.root().to_owned();
    let paths = definitions(&workspace);
    watched.add(paths.iter().map(PathBuf::as_path));
    let read = |path: &PathBuf| Some((path.clone(), Digest::of(&fs::read(root.join(path)).ok()?)));
    let defined: BTreeMap<_, _> = paths.iter().filter_map(read).collect();
    let is_redefined = defined != known.definitions;
    let request = arguments.request();
    let graph = tasks::graph(&workspace, &request, &here)?;
    let session = Session::open(workspace, &graph, &arguments.uses, arguments.how.jobs, global, console)?;
    let inputs = session.tasks.watch_inputs(&graph, watched).await;
    let touched: BTreeSet<TaskId> = match is_redefined {
        true => graph.nodes().iter().map(|node| node.task().id.clone()).collect(),
        false => inputs.touched_since(&known.inputs).cloned().collect(),
    };
    (known.inputs, known.definitions) = (inputs, defined);
    let Some(graph) = affected(&graph, &touched, &known.succeeded, &session, &here)? else { return Ok(None) };
    if !is_first {
        let what = match is_redefined {
            true => "definitions".to_owned(),
            false => format!("inputs of {}", some_of(touched.iter().map(ToString::to_string))),
        };
        console.note(format_args!("{} {what}", styled(NAME, "changed:")));
    }
    let (summary, signal) = session.attend(&graph, &arguments.how).await?;
    for (node, end) in graph.nodes().iter().zip(&summary.ends) {
        let id = node.task().id.clone();
        match end.is_success() {
            true => known.succeeded.insert(id),
            false => known.succeeded.remove(&id),
        };
    }
    let code = code(&summary, signal);
    Ok(Some(if signal.is_some() { Ended::Interrupted(code) } else { Ended::Ran(code) }))
}

/// The touched tasks of a graph, what depends on them, and those that have not succeeded; `None` if none is touched.
fn affected(
    graph: &Graph,
    touched: &BTreeSet<TaskId>,
    succeeded: &BTreeSet<TaskId>,
    session: &Session,
    here: &RelPath,
) -> Result<Option<Graph>, Failure> {
    if touched.is_empty() {
        return Ok(None);
    }
    let mut is_affected = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        let id = &node.task().id;
        let is_behind = node.needs().iter().any(|&need| is_affected[need]);
        is_affected.push(is_behind || touched.contains(id) || !succeeded.contains(id));
    }
    let nodes = graph.nodes().iter().zip(is_affected).filter(|(_, is_affected)| *is_affected);
    let tasks = nodes.map(|(node, _)| node.task().id.to_string()).collect();
    let request = Request { tasks, filters: Vec::new(), only: true };
    tasks::graph(session.tasks.workspace(), &request, here).map(Some)
}
