//! Histories of workspaces: how many tasks of each commit are given back.
//!
//! One clone goes through the history with the cache and keeps what its tasks made, as a working copy does. Another is
//! cleaned before each commit and has no cache, as a fresh clone. Exit codes, logs and all files at declared outputs are
//! compared by their contents, not by what larder says of them. Empty directories among outputs are not seen.
//!
//! The rate is the strict one: each commit runs once, the first with an empty cache.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use larder::clock::Clock;
use larder::config::{Machine, Mode, Settings};
use larder::engine::{Larder, Opened};
use larder::key::Digest;
use larder_tasks::Stop;
use larder_tasks::event::{How, Summary, TaskEnd};
use larder_tasks::graph::{Graph, Request};
use larder_tasks::job::{RunOptions, Tasks};
use larder_tasks::log::{Log, Stream};
use larder_tasks::path::{Matcher, RelPath};
use larder_tasks::task::Task;
use larder_tasks::workspace::{Workspace, WorkspaceError};
use tokio::sync::{mpsc, watch};

use super::checkout::Checkout;
use super::definition::{DEFINITION, Definition};

/// How many events may wait.
const EVENTS: usize = 256;

/// How many tasks of a commit its line names.
const NAMED: usize = 6;

/// What came of some tasks that were wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that have a command.
    pub wanted: usize,
    /// Those that were given back.
    pub hits: usize,
    /// Those hits among them that come after a task which ran: it made the same as before.
    pub behind: usize,
    /// Those that ran.
    pub ran: usize,
    /// Those that ran and were not kept.
    pub unkept: usize,
    /// Those that did not run, as one before them failed.
    pub not_run: usize,
}

impl Counts {
    /// Hits in percent; `None` where nothing was wanted.
    pub fn percent(&self) -> Option<f64> {
        (self.wanted > 0).then(|| self.hits as f64 / self.wanted as f64 * 100.0)
    }

    fn add(&mut self, how: &How, is_behind: bool) {
        match how {
            How::Group => return,
            How::Hit(_) => {
                self.hits += 1;
                self.behind += usize::from(is_behind);
            }
            How::Ran { unkept } => {
                self.ran += 1;
                self.unkept += usize::from(unkept.is_some());
            }
            How::NotRun(_) => self.not_run += 1,
        }
        self.wanted += 1;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wanted, {} hits, {} ran", self.wanted, self.hits, self.ran)?;
        for (count, what) in [(self.unkept, "of them not kept"), (self.not_run, "did not run")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        match self.percent() {
            Some(percent) => write!(f, ": {percent:.1} %"),
            None => Ok(()),
        }
    }
}

/// What came of one commit.
#[derive(Debug)]
pub struct Commit {
    /// Its hash.
    pub id: String,
    /// Its tasks.
    pub counts: Counts,
    /// Those that ran, in order.
    pub ran: Vec<String>,
    /// Those that were not kept, and why.
    pub unkept: Vec<String>,
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.12} {}", self.id, self.counts)?;
        if !self.ran.is_empty() {
            let named: Vec<&str> = self.ran.iter().take(NAMED).map(String::as_str).collect();
            let more = if self.ran.len() > NAMED { ", …" } else { "" };
            write!(f, "; ran {}{more}", named.join(", "))?;
        }
        self.unkept.iter().try_for_each(|unkept| write!(f, "\n  not kept: {unkept}"))
    }
}

/// What came of a replay.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Commits.
    pub commits: usize,
    /// Commits of which nothing had to run.
    pub idle: usize,
    /// Packages of the last commit.
    pub packages: usize,
    /// The tasks of all commits.
    pub counts: Counts,
    /// The same by the tasks' names in their packages.
    pub by_name: BTreeMap<String, Counts>,
    /// Time that runs with the cache took.
    pub kept: Duration,
    /// Time that runs without took.
    pub fresh: Duration,
}

/// Replays the last `commits` of a repository, with this definition or the one that each has, and tells of each. Blocks,
/// for as long as all tasks of all commits take.
///
/// A definition is the root's file, or a directory of files that lie in it as they do in the workspace: those of
/// packages that a commit does not have are left out of it.
///
/// It is an error where a commit has no definition, or a wrong one, and where a task leaves something else than it does
/// in a fresh clone.
pub fn replay(
    repository: &Path,
    commits: usize,
    definition: Option<&Path>,
    mut told: impl FnMut(&Commit) -> Result<()>,
) -> Result<Replayed> {
    let definition = definition.map(Definition::read).transpose()?;
    let cache = tempfile::tempdir()?;
    let kept = Settings::new(cache.path().to_owned());
    let fresh = Settings { mode: Mode::Off, ..kept.clone() };
    let (kept, fresh) = (Side::of(repository, kept)?, Side::of(repository, fresh)?);
    let mut all = Replayed::default();
    for id in kept.checkout.commits(commits)? {
        kept.turn_to(&id, definition.as_ref())?;
        fresh.checkout.clean()?;
        fresh.turn_to(&id, definition.as_ref())?;
        let is = kept.run().with_context(|| format!("commit {id}"))?;
        let wanted = fresh.run().with_context(|| format!("commit {id}"))?;
        compare(&is, &wanted).with_context(|| format!("commit {id} with the cache and without"))?;
        let commit = all.add(id, &is, &wanted);
        told(&commit)?;
    }
    Ok(all)
}

impl Replayed {
    fn add(&mut self, id: String, is: &Ran, fresh: &Ran) -> Commit {
        let mut commit = Commit { id, counts: Counts::default(), ran: Vec::new(), unkept: Vec::new() };
        let mut behind = vec![false; is.tasks.len()];
        for (at, node) in is.graph.nodes().iter().enumerate() {
            let (name, how) = (name(node.task()), &is.summary.ends[at].how);
            let has_run = |need: usize| matches!(is.summary.ends[need].how, How::Ran { .. });
            behind[at] = node.needs().iter().any(|need| behind[*need] || has_run(*need));
            commit.counts.add(how, behind[at]);
            self.counts.add(how, behind[at]);
            self.by_name.entry(node.task().id.task.to_string()).or_default().add(how, behind[at]);
            if let How::Ran { unkept } = how {
                commit.unkept.extend(unkept.as_ref().map(|why| format!("{name}: {why}")));
                commit.ran.push(name);
            }
        }
        self.commits += 1;
        self.idle += usize::from(commit.ran.is_empty());
        self.packages = is.packages;
        self.kept += is.took;
        self.fresh += fresh.took;
        commit
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commits, idle, packages, .. } = self;
        writeln!(f, "{commits} commits, of which {idle} ran nothing; {packages} packages in the last")?;
        for (name, counts) in &self.by_name {
            writeln!(f, "{name}: {counts}")?;
        }
        writeln!(f, "tasks: {}", self.counts)?;
        writeln!(f, "{} hits came after a task that ran and made the same as before", self.counts.behind)?;
        let (kept, fresh) = (self.kept.as_secs_f64(), self.fresh.as_secs_f64());
        write!(f, "{kept:.2} s with the cache, {fresh:.2} s without ({:.2})", kept / fresh)
    }
}

/// A clone, and the engine of each run in it.
struct Side {
    checkout: Checkout,
    root: PathBuf,
    settings: Settings,
}

/// A run of all tasks.
struct Ran {
    packages: usize,
    graph: Graph,
    summary: Summary,
    /// What each task left.
    tasks: Vec<Left>,
    took: Duration,
}

/// What a task left behind.
#[derive(PartialEq, Eq)]
struct Left {
    how: String,
    out: Option<Vec<u8>>,
    err: Option<Vec<u8>>,
    files: BTreeMap<String, Form>,
}

/// What lies at an output.
#[derive(PartialEq, Eq)]
enum Form {
    File { mode: u32, content: Digest },
    Link(PathBuf),
}

impl Side {
    fn of(repository: &Path, settings: Settings) -> Result<Self> {
        let checkout = Checkout::of(repository)?;
        Ok(Self { root: checkout.path().canonicalize()?, checkout, settings })
    }

    fn turn_to(&self, commit: &str, definition: Option<&Definition>) -> Result<()> {
        self.checkout.turn_to(commit)?;
        if let Some(definition) = definition {
            definition.write_to(&self.root)?;
        }
        // Scripts of a package.json would be tasks otherwise, and be run.
        let is_there = self.root.join(DEFINITION).is_file();
        ensure!(is_there, "commit {commit} has no {DEFINITION}, and --definition gives none");
        Ok(())
    }

    fn run(&self) -> Result<Ran> {
        let began = Instant::now();
        let workspace = Arc::new(Workspace::load(&self.root).map_err(told)?);
        let runs = |task: &&Arc<Task>| !task.persistent && !task.interactive;
        let mut names: Vec<String> =
            workspace.tasks().filter(runs).map(|task| task.id.task.to_string()).collect();
        names.sort();
        names.dedup();
        let request = Request { tasks: names, ..Request::default() };
        let graph = Graph::new(&workspace, &request, &RelPath::root())
            .map_err(|problems| anyhow::anyhow!(problems.render()))?;
        let summary = self.run_graph(&workspace, &graph)?;
        let took = began.elapsed();
        let files = self.files(&graph)?;
        let tasks = summary.ends.iter().zip(files).map(|(end, files)| Left::of(end, files)).collect();
        Ok(Ran { packages: workspace.packages().len(), graph, summary, tasks, took })
    }

    fn run_graph(&self, workspace: &Arc<Workspace>, graph: &Graph) -> Result<Summary> {
        let machine = Machine::probe(Path::new("/"));
        let opened: Opened = Larder::open(&self.settings, &machine, Clock::system(), "replay");
        if let Some(problem) = opened.problem {
            bail!(problem);
        }
        let environment = std::env::vars_os().collect();
        let tasks = Tasks::new(Arc::clone(workspace), &opened.larder, opened.disk.clone(), environment)?;
        let options = RunOptions { mode: self.settings.mode, keep_going: true, ..RunOptions::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(async {
            let (_never, stop) = watch::channel(Stop::No);
            let (sender, mut events) = mpsc::channel(EVENTS);
            let unheard = async { while events.recv().await.is_some() {} };
            let (summary, ()) = tokio::join!(tasks.run(graph, options, stop, sender), unheard);
            opened.larder.close().await;
            summary
        }))
    }

    /// What lies at the outputs of each task.
    fn files(&self, graph: &Graph) -> Result<Vec<BTreeMap<String, Form>>> {
        let outputs: Vec<_> = graph.nodes().iter().map(|node| Outputs::of(node.task())).collect();
        let mut files: Vec<BTreeMap<String, Form>> = outputs.iter().map(|_| BTreeMap::new()).collect();
        for path in self.checkout.untracked()? {
            let above = above(&path)?;
            for at in (0..outputs.len()).filter(|at| outputs[*at].declare(&above)) {
                files[at].insert(path.clone(), Form::of(&self.root.join(&path))?);
            }
        }
        Ok(files)
    }
}

/// A path and all directories above it, but for the root.
fn above(path: &str) -> Result<Vec<RelPath>> {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    Ok(ends.map(|end| RelPath::root().join(&path[..end])).collect::<Result<_, _>>()?)
}

/// The declared outputs of a task.
struct Outputs {
    chosen: Vec<Matcher>,
    dropped: Vec<Matcher>,
}

impl Outputs {
    fn of(task: &Task) -> Self {
        let (dropped, chosen): (Vec<_>, Vec<_>) =
            task.outputs.iter().map(|output| &output.value).partition(|output| output.is_negated());
        let matchers = |patterns: Vec<&larder_tasks::path::Pattern>| {
            patterns.into_iter().map(larder_tasks::path::Pattern::matcher).collect()
        };
        Self { chosen: matchers(chosen), dropped: matchers(dropped) }
    }

    /// Whether a path is among them, told with all that is above it.
    fn declare(&self, path: &[RelPath]) -> bool {
        let covers = |matchers: &[Matcher]| matchers.iter().any(|one| path.iter().any(|at| one.matches(at)));
        covers(&self.chosen) && !covers(&self.dropped)
    }
}

impl Form {
    fn of(path: &Path) -> Result<Self> {
        let about = path.symlink_metadata()?;
        if about.is_symlink() {
            return Ok(Self::Link(std::fs::read_link(path)?));
        }
        let content = std::fs::read(path).with_context(|| path.display().to_string())?;
        Ok(Self::File { mode: about.permissions().mode(), content: Digest::of(&content) })
    }
}

impl Left {
    fn of(end: &TaskEnd, files: BTreeMap<String, Form>) -> Self {
        let how = match &end.how {
            How::Hit(_) | How::Ran { .. } => format!("{:?}", end.exit),
            How::Group => "nothing to run".to_owned(),
            How::NotRun(why) => why.to_string(),
        };
        Self { how, out: written(&end.log, Stream::Out), err: written(&end.log, Stream::Err), files }
    }

    /// What is not as it is in a fresh clone, if anything is.
    fn differs(&self, fresh: &Self) -> Option<String> {
        if self.how != fresh.how {
            return Some(format!("it ends with {} and not with {}", self.how, fresh.how));
        }
        for (is, fresh, what) in [(&self.out, &fresh.out, "stdout"), (&self.err, &fresh.err, "stderr")] {
            if is != fresh {
                return Some(format!("its {what} is another"));
            }
        }
        let paths = self.files.keys().chain(fresh.files.keys());
        let mut differing = paths.filter(|path| self.files.get(*path) != fresh.files.get(*path));
        differing.next().map(|path| format!("its output {path} is another, or is there only once"))
    }
}

/// What was written to one stream, if all of it was held.
fn written(log: &Log, stream: Stream) -> Option<Vec<u8>> {
    let chunks = log.whole()?.iter().filter(|chunk| chunk.stream == stream);
    Some(chunks.flat_map(|chunk| chunk.bytes.iter().copied()).collect())
}

/// A task's name, the same in all clones.
fn name(task: &Task) -> String {
    match task.package.as_str() {
        "" => format!("//#{}", task.id.task),
        _ => task.id.to_string(),
    }
}

fn names(graph: &Graph) -> BTreeSet<String> {
    graph.nodes().iter().map(|node| name(node.task())).collect()
}

fn compare(is: &Ran, fresh: &Ran) -> Result<()> {
    let (ours, theirs) = (names(&is.graph), names(&fresh.graph));
    if let Some(name) = ours.symmetric_difference(&theirs).next() {
        bail!("{name} is a task in only one of the two clones");
    }
    for (node, (is, fresh)) in is.graph.nodes().iter().zip(is.tasks.iter().zip(&fresh.tasks)) {
        if let Some(difference) = is.differs(fresh) {
            bail!("{} is not what a fresh clone gives: {difference}", name(node.task()));
        }
    }
    Ok(())
}

/// What is wrong with a workspace, with the lines of the file.
fn told(error: WorkspaceError) -> anyhow::Error {
    match error {
        WorkspaceError::Wrong(problems) => anyhow::anyhow!(problems.render()),
        error => error.into(),
    }
}
