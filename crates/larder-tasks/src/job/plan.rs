//! What a run would do: the same way, without running anything or touching an output.

use std::sync::Arc;
use std::time::Duration;

use larder::clock::Timestamp;
use larder::config::Mode;
use larder::key::Digest;

use super::behind::Behind;
use super::look::Ahead;
use super::prepare::{Prepared, Upstream};
use super::{Stopping, Tasks};
use crate::event::{Note, Unkept};
use crate::graph::Graph;
use crate::key::TaskKey;

/// What would become of a task.
#[derive(Debug)]
pub enum Planned {
    /// Its result is kept, and would be given back.
    Hit {
        /// When it was made.
        made: Timestamp,
        /// How long that took.
        saves: Duration,
    },
    /// It would run, and its result be kept.
    Miss,
    /// It would run, and its result not be kept.
    Unkept(Unkept),
    /// What it depends on would run first, so its key is not known.
    After(String),
    /// It has no command.
    Group,
}

/// What would become of all tasks of a graph.
#[derive(Debug)]
pub struct Plan {
    /// For each node.
    pub tasks: Vec<PlannedTask>,
}

/// What would become of a task, and by which key.
#[derive(Debug)]
pub struct PlannedTask {
    /// What would become of it.
    pub planned: Planned,
    /// Its key, where it has one that is known.
    pub key: Option<TaskKey>,
    /// What its user should know.
    pub notes: Vec<Note>,
}

impl Tasks {
    /// Finds out what a run would do.
    pub async fn plan(&self, graph: &Graph, mode: Mode) -> Plan {
        let mut tasks = Vec::with_capacity(graph.nodes().len());
        let never = Stopping::default();
        self.inner.look_at_programs(graph.nodes().iter().map(|node| &**node.task()), &never).await;
        let mut behind = Behind::of(graph);
        let ahead = self.inner.look_ahead(graph, Arc::clone(&never));
        for (at, node) in graph.nodes().iter().enumerate() {
            let upstream = behind.begins(at, node);
            let all = self.inner.with_omitted(&upstream, node.omitted(), &never).await;
            let (planned, outputs) = self.planned(at, node.task(), &all, mode, &ahead).await;
            behind.ended(&self.inner, at, node.task(), outputs);
            tasks.push(planned);
        }
        Plan { tasks }
    }

    async fn planned(
        &self,
        at: usize,
        task: &Arc<crate::task::Task>,
        upstream: &Arc<Upstream>,
        mode: Mode,
        ahead: &Ahead,
    ) -> (PlannedTask, Option<Digest>) {
        let plain = |planned| PlannedTask { planned, key: None, notes: Vec::new() };
        if task.command.is_none() {
            return (plain(Planned::Group), None);
        }
        let look = self.inner.look_now(at, task, ahead).await;
        let Prepared { keyed, notes, .. } = self.inner.prepare(task, upstream, look).await;
        let keyed = match keyed {
            Ok(keyed) => keyed,
            Err(Unkept::Upstream(name)) => {
                return (PlannedTask { notes, ..plain(Planned::After(name)) }, None);
            }
            Err(unkept) => return (PlannedTask { notes, ..plain(Planned::Unkept(unkept)) }, None),
        };
        let reads = mode.reads() && keyed.rules.mode.reads();
        let entry = if reads { self.inner.kind.get(&keyed.engine_key).await } else { None };
        let planned = match &entry {
            Some(entry) => Planned::Hit { made: entry.record.created, saves: entry.record.cost },
            None if mode.writes() && keyed.rules.mode.writes() => Planned::Miss,
            None => Planned::Unkept(Unkept::SwitchedOff),
        };
        let outputs = entry.map(|entry| entry.outputs_digest);
        (PlannedTask { planned, key: Some(keyed.key), notes }, outputs)
    }
}
