//! Why a task would run, or was given back: its key part by part, against the nearest earlier result.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use larder::clock::Timestamp;
use larder::config::Mode;
use larder::engine::Entry;
use larder::key::{Digest, Key, Selector};
use larder::tier::disk::Order;

use super::perform::input_list;
use super::plan::Planned;
use super::{Inner, Tasks};
use crate::environment::EnvironmentMode;
use crate::event::Unkept;
use crate::graph::Graph;
use crate::kept::{InputList, KeptResult};
use crate::key::{Difference, Part, PartKind, TaskKey, compare};
use crate::process::MARKS;
use crate::task::Task;

/// How many earlier results are looked at, the newest first, and how many more of those that the team has.
const LOOKED_AT: usize = 200;

/// What there is to say of a task.
#[derive(Debug)]
pub struct Why {
    /// Its position in the graph.
    pub task: usize,
    /// What would become of it now.
    pub reason: Reason,
    /// The parts of its key; empty if it has none that is known.
    pub parts: Vec<Part>,
    /// Components that its key leaves out.
    pub left_out: Vec<&'static str>,
    /// Variables that it sees without their being in the key: names as they are set, by pattern.
    pub ambient: Vec<String>,
    /// Whether variables that no rule names are passed too.
    pub is_loose: bool,
    /// Of the earlier results with another key the one with the most parts in common.
    pub nearest: Option<Nearest>,
}

/// What would become of a task.
#[derive(Debug)]
pub enum Reason {
    /// Its result is kept.
    Kept {
        /// When it was made.
        made: Timestamp,
        /// How long that took.
        saves: Duration,
        /// By whom.
        producer: Arc<str>,
    },
    /// No result with its key is kept.
    NotKept,
    /// Results are never kept, or could not be.
    Unkept(Unkept),
    /// This would run first, and may change it.
    After(String),
    /// It has no command.
    Group,
}

/// An earlier result.
#[derive(Debug)]
pub struct Nearest {
    /// When it was made.
    pub made: Timestamp,
    /// By whom.
    pub producer: Arc<str>,
    /// Parts that differ.
    pub differences: Vec<Difference>,
    /// How many parts are the same.
    pub same: usize,
    /// Input files that differ; empty if the inputs are the same or their list is gone.
    pub files: Vec<FileChange>,
}

/// An input that differs from an earlier result's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileChange {
    /// Only there now.
    Added(String),
    /// Only there then.
    Removed(String),
    /// With another content, mode or link text.
    Modified(String),
}

impl Tasks {
    /// Explains each task that was asked for by name.
    pub async fn why(&self, graph: &Graph) -> Vec<Why> {
        let plan = self.plan(graph, Mode::ReadWrite).await;
        let mut all = Vec::new();
        for (at, (node, planned)) in graph.nodes().iter().zip(plan.tasks).enumerate() {
            if !node.is_requested() {
                continue;
            }
            let task = node.task();
            let producer = match &planned.key {
                Some(key) => self.inner.kept_under(key).await.map(|entry| Arc::clone(&entry.record.producer)),
                None => None,
            };
            let reason = match planned.planned {
                Planned::Hit { made, saves } => {
                    Reason::Kept { made, saves, producer: producer.unwrap_or_default() }
                }
                Planned::Miss => Reason::NotKept,
                Planned::Unkept(unkept) => Reason::Unkept(unkept),
                Planned::After(name) => Reason::After(name),
                Planned::Group => Reason::Group,
            };
            let nearest = match &planned.key {
                Some(key) => self.inner.nearest(task, key).await,
                None => None,
            };
            all.push(self.explained(at, task, reason, planned.key.as_ref(), nearest));
        }
        all
    }

    fn explained(
        &self,
        at: usize,
        task: &Task,
        reason: Reason,
        key: Option<&TaskKey>,
        nearest: Option<Nearest>,
    ) -> Why {
        let names = self.inner.environment.iter().filter_map(|(name, _)| name.to_str());
        let ambient =
            names.filter(|name| task.environment.classify(name) == crate::environment::Class::Ambient);
        let all = crate::manifest::Component::WORDS.iter();
        let left_out = all.filter(|(_, component)| match &task.keeping {
            crate::task::Keeping::Keep(rules) => !rules.components.contains(component),
            crate::task::Keeping::Never(_) => false,
        });
        Why {
            task: at,
            reason,
            parts: key.map(|key| key.parts().to_vec()).unwrap_or_default(),
            left_out: left_out.map(|(word, _)| *word).collect(),
            ambient: ambient.chain([MARKS]).map(str::to_owned).collect(),
            is_loose: task.environment.mode() == EnvironmentMode::Loose,
            nearest,
        }
    }
}

/// A result with another key.
struct Candidate {
    /// How many parts the two keys have in common.
    same: usize,
    differences: Vec<Difference>,
    entry: Arc<Entry<KeptResult>>,
    is_afar: bool,
}

impl Inner {
    async fn kept_under(&self, key: &TaskKey) -> Option<Arc<Entry<KeptResult>>> {
        self.kind.get(&self.kind.key_of_digest(key.digest())).await
    }

    /// Of the results of a task with another key, the one with the most parts in common: of several one that is here,
    /// the newest of these.
    async fn nearest(self: &Arc<Self>, task: &Arc<Task>, key: &TaskKey) -> Option<Nearest> {
        let disk = self.disk.clone()?;
        let tag = super::give::tag(&super::stable_name(&self.workspace, task));
        let own_kind = Selector::all().in_scope(self.kind.scope()).of_kind_version(self.kind.name());
        let selector = own_kind.tagged(&tag).ok()?;
        let here = selector.clone();
        let listed = self.blocking(move || disk.list(&here, Order::Created, LOOKED_AT)).await.ok()?;
        let own = self.kind.key_of_digest(key.digest());
        let here: HashSet<Key> = listed.iter().map(|one| one.key.clone()).collect();
        let mut best: Option<Candidate> = None;
        let mut look_at = |entry: Arc<Entry<KeptResult>>, is_afar| {
            let (differences, same) = compare(key.parts(), &entry.parts);
            if best.as_ref().is_none_or(|best| same > best.same) {
                best = Some(Candidate { same, differences, entry, is_afar });
            }
        };
        for one in listed.into_iter().filter(|one| one.key != own) {
            if let Some(entry) = self.kind.get(&one.key).await {
                look_at(entry, false);
            }
        }
        let afar = self.kind.keys_afar(&selector).await;
        for key in afar.iter().filter(|&key| *key != own && !here.contains(key)).take(LOOKED_AT) {
            if let Some(entry) = self.kind.look_afar(key).await {
                look_at(Arc::new(entry), true);
            }
        }
        let Candidate { same, differences, entry, is_afar } = best?;
        let inputs_differ = differences.iter().any(|difference| {
            difference
                .now
                .as_ref()
                .or(difference.then.as_ref())
                .is_some_and(|part| part.kind == PartKind::Inputs)
        });
        let files = match entry.inputs.filter(|_| inputs_differ) {
            Some(list) => {
                if is_afar {
                    self.kind.bring_named(list).await;
                }
                self.changed_files(task, list).await
            }
            None => Vec::new(),
        };
        Some(Nearest {
            made: entry.record.created,
            producer: Arc::clone(&entry.record.producer),
            differences,
            same,
            files,
        })
    }

    async fn changed_files(self: &Arc<Self>, task: &Arc<Task>, list: Digest) -> Vec<FileChange> {
        let (inner, task) = (Arc::clone(self), Arc::clone(task));
        let changed = move || {
            let disk = inner.disk.as_ref()?;
            let then: InputList = postcard::from_bytes(&disk.read_blob(list).ok()??).ok()?;
            let files = inner.inputs.of(&inner.workspace, &task).ok()?;
            let now =
                inner.scan(&files, inner.remembered(&task).inputs.as_ref(), &AtomicBool::new(false)).ok()?;
            Some(file_changes(&input_list(&now.snapshot, inner.umask), &then))
        };
        self.blocking(changed).await.unwrap_or_default()
    }
}

fn file_changes(now: &InputList, then: &InputList) -> Vec<FileChange> {
    let by_path = |list: &InputList| {
        list.0.iter().map(|line| (line.path.clone(), line.digest)).collect::<BTreeMap<Vec<u8>, Digest>>()
    };
    let shown = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let (now, then) = (by_path(now), by_path(then));
    let mut changes = Vec::new();
    for (path, digest) in &now {
        match then.get(path) {
            None => changes.push(FileChange::Added(shown(path))),
            Some(other) if other != digest => changes.push(FileChange::Modified(shown(path))),
            Some(_) => {}
        }
    }
    changes.extend(
        then.keys().filter(|path| !now.contains_key(*path)).map(|path| FileChange::Removed(shown(path))),
    );
    changes
}
