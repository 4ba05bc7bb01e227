//! The stat table: under which stat data single files and listings were read last, and what was found.
//!
//! Invariant: a row says what was found under stat data that had settled when the reading began. So whoever finds
//! the same stat data now would find the same again ([`Stat`] tells why), unless the clock was stepped back since:
//! then no row is believed. The table is a hint, never a truth: with any or none the outcome is the same.
//!
//! Rows lie in one vector over one arena of paths, about 130 bytes and the path each. They are found by their paths, in a
//! table that is made when it is asked first: whoever asks for them in the order in which they lie, as most do, needs
//! none, so that reading back what was stored costs little. Not here: who takes the stat
//! data and reads, and where the table is kept (`engine`).

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::Mutex;

use super::format::{column, number, push_paths, slice, take};
use super::snapshot::Span;
use super::{SnapshotFormatError, Stat};
use crate::clock::Timestamp;
use crate::key::Digest;

const MAGIC: &[u8; 4] = b"LSTT";
const VERSION: u8 = 1;
/// How many rows a table has at most: at this size it takes some 25 MB of memory.
const MAX_ROWS: usize = 1 << 17;

/// Of which sort of look a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Looked {
    /// The content of a file; the digest is that of the content.
    File = 0,
    /// The names in a directory; the digest is whatever stands for them.
    Listing = 1,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    path: Span,
    looked: Looked,
    stat: Stat,
    digest: Digest,
    /// Whether this process has looked there; such rows stay when there are too many.
    used: bool,
    /// Whether the row says anything.
    live: bool,
}

/// What was found of the files and listings of one root when they were read last. Shared: it locks within.
#[derive(Debug, Default)]
pub struct StatTable(Mutex<Rows>);

#[derive(Debug, Default)]
struct Rows {
    hash: RandomState,
    /// The first of the rows by their paths.
    by_path: HashTable<u32>,
    rows: Vec<Row>,
    arena: Vec<u8>,
    /// When the newest of the rows was read.
    taken: Timestamp,
    changed: bool,
}

impl StatTable {
    /// The digest of what was found at `path` under `stat`, if what is there `now` is sure to be the same.
    pub fn find(&self, looked: Looked, path: &[u8], stat: &Stat, now: Timestamp) -> Option<Digest> {
        self.0.lock().find(looked, path, stat, now)
    }

    /// The same for many, in order; they are found in one go, as others want to find theirs. `cursor` is where the next
    /// one is looked for first: 0, or what a call for others before them left.
    pub(crate) fn find_all<'a>(
        &self,
        wanted: impl Iterator<Item = Option<(Looked, &'a [u8], &'a Stat)>>,
        now: Timestamp,
        cursor: &mut usize,
    ) -> Vec<Option<Digest>> {
        let rows = &mut *self.0.lock();
        let mut find = |(looked, path, stat)| rows.find_after(cursor, looked, path, stat, now);
        wanted.map(|wanted| wanted.and_then(&mut find)).collect()
    }

    /// Notes what was found at `path` under `stat`, which was the same before and after. Does so only if the stat
    /// data had settled when the reading `began`; whatever stood there before says nothing any more.
    pub fn note(&self, looked: Looked, path: &[u8], stat: &Stat, digest: Digest, began: Timestamp) {
        let rows = &mut *self.0.lock();
        if rows.taken > began {
            rows.clear();
        }
        let settled = stat.is_settled_at(nanos(began));
        match rows.position(looked, path) {
            None if !settled => return,
            None => rows.push(looked, path, *stat, digest),
            Some(at) => {
                let row = &mut rows.rows[at];
                if !settled && !row.live {
                    return;
                }
                *row = Row { stat: *stat, digest, used: true, live: settled, ..*row };
            }
        }
        rows.taken = rows.taken.max(began);
        rows.changed = true;
    }

    /// Whether there is something that the stored form has not.
    pub fn has_changed(&self) -> bool {
        self.0.lock().changed
    }

    /// Takes in the rows of `stored` about paths of which this table says nothing. `stored` is as it was, or empty.
    pub fn absorb(&self, stored: &Self, now: Timestamp) {
        let (rows, stored) = (&mut *self.0.lock(), &mut *stored.0.lock());
        if stored.taken > now {
            return;
        }
        if rows.rows.is_empty() && !rows.changed {
            *rows = std::mem::take(stored);
            return;
        }
        for row in stored.rows.iter().filter(|row| row.live) {
            let path = row.path.of(&stored.arena);
            if rows.rows.len() < MAX_ROWS && rows.position(row.looked, path).is_none() {
                rows.insert(path, Row { used: false, ..*row });
            }
        }
        rows.taken = rows.taken.max(stored.taken);
    }

    /// The stored form; `docs/format.md` describes it. What is noted from now on is what that has not.
    pub fn encode(&self) -> Vec<u8> {
        let rows = &mut *self.0.lock();
        rows.changed = false;
        let path = |row: &Row| row.path.of(&rows.arena);
        let mut live: Vec<&Row> = rows.rows.iter().filter(|row| row.live).collect();
        live.sort_unstable_by(|a, b| path(a).cmp(path(b)).then(a.looked.cmp(&b.looked)));
        let mut bytes = Vec::with_capacity(32 + live.len() * 90);
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&rows.taken.as_millis().to_le_bytes());
        bytes.extend_from_slice(&(live.len() as u32).to_le_bytes());
        bytes.extend(live.iter().map(|row| row.looked as u8));
        for row in &live {
            let Stat { device, inode, size, modified, changed, mode } = row.stat;
            for number in [device, inode, size, modified.cast_unsigned(), changed.cast_unsigned()] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&mode.to_le_bytes());
        }
        live.iter().for_each(|row| bytes.extend_from_slice(row.digest.as_bytes()));
        push_paths(&mut bytes, live.iter().map(|row| path(row)));
        bytes
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotFormatError> {
        let mut from = bytes;
        if take(&mut from) != Some(MAGIC) {
            return Err(SnapshotFormatError::Damaged);
        }
        match take(&mut from) {
            Some(&[VERSION]) => {}
            Some(&[version]) => return Err(SnapshotFormatError::Version(version)),
            None => return Err(SnapshotFormatError::Damaged),
        }
        let rows = decode_rows(from).ok_or(SnapshotFormatError::Damaged)?;
        Ok(Self(Mutex::new(rows)))
    }
}

/// What one row takes besides its sort, digest and path.
const STAT: usize = 5 * 8 + 4;

/// Reads what follows the version; `None` if it is damaged.
fn decode_rows(mut from: &[u8]) -> Option<Rows> {
    let from = &mut from;
    let taken = Timestamp::from_millis(u64::from_le_bytes(*take(from)?));
    let count = u32::from_le_bytes(*take(from)?) as usize;
    let looks = column::<1>(from, count)?;
    let stats = column::<STAT>(from, count)?;
    let digests = column::<{ Digest::LEN }>(from, count)?;
    // A path is no longer than a file system has it, so damage can't make it grow without end.
    let (mut path, mut rows) = (Vec::new(), Rows { taken, ..Rows::default() });
    rows.rows.reserve(count.min(MAX_ROWS));
    for ((&[looked], stat), &digest) in looks.iter().zip(stats).zip(digests) {
        let (shared, len) = (number(from)?, number(from)?);
        path.truncate(shared);
        path.extend_from_slice(slice(from, len)?);
        let looked = match looked {
            0 => Looked::File,
            1 => Looked::Listing,
            _ => return None,
        };
        if path.len() != shared + len || path.len() > 1 << 16 || rows.rows.len() == MAX_ROWS {
            return None;
        }
        let stat = &mut &stat[..];
        let mut next = || Some(u64::from_le_bytes(*take(stat)?));
        let [device, inode, size, modified, changed] = [next()?, next()?, next()?, next()?, next()?];
        let mode = u32::from_le_bytes(*take(stat)?);
        let (modified, changed) = (modified.cast_signed(), changed.cast_signed());
        let stat = Stat { device, inode, size, modified, changed, mode };
        let row = Row {
            path: Span::default(),
            looked,
            stat,
            digest: Digest::from_bytes(digest),
            used: false,
            live: true,
        };
        rows.insert(&path, row);
    }
    from.is_empty().then_some(rows)
}

impl Rows {
    fn find(&mut self, looked: Looked, path: &[u8], stat: &Stat, now: Timestamp) -> Option<Digest> {
        // If the clock says that the table is yet to be written it was stepped back since, and new stamps may
        // repeat old ones.
        if self.taken > now {
            return None;
        }
        let at = self.position(looked, path)?;
        self.told(at, stat)
    }

    /// The same, if the row is the one at `cursor`, without asking the table. Leaves the cursor behind the row.
    fn find_after(
        &mut self,
        cursor: &mut usize,
        looked: Looked,
        path: &[u8],
        stat: &Stat,
        now: Timestamp,
    ) -> Option<Digest> {
        if self.taken > now {
            return None;
        }
        let at = match self.rows.get(*cursor) {
            Some(row) if self.is(row, looked, path) => *cursor,
            _ => self.position(looked, path)?,
        };
        *cursor = at + 1;
        self.told(at, stat)
    }

    /// What a row says of something that has this stat data.
    fn told(&mut self, at: usize, stat: &Stat) -> Option<Digest> {
        let row = &mut self.rows[at];
        row.used = true;
        (row.live && row.stat == *stat).then_some(row.digest)
    }

    fn is(&self, row: &Row, looked: Looked, path: &[u8]) -> bool {
        row.looked == looked && row.path.of(&self.arena) == path
    }

    fn position(&mut self, looked: Looked, path: &[u8]) -> Option<usize> {
        self.index();
        let eq = |&at: &u32| self.is(&self.rows[at as usize], looked, path);
        self.by_path.find(self.hash.hash_one((looked, path)), eq).map(|&at| at as usize)
    }

    /// Takes the rows into the table that are not in there.
    fn index(&mut self) {
        let Self { hash, by_path, rows, arena, .. } = self;
        let hash_of = |&at: &u32| {
            let row: &Row = &rows[at as usize];
            hash.hash_one((row.looked, row.path.of(arena)))
        };
        by_path.reserve(rows.len() - by_path.len(), hash_of);
        for at in by_path.len() as u32..rows.len() as u32 {
            by_path.insert_unique(hash_of(&at), at, hash_of);
        }
    }

    fn push(&mut self, looked: Looked, path: &[u8], stat: Stat, digest: Digest) {
        if self.rows.len() >= MAX_ROWS {
            self.keep_used();
        }
        // Where all are in use, what comes on top is read each time.
        if self.rows.len() < MAX_ROWS {
            self.insert(path, Row { path: Span::default(), looked, stat, digest, used: true, live: true });
        }
    }

    fn insert(&mut self, path: &[u8], row: Row) {
        if let Some(path) = Span::push(&mut self.arena, path) {
            self.rows.push(Row { path, ..row });
        }
    }

    /// Drops the rows that this process has not used.
    fn keep_used(&mut self) {
        let (rows, arena) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.arena));
        self.by_path.clear();
        for row in rows.iter().filter(|row| row.used && row.live) {
            self.insert(row.path.of(&arena), *row);
        }
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.arena.clear();
        self.by_path.clear();
        self.taken = Timestamp::default();
    }
}

fn nanos(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_millis()).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(100_000);

    fn stat(inode: u64, changed_seconds: i64) -> Stat {
        let nanos = changed_seconds * 1_000_000_000;
        Stat { device: 1, inode, size: 5, modified: nanos, changed: nanos, mode: 0o100_644 }
    }

    fn find(table: &StatTable, path: &str, stat: &Stat) -> bool {
        table.find(Looked::File, path.as_bytes(), stat, NOW).is_some()
    }

    #[test]
    fn what_had_settled_is_believed_while_its_stat_data_is_the_same() {
        let table = StatTable::default();
        let note = |path: &str, stat: &Stat, at| {
            table.note(Looked::File, path.as_bytes(), stat, Digest::of(path.as_bytes()), at)
        };
        note("old", &stat(1, 90), NOW);
        note("young", &stat(2, 99), NOW);
        assert!(find(&table, "old", &stat(1, 90)) && !find(&table, "young", &stat(2, 99)));
        let others = [
            stat(2, 90),
            stat(1, 91),
            Stat { size: 6, ..stat(1, 90) },
            Stat { mode: 0o100_755, ..stat(1, 90) },
            Stat { device: 2, ..stat(1, 90) },
            Stat { modified: 0, ..stat(1, 90) },
        ];
        assert!(others.iter().all(|other| !find(&table, "old", other)));
        assert_eq!(table.find(Looked::Listing, b"old", &stat(1, 90), NOW), None);
        // What was read again too soon after a change takes away what was known before it.
        note("old", &stat(1, 99), NOW);
        assert!(!find(&table, "old", &stat(1, 99)) && !find(&table, "old", &stat(1, 90)));
        // The clock was stepped back.
        note("old", &stat(1, 90), NOW);
        let before = Timestamp::from_millis(99_999);
        assert_eq!(table.find(Looked::File, b"old", &stat(1, 90), before), None);
        note("new", &stat(3, 90), before);
        assert!(find(&table, "new", &stat(3, 90)) && !find(&table, "old", &stat(1, 90)));
    }

    #[test]
    fn what_another_process_stored_is_taken_in_beside_what_is_known() {
        let (own, other) = (StatTable::default(), StatTable::default());
        own.note(Looked::File, b"a", &stat(1, 90), Digest::of(b"own"), NOW);
        other.note(Looked::File, b"a", &stat(1, 80), Digest::of(b"other"), NOW);
        other.note(Looked::File, b"b", &stat(2, 80), Digest::of(b"b"), NOW);
        own.absorb(&other, Timestamp::from_millis(1));
        assert!(!find(&own, "b", &stat(2, 80)), "it is from the future");
        own.absorb(&other, NOW);
        assert!(find(&own, "a", &stat(1, 90)) && find(&own, "b", &stat(2, 80)));
    }

    #[test]
    fn rows_in_use_stay_where_there_are_too_many() {
        let table = StatTable::default();
        let path = |n: usize| format!("directory/{n}").into_bytes();
        for n in 0..MAX_ROWS {
            table.note(Looked::File, &path(n), &stat(n as u64, 1), Digest::of(b""), NOW);
        }
        let table = StatTable::decode(&table.encode()).unwrap();
        assert!(table.find(Looked::File, &path(7), &stat(7, 1), NOW).is_some());
        table.note(Looked::File, b"new", &stat(1, 1), Digest::of(b""), NOW);
        let known = |path: &[u8], n| table.find(Looked::File, path, &stat(n, 1), NOW).is_some();
        assert!(known(&path(7), 7) && known(b"new", 1) && !known(&path(8), 8));
    }

    proptest! {
        #[test]
        fn tables_read_back_as_they_were_and_damage_is_no_panic(
            rows in prop::collection::btree_map((any::<bool>(), "[a-c/]{0,9}"), any::<(u32, u32)>(), 0..40),
            cut in any::<prop::sample::Index>(),
            flip in any::<(prop::sample::Index, u8)>(),
        ) {
            let table = StatTable::default();
            let looked = |listing| if listing { Looked::Listing } else { Looked::File };
            let stat = |inode: u32| stat(inode.into(), 7);
            for ((listing, path), (inode, digest)) in &rows {
                let digest = Digest::of(&digest.to_le_bytes());
                table.note(looked(*listing), path.as_bytes(), &stat(*inode), digest, NOW);
            }
            let bytes = table.encode();
            prop_assert!(!table.has_changed());
            let read = StatTable::decode(&bytes).unwrap();
            for ((listing, path), (inode, digest)) in &rows {
                let found = read.find(looked(*listing), path.as_bytes(), &stat(*inode), NOW);
                prop_assert_eq!(found, Some(Digest::of(&digest.to_le_bytes())));
            }
            prop_assert_eq!(read.encode(), bytes.clone());
            prop_assert!(StatTable::decode(&bytes[..cut.index(bytes.len())]).is_err());
            let mut damaged = bytes.clone();
            damaged[flip.0.index(bytes.len())] ^= flip.1;
            let _ = StatTable::decode(&damaged);
        }
    }

    #[test]
    fn the_stored_form_is_this_one_until_the_version_changes() {
        let table = StatTable::default();
        table.note(Looked::Listing, b"", &stat(1, 2), Digest::of(b"names"), NOW);
        table.note(Looked::File, b"a/b", &stat(2, 3), Digest::of(b"content"), NOW);
        let bytes = table.encode();
        assert_eq!(
            (bytes.len(), format!("{:.16}", Digest::of(&bytes))),
            (178, "156f2bb2b0d1a999".to_owned())
        );
    }
}
