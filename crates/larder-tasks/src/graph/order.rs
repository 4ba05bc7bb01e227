//! A fixed order for an expanded graph, or the circle that forbids one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::expand::{Handle, Open};
use super::{Graph, Node};
use crate::problem::{Fault, Problem, Problems};
use crate::workspace::Workspace;

/// Orders tasks so that each comes after all it needs; among those that could come next, the first by package
/// and name comes.
pub(super) fn order(workspace: &Workspace, open: Vec<Open>) -> Result<Graph, Problems> {
    let rank: HashMap<&Handle, usize> =
        open.iter().enumerate().map(|(at, node)| (&node.handle, at)).collect();
    let needs: Vec<Vec<usize>> = open
        .iter()
        .map(|node| node.needs.iter().filter_map(|need| rank.get(need).copied()).collect())
        .collect();
    let mut needed_by = vec![Vec::new(); open.len()];
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    for (at, needs) in needs.iter().enumerate() {
        needs.iter().for_each(|need| needed_by[*need].push(at));
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..open.len()).filter(|at| missing[*at] == 0).map(Reverse).collect();
    let mut position = vec![None; open.len()];
    let mut ordered = Vec::with_capacity(open.len());
    while let Some(Reverse(at)) = ready.pop() {
        position[at] = Some(ordered.len());
        ordered.push(at);
        for waiting in &needed_by[at] {
            missing[*waiting] -= 1;
            if missing[*waiting] == 0 {
                ready.push(Reverse(*waiting));
            }
        }
    }
    if ordered.len() < open.len() {
        return Err(circle(workspace, &open, &needs, &position).into());
    }
    let nodes = ordered.into_iter().map(|at| {
        let mut before: Vec<usize> = needs[at].iter().filter_map(|need| position[*need]).collect();
        before.sort_unstable();
        Node {
            task: open[at].task.clone(),
            needs: before,
            needed_by: Vec::new(),
            requested: open[at].requested,
            omitted: Vec::new(),
        }
    });
    Ok(Graph::linked(nodes.collect()))
}

/// Names a circle in full. Every task that could not be ordered needs another such one, so following needs comes
/// back to where it has been.
fn circle(workspace: &Workspace, open: &[Open], needs: &[Vec<usize>], position: &[Option<usize>]) -> Problem {
    let stuck = |at: &usize| position[*at].is_none();
    let mut at = (0..open.len()).find(stuck).unwrap_or_default();
    let mut path: Vec<usize> = Vec::new();
    let mut step = vec![None; open.len()];
    while step[at].is_none() {
        step[at] = Some(path.len());
        path.push(at);
        at = needs[at].iter().copied().find(stuck).unwrap_or(at);
    }
    let mut circle = path.split_off(step[at].unwrap_or_default());
    // The same circle is told from the same task on, however it was come upon.
    let first = (0..circle.len()).min_by_key(|n| circle[*n]).unwrap_or_default();
    circle.rotate_left(first);
    let task = &open[circle[0]].task;
    let next = &open[circle[1 % circle.len()]].handle;
    let cause = task.depends_on.iter().find(|dependency| match &dependency.value {
        crate::name::Dependency::Same(name) => next.0 == open[circle[0]].handle.0 && *name == next.1,
        crate::name::Dependency::Upstream(name) => *name == next.1,
        crate::name::Dependency::Of { package, task } => {
            workspace.package(package) == Some(next.0) && *task == next.1
        }
    });
    let names = circle.iter().chain(&circle[..1]).map(|at| open[*at].task.id.to_string()).collect();
    Problem::at(cause.map_or(&task.place, |cause| &cause.place), Fault::Cycle(names))
}
