//! What sessions hand on to those after them: what they saw of a root, for as long as nothing has happened to it.
//!
//! Invariant: what is handed on is what looking would find, at the moment when the session that gets it began at the
//! earliest: a vigil over it began before it was looked at, and is unbroken after all was learned that happened
//! before that moment.
//! Not here: what happens, and how that is known (`source`).

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::observe::{Seen, finished};
use crate::query::{Observation, Source};
use crate::source::{Listener, Mark, Notices, Vigil, WatchCounts, WatchedRoot};

/// How many things are watched below one root at most, unless something else is asked for. The kernel takes about a
/// KiB of memory for each.
const MAX_WATCHED: usize = 1 << 16;
/// How many roots are watched; with another one, that which was asked for first is forgotten.
const MAX_ROOTS: usize = 16;
/// How many lists of observations are known to be right below one root.
const MAX_RIGHT: usize = 128;
/// What of how many sources is handed on below one root.
const MAX_SEEN: usize = 1 << 17;

/// Spares sessions looking at what earlier ones looked at and nothing has happened to since. A clone is another handle
/// to the same one.
///
/// Give it to an [`Outside`](super::Outside), and begin all sessions with that or clones of it. A session that begins
/// sees every change that was finished before, as one without a watch does; it is only that what no event has
/// touched is not looked at again. Files and listings are watched from when they are first looked at, globs from
/// when they are looked at for the second time, each as long as it is asked for.
///
/// It is the kernel that tells (inotify, so on Linux), of file systems that nobody else changes. What is reached over
/// a network, made up by a program (FUSE), or found through a symbolic link is looked at in each session, as are tools.
/// So is what there is no room for: see [`Watch::with_limit`]. A process that writes through a shared memory mapping is
/// noticed when it ends the mapping, one that writes with `io_submit` when it closes the file.
#[derive(Clone)]
pub struct Watch {
    limit: usize,
    roots: Arc<Mutex<Roots>>,
}

/// The roots that are watched, and who is told what happens there.
#[derive(Default)]
struct Roots {
    carries: Vec<Arc<Carry>>,
    listeners: Vec<Weak<Listener>>,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> Self {
        Self::with_limit(MAX_WATCHED)
    }

    /// Watches up to `limit` files, directories and names without either below one root. `fs.inotify.max_user_watches`
    /// limits how many can be watched by all processes of a user.
    pub fn with_limit(limit: usize) -> Self {
        Self { limit, roots: Arc::default() }
    }

    /// What watching came to so far, all roots together.
    pub fn counts(&self) -> WatchCounts {
        let roots = self.roots.lock().carries.clone();
        let mut counts = WatchCounts::default();
        roots.iter().for_each(|carry| counts.add(&carry.watched.counts()));
        counts
    }

    /// Tells what happens from now on to what sessions have looked at, in whichever of their roots, so that somebody can
    /// wait for it and begin the next one then. Paths are absolute. Tools are not watched. A glob that is looked at for
    /// the first time may have missed something: then a notice says at once that all is to be looked at again.
    pub fn notices(&self) -> Notices {
        let listener = Arc::<Listener>::default();
        let mut roots = self.roots.lock();
        roots.carries.iter().for_each(|carry| listener.listen_to(&carry.watched));
        roots.listeners.push(Arc::downgrade(&listener));
        Notices::of(listener)
    }

    /// What is handed on below a directory.
    pub(super) fn carry(&self, directory: &Path) -> Arc<Carry> {
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        let Roots { carries, listeners } = &mut *self.roots.lock();
        if let Some(carry) = carries.iter().find(|carry| carry.directory == directory) {
            return Arc::clone(carry);
        }
        if carries.len() >= MAX_ROOTS {
            carries.remove(0);
        }
        let watched = Arc::new(WatchedRoot::new(&directory, self.limit));
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.iter().filter_map(Weak::upgrade).for_each(|listener| listener.listen_to(&watched));
        let carry = Arc::new(Carry { directory, watched, seen: Mutex::default(), right: Mutex::default() });
        carries.push(Arc::clone(&carry));
        carry
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("limit", &self.limit).field("counts", &self.counts()).finish()
    }
}

/// What is handed on below one directory.
#[derive(Debug)]
pub(super) struct Carry {
    directory: PathBuf,
    pub(super) watched: Arc<WatchedRoot>,
    seen: Mutex<HashMap<Source, (Arc<Seen>, Vigil), RandomState>>,
    /// Observations that a session found to be right, by where they lie, and a vigil over all that they are of.
    right: Mutex<HashMap<usize, Right, RandomState>>,
}

/// Observations that are right while a vigil is unbroken.
type Right = (Arc<[Observation]>, Vigil);

impl Carry {
    /// Learns of all that has happened by now. Returns where the root is, without links, and the moment; `None` if it
    /// can't be watched.
    pub(super) async fn catch_up(self: &Arc<Self>) -> Option<(PathBuf, Mark)> {
        let carry = Arc::clone(self);
        finished(tokio::task::spawn_blocking(move || carry.watched.catch_up()).await)
    }

    /// What was seen of a source, if nothing has happened to it.
    pub(super) fn get(&self, source: &Source) -> Option<Arc<Seen>> {
        let seen = self.seen.lock();
        let (seen, vigil) = seen.get(source)?;
        vigil.is_unbroken().then(|| Arc::clone(seen))
    }

    /// Hands on what was seen under a vigil, unless something has happened meanwhile.
    pub(super) fn keep(&self, source: &Source, seen: &Arc<Seen>, vigil: Vigil) {
        if !vigil.is_unbroken() {
            return;
        }
        let mut all = self.seen.lock();
        if all.len() >= MAX_SEEN {
            all.retain(|_, (_, vigil)| vigil.is_unbroken());
        }
        if all.len() < MAX_SEEN {
            all.insert(source.clone(), (Arc::clone(seen), vigil));
        }
    }

    /// Whether a session has found these observations to be right, and nothing has happened to what they are of from
    /// `began` on, nor between that session and then.
    pub(super) fn are_right(&self, observations: &Arc<[Observation]>, began: Mark) -> bool {
        let right = self.right.lock();
        let vigil = right.get(&place_of(observations)).map(|(_, vigil)| vigil);
        vigil.is_some_and(|vigil| vigil.has_begun_by(began) && vigil.is_unbroken())
    }

    /// Hands on that these observations are right, which are of files, listings, globs and variables, if nothing has
    /// happened to any of them since it was seen.
    pub(super) fn note_right(&self, observations: &Arc<[Observation]>) {
        // Before each is asked whether something has happened to it: what is told from now on breaks the new vigil.
        let now = self.watched.now();
        let vigil = {
            let seen = self.seen.lock();
            let outside = observations.iter().filter(|seen| !matches!(seen.source, Source::Variable(_)));
            let vigils = outside.map(|Observation { source, fingerprint, .. }| {
                let (seen, vigil) = seen.get(source)?;
                (seen.fingerprint == *fingerprint && vigil.is_unbroken()).then(|| vigil.clone())
            });
            Vigil::over_all(vigils, now)
        };
        let Some(vigil) = vigil else { return };
        let mut right = self.right.lock();
        if right.len() >= MAX_RIGHT {
            right.retain(|_, (_, vigil)| vigil.is_unbroken());
        }
        if right.len() >= MAX_RIGHT {
            right.clear();
        }
        right.insert(place_of(observations), (Arc::clone(observations), vigil));
    }
}

/// No others lie there for as long as these do.
fn place_of(observations: &Arc<[Observation]>) -> usize {
    Arc::as_ptr(observations).addr()
}
