//! The walk over a file set, on one thread or a few: what is to be looked at, and who does it.
//!
//! Work comes in units: a directory to list, or some names of a directory that turned out to be large. Units
//! stand on a stack, so that few directories are open at once. Threads take from it, and each keeps what it
//! found to itself until the end.
//! Not here: what is done with one name (`look`), and putting the findings in order (`scan`).

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use parking_lot::{Condvar, Mutex};
use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir, fstat, openat};
use rustix::io::Errno;

use super::ignore::Layers;
use super::look::{Found, Worker};
use super::pattern::State;
use super::previous::Previous;
use super::set::{FileSet, Ignore};
use super::{SourceError, Stat};

/// How many entries a scan takes in. It bounds memory, and what links that multiply the tree behind them can
/// do.
const MAX_ENTRIES: usize = 1 << 21;
/// How many entries of one directory are looked at in line; further ones are left to whoever is free.
const BATCH: usize = 128;
/// A thread costs as much as looking at some of these many entries, so fewer are not shared out.
const WORTH_A_THREAD: usize = 600;
/// Or as hashing some of these many bytes.
const BYTES_WORTH_A_THREAD: u64 = 1 << 20;

/// One walk over a set.
pub(super) struct Walk<'a> {
    pub(super) set: &'a FileSet,
    pub(super) previous: Previous<'a>,
    stop: &'a AtomicBool,
    queue: Mutex<Queue>,
    ready: Condvar,
    failed: AtomicBool,
    failure: Mutex<Option<SourceError>>,
    entries: AtomicUsize,
    /// For each pattern, whether it has decided for an entry.
    selected: Vec<AtomicBool>,
    /// Device and inode of the root and of the directories above it.
    above: OnceLock<Vec<Identity>>,
}

#[derive(Default)]
struct Queue {
    units: Vec<Unit>,
    /// Units that stand here or are being worked on.
    unfinished: usize,
}

pub(super) enum Unit {
    Directory(Directory),
    Names(Arc<Open>, Names),
}

/// A directory to be listed.
pub(super) struct Directory {
    pub(super) parent: Arc<Open>,
    pub(super) name: CString,
    pub(super) state: State,
    pub(super) through_link: bool,
}

/// A directory that is open.
pub(super) struct Open {
    pub(super) file: OwnedFd,
    /// Path below the root, with a slash at the end unless it is empty.
    pub(super) path: Vec<u8>,
    pub(super) state: State,
    pub(super) layers: Layers,
    trail: Arc<Trail>,
}

/// Device and inode.
type Identity = (u64, u64);

/// The directories that a path goes through.
struct Trail {
    identity: Identity,
    links: usize,
    parent: Option<Arc<Trail>>,
}

/// Names in a directory, each with its type.
#[derive(Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    types: Vec<FileType>,
}

impl Names {
    fn push(&mut self, name: &CStr, file_type: FileType) {
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        self.types.push(file_type);
    }

    fn iter(&self) -> impl Iterator<Item = (&CStr, FileType)> {
        let names = self.bytes.split_inclusive(|&byte| byte == 0);
        let names = names.map(|name| CStr::from_bytes_with_nul(name).expect("it ends at its only NUL"));
        names.zip(self.types.iter().copied())
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(set: &'a FileSet, previous: Previous<'a>, stop: &'a AtomicBool) -> Self {
        Self {
            set,
            previous,
            stop,
            queue: Mutex::default(),
            ready: Condvar::new(),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            entries: AtomicUsize::new(0),
            selected: set.includes.iter().map(|_| AtomicBool::new(false)).collect(),
            above: OnceLock::new(),
        }
    }

    /// Walks over the whole set with at most `threads` threads and returns what each found.
    pub(super) fn run(&self, threads: usize) -> Result<Vec<Found>, SourceError> {
        let root = Arc::new(self.open_root()?);
        self.queue.lock().unfinished = 1;
        let others = Mutex::new(Vec::new());
        let own = thread::scope(|scope| {
            let help = || {
                scope.spawn(|| {
                    let mut worker = Worker::new(self, 0, &|| (), true);
                    self.work(&mut worker, false);
                    others.lock().push(worker.into_found());
                });
            };
            let mut worker = Worker::new(self, threads.saturating_sub(1), &help, threads > 1);
            self.list(&mut worker, &root);
            drop(root);
            self.count(&mut worker);
            self.work(&mut worker, true);
            worker.into_found()
        });
        let mut found = others.into_inner();
        found.push(own);
        match self.failure.lock().take() {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }

    /// Whether pattern `origin` has selected an entry.
    pub(super) fn has_selected(&self, origin: usize) -> bool {
        self.selected[origin].load(Ordering::Relaxed)
    }

    pub(super) fn note_selected(&self, origin: usize) {
        // Most of the time it is noted already, and reading leaves the other thread's cache alone.
        if !self.selected[origin].load(Ordering::Relaxed) {
            self.selected[origin].store(true, Ordering::Relaxed);
        }
    }

    /// Notes an error and ends the walk. Of several, the one about the first path is reported.
    pub(super) fn fail(&self, error: SourceError) {
        let mut failure = self.failure.lock();
        if failure.as_ref().is_none_or(|known| error.path() < known.path()) {
            *failure = Some(error);
        }
        drop(failure);
        self.failed.store(true, Ordering::Relaxed);
        let _queue = self.queue.lock();
        self.ready.notify_all();
    }

    /// Whether the walk has to end.
    pub(super) fn is_over(&self) -> bool {
        if self.stop.load(Ordering::Relaxed) && !self.failed.load(Ordering::Relaxed) {
            self.fail(SourceError::Stopped);
        }
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) -> &AtomicBool {
        self.stop
    }

    /// Leaves a unit to whoever is free.
    pub(super) fn push(&self, worker: &mut Worker<'_>, unit: Unit) {
        let mut queue = self.queue.lock();
        queue.units.push(unit);
        queue.unfinished += 1;
        drop(queue);
        self.ready.notify_one();
        self.share(worker);
    }

    /// Takes a hand more, if there is enough left to do and a hand left to take.
    fn share(&self, worker: &mut Worker<'_>) {
        let entries = worker.found.counts.looked_at.max(self.previous.len());
        if worker.hands > 0 && (entries >= WORTH_A_THREAD || worker.bytes() >= BYTES_WORTH_A_THREAD) {
            worker.hands -= 1;
            (worker.help)();
        }
    }

    /// Works on units until there are none. `busy` is whether this thread already was working on one.
    fn work(&self, worker: &mut Worker<'_>, mut busy: bool) {
        // Without this, a panic here would leave the other threads waiting for the end of a unit.
        let alarm = Alarm(self);
        loop {
            let mut queue = self.queue.lock();
            if busy {
                queue.unfinished -= 1;
            }
            while queue.units.is_empty() && queue.unfinished > 0 && !self.failed.load(Ordering::Relaxed) {
                self.ready.wait(&mut queue);
            }
            let more = queue.units.len() > 1;
            let unit = queue.units.pop().filter(|_| !self.failed.load(Ordering::Relaxed));
            drop(queue);
            let Some(unit) = unit else {
                self.ready.notify_all();
                break;
            };
            if more {
                self.share(worker);
            }
            self.work_on(worker, unit);
            self.count(worker);
            busy = true;
        }
        drop(alarm);
    }

    fn work_on(&self, worker: &mut Worker<'_>, unit: Unit) {
        match unit {
            Unit::Directory(directory) => match self.open(&directory) {
                Ok(Some(open)) => {
                    drop(directory);
                    self.list(worker, &Arc::new(open));
                }
                Ok(None) => {}
                Err(error) => self.fail(error),
            },
            Unit::Names(open, names) => {
                worker.stand_in(&open);
                for (name, file_type) in names.iter() {
                    if self.is_over() {
                        return;
                    }
                    worker.look_at(&open, name, file_type, None);
                }
            }
        }
    }

    fn count(&self, worker: &mut Worker<'_>) {
        let new = worker.found.counts.looked_at - worker.counted;
        worker.counted += new;
        if self.entries.fetch_add(new, Ordering::Relaxed) + new > MAX_ENTRIES {
            self.fail(SourceError::TooMany { root: self.set.root.clone(), limit: MAX_ENTRIES });
        }
    }

    /// Looks at whatever may be selected in a directory.
    fn list(&self, worker: &mut Worker<'_>, open: &Arc<Open>) {
        worker.stand_in(open);
        worker.found.counts.directories += 1;
        if let Some(names) = self.set.rules.only_names(&open.state) {
            for name in names {
                // A name with a NUL cannot be there.
                if let Ok(name) = CString::new(name) {
                    worker.look_at(open, &name, FileType::Unknown, None);
                }
            }
            return;
        }
        let mut buffer = std::mem::take(&mut worker.listing);
        self.list_all(worker, open, &mut buffer);
        worker.listing = buffer;
    }

    fn list_all(&self, worker: &mut Worker<'_>, open: &Arc<Open>, buffer: &mut Vec<u8>) {
        let mut entries = RawDir::new(&open.file, buffer.spare_capacity_mut());
        let (mut in_line, mut batch) = (0, Names::default());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::NOENT) => break,
                Err(errno) => return worker.unreadable(errno),
            };
            let (name, file_type) = (entry.file_name(), entry.file_type());
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if self.is_over() {
                return;
            }
            if in_line < BATCH || !worker.has_company || file_type == FileType::Directory {
                in_line += 1;
                worker.look_at(open, name, file_type, None);
                continue;
            }
            batch.push(name, file_type);
            if batch.types.len() == BATCH {
                self.push(worker, Unit::Names(Arc::clone(open), std::mem::take(&mut batch)));
            }
        }
        for (name, file_type) in batch.iter() {
            worker.look_at(open, name, file_type, None);
        }
    }

    fn open_root(&self) -> Result<Open, SourceError> {
        let root = &self.set.root;
        let unreadable = |source| SourceError::Unreadable { path: root.clone(), source };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = openat(CWD, root, flags, Mode::empty()).map_err(|errno| unreadable(errno.into()))?;
        let stat = Stat::from(fstat(&file).map_err(|errno| unreadable(errno.into()))?);
        let layers = match &self.set.ignore {
            Ignore::Nothing => Layers::default(),
            Ignore::Git(ignores) => ignores.layers(root)?,
        };
        let trail = Trail { identity: (stat.device, stat.inode), links: 0, parent: None };
        let state = self.set.rules.start();
        Ok(Open { file, path: Vec::new(), state, layers, trail: Arc::new(trail) })
    }

    /// Opens a directory; `None` if there is none of this name any more.
    fn open(&self, directory: &Directory) -> Result<Option<Open>, SourceError> {
        let Directory { parent, name, state, through_link } = directory;
        let mut path = parent.path.clone();
        path.extend_from_slice(name.to_bytes());
        let unreadable =
            |source: io::Error| SourceError::Unreadable { path: self.set.path_of(&path), source };
        let links = if *through_link { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | links;
        let file = match openat(&parent.file, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(unreadable(errno.into())),
        };
        let stat = Stat::from(fstat(&file).map_err(|errno| unreadable(errno.into()))?);
        let mut layers = Layers::default();
        if let Ignore::Git(_) = self.set.ignore {
            layers = parent.layers.enter(name.to_bytes());
            layers.read(&file).map_err(unreadable)?;
        }
        let trail = Arc::new(Trail {
            identity: (stat.device, stat.inode),
            links: parent.trail.links + usize::from(*through_link),
            parent: Some(Arc::clone(&parent.trail)),
        });
        path.push(b'/');
        Ok(Some(Open { file, path, state: state.clone(), layers, trail }))
    }

    /// Whether a path through `open` goes through the directory `stat`, or that is above the root.
    pub(super) fn is_above(&self, open: &Open, stat: &Stat) -> bool {
        let identity = (stat.device, stat.inode);
        let trail = std::iter::successors(Some(&open.trail), |trail| trail.parent.as_ref());
        trail.map(|trail| trail.identity).any(|above| above == identity)
            || self.above.get_or_init(|| above(&self.set.root)).contains(&identity)
    }
}

impl Open {
    /// How many links to directories its path goes through.
    pub(super) fn links(&self) -> usize {
        self.trail.links
    }
}

struct Alarm<'w, 'a>(&'w Walk<'a>);

impl Drop for Alarm<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.failed.store(true, Ordering::Relaxed);
            let _queue = self.0.queue.lock();
            self.0.ready.notify_all();
        }
    }
}

fn above(root: &Path) -> Vec<Identity> {
    let Ok(root) = fs::canonicalize(root) else { return Vec::new() };
    let identities = root.ancestors().filter_map(|path| fs::metadata(path).ok());
    identities.map(|metadata| (metadata.dev(), metadata.ino())).collect()
}
