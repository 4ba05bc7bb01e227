//! The walk over a file set, on one thread or a few: what is to be looked at, and who does it.
//!
//! Work comes in units: a directory to look into, or a part of one that turned out to be large. Units stand on a
//! stack, so that few directories are open at once. Threads take from it, and each keeps what it found to itself
//! until the end.
//!
//! A directory is listed unless the rules ask for certain names in it only, or its stamp says that the names in it
//! are those of the previous snapshot. One that is not listed is opened only if that is cheaper than to come from
//! further up for each path below it.
//! Not here: what is done with one name (`look`), and putting the findings in order (`scan`).

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use parking_lot::{Condvar, Mutex};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, fstat, openat, statat};
use rustix::io::Errno;

use super::ignore::Layers;
use super::look::{Found, Worker};
use super::pattern::State;
use super::previous::Previous;
use super::set::{FileSet, Ignore, Role};
use super::stat::{Stamp, keeps_stamps};
use super::{SourceError, Stat, Written};
use crate::config::processors;
use crate::tier::disk::TEMPORARY;

/// How many entries a scan takes in. It bounds memory, and what links that multiply the tree behind them can
/// do.
const MAX_ENTRIES: usize = 1 << 21;
/// How many entries of one directory are looked at in line; further ones are left to whoever is free.
const BATCH: usize = 128;
/// Opening a directory and closing it costs as much as going through this many names on the way to other paths.
const WORTH_OPENING: usize = 40;
/// A thread costs as much as looking at some of these many entries, so fewer are not shared out.
const WORTH_A_THREAD: usize = 600;
/// Or as hashing some of these many bytes.
const BYTES_WORTH_A_THREAD: u64 = 1 << 20;

/// One walk over a set.
pub(super) struct Walk<'a> {
    pub(super) set: &'a FileSet,
    pub(super) previous: Previous<'a>,
    pub(super) written: &'a Written,
    stop: &'a AtomicBool,
    queue: Mutex<Queue>,
    ready: Condvar,
    failed: AtomicBool,
    failure: Mutex<Option<SourceError>>,
    entries: AtomicUsize,
    /// For each pattern, whether it has decided for an entry.
    selected: Vec<AtomicBool>,
    /// How many selecting patterns have not.
    unselected: AtomicUsize,
    /// The device on which directories' stamps tell whether names have come or gone, if there is one.
    stamped: OnceLock<Option<u64>>,
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
    /// Rows of the previous snapshot, all in that directory.
    Rows(Arc<Open>, Vec<u32>),
}

/// A directory to be looked into.
pub(super) struct Directory {
    pub(super) parent: Arc<Open>,
    pub(super) name: CString,
    pub(super) state: State,
    pub(super) through_link: bool,
    /// What was found out about it on the way, unless a link leads to it.
    pub(super) stat: Option<Stat>,
}

/// A directory that is being looked into.
pub(super) struct Open {
    /// It, or the nearest directory above it that is open.
    pub(super) anchor: Arc<OwnedFd>,
    /// How much of a path below the root leads to that one.
    pub(super) anchored: usize,
    /// Path below the root, with a slash at the end unless it is empty.
    pub(super) path: Vec<u8>,
    pub(super) layers: Layers,
    trail: Arc<Trail>,
}

/// Where a link to a directory leads.
pub(super) enum Way {
    /// To what may be selected behind the link and nowhere else.
    On,
    /// To a directory that its path goes through or that is above the root, and there is nothing to be selected there
    /// that is not selected, or taken away, without the link.
    Back,
    /// To a directory above the root, and everything in that could be selected.
    Out,
}

/// How to find out what is in a directory.
enum Inside<'w> {
    /// The previous snapshot says which names there are.
    Known,
    /// Only these can matter.
    Named(Vec<&'w [u8]>),
    /// List them. Open, with its stamp.
    Listed(Stamp),
}

/// Device and inode.
type Identity = (u64, u64);

/// The directories that a path goes through.
struct Trail {
    identity: Identity,
    /// How far the patterns have come in it.
    state: State,
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
    pub(super) fn new(
        set: &'a FileSet,
        previous: Previous<'a>,
        written: &'a Written,
        stop: &'a AtomicBool,
    ) -> Self {
        Self {
            set,
            previous,
            written,
            stop,
            queue: Mutex::default(),
            ready: Condvar::new(),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            entries: AtomicUsize::new(0),
            selected: set.includes.iter().map(|_| AtomicBool::new(false)).collect(),
            unselected: AtomicUsize::new(set.includes.iter().flatten().count()),
            stamped: OnceLock::new(),
            above: OnceLock::new(),
        }
    }

    /// Walks over the whole set with at most `threads` threads, or as many as there are processors, and returns what
    /// each found.
    pub(super) fn run(&self, threads: Option<NonZeroUsize>) -> Result<Vec<Found>, SourceError> {
        let (root, inside) = self.open_root()?;
        let root = Arc::new(root);
        self.queue.lock().unfinished = 1;
        let others = Mutex::new(Vec::new());
        let own = thread::scope(|scope| {
            let help = || {
                scope.spawn(|| {
                    let mut worker = Worker::new(self, Some(0), &|| (), true);
                    self.work(&mut worker, false);
                    others.lock().push(worker.into_found());
                });
            };
            let hands = threads.map(|threads| threads.get() - 1);
            let mut worker = Worker::new(self, hands, &help, hands != Some(0));
            self.look_into(&mut worker, &root, inside);
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
        if !self.selected[origin].load(Ordering::Relaxed)
            && !self.selected[origin].swap(true, Ordering::Relaxed)
        {
            self.unselected.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether some pattern has selected nothing yet.
    pub(super) fn has_unselected(&self) -> bool {
        self.unselected.load(Ordering::Relaxed) > 0
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
        if entries < WORTH_A_THREAD && worker.bytes() < BYTES_WORTH_A_THREAD {
            return;
        }
        let hands = worker.hands.get_or_insert_with(|| processors().get() - 1);
        if *hands > 0 {
            *hands -= 1;
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
            Unit::Directory(directory) => match self.arrive(worker, &directory) {
                Ok(Some((open, inside))) => {
                    drop(directory);
                    self.look_into(worker, &Arc::new(open), inside);
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
            Unit::Rows(open, rows) => self.look_again(worker, &open, &rows),
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
    fn look_into(&self, worker: &mut Worker<'_>, open: &Arc<Open>, inside: Inside<'_>) {
        worker.stand_in(open);
        match inside {
            Inside::Known => self.look_at_known(worker, open),
            Inside::Named(names) => {
                for name in names {
                    // A name with a NUL cannot be there.
                    if let Ok(name) = CString::new(name) {
                        worker.look_at(open, &name, FileType::Unknown, None);
                    }
                }
                self.visited(worker, open, Stamp::NONE);
            }
            Inside::Listed(stamp) => {
                worker.found.counts.directories += 1;
                self.previous.expect_many();
                let mut buffer = std::mem::take(&mut worker.listing);
                let tells = self.list_all(worker, open, &mut buffer);
                worker.listing = buffer;
                self.visited(worker, open, if tells { stamp } else { Stamp::NONE });
            }
        }
    }

    /// Notes a visit, where the next walk may make use of it.
    fn visited(&self, worker: &mut Worker<'_>, open: &Open, stamp: Stamp) {
        if self.is_plain(open) {
            worker.visited(open, stamp);
        }
    }

    /// Looks at what the previous snapshot says is in a directory.
    fn look_at_known(&self, worker: &mut Worker<'_>, open: &Arc<Open>) {
        let rows = self.previous.rows_in(&open.path);
        let in_line = if worker.has_company { rows.len().min(BATCH) } else { rows.len() };
        for batch in rows[in_line..].chunks(BATCH) {
            self.push(worker, Unit::Rows(Arc::clone(open), batch.to_vec()));
        }
        self.look_again(worker, open, &rows[..in_line]);
        for name in self.previous.directories_in(&open.path) {
            if let Ok(name) = CString::new(name) {
                worker.directory(open, &name, None);
            }
        }
    }

    fn look_again(&self, worker: &mut Worker<'_>, open: &Arc<Open>, rows: &[u32]) {
        for &row in rows {
            if self.is_over() {
                return;
            }
            worker.look_again(open, row);
        }
    }

    /// Lists a directory and looks at what is in it. Returns whether as long as its names stay the same, nothing else
    /// can come to belong to the set: what a link leads to may change anywhere.
    fn list_all(&self, worker: &mut Worker<'_>, open: &Arc<Open>, buffer: &mut Vec<u8>) -> bool {
        let mut entries = RawDir::new(&open.anchor, buffer.spare_capacity_mut());
        let mut tells = true;
        let (mut in_line, mut batch) = (0, Names::default());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::NOENT) => break,
                Err(errno) => {
                    worker.unreadable(errno);
                    return false;
                }
            };
            let (name, file_type) = (entry.file_name(), entry.file_type());
            if matches!(name.to_bytes(), b"." | b"..") || self.passes_over(name) {
                continue;
            }
            if self.is_over() {
                return false;
            }
            let is_link = matches!(file_type, FileType::Symlink | FileType::Unknown);
            tells &= !(is_link && self.set.role == Role::Inputs);
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
        tells
    }

    /// Whether it is what is being made, or was left behind, beside an output: nobody's input.
    fn passes_over(&self, name: &CStr) -> bool {
        self.set.role == Role::Inputs && name.to_bytes().starts_with(TEMPORARY.as_bytes())
    }

    fn open_root(&self) -> Result<(Open, Inside<'_>), SourceError> {
        let root = &self.set.root;
        let unreadable = |source| SourceError::Unreadable { path: root.clone(), source };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = openat(CWD, root, flags, Mode::empty()).map_err(|errno| unreadable(errno.into()))?;
        let stat = Stat::from(fstat(&file).map_err(|errno| unreadable(errno.into()))?);
        let layers = match &self.set.ignore {
            Ignore::Nothing => Layers::default(),
            Ignore::Git(ignores) => ignores.layers(root)?,
        };
        // Git's rules lie in files of their own, which have to be read wherever they may be.
        let is_stamped = matches!(self.set.ignore, Ignore::Nothing) && keeps_stamps(&file);
        let stamped = *self.stamped.get_or_init(|| is_stamped.then_some(stat.device));
        let state = self.set.rules.start();
        let inside = match self.set.rules.only_names(&state) {
            Some(names) => Inside::Named(names),
            None if stamped.is_some() && self.is_known(b"", &stat) => Inside::Known,
            None => Inside::Listed(self.stamp_of(&stat)),
        };
        let trail = Trail { identity: (stat.device, stat.inode), state, links: 0, parent: None };
        let (anchor, path, trail) = (Arc::new(file), Vec::new(), Arc::new(trail));
        Ok((Open { anchor, anchored: 0, path, layers, trail }, inside))
    }

    /// What a directory's stat data tells about the names in it.
    fn stamp_of(&self, stat: &Stat) -> Stamp {
        let tells = self.stamped.get().copied().flatten() == Some(stat.device);
        if tells { Stamp::from(*stat) } else { Stamp::NONE }
    }

    /// Whether the previous snapshot knows the names in the directory at `path`, which has this stat data now.
    fn is_known(&self, path: &[u8], stat: &Stat) -> bool {
        let Some(visit) = self.previous.telling_visit(path) else { return false };
        let is_known = self.previous.has_stamp(visit, &self.stamp_of(stat));
        if is_known {
            self.previous.keep_visit(visit);
        }
        is_known
    }

    /// Whether nothing but the names in a directory decides what in it belongs to the set: no link leads to it, which
    /// may lead elsewhere, and no rules of git's.
    fn is_plain(&self, open: &Open) -> bool {
        open.trail.links == 0 && matches!(self.set.ignore, Ignore::Nothing)
    }

    /// Goes to a directory and finds out how to look into it; `None` if there is none of this name any more.
    fn arrive(
        &self,
        worker: &mut Worker<'_>,
        directory: &Directory,
    ) -> Result<Option<(Open, Inside<'_>)>, SourceError> {
        let Directory { parent, name, state, through_link, .. } = directory;
        if *through_link || !self.is_plain(parent) {
            return self.open(directory);
        }
        let mut path = parent.path.clone();
        path.extend_from_slice(name.to_bytes());
        let names = self.set.rules.only_names(state);
        if names.is_none() && self.previous.telling_visit(&path).is_none() {
            return self.open(directory);
        }
        let unreadable = |errno: Errno| {
            let (path, source) = (self.set.path_of(&path), io::Error::from(errno));
            SourceError::Unreadable { path, source }
        };
        let relative = parent.below_anchor(&path);
        let stat = match directory.stat {
            Some(stat) => stat,
            None => {
                worker.found.counts.looked_at += 1;
                match statat(&parent.anchor, &*relative, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat.into(),
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                    Err(errno) => return Err(unreadable(errno)),
                }
            }
        };
        if stat.file_type() != FileType::Directory {
            return Ok(None);
        }
        let inside = match names {
            Some(names) => Inside::Named(names),
            None if self.is_known(&path, &stat) => Inside::Known,
            None => return self.open(directory),
        };
        let trail = Arc::new(Trail {
            identity: (stat.device, stat.inode),
            state: state.clone(),
            links: 0,
            parent: Some(Arc::clone(&parent.trail)),
        });
        let (mut anchor, mut anchored) = (Arc::clone(&parent.anchor), parent.anchored);
        let names_on_the_way = 1 + path[anchored..].iter().filter(|&&byte| byte == b'/').count();
        path.push(b'/');
        if self.previous.has_more_below(&path, WORTH_OPENING / names_on_the_way) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            // One that may be gone through but not listed serves as well from further up.
            if let Ok(file) = openat(&parent.anchor, &*relative, flags, Mode::empty()) {
                (anchor, anchored) = (Arc::new(file), path.len());
            }
        }
        Ok(Some((Open { anchor, anchored, path, layers: Layers::default(), trail }, inside)))
    }

    /// Opens a directory to list it; `None` if there is none of this name any more.
    fn open(&self, directory: &Directory) -> Result<Option<(Open, Inside<'_>)>, SourceError> {
        let Directory { parent, name, state, through_link, .. } = directory;
        let mut path = parent.path.clone();
        path.extend_from_slice(name.to_bytes());
        let unreadable =
            |source: io::Error| SourceError::Unreadable { path: self.set.path_of(&path), source };
        let links = if *through_link { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | links;
        let file = match openat(&parent.anchor, &*parent.below_anchor(&path), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(unreadable(errno.into())),
        };
        let stat = Stat::from(fstat(&file).map_err(|errno| unreadable(errno.into()))?);
        let trail = Arc::new(Trail {
            identity: (stat.device, stat.inode),
            state: state.clone(),
            links: parent.trail.links + usize::from(*through_link),
            parent: Some(Arc::clone(&parent.trail)),
        });
        path.push(b'/');
        let mut layers = Layers::default();
        if let Ignore::Git(ignores) = &self.set.ignore {
            layers = parent.layers.enter(name.to_bytes());
            layers.read(&file, &path, || self.set.path_of(&path), ignores)?;
        }
        let inside = match self.set.rules.only_names(state) {
            Some(names) => Inside::Named(names),
            None => Inside::Listed(self.stamp_of(&stat)),
        };
        let (anchor, anchored) = (Arc::new(file), path.len());
        Ok(Some((Open { anchor, anchored, path, layers, trail }, inside)))
    }

    /// Where a link in `open` leads that leads to the directory `stat`; `below` is how far the patterns have come there.
    ///
    /// A walk goes in no circle for good: each time around, the patterns have come to a state that they were not in.
    pub(super) fn way(&self, open: &Open, stat: &Stat, below: &State) -> Way {
        let identity = (stat.device, stat.inode);
        let rules = &self.set.rules;
        let trail = std::iter::successors(Some(&open.trail), |trail| trail.parent.as_ref());
        let mut here = trail.filter(|trail| trail.identity == identity).peekable();
        if here.peek().is_some() {
            let is_known =
                !rules.can_select(below) || here.any(|trail| rules.selects_all_of(&trail.state, below));
            return if is_known { Way::Back } else { Way::On };
        }
        if !self.above.get_or_init(|| above(&self.set.root)).contains(&identity) {
            return Way::On;
        }
        match (rules.can_select(below), rules.is_bounded(below)) {
            (false, _) => Way::Back,
            (true, true) => Way::On,
            (true, false) => Way::Out,
        }
    }
}

impl Open {
    /// How far the patterns have come in it.
    pub(super) fn state(&self) -> &State {
        &self.trail.state
    }

    /// How many links to directories its path goes through.
    pub(super) fn links(&self) -> usize {
        self.trail.links
    }

    /// A path below the root as it is reached from the open directory.
    fn below_anchor(&self, path: &[u8]) -> CString {
        CString::new(&path[self.anchored..]).expect("no name has a NUL in it")
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
