//! Looking at what is outside, at most once a session.
//!
//! Invariant: within a [`View`] a source has one fingerprint, that of the first look. What else is handed out of it
//! later (a file's content that nobody held any more) either has that fingerprint or is told apart.
//! Not here: what a look means for an answer (`context`, `derive`), how it is done (`look`, `glob`), what one session hands
//! on to the next (`carry`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinError;

use super::Kind;
use super::carry::Carry;
use super::glob::{KeptSnapshot, below_one_root};
use super::look::{Place, Sight, Wanted, find_tool};
use super::outside::{LookError, Outside, Tool};
use crate::key::Scope;
use crate::query::{Fingerprint, Listed, Observation, RootPath, Source, split_root};
use crate::source::{Counts, EntryKind, Looked, Mark, Snapshot, SourceError, Vigil};
use crate::tier::Brief;

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
/// How many observations have to be right for it to be worth noting that they are.
const WORTH_NOTING: usize = 16;
/// Of how many globs a session goes on to use what they found out about files.
const MAX_SCANS: usize = 64;

/// A root's name; `None` is the main one.
pub(super) type Name = Option<Box<str>>;

/// What was found, what stands for it, and a vigil that began before.
type Looking<T> = (Option<Arc<T>>, Fingerprint, Option<Vigil>);

type Cell = Arc<OnceCell<Result<Arc<Seen>, LookError>>>;

/// What a session has of a source.
enum Slot {
    /// What stands for a file or a listing; nobody has asked for what is in it.
    Known(Fingerprint),
    /// What was seen.
    Seen(Arc<Seen>),
    /// What somebody sees just now, or could not see.
    Cell(Cell),
}

impl Slot {
    /// What stands for the source, if somebody has seen it.
    fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Known(fingerprint) => Some(*fingerprint),
            Self::Seen(seen) => Some(seen.fingerprint),
            Self::Cell(cell) => cell.get()?.as_ref().ok().map(|seen| seen.fingerprint),
        }
    }

    /// The same with room for what is in it.
    fn cell(&mut self, source: &Source) -> Cell {
        let seen = match self {
            Self::Cell(cell) => return Arc::clone(cell),
            Self::Seen(seen) => Arc::clone(seen),
            Self::Known(fingerprint) => {
                let (looked, _) = as_look(source).expect("nothing else is known like that");
                Arc::new(seen_as(looked, *fingerprint))
            }
        };
        let cell = Arc::new(OnceCell::new_with(Some(Ok(seen))));
        *self = Self::Cell(Arc::clone(&cell));
        cell
    }
}

/// What a session has of all sources.
#[derive(Default)]
struct Slots {
    slots: HashMap<Source, Slot, RandomState>,
    /// Observations of files and listings that are right for this session, and are not in there yet: most sessions
    /// never ask for one of them by itself.
    right: Vec<Arc<[Observation]>>,
}

impl Slots {
    fn all(&mut self) -> &mut HashMap<Source, Slot, RandomState> {
        for observations in self.right.drain(..) {
            for Observation { source, fingerprint, .. } in observations.iter() {
                if as_look(source).is_some() {
                    self.slots.entry(source.clone()).or_insert(Slot::Known(*fingerprint));
                }
            }
        }
        &mut self.slots
    }
}

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
    counts: Arc<Mutex<Counts>>,
    sources: Mutex<Slots>,
    scans: Mutex<Vec<Scanned>>,
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
            sources: Mutex::default(),
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

    pub(super) async fn place(&self, root: Option<&str>) -> Result<Arc<Place>, LookError> {
        let Some(directory) = self.outside.directory(root) else {
            return Err(LookError::UnknownRoot(root.unwrap_or_default().into()));
        };
        let make = || async {
            let larder = &self.snapshots.larder;
            let table = match larder.mode().reads() {
                true => Some(larder.stat_table(&self.scope, directory).await),
                false => None,
            };
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
        let cell = self.cell(source.clone());
        cell.get_or_init(|| self.first_look(source)).await.clone()
    }

    /// What stands for a source: looks at it, unless the session has.
    pub(super) async fn fingerprint(&self, source: &Source) -> Result<Fingerprint, LookError> {
        let known = self.sources.lock().all().get(source).and_then(Slot::fingerprint);
        match known {
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
    async fn unless_carried<F>(
        &self,
        source: &Source,
        look: impl FnOnce() -> F,
    ) -> Result<Arc<Seen>, LookError>
    where
        F: Future<Output = Result<(Seen, Option<Vigil>), LookError>>,
    {
        let carry = match root_of(source)? {
            Some(root) => self.place(root).await?.carry.clone(),
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

    /// Whether observations are right, going by what earlier sessions hand on and without going through all of them.
    pub(super) async fn are_right(&self, observations: &Arc<[Observation]>) -> bool {
        let Some(place) = self.place_of_all(observations).await else { return false };
        let (Some(carry), Some(began)) = (&place.carry, place.began) else { return false };
        if !carry.are_right(observations, began) {
            return false;
        }
        let (mut globs, mut carried) = (Vec::new(), 0);
        for Observation { source, fingerprint, .. } in observations.iter() {
            carried += usize::from(!matches!(source, Source::Variable(_)));
            match source {
                Source::Variable(name)
                    if Fingerprint::of_variable(name, self.variable(name)) != *fingerprint =>
                {
                    return false;
                }
                Source::Glob(_) => match carry.get(source) {
                    Some(seen) => globs.push((source.clone(), Slot::Seen(seen))),
                    None => return false,
                },
                _ => {}
            }
        }
        self.counts.lock().carried += carried;
        let mut sources = self.sources.lock();
        for (source, slot) in globs {
            sources.slots.entry(source).or_insert(slot);
        }
        sources.right.push(Arc::clone(observations));
        true
    }

    /// Hands on that observations were found to be right.
    pub(super) async fn note_right(&self, observations: &Arc<[Observation]>) {
        if let Some(place) = self.place_of_all(observations).await
            && let Some(carry) = &place.carry
        {
            let known = |seen: &Observation| !matches!(seen.source, Source::Query(_) | Source::Tool(_));
            let mut roots = observations.iter().filter_map(|seen| root_of(&seen.source).ok()?);
            let first = roots.next();
            if observations.iter().all(known) && roots.all(|root| Some(root) == first) {
                carry.note_right(observations);
            }
        }
    }

    /// Where the first of many observations is; of all of them, if it is ever noted that they are right.
    async fn place_of_all(&self, observations: &[Observation]) -> Option<Arc<Place>> {
        if self.outside.watch.is_none() || observations.len() < WORTH_NOTING {
            return None;
        }
        let root = observations.iter().find_map(|seen| root_of(&seen.source).ok()?)?;
        self.place(root).await.ok()
    }

    /// Looks at those files and listings that the session has not looked at, all in one go, and returns what stands for
    /// each. `None` stands for other sources, and for those that could not be looked at: what is wrong with them is told
    /// by whoever sees them.
    pub(super) async fn look_ahead(&self, sources: &[&Source]) -> Vec<Option<Fingerprint>> {
        let places = self.places_of(sources).await;
        let carry_of = |root: Option<&str>| {
            let place = places.iter().find(|place| place.0.as_deref() == root);
            place.and_then(|(_, place)| place.carry.as_ref())
        };
        let (mut found, mut wanted, mut places_wanted) = (Vec::new(), Vec::new(), Vec::new());
        let mut count = 0;
        {
            let mut sources_seen = self.sources.lock();
            let all = sources_seen.all();
            all.reserve(sources.len());
            for (at, &source) in sources.iter().enumerate() {
                let Some((looked, path)) = as_look(source) else {
                    found.push(None);
                    continue;
                };
                if let Some(slot) = all.get(source) {
                    found.push(slot.fingerprint());
                    continue;
                }
                let carry = carry_of(path.root());
                let mut slot = carry.and_then(|carry| carry.get(source)).map(Slot::Seen);
                count += usize::from(slot.is_some());
                let known = if slot.is_none() { self.scanned(looked, path) } else { None };
                if carry.is_none() {
                    slot = known.map(|(known, _)| Slot::Known(known));
                }
                found.push(slot.as_ref().and_then(Slot::fingerprint));
                match slot {
                    Some(slot) => drop(all.insert(source.clone(), slot)),
                    None => {
                        wanted.push(Wanted { looked, path: path.clone(), known, is_watched: true });
                        places_wanted.push((at, carry));
                    }
                }
            }
        }
        self.counts.lock().carried += count;
        if wanted.is_empty() {
            return found;
        }
        let sights = self.fingerprints(wanted).await;
        let mut sources_seen = self.sources.lock();
        let all = sources_seen.all();
        for ((at, carry), sight) in places_wanted.into_iter().zip(sights) {
            // Whoever looked meanwhile, or does so now, is right too: what is told to all is what was there first.
            let Ok(Sight { fingerprint, vigil }) = sight else { continue };
            let source = sources[at];
            let slot = all.entry(source.clone()).or_insert(Slot::Known(fingerprint));
            if let (Some(carry), Some(vigil)) = (carry, vigil)
                && let Slot::Known(fingerprint) = *slot
                && let Some((looked, _)) = as_look(source)
            {
                let seen = Arc::new(seen_as(looked, fingerprint));
                carry.keep(source, &seen, vigil);
                *slot = Slot::Seen(seen);
            }
            found[at] = slot.fingerprint();
        }
        found
    }

    /// The places that files and listings are below, as far as they are known.
    async fn places_of(&self, sources: &[&Source]) -> Vec<(Name, Arc<Place>)> {
        let mut places: Vec<(Name, Arc<Place>)> = Vec::new();
        for root in sources.iter().filter_map(|source| as_look(source)).map(|(_, path)| path.root()) {
            if places.iter().all(|place| place.0.as_deref() != root)
                && let Ok(place) = self.place(root).await
            {
                places.push((root.map(Box::from), place));
            }
        }
        places
    }

    /// What is seen of sources now, whatever the session has seen.
    pub(super) async fn look_again(&self, sources: &[&Source]) -> Vec<Result<Fingerprint, LookError>> {
        let caught_up = self.caught_up(sources).await;
        let unchanged = |source: &Source| {
            let root = root_of(source).ok()??;
            let (_, carry) = caught_up.iter().find(|(name, _)| name.as_deref() == root)?;
            match carry {
                Ok(carry) => carry.get(source).map(|seen| Ok(seen.fingerprint)),
                Err(error) => Some(Err(error.clone())),
            }
        };
        let mut known: Vec<_> = sources.iter().map(|source| unchanged(source)).collect();
        let wanted = sources.iter().zip(&known).filter(|(_, known)| known.is_none());
        let wanted = wanted.filter_map(|(source, _)| as_look(source));
        let wanted: Vec<Wanted> = wanted.map(Wanted::unwatched).collect();
        let mut quick =
            if wanted.is_empty() { Vec::new() } else { self.fingerprints(wanted).await }.into_iter();
        for (source, known) in sources.iter().zip(&mut known).filter(|(_, known)| known.is_none()) {
            *known = Some(match as_look(source) {
                Some(_) => quick.next().expect("each was looked at").map(|sight| sight.fingerprint),
                None => self.look(source).await.map(|(seen, _)| seen.fingerprint),
            });
        }
        known.into_iter().map(|known| known.expect("all were looked at")).collect()
    }

    /// What is handed on below the roots of sources, where there is a watch: by now, not as when the session began.
    async fn caught_up(&self, sources: &[&Source]) -> Vec<(Name, Result<Arc<Carry>, LookError>)> {
        let mut roots: Vec<(Name, Result<Arc<Carry>, LookError>)> = Vec::new();
        for root in sources.iter().filter_map(|source| root_of(source).ok()?) {
            if roots.iter().any(|(name, _)| name.as_deref() == root) {
                continue;
            }
            let Ok(place) = self.place(root).await else { continue };
            let Some(carry) = &place.carry else { continue };
            let name = root.map(Box::from);
            let still_there = carry.catch_up().await.is_some_and(|(path, _)| path == place.root);
            let carry = still_there.then(|| Arc::clone(carry));
            roots.push((name.clone(), carry.ok_or(LookError::RootMoved(name.unwrap_or_default()))));
        }
        roots
    }

    /// The fingerprints of files and listings, in order. Where one blocking thread has enough to do, others help.
    async fn fingerprints(&self, wanted: Vec<Wanted>) -> Vec<Result<Sight, LookError>> {
        if self.brief() == Brief::InPlace && wanted.len() < WORTH_A_THREAD {
            return self.fingerprints_in_place(&wanted).await;
        }
        let wanted = Arc::new(wanted);
        let most = wanted.len().div_ceil(self.threads).max(WORTH_A_THREAD);
        let (mut from, mut parts) = (0, Vec::new());
        for below_one in wanted.chunk_by(|a, b| a.path.root() == b.path.root()) {
            let place = self.place(below_one[0].path.root()).await;
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

    async fn fingerprints_in_place(&self, wanted: &[Wanted]) -> Vec<Result<Sight, LookError>> {
        let mut found = Vec::with_capacity(wanted.len());
        for below_one in wanted.chunk_by(|a, b| a.path.root() == b.path.root()) {
            match self.place(below_one[0].path.root()).await {
                Ok(place) => {
                    found.extend(place.fingerprints(below_one).into_iter().map(|look| look.map_err(failed)))
                }
                Err(error) => found.extend(below_one.iter().map(|_| Err(error.clone()))),
            }
        }
        found
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
    fn scanned(&self, looked: Looked, path: &RootPath) -> Option<(Fingerprint, Option<Mark>)> {
        if looked == Looked::Listing {
            return None;
        }
        let mut scans = self.scans.lock();
        let mut scans = scans.iter_mut().filter(|scan| scan.root.as_deref() == path.root());
        scans.find_map(|scan| match scan.snapshot.get_after(&mut scan.last, path.below())?.kind {
            EntryKind::File(digest) => Some((Fingerprint::Is(digest), scan.mark)),
            _ => None,
        })
    }

    /// What is seen of a source now, whatever the session has seen.
    async fn look(&self, source: &Source) -> Result<(Seen, Option<Vigil>), LookError> {
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

    /// A file's content. Where nobody held any more what was read before, it is read again.
    pub(super) async fn read(&self, path: &RootPath) -> Result<Read<[u8]>, LookError> {
        let source = Source::File(path.clone());
        let cell = self.cell(source.clone());
        let mut first = None;
        let look = async {
            let (content, fingerprint, vigil) = self.content(path).await?;
            let held = content.as_ref().map_or_else(no_content, Arc::downgrade);
            first = Some(content);
            Ok((Seen { fingerprint, detail: Detail::Content(Mutex::new(held)) }, vigil))
        };
        let seen = cell.get_or_init(|| self.unless_carried(&source, || look)).await.clone()?;
        if let Some(content) = first {
            return Ok(Read { seen: seen.fingerprint, fingerprint: seen.fingerprint, content });
        }
        let Detail::Content(held) = &seen.detail else { unreachable!("a file's detail is its content") };
        let known = held.lock().upgrade();
        if known.is_some() || seen.fingerprint == Fingerprint::Absent {
            return Ok(Read { seen: seen.fingerprint, fingerprint: seen.fingerprint, content: known });
        }
        let (content, fingerprint, _) = self.content(path).await?;
        if let Some(content) = content.as_ref().filter(|_| fingerprint == seen.fingerprint) {
            *held.lock() = Arc::downgrade(content);
        }
        Ok(Read { seen: seen.fingerprint, fingerprint, content })
    }

    /// The names in a directory. Where only their fingerprint is known they are read.
    pub(super) async fn list(&self, path: &RootPath) -> Result<Read<[Listed]>, LookError> {
        let source = Source::Listing(path.clone());
        let cell = self.cell(source.clone());
        let look = || async {
            let (names, fingerprint, vigil) = self.names(path).await?;
            Ok((Seen { fingerprint, detail: Detail::Listing(Mutex::new(names)) }, vigil))
        };
        let seen = cell.get_or_init(|| self.unless_carried(&source, look)).await.clone()?;
        let Detail::Listing(held) = &seen.detail else { unreachable!("a listing's detail is its names") };
        let known = held.lock().clone();
        if known.is_some() || seen.fingerprint == Fingerprint::Absent {
            return Ok(Read { seen: seen.fingerprint, fingerprint: seen.fingerprint, content: known });
        }
        let (names, fingerprint, _) = self.names(path).await?;
        if fingerprint == seen.fingerprint {
            (*held.lock()).clone_from(&names);
        }
        Ok(Read { seen: seen.fingerprint, fingerprint, content: names })
    }

    fn cell(&self, source: Source) -> Cell {
        let mut sources_seen = self.sources.lock();
        match sources_seen.all().entry(source) {
            Entry::Occupied(mut slot) => {
                let source = slot.key().clone();
                slot.get_mut().cell(&source)
            }
            Entry::Vacant(slot) => {
                let cell = Cell::default();
                slot.insert(Slot::Cell(Arc::clone(&cell)));
                cell
            }
        }
    }

    async fn content(&self, path: &RootPath) -> Result<Looking<[u8]>, LookError> {
        let (place, path) = (self.place(path.root()).await?, path.clone());
        let look = move || {
            let vigil = place.vigil(&path);
            let (content, fingerprint) = place.content(&path)?;
            Ok((content.map(Arc::from), fingerprint, vigil))
        };
        self.brief_look(look).await
    }

    async fn names(&self, path: &RootPath) -> Result<Looking<[Listed]>, LookError> {
        let (place, path) = (self.place(path.root()).await?, path.clone());
        let look = move || {
            let vigil = place.vigil(&path);
            let (names, fingerprint) = place.names(&path)?;
            Ok((names.map(Arc::from), fingerprint, vigil))
        };
        self.brief_look(look).await
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

    fn brief(&self) -> Brief {
        self.snapshots.larder.shared.brief
    }

    /// Looks where brief looks are done.
    async fn brief_look<T, F>(&self, look: F) -> Result<T, LookError>
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

fn failed(error: SourceError) -> LookError {
    LookError::Source(Arc::new(error))
}

/// A source that is looked at by its stat data first.
fn as_look(source: &Source) -> Option<(Looked, &RootPath)> {
    match source {
        Source::File(path) => Some((Looked::File, path)),
        Source::Listing(path) => Some((Looked::Listing, path)),
        _ => None,
    }
}

/// The root that all of a source is below; `None` if there is none.
fn root_of(source: &Source) -> Result<Option<Option<&str>>, LookError> {
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
