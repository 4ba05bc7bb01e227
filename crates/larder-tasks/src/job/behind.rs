//! What tasks have left behind for those that come after them, along a graph.

use std::sync::Arc;

use larder::key::Digest;

use super::Inner;
use super::prepare::Upstream;
use crate::graph::{Graph, Node};
use crate::task::Task;

/// For each node that has begun, what lies upstream of those that come after it.
pub(super) struct Behind(Vec<Arc<Upstream>>);

impl Behind {
    pub(super) fn of(graph: &Graph) -> Self {
        Self(vec![Arc::default(); graph.nodes().len()])
    }

    /// What lies upstream of a node that begins: what is behind all that it needs, which have ended.
    pub(super) fn begins(&mut self, at: usize, node: &Node) -> Arc<Upstream> {
        let mut upstream = Upstream::new();
        for need in node.needs() {
            upstream.extend((*self.0[*need]).clone());
        }
        let upstream = Arc::new(upstream);
        self.0[at] = Arc::clone(&upstream);
        upstream
    }

    /// Adds what the task of a node has left, which stands by the digest of its outputs if that is known.
    pub(super) fn ended(&mut self, inner: &Inner, at: usize, task: &Arc<Task>, outputs: Option<Digest>) {
        if !task.outputs.is_empty() {
            let name = super::stable_name(&inner.workspace, task).into();
            Arc::make_mut(&mut self.0[at]).insert(name, inner.left_behind(task, outputs));
        }
    }
}
