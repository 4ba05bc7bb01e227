//! Snapshots: what a file set looked like when it was last looked at.
//!
//! Invariant: entries are sorted by path, byte by byte, without duplicates; a link that leads to a file is
//! followed by an entry of the same path for that file; the fingerprint belongs to the entries.
//! Entries are rows over one arena of paths, about 110 bytes and the path each, without an allocation of
//! their own. Directories that were looked into are rows of a second kind: they are no entries, say nothing that
//! counts, and spare listing them again.
//! Not here: how a snapshot is made (`scan`) and how it is stored (`format`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Stat;
use super::stat::Stamp;
use crate::clock::Timestamp;
use crate::key::Digest;

/// What a file set looked like when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// When the look began.
    pub(super) taken: Timestamp,
    /// The umask that modes were judged by.
    pub(super) umask: u32,
    pub(super) fingerprint: Digest,
    pub(super) arena: Vec<u8>,
    pub(super) rows: Vec<Row>,
    /// [`FileSet::choice`](super::FileSet) of the set that it is of.
    pub(super) choice: Digest,
    /// The directories that were looked into, sorted by path; the root's is empty.
    pub(super) visits: Vec<Visit>,
}

/// A directory that was looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Visit {
    /// Path below the root, without a slash at its end.
    pub(super) path: Span,
    /// [`Stamp::NONE`] if it says nothing about the names in it.
    pub(super) stamp: Stamp,
}

/// A part of an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Appends `bytes` to `arena`; `None` if it would come to more than 4 GiB.
    pub(super) fn push(arena: &mut Vec<u8>, bytes: &[u8]) -> Option<Self> {
        let start = u32::try_from(arena.len()).ok()?;
        let len = u32::try_from(bytes.len()).ok()?;
        start.checked_add(len)?;
        arena.extend_from_slice(bytes);
        Some(Self { start, len })
    }

    pub(super) fn of(self, arena: &[u8]) -> &[u8] {
        &arena[self.start as usize..][..self.len as usize]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) path: Span,
    /// Text of a link.
    pub(super) text: Span,
    pub(super) form: Form,
    /// Zero for directories, except for the mode: what else a directory's stat data says is not its own.
    pub(super) stat: Stat,
    /// Of a file's content; zero for everything else.
    pub(super) digest: Digest,
}

/// [`EntryKind`] without what belongs to it. The numbers are part of the stored form and of fingerprints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    File = 0,
    LinkedFile = 1,
    Directory = 2,
    Link = 8,
    LinkToNothing = 9,
    LinkToFile = 10,
    LinkToDirectory = 11,
    LinkToAncestor = 12,
    LinkToSpecial = 13,
}

impl Form {
    pub(super) const ALL: [Self; 9] = [
        Self::File,
        Self::LinkedFile,
        Self::Directory,
        Self::Link,
        Self::LinkToNothing,
        Self::LinkToFile,
        Self::LinkToDirectory,
        Self::LinkToAncestor,
        Self::LinkToSpecial,
    ];

    pub(super) fn is_link(self) -> bool {
        self as u8 >= Self::Link as u8
    }

    pub(super) fn has_content(self) -> bool {
        matches!(self, Self::File | Self::LinkedFile)
    }
}

/// One entry of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Path below the root of the set, without a slash at either end.
    pub path: &'a Path,
    /// What is there.
    pub kind: EntryKind<'a>,
    /// Stat data; of the link itself for a link, and only the mode for a directory.
    pub stat: Stat,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind<'a> {
    /// A regular file, and the digest of its content.
    File(Digest),
    /// The regular file that the link of the same path, which is the entry before, leads to.
    LinkedFile(Digest),
    /// A symbolic link.
    Link {
        /// Its text.
        target: &'a Path,
        /// Where that leads.
        leads: Leads,
    },
    /// A directory; only output sets keep them.
    Directory,
}

/// Where a link leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leads {
    /// It was not followed; output sets follow none.
    Unknown,
    /// Nowhere: its target is missing, or it leads in a circle of links.
    Nowhere,
    /// To a regular file, which is the next entry.
    File,
    /// To a directory; what is selected there follows below the link's own path.
    Directory,
    /// To a directory that the link itself is in. It was not followed: nothing is selected there that is not without it.
    Ancestor,
    /// To a pipe, socket or device. It was not opened.
    Special,
}

impl Snapshot {
    /// Whether it is of a set that chooses files as this one does.
    pub fn is_of(&self, set: &super::FileSet) -> bool {
        self.choice == set.choice
    }

    /// Stands for all paths, modes, contents and link texts of the set, and for nothing else: equal for two
    /// copies of a tree on two machines.
    ///
    /// A mode counts as what it says beyond the umask: "what an ordinary file gets", "what an executable or a
    /// directory gets", or else its nine permission bits.
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// When the look at the files began.
    pub fn taken(&self) -> Timestamp {
        self.taken
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All entries in the order of their paths' bytes.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        self.rows.iter().map(|row| self.entry(row))
    }

    /// The entry at `path`: the link itself where a link leads to a file. Costs a binary search.
    pub fn get(&self, path: &Path) -> Option<Entry<'_>> {
        let path = path.as_os_str().as_bytes();
        let at = self.rows.partition_point(|row| row.path.of(&self.arena) < path);
        self.rows.get(at).filter(|row| row.path.of(&self.arena) == path).map(|row| self.entry(row))
    }

    /// Like [`get`](Self::get), for whoever asks for one entry after another: costs two comparisons where it is the one
    /// after the `last`.
    pub(crate) fn get_after(&self, last: &mut usize, path: &Path) -> Option<Entry<'_>> {
        let bytes = path.as_os_str().as_bytes();
        let is_at = |at: usize| self.rows.get(at).is_some_and(|row| row.path.of(&self.arena) == bytes);
        let next = *last + 1;
        // The first row of a path is the link itself, where a link leads to a file.
        if is_at(next) && !is_at(*last) {
            *last = next;
        } else {
            *last = self.rows.partition_point(|row| row.path.of(&self.arena) < bytes);
            if !is_at(*last) {
                return None;
            }
        }
        Some(self.entry(&self.rows[*last]))
    }

    /// The directories that were looked into, in order; the root's path is empty.
    pub(crate) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.visits.iter().map(|visit| to_path(visit.path.of(&self.arena)))
    }

    /// What differs from `older` in a way that shows in the fingerprint.
    pub fn changes_since(&self, older: &Self) -> Changes {
        let mut changes = Changes::default();
        let (mut old, mut new) = (older.paths().peekable(), self.paths().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return changes,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let before = if order.is_le() { old.next() } else { None };
            let after = if order.is_ge() { new.next() } else { None };
            match (before, after) {
                (Some((path, _)), None) => changes.removed.push(to_path(path).to_owned()),
                (None, Some((path, _))) => changes.added.push(to_path(path).to_owned()),
                (Some((path, before)), Some((_, after))) if !self.say_the_same(after, older, before) => {
                    changes.modified.push(to_path(path).to_owned());
                }
                _ => {}
            }
        }
    }

    /// Each path once, with its one or two rows.
    fn paths(&self) -> impl Iterator<Item = (&[u8], &[Row])> {
        let same = |a: &Row, b: &Row| a.path.of(&self.arena) == b.path.of(&self.arena);
        self.rows.chunk_by(same).map(|rows| (rows[0].path.of(&self.arena), rows))
    }

    fn say_the_same(&self, own: &[Row], other: &Self, others: &[Row]) -> bool {
        own.len() == others.len()
            && own.iter().zip(others).all(|(a, b)| {
                a.form == b.form
                    && a.digest == b.digest
                    && a.text.of(&self.arena) == b.text.of(&other.arena)
                    && (a.form.is_link()
                        || judged_mode(a.stat.mode, self.umask) == judged_mode(b.stat.mode, other.umask))
            })
    }

    fn entry(&self, row: &Row) -> Entry<'_> {
        let link = |leads| EntryKind::Link { target: to_path(row.text.of(&self.arena)), leads };
        let kind = match row.form {
            Form::File => EntryKind::File(row.digest),
            Form::LinkedFile => EntryKind::LinkedFile(row.digest),
            Form::Directory => EntryKind::Directory,
            Form::Link => link(Leads::Unknown),
            Form::LinkToNothing => link(Leads::Nowhere),
            Form::LinkToFile => link(Leads::File),
            Form::LinkToDirectory => link(Leads::Directory),
            Form::LinkToAncestor => link(Leads::Ancestor),
            Form::LinkToSpecial => link(Leads::Special),
        };
        Entry { path: to_path(row.path.of(&self.arena)), kind, stat: row.stat }
    }

    /// Makes a snapshot of rows that are sorted and whose spans belong to `arena`.
    pub(super) fn of_rows(
        taken: Timestamp,
        umask: u32,
        arena: Vec<u8>,
        rows: Vec<Row>,
        choice: Digest,
        visits: Vec<Visit>,
    ) -> Self {
        let fingerprint = fingerprint(umask, &arena, &rows);
        Self { taken, umask, fingerprint, arena, rows, choice, visits }
    }

    /// The same look at the same files, judged by another umask.
    pub(super) fn with_umask(self: &Arc<Self>, umask: u32) -> Arc<Self> {
        if self.umask == umask {
            return Arc::clone(self);
        }
        let (arena, rows, visits) = (self.arena.clone(), self.rows.clone(), self.visits.clone());
        Arc::new(Self::of_rows(self.taken, umask, arena, rows, self.choice, visits))
    }
}

/// What differs between two snapshots, each list in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Only in the newer.
    pub added: Vec<PathBuf>,
    /// Only in the older.
    pub removed: Vec<PathBuf>,
    /// In both, with another kind, mode, content or link text, or a link that leads to something else.
    pub modified: Vec<PathBuf>,
}

impl Changes {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }
}

fn to_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Version of what goes into a fingerprint.
const FINGERPRINT_DOMAIN: &[u8] = b"larder file set 1\n";

fn fingerprint(umask: u32, arena: &[u8], rows: &[Row]) -> Digest {
    let mut said = Vec::with_capacity(FINGERPRINT_DOMAIN.len() + arena.len() + rows.len() * 40);
    said.extend_from_slice(FINGERPRINT_DOMAIN);
    for row in rows {
        let path = row.path.of(arena);
        said.extend_from_slice(&(path.len() as u32).to_le_bytes());
        said.extend_from_slice(path);
        row.say(arena, umask, &mut said);
    }
    Digest::of(&said)
}

impl Row {
    /// Appends all that this row says except its path.
    fn say(&self, arena: &[u8], umask: u32, to: &mut Vec<u8>) {
        to.push(self.form as u8);
        if self.form.is_link() {
            let text = self.text.of(arena);
            to.extend_from_slice(&(text.len() as u32).to_le_bytes());
            to.extend_from_slice(text);
        } else {
            to.extend_from_slice(&judged_mode(self.stat.mode, umask).to_le_bytes());
        }
        if self.form.has_content() {
            to.extend_from_slice(self.digest.as_bytes());
        }
    }
}

/// What a mode says beyond the umask.
///
/// Two clones made under two umasks have different permission bits everywhere, and mean the same. So a mode
/// that is exactly what the umask leaves of 0o666 or 0o777 is told as that; any other is told bit by bit, so
/// that every `chmod` shows. Should the umask of one tree's user change, its fingerprint does too, and so
/// would the modes of whatever is made from it.
fn judged_mode(mode: u32, umask: u32) -> u16 {
    const AS_ORDINARY: u16 = 0o1000;
    const AS_EXECUTABLE: u16 = 0o1001;
    let bits = mode & 0o777;
    if bits == 0o666 & !umask {
        AS_ORDINARY
    } else if bits == 0o777 & !umask {
        AS_EXECUTABLE
    } else {
        bits as u16
    }
}
