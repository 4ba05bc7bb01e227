//! Looking at a task's files: its inputs, and what lies where its outputs go.
//!
//! While nothing has been run or restored yet, the files of all tasks are looked at ahead of their turns, one task
//! after the other on each processor: when everything is kept, that is nearly all there is to do.
//!
//! Invariant: a look decides nothing once it is older than [`FRESH`], a command has begun to run since the run began,
//! or outputs have been put back that may lie among the files; then it only spares reading.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use larder::clock::Instant;
use larder::config::processors;
use larder::source::{Entry, EntryKind, FileSet, Scan, Snapshot};
use larder::tier::Brief;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::prepare::said;
use super::{Inner, Stopping};
use crate::event::Unkept;
use crate::graph::Graph;
use crate::outputs::Outputs;
use crate::path::{Pattern, RelPath};
use crate::place::Located;
use crate::task::{Inputs, Keeping, Task};

/// How long a look may decide whether a result is given back.
pub(super) const FRESH: Duration = Duration::from_millis(200);

/// How long a look that was taken ahead may wait to be told along with others, and how many may.
const TELLING: Duration = Duration::from_millis(1);
const TOLD_AT_ONCE: usize = 16;

/// How a task's files look.
pub(super) struct Look {
    /// When the look began.
    pub(super) at: Instant,
    /// `None` for a task whose results are never kept.
    pub(super) inputs: Option<Result<(FileSet, Scan), Unkept>>,
    /// `None` for a task without outputs.
    pub(super) outputs: Option<Result<SeenOutputs, Unkept>>,
    /// What has ended it early once it is set.
    pub(super) stopping: Stopping,
}

/// How the place of a task's outputs looks.
pub(super) struct SeenOutputs {
    pub(super) set: Outputs,
    /// `None` where it is not needed: a task that is never kept just runs.
    pub(super) scan: Option<Scan>,
}

impl Look {
    fn inputs_snapshot(&self) -> Option<Arc<Snapshot>> {
        let (_, scan) = self.inputs.as_ref()?.as_ref().ok()?;
        Some(Arc::clone(&scan.snapshot))
    }

    /// Whether a link was followed to what was seen, so that it may lie elsewhere than it seems.
    fn goes_through_links(&self) -> bool {
        let is_link = |entry: Entry<'_>| matches!(entry.kind, EntryKind::Link { .. });
        self.inputs_snapshot().is_some_and(|inputs| inputs.entries().any(is_link))
    }

    fn outputs_snapshot(&self) -> Option<Arc<Snapshot>> {
        let seen = self.outputs.as_ref()?.as_ref().ok()?;
        Some(Arc::clone(&seen.scan.as_ref()?.snapshot))
    }
}

/// Looks taken ahead, one for each node of a graph.
pub(super) struct Ahead {
    taken: Vec<Mutex<Option<oneshot::Receiver<Look>>>>,
    over: Arc<AtomicBool>,
    /// Where outputs have been put back, or are about to be.
    moved: Mutex<BTreeSet<RelPath>>,
    /// Ends looks that have begun.
    stopping: Stopping,
}

impl Ahead {
    /// Tells that outputs of a task are about to be put back.
    pub(super) fn moves(&self, task: &Task) {
        self.moved.lock().extend(bases(&task.outputs).cloned());
    }

    /// Whether what was put back since may be among a task's files, which looked like this.
    fn has_moved(&self, task: &Task, look: &Look) -> bool {
        let moved = self.moved.lock();
        let inputs: &[Located<Pattern>] = match &task.inputs {
            Inputs::Declared(declared) => declared,
            Inputs::Package | Inputs::Undeclared => &[],
        };
        let package = matches!(task.inputs, Inputs::Package).then_some(&task.package);
        let patterns = [inputs, &task.extra_inputs, &task.outputs].into_iter().flat_map(bases);
        !moved.is_empty()
            && (look.goes_through_links()
                || patterns.chain(package).any(|base| meets(&moved, base))
                || package.is_some_and(|package| rules_of(package).any(|rules| meets(&moved, &rules))))
    }

    /// Ends looking ahead, and what has been seen so: something moves.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// The look that was taken for a node, however old, and whether nothing has moved since.
    async fn take(&self, at: usize) -> Option<(Look, bool)> {
        let receiver = self.taken.get(at)?.lock().take()?;
        let look = receiver.await.ok()?;
        Some((look, !self.over.load(Ordering::Relaxed)))
    }

    /// No looks.
    pub(super) fn none(stopping: Stopping) -> Self {
        Self { taken: Vec::new(), over: Arc::new(AtomicBool::new(true)), moved: Mutex::default(), stopping }
    }
}

/// Where what patterns select lies, or begins to.
fn bases(patterns: &[Located<Pattern>]) -> impl Iterator<Item = &RelPath> {
    patterns.iter().map(|pattern| &pattern.value).filter(|one| !one.is_negated()).map(Pattern::base)
}

/// Where there may be rules of git's that decide which files of a package count.
fn rules_of(package: &RelPath) -> impl Iterator<Item = RelPath> {
    let below = package.segments().scan(RelPath::root(), |path, name| {
        *path = path.child(name);
        Some(path.clone())
    });
    std::iter::once(RelPath::root())
        .chain(below)
        .flat_map(|directory| [".gitignore", ".git"].map(|name| directory.child(name)))
}

/// Whether one of `paths` is `base`, lies in it, or has it inside.
fn meets(paths: &BTreeSet<RelPath>, base: &RelPath) -> bool {
    let text = base.as_str();
    let mut above = std::iter::successors(Some(text), |path| match path.rsplit_once('/') {
        Some((parent, _)) => Some(parent),
        None => (!path.is_empty()).then_some(""),
    });
    above.any(|above| paths.contains(above))
        || paths
            .range::<RelPath, _>(base..)
            .take_while(|path| path.as_str().starts_with(text))
            .any(|path| path.is_in(base))
}

/// Looks of one thread that are about to be told. Several at once, as whoever hears of them is woken each time.
struct Told {
    looks: Vec<(oneshot::Sender<Look>, Look)>,
    since: Instant,
}

impl Told {
    /// Tells what has waited for long enough.
    fn soon(&mut self, now: Instant) {
        if now.since(self.since) >= TELLING || self.looks.len() >= TOLD_AT_ONCE {
            self.tell();
            self.since = now;
        }
    }

    fn tell(&mut self) {
        for (sender, look) in self.looks.drain(..) {
            // Whoever ended early does not hear it.
            let _ = sender.send(look);
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.tell();
    }
}

impl Inner {
    /// Begins to look at the files of all tasks of a graph, until `stopping` is set; has looked, where that is done in place.
    pub(super) fn look_ahead(self: &Arc<Self>, graph: &Graph, stopping: Stopping) -> Ahead {
        self.inputs.forget(self.clock.wall());
        let over = Arc::new(AtomicBool::new(false));
        let tasks: Arc<Vec<Arc<Task>>> =
            Arc::new(graph.nodes().iter().map(|node| Arc::clone(node.task())).collect());
        let (senders, receivers): (Vec<_>, Vec<_>) = tasks.iter().map(|_| oneshot::channel()).unzip();
        let senders: Arc<Vec<_>> =
            Arc::new(senders.into_iter().map(|sender| Mutex::new(Some(sender))).collect());
        let next = Arc::new(AtomicUsize::new(0));
        // A few large sets are looked at by several threads each, many small ones by one each.
        let (workers, threads) = match tasks.len() {
            alone @ (0 | 1) => (alone, None),
            many => {
                let workers = processors().get().min(many);
                (workers, NonZeroUsize::new(processors().get() / workers))
            }
        };
        let mut commands = tasks.iter().filter(|task| task.command.is_some());
        let in_place = commands.all(|task| self.brief_for(task) == Brief::InPlace);
        for _ in 0..workers {
            let (inner, tasks, senders) = (Arc::clone(self), Arc::clone(&tasks), Arc::clone(&senders));
            let (next, over, stopping) = (Arc::clone(&next), Arc::clone(&over), Arc::clone(&stopping));
            // What is not looked at is told by the senders' going.
            let look = move || {
                let mut told = Told { looks: Vec::new(), since: inner.clock.now() };
                while !over.load(Ordering::Relaxed) && !stopping.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(task) = tasks.get(at) else { break };
                    let sender = senders[at].lock().take();
                    if let Some(sender) = sender.filter(|_| task.command.is_some()) {
                        told.looks.push((sender, inner.look(task, None, threads, &stopping)));
                        told.soon(inner.clock.now());
                    }
                }
            };
            if in_place {
                look();
            } else {
                drop(tokio::task::spawn_blocking(look));
            }
        }
        let taken = receivers.into_iter().map(|receiver| Mutex::new(Some(receiver))).collect();
        Ahead { taken, over, moved: Mutex::default(), stopping }
    }

    /// A look at a task's files that may decide: the one that was taken ahead, or a new one.
    pub(super) async fn look_now(self: &Arc<Self>, at: usize, task: &Arc<Task>, ahead: &Ahead) -> Look {
        let taken = ahead.take(at).await;
        let hint = match taken {
            Some((look, true)) if self.is_fresh(look.at) && !ahead.has_moved(task, &look) => return look,
            Some((look, _)) => Some(look),
            None => None,
        };
        let brief = self.brief_for(task);
        let (inner, task, stopping) = (Arc::clone(self), Arc::clone(task), Arc::clone(&ahead.stopping));
        self.at(brief, move || inner.look(&task, hint.as_ref(), None, &stopping)).await
    }

    pub(super) fn is_fresh(&self, at: Instant) -> bool {
        self.clock.now().since(at) <= FRESH
    }

    /// Looks at a task's files. Blocks.
    fn look(
        &self,
        task: &Arc<Task>,
        hint: Option<&Look>,
        threads: Option<NonZeroUsize>,
        stopping: &Stopping,
    ) -> Look {
        let at = self.clock.now();
        let is_kept = matches!(task.keeping, Keeping::Keep(_));
        let memory = self.remembered(task);
        let inputs = is_kept.then(|| {
            let known = hint.and_then(Look::inputs_snapshot).or(memory.inputs);
            let files =
                self.inputs.of(&self.workspace, task).map_err(|error| Unkept::Inputs(said(&error)))?;
            let scan = self.scan_with(&files, known.as_ref(), threads, stopping);
            scan.map(|scan| (files, scan)).map_err(|error| Unkept::Inputs(said(&error)))
        });
        let outputs = (!task.outputs.is_empty()).then(|| {
            let unkept = |error| Unkept::Outputs(said(&error));
            let set = self.outputs_of(task).map_err(unkept)?;
            if !is_kept {
                return Ok(SeenOutputs { set, scan: None });
            }
            let known = hint.and_then(Look::outputs_snapshot).or(memory.outputs.snapshot);
            // What cannot be looked at is in the way of giving anything back; the command may clear it away.
            let scan = self.scan_with(&set.files, known.as_ref(), threads, stopping).ok();
            Ok(SeenOutputs { set, scan })
        });
        Look { at, inputs, outputs, stopping: Arc::clone(stopping) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_meets_what_it_is_what_it_lies_in_and_what_lies_in_it() {
        let path = |text: &str| RelPath::root().join(text).unwrap();
        let moved: BTreeSet<RelPath> = ["a/dist", "a-b", "c"].map(path).into();
        for met in ["", "a", "a/dist", "a/dist/x/y", "a-b/x", "c"] {
            assert!(meets(&moved, &path(met)), "{met}");
        }
        for other in ["a/src", "a/dis", "a/dist-2", "a-", "b", "c-d"] {
            assert!(!meets(&moved, &path(other)), "{other}");
        }
    }
}
