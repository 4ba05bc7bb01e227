//! Tools: which program it is that a task calls by a name.
//!
//! A program is known by its content, which is read again only when its stat data changed; or, for one that only
//! stands in for others, by what it prints.
//!
//! Invariant: what a command has left behind, or what was put back for it, is looked at by who comes after it: contents
//! are forgotten then, and what is printed where the workspace has a part in it. What else is printed is asked for once in
//! a run.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::key::{Algorithm, Digest, Hasher};
use larder::source::{EntryKind, FileSet, ScanOptions, Snapshot, SourceError};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, watch};

use super::{Inner, Stopping};
use crate::checkout::{Memory, Which};
use crate::event::{Note, Unkept};
use crate::execute::{Start, Stop, Tap, execute};
use crate::inputs;
use crate::key::{Part, PartKind};
use crate::log::Stream;
use crate::manifest::Tool;
use crate::program::which;
use crate::task::Task;

/// Under which name the programs' state is remembered; no task is called so.
pub(super) const REMEMBERED: &str = "programs";

/// How long a program may take to print what it is.
const PRINTING: Duration = Duration::from_secs(30);

/// What printed it, where, and with which variables.
type Asked = (Vec<String>, PathBuf, Vec<(OsString, OsString)>);
type Answered = Arc<OnceCell<Result<(Digest, String), String>>>;

/// What is known of programs in this run.
#[derive(Default)]
pub(super) struct Programs {
    /// How those of the run's tasks looked when they were looked at together.
    seen: Mutex<Option<Arc<Snapshot>>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// How often all that may have changed was forgotten.
    forgotten: u64,
    /// Contents by path.
    contents: HashMap<PathBuf, Digest>,
    /// What was printed, and whether the workspace has no part in it.
    printed: HashMap<Asked, (Answered, bool)>,
}

impl Programs {
    pub(super) fn new(memory: Option<&Memory>) -> Self {
        Self { seen: Mutex::new(memory.and_then(|memory| memory.inputs.clone())), ..Self::default() }
    }

    /// How they looked when they were looked at last.
    pub(super) fn seen(&self) -> Option<Arc<Snapshot>> {
        self.seen.lock().clone()
    }

    /// Forgets everything, at the begin of a run.
    fn begin(&self) {
        let mut known = self.known.lock();
        *known = Known { forgotten: known.forgotten + 1, ..Known::default() };
    }

    /// Forgets what may have changed, as something was written in the workspace.
    pub(super) fn forget(&self) {
        let mut known = self.known.lock();
        known.forgotten += 1;
        known.contents.clear();
        known.printed.retain(|_, (_, is_foreign)| *is_foreign);
    }

    /// Notes a content that was looked at when so often had been forgotten.
    fn note(&self, forgotten: u64, contents: impl IntoIterator<Item = (PathBuf, Digest)>) {
        let mut known = self.known.lock();
        if known.forgotten == forgotten {
            known.contents.extend(contents);
        }
    }
}

/// What prints nowhere.
struct Silence;

impl Tap for Silence {
    fn take<'a>(
        &'a mut self,
        _: Stream,
        _: &'a [u8],
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::ready(()))
    }
    fn started(&mut self, _: Option<u32>) {}
}

impl Inner {
    /// Reads the programs that the tools of a graph's tasks resolve to, all in one look. What was known is forgotten.
    pub(super) async fn look_at_programs(
        self: &Arc<Self>,
        tasks: impl Iterator<Item = &Task>,
        stopping: &Stopping,
    ) {
        self.programs.begin();
        let mut paths = BTreeSet::new();
        for task in tasks {
            let passed = task.environment.apply(&self.environment);
            let path = super::prepare::variable(passed.passed(), "PATH");
            let cwd = task.cwd.under(self.workspace.root());
            for tool in &task.tools {
                if let Tool::Program(program) = &tool.value {
                    paths.extend(which(program.as_ref(), path, &cwd));
                }
            }
        }
        if paths.is_empty() {
            return;
        }
        let (inner, stopping) = (Arc::clone(self), Arc::clone(stopping));
        self.blocking(move || inner.read_programs(&paths, &stopping)).await;
    }

    fn read_programs(&self, paths: &BTreeSet<PathBuf>, stop: &AtomicBool) {
        let forgotten = self.programs.known.lock().forgotten;
        let options = ScanOptions { clock: &self.clock, stop, threads: Some(NonZeroUsize::MIN) };
        let scan = inputs::programs(paths.iter().map(PathBuf::as_path))
            .and_then(|set| set.scan(self.programs.seen().as_ref(), &options));
        // Each is looked at for itself then, and what is wrong is told of it.
        let Ok(scan) = scan else { return };
        if scan.is_new() {
            let memory = Memory { inputs: Some(Arc::clone(&scan.snapshot)), ..Memory::default() };
            self.checkout.remember([(REMEMBERED, &memory, Which::All)]);
        }
        self.programs.note(forgotten, contents(&scan.snapshot));
        *self.programs.seen.lock() = Some(scan.snapshot);
    }

    /// How the file looks that a path leads to, and its content; `None` if it leads to none that can be read. Blocks.
    pub(super) fn look_at_program(
        &self,
        path: &Path,
        stop: &AtomicBool,
    ) -> Option<(FileSet, Arc<Snapshot>, Digest)> {
        let leads_to = path.canonicalize().ok();
        // A set follows no link but the last one in a path, and no way up; what is known is known by the path as it is.
        [Some(path), leads_to.as_deref()].into_iter().flatten().find_map(|path| {
            let set = inputs::programs([path].into_iter()).ok()?;
            let seen = self.scan(&set, self.programs.seen().as_ref(), stop).ok()?.snapshot;
            let (_, digest) = contents(&seen).next()?;
            Some((set, seen, digest))
        })
    }

    /// A part of the key for each tool of a task.
    pub(super) async fn identify(
        self: &Arc<Self>,
        task: &Task,
        environment: &[(OsString, OsString)],
        stopping: &Stopping,
        notes: &mut Vec<Note>,
    ) -> Result<Vec<Part>, Unkept> {
        let mut parts = Vec::with_capacity(task.tools.len());
        let cwd = task.cwd.under(self.workspace.root());
        let path = super::prepare::variable(environment, "PATH");
        for tool in &task.tools {
            let part = match &tool.value {
                Tool::Program(program) => {
                    let digest = match which(program.as_ref(), path, &cwd) {
                        Some(path) => self.content_of(path, program, stopping).await?,
                        None => {
                            notes.push(Note::NoTool(program.clone()));
                            None
                        }
                    };
                    let (digest, shown) = match digest {
                        Some(digest) => (digest, format!("{digest:.12}")),
                        // That it is missing is a state like any other: the task may do without.
                        None => (Digest::of(b"not on PATH"), "not on PATH".to_owned()),
                    };
                    Part::digest(PartKind::Tool, program, digest, &shown)
                }
                Tool::Output(argv) => {
                    let name = argv.join(" ");
                    let (digest, shown) = self
                        .output_of(argv, cwd.clone(), environment)
                        .await
                        .map_err(|why| Unkept::Tool { tool: name.clone(), why })?;
                    Part::digest(PartKind::Tool, &name, digest, &shown)
                }
            };
            parts.push(part);
        }
        Ok(parts)
    }

    async fn content_of(
        self: &Arc<Self>,
        path: PathBuf,
        program: &str,
        stopping: &Stopping,
    ) -> Result<Option<Digest>, Unkept> {
        let forgotten = {
            let known = self.programs.known.lock();
            if let Some(digest) = known.contents.get(&path) {
                return Ok(Some(*digest));
            }
            known.forgotten
        };
        let (inner, asked, stopping) = (Arc::clone(self), path.clone(), Arc::clone(stopping));
        let look = move || match inner.look_at_program(&asked, &stopping) {
            Some((_, _, digest)) => Ok(digest),
            None if stopping.load(Ordering::Relaxed) => Err(SourceError::Stopped),
            // It says why it cannot be read.
            None => larder::source::digest_file(&asked).map(|read| read.digest),
        };
        let digest = self.blocking(look).await;
        let digest =
            digest.map_err(|error| Unkept::Tool { tool: program.to_owned(), why: error.to_string() })?;
        self.programs.note(forgotten, [(path, digest)]);
        Ok(Some(digest))
    }

    /// What a program prints, and its first line.
    async fn output_of(
        &self,
        argv: &[String],
        cwd: PathBuf,
        environment: &[(OsString, OsString)],
    ) -> Result<(Digest, String), String> {
        let is_foreign = !self.has_part_in(argv, &cwd, environment);
        let asked = (argv.to_vec(), cwd, environment.to_vec());
        let answered = {
            let mut known = self.programs.known.lock();
            let (answered, _) =
                known.printed.entry(asked.clone()).or_insert_with(|| (Arc::default(), is_foreign));
            Arc::clone(answered)
        };
        answered.get_or_init(|| print(asked)).await.clone()
    }

    /// Whether a program, or something that it is called with, lies in the workspace.
    fn has_part_in(&self, argv: &[String], cwd: &Path, environment: &[(OsString, OsString)]) -> bool {
        let program = argv
            .first()
            .and_then(|program| which(program.as_ref(), super::prepare::variable(environment, "PATH"), cwd));
        let named = argv.iter().skip(1).map(|argument| cwd.join(argument));
        let root = self.workspace.root().canonicalize();
        let root = root.as_deref().unwrap_or_else(|_| self.workspace.root());
        program
            .into_iter()
            .chain(named)
            .filter_map(|path| path.canonicalize().ok())
            .any(|path| path.starts_with(root))
    }
}

/// The files of a snapshot with their contents.
fn contents(snapshot: &Snapshot) -> impl Iterator<Item = (PathBuf, Digest)> {
    snapshot.entries().filter_map(|entry| match entry.kind {
        EntryKind::File(digest) | EntryKind::LinkedFile(digest) => {
            Some((Path::new("/").join(entry.path), digest))
        }
        EntryKind::Directory | EntryKind::Link { .. } => None,
    })
}

async fn print((argv, cwd, environment): Asked) -> Result<(Digest, String), String> {
    let start = Start {
        direct: None,
        argv: argv.iter().map(OsString::from).collect(),
        cwd,
        environment,
        timeout: Some(PRINTING),
        grace: Duration::ZERO,
        interactive: false,
        marks: None,
    };
    let (_keep, stop) = watch::channel(Stop::No);
    let none = crate::environment::Mask::none;
    let done = execute(&start, [none(), none()], stop, &mut Silence).await.map(|(done, _)| done);
    let done = done.map_err(|error| error.to_string())?;
    let mut hasher = Hasher::new(Algorithm::Blake3);
    hasher.update(b"larder tool output");
    hasher.update(&[done.exit.code()]);
    let mut first = String::new();
    for stream in [Stream::Out, Stream::Err] {
        let chunks = done.log.chunks().iter().filter(|chunk| chunk.stream == stream);
        let bytes: Vec<u8> = chunks.flat_map(|chunk| chunk.bytes.iter().copied()).collect();
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
        if first.is_empty() {
            first = String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().trim().to_owned();
        }
    }
    if !done.exit.is_success() {
        return Err(format!("`{}` ended with exit code {}: {first}", argv.join(" "), done.exit.code()));
    }
    Ok((hasher.finish(), first))
}

/// The value of a variable among those that a task sees.
pub(super) fn variable_of<'a>(environment: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
}
