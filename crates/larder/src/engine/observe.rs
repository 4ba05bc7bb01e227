//! Looking at what is outside, at most once a session.
//!
//! Invariant: within a [`View`] a source has one fingerprint, that of the first look. What else is handed out of it
//! later (a file's content that nobody held any more) either has that fingerprint or is told apart.
//! Not here: what a look means for an answer (`context`, `derive`).

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::{OnceCell, Semaphore};

use super::Kind;
use super::look::{find_tool, fingerprint_of_file, list_directory, read_file};
use crate::key::{Canonical, Digest};
use crate::query::{Fingerprint, Listed, NotBelowRoot, RootPath, Source};
use crate::source::{EntryKind, FileSet, ScanOptions, Snapshot, SourceError};

/// What a session sees of the outside.
#[derive(Debug, Clone)]
pub struct Outside {
    /// The directory that paths are relative to. It is in no key, so that clones share answers.
    pub root: PathBuf,
    /// The environment variables. Only digests of their values are stored.
    pub environment: BTreeMap<OsString, OsString>,
}

impl Outside {
    /// A root, and no environment variables.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), environment: BTreeMap::new() }
    }
}

/// A source can't be looked at. That it is not there is no error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookError {
    /// The path leads out of the root.
    #[error(transparent)]
    Path(#[from] NotBelowRoot),
    /// Looking failed.
    #[error("source can't be looked at")]
    Source(#[source] Arc<SourceError>),
}

/// A program, by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Where it is. Differs between machines, and belongs into no answer.
    pub path: PathBuf,
    /// Digest of its content.
    pub digest: Digest,
}

/// What was seen of a source.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) fingerprint: Fingerprint,
    pub(super) detail: Detail,
}

/// A file's content, as it was read just now or is held by somebody.
#[derive(Debug)]
pub(super) struct FileContent {
    /// The fingerprint that the session has of the file.
    pub(super) seen: Fingerprint,
    /// That of this content; another one if the file has changed since.
    pub(super) fingerprint: Fingerprint,
    /// `None` if there is no such file.
    pub(super) content: Option<Arc<[u8]>>,
}

/// What a computation gets to see of a source that is there.
#[derive(Debug)]
pub(super) enum Detail {
    /// The fingerprint says all, or nothing is there.
    None,
    /// Content, for as long as somebody holds it.
    Content(Mutex<Weak<[u8]>>),
    Listing(Arc<[Listed]>),
    Paths(Arc<[RootPath]>),
    Tool(Arc<Tool>),
}

type Cell = Arc<OnceCell<Result<Arc<Seen>, LookError>>>;

/// The outside as one session sees it.
pub(super) struct View {
    outside: Arc<Outside>,
    snapshots: Kind<KeptSnapshot>,
    cells: Mutex<HashMap<Source, Cell>>,
    /// Bounds how many blocking looks go on at once.
    permits: Semaphore,
}

impl View {
    pub(super) fn new(snapshots: Kind<KeptSnapshot>, outside: Outside) -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN).get();
        Self {
            outside: Arc::new(outside),
            snapshots,
            cells: Mutex::default(),
            permits: Semaphore::new(threads * 2),
        }
    }

    /// The value of an environment variable.
    pub(super) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.outside.environment.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// What is seen of a source: looks at it, unless the session has.
    pub(super) async fn see(&self, source: &Source) -> Result<Arc<Seen>, LookError> {
        if let Source::Variable(name) = source {
            let fingerprint = Fingerprint::of_variable(name, self.variable(name));
            return Ok(Arc::new(Seen { fingerprint, detail: Detail::None }));
        }
        let cell = Arc::clone(self.cells.lock().entry(source.clone()).or_default());
        cell.get_or_init(|| async { self.look(source).await.map(Arc::new) }).await.clone()
    }

    /// What is seen of a source now, whatever the session has seen.
    pub(super) async fn look(&self, source: &Source) -> Result<Seen, LookError> {
        match source {
            Source::File(path) => {
                let path = path.under(&self.outside.root);
                let fingerprint = self.blocking(move || fingerprint_of_file(&path)).await?;
                Ok(Seen { fingerprint, detail: Detail::Content(Mutex::new(no_content())) })
            }
            Source::Listing(path) => {
                let path = path.under(&self.outside.root);
                let names: Option<Arc<[Listed]>> =
                    self.blocking(move || list_directory(&path)).await?.map(Arc::from);
                Ok(match names {
                    None => Seen { fingerprint: Fingerprint::Absent, detail: Detail::None },
                    Some(names) => {
                        Seen { fingerprint: Fingerprint::of_listing(&names), detail: Detail::Listing(names) }
                    }
                })
            }
            Source::Glob(patterns) => {
                let paths = self.glob(patterns).await?;
                Ok(Seen { fingerprint: Fingerprint::of_paths(&paths), detail: Detail::Paths(paths) })
            }
            Source::Tool(name) => {
                let (outside, name) = (Arc::clone(&self.outside), Arc::clone(name));
                Ok(match self.blocking(move || find_tool(&outside, &name)).await? {
                    None => Seen { fingerprint: Fingerprint::Absent, detail: Detail::None },
                    Some(tool) => {
                        let fingerprint = Fingerprint::Is(tool.digest);
                        Seen { fingerprint, detail: Detail::Tool(Arc::new(tool)) }
                    }
                })
            }
            Source::Variable(name) => {
                let fingerprint = Fingerprint::of_variable(name, self.variable(name));
                Ok(Seen { fingerprint, detail: Detail::None })
            }
            Source::Query(_) => unreachable!("a query is asked and not looked at"),
        }
    }

    /// A file's content. Where nobody held any more what was read before, it is read again.
    pub(super) async fn read(&self, path: &RootPath) -> Result<FileContent, LookError> {
        let source = Source::File(path.clone());
        let cell = Arc::clone(self.cells.lock().entry(source).or_default());
        let full = path.under(&self.outside.root);
        let mut first = None;
        let seen = cell
            .get_or_init(|| async {
                let content = self.content(full.clone()).await?;
                let fingerprint = fingerprint_of(content.as_deref());
                let held = content.as_ref().map_or_else(no_content, Arc::downgrade);
                first = Some(content);
                Ok(Arc::new(Seen { fingerprint, detail: Detail::Content(Mutex::new(held)) }))
            })
            .await
            .clone()?;
        if let Some(content) = first {
            return Ok(FileContent { seen: seen.fingerprint, fingerprint: seen.fingerprint, content });
        }
        let Detail::Content(held) = &seen.detail else { unreachable!("a file's detail is its content") };
        let known = held.lock().upgrade();
        if known.is_some() || seen.fingerprint == Fingerprint::Absent {
            return Ok(FileContent { seen: seen.fingerprint, fingerprint: seen.fingerprint, content: known });
        }
        let content = self.content(full).await?;
        let fingerprint = fingerprint_of(content.as_deref());
        if let Some(content) = content.as_ref().filter(|_| fingerprint == seen.fingerprint) {
            *held.lock() = Arc::downgrade(content);
        }
        Ok(FileContent { seen: seen.fingerprint, fingerprint, content })
    }

    async fn content(&self, path: PathBuf) -> Result<Option<Arc<[u8]>>, LookError> {
        Ok(self.blocking(move || read_file(&path)).await?.map(Arc::from))
    }

    /// The files that match, sorted. A snapshot of an earlier look spares reading them.
    async fn glob(&self, patterns: &Arc<[Box<str>]>) -> Result<Arc<[RootPath]>, LookError> {
        let id = Canonical::new().digest(patterns).expect("a list of strings has a canonical form");
        let key = self.snapshots.key_of_digest(id);
        let previous = self.snapshots.peek(&key).await.map(|(entry, _)| Arc::clone(&entry.value.0));
        let (root, patterns) = (self.outside.root.clone(), Arc::clone(patterns));
        let clock = self.snapshots.larder.clock().clone();
        let began = clock.now();
        let scan = self.blocking(move || {
            let set = FileSet::inputs(root).patterns(patterns.iter().map(|pattern| &**pattern)).build()?;
            let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
            set.scan(
                previous.as_ref(),
                &ScanOptions { clock: &clock, stop: &AtomicBool::new(false), threads },
            )
        });
        let scan = scan.await?;
        if scan.is_new() {
            let took = self.snapshots.larder.clock().now().since(began);
            self.snapshots.put(&key, KeptSnapshot(Arc::clone(&scan.snapshot)), took).await;
        }
        let files = scan
            .snapshot
            .entries()
            .filter(|entry| matches!(entry.kind, EntryKind::File(_) | EntryKind::LinkedFile(_)));
        // A path that a snapshot has is below the root.
        Ok(files.filter_map(|entry| RootPath::new(entry.path).ok()).collect())
    }

    async fn blocking<T, F>(&self, look: F) -> Result<T, LookError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, SourceError> + Send + 'static,
    {
        let _permit = self.permits.acquire().await.expect("nobody closes it");
        match tokio::task::spawn_blocking(look).await {
            Ok(outcome) => outcome.map_err(|error| LookError::Source(Arc::new(error))),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => panic!("the runtime was shut down while a source was looked at"),
            },
        }
    }
}

fn no_content() -> Weak<[u8]> {
    Weak::<[u8; 0]>::new()
}

fn fingerprint_of(content: Option<&[u8]>) -> Fingerprint {
    content.map_or(Fingerprint::Absent, Fingerprint::of_content)
}

/// A snapshot as it is kept, so that a glob reads no file that an earlier one read. It decides no answer.
pub(super) struct KeptSnapshot(Arc<Snapshot>);

impl Serialize for KeptSnapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0.encode())
    }
}

impl<'de> Deserialize<'de> for KeptSnapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = KeptSnapshot;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a stored snapshot")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<KeptSnapshot, E> {
                Snapshot::decode(bytes).map(|snapshot| KeptSnapshot(Arc::new(snapshot))).map_err(E::custom)
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
