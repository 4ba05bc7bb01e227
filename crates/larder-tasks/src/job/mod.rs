//! The task job: tasks of a graph, each given back if its result is kept and run if not. One file for each phase.
//!
//! The way of a task: `look` sees its files, `prepare` adds tools and environment and makes its key; `give` asks
//! the engine, which has the result or has `perform` run the command, and puts the outputs back where they are not
//! right already. `schedule` does that for all tasks of a graph, in order and at once as far as may be.
//! `plan` goes the same way without running anything.
//!
//! Invariants:
//! - a result is kept only under the inputs that were there before and are still there after the run;
//! - of one task in one clone only one command runs at a time, also across processes;
//! - what the cache does never fails a task: its command runs then.
//!
//! Not here: printing, and where the engine comes from (the command line).

mod audit;
mod behind;
mod beside;
mod give;
mod hands;
mod identify;
mod look;
mod marker;
mod perform;
mod plan;
mod prepare;
mod remember;
mod schedule;
mod watch;
mod why;

use std::collections::HashMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use larder::clock::Clock;
use larder::config::Mode;
use larder::engine::{Exclusion, Kind, KindOptions, Larder, Reach, Write};
use larder::key::{Digest, Key, KeyError, Scope};
use larder::source::{Snapshot, SourceError, process_umask};
use larder::tier::disk::{Disk, Lease};
use larder::tier::{Brief, TierError};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use hands::Hands;
pub use plan::{Plan, Planned};
pub use watch::{InputState, definitions};
pub use why::{FileChange, Nearest, Reason, Why};

use crate::checkout::{Checkout, Memory};
use crate::inputs::InputRules;
use crate::kept::KeptResult;
use crate::key::VERSION;
use crate::outputs::Outputs;
use crate::workspace::Workspace;

/// How a run goes.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// How many commands may run at once; `None` is as many as there are processors.
    pub jobs: Option<NonZeroUsize>,
    /// What of the cache is used: [`Mode::Write`] runs everything anew and keeps it.
    pub mode: Mode,
    /// Whether tasks that do not depend on a failed one still run.
    pub keep_going: bool,
    /// How long a command may take to end after it was asked to.
    pub grace: Duration,
    /// Which hits are run again afterwards, to see whether they come out the same.
    pub audit: Option<AuditSample>,
    /// Whether all that lies among the outputs of a task goes before its command starts, whoever made it.
    pub clean: bool,
}

/// A sample of hits.
#[derive(Debug, Clone, Copy)]
pub struct AuditSample {
    /// Of a hundred hits, how many.
    pub percent: u8,
    /// Which ones: another number samples others.
    pub seed: u64,
}

impl RunOptions {
    /// As many commands as there are processors, both ways through the cache, an end at the first failure.
    pub fn new() -> Self {
        Self {
            jobs: None,
            mode: Mode::ReadWrite,
            keep_going: false,
            grace: Duration::from_secs(5),
            audit: None,
            clean: false,
        }
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The right to run a task in this clone, or to put its outputs back.
struct Alone {
    /// `None` where it cannot be had, so that it is nobody's.
    _lease: Option<Lease>,
    /// Whether somebody had it before, so that what was remembered may be out of date.
    waited: bool,
}

/// Set once a run is stopped: what is just looked at, kept or put back for it ends then.
type Stopping = Arc<AtomicBool>;

/// How many files, and bytes in them, are few.
const FEW: (usize, u64) = (256, 4 << 20);

/// The first wait between two looks at a lease that another holds, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// The tasks of a workspace, and the engine that keeps what they make. A clone is another handle.
#[derive(Clone)]
pub struct Tasks {
    inner: Arc<Inner>,
}

struct Inner {
    workspace: Arc<Workspace>,
    disk: Option<Disk>,
    kind: Kind<KeptResult>,
    clock: Clock,
    /// Where brief waits for the file system are done.
    brief: Brief,
    /// The variables of this process.
    environment: Vec<(OsString, OsString)>,
    umask: u32,
    inputs: InputRules,
    checkout: Checkout,
    remembered: Mutex<HashMap<String, Memory>>,
    unwritten: remember::Unwritten,
    programs: identify::Programs,
    hands: Hands,
}

impl Tasks {
    /// Joins a workspace with an engine and its disk tier. `environment` are the variables of this process.
    ///
    /// Reads what is remembered of this clone, so it blocks for a moment.
    pub fn new(
        workspace: Arc<Workspace>,
        larder: &Larder,
        disk: Option<Disk>,
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, KeyError> {
        // A task's key is the same in two clones on two machines, and its result names nothing of either.
        let options = KindOptions {
            write: Write::Through,
            exclusion: Exclusion::Team,
            reach: Reach::Team,
            ..KindOptions::default()
        };
        let kind = larder.kind(&scope(&workspace)?, "task", VERSION, options)?;
        let clock = larder.clock().clone();
        let umask = process_umask();
        let checkout = Checkout::new(workspace.root(), disk.clone());
        let remembered = checkout.recall(clock.wall());
        let inner = Inner {
            inputs: InputRules::new(umask, workspace.root(), disk.as_ref().map(Disk::directory)),
            programs: identify::Programs::new(remembered.get(identify::REMEMBERED)),
            hands: Hands::default(),
            workspace,
            disk,
            kind,
            clock,
            brief: larder.brief(),
            environment,
            umask,
            checkout,
            remembered: Mutex::new(remembered),
            unwritten: remember::Unwritten::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The workspace.
    pub fn workspace(&self) -> &Arc<Workspace> {
        &self.inner.workspace
    }

    /// The disk tier, where there is one.
    pub fn disk(&self) -> Option<&Disk> {
        self.inner.disk.as_ref()
    }

    /// The scope under which results are kept.
    pub fn scope(&self) -> &Scope {
        self.inner.kind.scope()
    }

    /// Forgets how files looked in the clones of this machine in which nothing ran for so long. Returns how many those
    /// were. Blocks.
    pub fn forget_unused(&self, unused_for: Duration) -> Result<usize, TierError> {
        let Some(disk) = self.inner.disk.as_ref().filter(|disk| !disk.read_only()) else { return Ok(0) };
        marker::Marker::sweep(disk, unused_for);
        crate::checkout::forget_unused(disk, self.inner.clock.wall(), unused_for)
    }

    /// How long the command of a task took when it ran last in this clone.
    pub fn last_time(&self, task: &crate::task::Task) -> Option<Duration> {
        self.inner.remembered(task).took_millis.map(Duration::from_millis)
    }
}

impl Inner {
    fn remembered(&self, task: &crate::task::Task) -> Memory {
        self.remembered.lock().get(&stable_name(&self.workspace, task)).cloned().unwrap_or_default()
    }

    /// The declared outputs of a task.
    fn outputs_of(&self, task: &Arc<crate::task::Task>) -> Result<Outputs, SourceError> {
        Outputs::of(&self.workspace, task, self.umask, self.inputs.cache())
    }

    /// Where what a task needs of the file system is done. In a process that has nothing else to do, a few small files are
    /// looked at, or kept, before another thread has heard of them. They are as many as is remembered: what has come since
    /// is looked at there, too.
    fn brief_for(&self, task: &crate::task::Task) -> Brief {
        if self.brief == Brief::Aside {
            return Brief::Aside;
        }
        let memory = self.remembered(task);
        let known_few = |files: Option<&Arc<Snapshot>>| {
            files.is_some_and(|files| are_few(files.entries().map(|entry| entry.stat.size)))
        };
        let is_brief = known_few(memory.inputs.as_ref())
            && (task.outputs.is_empty() || known_few(memory.outputs.snapshot.as_ref()));
        if is_brief { Brief::InPlace } else { Brief::Aside }
    }

    /// Runs what blocks where `brief` says. A panic there is a panic here.
    async fn at<T: Send + 'static>(&self, brief: Brief, work: impl FnOnce() -> T + Send + 'static) -> T {
        match brief {
            Brief::InPlace => work(),
            Brief::Aside => self.blocking(work).await,
        }
    }

    /// Runs what blocks where blocking is allowed, on as many threads at once as there are processors: more would
    /// only be in each other's way. A panic there is a panic here.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let _hand = self.hands.take().await;
        joined(tokio::task::spawn_blocking(work)).await
    }

    /// The right to run a task in this clone, or to put its outputs back.
    fn place(&self, task: &crate::task::Task) -> Key {
        let root = self.workspace.root().as_os_str().as_encoded_bytes();
        let place = [root, b"\0", stable_name(&self.workspace, task).as_bytes()].concat();
        Key::of_digest(self.kind.scope(), self.kind.name(), Digest::of(&place))
    }

    /// Waits until nobody else runs a task in this clone or puts its outputs back. Without a disk tier that can
    /// lease, nobody is waited for. `waiting` is called once if there is somebody.
    async fn alone(self: &Arc<Self>, task: &Arc<crate::task::Task>, waiting: impl AsyncFnOnce()) -> Alone {
        let (mut wait, longest) = WAITS;
        let mut waiting = Some(waiting);
        loop {
            let (inner, task) = (Arc::clone(self), Arc::clone(task));
            if let Some(alone) = self.blocking(move || inner.try_alone(&task)).await {
                return Alone { waited: waiting.is_none(), ..alone };
            }
            if let Some(waiting) = waiting.take() {
                waiting().await;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }

    /// The same if there is nobody to wait for. Blocks.
    fn try_alone(&self, task: &crate::task::Task) -> Option<Alone> {
        let nobody = Alone { _lease: None, waited: false };
        let Some(disk) = self.disk.as_ref().filter(|disk| !disk.read_only()) else { return Some(nobody) };
        match disk.blocking_try_lease(&self.place(task)) {
            Ok(lease) => lease.map(|lease| Alone { _lease: Some(lease.standing()), waited: false }),
            // A tier that fails does not hold anybody up.
            Err(_) => Some(nobody),
        }
    }
}

/// Whether files of these sizes are [`FEW`].
fn are_few(sizes: impl Iterator<Item = u64>) -> bool {
    // A result from elsewhere may tell of any sizes.
    let add = |(number, bytes): (usize, u64), size| (number + 1, bytes.saturating_add(size));
    let (number, bytes) = sizes.take(FEW.0 + 1).fold((0, 0), add);
    number <= FEW.0 && bytes <= FEW.1
}

/// What a thread came to. A panic there is a panic here.
async fn joined<T>(thread: JoinHandle<T>) -> T {
    match thread.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels, and then nobody waits for this.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A task's name, the same in all clones: the root package may be called after the directory it lies in.
fn stable_name(workspace: &Workspace, task: &crate::task::Task) -> String {
    let package = if task.package.as_str().is_empty() { crate::name::ROOT } else { &*task.id.package };
    debug_assert!(workspace.package(package).is_some());
    format!("{package}#{}", task.id.task)
}

/// A scope for the workspace: its name as far as a scope may be called so, with a digest where it may not.
fn scope(workspace: &Workspace) -> Result<Scope, KeyError> {
    let Some(name) = workspace.name() else { return Scope::new("local") };
    if let Ok(scope) = Scope::new(name) {
        return Ok(scope);
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let readable: String = name.chars().map(|c| if good(c) { c } else { '-' }).take(40).collect();
    Scope::new(&format!("{readable}-{:.16}", Digest::of(name.as_bytes())))
}
