//! The previous snapshot as a walk uses it: found by path, and each row noted as still right or replaced.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU8, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::Stat;
use super::snapshot::{Form, Row, Snapshot};
use crate::clock::Timestamp;

/// The previous snapshot, or none.
pub(super) struct Previous<'a> {
    snapshot: Option<&'a Snapshot>,
    hash: RandomState,
    /// First row of each path.
    by_path: HashTable<u32>,
    fates: Vec<AtomicU8>,
    /// The moment, in nanoseconds since 1970, before which stat data must have settled to be believed.
    settled_at: i64,
}

const UNSEEN: u8 = 0;
const SAME: u8 = 1;
const REPLACED: u8 = 2;

impl<'a> Previous<'a> {
    /// Prepares `snapshot` for a walk that begins `now`.
    pub(super) fn new(snapshot: Option<&'a Snapshot>, now: Timestamp) -> Self {
        let rows = snapshot.map_or(&[][..], |snapshot| &snapshot.rows);
        let hash = RandomState::default();
        let mut by_path = HashTable::with_capacity(rows.len());
        if let Some(snapshot) = snapshot {
            let hash_of = |row: &Row| hash.hash_one(row.path.of(&snapshot.arena));
            for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.form != Form::LinkedFile) {
                by_path.insert_unique(hash_of(row), index as u32, |&at| hash_of(&rows[at as usize]));
            }
        }
        let settled_at = match snapshot {
            // If the clock says that the snapshot is yet to be taken, it was stepped back since, and new
            // stamps may repeat old ones.
            Some(snapshot) if snapshot.taken <= now => nanos(snapshot.taken),
            _ => i64::MIN,
        };
        let fates = rows.iter().map(|_| AtomicU8::new(UNSEEN)).collect();
        Self { snapshot, hash, by_path, fates, settled_at }
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.fates.len()
    }

    /// The row of `path`; the link's own where a link leads to a file.
    pub(super) fn find(&self, path: &[u8]) -> Option<u32> {
        let Snapshot { arena, rows, .. } = self.snapshot?;
        let eq = |&at: &u32| rows[at as usize].path.of(arena) == path;
        self.by_path.find(self.hash.hash_one(path), eq).copied()
    }

    /// The row of the file that the link in row `link` leads to.
    pub(super) fn linked_file(&self, link: Option<u32>) -> Option<u32> {
        let (rows, next) = (&self.snapshot?.rows, link? + 1);
        rows.get(next as usize).is_some_and(|row| row.form == Form::LinkedFile).then_some(next)
    }

    /// Row `index`, if what is now at its path still has its form and stat data, and those can be believed.
    pub(super) fn still(
        &self,
        index: Option<u32>,
        stat: &Stat,
        is_form: impl Fn(Form) -> bool,
    ) -> Option<&Row> {
        let row = &self.snapshot?.rows[index? as usize];
        (is_form(row.form) && row.stat == *stat && stat.is_settled_at(self.settled_at)).then_some(row)
    }

    /// The directory of row `index`, if it still has this mode.
    pub(super) fn still_directory(&self, index: Option<u32>, stat: &Stat) -> bool {
        let row = self.snapshot.zip(index).map(|(snapshot, index)| &snapshot.rows[index as usize]);
        row.is_some_and(|row| row.form == Form::Directory && row.stat == *stat)
    }

    /// Text of a link's row.
    pub(super) fn text(&self, row: &Row) -> &[u8] {
        self.snapshot.map_or(&[], |snapshot| row.text.of(&snapshot.arena))
    }

    pub(super) fn keep(&self, index: Option<u32>) {
        if let Some(index) = index {
            self.fates[index as usize].store(SAME, Ordering::Relaxed);
        }
    }

    pub(super) fn replace(&self, index: Option<u32>) {
        if let Some(index) = index {
            self.fates[index as usize].store(REPLACED, Ordering::Relaxed);
        }
    }

    /// Whether each row was kept.
    pub(super) fn all_kept(&self) -> bool {
        self.fates.iter().all(|fate| fate.load(Ordering::Relaxed) == SAME)
    }

    /// The rows that were kept, in order, with their arena.
    pub(super) fn kept(&self) -> impl Iterator<Item = (&[u8], &Row)> {
        let snapshot = self.snapshot.into_iter();
        let rows = snapshot.flat_map(|snapshot| snapshot.rows.iter().map(move |row| (&*snapshot.arena, row)));
        rows.zip(&self.fates).filter(|(_, fate)| fate.load(Ordering::Relaxed) == SAME).map(|(row, _)| row)
    }
}

fn nanos(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_millis()).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}
