//! Looking at what is outside, at most once a session.
//!
//! Invariant: within a [`View`] a source has one fingerprint, that of the first look. What else is handed out of it
//! later (a file's content that nobody held any more) either has that fingerprint or is told apart.
//! Not here: what a look means for an answer (`context`, `derive`).

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinError;

use super::Kind;
use super::look::{Place, find_tool};
use super::tables::id_of;
use crate::key::{Canonical, Digest, Scope};
use crate::query::{BadRootName, Fingerprint, Listed, NotBelowRoot, RootPath, Source, root_name, split_root};
use crate::source::{Counts, EntryKind, FileSet, Looked, ScanOptions, Snapshot, SourceError};

/// What a session sees of the outside.
///
/// Paths are spelled relative to the root or, below a directory that has a name, as `/@NAME/PATH`
/// ([`RootPath`]). Neither where the root is nor where the others are is in any key, so clones share answers.
///
/// No path leaves its root through `..`. Links are another matter: they are followed wherever they lead, out of the
/// root too, as they are for any program that reads the file. What counts is what is found through them, so whatever
/// changes there shows; what the link says does not count by itself. A root says how things are spelled, and is no
/// fence against those who may make links below it.
#[derive(Debug, Clone)]
pub struct Outside {
    /// The directory that paths are relative to. It is in no key, so that clones share answers.
    pub root: PathBuf,
    /// The environment variables. Only digests of their values are stored.
    pub environment: BTreeMap<OsString, OsString>,
    roots: BTreeMap<Box<str>, PathBuf>,
}

impl Outside {
    /// A root, and no environment variables.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), environment: BTreeMap::new(), roots: BTreeMap::new() }
    }

    /// Gives a further directory a name, under which what is below it is found. The name stands in what is kept, the
    /// directory does not: two machines share answers if they call the same things by the same names.
    pub fn with_root(mut self, name: &str, directory: impl Into<PathBuf>) -> Result<Self, BadRootName> {
        self.roots.insert(root_name(name)?, directory.into());
        Ok(self)
    }

    /// The directory of a root; `None` is the main one.
    pub(super) fn directory(&self, root: Option<&str>) -> Option<&Path> {
        match root {
            None => Some(&self.root),
            Some(name) => self.roots.get(name).map(PathBuf::as_path),
        }
    }
}

/// A source can't be looked at. That it is not there is no error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookError {
    /// The path leads out of the root.
    #[error(transparent)]
    Path(#[from] NotBelowRoot),
    /// No directory of the session has this name.
    #[error("root {0} is not known")]
    UnknownRoot(Box<str>),
    /// The patterns of one glob are below several roots.
    #[error("patterns of one glob must be below one root")]
    SeveralRoots,
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

/// A file's content or a directory's names, as they were read just now or are held by somebody.
#[derive(Debug)]
pub(super) struct Read<T: ?Sized> {
    /// The fingerprint that the session has of it.
    pub(super) seen: Fingerprint,
    /// That of this content; another one if it has changed since.
    pub(super) fingerprint: Fingerprint,
    /// `None` if it is not there.
    pub(super) content: Option<Arc<T>>,
}

/// What a computation gets to see of a source that is there.
#[derive(Debug)]
pub(super) enum Detail {
    /// The fingerprint says all, or nothing is there.
    None,
    /// Content, for as long as somebody holds it.
    Content(Mutex<Weak<[u8]>>),
    /// Names, if they were read.
    Listing(Mutex<Option<Arc<[Listed]>>>),
    Paths(Arc<[RootPath]>),
    Tool(Arc<Tool>),
}

/// How many files and listings are worth a thread of their own.
const WORTH_A_THREAD: usize = 512;
/// Of how many globs a session goes on to use what they found out about files.
const MAX_SCANS: usize = 64;

/// A root's name; `None` is the main one.
type Name = Option<Box<str>>;

type Cell = Arc<OnceCell<Result<Arc<Seen>, LookError>>>;

/// The outside as one session sees it.
pub(super) struct View {
    outside: Arc<Outside>,
    scope: Scope,
    snapshots: Kind<KeptSnapshot>,
    /// Of each root that was looked below.
    places: Mutex<HashMap<Name, Arc<OnceCell<Arc<Place>>>>>,
    counts: Arc<Mutex<Counts>>,
    cells: Mutex<HashMap<Source, Cell, RandomState>>,
    /// What globs found: they have looked at each file that they selected.
    scans: Mutex<Vec<(Name, Arc<Snapshot>)>>,
    threads: usize,
    /// Bounds how many blocking looks go on at once.
    permits: Semaphore,
}

impl View {
    pub(super) fn new(scope: Scope, snapshots: Kind<KeptSnapshot>, outside: Outside) -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN).get();
        Self {
            outside: Arc::new(outside),
            scope,
            snapshots,
            places: Mutex::default(),
            counts: Arc::default(),
            cells: Mutex::default(),
            scans: Mutex::default(),
            threads,
            permits: Semaphore::new(threads * 2),
        }
    }

    pub(super) fn outside(&self) -> &Outside {
        &self.outside
    }

    /// What looking took so far.
    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock()
    }

    async fn place(&self, root: Option<&str>) -> Result<Arc<Place>, LookError> {
        let Some(directory) = self.outside.directory(root) else {
            return Err(LookError::UnknownRoot(root.unwrap_or_default().into()));
        };
        let make = || async {
            let larder = &self.snapshots.larder;
            let table = match larder.mode().reads() {
                true => Some(larder.stat_table(&self.scope, directory).await),
                false => None,
            };
            let (root, clock) = (directory.to_owned(), larder.clock().clone());
            Arc::new(Place { root, table, clock, counts: Arc::clone(&self.counts) })
        };
        let place = Arc::clone(self.places.lock().entry(root.map(Box::from)).or_default());
        Ok(Arc::clone(place.get_or_init(make).await))
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
        if let Some(cell) = self.cells.lock().get(source)
            && let Some(seen) = cell.get()
        {
            return seen.clone();
        }
        let cell = self.cell(source.clone());
        let look = || async {
            match self.scanned(source) {
                Some(known) => Ok(Arc::new(seen_as(Looked::File, known))),
                None => self.look(source).await.map(Arc::new),
            }
        };
        cell.get_or_init(look).await.clone()
    }

    /// Looks at those files and listings that the session has not looked at, all in one go, so that seeing each is
    /// quick from now on. What goes wrong is told by whoever sees it.
    pub(super) async fn look_ahead(&self, sources: &[&Source]) {
        let (mut cells, mut wanted) = (Vec::new(), Vec::new());
        {
            let mut all = self.cells.lock();
            for &source in sources {
                let Some(look) = as_look(source) else { continue };
                if all.get(source).is_some_and(|cell| cell.initialized()) {
                    continue;
                }
                let cell = all.entry(source.clone()).or_default();
                match self.scanned(source) {
                    // Whoever looks just now is right too: what is told to all is told by the cell.
                    Some(known) => drop(cell.set(Ok(Arc::new(seen_as(look.0, known))))),
                    None => {
                        cells.push((look.0, Arc::clone(cell)));
                        wanted.push(look);
                    }
                }
            }
        }
        if wanted.is_empty() {
            return;
        }
        for ((looked, cell), found) in cells.iter().zip(self.fingerprints(wanted).await) {
            let seen = found.map(|fingerprint| Arc::new(seen_as(*looked, fingerprint)));
            cell.get_or_init(|| async { seen }).await;
        }
    }

    /// What is seen of sources now, whatever the session has seen.
    pub(super) async fn look_again(&self, sources: &[&Source]) -> Vec<Result<Fingerprint, LookError>> {
        let wanted: Vec<_> = sources.iter().filter_map(|source| as_look(source)).collect();
        let mut quick =
            if wanted.is_empty() { Vec::new() } else { self.fingerprints(wanted).await }.into_iter();
        let mut all = Vec::with_capacity(sources.len());
        for source in sources {
            all.push(match as_look(source) {
                Some(_) => quick.next().expect("each was looked at"),
                None => self.look(source).await.map(|seen| seen.fingerprint),
            });
        }
        all
    }

    /// The fingerprints of files and listings, in order. Where one blocking thread has enough to do, others help.
    async fn fingerprints(&self, wanted: Vec<(Looked, RootPath)>) -> Vec<Result<Fingerprint, LookError>> {
        let wanted = Arc::<[_]>::from(wanted);
        let most = wanted.len().div_ceil(self.threads).max(WORTH_A_THREAD);
        let (mut from, mut parts) = (0, Vec::new());
        for below_one in wanted.chunk_by(|(_, a), (_, b)| a.root() == b.root()) {
            let place = self.place(below_one[0].1.root()).await;
            for part in below_one.chunks(most) {
                let (range, wanted) = (from..from + part.len(), Arc::clone(&wanted));
                from = range.end;
                parts.push(match &place {
                    Ok(place) => {
                        let place = Arc::clone(place);
                        Ok(tokio::task::spawn_blocking(move || place.fingerprints(&wanted[range])))
                    }
                    Err(error) => Err((error.clone(), range.len())),
                });
            }
        }
        let mut found = Vec::with_capacity(wanted.len());
        for part in parts {
            match part {
                Ok(looks) => found.extend(finished(looks.await).into_iter().map(|look| look.map_err(failed))),
                Err((error, count)) => {
                    found.extend(std::iter::repeat_with(|| Err(error.clone())).take(count))
                }
            }
        }
        found
    }

    async fn fingerprint(&self, looked: Looked, path: &RootPath) -> Result<Fingerprint, LookError> {
        let (place, wanted) = (self.place(path.root()).await?, [(looked, path.clone())]);
        let mut found = self.blocking(move || Ok(place.fingerprints(&wanted))).await?;
        found.pop().expect("one was looked at").map_err(failed)
    }

    /// What a scan of this session has found out about a file.
    fn scanned(&self, source: &Source) -> Option<Fingerprint> {
        let Source::File(path) = source else { return None };
        let scans = self.scans.lock();
        let mut scans = scans.iter().filter(|(root, _)| root.as_deref() == path.root());
        scans.find_map(|(_, scan)| match scan.get(path.below())?.kind {
            EntryKind::File(digest) => Some(Fingerprint::Is(digest)),
            _ => None,
        })
    }

    /// What is seen of a source now, whatever the session has seen.
    async fn look(&self, source: &Source) -> Result<Seen, LookError> {
        match source {
            Source::File(path) => Ok(seen_as(Looked::File, self.fingerprint(Looked::File, path).await?)),
            Source::Listing(path) => {
                Ok(seen_as(Looked::Listing, self.fingerprint(Looked::Listing, path).await?))
            }
            Source::Glob(patterns) => {
                let paths = self.glob(patterns).await?;
                Ok(Seen { fingerprint: Fingerprint::of_paths(&paths), detail: Detail::Paths(paths) })
            }
            Source::Tool(name) => {
                if name.contains('/') {
                    self.place(RootPath::new(&**name)?.root()).await?;
                }
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
    pub(super) async fn read(&self, path: &RootPath) -> Result<Read<[u8]>, LookError> {
        let cell = self.cell(Source::File(path.clone()));
        let mut first = None;
        let seen = cell
            .get_or_init(|| async {
                let (content, fingerprint) = self.content(path).await?;
                let held = content.as_ref().map_or_else(no_content, Arc::downgrade);
                first = Some(content);
                Ok(Arc::new(Seen { fingerprint, detail: Detail::Content(Mutex::new(held)) }))
            })
            .await
            .clone()?;
        if let Some(content) = first {
            return Ok(Read { seen: seen.fingerprint, fingerprint: seen.fingerprint, content });
        }
        let Detail::Content(held) = &seen.detail else { unreachable!("a file's detail is its content") };
        let known = held.lock().upgrade();
        if known.is_some() || seen.fingerprint == Fingerprint::Absent {
            return Ok(Read { seen: seen.fingerprint, fingerprint: seen.fingerprint, content: known });
        }
        let (content, fingerprint) = self.content(path).await?;
        if let Some(content) = content.as_ref().filter(|_| fingerprint == seen.fingerprint) {
            *held.lock() = Arc::downgrade(content);
        }
        Ok(Read { seen: seen.fingerprint, fingerprint, content })
    }

    /// The names in a directory. Where only their fingerprint is known they are read.
    pub(super) async fn list(&self, path: &RootPath) -> Result<Read<[Listed]>, LookError> {
        let cell = self.cell(Source::Listing(path.clone()));
        let look = || async {
            let (names, fingerprint) = self.names(path).await?;
            Ok(Arc::new(Seen { fingerprint, detail: Detail::Listing(Mutex::new(names)) }))
        };
        let seen = cell.get_or_init(look).await.clone()?;
        let Detail::Listing(held) = &seen.detail else { unreachable!("a listing's detail is its names") };
        let known = held.lock().clone();
        if known.is_some() || seen.fingerprint == Fingerprint::Absent {
            return Ok(Read { seen: seen.fingerprint, fingerprint: seen.fingerprint, content: known });
        }
        let (names, fingerprint) = self.names(path).await?;
        if fingerprint == seen.fingerprint {
            (*held.lock()).clone_from(&names);
        }
        Ok(Read { seen: seen.fingerprint, fingerprint, content: names })
    }

    fn cell(&self, source: Source) -> Cell {
        Arc::clone(self.cells.lock().entry(source).or_default())
    }

    async fn content(&self, path: &RootPath) -> Result<(Option<Arc<[u8]>>, Fingerprint), LookError> {
        let (place, path) = (self.place(path.root()).await?, path.clone());
        let (content, fingerprint) = self.blocking(move || place.content(&path)).await?;
        Ok((content.map(Arc::from), fingerprint))
    }

    async fn names(&self, path: &RootPath) -> Result<(Option<Arc<[Listed]>>, Fingerprint), LookError> {
        let (place, path) = (self.place(path.root()).await?, path.clone());
        let (names, fingerprint) = self.blocking(move || place.names(&path)).await?;
        Ok((names.map(Arc::from), fingerprint))
    }

    /// The files that match, sorted. A snapshot of an earlier look spares reading them.
    async fn glob(&self, patterns: &Arc<[Box<str>]>) -> Result<Arc<[RootPath]>, LookError> {
        let (name, patterns) = below_one_root(patterns)?;
        let Some(root) = self.outside.directory(name.as_deref()).map(Path::to_owned) else {
            return Err(LookError::UnknownRoot(name.unwrap_or_default()));
        };
        // A snapshot is of one root: those of several clones do not take each other's place.
        let id = Canonical::new().digest(&(id_of(&root), &patterns));
        let id = id.expect("a digest and a list of strings have a canonical form");
        let key = self.snapshots.key_of_digest(id);
        let previous = self.snapshots.peek(&key).await.map(|(entry, _)| Arc::clone(&entry.value.0));
        let clock = self.snapshots.larder.clock().clone();
        let began = clock.now();
        let scan = self.blocking(move || {
            let set = FileSet::inputs(root).patterns(patterns).build()?;
            let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
            set.scan(
                previous.as_ref(),
                &ScanOptions { clock: &clock, stop: &AtomicBool::new(false), threads },
            )
        });
        let scan = scan.await?;
        self.count(&scan.counts);
        if scan.is_new() {
            let took = self.snapshots.larder.clock().now().since(began);
            self.snapshots.put(&key, KeptSnapshot(Arc::clone(&scan.snapshot)), took).await;
        }
        let files = scan
            .snapshot
            .entries()
            .filter(|entry| matches!(entry.kind, EntryKind::File(_) | EntryKind::LinkedFile(_)));
        // A path that a snapshot has is below the root.
        let paths = files.filter_map(|entry| RootPath::join(name.as_deref(), entry.path).ok()).collect();
        let mut scans = self.scans.lock();
        if scans.len() < MAX_SCANS {
            scans.push((name, scan.snapshot));
        }
        Ok(paths)
    }

    fn count(&self, more: &Counts) {
        let mut counts = self.counts.lock();
        counts.directories += more.directories;
        counts.looked_at += more.looked_at;
        counts.read += more.read;
        counts.read_bytes += more.read_bytes;
    }

    async fn blocking<T, F>(&self, look: F) -> Result<T, LookError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, SourceError> + Send + 'static,
    {
        let _permit = self.permits.acquire().await.expect("nobody closes it");
        finished(tokio::task::spawn_blocking(look).await).map_err(failed)
    }
}

/// What a blocking look came to. A panic in it comes through.
fn finished<T>(outcome: Result<T, JoinError>) -> T {
    match outcome {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => panic!("the runtime was shut down while a source was looked at"),
        },
    }
}

fn failed(error: SourceError) -> LookError {
    LookError::Source(Arc::new(error))
}

/// The root that all of some patterns are below, and the patterns as they are spelled there.
fn below_one_root(patterns: &[Box<str>]) -> Result<(Name, Vec<String>), LookError> {
    let (mut root, mut below) = (None, Vec::with_capacity(patterns.len()));
    for spelled in patterns {
        let (taken_back, pattern) =
            spelled.strip_prefix('!').map_or(("", &**spelled), |pattern| ("!", pattern));
        let unclear = || LookError::Path(NotBelowRoot(pattern.into()));
        let (name, rest) = split_root(Path::new(pattern)).ok_or_else(unclear)?;
        let rest = rest.to_str().ok_or_else(unclear)?;
        if *root.get_or_insert(name) != name {
            return Err(LookError::SeveralRoots);
        }
        below.push(format!("{taken_back}{rest}"));
    }
    Ok((root.flatten().map(Box::from), below))
}

/// A source that is looked at by its stat data first.
fn as_look(source: &Source) -> Option<(Looked, RootPath)> {
    match source {
        Source::File(path) => Some((Looked::File, path.clone())),
        Source::Listing(path) => Some((Looked::Listing, path.clone())),
        _ => None,
    }
}

/// What was seen of a file or a listing of which nothing but the fingerprint is known.
fn seen_as(looked: Looked, fingerprint: Fingerprint) -> Seen {
    let detail = match looked {
        Looked::File => Detail::Content(Mutex::new(no_content())),
        Looked::Listing => Detail::Listing(Mutex::default()),
    };
    Seen { fingerprint, detail }
}

fn no_content() -> Weak<[u8]> {
    Weak::<[u8; 0]>::new()
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
