//! Notices: telling somebody who waits what has happened to what is watched.
//!
//! What happens in quick succession is told at once: a notice comes when nothing has happened for [`QUIET`], or after
//! [`PATIENCE`] where something happens all the time, or when [`BATCH`] paths were touched. Where not everything that
//! happened is known, or not everything can be watched, the notice says that all is to be looked at again.
//!
//! Invariant: what happens after a watch stands is told by a notice that comes after it. Nothing is told twice.
//! Not here: what is watched (`root`, `tree`), what anybody makes of it.

use std::collections::BTreeSet;
use std::mem;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::root::WatchedRoot;
use crate::source::Scan;

/// For how long nothing has to happen before it is told what happened.
const QUIET: Duration = Duration::from_millis(100);
/// How long after it happened something is told at the latest.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many paths one notice has at most.
const BATCH: usize = 50;
/// How many paths wait to be told. Where there are more, all is to be looked at again.
const MAX_WAITING: usize = 4096;
/// How often all is to be looked at again where not everything can be watched.
const BLIND: Duration = Duration::from_secs(1);

/// What happened since the notice before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notice {
    /// What was touched, sorted: files that were written, names that came or went. 50 at most; more come with the next
    /// notice, at once.
    pub paths: Vec<PathBuf>,
    /// Whether more may have happened than that, so that everything is to be looked at again.
    pub rescan: bool,
}

/// Who is told what happens below some roots.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    told: Mutex<Told>,
    woken: Notify,
    roots: Mutex<Vec<Weak<WatchedRoot>>>,
}

/// What happened and is yet to be told.
#[derive(Debug, Default)]
struct Told {
    paths: BTreeSet<PathBuf>,
    /// Whether not all that happened is known.
    lost: bool,
    /// Whether something that somebody looked at can't be watched.
    blind: bool,
}

impl Listener {
    /// Listens to a further root.
    pub(crate) fn listen_to(self: &Arc<Self>, root: &Arc<WatchedRoot>) {
        root.add_listener(self);
        self.roots.lock().push(Arc::downgrade(root));
        self.woken.notify_one();
    }

    /// Tells what was touched.
    pub(super) fn touched(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let mut told = self.told.lock();
        told.paths.extend(paths);
        if told.paths.len() > MAX_WAITING {
            told.lost = true;
        }
        drop(told);
        self.woken.notify_one();
    }

    /// Tells that more happened than is known.
    pub(super) fn lost(&self) {
        self.told.lock().lost = true;
        self.woken.notify_one();
    }

    /// Tells that something can't be watched.
    pub(super) fn blind(&self) {
        let was = mem::replace(&mut self.told.lock().blind, true);
        if !was {
            self.woken.notify_one();
        }
    }

    /// Learns of all that has happened by now, and returns what tells when more does.
    fn catch_up(&self) -> Vec<OwnedFd> {
        let roots: Vec<Arc<WatchedRoot>> = {
            let mut roots = self.roots.lock();
            roots.retain(|root| root.strong_count() > 0);
            roots.iter().filter_map(Weak::upgrade).collect()
        };
        let descriptors = roots.iter().filter_map(|root| {
            if root.catch_up().is_none() {
                self.blind();
            }
            root.descriptor()
        });
        descriptors.collect()
    }

    fn take(&self) -> Notice {
        let mut told = self.told.lock();
        if mem::take(&mut told.lost) {
            *told = Told::default();
            return Notice { paths: Vec::new(), rescan: true };
        }
        let mut paths = Vec::new();
        while paths.len() < BATCH
            && let Some(path) = told.paths.pop_first()
        {
            paths.push(path);
        }
        Notice { paths, rescan: false }
    }

    /// Waits until something more may be told than what was when `descriptors` were returned.
    async fn more(&self, descriptors: Vec<OwnedFd>) {
        tokio::select! {
            () = self.woken.notified() => {}
            () = readable(descriptors), if !descriptors.is_empty() => {}
        }
    }
}

/// Waits until there is something to read from one of them. The thread that waits ends with the waiting: then the other
/// end of the pipe is closed.
async fn readable(descriptors: Vec<OwnedFd>) {
    let Ok((reader, writer)) = std::io::pipe() else { return tokio::time::sleep(BLIND).await };
    let wait = move || {
        let mut polled: Vec<PollFd<'_>> =
            descriptors.iter().map(|one| PollFd::new(one, PollFlags::IN)).collect();
        polled.push(PollFd::new(&reader, PollFlags::IN));
        while poll(&mut polled, None) == Err(Errno::INTR) {}
    };
    // It can't fail but with the runtime.
    let _ = tokio::task::spawn_blocking(wait).await;
    drop(writer);
}

/// Tells what happens to what is watched. Whoever made it hears of what happened from then on.
#[derive(Debug)]
pub struct Notices(Arc<Listener>);

impl Notices {
    pub(crate) fn of(listener: Arc<Listener>) -> Self {
        Self(listener)
    }

    /// Waits until something has happened. Wants a Tokio runtime with its clock enabled, and keeps one of its blocking
    /// threads waiting. Not awaited to the end, it loses nothing.
    pub async fn next(&mut self) -> Notice {
        let listener = &self.0;
        let mut first: Option<Instant> = None;
        loop {
            let descriptors = listener.catch_up();
            let (count, lost, blind) = {
                let told = listener.told.lock();
                (told.paths.len(), told.lost, told.blind)
            };
            let now = Instant::now();
            let is_late = first.is_some_and(|first| now >= first + PATIENCE);
            if lost || is_late || count >= BATCH {
                return listener.take();
            }
            let until = match (count, blind) {
                (0, false) => {
                    listener.more(descriptors).await;
                    continue;
                }
                (0, true) => now + BLIND,
                _ => {
                    first.get_or_insert(now);
                    now + QUIET
                }
            };
            if timeout_at(until, listener.more(descriptors)).await.is_err() {
                if count == 0 {
                    listener.told.lock().blind = false;
                    return Notice { paths: Vec::new(), rescan: true };
                }
                return listener.take();
            }
        }
    }
}

/// Files and directories below a root that are watched because somebody named them.
#[derive(Debug)]
pub struct WatchedFiles(Arc<WatchedRoot>);

impl WatchedFiles {
    /// Watches nothing yet, and at most `limit` files, directories and names without either.
    pub fn new(root: &Path, limit: usize) -> Self {
        Self(Arc::new(WatchedRoot::new(root, limit)))
    }

    /// Tells what happens from now on.
    pub fn notices(&self) -> Notices {
        let listener = Arc::new(Listener::default());
        listener.listen_to(&self.0);
        // What is to be watched is watched by what stands now.
        let _ = self.0.catch_up();
        Notices::of(listener)
    }

    /// Watches what is at these paths below the root from now on: of a file what is written to it, of a directory which
    /// names come and go. Returns how many of them, and of the directories on the way, were not watched before. What
    /// can't be watched is made up for by notices that say that all is to be looked at again. Blocks.
    pub fn add<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) -> usize {
        let before = self.0.counts().watched;
        self.0.vigils(paths);
        self.0.counts().watched.saturating_sub(before)
    }

    /// The same for all that a scan of a set with the same root found, and for the directories that it looked into, in
    /// which others may come that belong to the set.
    pub fn add_scanned(&self, scan: &Scan) -> usize {
        let files = scan.snapshot.entries().map(|entry| entry.path);
        self.add(scan.snapshot.directories().chain(files))
    }
}
