//! Looking at things outside: reading files, listing directories, finding programs. Everything here blocks.
//!
//! A file or directory for whose stat data the stat table vouches is not read. Where several are looked at in a row,
//! those in one directory are asked for by its descriptor, which spares the way to it.
//!
//! Invariant: what is returned was there, whole, at one moment: stat data before and after are the same.
//! Not here: file sets (`source`), looking once a session (`observe`).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, open, openat, stat, statat};
use rustix::io::Errno;

use super::carry::Carry;
use super::observe::as_look;
use super::outside::{Outside, Tool};
use super::tables::Table;
use crate::clock::{Clock, Timestamp};
use crate::key::Digest;
use crate::query::{Fingerprint, Listed, ListedKind, Observation, RootPath};
use crate::source::{
    Counts, FileSet, Looked, Mark, Scan, ScanOptions, Snapshot, SourceError, Stat, Vigil, digest_file,
    keeps_stamps,
};

/// How often a file or directory that changes while it is read is read again before it is given up.
const ATTEMPTS: usize = 4;
/// Of how many files and listings in a row the stat data are taken before it is asked what they vouch for.
const AT_A_TIME: usize = 256;

/// A directory whose files and directories are looked at, and what is remembered of them.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    /// `None` where nothing that is kept may be used.
    pub(super) table: Option<Arc<Table>>,
    /// What is handed on from one session to the next; `None` where nothing is.
    pub(super) carry: Option<Arc<Carry>>,
    /// When the session began to look here, if something is handed on.
    pub(super) began: Option<Mark>,
    pub(super) clock: Clock,
    pub(super) counts: Arc<Mutex<Counts>>,
}

/// A file or a listing of which somebody wants to know the fingerprint.
pub(super) struct Wanted {
    pub(super) looked: Looked,
    pub(super) path: RootPath,
    /// What a scan that began at this moment has found.
    pub(super) known: Option<(Fingerprint, Option<Mark>)>,
    /// Whether what is found is to be handed on.
    pub(super) is_watched: bool,
}

impl Wanted {
    /// One that is looked at whatever was found before, and of which nothing is handed on.
    pub(super) fn unwatched((looked, path): (Looked, &RootPath)) -> Self {
        Self { looked, path: path.clone(), known: None, is_watched: false }
    }
}

/// What was seen of it.
pub(super) struct Sight {
    pub(super) fingerprint: Fingerprint,
    /// Over what was seen, from before it was.
    pub(super) vigil: Option<Vigil>,
}

/// A content and its fingerprint; `None` and [`Fingerprint::Absent`] if it is not there.
type Found<T> = (Option<T>, Fingerprint);

impl Place {
    /// The fingerprints of files and listings, in order.
    pub(super) fn fingerprints(&self, wanted: &[Wanted]) -> Vec<Result<Sight, SourceError>> {
        let began = self.clock.wall();
        let mut vigils = self.vigils(wanted).into_iter();
        let mut way = Way::to(&self.root);
        let mut looked_at = 0;
        let stats: Vec<Option<Result<Stat, Errno>>> = wanted
            .iter()
            .enumerate()
            .map(|(at, Wanted { path, known, .. })| {
                if known.is_some() {
                    return None;
                }
                looked_at += 1;
                let next = wanted.get(at + 1).map(|next| &next.path);
                Some(way.stat(path, next).map(Stat::from))
            })
            .collect();
        self.counts.lock().looked_at += looked_at;
        let settled = self.known_all(wanted, &stats, began);
        let mut looks = Vec::with_capacity(wanted.len());
        for ((wanted, stat), settled) in wanted.iter().zip(stats).zip(settled) {
            let vigil = vigils.next().flatten();
            looks.push(match (&wanted.known, settled, stat) {
                (Some((known, mark)), ..) => {
                    let vigil = vigil.zip(*mark).map(|(vigil, mark)| vigil.since(mark));
                    Ok(Sight { fingerprint: *known, vigil })
                }
                (None, Some(settled), _) => Ok(Sight { fingerprint: Fingerprint::Is(settled), vigil }),
                (None, None, stat) => {
                    let stat = stat.expect("what is not known was looked at");
                    let fingerprint = self.fingerprint(wanted.looked, &wanted.path, stat);
                    fingerprint.map(|fingerprint| Sight { fingerprint, vigil })
                }
            });
        }
        looks
    }

    /// How many of the observations at these places are right, from the first of the places on. Stops at one that is not
    /// right, or that can't be looked at. All are of files and listings below the root.
    pub(super) fn right_until(&self, observations: &[Observation], places: &[u32]) -> usize {
        let began = self.clock.wall();
        let look_of = |&at: &u32| {
            let Observation { source, fingerprint, .. } = &observations[at as usize];
            as_look(source).map(|(looked, path)| (looked, path, *fingerprint))
        };
        let (mut way, mut cursor, mut right) = (Way::to(&self.root), 0, 0);
        let mut stats = Vec::with_capacity(AT_A_TIME.min(places.len()));
        for some in places.chunks(AT_A_TIME) {
            stats.clear();
            let mut paths = some.iter().filter_map(look_of).map(|(_, path, _)| path).peekable();
            while let Some(path) = paths.next() {
                stats.push(way.stat(path, paths.peek().copied()).map(Stat::from));
            }
            self.counts.lock().looked_at += stats.len();
            let looks = some.iter().filter_map(look_of).zip(&stats);
            let wanted = looks.clone().map(|((looked, path, _), stat)| {
                Some((looked, path.below().as_os_str().as_bytes(), stat.as_ref().ok()?))
            });
            let known = match &self.table {
                Some(table) => table.rows.find_all(wanted, began, &mut cursor),
                None => vec![None; stats.len()],
            };
            for (((looked, path, was), stat), known) in looks.zip(known) {
                let is = match known {
                    Some(known) => Ok(Fingerprint::Is(known)),
                    None => self.fingerprint(looked, path, *stat),
                };
                if !is.is_ok_and(|is| is == was) {
                    return right;
                }
                right += 1;
            }
        }
        right
    }

    /// What the stat table vouches for.
    fn known_all(
        &self,
        wanted: &[Wanted],
        stats: &[Option<Result<Stat, Errno>>],
        now: Timestamp,
    ) -> Vec<Option<Digest>> {
        let Some(table) = &self.table else { return vec![None; wanted.len()] };
        let looks = wanted.iter().zip(stats).map(|(wanted, stat)| match stat {
            Some(Ok(stat)) => Some((wanted.looked, wanted.path.below().as_os_str().as_bytes(), stat)),
            _ => None,
        });
        table.rows.find_all(looks, now, &mut 0)
    }

    /// Begins a vigil over each of what is wanted, if anything is handed on.
    fn vigils(&self, wanted: &[Wanted]) -> Vec<Option<Vigil>> {
        match &self.carry {
            Some(carry) if wanted.iter().any(|wanted| wanted.is_watched) => {
                carry.watched.vigils(wanted.iter().map(|wanted| wanted.path.below()))
            }
            _ => Vec::new(),
        }
    }

    /// Begins a vigil over what is at a path.
    pub(super) fn vigil(&self, path: &RootPath) -> Option<Vigil> {
        self.carry.as_ref()?.watched.vigils([path.below()]).pop()?
    }

    /// Scans a set below the root. Beside the scan, a vigil over which files there are, and when it began.
    pub(super) fn scan(
        &self,
        set: &FileSet,
        previous: Option<&Arc<Snapshot>>,
        threads: NonZero<usize>,
    ) -> Result<(Scan, Option<Vigil>, Option<Mark>), SourceError> {
        let watched = self.carry.as_ref().map(|carry| &carry.watched);
        let mark = watched.map(|watched| {
            // Where files were the last time, they are expected again. Which directories there are is known only
            // then: those that are new are watched too late for this time, and in time for the next.
            watched.vigils(previous.iter().flat_map(|previous| previous.directories()));
            watched.now()
        });
        let options =
            ScanOptions { clock: &self.clock, stop: &AtomicBool::new(false), threads: Some(threads) };
        let scan = set.scan(previous, &options)?;
        let vigil = watched
            .zip(mark)
            .zip(scan.directories())
            .and_then(|((watched, mark), directories)| Vigil::over_all(watched.vigils(directories), mark));
        if let Some(watched) = watched
            && !vigil.as_ref().is_some_and(Vigil::is_unbroken)
        {
            watched.note_gap();
        }
        Ok((scan, vigil, mark))
    }

    /// What stands for something that has this stat data, for which the table does not vouch.
    fn fingerprint(
        &self,
        looked: Looked,
        path: &RootPath,
        stat: Result<Stat, Errno>,
    ) -> Result<Fingerprint, SourceError> {
        let full = || path.under(&self.root);
        if look(&full, || Ok(stat?))?.is_none() {
            return Ok(Fingerprint::Absent);
        }
        match looked {
            Looked::Listing => Ok(self.names(path)?.1),
            Looked::File => {
                let began = self.clock.wall();
                let found = absent_is_none(digest_file(&full()))?;
                let Some(file) = found else { return Ok(Fingerprint::Absent) };
                self.count_read(file.size);
                self.note(Looked::File, path, &file.stat, file.digest, began);
                Ok(Fingerprint::Is(file.digest))
            }
        }
    }

    /// A file's content.
    pub(super) fn content(&self, path: &RootPath) -> Result<Found<Vec<u8>>, SourceError> {
        let full = path.under(&self.root);
        for _ in 0..ATTEMPTS {
            let began = self.clock.wall();
            self.counts.lock().looked_at += 1;
            // Opening alone can do something to a device, so its type is asked for first.
            let Some(there) = look(&|| full.clone(), || Ok(stat(&full)?))? else { return Ok(absent()) };
            if FileType::from_raw_mode(there.st_mode) != FileType::RegularFile {
                // It knows what to say of anything that is no file; a file that came meanwhile is read.
                absent_is_none(digest_file(&full))?;
                continue;
            }
            let read = look(&|| full.clone(), || read_whole(&full))?;
            match read {
                None => return Ok(absent()),
                Some(None) => {}
                Some(Some((content, stat))) => {
                    self.count_read(content.len() as u64);
                    let digest = self.known(Looked::File, path, &stat, began).unwrap_or_else(|| {
                        let digest = Digest::of(&content);
                        self.note(Looked::File, path, &stat, digest, began);
                        digest
                    });
                    return Ok((Some(content), Fingerprint::Is(digest)));
                }
            }
        }
        Err(SourceError::Unstable { path: full })
    }

    /// The names in a directory, sorted.
    pub(super) fn names(&self, path: &RootPath) -> Result<Found<Vec<Listed>>, SourceError> {
        let full = path.under(&self.root);
        for _ in 0..ATTEMPTS {
            let began = self.clock.wall();
            let listed = look(&|| full.clone(), || {
                let before = Stat::from(stat(&full)?);
                let mut names = Vec::new();
                for entry in fs::read_dir(&full)? {
                    let entry = entry?;
                    names.push(Listed { name: entry.file_name(), kind: kind(entry.file_type()?) });
                }
                names.sort_unstable();
                Ok((before == Stat::from(stat(&full)?)).then_some((names, before)))
            })?;
            match listed {
                None => return Ok(absent()),
                Some(None) => {}
                Some(Some((names, stat))) => {
                    self.counts.lock().directories += 1;
                    let fingerprint = Fingerprint::of_listing(&names);
                    if let Fingerprint::Is(digest) = fingerprint
                        && tells_by_stamp(&full)
                    {
                        self.note(Looked::Listing, path, &stat, digest, began);
                    }
                    return Ok((Some(names), fingerprint));
                }
            }
        }
        Err(SourceError::Unstable { path: full })
    }

    fn known(&self, looked: Looked, path: &RootPath, stat: &Stat, now: Timestamp) -> Option<Digest> {
        let table = &self.table.as_ref()?.rows;
        table.find(looked, path.below().as_os_str().as_bytes(), stat, now)
    }

    fn note(&self, looked: Looked, path: &RootPath, stat: &Stat, digest: Digest, began: Timestamp) {
        if let Some(table) = &self.table {
            table.rows.note(looked, path.below().as_os_str().as_bytes(), stat, digest, began);
        }
    }

    fn count_read(&self, bytes: u64) {
        let mut counts = self.counts.lock();
        counts.read += 1;
        counts.read_bytes += bytes;
    }
}

fn absent<T>() -> Found<T> {
    (None, Fingerprint::Absent)
}

/// A file's content and the stat data that it was read under; `None` if it changed meanwhile.
fn read_whole(path: &Path) -> io::Result<Option<(Vec<u8>, Stat)>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = File::from(openat(CWD, path, flags, Mode::empty())?);
    let before = Stat::from(fstat(&file)?);
    let mut content = Vec::with_capacity(usize::try_from(before.size).unwrap_or(0) + 1);
    file.read_to_end(&mut content)?;
    let after = Stat::from(fstat(&file)?);
    Ok((before == after && before.size == content.len() as u64).then_some((content, after)))
}

/// Whether a directory changes its stamp with the names in it.
fn tells_by_stamp(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).is_ok_and(|directory| keeps_stamps(&directory))
}

/// The way from the root to one path after another.
struct Way {
    root: Result<OwnedFd, Errno>,
    /// The directory that was on the way last, and how it was opened.
    last: Option<(Vec<u8>, Result<OwnedFd, Errno>)>,
}

impl Way {
    fn to(root: &Path) -> Self {
        Self { root: open(root, Self::FLAGS, Mode::empty()), last: None }
    }

    /// A directory that is only passed through need not be readable.
    const FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

    /// Stat data of what is at `path`, through links. A directory is opened where the `next` path is in it too.
    fn stat(&mut self, path: &RootPath, next: Option<&RootPath>) -> Result<rustix::fs::Stat, Errno> {
        let root = self.root.as_ref().map_err(|errno| *errno)?;
        let Some((parent, name)) = split_last(path) else { return fstat(root) };
        let is_open = self.last.as_ref().is_some_and(|(last, _)| last == parent);
        let is_worth_it = || next.and_then(split_last).is_some_and(|(next, _)| next == parent);
        if !is_open && !parent.is_empty() && is_worth_it() {
            self.last = Some((parent.to_owned(), openat(root, parent, Self::FLAGS, Mode::empty())));
        }
        match &self.last {
            Some((last, directory)) if last == parent => {
                statat(directory.as_ref().map_err(|errno| *errno)?, name, AtFlags::empty())
            }
            _ => statat(root, path.below(), AtFlags::empty()),
        }
    }
}

/// The directory that a path below a root is in, and its name there; `None` for the root itself. By its bytes, as it
/// has one spelling.
fn split_last(path: &RootPath) -> Option<(&[u8], &[u8])> {
    let path = path.below().as_os_str().as_bytes();
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => Some((&path[..slash], &path[slash + 1..])),
        None => (!path.is_empty()).then_some((&[], path)),
    }
}

/// The program that a name stands for: below a root if there is a slash in it, else in the directories of the
/// variable `PATH`. `None` if there is none that may be executed.
pub(super) fn find_tool(outside: &Outside, name: &str) -> Result<Option<Tool>, SourceError> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        let path = RootPath::new(name).ok();
        path.and_then(|path| Some(path.under(outside.directory(path.root())?))).into_iter().collect()
    } else {
        let path = outside.environment.get(OsStr::new("PATH"));
        let directories =
            path.map(|path| std::env::split_paths(path).collect::<Vec<_>>()).unwrap_or_default();
        directories.into_iter().map(|directory| outside.root.join(directory).join(name)).collect()
    };
    for path in candidates {
        let is_program =
            |metadata: fs::Metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
        if !fs::metadata(&path).is_ok_and(is_program) {
            continue;
        }
        if let Some(file) = absent_is_none(digest_file(&path))? {
            return Ok(Some(Tool { path, digest: file.digest }));
        }
    }
    Ok(None)
}

fn kind(file_type: fs::FileType) -> ListedKind {
    if file_type.is_dir() {
        ListedKind::Directory
    } else if file_type.is_symlink() {
        ListedKind::Link
    } else if file_type.is_file() {
        ListedKind::File
    } else {
        ListedKind::Special
    }
}

/// Runs `look`; `None` if it finds that nothing is there.
fn look<T>(
    path: &dyn Fn() -> PathBuf,
    look: impl FnOnce() -> io::Result<T>,
) -> Result<Option<T>, SourceError> {
    absent_is_none(look().map_err(|source| SourceError::Unreadable { path: path(), source }))
}

/// Nothing is there, also where what should be a directory above it is none.
fn absent_is_none<T>(outcome: Result<T, SourceError>) -> Result<Option<T>, SourceError> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(SourceError::Unreadable { source, .. })
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
