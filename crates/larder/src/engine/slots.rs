//! What a session has of each source: a table in which the first look stands for all.
//!
//! Invariant: what stands for a source once stands for it from then on, whoever looked, and however often.
//! Not here: looking (`observe`, `ahead`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tokio::sync::OnceCell;

use super::observe::{Seen, as_look, seen_as};
use super::outside::LookError;
use crate::query::{Fingerprint, Observation, Source};
use crate::sync::Mutex;

/// Where a source is seen by one and waited for by others.
pub(super) type Cell = Arc<OnceCell<Result<Arc<Seen>, LookError>>>;

/// What a session has of a source.
pub(super) enum Slot {
    /// What stands for a file or a listing; nobody has asked for what is in it.
    Known(Fingerprint),
    /// What was seen.
    Seen(Arc<Seen>),
    /// What somebody sees just now, or could not see.
    Cell(Cell),
}

impl Slot {
    /// What stands for the source, if somebody has seen it.
    fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Known(fingerprint) => Some(*fingerprint),
            Self::Seen(seen) => Some(seen.fingerprint),
            Self::Cell(cell) => cell.get()?.as_ref().ok().map(|seen| seen.fingerprint),
        }
    }

    /// The same with room for what is in it.
    fn cell(&mut self, source: &Source) -> Cell {
        let seen = match self {
            Self::Cell(cell) => return Arc::clone(cell),
            Self::Seen(seen) => Arc::clone(seen),
            Self::Known(fingerprint) => {
                let (looked, _) = as_look(source).expect("nothing else is known like that");
                Arc::new(seen_as(looked, *fingerprint))
            }
        };
        let cell = Arc::new(OnceCell::new_with(Some(Ok(seen))));
        *self = Self::Cell(Arc::clone(&cell));
        cell
    }
}

/// What a session has of all sources.
#[derive(Default)]
pub(super) struct Slots(Mutex<Table>);

#[derive(Default)]
struct Table {
    slots: HashMap<Source, Slot, RandomState>,
    /// Observations of files and listings that are right for this session, and are not in there yet: most sessions
    /// never ask for one of them by itself.
    right: Vec<Arc<[Observation]>>,
    /// Whether files or listings are in there.
    has_looks: bool,
}

impl Slots {
    /// What stands for a source, if somebody has seen it.
    pub(super) fn fingerprint(&self, source: &Source) -> Option<Fingerprint> {
        self.0.lock().all().get(source).and_then(Slot::fingerprint)
    }

    /// The place in which a source is seen.
    pub(super) fn cell(&self, source: Source) -> Cell {
        let mut table = self.0.lock();
        table.has_looks |= as_look(&source).is_some();
        match table.all().entry(source) {
            Entry::Occupied(mut slot) => {
                let source = slot.key().clone();
                slot.get_mut().cell(&source)
            }
            Entry::Vacant(slot) => {
                let cell = Cell::default();
                slot.insert(Slot::Cell(Arc::clone(&cell)));
                cell
            }
        }
    }

    /// What stands for each file and listing, in order; for those that nobody has seen, what `otherwise` knows of the one
    /// at a place among them, which holds from now on.
    pub(super) fn fingerprints(
        &self,
        sources: &[&Source],
        mut otherwise: impl FnMut(usize) -> Option<Slot>,
    ) -> Vec<Option<Fingerprint>> {
        let mut table = self.0.lock();
        table.has_looks = true;
        let all = table.all();
        all.reserve(sources.len());
        let known = sources.iter().enumerate().map(|(at, &source)| {
            as_look(source)?;
            match all.get(source) {
                Some(slot) => slot.fingerprint(),
                None => {
                    let slot = otherwise(at)?;
                    let fingerprint = slot.fingerprint();
                    all.insert(source.clone(), slot);
                    fingerprint
                }
            }
        });
        known.collect()
    }

    /// Notes what was seen of files and listings, unless somebody has seen them meanwhile. Returns what stands for each.
    /// `seen` makes of what stands for one what is had of it.
    pub(super) fn note<'a>(
        &self,
        looks: impl IntoIterator<Item = (&'a Source, Fingerprint)>,
        mut seen: impl FnMut(usize, &Source, Fingerprint) -> Option<Arc<Seen>>,
    ) -> Vec<Option<Fingerprint>> {
        let mut table = self.0.lock();
        table.has_looks = true;
        let all = table.all();
        let noted = looks.into_iter().enumerate().map(|(at, (source, fingerprint))| {
            // Whoever looked meanwhile, or does so now, is right too: what is told to all is what was there first.
            let slot = all.entry(source.clone()).or_insert(Slot::Known(fingerprint));
            if let Slot::Known(fingerprint) = *slot
                && let Some(seen) = seen(at, source, fingerprint)
            {
                *slot = Slot::Seen(seen);
            }
            slot.fingerprint()
        });
        noted.collect()
    }

    /// Whether nobody has seen a file or a listing, nor is about to.
    pub(super) fn has_no_looks(&self) -> bool {
        let table = self.0.lock();
        !table.has_looks && table.right.is_empty()
    }

    /// Notes that all of these observations are right, which are of files, listings and what is never in the table, if
    /// nobody has seen a file or a listing so far. Returns whether that is so.
    pub(super) fn note_right_first(&self, observations: &Arc<[Observation]>) -> bool {
        let mut table = self.0.lock();
        let is_first = !table.has_looks && table.right.is_empty();
        if is_first {
            table.right.push(Arc::clone(observations));
        }
        is_first
    }

    /// Notes that all of these observations are right, by what an earlier session hands on; that of the globs among them
    /// by itself.
    pub(super) fn note_right(&self, observations: &Arc<[Observation]>, globs: Vec<(Source, Slot)>) {
        let mut table = self.0.lock();
        for (source, slot) in globs {
            table.slots.entry(source).or_insert(slot);
        }
        table.right.push(Arc::clone(observations));
    }
}

impl Table {
    fn all(&mut self) -> &mut HashMap<Source, Slot, RandomState> {
        self.has_looks |= !self.right.is_empty();
        for observations in self.right.drain(..) {
            for Observation { source, fingerprint, .. } in observations.iter() {
                if as_look(source).is_some() {
                    self.slots.entry(source.clone()).or_insert(Slot::Known(*fingerprint));
                }
            }
        }
        &mut self.slots
    }
}

/// Every schedule of a few threads, by the model checker: `cargo test -p larder --features shuttle scheduled`.
#[cfg(all(test, feature = "shuttle"))]
mod scheduled {
    use shuttle::future::block_on;
    use shuttle::thread;

    use super::*;
    use crate::key::Digest;
    use crate::query::RootPath;
    use crate::source::Looked;
    use crate::sync::AtomicU64;

    /// A session, and a file that changes under its feet.
    struct World {
        slots: Slots,
        source: Source,
        content: AtomicU64,
    }

    impl World {
        /// What a look finds just now.
        fn look(&self) -> Fingerprint {
            thread::yield_now();
            let content = self.content.load(std::sync::atomic::Ordering::SeqCst);
            Fingerprint::Is(Digest::of(&content.to_le_bytes()))
        }

        /// Sees the file, as `observe` does.
        fn see(&self) -> Fingerprint {
            let cell = self.slots.cell(self.source.clone());
            let look = || async { Ok(Arc::new(seen_as(Looked::File, self.look()))) };
            let seen = block_on(cell.get_or_init(look)).clone();
            seen.expect("it can be looked at").fingerprint
        }

        /// Looks at it ahead of others, as `ahead` does.
        fn look_ahead(&self) -> Fingerprint {
            let mut is_wanted = false;
            let known = self.slots.fingerprints(&[&self.source], |_| {
                is_wanted = true;
                None
            });
            if let [Some(known)] = known[..] {
                return known;
            }
            let noted = is_wanted.then(|| self.slots.note([(&self.source, self.look())], |_, _, _| None));
            // Who else sees it just now is waited for.
            noted.and_then(|noted| noted[0]).unwrap_or_else(|| self.see())
        }

        /// Finds that an observation of it is right, if that is the first thing that anybody finds.
        fn verify(&self) -> Option<Fingerprint> {
            if !self.slots.has_no_looks() {
                return None;
            }
            let fingerprint = self.look();
            let seen = Observation { source: self.source.clone(), fingerprint, together: false };
            self.slots.note_right_first(&[seen].into()).then_some(fingerprint)
        }
    }

    fn check() {
        let source = Source::File(RootPath::new("file").expect("below the root"));
        let world = Arc::new(World { slots: Slots::default(), source, content: AtomicU64::new(0) });
        let threads = (0..4).map(|n| {
            let world = Arc::clone(&world);
            thread::spawn(move || match n {
                0 => {
                    for _ in 0..3 {
                        world.content.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    }
                    None
                }
                1 => Some(world.see()),
                2 => Some(world.look_ahead()),
                _ => world.verify(),
            })
        });
        let threads: Vec<_> = threads.collect();
        let told = threads.into_iter().filter_map(|thread| thread.join().expect("no thread panics"));
        let told: Vec<Fingerprint> = told.collect();
        let stands = world.slots.fingerprint(&world.source);
        assert!(told.iter().all(|one| Some(*one) == stands), "{told:?}, and {stands:?} stands");
    }

    #[test]
    fn scheduled_whoever_looks_first_looks_for_all() {
        shuttle::check_random(check, 20_000);
        shuttle::check_pct(check, 20_000, 3);
    }
}
