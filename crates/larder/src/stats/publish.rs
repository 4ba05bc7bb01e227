//! What was counted, handed to the `metrics` facade at each collection.
//!
//! Counting goes to the series' own stripes, and the facade gets the sums about once a second: a call into a
//! recorder for each event would cost more than a memory hit. So exporters lag by up to one tick, and without a
//! recorder a hit costs nothing more. Install the recorder before the first tick: what was handed over before is
//! not handed over again.
//!
//! | name | type | labels beside `scope`, `kind` |
//! |---|---|---|
//! | `larder_hits_total` | counter | `tier` |
//! | `larder_stale_total` | counter | `tier` |
//! | `larder_misses_total`, `larder_waited_total` | counter | |
//! | `larder_computations_total` | counter | `end`: finished, failed, cancelled, timed-out |
//! | `larder_spared_nanoseconds_total` | counter | |
//! | `larder_asking_nanoseconds_total` | counter | |
//! | `larder_computing_nanoseconds_total` | counter | |
//! | `larder_invalidated_total` | counter | |
//! | `larder_lookups_total`, `larder_found_total` | counter | `tier` |
//! | `larder_puts_total` | counter | `tier` |
//! | `larder_put_encoded_bytes_total`, `larder_put_stored_bytes_total` | counter | `tier` |
//! | `larder_evictions_total` | counter | `tier`, `cause` |
//! | `larder_evicted_bytes_total` | counter | `tier` |
//! | `larder_refusals_total` | counter | `tier`, `cause` |
//! | `larder_corrupt_total`, `larder_failures_total`, `larder_dropped_total` | counter | `tier` |
//! | `larder_hit_seconds`, `larder_lookup_seconds`, `larder_put_seconds` | histogram | `tier` |
//! | `larder_miss_seconds`, `larder_wait_seconds`, `larder_compute_seconds` | histogram | |
//! | `larder_value_bytes` | histogram | `tier` |
//! | `larder_held_bytes`, `larder_held_entries` | gauge | `tier`; where the tier tells them by kind |
//! | `larder_invalidations_total`, `larder_invalidation_entries_total` | counter | `form` only |
//! | `larder_tier_bytes`, `larder_tier_entries`, `larder_tier_budget_bytes` | gauge | `tier` only |
//!
//! Time saved is `larder_spared_nanoseconds_total` less `larder_asking_nanoseconds_total`: the facade counts in whole
//! numbers, so an exporter that goes by base units divides. Histograms get the middle of a bucket, within 1/32 of what
//! was measured.

use std::collections::BTreeSet;

use metrics::{Key, Label, Level, Metadata, Recorder};

use super::count::{Count, Counts};
use super::event::{Computed, EvictionCause, Place, RefusalCause, SelectorForm};
use super::histogram::{Distribution, middle_of};
use super::report::{TierUsage, names_of};
use super::series::{Collected, Measure, SeriesName};
use super::snapshot::Invalidations;

const METADATA: Metadata<'_> = Metadata::new("larder::stats", Level::INFO, Some(module_path!()));

/// A name, and what it is the name of at each place.
type AtPlace<T> = (&'static str, fn(Place) -> T);

/// Counters by place.
const AT_PLACES: [AtPlace<Count>; 11] = [
    ("larder_hits_total", Count::hits),
    ("larder_stale_total", Count::stale),
    ("larder_lookups_total", Count::lookups),
    ("larder_found_total", Count::found),
    ("larder_puts_total", Count::puts),
    ("larder_put_encoded_bytes_total", Count::encoded),
    ("larder_put_stored_bytes_total", Count::stored),
    ("larder_evicted_bytes_total", Count::evicted_bytes),
    ("larder_corrupt_total", Count::corrupt),
    ("larder_failures_total", Count::failures),
    ("larder_dropped_total", Count::dropped),
];

/// Counters of requests.
const OF_REQUESTS: [(&str, Count); 6] = [
    ("larder_misses_total", Count::MISSES),
    ("larder_waited_total", Count::WAITED),
    ("larder_spared_nanoseconds_total", Count::SPARED),
    ("larder_asking_nanoseconds_total", Count::ASKING),
    ("larder_computing_nanoseconds_total", Count::COMPUTING),
    ("larder_invalidated_total", Count::INVALIDATED),
];

/// Distributions by place, in nanoseconds.
const TIMES_AT_PLACES: [AtPlace<Measure>; 3] = [
    ("larder_hit_seconds", Measure::hit),
    ("larder_lookup_seconds", Measure::lookup),
    ("larder_put_seconds", Measure::put),
];

/// Distributions of requests, in nanoseconds.
const TIMES_OF_REQUESTS: [(&str, Measure); 3] = [
    ("larder_miss_seconds", Measure::MISS),
    ("larder_wait_seconds", Measure::WAIT),
    ("larder_compute_seconds", Measure::COMPUTE),
];

/// Counters and what they count.
const COUNTERS: [(&str, &str); 22] = [
    ("larder_hits_total", "Requests answered with a kept answer that holds."),
    ("larder_stale_total", "Requests answered with a kept answer that is being refreshed."),
    ("larder_misses_total", "Requests that found no answer."),
    ("larder_waited_total", "Requests that waited for a computation that another had begun."),
    ("larder_computations_total", "Computations, by how they ended."),
    ("larder_spared_nanoseconds_total", "What computing the answers that were given had taken."),
    ("larder_asking_nanoseconds_total", "What asking took."),
    ("larder_computing_nanoseconds_total", "What computations took, however they ended."),
    ("larder_invalidated_total", "Entries that invalidations removed."),
    ("larder_lookups_total", "Times a tier was asked for an entry."),
    ("larder_found_total", "Times a tier had the entry that it was asked for."),
    ("larder_puts_total", "Entries stored."),
    ("larder_put_encoded_bytes_total", "Bytes of the values of stored entries, before compression."),
    ("larder_put_stored_bytes_total", "Bytes that stored entries took in the tier."),
    ("larder_evictions_total", "Entries that left a tier other than by an invalidation, by cause."),
    ("larder_evicted_bytes_total", "Bytes that left with evicted entries."),
    ("larder_refusals_total", "Answers that were not kept, by cause."),
    ("larder_corrupt_total", "Entries whose bytes proved bad."),
    ("larder_failures_total", "Operations of a tier that failed."),
    ("larder_dropped_total", "Writes that were dropped, as the queue was full."),
    ("larder_invalidations_total", "Invalidations, by the form of their selector."),
    (
        "larder_invalidation_entries_total",
        "Entries that invalidations removed, by the form of their selector.",
    ),
];

/// Histograms and what is measured.
const HISTOGRAMS: [(&str, &str); 7] = [
    ("larder_hit_seconds", "How long hits and stale answers took."),
    ("larder_lookup_seconds", "How long asking a tier for an entry took."),
    ("larder_put_seconds", "How long storing an entry took."),
    ("larder_miss_seconds", "How long it took to find that there is no answer."),
    ("larder_wait_seconds", "How long those that waited for a computation did."),
    ("larder_compute_seconds", "How long computations that finished took."),
    ("larder_value_bytes", "Sizes of stored values."),
];

/// Gauges and what they show.
const GAUGES: [(&str, &str); 5] = [
    (
        "larder_held_bytes",
        "Bytes that a scope's entries of a kind take in a tier, with the blobs that they name.",
    ),
    ("larder_held_entries", "Entries of a scope and kind in a tier."),
    ("larder_tier_bytes", "Bytes that a tier holds."),
    ("larder_tier_entries", "Entries that a tier holds."),
    ("larder_tier_budget_bytes", "Bytes that a tier may hold."),
];

/// Of how many scopes and kinds it is told what a tier holds of them; all beyond are told together.
const MAX_HELD: usize = 256;

/// Tells the recorder what each metric means. Once is enough.
pub fn describe() {
    metrics::with_recorder(|recorder| {
        for (name, help) in COUNTERS {
            recorder.describe_counter(name.into(), None, help.into());
        }
        for (name, help) in HISTOGRAMS {
            recorder.describe_histogram(name.into(), None, help.into());
        }
        for (name, help) in GAUGES {
            recorder.describe_gauge(name.into(), None, help.into());
        }
    });
}

/// What was counted since the last collection.
#[derive(Debug, Default)]
pub(super) struct Delta {
    pub(super) series: Vec<(SeriesName, Collected)>,
    pub(super) invalidations: [Invalidations; SelectorForm::ALL.len()],
}

/// Of which scopes and kinds it was told last that a tier holds something of them.
pub(super) type Told = BTreeSet<(Place, String, String)>;

/// Hands over what was counted since the last collection, and what the tiers hold now: nothing, where there was something
/// when this was `told` last.
pub(super) fn publish(delta: &Delta, usage: &[(Place, TierUsage)], told: &mut Told) {
    metrics::with_recorder(|recorder| {
        for (name, collected) in &delta.series {
            let (scope, kind) = names_of(name);
            let of =
                Labelled { recorder, labels: vec![Label::new("scope", scope), Label::new("kind", kind)] };
            of.counts(&collected.counts);
            of.distributions(collected);
        }
        let all = Labelled { recorder, labels: Vec::new() };
        for (form, counted) in SelectorForm::ALL.into_iter().zip(&delta.invalidations) {
            let of = all.and("form", form.as_str());
            of.count("larder_invalidations_total", counted.times.into());
            of.count("larder_invalidation_entries_total", counted.entries.into());
        }
        let mut now = Told::new();
        for (place, usage) in usage {
            let of = all.and("tier", place.as_str());
            now.extend(of.usage(usage).into_iter().map(|(scope, kind)| (*place, scope, kind)));
        }
        for (place, scope, kind) in told.difference(&now) {
            all.and("tier", place.as_str()).held(scope, kind, 0, 0);
        }
        *told = now;
    });
}

/// Metrics that share some labels.
struct Labelled<'a> {
    recorder: &'a dyn Recorder,
    labels: Vec<Label>,
}

impl Labelled<'_> {
    fn and(&self, label: &'static str, value: &'static str) -> Self {
        let mut labels = self.labels.clone();
        labels.push(Label::from_static_parts(label, value));
        Self { recorder: self.recorder, labels }
    }

    fn key(&self, name: &'static str) -> Key {
        Key::from_parts(name, self.labels.clone())
    }

    fn count(&self, name: &'static str, n: u128) {
        if n > 0 {
            let n = u64::try_from(n).unwrap_or(u64::MAX);
            self.recorder.register_counter(&self.key(name), &METADATA).increment(n);
        }
    }

    fn gauge(&self, name: &'static str, n: u64) {
        self.recorder.register_gauge(&self.key(name), &METADATA).set(n as f64);
    }

    fn distribution(&self, name: &'static str, distribution: &Distribution, unit: f64) {
        let histogram = self.recorder.register_histogram(&self.key(name), &METADATA);
        for (&bucket, &count) in &distribution.buckets {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            histogram.record_many(middle_of(bucket) as f64 / unit, count);
        }
    }

    fn counts(&self, counts: &Counts) {
        for (name, count) in OF_REQUESTS {
            self.count(name, counts[count]);
        }
        for end in Computed::ALL.into_iter().filter(|&end| counts[Count::computed(end)] > 0) {
            self.and("end", end.as_str()).count("larder_computations_total", counts[Count::computed(end)]);
        }
        for place in Place::ALL.into_iter().filter(|&place| counts.touch(place)) {
            let of = self.and("tier", place.as_str());
            for (name, count) in AT_PLACES {
                of.count(name, counts[count(place)]);
            }
            for cause in EvictionCause::ALL {
                let count = counts[Count::evicted(place, cause)];
                of.and("cause", cause.as_str()).count("larder_evictions_total", count);
            }
            for cause in RefusalCause::ALL {
                let count = counts[Count::refused(place, cause)];
                of.and("cause", cause.as_str()).count("larder_refusals_total", count);
            }
        }
    }

    fn distributions(&self, collected: &Collected) {
        let find = |measure: Measure| {
            collected.distributions.iter().find(|(number, _)| *number == measure.number()).map(|(_, d)| d)
        };
        for (name, measure) in TIMES_OF_REQUESTS {
            find(measure).into_iter().for_each(|times| self.distribution(name, times, 1e9));
        }
        for place in Place::ALL {
            let of = self.and("tier", place.as_str());
            for (name, measure) in TIMES_AT_PLACES {
                find(measure(place)).into_iter().for_each(|times| of.distribution(name, times, 1e9));
            }
            let sizes = find(Measure::size(place));
            sizes.into_iter().for_each(|sizes| of.distribution("larder_value_bytes", sizes, 1.0));
        }
    }

    /// What a tier holds. The label of the tier stands already. Returns of which scopes and kinds it holds something.
    fn usage(&self, usage: &TierUsage) -> Vec<(String, String)> {
        self.gauge("larder_tier_bytes", usage.bytes);
        self.gauge("larder_tier_entries", usage.entries);
        if let Some(budget) = usage.budget_bytes {
            self.gauge("larder_tier_budget_bytes", budget);
        }
        let mut series: Vec<_> = usage.series.iter().collect();
        series.sort_by_key(|&(_, _, bytes, _)| std::cmp::Reverse(*bytes));
        let (told, rest) = series.split_at(series.len().min(MAX_HELD));
        let mut named = Vec::with_capacity(told.len() + 1);
        for &(scope, kind, bytes, entries) in told {
            let (scope, kind) = (scope.to_string(), kind.to_string());
            self.held(&scope, &kind, *bytes, *entries);
            named.push((scope, kind));
        }
        if !rest.is_empty() {
            let sums =
                rest.iter().fold((0, 0), |sum, (_, _, bytes, entries)| (sum.0 + bytes, sum.1 + entries));
            let (scope, kind) = names_of(&None);
            self.held(&scope, &kind, sums.0, sums.1);
            named.push((scope, kind));
        }
        named
    }

    fn held(&self, scope: &str, kind: &str, bytes: u64, entries: u64) {
        let mut labels = vec![Label::new("scope", scope.to_owned()), Label::new("kind", kind.to_owned())];
        labels.extend_from_slice(&self.labels);
        let of = Self { recorder: self.recorder, labels };
        of.gauge("larder_held_bytes", bytes);
        of.gauge("larder_held_entries", entries);
    }
}
