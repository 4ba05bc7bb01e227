//! A root that is watched: what is told of it, in the order of time.
//!
//! The time is a count that moves on whenever something is told, and whenever a vigil begins, under one lock. A look that
//! begins at some time therefore saw everything that was told up to that time; what is told later may have happened
//! before the look or after it, and breaks the vigil.

use std::fmt;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use super::notices::Listener;
use super::tree::{RootGone, Spot, Tree};
use super::{Feed, Lost};
use crate::sync::Mutex;

/// A moment in the order of what is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(u64);

/// A watch over what a look saw, from before the look.
#[derive(Debug, Clone)]
pub(crate) struct Vigil {
    spots: Spots,
    since: u64,
}

#[derive(Debug, Clone)]
enum Spots {
    One(Arc<Spot>),
    All(Arc<[Arc<Spot>]>),
}

impl Vigil {
    /// Whether nothing was told of what is watched since it was looked at. Costs a few nanoseconds.
    pub(crate) fn is_unbroken(&self) -> bool {
        match &self.spots {
            Spots::One(spot) => spot.is_quiet_since(self.since),
            Spots::All(spots) => spots.iter().all(|spot| spot.is_quiet_since(self.since)),
        }
    }

    /// The same for a look that began at `mark`.
    pub(crate) fn since(self, mark: Mark) -> Self {
        Self { since: mark.0, ..self }
    }

    /// Whether it had begun by then.
    pub(crate) fn has_begun_by(&self, mark: Mark) -> bool {
        self.since <= mark.0
    }

    /// One for a look that saw all that several watch over; `None` if one is missing.
    pub(crate) fn over_all(vigils: impl IntoIterator<Item = Option<Self>>, since: Mark) -> Option<Self> {
        let mut spots = Vec::new();
        for vigil in vigils {
            match vigil?.spots {
                Spots::One(spot) => spots.push(spot),
                Spots::All(more) => spots.extend(more.iter().cloned()),
            }
        }
        Some(Self { spots: Spots::All(spots.into()), since: since.0 })
    }
}

/// What watching came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchCounts {
    /// Files, directories and names without either that are watched now.
    pub watched: usize,
    /// Things that happened.
    pub events: u64,
    /// How often all was forgotten because more happened than the kernel's queue holds.
    pub overflows: u64,
    /// How often because a root, or a directory above it, was moved, removed or shut.
    pub moves: u64,
    /// How often because something was mounted or unmounted.
    pub mounts: u64,
    /// How often because the kernel's queue could not be read.
    pub failures: u64,
    /// How many vigils were not kept: what they were to watch over would not tell, or there was no room.
    pub refused: u64,
}

impl WatchCounts {
    /// Adds those of another root.
    pub(crate) fn add(&mut self, other: &Self) {
        self.watched += other.watched;
        self.events += other.events;
        self.overflows += other.overflows;
        self.moves += other.moves;
        self.mounts += other.mounts;
        self.failures += other.failures;
        self.refused += other.refused;
    }
}

/// Opens a feed, if there can be one.
type Make = dyn Fn() -> Option<Box<dyn Feed>> + Send + Sync;

/// A directory below which is watched what is looked at.
pub(crate) struct WatchedRoot {
    root: PathBuf,
    limit: usize,
    make: Box<Make>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    time: u64,
    planted: Option<Planted>,
    counts: WatchCounts,
    listeners: Vec<Weak<Listener>>,
}

struct Planted {
    feed: Box<dyn Feed>,
    tree: Tree,
}

impl WatchedRoot {
    /// Watches nothing yet. No more than `limit` things will be watched.
    pub(crate) fn new(root: &Path, limit: usize) -> Self {
        #[cfg(target_os = "linux")]
        let make = super::kernel::open;
        #[cfg(not(target_os = "linux"))]
        let make = || None;
        Self::with(root, limit, make)
    }

    pub(super) fn with(
        root: &Path,
        limit: usize,
        make: impl Fn() -> Option<Box<dyn Feed>> + Send + Sync + 'static,
    ) -> Self {
        Self { root: root.to_owned(), limit, make: Box::new(make), state: Mutex::default() }
    }

    /// Learns of all that happened before the call, and returns the root's path without links in it, and the moment;
    /// `None` if it can't be watched. A vigil that is unbroken after that is one over something that is as it was. Blocks for a
    /// few system calls.
    pub(crate) fn catch_up(&self) -> Option<(PathBuf, Mark)> {
        // One thread after the other: who finds the queue empty must not go before who has just emptied it.
        let state = &mut *self.state.lock();
        if let Err(lost) = state.take() {
            let counts = &mut state.counts;
            let (why, count) = match lost {
                Forgotten::Lost(Lost::Overflow) => ("too much happened at once", &mut counts.overflows),
                Forgotten::Lost(Lost::Mounts) => ("something was mounted", &mut counts.mounts),
                Forgotten::Lost(Lost::Failed) => ("the queue can't be read", &mut counts.failures),
                Forgotten::RootGone => ("the root is somewhere else", &mut counts.moves),
            };
            *count += 1;
            tracing::debug!(root = %self.root.display(), why, "everything is looked at again");
            state.forget();
        }
        let path = fs::canonicalize(&self.root).ok();
        if let Some(Planted { feed, tree }) = &mut state.planted
            && !tree.is_at(path.as_deref(), &mut **feed)
        {
            state.counts.moves += 1;
            state.forget();
        }
        if state.planted.is_none() {
            state.planted = path.as_deref().and_then(|path| {
                let mut feed = (self.make)()?;
                let tree = Tree::plant(path.to_owned(), &mut *feed, self.limit, state.tick())?;
                Some(Planted { feed, tree })
            });
        }
        let Planted { feed, tree } = state.planted.as_mut()?;
        if tree.is_full() {
            tree.sweep(&mut **feed);
        }
        path.map(|path| (path, Mark(state.time)))
    }

    /// Sees to it that what is at each of these paths below the root is watched, and begins a vigil over it: for a
    /// look that begins after this has returned. Blocks for two system calls a path that was not watched so far.
    pub(crate) fn vigils<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) -> Vec<Option<Vigil>> {
        let mut state = self.state.lock();
        let now = state.tick();
        let State { planted, counts, .. } = &mut *state;
        let vigil = |path| {
            let Planted { feed, tree } = planted.as_mut()?;
            let spot = tree.spot(path, &mut **feed, now);
            Some(Vigil { spots: Spots::One(spot?), since: now })
        };
        let vigils: Vec<Option<Vigil>> = paths.into_iter().map(vigil).collect();
        let refused = vigils.iter().filter(|vigil| vigil.is_none()).count() as u64;
        counts.refused += refused;
        if refused > 0 {
            state.tell(Listener::blind);
        }
        vigils
    }

    /// Has somebody told what happens from now on.
    pub(super) fn add_listener(&self, listener: &Arc<Listener>) {
        self.state.lock().listeners.push(Arc::downgrade(listener));
    }

    /// Tells those who listen that something may have happened before it was watched.
    pub(crate) fn note_gap(&self) {
        self.state.lock().tell(Listener::lost);
    }

    /// What can be read from when something has happened, if anything is watched. It is for waiting only.
    pub(super) fn descriptor(&self) -> Option<OwnedFd> {
        self.state.lock().planted.as_ref()?.feed.descriptor()
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Mark {
        // What is about to be watched by another thread is not watched by now.
        Mark(self.state.lock().time)
    }

    pub(crate) fn counts(&self) -> WatchCounts {
        let state = self.state.lock();
        let watched = state.planted.as_ref().map_or(0, |planted| planted.tree.len());
        WatchCounts { watched, ..state.counts }
    }
}

impl State {
    /// Moves the time on.
    fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    /// Takes in what happened.
    fn take(&mut self) -> Result<(), Forgotten> {
        let now = self.tick();
        let Some(Planted { feed, tree }) = &mut self.planted else { return Ok(()) };
        let events = feed.take()?;
        self.counts.events += events.len() as u64;
        let mut touched = Vec::new();
        for event in &events {
            if !self.listeners.is_empty() {
                tree.touched_by(event, &mut touched);
            }
            tree.happened(event, &mut **feed, now)?;
        }
        if !touched.is_empty() {
            self.tell(|listener| listener.touched(touched.iter().cloned()));
        }
        Ok(())
    }

    fn forget(&mut self) {
        if let Some(planted) = self.planted.take() {
            planted.tree.fell();
            self.tell(Listener::lost);
        }
    }

    fn tell(&mut self, tell: impl Fn(&Listener)) {
        self.listeners.retain(|listener| match listener.upgrade() {
            Some(listener) => {
                tell(&listener);
                true
            }
            None => false,
        });
    }
}

enum Forgotten {
    Lost(Lost),
    RootGone,
}

impl From<Lost> for Forgotten {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<RootGone> for Forgotten {
    fn from(RootGone: RootGone) -> Self {
        Self::RootGone
    }
}

impl fmt::Debug for WatchedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedRoot").field("root", &self.root).field("counts", &self.counts()).finish()
    }
}
