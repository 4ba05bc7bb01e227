//! The report: what was counted, in words and units.
//!
//! Invariant: a number that was not measured is absent (`None`), never zero or one.
//! Not here: how it is printed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::count::Count;
use super::event::{Computed, EvictionCause, Level, Place, RefusalCause, SelectorForm};
use super::histogram::Distribution;
use super::history::{Point, Resolution};
use super::registry::StatsOptions;
use super::series::{Measure, SeriesName};
use super::snapshot::{Snapshot, Tally};
use crate::clock::Timestamp;
use crate::key::{KindName, Scope};

/// What all scopes and kinds beyond the limit are shown as; neither may be named so.
const OTHER: &str = "(other)";

/// What a series is shown as: its scope and its kind.
pub(super) fn names_of(name: &SeriesName) -> (String, String) {
    let other = || (OTHER.to_owned(), OTHER.to_owned());
    name.as_ref().map_or_else(other, |(scope, kind)| (scope.to_string(), kind.to_string()))
}

/// What a tier holds now.
#[derive(Debug, Clone, Default)]
pub struct TierUsage {
    /// Bytes in use.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
    /// How many bytes it may hold, if that is limited.
    pub budget_bytes: Option<u64>,
    /// Bytes and entries of each scope and kind, where the tier knows them.
    pub series: Vec<(Scope, KindName, u64, u64)>,
}

/// What an engine did, and in which state it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// When it was made.
    pub at: Timestamp,
    /// When the first of it was counted; absent if nothing was.
    pub since: Option<Timestamp>,
    /// How much is counted now.
    pub level: Level,
    /// One in how many memory hits is timed; absent at levels that time none.
    pub memory_hits_sampled: Option<u32>,
    /// All of it; absent if nothing was counted.
    pub total: Option<Figures>,
    /// By scope.
    pub scopes: BTreeMap<String, Figures>,
    /// By kind, all scopes together.
    pub kinds: BTreeMap<String, Figures>,
    /// By scope and kind.
    pub series: Vec<SeriesFigures>,
    /// Invalidations by the form of their selector; forms that did not come are left out.
    pub invalidations: BTreeMap<SelectorForm, InvalidationFigures>,
    /// The keys that are asked for most.
    pub hot_keys: HotKeyFigures,
    /// What happened when.
    pub history: BTreeMap<Resolution, Vec<Point>>,
}

/// The figures of one scope and kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesFigures {
    /// The scope, or `(other)`.
    pub scope: String,
    /// The kind with its version, or `(other)`.
    pub kind: String,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What was counted of some scopes and kinds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Requests: the sum of hits, stale answers, misses and those that waited.
    pub requests: u64,
    /// Answered with a kept answer that holds.
    pub hits: u64,
    /// Answered with a kept answer that was being refreshed.
    pub stale: u64,
    /// Found no answer: led to a computation, or went without.
    pub misses: u64,
    /// Waited for a computation that another had begun.
    pub waited: u64,
    /// Hits and stale answers by requests; absent if nothing was asked.
    pub hit_rate: Option<f64>,
    /// What was not computed again, less what asking took; negative where the cache cost more than it saved,
    /// absent if nothing was asked. At level `counters`, what asking memory took is not in it.
    pub saved_seconds: Option<f64>,
    /// What asking took; of memory hits, by extrapolation from those that were timed.
    pub asking_seconds: f64,
    /// What computations took, however they ended.
    pub computing_seconds: f64,
    /// Computations by how they ended.
    pub computations: BTreeMap<Computed, u64>,
    /// Entries that invalidations removed.
    pub invalidated: u64,
    /// Latency of hits and stale answers, wherever they were kept. Memory hits are sampled, others are not, or
    /// less: compare the tiers' own.
    pub hit_latency: Option<Latency>,
    /// How long it took to find that there is no answer.
    pub miss_latency: Option<Latency>,
    /// How long those that waited did.
    pub wait_latency: Option<Latency>,
    /// How long computations that finished took.
    pub compute_latency: Option<Latency>,
    /// By tier; those of which nothing is known are left out.
    pub tiers: BTreeMap<Place, TierFigures>,
}

/// What was counted of a tier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TierFigures {
    /// Requests that it answered with a kept answer that holds.
    pub hits: u64,
    /// Requests that it answered with a kept answer that was being refreshed.
    pub stale: u64,
    /// Hits and stale answers by the requests that came to this tier; absent if none did.
    pub hit_rate: Option<f64>,
    /// How often it was asked for an entry; of memory, all requests.
    pub lookups: u64,
    /// How often it had it, good or not; memory tells only hits and stale answers.
    pub found: u64,
    /// Entries stored.
    pub puts: u64,
    /// Bytes of their values before compression.
    pub encoded_bytes: u64,
    /// Bytes that they took.
    pub stored_bytes: u64,
    /// Entries that left, by cause.
    pub evictions: BTreeMap<EvictionCause, u64>,
    /// Of these, those that ended to hold or were not asked for too long.
    pub expirations: u64,
    /// Bytes that left with evicted entries.
    pub evicted_bytes: u64,
    /// Answers that were not kept, by cause.
    pub refusals: BTreeMap<RefusalCause, u64>,
    /// Entries whose bytes proved bad.
    pub corrupt: u64,
    /// Operations that failed.
    pub failures: u64,
    /// Writes that were dropped, as the queue was full.
    pub dropped: u64,
    /// Bytes in use now, where that is known.
    pub bytes: Option<u64>,
    /// Entries now, where that is known.
    pub entries: Option<u64>,
    /// How many bytes it may hold, where that is limited.
    pub budget_bytes: Option<u64>,
    /// Latency of requests that it answered.
    pub hit_latency: Option<Latency>,
    /// Latency of asking it, found or not; outside memory.
    pub lookup_latency: Option<Latency>,
    /// Latency of storing.
    pub put_latency: Option<Latency>,
    /// Sizes of the values stored, before compression.
    pub sizes: Option<Sizes>,
}

/// A distribution of times. Quantiles are within 1/32 of the value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// How many were measured.
    pub samples: u64,
    /// The mean, exactly.
    pub mean_seconds: f64,
    /// The median.
    pub p50_seconds: f64,
    /// What nine in ten do not exceed.
    pub p90_seconds: f64,
    /// What 99 in a hundred do not exceed.
    pub p99_seconds: f64,
    /// The longest, exactly.
    pub max_seconds: f64,
}

/// A distribution of sizes. Quantiles are within 1/32 of the value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sizes {
    /// How many were measured.
    pub samples: u64,
    /// The mean, exactly.
    pub mean_bytes: f64,
    /// The median.
    pub p50_bytes: u64,
    /// What nine in ten do not exceed.
    pub p90_bytes: u64,
    /// What 99 in a hundred do not exceed.
    pub p99_bytes: u64,
    /// The largest, exactly.
    pub max_bytes: u64,
}

/// Invalidations that came in one form.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InvalidationFigures {
    /// How many came.
    pub times: u64,
    /// How many entries they removed.
    pub entries: u64,
}

/// The keys that are asked for most, by SpaceSaving. Counts are estimates of requests: a memory hit that was
/// sampled stands for as many as the sampling says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HotKeyFigures {
    /// The requests that were counted, by the same estimate.
    pub requests: u64,
    /// A key that is not listed was asked for at most this often.
    pub unlisted_at_most: u64,
    /// The keys, most asked for first.
    pub keys: Vec<HotKeyFigure>,
}

/// How often a key was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HotKeyFigure {
    /// The key.
    pub key: String,
    /// At most so often.
    pub requests: u64,
    /// At least `requests` less this.
    pub error: u64,
    /// `requests` as a share of all.
    pub share: f64,
}

impl Report {
    /// Says what a snapshot holds. `options` are how it is counted now, `usage` is what the tiers hold.
    pub fn new(
        snapshot: &Snapshot,
        options: &StatsOptions,
        usage: &[(Place, TierUsage)],
        at: Timestamp,
    ) -> Self {
        let mut total = Tally::default();
        let mut scopes: BTreeMap<String, Tally> = BTreeMap::new();
        let mut kinds: BTreeMap<String, Tally> = BTreeMap::new();
        let mut series = Vec::new();
        for (name, tally) in &snapshot.series {
            let (scope, kind) = names_of(name);
            total.merge(tally);
            scopes.entry(scope.clone()).or_default().merge(tally);
            kinds.entry(kind.clone()).or_default().merge(tally);
            let held = Held::of(usage, |s, k| s.as_str() == scope && k.to_string() == kind);
            series.push(SeriesFigures { figures: Figures::new(tally, &held), scope, kind });
        }
        let whole: Held = usage.iter().map(|(place, usage)| (*place, Holding::whole(usage))).collect();
        let counted = !snapshot.is_empty() || !whole.0.is_empty();
        let figures = |tally: &Tally, select: &dyn Fn(&Scope, &KindName) -> bool| {
            Figures::new(tally, &Held::of(usage, select))
        };
        Self {
            at,
            since: snapshot.since,
            level: options.level,
            memory_hits_sampled: options.level.memory_stride(),
            total: counted.then(|| Figures::new(&total, &whole)),
            scopes: scopes
                .into_iter()
                .map(|(scope, tally)| (scope.clone(), figures(&tally, &|s, _| s.as_str() == scope)))
                .collect(),
            kinds: kinds
                .into_iter()
                .map(|(kind, tally)| (kind.clone(), figures(&tally, &|_, k| k.to_string() == kind)))
                .collect(),
            series,
            invalidations: invalidations(snapshot),
            hot_keys: HotKeyFigures::new(snapshot),
            history: Resolution::ALL
                .map(|each| (each, snapshot.history.points(each, at, options.history)))
                .into(),
        }
    }
}

fn invalidations(snapshot: &Snapshot) -> BTreeMap<SelectorForm, InvalidationFigures> {
    let forms = SelectorForm::ALL.into_iter().zip(&snapshot.invalidations);
    forms
        .filter(|(_, counted)| counted.times > 0)
        .map(|(form, counted)| (form, InvalidationFigures { times: counted.times, entries: counted.entries }))
        .collect()
}

impl HotKeyFigures {
    fn new(snapshot: &Snapshot) -> Self {
        let hot = &snapshot.hot;
        let figure = |(item, requests): (&super::hot::HotKey, u64)| HotKeyFigure {
            key: item.key.to_string(),
            requests,
            error: item.error,
            share: requests as f64 / hot.total() as f64,
        };
        Self {
            requests: hot.total(),
            unlisted_at_most: hot.floor(),
            keys: hot.items().into_iter().map(figure).collect(),
        }
    }
}

/// What a tier holds of something.
#[derive(Clone, Copy)]
struct Holding {
    bytes: u64,
    entries: u64,
    budget_bytes: Option<u64>,
}

impl Holding {
    fn whole(usage: &TierUsage) -> Self {
        Self { bytes: usage.bytes, entries: usage.entries, budget_bytes: usage.budget_bytes }
    }
}

struct Held(BTreeMap<Place, Holding>);

impl FromIterator<(Place, Holding)> for Held {
    fn from_iter<I: IntoIterator<Item = (Place, Holding)>>(holdings: I) -> Self {
        Self(holdings.into_iter().collect())
    }
}

impl Held {
    /// What tiers that know it hold of the selected scopes and kinds.
    fn of(usage: &[(Place, TierUsage)], select: impl Fn(&Scope, &KindName) -> bool) -> Self {
        let mut held: BTreeMap<Place, Holding> = BTreeMap::new();
        for (place, usage) in usage {
            for (_, _, bytes, entries) in usage.series.iter().filter(|(s, k, ..)| select(s, k)) {
                let nothing = Holding { bytes: 0, entries: 0, budget_bytes: None };
                let sum = held.entry(*place).or_insert(nothing);
                sum.bytes += bytes;
                sum.entries += entries;
            }
        }
        Self(held)
    }
}

fn seconds(nanos: u128) -> f64 {
    nanos as f64 / 1e9
}

fn rate(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Figures {
    fn new(tally: &Tally, held: &Held) -> Self {
        let counts = &tally.counts;
        let sum = |count: fn(Place) -> Count| Place::ALL.iter().map(|&p| counts.number_of(count(p))).sum();
        let (hits, stale): (u64, u64) = (sum(Count::hits), sum(Count::stale));
        let requests = counts.requests();
        let mut hit_times = Distribution::default();
        for place in Place::ALL {
            if let Some(times) = tally.distribution(Measure::hit(place)) {
                hit_times.merge(times);
            }
        }
        let latency = |measure| tally.distribution(measure).and_then(Latency::new);
        Self {
            requests,
            hits,
            stale,
            misses: counts.number_of(Count::MISSES),
            waited: counts.number_of(Count::WAITED),
            hit_rate: rate(hits + stale, requests),
            saved_seconds: (requests > 0)
                .then(|| seconds(counts[Count::SPARED]) - seconds(counts[Count::ASKING])),
            asking_seconds: seconds(counts[Count::ASKING]),
            computing_seconds: seconds(counts[Count::COMPUTING]),
            computations: nonzero(&Computed::ALL, |end| counts.number_of(Count::computed(end))),
            invalidated: counts.number_of(Count::INVALIDATED),
            hit_latency: Latency::new(&hit_times),
            miss_latency: latency(Measure::MISS),
            wait_latency: latency(Measure::WAIT),
            compute_latency: latency(Measure::COMPUTE),
            tiers: Place::ALL
                .into_iter()
                .filter_map(|place| {
                    Some((place, TierFigures::new(place, tally, held.0.get(&place).copied())?))
                })
                .collect(),
        }
    }
}

fn nonzero<T: Copy + Ord>(all: &[T], count: impl Fn(T) -> u64) -> BTreeMap<T, u64> {
    all.iter().map(|&each| (each, count(each))).filter(|&(_, count)| count > 0).collect()
}

impl TierFigures {
    fn new(place: Place, tally: &Tally, held: Option<Holding>) -> Option<Self> {
        let counts = &tally.counts;
        if held.is_none() && !counts.touch(place) {
            return None;
        }
        let count = |count: fn(Place) -> Count| counts.number_of(count(place));
        let (hits, stale) = (count(Count::hits), count(Count::stale));
        let (lookups, found) = match place {
            Place::Memory => (counts.requests(), hits + stale),
            Place::Disk | Place::Shared => (count(Count::lookups), count(Count::found)),
        };
        let evicted = |cause| counts.number_of(Count::evicted(place, cause));
        let latency =
            |measure: fn(Place) -> Measure| tally.distribution(measure(place)).and_then(Latency::new);
        Some(Self {
            hits,
            stale,
            hit_rate: rate(hits + stale, lookups),
            lookups,
            found,
            puts: count(Count::puts),
            encoded_bytes: count(Count::encoded),
            stored_bytes: count(Count::stored),
            evictions: nonzero(&EvictionCause::ALL, evicted),
            expirations: evicted(EvictionCause::Expired) + evicted(EvictionCause::Idle),
            evicted_bytes: count(Count::evicted_bytes),
            refusals: nonzero(&RefusalCause::ALL, |cause| counts.number_of(Count::refused(place, cause))),
            corrupt: count(Count::corrupt),
            failures: count(Count::failures),
            dropped: count(Count::dropped),
            bytes: held.map(|held| held.bytes),
            entries: held.map(|held| held.entries),
            budget_bytes: held.and_then(|held| held.budget_bytes),
            hit_latency: latency(Measure::hit),
            lookup_latency: latency(Measure::lookup),
            put_latency: latency(Measure::put),
            sizes: tally.distribution(Measure::size(place)).and_then(Sizes::new),
        })
    }
}

impl Latency {
    fn new(times: &Distribution) -> Option<Self> {
        let quantile = |q| times.quantile(q).map(|nanos| seconds(nanos.into()));
        Some(Self {
            samples: times.count(),
            mean_seconds: times.mean()? / 1e9,
            p50_seconds: quantile(0.5)?,
            p90_seconds: quantile(0.9)?,
            p99_seconds: quantile(0.99)?,
            max_seconds: seconds(times.max.into()),
        })
    }
}

impl Sizes {
    fn new(sizes: &Distribution) -> Option<Self> {
        Some(Self {
            samples: sizes.count(),
            mean_bytes: sizes.mean()?,
            p50_bytes: sizes.quantile(0.5)?,
            p90_bytes: sizes.quantile(0.9)?,
            p99_bytes: sizes.quantile(0.99)?,
            max_bytes: sizes.max,
        })
    }
}
