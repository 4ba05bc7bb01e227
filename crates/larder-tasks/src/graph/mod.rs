//! The task graph: what was asked for, everything that must come before it, and a fixed order.
//!
//! Invariant: nodes stand in an order in which each comes after all it needs; the order depends on nothing but
//! the workspace and the request. There is no recursion, so a long chain cannot overflow the stack.
//! Not here: what a task writes (`check`), when it starts (the scheduler).

mod expand;
mod filter;
mod order;
mod render;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::path::RelPath;
use crate::problem::Problems;
use crate::task::Task;
use crate::workspace::Workspace;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Task names, or `package#task`.
    pub tasks: Vec<String>,
    /// Which packages a bare task name means: a name with `*`, `./dir` from the current directory or `{dir}` from
    /// the root; `...` before it adds its dependents and after it its dependencies (`^` there leaves out the
    /// package itself); `!` before all takes away. None means all.
    pub filters: Vec<String>,
    /// Whether to leave out what was not asked for.
    pub only: bool,
}

/// A task and its neighbours.
#[derive(Debug)]
pub struct Node {
    task: Arc<Task>,
    needs: Vec<usize>,
    needed_by: Vec<usize>,
    requested: bool,
    omitted: Vec<Arc<Task>>,
}

impl Node {
    /// The task.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// Nodes that come before it, ascending.
    pub fn needs(&self) -> &[usize] {
        &self.needs
    }

    /// Nodes that wait for it, ascending.
    pub fn needed_by(&self) -> &[usize] {
        &self.needed_by
    }

    /// Tasks that it depends on, perhaps through others, and that are left out of the graph.
    pub fn omitted(&self) -> &[Arc<Task>] {
        &self.omitted
    }

    /// Whether it was asked for by name.
    pub fn is_requested(&self) -> bool {
        self.requested
    }
}

/// All tasks of one run.
#[derive(Debug)]
pub struct Graph {
    nodes: Vec<Node>,
}

impl Graph {
    /// Chooses tasks and adds what they depend on. `cwd` is where `./` in a filter starts.
    pub fn new(workspace: &Workspace, request: &Request, cwd: &RelPath) -> Result<Self, Problems> {
        let chosen = filter::choose(workspace, &request.filters, cwd)?;
        let requested = expand::requested(workspace, &request.tasks, &chosen, !request.filters.is_empty())?;
        let expanded = expand::expand(workspace, &requested)?;
        let graph = order::order(workspace, expanded)?;
        Ok(if request.only { graph.only_requested() } else { graph })
    }

    /// The tasks, each after all it needs.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// For each node the time from its start to the end of the longest chain that waits for it, when a task takes
    /// as long as `cost` says: the node with the most should start first.
    pub fn priorities(&self, cost: impl Fn(&Task) -> Duration) -> Vec<Duration> {
        let mut priorities = vec![Duration::ZERO; self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate().rev() {
            let after = node.needed_by.iter().map(|waiting| priorities[*waiting]).max().unwrap_or_default();
            priorities[at] = after.saturating_add(cost(&node.task));
        }
        priorities
    }

    /// Drops what was not asked for; what waited for it through others still waits.
    fn only_requested(self) -> Self {
        // For each node, those of the requested ones that come before it without another one between, and all
        // that come before it without being requested.
        let mut before: Vec<Vec<usize>> = Vec::with_capacity(self.nodes.len());
        let mut left_out: Vec<BTreeSet<usize>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let mut needs: Vec<usize> = Vec::new();
            let mut omitted = BTreeSet::new();
            for need in &node.needs {
                omitted.extend(&left_out[*need]);
                if self.nodes[*need].requested {
                    needs.push(*need);
                } else {
                    omitted.insert(*need);
                    needs.extend_from_slice(&before[*need]);
                }
            }
            needs.sort_unstable();
            needs.dedup();
            before.push(needs);
            left_out.push(omitted);
        }
        let mut place = vec![None; self.nodes.len()];
        for (kept, (at, _)) in self.nodes.iter().enumerate().filter(|(_, node)| node.requested).enumerate() {
            place[at] = Some(kept);
        }
        let omitted = left_out.into_iter().map(|left_out| {
            left_out.into_iter().map(|at| Arc::clone(&self.nodes[at].task)).collect::<Vec<_>>()
        });
        let omitted: Vec<Vec<Arc<Task>>> = omitted.collect();
        let nodes = self.nodes.into_iter().zip(before.into_iter().zip(omitted));
        let nodes = nodes.filter(|(node, _)| node.requested).map(|(node, (needs, omitted))| Node {
            needs: needs.into_iter().filter_map(|need| place[need]).collect(),
            needed_by: Vec::new(),
            omitted,
            ..node
        });
        Self::linked(nodes.collect())
    }

    /// Fills in who waits for whom.
    fn linked(mut nodes: Vec<Node>) -> Self {
        for at in 0..nodes.len() {
            for need in nodes[at].needs.clone() {
                nodes[need].needed_by.push(at);
            }
        }
        Self { nodes }
    }
}
