//! Tools: which program it is that a task calls by a name.
//!
//! A program is known by its content, which is read again only when its stat data changed; or, for one that only
//! stands in for others, by what it prints. Either is asked for once in a run.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use larder::key::{Algorithm, Digest, Hasher};
use larder::source::{EntryKind, ScanOptions, Snapshot};
use tokio::sync::{Mutex, OnceCell, watch};

use super::Inner;
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
pub(super) struct Programs {
    remembered: Option<Arc<Snapshot>>,
    /// Contents by path.
    contents: Mutex<HashMap<PathBuf, Digest>>,
    seen: parking_lot::Mutex<Option<Arc<Snapshot>>>,
    printed: Mutex<HashMap<Asked, Answered>>,
}

impl Programs {
    pub(super) fn new(memory: Option<&Memory>) -> Self {
        Self {
            remembered: memory.and_then(|memory| memory.inputs.clone()),
            contents: Mutex::default(),
            seen: parking_lot::Mutex::default(),
            printed: Mutex::default(),
        }
    }

    /// How those of the run's tasks looked when it began.
    pub(super) fn seen(&self) -> Option<Arc<Snapshot>> {
        self.seen.lock().clone()
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
    /// Reads the programs that the tools of a graph's tasks resolve to, all in one look.
    pub(super) async fn look_at_programs(self: &Arc<Self>, tasks: impl Iterator<Item = &Task>) {
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
        let unknown = {
            let contents = self.programs.contents.lock().await;
            paths.iter().any(|path| !contents.contains_key(path))
        };
        if !unknown {
            return;
        }
        let inner = Arc::clone(self);
        let (contents, snapshot) = self.blocking(move || inner.read_programs(paths)).await;
        self.programs.contents.lock().await.extend(contents);
        *self.programs.seen.lock() = snapshot;
    }

    fn read_programs(&self, paths: BTreeSet<PathBuf>) -> (HashMap<PathBuf, Digest>, Option<Arc<Snapshot>>) {
        let stop = AtomicBool::new(false);
        let options = ScanOptions { clock: &self.clock, stop: &stop, threads: Some(NonZeroUsize::MIN) };
        let scan = inputs::programs(paths.iter().map(PathBuf::as_path))
            .and_then(|set| set.scan(self.programs.remembered.as_ref(), &options));
        let Ok(scan) = scan else { return (HashMap::new(), None) };
        if scan.is_new() {
            let memory = Memory { inputs: Some(Arc::clone(&scan.snapshot)), ..Memory::default() };
            self.checkout.remember([(REMEMBERED, &memory, Which::All)]);
        }
        let mut contents = HashMap::new();
        for entry in scan.snapshot.entries() {
            if let EntryKind::File(digest) | EntryKind::LinkedFile(digest) = entry.kind {
                contents.insert(PathBuf::from("/").join(entry.path), digest);
            }
        }
        (contents, Some(scan.snapshot))
    }

    /// A part of the key for each tool of a task.
    pub(super) async fn identify(
        &self,
        task: &Task,
        environment: &[(OsString, OsString)],
        notes: &mut Vec<Note>,
    ) -> Result<Vec<Part>, Unkept> {
        let mut parts = Vec::with_capacity(task.tools.len());
        let cwd = task.cwd.under(self.workspace.root());
        let path = super::prepare::variable(environment, "PATH");
        for tool in &task.tools {
            let part = match &tool.value {
                Tool::Program(program) => {
                    let digest = match which(program.as_ref(), path, &cwd) {
                        Some(path) => self.content_of(path, program).await?,
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

    async fn content_of(&self, path: PathBuf, program: &str) -> Result<Option<Digest>, Unkept> {
        let known = self.programs.contents.lock().await.get(&path).copied();
        if known.is_some() {
            return Ok(known);
        }
        let asked = path.clone();
        let read = self.blocking(move || larder::source::digest_file(&asked)).await;
        let read = read.map_err(|error| Unkept::Tool { tool: program.to_owned(), why: error.to_string() })?;
        self.programs.contents.lock().await.insert(path, read.digest);
        Ok(Some(read.digest))
    }

    /// What a program prints, and its first line.
    async fn output_of(
        &self,
        argv: &[String],
        cwd: PathBuf,
        environment: &[(OsString, OsString)],
    ) -> Result<(Digest, String), String> {
        let asked = (argv.to_vec(), cwd, environment.to_vec());
        let answered = Arc::clone(self.programs.printed.lock().await.entry(asked.clone()).or_default());
        answered.get_or_init(|| print(asked)).await.clone()
    }
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
    };
    let (_keep, stop) = watch::channel(Stop::No);
    let none = crate::environment::Mask::none;
    let done = execute(&start, [none(), none()], stop, &mut Silence).await;
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
