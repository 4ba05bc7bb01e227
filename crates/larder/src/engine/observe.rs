//! Looking at what is outside, at most once a session.
//!
//! Invariant: within a [`View`] a source has one fingerprint, that of the first look. What else is handed out of it
//! later (a file's content that nobody held any more) either has that fingerprint or is told apart.
//! Not here: what a look means for an answer (`context`, `derive`), how it is done (`look`, `glob`), what one session hands
//! on to the next (`carry`).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinError;

use super::Kind;
use super::carry::Carry;
use super::contents::no_content;
use super::glob::{KeptSnapshot, Selected, below_one_root};
use super::look::{Place, Sight, Wanted, find_tool};
use super::outside::{LookError, Outside, Tool};
use super::slots::Slots;
use crate::key::Scope;
use crate::query::{Fingerprint, Listed, RootPath, Source, split_root};
use crate::source::{Counts, EntryKind, Looked, Mark, Snapshot, SourceError, Vigil};
use crate::tier::Brief;

/// What was seen of a source.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) fingerprint: Fingerprint,
    pub(super) detail: Detail,
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
    Paths(Arc<Selected>),
    Tool(Arc<Tool>),
}

/// Of how many globs a session goes on to use what they found out about files.
const MAX_SCANS: usize = 64;

/// A root's name; `None` is the main one.
pub(super) type Name = Option<Box<str>>;

/// What a glob found: it has looked at each file that it selected.
pub(super) struct Scanned {
    pub(super) root: Name,
    pub(super) snapshot: Arc<Snapshot>,
    /// When it began.
    pub(super) mark: Option<Mark>,
    /// Where in it was looked last: files are asked for in order most of the time.
    pub(super) last: usize,
}

/// The outside as one session sees it.
pub(super) struct View {
    pub(super) outside: Arc<Outside>,
    scope: Scope,
    pub(super) snapshots: Kind<KeptSnapshot>,
    /// Of each root that was looked below.
    places: Mutex<HashMap<Name, Arc<OnceCell<Arc<Place>>>>>,
    pub(super) counts: Arc<Mutex<Counts>>,
    pub(super) sources: Slots,
    scans: Mutex<Vec<Scanned>>,
    pub(super) threads: usize,
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
            sources: Slots::default(),
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

    /// A root, and what is remembered of the files below it.
    pub(super) async fn place(&self, root: Option<&str>) -> Result<Arc<Place>, LookError> {
        let place = self.bare_place(root).await?;
        if let Some(table) = &place.table {
            self.snapshots.larder.load_stat_table(table).await;
        }
        Ok(place)
    }

    /// A root, for whoever has no use for what is remembered of single files.
    pub(super) async fn bare_place(&self, root: Option<&str>) -> Result<Arc<Place>, LookError> {
        let Some(directory) = self.outside.directory(root) else {
            return Err(LookError::UnknownRoot(root.unwrap_or_default().into()));
        };
        let make = || async {
            let larder = &self.snapshots.larder;
            let table = larder.mode().reads().then(|| larder.stat_table(&self.scope, directory));
            let carry = self.outside.watch.as_ref().filter(|_| larder.mode().reads());
            let carry = carry.map(|watch| watch.carry(directory));
            let caught_up = match &carry {
                Some(carry) => carry.catch_up().await,
                None => None,
            };
            let carry = carry.filter(|_| caught_up.is_some());
            let (root, began) = caught_up.unzip();
            let root = root.unwrap_or_else(|| directory.to_owned());
            let (clock, counts) = (larder.clock().clone(), Arc::clone(&self.counts));
            Arc::new(Place { root, table, carry, began, clock, counts })
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
        let cell = self.sources.cell(source.clone());
        cell.get_or_init(|| self.first_look(source)).await.clone()
    }

    /// What stands for a source: looks at it, unless the session has.
    pub(super) async fn fingerprint(&self, source: &Source) -> Result<Fingerprint, LookError> {
        match self.sources.fingerprint(source) {
            Some(known) => Ok(known),
            None => self.see(source).await.map(|seen| seen.fingerprint),
        }
    }

    /// What is seen of a source for the first time.
    async fn first_look(&self, source: &Source) -> Result<Arc<Seen>, LookError> {
        let look = || async {
            let Some(wanted) = self.wanted(source) else { return self.look(source).await };
            let looked = wanted.looked;
            let Sight { fingerprint, vigil } = self.sight(wanted).await?;
            Ok((seen_as(looked, fingerprint), vigil))
        };
        self.unless_carried(source, look).await
    }

    /// What an earlier session hands on, or else what `look` sees, which is handed on.
    pub(super) async fn unless_carried<F>(
        &self,
        source: &Source,
        look: impl FnOnce() -> F,
    ) -> Result<Arc<Seen>, LookError>
    where
        F: Future<Output = Result<(Seen, Option<Vigil>), LookError>>,
    {
        let carry = match root_of(source)? {
            Some(root) => self.bare_place(root).await?.carry.clone(),
            None => None,
        };
        if let Some(seen) = carry.as_ref().and_then(|carry| self.carried(carry, source)) {
            return Ok(seen);
        }
        let (seen, vigil) = look().await?;
        let seen = Arc::new(seen);
        if let (Some(carry), Some(vigil)) = (carry, vigil) {
            carry.keep(source, &seen, vigil);
        }
        Ok(seen)
    }

    /// What an earlier session hands on.
    fn carried(&self, carry: &Carry, source: &Source) -> Option<Arc<Seen>> {
        let seen = carry.get(source)?;
        self.counts.lock().carried += 1;
        Some(seen)
    }

    async fn sight(&self, wanted: Wanted) -> Result<Sight, LookError> {
        let (place, wanted) = (self.place(wanted.path.root()).await?, [wanted]);
        let mut found = self.brief_look(move || Ok(place.fingerprints(&wanted))).await?;
        found.pop().expect("one was looked at").map_err(failed)
    }

    /// A file or a listing as it is looked at for the first time.
    fn wanted(&self, source: &Source) -> Option<Wanted> {
        let (looked, path) = as_look(source)?;
        let known = self.scanned(looked, path);
        Some(Wanted { looked, path: path.clone(), known, is_watched: true })
    }

    /// What a scan of this session has found out about a file.
    pub(super) fn scanned(&self, looked: Looked, path: &RootPath) -> Option<(Fingerprint, Option<Mark>)> {
        find_scanned(&mut self.scans(), looked, path)
    }

    /// What this session has scanned.
    pub(super) fn scans(&self) -> MutexGuard<'_, Vec<Scanned>> {
        self.scans.lock()
    }

    /// What is seen of a source now, whatever the session has seen.
    pub(super) async fn look(&self, source: &Source) -> Result<(Seen, Option<Vigil>), LookError> {
        match source {
            Source::Glob(patterns) => self.glob(patterns).await,
            Source::Tool(name) => {
                if name.contains('/') {
                    self.place(RootPath::new(&**name)?.root()).await?;
                }
                let (outside, name) = (Arc::clone(&self.outside), Arc::clone(name));
                let seen = match self.blocking(move || find_tool(&outside, &name)).await? {
                    None => Seen { fingerprint: Fingerprint::Absent, detail: Detail::None },
                    Some(tool) => {
                        let fingerprint = Fingerprint::Is(tool.digest);
                        Seen { fingerprint, detail: Detail::Tool(Arc::new(tool)) }
                    }
                };
                Ok((seen, None))
            }
            Source::Variable(name) => {
                let fingerprint = Fingerprint::of_variable(name, self.variable(name));
                Ok((Seen { fingerprint, detail: Detail::None }, None))
            }
            Source::File(_) | Source::Listing(_) => unreachable!("its stat data is looked at first"),
            Source::Query(_) => unreachable!("a query is asked and not looked at"),
        }
    }

    /// Goes on to use what a scan found out about files.
    pub(super) fn note_scan(&self, scan: Scanned) {
        let mut scans = self.scans.lock();
        if scans.len() < MAX_SCANS {
            scans.push(scan);
        }
    }

    pub(super) fn count(&self, more: &Counts) {
        let mut counts = self.counts.lock();
        counts.directories += more.directories;
        counts.looked_at += more.looked_at;
        counts.read += more.read;
        counts.read_bytes += more.read_bytes;
    }

    pub(super) fn brief(&self) -> Brief {
        self.snapshots.larder.shared.brief
    }

    /// Looks where brief looks are done.
    pub(super) async fn brief_look<T, F>(&self, look: F) -> Result<T, LookError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, SourceError> + Send + 'static,
    {
        match self.brief() {
            Brief::Aside => self.blocking(look).await,
            Brief::InPlace => look().map_err(failed),
        }
    }

    pub(super) async fn blocking<T, F>(&self, look: F) -> Result<T, LookError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, SourceError> + Send + 'static,
    {
        let _permit = self.permits.acquire().await.expect("nobody closes it");
        finished(tokio::task::spawn_blocking(look).await).map_err(failed)
    }
}

/// What scans have found out about a file.
pub(super) fn find_scanned(
    scans: &mut [Scanned],
    looked: Looked,
    path: &RootPath,
) -> Option<(Fingerprint, Option<Mark>)> {
    if looked == Looked::Listing {
        return None;
    }
    let mut scans = scans.iter_mut().filter(|scan| scan.root.as_deref() == path.root());
    scans.find_map(|scan| match scan.snapshot.get_after(&mut scan.last, path.below())?.kind {
        EntryKind::File(digest) => Some((Fingerprint::Is(digest), scan.mark)),
        _ => None,
    })
}

/// What a blocking look came to. A panic in it comes through.
pub(super) fn finished<T>(outcome: Result<T, JoinError>) -> T {
    match outcome {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => panic!("the runtime was shut down while a source was looked at"),
        },
    }
}

pub(super) fn failed(error: SourceError) -> LookError {
    LookError::Source(Arc::new(error))
}

/// A source that is looked at by its stat data first.
pub(super) fn as_look(source: &Source) -> Option<(Looked, &RootPath)> {
    match source {
        Source::File(path) => Some((Looked::File, path)),
        Source::Listing(path) => Some((Looked::Listing, path)),
        _ => None,
    }
}

/// The root that all of a source is below; `None` if there is none.
pub(super) fn root_of(source: &Source) -> Result<Option<Option<&str>>, LookError> {
    Ok(match source {
        Source::File(path) | Source::Listing(path) => Some(path.root()),
        Source::Glob(patterns) => {
            below_one_root(patterns)?;
            let first = patterns.first().map(|pattern| pattern.strip_prefix('!').unwrap_or(pattern));
            Some(first.and_then(|first| split_root(Path::new(first))).and_then(|(root, _)| root))
        }
        Source::Variable(_) | Source::Tool(_) | Source::Query(_) => None,
    })
}

/// What was seen of a file or a listing of which nothing but the fingerprint is known.
pub(super) fn seen_as(looked: Looked, fingerprint: Fingerprint) -> Seen {
    let detail = match looked {
        Looked::File => Detail::Content(Mutex::new(no_content())),
        Looked::Listing => Detail::Listing(Mutex::default()),
    };
    Seen { fingerprint, detail }
}
