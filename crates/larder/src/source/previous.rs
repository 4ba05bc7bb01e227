//! The previous snapshot as a walk uses it: found by path, and each row noted as still right or replaced.

use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::Stat;
use super::snapshot::{Form, Row, Snapshot, Visit};
use super::stat::Stamp;
use crate::clock::Timestamp;
use crate::key::Digest;

/// The previous snapshot, or none.
pub(super) struct Previous<'a> {
    snapshot: Option<&'a Snapshot>,
    hash: RandomState,
    /// First row of each path. Made when a directory is listed: a walk that lists none asks for few.
    by_path: OnceLock<HashTable<u32>>,
    fates: Vec<AtomicU8>,
    /// Of visited directories.
    visit_fates: Vec<AtomicU8>,
    /// Whether it is of a set that chooses among the same paths in the same way, so that what it does not have in a
    /// directory is not there or does not belong to the set.
    same_choice: bool,
    /// The moment, in nanoseconds since 1970, before which stat data must have settled to be believed.
    settled_at: i64,
}

const UNSEEN: u8 = 0;
const SAME: u8 = 1;
const REPLACED: u8 = 2;

impl<'a> Previous<'a> {
    /// Prepares `snapshot` for a walk that begins `now` over a set that chooses by `choice`.
    pub(super) fn new(snapshot: Option<&'a Snapshot>, choice: Digest, now: Timestamp) -> Self {
        let settled_at = match snapshot {
            // If the clock says that the snapshot is yet to be taken, it was stepped back since, and new
            // stamps may repeat old ones.
            Some(snapshot) if snapshot.taken <= now => nanos(snapshot.taken),
            _ => i64::MIN,
        };
        let unseen = |count: usize| std::iter::repeat_with(|| AtomicU8::new(UNSEEN)).take(count).collect();
        Self {
            snapshot,
            hash: RandomState::default(),
            by_path: OnceLock::new(),
            fates: unseen(snapshot.map_or(0, |snapshot| snapshot.rows.len())),
            visit_fates: unseen(snapshot.map_or(0, |snapshot| snapshot.visits.len())),
            same_choice: snapshot.is_some_and(|snapshot| snapshot.choice == choice),
            settled_at,
        }
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.fates.len()
    }

    /// Prepares for many paths to be found.
    pub(super) fn expect_many(&self) {
        let Some(snapshot) = self.snapshot else { return };
        self.by_path.get_or_init(|| {
            let rows = &snapshot.rows;
            let mut by_path = HashTable::with_capacity(rows.len());
            let hash_of = |row: &Row| self.hash.hash_one(row.path.of(&snapshot.arena));
            for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.form != Form::LinkedFile) {
                by_path.insert_unique(hash_of(row), index as u32, |&at| hash_of(&rows[at as usize]));
            }
            by_path
        });
    }

    /// The row of `path`; the link's own where a link leads to a file.
    pub(super) fn find(&self, path: &[u8]) -> Option<u32> {
        let Snapshot { arena, rows, .. } = self.snapshot?;
        let eq = |&at: &u32| rows[at as usize].path.of(arena) == path;
        match self.by_path.get() {
            Some(by_path) => by_path.find(self.hash.hash_one(path), eq).copied(),
            None => {
                let at = rows.partition_point(|row| row.path.of(arena) < path) as u32;
                Some(at).filter(|at| (*at as usize) < rows.len() && eq(at))
            }
        }
    }

    /// Path and form of row `index`.
    pub(super) fn row(&self, index: u32) -> Option<(&'a [u8], Form)> {
        let Snapshot { arena, rows, .. } = self.snapshot?;
        let row = &rows[index as usize];
        Some((row.path.of(arena), row.form))
    }

    /// Whether there are more than `count` rows in the directory whose path is `prefix`, which has a slash at its end,
    /// and below.
    pub(super) fn has_more_below(&self, prefix: &[u8], count: usize) -> bool {
        let Some(Snapshot { arena, rows, .. }) = self.snapshot else { return false };
        let from = rows.partition_point(|row| row.path.of(arena) < prefix);
        rows.get(from + count).is_some_and(|row| row.path.of(arena).starts_with(prefix))
    }

    /// The rows right in the directory whose path is `prefix`, which has a slash at its end or is empty.
    pub(super) fn rows_in(&self, prefix: &[u8]) -> Vec<u32> {
        let Some(Snapshot { arena, rows, .. }) = self.snapshot else { return Vec::new() };
        right_in(rows, |row| row.path.of(arena), prefix)
    }

    /// Names of the visited directories right in the directory whose path is `prefix`.
    pub(super) fn directories_in(&self, prefix: &[u8]) -> impl Iterator<Item = &'a [u8]> {
        let visits = self.snapshot.map_or(Vec::new(), |Snapshot { arena, visits, .. }| {
            let all = right_in(visits, |visit| visit.path.of(arena), prefix);
            all.into_iter().map(|at| visits[at as usize].path.of(arena)).collect()
        });
        let prefix = prefix.len();
        visits.into_iter().map(move |path: &[u8]| &path[prefix..]).filter(|name| !name.is_empty())
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

    /// Whether the directory at `path` was looked into.
    pub(super) fn was_visited(&self, path: &[u8]) -> bool {
        self.visit(path).is_some()
    }

    /// The number of the visit to the directory at `path`, if its stamp may still say which names are in it.
    pub(super) fn telling_visit(&self, path: &[u8]) -> Option<u32> {
        let visit = self.visit(path).filter(|_| self.same_choice)?;
        let stamp = &self.snapshot?.visits[visit as usize].stamp;
        stamp.is_settled_at(self.settled_at).then_some(visit)
    }

    /// Whether `stamp` is that of visit `index`.
    pub(super) fn has_stamp(&self, index: u32, stamp: &Stamp) -> bool {
        self.snapshot.is_some_and(|snapshot| snapshot.visits[index as usize].stamp == *stamp)
    }

    /// Keeps the visit to the directory at `path` if it says the same as `stamp`, and will go on to.
    pub(super) fn keeps_visit(&self, path: &[u8], stamp: &Stamp) -> bool {
        let lasting = *stamp == Stamp::NONE || stamp.is_settled_at(self.settled_at);
        let visit = self.visit(path).filter(|&visit| lasting && self.has_stamp(visit, stamp));
        visit.inspect(|&visit| self.keep_visit(visit)).is_some()
    }

    pub(super) fn keep_visit(&self, index: u32) {
        self.visit_fates[index as usize].store(SAME, Ordering::Relaxed);
    }

    fn visit(&self, path: &[u8]) -> Option<u32> {
        let Snapshot { arena, visits, .. } = self.snapshot?;
        let at = visits.partition_point(|visit| visit.path.of(arena) < path);
        visits.get(at).filter(|visit| visit.path.of(arena) == path).map(|_| at as u32)
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

    /// Whether everything was kept and still stands for the set.
    pub(super) fn all_kept(&self) -> bool {
        let mut fates = self.fates.iter().chain(&self.visit_fates);
        self.same_choice && fates.all(|fate| fate.load(Ordering::Relaxed) == SAME)
    }

    /// The rows that were kept, in order, with their arena.
    pub(super) fn kept(&self) -> impl Iterator<Item = (&[u8], &Row)> {
        let snapshot = self.snapshot.into_iter();
        let rows = snapshot.flat_map(|snapshot| snapshot.rows.iter().map(move |row| (&*snapshot.arena, row)));
        rows.zip(&self.fates).filter(|(_, fate)| fate.load(Ordering::Relaxed) == SAME).map(|(row, _)| row)
    }

    /// The visits that were kept, in order, with their arena.
    pub(super) fn kept_visits(&self) -> impl Iterator<Item = (&[u8], &Visit)> {
        let snapshot = self.snapshot.into_iter();
        let visits = snapshot.flat_map(|snapshot| snapshot.visits.iter().map(move |v| (&*snapshot.arena, v)));
        let fated = visits.zip(&self.visit_fates);
        fated.filter(|(_, fate)| fate.load(Ordering::Relaxed) == SAME).map(|(visit, _)| visit)
    }
}

/// Those of `all`, which are sorted by path, right in a directory. What lies deeper is leapt over.
fn right_in<'p, T>(all: &[T], path: impl Fn(&T) -> &'p [u8], prefix: &[u8]) -> Vec<u32> {
    let mut found = Vec::new();
    let mut at = all.partition_point(|one| path(one) < prefix);
    while let Some(whole) = all.get(at).map(&path).filter(|path| path.starts_with(prefix)) {
        match whole[prefix.len()..].iter().position(|&byte| byte == b'/') {
            None => {
                found.push(at as u32);
                at += 1;
            }
            Some(slash) => {
                let deeper = &whole[..=prefix.len() + slash];
                at += all[at..].partition_point(|one| path(one).starts_with(deeper));
            }
        }
    }
    found
}

pub(super) fn nanos(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_millis()).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}
