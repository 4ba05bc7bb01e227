//! Forgetting: hard, so that nothing from before survives, and soft, so that it is given once more while it is
//! computed anew.
//!
//! The order that keeps the promise. First every computation under way that the selector could cover loses its
//! right to store, and memory forgets. Then each tier, the far one first, removes and logs the invalidation, after which
//! no process can store there what it began to compute before. Then the first step is done again, for whoever read a tier
//! in between. A reader that stores into memory does so under its flight's lock (`flight`), so that each store
//! comes either before a step that removes it or after one that forbids it.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use super::{Dependents, Held, Larder};
use crate::clock::Timestamp;
use crate::entry::Record;
use crate::key::{Key, Selector};
use crate::stats::SelectorForm;
use crate::tier::memory::{Seen, Verdict};
use crate::tier::stack::{Guarded, Waits};
use crate::tier::{Epoch, Invalidated, Invalidations, TierError};

/// How many soft invalidations are remembered; what comes on top is a hard one.
const MAX_SOFT: usize = 256;

/// How many dependents are removed one by one.
const MAX_PARTS: usize = 200;

/// A hook failed; its words go into the report.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// Somebody who wants to know of invalidations. Called in the task of whoever invalidates, so it should be quick.
/// A hook that fails is reported and holds nothing up.
pub trait Hook: Send + Sync + 'static {
    /// Before anything is removed. `keys` are those in memory that will be.
    fn before(&self, selector: &Selector, keys: &[Key]) -> Result<(), HookError> {
        let _ = (selector, keys);
        Ok(())
    }

    /// After everything is removed. `keys` are those that were there, in memory or a tier, sorted.
    fn after(&self, selector: &Selector, keys: &[Key]) -> Result<(), HookError> {
        let _ = (selector, keys);
        Ok(())
    }
}

/// What an invalidation did.
#[derive(Debug, Default)]
pub struct InvalidationReport {
    /// The keys of the entries that were removed, from wherever they were, sorted, each once.
    pub keys: Vec<Key>,
    /// Bytes that the tiers below memory got back.
    pub bytes: u64,
    /// Tiers that could not be told. They are told before they are asked again by this process, but other
    /// processes may still find there what was to be removed.
    pub failed_tiers: Vec<(&'static str, TierError)>,
    /// What hooks complained of.
    pub failed_hooks: Vec<HookError>,
}

impl InvalidationReport {
    /// Invalidates in one tier. Returns whether that could be told.
    async fn remove_from(&mut self, guarded: &Guarded, selector: &Selector) -> bool {
        match guarded.invalidate(selector).await {
            Ok(Invalidated { keys, bytes, .. }) => {
                self.keys.extend(keys);
                self.bytes += bytes;
                true
            }
            Err(error) => {
                self.failed_tiers.push((guarded.name(), error));
                false
            }
        }
    }

    /// Whether the tier that could not be told last may be told at another time.
    fn may_be_told_later(&self) -> bool {
        self.failed_tiers.last().is_some_and(|(_, error)| !matches!(error, TierError::ReadOnly))
    }
}

impl Larder {
    /// Calls `hook` before and after each invalidation from now on.
    pub fn add_hook(&self, hook: Arc<dyn Hook>) {
        self.shared.hooks.lock().push(hook);
    }

    /// Removes what `selector` selects from memory and from each tier. When this returns, no answer from before
    /// is given or stored any more, by any process that shares a tier that could be told.
    ///
    /// A selector with dependents also removes what depends on that; where this comes to more than some hundred
    /// entries, all of their kinds in that scope.
    pub async fn invalidate(&self, selector: &Selector) -> InvalidationReport {
        let mut report = InvalidationReport::default();
        let hooks = self.shared.hooks.lock().clone();
        let parts = self.parts_of(selector).await;
        if !hooks.is_empty() {
            let mut keys: Vec<Key> = parts.iter().flat_map(|part| self.in_memory_of(part)).collect();
            keys.sort_unstable();
            keys.dedup();
            report.failed_hooks.extend(hooks.iter().filter_map(|hook| hook.before(selector, &keys).err()));
        }
        for part in parts {
            let part = &part.marked(fresh_mark());
            report.keys.extend(self.forget(part));
            // The far tier first: what somebody brought from there before that was told is then removed here, too.
            let is_owed = match &self.shared.far {
                Some(far) => !report.remove_from(far, part).await && report.may_be_told_later(),
                None => false,
            };
            if is_owed {
                self.note_owed(part).await;
            }
            let mut told_near = Vec::with_capacity(self.shared.tiers.len());
            for near in &self.shared.tiers {
                told_near.push(report.remove_from(near, part).await);
            }
            report.keys.extend(self.forget(part));
            if let Some(far) = self.shared.far.as_ref().filter(|_| told_near.iter().all(|told| *told)) {
                far.done_here(part);
                if is_owed {
                    self.note_done_here(part).await;
                }
            }
            self.shared.tiers.iter().for_each(|near| near.done_here(part));
        }
        // Whoever follows the log just now may have been told of it, and is done with it then.
        self.catch_up_afar(Waits::Nobody).await;
        report.keys.sort_unstable();
        report.keys.dedup();
        let keys = &report.keys;
        self.count_invalidated(keys);
        self.shared.stats.invalidated(SelectorForm::of(selector), keys.len() as u64);
        tracing::info!(%selector, removed = keys.len(), "invalidated");
        report.failed_hooks.extend(hooks.iter().filter_map(|hook| hook.after(selector, keys).err()));
        for error in &report.failed_hooks {
            tracing::warn!(error = &**error as &dyn std::error::Error, "invalidation hook failed");
        }
        report
    }

    /// Marks what `selector` selects as stale: each answer is given once more, by this process, while it is
    /// computed anew in the background. Selectors by tag and by key are exact; last use is not looked at.
    pub async fn invalidate_softly(&self, selector: &Selector) -> InvalidationReport {
        let parts = self.parts_of(selector).await;
        let now = self.shared.clock.wall();
        let mark = || parts.iter().any(|part| matches!(self.shared.soft.mark(part, now), Marked::Full));
        if self.shared.generation.forgetting(mark) {
            return self.invalidate(selector).await;
        }
        tracing::info!(%selector, "invalidated softly");
        InvalidationReport::default()
    }

    /// Selectors without dependents that select the same, or somewhat more where that would be very many.
    async fn parts_of(&self, selector: &Selector) -> Vec<Selector> {
        if !selector.has_dependents() {
            return vec![selector.clone()];
        }
        let Dependents { keys, complete } = self.dependents(selector).await;
        let own = selector.clone().without_dependents();
        // What is computed just now may be selected too, although nothing is kept of it yet.
        if !complete {
            return vec![own.scope().map_or_else(Selector::all, |scope| Selector::all().in_scope(scope))];
        }
        let mut parts = vec![own];
        if keys.len() <= MAX_PARTS {
            parts.extend(keys.iter().map(Selector::key));
        } else {
            for same in keys.chunk_by(|a, b| a.scope() == b.scope() && a.kind() == b.kind()) {
                parts.push(Selector::all().in_scope(same[0].scope()).of_kind_version(same[0].kind()));
            }
        }
        parts
    }

    /// Forgets in memory what other processes invalidated in the tiers since this was called last. Costs one look
    /// at each tier's epoch when there was nothing. A process that lives long calls it as often as it wants to hear
    /// of others; between calls its memory may still hold what they removed.
    pub async fn catch_up(&self) {
        self.catch_up_nearby(Met::Before).await;
        self.catch_up_afar(Waits::Nobody).await;
    }

    /// The same for the near tiers.
    pub(super) async fn catch_up_nearby(&self, met: Met) {
        for (nth, guarded) in self.shared.tiers.iter().enumerate() {
            let seen = self.shared.followed.get().and_then(|followed| followed.lock()[nth]);
            let since = match seen {
                Some(seen) => guarded.invalidated_since(Waits::Caller, seen).await,
                // Nothing is known of the time before: anything may have been invalidated.
                None => guarded.epoch().await.map(|epoch| Invalidations { epoch, all: None }),
            };
            // A tier that does not answer now is asked again from the same epoch on.
            let Ok(since) = since else { continue };
            let selectors = since.selectors().unwrap_or_else(|| vec![Selector::all()]);
            if !selectors.is_empty() {
                self.recall_owed().await;
            }
            for selector in &selectors {
                self.count_invalidated(&self.forget_met(met, selector));
            }
            self.follow().await.lock()[nth] = Some(since.epoch);
        }
    }

    /// Notes each tier's epoch, once, before anything that depends on it can be in memory.
    pub(super) async fn follow(&self) -> &Followed {
        let note = || async {
            let mut epochs = Vec::with_capacity(self.shared.tiers.len());
            for guarded in &self.shared.tiers {
                epochs.push(guarded.epoch().await.ok());
            }
            Mutex::new(epochs)
        };
        self.shared.followed.get_or_init(note).await
    }

    fn in_memory_of(&self, selector: &Selector) -> Vec<Key> {
        let Some(memory) = &self.shared.memory else { return Vec::new() };
        let mut keys = Vec::new();
        let look = |seen: Seen<'_, Key, Held>| {
            if covers(selector, seen.key, seen.value) {
                keys.push(seen.key.clone());
            }
            Verdict::Keep
        };
        memory.sweep(look, drop);
        keys.sort_unstable();
        keys
    }

    /// Takes from computations under way the right to store, and from memory what it holds.
    pub(super) fn forget(&self, selector: &Selector) -> Vec<Key> {
        self.forget_met(Met::Before, selector)
    }

    /// The same for what can have met what was invalidated.
    pub(super) fn forget_met(&self, met: Met, selector: &Selector) -> Vec<Key> {
        self.shared.generation.forgetting(|| self.forget_selected(met, selector))
    }

    fn forget_selected(&self, met: Met, selector: &Selector) -> Vec<Key> {
        match met {
            Met::Before => self.shared.flights.revoke(selector),
            Met::NeverOfTeam => {
                let team = self.shared.team_kinds.read().clone();
                self.shared.flights.revoke_but(selector, |key| team.contains(key.kind()));
            }
        }
        self.shared.taken.forget(selector);
        let sessions = self.shared.sessions.lock().clone();
        sessions.iter().filter_map(Weak::upgrade).for_each(|session| session.forget(selector));
        self.forget_stat_tables(selector);
        let Some(memory) = &self.shared.memory else { return Vec::new() };
        if let Some(key) = selector.as_key() {
            return memory.remove(&key).map(|departed| departed.key).into_iter().collect();
        }
        let mut keys = Vec::new();
        let judge = |seen: Seen<'_, Key, Held>| {
            if covers(selector, seen.key, seen.value) { Verdict::Drop } else { Verdict::Keep }
        };
        memory.sweep(judge, |departed| keys.push(departed.key));
        keys
    }

    /// Takes out of memory some entries whose time is over and that nobody asks for any more, the next ones each time.
    pub(super) fn purge(&self, most: usize) {
        if let Some(memory) = &self.shared.memory {
            memory
                .purge(self.shared.clock.now(), most)
                .into_iter()
                .for_each(|departed| self.count_departed(&departed));
        }
    }

    pub(super) fn count_invalidated(&self, keys: &[Key]) {
        for same in keys.chunk_by(|a, b| a.scope() == b.scope() && a.kind() == b.kind()) {
            self.shared.stats.series(same[0].scope(), same[0].kind()).invalidated(same.len() as u64);
        }
    }
}

/// What of this process can have met what an invalidation removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    /// Nothing of a kind that is shared: whoever asks for the first such answer follows the far tier's log before
    /// looking anywhere, and is at that now.
    NeverOfTeam,
    /// Whatever is under way or in memory.
    Before,
}

/// A mark that no other invalidation has.
pub(super) fn fresh_mark() -> u64 {
    // Seeded by the system, and another one each time.
    RandomState::new().build_hasher().finish()
}

fn covers(selector: &Selector, key: &Key, held: &Held) -> bool {
    match held.record() {
        Some(record) => selector.matches(key, &record.tags, None),
        // A kept error has no tags; it goes with whatever could be meant.
        None => selector.matches_key(key),
    }
}

/// Epochs up to which memory has followed each tier's invalidation log; `None` where a tier did not tell.
pub(super) type Followed = Mutex<Vec<Option<Epoch>>>;

/// Soft invalidations: what was made before its mark is stale. An entry is compared with the marks when it is
/// given, so that marking touches no entry, in whichever tier it is.
#[derive(Debug, Default)]
pub(super) struct SoftMarks {
    /// How many there are, so that a hit looks no further where there are none.
    count: AtomicUsize,
    marks: RwLock<Vec<(Selector, Timestamp)>>,
}

enum Marked {
    Yes,
    Full,
}

impl SoftMarks {
    fn mark(&self, selector: &Selector, now: Timestamp) -> Marked {
        let mut marks = self.marks.write();
        if let Some(mark) = marks.iter_mut().find(|(marked, _)| marked == selector) {
            mark.1 = mark.1.max(now);
        } else if marks.len() < MAX_SOFT {
            marks.push((selector.clone(), now));
        } else {
            return Marked::Full;
        }
        self.count.store(marks.len(), Ordering::Release);
        Marked::Yes
    }

    /// Whether an entry is stale by a mark. What was made in the very millisecond of the mark is: it may have been
    /// made before it.
    #[inline]
    pub(super) fn covers(&self, key: &Key, record: &Record) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.covers_slowly(key, record)
    }

    #[cold]
    fn covers_slowly(&self, key: &Key, record: &Record) -> bool {
        self.marks
            .read()
            .iter()
            .any(|(selector, at)| record.created <= *at && selector.matches(key, &record.tags, None))
    }
}

impl fmt::Debug for dyn Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}
