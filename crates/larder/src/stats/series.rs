//! A series: what is counted of one scope and kind, one method for each thing that can happen.
//!
//! Invariant: each request ends in exactly one of [`Series::hit`], [`Series::stale`], [`Series::miss`] and
//! [`Series::waited`]; requests are their sum.
//!
//! On the memory hit path ([`Series::begin`], [`Request::hit`]) no lock is taken, no clock is read and no locked
//! instruction runs, but for the one request in many that is sampled; and that one only tries the lock of the hot
//! keys and goes on where it is taken.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::count::{COUNTS, Count, Counts};
use super::event::{Computed, EvictionCause, Level, Place, RefusalCause};
use super::histogram::{Distribution, Histogram};
use super::hot::HotKeys;
use super::sample;
use super::stripe::{Cells, Stripe};
use crate::clock::{Clock, Instant};
use crate::key::{Key, KindName, Scope};

/// Whose a series is. `None` in the one that takes in all scopes and kinds beyond the limit.
pub(super) type SeriesName = Option<(Scope, KindName)>;

/// What has a distribution. The number keeps its meaning forever, as stored statistics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measure(u8);

pub(super) const MEASURES: usize = 20;

impl Measure {
    pub(super) const MISS: Self = Self(4);
    pub(super) const WAIT: Self = Self(5);
    pub(super) const COMPUTE: Self = Self(6);

    pub(super) const fn hit(place: Place) -> Self {
        Self(place as u8)
    }

    pub(super) const fn lookup(place: Place) -> Self {
        Self(8 + place as u8)
    }

    pub(super) const fn put(place: Place) -> Self {
        Self(12 + place as u8)
    }

    pub(super) const fn size(place: Place) -> Self {
        Self(16 + place as u8)
    }

    pub(super) const fn number(self) -> usize {
        self.0 as usize
    }
}

/// The hot keys that all series of an engine share.
#[derive(Debug)]
pub(super) struct Heat {
    pub(super) keys: Mutex<HotKeys>,
}

impl Heat {
    pub(super) fn new(capacity: usize) -> Self {
        Self { keys: Mutex::new(HotKeys::new(capacity)) }
    }

    /// Counts a request, unless another thread is counting one right now: nobody waits here.
    fn add(&self, key: &Key, weight: u32) {
        if let Some(mut keys) = self.keys.try_lock() {
            keys.add(key, weight.into());
        }
    }
}

/// What was counted of a series since the last time, as plain data.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) counts: Counts,
    pub(super) distributions: Vec<(usize, Distribution)>,
}

/// The counters of one scope and kind. Resolve it once per handle with [`Stats::series`](super::Stats::series);
/// all methods may be called by many threads at once and never wait.
///
/// `took` is how long asking took so far, `None` where it was not measured. It counts as cost of the cache
/// against the time that it saves.
#[repr(C)]
pub struct Series {
    // What a memory hit reads stands first, in one cache line.
    level: Level,
    cells: Cells,
    measures: [OnceLock<Histogram>; MEASURES],
    clock: Clock,
    heat: Arc<Heat>,
    name: SeriesName,
    collected: Mutex<Box<[u64; COUNTS]>>,
}

/// One in how many entries stored in memory has its size recorded, of those that a level measures: storing is so
/// quick that recording each would show.
const PUT_STRIDE: u32 = 16;

/// A request that began on this thread and looks into memory first. Where it finds its answer there, that is counted with
/// what was found out when it began.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    series: &'a Series,
    /// The stripe of the thread, which nobody else may write: so it stays on the thread.
    own: Option<&'a Stripe>,
    /// When it began, if it is a sample.
    began: Option<Instant>,
    on_this_thread: PhantomData<*const ()>,
}

impl Request<'_> {
    /// Whether it is timed, as one memory hit in many is.
    #[inline]
    pub fn is_sampled(&self) -> bool {
        self.began.is_some()
    }

    /// It was answered from memory with an answer that holds. `cost` is what computing it took once.
    ///
    /// Cost: two additions to memory that this thread owns. One that is sampled reads the clock, and stands for all hits
    /// that are not.
    #[inline]
    pub fn hit(self, key: &Key, cost: Duration) {
        if self.count_hit(cost) && self.is_sampled() {
            self.sampled_hit(key);
        }
    }

    /// Counts a hit, if anything is counted.
    #[inline]
    fn count_hit(&self, cost: Duration) -> bool {
        let spared = (Count::SPARED.number(), nanos(cost));
        match self.own {
            Some(own) => {
                own.add(MEMORY_HITS, 1);
                own.add(spared.0, spared.1);
            }
            None if self.series.level == Level::Off => return false,
            None => self.count_unowned_hit(spared),
        }
        true
    }

    #[cold]
    fn count_unowned_hit(&self, spared: (usize, u64)) {
        self.series.cells.add([(MEMORY_HITS, 1), spared]);
    }

    #[cold]
    fn sampled_hit(self, key: &Key) {
        self.record_hit(key, self.took());
    }

    #[cold]
    fn record_hit(self, key: &Key, took: Option<Duration>) {
        let Some(stride) = self.series.level.memory_stride() else { return };
        if let Some(own) = self.own
            && !own.hit_due.takes(own.count(MEMORY_HITS) - 1, Some(stride))
        {
            // Another request, which began before this one ended, was the sample.
            return;
        }
        self.series.heat.add(key, stride);
        if let Some(took) = took {
            self.series.add([(Count::ASKING, nanos(took).saturating_mul(stride.into()))]);
            self.series.record(Measure::hit(Place::Memory), nanos(took));
        }
    }

    /// It was answered from memory with an answer that no longer holds and is being refreshed. Saves no time: the refresh
    /// computes it again.
    pub fn stale(self, key: &Key) {
        self.series.stale(Place::Memory, key, self.took());
    }

    fn took(&self) -> Option<Duration> {
        self.began.map(|began| self.series.clock.now().since(began))
    }
}

const MEMORY_HITS: usize = Count::hits(Place::Memory).number();
const MEMORY_PUTS: usize = Count::puts(Place::Memory).number();

/// Saturates after 272 years, 2³³ seconds.
#[inline]
fn nanos(duration: Duration) -> u64 {
    duration.as_secs().min(1 << 33) * 1_000_000_000 + u64::from(duration.subsec_nanos())
}

#[inline]
fn numbered<const N: usize>(counts: [(Count, u64); N]) -> [(usize, u64); N] {
    counts.map(|(count, n)| (count.number(), n))
}

impl Series {
    pub(super) fn new(name: SeriesName, level: Level, clock: Clock, heat: Arc<Heat>) -> Self {
        Self {
            level,
            cells: Cells::new(),
            measures: [const { OnceLock::new() }; MEASURES],
            clock,
            heat,
            name,
            collected: Mutex::new(Box::new([0; COUNTS])),
        }
    }

    /// The scope and kind, or `None` for the series that takes in all beyond the limit.
    pub fn name(&self) -> Option<(&Scope, &KindName)> {
        self.name.as_ref().map(|(scope, kind)| (scope, kind))
    }

    pub(super) fn owned_name(&self) -> SeriesName {
        self.name.clone()
    }

    /// Begins a request that looks into memory first. Reads the clock for one in many.
    #[inline(always)]
    pub fn begin(&self) -> Request<'_> {
        let own = self.cells.own();
        let is_plain = match own {
            Some(own) => own.hit_due.is_not_next(own.count(MEMORY_HITS)),
            None => self.level == Level::Off,
        };
        if is_plain { self.request(own, None) } else { self.begin_slowly(own) }
    }

    #[inline]
    fn request<'a>(&'a self, own: Option<&'a Stripe>, began: Option<Instant>) -> Request<'a> {
        Request { series: self, own, began, on_this_thread: PhantomData }
    }

    /// One that may be a sample, or the first of a thread.
    #[cold]
    fn begin_slowly<'a>(&'a self, own: Option<&'a Stripe>) -> Request<'a> {
        let stride = self.level.memory_stride();
        let own = own.or_else(|| self.cells.claimed());
        let is_sampled = match own {
            Some(own) => own.hit_due.is_next(own.count(MEMORY_HITS), stride),
            None => stride.is_some_and(sample::one_in),
        };
        self.request(own, is_sampled.then(|| self.clock.now()))
    }

    /// Whether the level wants operations outside memory timed.
    #[inline]
    pub fn timed(&self) -> bool {
        self.level >= Level::Counters
    }

    /// A request was answered with a kept answer that holds. `cost` is what computing it took once.
    ///
    /// From memory, `took` is left aside unless the hit is one of the few that are samples; [`Self::begin`] costs less.
    pub fn hit(&self, place: Place, key: &Key, cost: Duration, took: Option<Duration>) {
        if place == Place::Memory {
            let request = self.begin();
            if request.count_hit(cost) && request.is_sampled() {
                request.record_hit(key, took);
            }
        } else if self.level != Level::Off {
            self.add([(Count::hits(place), 1), (Count::SPARED, nanos(cost))]);
            self.asked(key, Measure::hit(place), took);
        }
    }

    /// A request was answered with a kept answer that no longer holds and is being refreshed. Saves no time: the
    /// refresh computes it again.
    pub fn stale(&self, place: Place, key: &Key, took: Option<Duration>) {
        if self.level != Level::Off {
            self.add([(Count::stale(place), 1)]);
            self.asked(key, Measure::hit(place), took);
        }
    }

    /// A request found no answer: it leads to a computation, or goes without. `took` is what finding out took.
    #[inline]
    pub fn miss(&self, key: &Key, took: Option<Duration>) {
        if self.level != Level::Off {
            self.add([(Count::MISSES, 1)]);
            self.asked(key, Measure::MISS, took);
        }
    }

    /// A request waited for a computation that another had begun; `cost` is what that took, zero if it gave no
    /// answer, and `took` what asking and waiting took.
    pub fn waited(&self, key: &Key, cost: Duration, took: Option<Duration>) {
        if self.level != Level::Off {
            self.add([(Count::WAITED, 1), (Count::SPARED, nanos(cost))]);
            self.asked(key, Measure::WAIT, took);
        }
    }

    /// A computation ended. Only those that finished enter the distribution.
    pub fn computed(&self, end: Computed, took: Duration) {
        if self.level == Level::Off {
            return;
        }
        self.add([(Count::computed(end), 1), (Count::COMPUTING, nanos(took))]);
        if end == Computed::Finished && self.chosen().is_some() {
            self.record(Measure::COMPUTE, nanos(took));
        }
    }

    /// A tier outside memory was asked for an entry, and had it or not, whatever it was good for.
    pub fn lookup(&self, place: Place, found: bool, took: Option<Duration>) {
        if self.level == Level::Off {
            return;
        }
        self.add([(Count::lookups(place), 1), (Count::found(place), found.into())]);
        self.measure(Measure::lookup(place), took);
    }

    /// An entry was stored: the bytes of its value, and the bytes that it takes in the tier.
    #[inline]
    pub fn put(&self, place: Place, encoded_bytes: u64, stored_bytes: u64, took: Option<Duration>) {
        if self.level == Level::Off {
            return;
        }
        let own = self.cells.own();
        let counts = [
            (Count::puts(place), 1),
            (Count::encoded(place), encoded_bytes),
            (Count::stored(place), stored_bytes),
        ];
        self.cells.add_to(own, numbered(counts));
        let is_sampled = if place == Place::Memory { self.is_put_due(own) } else { self.chosen().is_some() };
        if is_sampled {
            self.record(Measure::size(place), encoded_bytes);
        }
        self.measure(Measure::put(place), took);
    }

    /// Whether the entry stored in memory that was counted just now is a sample.
    #[inline]
    fn is_put_due(&self, own: Option<&Stripe>) -> bool {
        match own {
            Some(own) if own.put_due.is_not_next(own.count(MEMORY_PUTS) - 1) => false,
            _ => self.takes_put(own),
        }
    }

    #[cold]
    fn takes_put(&self, own: Option<&Stripe>) -> bool {
        let stride = self.level.stride().map(|stride| stride * PUT_STRIDE);
        match own {
            Some(own) => own.put_due.takes(own.count(MEMORY_PUTS) - 1, stride),
            None => stride.is_some_and(sample::one_in),
        }
    }

    /// An entry left a tier, other than by an invalidation.
    pub fn evicted(&self, place: Place, cause: EvictionCause, bytes: u64) {
        if self.level != Level::Off {
            self.add([(Count::evicted(place, cause), 1), (Count::evicted_bytes(place), bytes)]);
        }
    }

    /// An invalidation removed this many entries of this scope and kind.
    pub fn invalidated(&self, entries: u64) {
        self.counted(Count::INVALIDATED, entries);
    }

    /// An answer was returned but not kept.
    pub fn refused(&self, place: Place, cause: RefusalCause) {
        self.counted(Count::refused(place, cause), 1);
    }

    /// An entry's bytes proved bad. It is a miss to whoever asked.
    pub fn corrupt(&self, place: Place) {
        self.counted(Count::corrupt(place), 1);
    }

    /// An operation of a tier failed. It is a miss to whoever asked.
    pub fn failed(&self, place: Place) {
        self.counted(Count::failures(place), 1);
    }

    /// A write was dropped, as the queue was full.
    pub fn dropped(&self, place: Place) {
        self.counted(Count::dropped(place), 1);
    }

    fn counted(&self, count: Count, n: u64) {
        if self.level != Level::Off {
            self.add([(count, n)]);
        }
    }

    #[inline]
    fn add<const N: usize>(&self, counts: [(Count, u64); N]) {
        self.cells.add(numbered(counts));
    }

    /// The weight with which an operation outside memory is measured, if it is.
    fn chosen(&self) -> Option<u32> {
        self.level.stride().filter(|&stride| sample::one_in(stride))
    }

    #[inline]
    fn asked(&self, key: &Key, measure: Measure, took: Option<Duration>) {
        if let Some(took) = took {
            self.add([(Count::ASKING, nanos(took))]);
        }
        if let Some(stride) = self.chosen() {
            if let Some(weight) = sample::weight() {
                self.heat.add(key, weight.saturating_mul(stride));
            }
            if let Some(took) = took {
                self.record(measure, nanos(took));
            }
        }
    }

    fn measure(&self, measure: Measure, took: Option<Duration>) {
        if let Some(took) = took
            && self.chosen().is_some()
        {
            self.record(measure, nanos(took));
        }
    }

    #[inline(never)]
    fn record(&self, measure: Measure, value: u64) {
        self.measures[measure.number()].get_or_init(Histogram::new).record(value);
    }

    /// Takes out what was counted since the last call. What other threads count meanwhile is in this collection
    /// or in the next one.
    pub(super) fn collect(&self) -> Option<Collected> {
        let mut collected = Collected::default();
        let mut last = self.collected.lock();
        for (number, last) in last.iter_mut().enumerate() {
            let now = self.cells.sum(number);
            // Sums may wrap; a difference does not, as long as less than 2⁶⁴ was added since.
            if let Some(count) = collected.counts.numbered(number) {
                *count = now.wrapping_sub(*last).into();
            }
            *last = now;
        }
        for (number, histogram) in self.measures.iter().enumerate() {
            if let Some(taken) = histogram.get().and_then(Histogram::take) {
                collected.distributions.push((number, taken));
            }
        }
        (!collected.counts.is_zero() || !collected.distributions.is_empty()).then_some(collected)
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series").field("name", &self.name).field("level", &self.level).finish_non_exhaustive()
    }
}
