//! A scan: brings a snapshot of a file set up to date.
//!
//! Invariant: whatever previous snapshot is given, also one of another set or from before a step of the clock,
//! the new one is what a scan without any would have made. The previous only spares reading.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::look::Found;
use super::previous::Previous;
use super::set::{FileSet, Ignore};
use super::snapshot::{Form, Row, Snapshot, Span, Visit};
use super::walk::Walk;
use super::{Changes, SourceError, Written};
use crate::clock::{Clock, Timestamp};
use crate::key::Digest;

/// Under which circumstances a scan runs.
#[derive(Debug, Clone, Copy)]
pub struct ScanOptions<'a> {
    /// Tells when the scan began, on the clock that the files' stamps are from.
    pub clock: &'a Clock,
    /// Makes the scan end with [`SourceError::Stopped`] soon after it is set.
    pub stop: &'a AtomicBool,
    /// How many threads may take part; the further ones are started where there is enough to do. `None` is as many as
    /// there are processors, which are then counted.
    pub threads: Option<NonZeroUsize>,
}

/// What a scan found.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The present state: the previous snapshot itself if nothing about it had to be changed, so that
    /// [`Scan::is_new`] is whether it has to be stored.
    pub snapshot: Arc<Snapshot>,
    /// The patterns that selected nothing, as they were given, in order.
    pub unmatched: Vec<String>,
    /// What it took.
    pub counts: Counts,
    previous: Option<Arc<Snapshot>>,
    /// Whether which files there are is a matter of the names in the directories that were looked into, and of
    /// nothing else.
    names_tell: bool,
}

/// What a scan took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Directories listed.
    pub directories: usize,
    /// Paths whose stat data was asked for, whether they belong to the set or not.
    pub looked_at: usize,
    /// Files read and hashed.
    pub read: usize,
    /// Bytes read and hashed.
    pub read_bytes: u64,
    /// Sources that were not looked at, as an earlier session had and nothing has happened to them since.
    pub carried: usize,
}

impl Scan {
    /// Stands for the content of the set; see [`Snapshot::fingerprint`].
    pub fn fingerprint(&self) -> Digest {
        self.snapshot.fingerprint()
    }

    /// The directories that were looked into, below the root. As long as no name comes or goes in one of them, the
    /// same files belong to the set. `None` where that does not follow.
    pub(crate) fn directories(&self) -> Option<impl Iterator<Item = &Path>> {
        self.names_tell.then(|| self.snapshot.directories())
    }

    /// Whether the snapshot differs from the previous one in anything, be it only stat data.
    pub fn is_new(&self) -> bool {
        !self.previous.as_ref().is_some_and(|previous| Arc::ptr_eq(previous, &self.snapshot))
    }

    /// What changed against the previous snapshot; everything is added where there was none.
    pub fn changes(&self) -> Changes {
        match &self.previous {
            Some(previous) if Arc::ptr_eq(previous, &self.snapshot) => Changes::default(),
            Some(previous) => self.snapshot.changes_since(previous),
            None => self.snapshot.changes_since(&Snapshot::empty()),
        }
    }
}

impl FileSet {
    /// Looks at the files, reading those for which `previous` does not vouch.
    ///
    /// Blocks: a microsecond or less an unchanged file, and reading and hashing for every other. Files that
    /// come, change or go meanwhile are seen as they were at one moment or another of the scan; whoever needs
    /// to know that nothing changed in a span of time scans before and after it.
    pub fn scan(
        &self,
        previous: Option<&Arc<Snapshot>>,
        options: &ScanOptions<'_>,
    ) -> Result<Scan, SourceError> {
        self.scan_written(previous, &Written::default(), options)
    }

    /// Like [`FileSet::scan`], by somebody who has just written some of the files and looks whether all is there: of
    /// those that still look as they did when they were written, what was written is taken for what is in them.
    ///
    /// Who else writes to one in the same tick of the file system's clock, without changing its length, is not seen
    /// by this scan, as if it had been done right after it; by the next it is, as for that one they are racily clean.
    pub fn scan_written(
        &self,
        previous: Option<&Arc<Snapshot>>,
        written: &Written,
        options: &ScanOptions<'_>,
    ) -> Result<Scan, SourceError> {
        let taken = options.clock.wall();
        let known = Previous::new(previous.map(|snapshot| &**snapshot), self.choice, taken);
        let walk = Walk::new(self, known, written, options.stop);
        let found = walk.run(options.threads)?;
        let mut counts = Counts::default();
        found.iter().for_each(|found| counts.add(&found.counts));
        let nothing_new = |found: &Found| found.rows.is_empty() && found.visits.is_empty();
        let unchanged = walk.previous.all_kept() && found.iter().all(nothing_new);
        let snapshot = match previous {
            Some(previous) if unchanged => previous.with_umask(self.umask),
            _ => {
                let snapshot = assemble(&walk.previous, &found, taken, self);
                Arc::new(snapshot.ok_or_else(|| SourceError::TooMany {
                    root: self.root.clone(),
                    limit: found.iter().map(|found| found.rows.len()).sum(),
                })?)
            }
        };
        let unmatched = self.unmatched(&walk, &snapshot);
        let names_tell = matches!(self.ignore, Ignore::Nothing) && !found.iter().any(|found| found.links);
        Ok(Scan { snapshot, unmatched, counts, previous: previous.cloned(), names_tell })
    }

    fn unmatched(&self, walk: &Walk<'_>, snapshot: &Snapshot) -> Vec<String> {
        let matches = |origin: usize| {
            walk.has_selected(origin)
                // A later pattern may have decided for everything that this one matches too.
                || snapshot.rows.iter().any(|row| {
                    let directory = matches!(row.form, Form::Directory | Form::LinkToDirectory);
                    self.rules.matches_alone(origin, row.path.of(&snapshot.arena), directory)
                })
        };
        let patterns = self.includes.iter().enumerate();
        let patterns = patterns.filter_map(|(origin, text)| text.as_ref().map(|text| (origin, text)));
        patterns.filter(|&(origin, _)| !matches(origin)).map(|(_, text)| text.clone()).collect()
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.directories += other.directories;
        self.looked_at += other.looked_at;
        self.read += other.read;
        self.read_bytes += other.read_bytes;
        self.carried += other.carried;
    }
}

/// Merges what was kept of the previous snapshot with what was found. `None` if the paths take too much.
fn assemble(previous: &Previous<'_>, found: &[Found], taken: Timestamp, set: &FileSet) -> Option<Snapshot> {
    fn place<'r>(&(arena, row): &(&'r [u8], &Row)) -> (&'r [u8], bool) {
        // The file that a link leads to comes behind the link.
        (row.path.of(arena), row.form == Form::LinkedFile)
    }
    let mut new: Vec<(&[u8], &Row)> =
        found.iter().flat_map(|found| found.rows.iter().map(|row| (&*found.arena, row))).collect();
    new.sort_by(|a, b| place(a).cmp(&place(b)));
    // A directory that changes while it is listed may be listed with the same name twice.
    new.dedup_by(|later, earlier| place(later) == place(earlier));

    let mut arena = Vec::with_capacity(found.iter().map(|found| found.arena.len()).sum());
    let mut rows: Vec<Row> = Vec::with_capacity(previous.len().max(new.len()));
    let mut push = |(from, row): (&[u8], &Row)| {
        let path = match rows.last() {
            Some(link) if link.path.of(&arena) == row.path.of(from) => link.path,
            // The link went right after the file had been looked at through it.
            _ if row.form == Form::LinkedFile => return Some(()),
            _ => Span::push(&mut arena, row.path.of(from))?,
        };
        let text = Span::push(&mut arena, row.text.of(from))?;
        rows.push(Row { path, text, ..*row });
        Some(())
    };
    let (mut kept, mut new) = (previous.kept().peekable(), new.into_iter().peekable());
    loop {
        let order = match (kept.peek(), new.peek()) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(kept), Some(new)) => place(kept).cmp(&place(new)),
        };
        let old = if order.is_le() { kept.next() } else { None };
        let new = if order.is_ge() { new.next() } else { None };
        push(new.or(old).expect("the loop ends when both have ended"))?;
    }
    let visits = visits(previous, found, &mut arena)?;
    Some(Snapshot::of_rows(taken, set.umask, arena, rows, set.choice, visits))
}

/// The directories that were looked into, in order. `None` if their paths take too much.
fn visits(previous: &Previous<'_>, found: &[Found], arena: &mut Vec<u8>) -> Option<Vec<Visit>> {
    let new = found.iter().flat_map(|found| found.visits.iter().map(|visit| (&*found.arena, visit)));
    let mut all: Vec<(&[u8], &Visit)> = previous.kept_visits().chain(new).collect();
    all.sort_by(|(a, one), (b, other)| one.path.of(a).cmp(other.path.of(b)));
    all.dedup_by(|(a, one), (b, other)| one.path.of(a) == other.path.of(b));
    let placed = all.into_iter().map(|(from, visit)| {
        Some(Visit { path: Span::push(arena, visit.path.of(from))?, stamp: visit.stamp })
    });
    placed.collect()
}
