//! The statistics of one engine: its series, and what was collected from them.
//!
//! Invariants: what was counted is in exactly one of a series, `unsaved`, `in_flight` and `stored`; the number of
//! series is bounded.
//!
//! Not here: a timer. Whoever owns one calls [`Stats::tick`]; for an engine that was opened, `Opened::attend` does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::{Equivalent, HashMap};
use parking_lot::{Mutex, RwLock};

use super::event::{Level, Place, SelectorForm};
use super::history::Slot;
use super::hot::HotKeys;
use super::publish::{Delta, Told, publish};
use super::report::{Report, TierUsage};
use super::series::{Heat, Series};
use super::snapshot::{HOT_KEYS, Invalidations, Snapshot};
use crate::clock::Clock;
use crate::key::{KindName, Scope};

/// How an engine counts.
#[derive(Debug, Clone)]
pub struct StatsOptions {
    /// How much is counted.
    pub level: Level,
    /// How many scope and kind pairs are told apart, at most; all beyond are counted together.
    pub max_series: usize,
    /// How long the history is kept, as far as its slots reach: 60 days of days, 72 hours of hours, and so on.
    pub history: Duration,
}

impl Default for StatsOptions {
    fn default() -> Self {
        Self { level: Level::default(), max_series: 256, history: Duration::from_secs(30 * 86_400) }
    }
}

/// Tells what a tier holds now; `None` once the tier is gone.
type Probe = Box<dyn Fn() -> Option<TierUsage> + Send + Sync>;

/// The statistics of one engine. Clones share them.
#[derive(Clone)]
pub struct Stats(Arc<Inner>);

struct Inner {
    options: StatsOptions,
    clock: Clock,
    series: RwLock<HashMap<(Scope, KindName), Arc<Series>, foldhash::fast::RandomState>>,
    other: Arc<Series>,
    heat: Arc<Heat>,
    invalidations: [FormCount; SelectorForm::ALL.len()],
    probes: Mutex<BTreeMap<Place, Probe>>,
    /// What exporters know of what tiers hold.
    told: Mutex<Told>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct FormCount {
    times: AtomicU64,
    entries: AtomicU64,
}

/// A series' name to look it up by; hashes as the owned one does.
#[derive(Hash)]
struct Borrowed<'a>(&'a Scope, &'a KindName);

impl Equivalent<(Scope, KindName)> for Borrowed<'_> {
    fn equivalent(&self, (scope, kind): &(Scope, KindName)) -> bool {
        self.0 == scope && self.1 == kind
    }
}

/// What was collected.
#[derive(Default)]
struct Kept {
    /// What storage was known to hold when it was last read or written.
    stored: Snapshot,
    /// What is on its way to storage.
    in_flight: Option<Snapshot>,
    unsaved: Snapshot,
}

impl Kept {
    fn all(&self) -> Snapshot {
        let mut all = self.stored.clone();
        self.in_flight.iter().chain([&self.unsaved]).for_each(|more| all.merge(more));
        all
    }
}

impl Stats {
    /// Statistics that begin now.
    pub fn new(options: StatsOptions, clock: Clock) -> Self {
        let heat = Arc::new(Heat::new(HOT_KEYS));
        let other = Arc::new(Series::new(None, options.level, clock.clone(), Arc::clone(&heat)));
        Self(Arc::new(Inner {
            options,
            clock,
            series: RwLock::default(),
            other,
            heat,
            invalidations: Default::default(),
            probes: Mutex::default(),
            told: Mutex::default(),
            kept: Mutex::default(),
        }))
    }

    /// The clocks that it goes by.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// How it is counted.
    pub fn options(&self) -> &StatsOptions {
        &self.0.options
    }

    /// The counters of a scope and kind: resolve them once, not for each request, as this hashes names and takes a
    /// lock to read. Beyond the limit of series, one that all others share.
    pub fn series(&self, scope: &Scope, kind: &KindName) -> Arc<Series> {
        if let Some(series) = self.0.series.read().get(&Borrowed(scope, kind)) {
            return Arc::clone(series);
        }
        let mut all = self.0.series.write();
        if let Some(series) = all.get(&Borrowed(scope, kind)) {
            return Arc::clone(series);
        }
        if all.len() >= self.0.options.max_series {
            return Arc::clone(&self.0.other);
        }
        let name = (scope.clone(), kind.clone());
        let Inner { options, clock, heat, .. } = &*self.0;
        let series = Series::new(Some(name.clone()), options.level, clock.clone(), Arc::clone(heat));
        let series = Arc::new(series);
        all.insert(name, Arc::clone(&series));
        series
    }

    /// An invalidation came in this form and removed so many entries in all. Which scopes and kinds they were of
    /// goes to [`Series::invalidated`].
    pub fn invalidated(&self, form: SelectorForm, entries: u64) {
        if self.0.options.level != Level::Off {
            let count = &self.0.invalidations[form as usize];
            count.times.fetch_add(1, Ordering::Relaxed);
            count.entries.fetch_add(entries, Ordering::Relaxed);
        }
    }

    /// From now on asks `probe`, and no earlier one, what the tier at `place` holds, whenever there is a tick or a
    /// report. It must not call back
    /// into these statistics, and should hold the tier weakly, as the tier may hold these.
    pub fn probe(&self, place: Place, probe: impl Fn() -> Option<TierUsage> + Send + Sync + 'static) {
        self.0.probes.lock().insert(place, Box::new(probe));
    }

    /// Collects what was counted since the last time: files it into the history under the time now, and hands it
    /// to the `metrics` facade. Call it about once a second. Cost: a few microseconds for each series.
    pub fn tick(&self) {
        self.collect_and(|_| ());
    }

    /// Says what was counted: what storage held when it was last read or written, and all since.
    pub fn report(&self) -> Report {
        let (all, usage) = self.collect_and(|kept| {
            let mut all = kept.all();
            all.hot.merge(&self.0.heat.keys.lock());
            all
        });
        Report::new(&all, &self.0.options, &usage, self.0.clock.wall())
    }

    /// Takes out what storage does not have yet, to be merged into what it has in one transaction. `None` where
    /// there is nothing, or while a snapshot that was taken before is neither [`added`](Self::added) nor
    /// [given back](Self::give_back): do either.
    pub fn take_unsaved(&self) -> Option<Snapshot> {
        let take = |kept: &mut Kept| {
            if kept.in_flight.is_some() || kept.unsaved.is_empty() {
                return None;
            }
            let mut taken = std::mem::take(&mut kept.unsaved);
            taken.hot.merge(&std::mem::replace(&mut *self.0.heat.keys.lock(), HotKeys::new(HOT_KEYS)));
            kept.in_flight = Some(taken.clone());
            Some(taken)
        };
        self.collect_and(take).0
    }

    /// Collects, does `then` before anybody else collects, and hands over to the facade what was collected; that
    /// is foreign code, so no lock is held meanwhile.
    fn collect_and<T>(&self, then: impl FnOnce(&mut Kept) -> T) -> (T, Vec<(Place, TierUsage)>) {
        let probes = self.0.probes.lock();
        let usage: Vec<_> = probes.iter().filter_map(|(place, probe)| Some((*place, probe()?))).collect();
        drop(probes);
        let mut kept = self.0.kept.lock();
        let delta = self.collect(&mut kept);
        let outcome = then(&mut kept);
        drop(kept);
        let mut told = std::mem::take(&mut *self.0.told.lock());
        publish(&delta, &usage, &mut told);
        self.0.told.lock().extend(told);
        (outcome, usage)
    }

    fn collect(&self, kept: &mut Kept) -> Delta {
        let now = self.0.clock.wall();
        let mut all: Vec<_> = self.0.series.read().values().cloned().collect();
        all.push(Arc::clone(&self.0.other));
        let (mut delta, mut slot) = (Delta::default(), Slot::default());
        let unsaved = &mut kept.unsaved;
        for series in all {
            let Some(collected) = series.collect() else { continue };
            slot.add(&Slot::of(&collected.counts));
            unsaved.series.entry(series.owned_name()).or_default().absorb(&collected);
            delta.series.push((series.owned_name(), collected));
        }
        for (form, counted) in self.0.invalidations.iter().enumerate() {
            let times = counted.times.swap(0, Ordering::Relaxed);
            let entries = counted.entries.swap(0, Ordering::Relaxed);
            delta.invalidations[form] = Invalidations { times, entries };
            unsaved.invalidations[form].add(&delta.invalidations[form]);
        }
        unsaved.history.add(now, &slot);
        unsaved.history.prune(now, self.0.options.history);
        if unsaved.since.is_none() && !unsaved.is_empty() {
            unsaved.since = Some(now);
        }
        delta
    }

    /// What was taken could not be stored: it is kept for the next time.
    pub fn give_back(&self, taken: &Snapshot) {
        let mut kept = self.0.kept.lock();
        kept.in_flight = None;
        kept.unsaved.merge(taken);
    }

    /// What was taken was added to storage, which was not read for that.
    pub fn added(&self) {
        let mut kept = self.0.kept.lock();
        if let Some(taken) = kept.in_flight.take() {
            kept.stored.merge(&taken);
        }
    }

    /// Storage was read and held `all`: reports include it. Does nothing while something is on its way there, as
    /// `all` may or may not have it; [`Self::added`] follows then.
    pub fn loaded(&self, all: Snapshot) {
        let mut kept = self.0.kept.lock();
        if kept.in_flight.is_none() {
            self.keep_stored(&mut kept, all);
        }
    }

    fn keep_stored(&self, kept: &mut Kept, all: Snapshot) {
        kept.stored = all;
        kept.stored.prune(self.0.clock.wall(), &self.0.options);
    }
}

impl fmt::Debug for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stats").field("options", &self.0.options).finish_non_exhaustive()
    }
}
