//! Who waits for whom among computations, so that waiting in a circle is an error and not a deadlock.
//!
//! Invariant: the graph of waits has no cycle. A wait that would close one is refused with its path.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::flight::Flight;
use crate::key::Key;

tokio::task_local! {
    /// The flight whose computation the current task runs.
    static CURRENT: Arc<Flight>;
}

/// Runs `computation` as that of `flight`, so that what it asks for counts as waited for by the flight. Tasks
/// that it spawns do not inherit this.
pub(super) async fn computing<F: Future>(flight: Arc<Flight>, computation: F) -> F::Output {
    CURRENT.scope(flight, computation).await
}

/// The flight whose computation the current task runs.
pub(super) fn current() -> Option<Arc<Flight>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// The graph of waits of one engine and its sessions.
#[derive(Debug, Default)]
pub(super) struct Waits(Mutex<HashMap<usize, Node>>);

#[derive(Debug)]
struct Node {
    key: Key,
    /// The flights that it waits for; one may stand here twice when it is asked twice at once.
    edges: Vec<Edge>,
}

#[derive(Debug)]
struct Edge {
    to: usize,
    /// Told to end the wait, if it is one that can be given up.
    give_up: Option<Arc<Notify>>,
}

/// A wait that is entered in the graph until this is dropped. It holds both flights, so that no other gets the id
/// of one meanwhile.
#[derive(Debug)]
pub(super) struct Wait {
    waits: Arc<Waits>,
    from: Arc<Flight>,
    to: Arc<Flight>,
}

impl Waits {
    /// Enters that the current computation, if there is one, waits for `flight`. Returns the keys of the circle
    /// that this would close, beginning and ending with the key that was asked for. Where a wait in the circle can
    /// be given up, it is, and there is no circle.
    pub(super) fn enter(self: &Arc<Self>, flight: &Arc<Flight>) -> Result<Option<Wait>, Vec<Key>> {
        let Ok(current) = CURRENT.try_with(Arc::clone) else { return Ok(None) };
        let mut nodes = self.0.lock();
        while let Some(path) = path(&nodes, flight.id(), current.id()) {
            match path.windows(2).find_map(|edge| remove_if_given_up(&mut nodes, edge[0], edge[1])) {
                Some(give_up) => give_up.notify_one(),
                None => return Err(keys(&nodes, &path, flight, &current)),
            }
        }
        Ok(Some(self.add(&mut nodes, current, flight, None)))
    }

    /// Enters a wait that the current computation can do without. `None`, and nothing is entered, if it would close
    /// a circle; if another wait would later, the returned handle tells so.
    pub(super) fn enter_until_circle(self: &Arc<Self>, flight: &Arc<Flight>) -> Option<(Wait, Arc<Notify>)> {
        let current = CURRENT.try_with(Arc::clone).ok()?;
        let mut nodes = self.0.lock();
        if path(&nodes, flight.id(), current.id()).is_some() {
            return None;
        }
        let give_up = Arc::new(Notify::new());
        Some((self.add(&mut nodes, current, flight, Some(Arc::clone(&give_up))), give_up))
    }

    fn add(
        self: &Arc<Self>,
        nodes: &mut HashMap<usize, Node>,
        from: Arc<Flight>,
        to: &Arc<Flight>,
        give_up: Option<Arc<Notify>>,
    ) -> Wait {
        let node = nodes.entry(from.id());
        let node = node.or_insert_with(|| Node { key: from.key().clone(), edges: Vec::new() });
        node.edges.push(Edge { to: to.id(), give_up });
        Wait { waits: Arc::clone(self), from, to: Arc::clone(to) }
    }
}

/// The way along waits from `start` to `goal`.
fn path(nodes: &HashMap<usize, Node>, start: usize, goal: usize) -> Option<Vec<usize>> {
    let mut came_from: HashMap<usize, usize> = HashMap::new();
    let mut open = vec![start];
    while let Some(at) = open.pop() {
        if at == goal {
            let mut path = vec![at];
            while let Some(&before) = came_from.get(path.last().unwrap_or(&at)) {
                path.push(before);
            }
            path.reverse();
            return Some(path);
        }
        for edge in nodes.get(&at).map_or(&[][..], |node| &node.edges) {
            if edge.to != start && !came_from.contains_key(&edge.to) {
                came_from.insert(edge.to, at);
                open.push(edge.to);
            }
        }
    }
    None
}

/// The keys along a path, and back to its start.
fn keys(nodes: &HashMap<usize, Node>, path: &[usize], start: &Arc<Flight>, goal: &Arc<Flight>) -> Vec<Key> {
    let key_of = |&id: &usize| match [start, goal].into_iter().find(|flight| flight.id() == id) {
        Some(flight) => Some(flight.key().clone()),
        None => nodes.get(&id).map(|node| node.key.clone()),
    };
    path.iter().filter_map(key_of).chain([start.key().clone()]).collect()
}

/// Takes an edge out of the graph if its wait can be given up.
fn remove_if_given_up(nodes: &mut HashMap<usize, Node>, from: usize, to: usize) -> Option<Arc<Notify>> {
    let edges = &mut nodes.get_mut(&from)?.edges;
    let at = edges.iter().position(|edge| edge.to == to && edge.give_up.is_some())?;
    edges.swap_remove(at).give_up
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut nodes = self.waits.0.lock();
        if let Some(node) = nodes.get_mut(&self.from.id()) {
            if let Some(at) = node.edges.iter().position(|edge| edge.to == self.to.id()) {
                node.edges.swap_remove(at);
            }
            if node.edges.is_empty() {
                nodes.remove(&self.from.id());
            }
        }
    }
}
