//! A directory that is made from a few lines and gone afterwards.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder::clock::Clock;
use larder::engine::{Larder, LarderOptions};
use larder::stats::{Stats, StatsOptions};
use larder::tier::disk::{Disk, DiskOptions};
use larder::tier::{Brief, Tier};
use larder_tasks::event::{Event, How, Summary, TaskEnd};
use larder_tasks::graph::{Graph, Request};
use larder_tasks::job::{RunOptions, Tasks};
use larder_tasks::log::Stream;
use larder_tasks::path::RelPath;
use larder_tasks::workspace::{Workspace, WorkspaceError};
use larder_tasks::{Restoration, Stop};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

pub(crate) struct Lab {
    dir: TempDir,
    /// Where it is instead, if another process has made it.
    elsewhere: Option<PathBuf>,
}

impl Lab {
    /// An empty directory whose name is the same in each run.
    pub(crate) fn new() -> Self {
        let lab = Self { dir: tempfile::tempdir().unwrap(), elsewhere: None };
        std::fs::create_dir(lab.root()).unwrap();
        lab
    }

    /// A workspace with these files.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let lab = Self::new();
        for (path, text) in files {
            lab.write(path, text);
        }
        lab
    }

    fn dir(&self) -> &Path {
        self.elsewhere.as_deref().unwrap_or(self.dir.path())
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir().join("lab")
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn load(&self) -> Result<Workspace, WorkspaceError> {
        self.load_from(&self.root())
    }

    pub(crate) fn load_from(&self, from: &Path) -> Result<Workspace, WorkspaceError> {
        Workspace::load(from)
    }

    /// What is wrong with the workspace, as a user reads it.
    pub(crate) fn complaint(&self) -> String {
        let text = match self.load() {
            Ok(_) => "nothing\n".to_owned(),
            Err(WorkspaceError::Wrong(problems)) => problems.render(),
            Err(error) => format!("{error}\n"),
        };
        text.replace(&*self.dir().to_string_lossy(), "…")
    }

    /// The graph as text, or what is wrong.
    pub(crate) fn graph(&self, tasks: &[&str], filters: &[&str], only: bool) -> String {
        match self.try_graph(tasks, filters, only) {
            Ok(graph) => graph.to_text(),
            Err(text) => text,
        }
    }

    pub(crate) fn try_graph(&self, tasks: &[&str], filters: &[&str], only: bool) -> Result<Graph, String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let request = Request { tasks: words(tasks), filters: words(filters), only };
        let workspace = self.load().map_err(|error| error.to_string())?;
        Graph::new(&workspace, &request, &RelPath::root()).map_err(|problems| problems.render())
    }
}

/// How many threads a runtime has for what blocks.
const BLOCKING_THREADS: usize = 8;

/// Where the command line has brief work done for a graph: in place where there is one command.
fn place_of(graph: &Graph) -> Brief {
    let commands = graph.nodes().iter().filter(|node| node.task().command.is_some()).count();
    if commands > 1 { Brief::Aside } else { Brief::InPlace }
}

/// What a run said and did.
pub(crate) struct Ran {
    pub(crate) summary: Summary,
    /// A line for each task in the order of the graph.
    pub(crate) lines: String,
    pub(crate) notes: Vec<String>,
    /// What commands wrote while they ran.
    pub(crate) live: String,
}

impl Ran {
    /// What a task wrote, now or when its result was made: stdout and stderr by turns.
    pub(crate) fn log(&self, at: usize) -> Vec<(Stream, String)> {
        let chunks = self.summary.ends[at].log.chunks().iter();
        chunks.map(|chunk| (chunk.stream, String::from_utf8_lossy(&chunk.bytes).into_owned())).collect()
    }
}

fn line(graph: &Graph, at: usize, end: &TaskEnd) -> String {
    let task = &graph.nodes()[at].task().id;
    let exit = match end.exit {
        Some(exit) if !exit.is_success() => format!(" with {exit:?}"),
        _ => String::new(),
    };
    match &end.how {
        How::Hit(hit) => {
            let Restoration { left_alone, written, removed } = hit.restored;
            format!("{task}: hit{exit}, {left_alone} right, {written} written, {removed} removed\n")
        }
        How::Ran { unkept: None } => format!("{task}: ran{exit}, kept\n"),
        How::Ran { unkept: Some(why) } => format!("{task}: ran{exit}, not kept: {why}\n"),
        How::Group => format!("{task}: group\n"),
        How::NotRun(why) => format!("{task}: not run: {why}\n"),
    }
}

impl Lab {
    pub(crate) fn cache(&self) -> PathBuf {
        self.dir().join("cache")
    }

    /// Where commands say that they ran: `echo x >> RAN` in a manifest.
    pub(crate) fn ran_file(&self) -> PathBuf {
        self.dir().join("ran")
    }

    /// Writes a manifest, `RAN` in it standing for the file that counts.
    pub(crate) fn manifest(&self, path: &str, text: &str) {
        self.write(path, &text.replace("RAN", &self.ran_file().to_string_lossy()));
    }

    /// What commands have said since this was asked last.
    pub(crate) fn ran(&self) -> String {
        let said = std::fs::read_to_string(self.ran_file()).unwrap_or_default();
        let _ = std::fs::remove_file(self.ran_file());
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_else(|error| error.kind().to_string())
    }

    pub(crate) fn sh(&self, script: &str) {
        let done = std::process::Command::new("sh").args(["-euc", script]).current_dir(self.root()).status();
        assert!(done.unwrap().success(), "{script}");
    }

    /// Does something with the tasks as a process of its own would: everything is opened and closed again.
    pub(crate) fn with_tasks<T>(
        &self,
        environment: &[(&str, &str)],
        work: impl AsyncFnOnce(&Tasks) -> T,
    ) -> T {
        self.with_tasks_at(Brief::Aside, environment, work)
    }

    /// The same in a process that does brief work there.
    fn with_tasks_at<T>(
        &self,
        place: Brief,
        environment: &[(&str, &str)],
        work: impl AsyncFnOnce(&Tasks) -> T,
    ) -> T {
        let workspace = self.load().unwrap_or_else(|_| panic!("{}", self.complaint()));
        self.with_workspace(workspace, place, environment, work)
    }

    fn with_workspace<T>(
        &self,
        workspace: Workspace,
        place: Brief,
        environment: &[(&str, &str)],
        work: impl AsyncFnOnce(&Tasks) -> T,
    ) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(BLOCKING_THREADS).build().unwrap();
        runtime.block_on(async {
            let disk = Disk::open(self.cache(), DiskOptions { brief: place, ..DiskOptions::default() }).ok();
            let clock = Clock::system();
            let mut options = LarderOptions::new(clock.clone(), Stats::new(StatsOptions::default(), clock));
            options.producer = "tester".into();
            options.brief = place;
            options.tiers.extend(disk.iter().map(|disk| Arc::new(disk.clone()) as Arc<dyn Tier>));
            let larder = Larder::new(options);
            let mut variables: Vec<(OsString, OsString)> =
                environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
            // The first of two counts.
            variables.push(("PATH".into(), std::env::var_os("PATH").unwrap()));
            let tasks = Tasks::new(Arc::new(workspace), &larder, disk, variables).unwrap();
            let done = work(&tasks).await;
            larder.close().await;
            done
        })
    }

    pub(crate) fn run(&self, tasks: &[&str]) -> Ran {
        self.run_with(tasks, &[], &RunOptions::default())
    }

    pub(crate) fn run_with(&self, names: &[&str], environment: &[(&str, &str)], options: &RunOptions) -> Ran {
        let (_keep, stop) = watch::channel(Stop::No);
        self.run_until(names, environment, options, stop, |_| {})
    }

    /// Without what they depend on.
    pub(crate) fn run_only(&self, names: &[&str]) -> Ran {
        let graph = self.try_graph(names, &[], true).unwrap();
        let (_keep, stop) = watch::channel(Stop::No);
        self.with_tasks_at(place_of(&graph), &[], async |tasks| {
            observed(tasks, &graph, &RunOptions::default(), stop, |_| {}).await
        })
    }

    /// Runs one task while no more than `free` of the runtime's other threads can be had.
    pub(crate) fn run_with_threads(&self, free: usize, name: &str) -> Ran {
        let graph = self.try_graph(&[name], &[], false).unwrap();
        let (_keep, stop) = watch::channel(Stop::No);
        self.with_tasks_at(place_of(&graph), &[], async |tasks| {
            let (release, held) = std::sync::mpsc::channel::<()>();
            let held = Arc::new(std::sync::Mutex::new(held));
            for _ in free..BLOCKING_THREADS {
                let held = Arc::clone(&held);
                drop(tokio::task::spawn_blocking(move || held.lock().unwrap().recv()));
            }
            let options = RunOptions::default();
            let ran = observed(tasks, &graph, &options, stop, |_| {});
            let ran =
                tokio::time::timeout(Duration::from_secs(30), ran).await.expect("so many threads are enough");
            drop(release);
            ran
        })
    }

    /// Runs with one handle several times, and does something after each run.
    pub(crate) fn run_again_and_again(
        &self,
        names: &[&str],
        times: usize,
        after: impl Fn(usize),
    ) -> Vec<String> {
        let graph = self.try_graph(names, &[], false).unwrap();
        self.with_tasks_at(place_of(&graph), &[], async |tasks| {
            let mut lines = Vec::new();
            for n in 0..times {
                let (_keep, stop) = watch::channel(Stop::No);
                lines.push(observed(tasks, &graph, &RunOptions::default(), stop, |_| {}).await.lines);
                after(n);
            }
            lines
        })
    }

    /// Puts the cache into the workspace.
    pub(crate) fn cache_inside(&self, path: &str) {
        std::fs::create_dir_all(self.path(path)).unwrap();
        std::os::unix::fs::symlink(self.path(path), self.cache()).unwrap();
    }

    /// Runs tasks of a workspace that stands in no file.
    pub(crate) fn run_workspace(&self, workspace: Workspace, names: &[&str]) -> Ran {
        let request =
            Request { tasks: names.iter().map(|name| (*name).to_owned()).collect(), ..Request::default() };
        let graph = Graph::new(&workspace, &request, &RelPath::root()).unwrap();
        let (_keep, stop) = watch::channel(Stop::No);
        self.with_workspace(workspace, place_of(&graph), &[], async |tasks| {
            observed(tasks, &graph, &RunOptions::default(), stop, |_| {}).await
        })
    }

    pub(crate) fn run_until(
        &self,
        names: &[&str],
        environment: &[(&str, &str)],
        options: &RunOptions,
        stop: watch::Receiver<Stop>,
        see: impl FnMut(&Event),
    ) -> Ran {
        let graph = self.try_graph(names, &[], false).unwrap();
        self.with_tasks_at(place_of(&graph), environment, async |tasks| {
            observed(tasks, &graph, options, stop, see).await
        })
    }

    /// Runs a task in a process of its own, which may be killed.
    pub(crate) fn start_as_another(&self, name: &str) -> std::process::Child {
        self.start_under("umask", name)
    }

    /// Runs a task in a process of its own, which has another umask.
    pub(crate) fn run_under_umask(&self, umask: &str, name: &str) {
        let done = self.start_under(&format!("umask {umask}"), name).wait().unwrap();
        assert!(done.success(), "{umask}");
    }

    fn start_under(&self, setting: &str, name: &str) -> std::process::Child {
        // Its variables tell that test that it is to be the larder.
        std::process::Command::new("sh")
            .args(["-c", &format!("{setting}; exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "equality::the_larder_that_is_killed", "--nocapture"])
            .env("LARDER_LAB", self.dir.path())
            .env("LARDER_LAB_TASK", name)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Starts a task whose command says by `echo $$ > began` that it runs, and leaves it behind as a larder that is killed
    /// does. Returns what it said.
    pub(crate) fn leave_an_orphan(&self, name: &str) -> u32 {
        let mut larder = self.start_as_another(name);
        let command = loop {
            if let Ok(id) = self.read("began").trim().parse() {
                break id;
            }
            std::thread::yield_now();
        };
        larder.kill().unwrap();
        larder.wait().unwrap();
        command
    }

    /// A lab that another process has made.
    pub(crate) fn of_another(dir: &Path) -> Self {
        let mut lab = Self { dir: tempfile::tempdir().unwrap(), elsewhere: None };
        lab.elsewhere = Some(dir.to_owned());
        lab
    }
}

/// Does something as a user for whom modes hold: root may pass over them, and gives up that right for it.
pub(crate) fn where_modes_hold<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let as_a_user = || {
        let mut rights = capabilities(None).unwrap();
        rights.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
        // Of this thread and those that it makes; commands of root have them again.
        set_capabilities(None, rights).unwrap();
        work()
    };
    std::thread::scope(|scope| scope.spawn(as_a_user).join().unwrap())
}

/// Runs a graph and collects what it tells.
async fn observed(
    tasks: &Tasks,
    graph: &Graph,
    options: &RunOptions,
    stop: watch::Receiver<Stop>,
    mut see: impl FnMut(&Event),
) -> Ran {
    let (sender, mut events) = mpsc::channel(16);
    let run = tasks.run(graph, options.clone(), stop, sender);
    let (mut notes, mut live) = (Vec::new(), String::new());
    let listen = async {
        while let Some(event) = events.recv().await {
            see(&event);
            match event {
                Event::Noted { note, .. } => notes.push(note.to_string()),
                Event::Output { bytes, .. } => live += &String::from_utf8_lossy(&bytes),
                Event::Started { .. } | Event::Ended { .. } | Event::Audited { .. } => {}
            }
        }
    };
    let (summary, ()) = tokio::join!(run, listen);
    let lines = summary.ends.iter().enumerate().map(|(at, end)| line(graph, at, end)).collect();
    Ran { summary, lines, notes, live }
}
