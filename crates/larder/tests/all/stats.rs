//! Statistics from outside: each number of the report is caused, and everything else stays as it was.

use std::time::Duration;

use larder::clock::{Clock, Timestamp};
use larder::config::{Machine, Settings};
use larder::engine::{Computed as Made, KindOptions, Larder};
use larder::key::{Key, KindName, Scope};
use larder::stats::{
    Computed, EvictionCause, Figures, Level, Place, RefusalCause, Report, Resolution, SelectorForm, Series,
    Sizes, Snapshot, Stats, StatsOptions, TierFigures, TierUsage, decode, encode, merge_into,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
const START: Timestamp = Timestamp::from_millis(20_834 * 86_400_000);

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

pub(crate) struct Lab {
    clock: Clock,
    pub(crate) stats: Stats,
}

impl Lab {
    pub(crate) fn at(level: Level) -> Self {
        Self::with(StatsOptions { level, ..StatsOptions::default() })
    }

    fn with(options: StatsOptions) -> Self {
        let clock = Clock::manual(START);
        Self { stats: Stats::new(options, clock.clone()), clock }
    }

    pub(crate) fn series(&self, key: &Key) -> std::sync::Arc<Series> {
        self.stats.series(key.scope(), key.kind())
    }

    /// As the engine does it: the one memory hit in many that is to be timed takes 1 µs.
    fn memory_hit(&self, key: &Key, cost: Duration) {
        let series = self.series(key);
        let request = series.begin();
        if request.is_sampled() {
            self.clock.advance(Duration::from_micros(1));
        }
        request.hit(key, cost);
    }
}

/// Everything of a report that is not about when.
fn numbers(report: &Report) -> serde_json::Value {
    let mut value = serde_json::to_value(report).unwrap();
    for time in ["at", "since", "history"] {
        value.as_object_mut().unwrap().remove(time);
    }
    value
}

/// Does `cause` at a series that was touched before, and checks that in the figures, next to `expected`, nothing
/// changed.
fn check(cause: impl Fn(&Series, &Key), expect: impl Fn(&mut Figures)) {
    let key = key("a/k@1/x");
    let lab = Lab::at(Level::Full);
    lab.series(&key).invalidated(1);
    for place in Place::ALL {
        lab.series(&key).evicted(place, EvictionCause::Quota, 1);
    }
    let mut expected = lab.stats.report().total.unwrap();
    expect(&mut expected);
    cause(&lab.series(&key), &key);
    let report = lab.stats.report();
    assert_eq!(report.total.as_ref(), Some(&expected));
    assert_eq!(
        (&report.scopes["a"], &report.kinds["k@1"], &report.series[0].figures),
        (&expected, &expected, &expected)
    );
}

fn tier(figures: &mut Figures, place: Place) -> &mut TierFigures {
    figures.tiers.get_mut(&place).unwrap()
}

#[test]
fn a_hit_counts_where_it_was_kept_and_saves_its_cost() {
    check(
        |series, key| series.hit(Place::Memory, key, 3 * SECOND, None),
        |figures| {
            (figures.requests, figures.hits, figures.hit_rate) = (1, 1, Some(1.0));
            figures.saved_seconds = Some(3.0);
            let memory = tier(figures, Place::Memory);
            (memory.hits, memory.lookups, memory.found, memory.hit_rate) = (1, 1, 1, Some(1.0));
        },
    );
}

#[test]
fn a_hit_on_disk_also_counts_what_asking_took() {
    check(
        |series, key| series.hit(Place::Disk, key, 3 * SECOND, Some(SECOND)),
        |figures| {
            (figures.requests, figures.hits, figures.hit_rate) = (1, 1, Some(1.0));
            (figures.saved_seconds, figures.asking_seconds) = (Some(2.0), 1.0);
            let memory = tier(figures, Place::Memory);
            (memory.lookups, memory.hit_rate) = (1, Some(0.0));
            let latency = latency(1, 1.0);
            figures.hit_latency = latency.clone();
            let disk = tier(figures, Place::Disk);
            (disk.hits, disk.hit_latency) = (1, latency);
        },
    );
}

fn latency(samples: u64, seconds: f64) -> Option<larder::stats::Latency> {
    Some(larder::stats::Latency {
        samples,
        mean_seconds: seconds,
        p50_seconds: seconds,
        p90_seconds: seconds,
        p99_seconds: seconds,
        max_seconds: seconds,
    })
}

#[test]
fn a_stale_answer_saves_nothing() {
    check(
        |series, key| series.stale(Place::Memory, key, Some(SECOND)),
        |figures| {
            (figures.requests, figures.stale, figures.hit_rate) = (1, 1, Some(1.0));
            (figures.saved_seconds, figures.asking_seconds) = (Some(-1.0), 1.0);
            figures.hit_latency = latency(1, 1.0);
            let memory = tier(figures, Place::Memory);
            (memory.stale, memory.lookups, memory.found, memory.hit_rate) = (1, 1, 1, Some(1.0));
            memory.hit_latency = latency(1, 1.0);
        },
    );
}

#[test]
fn a_miss_costs_what_asking_took() {
    check(
        |series, key| series.miss(key, Some(2 * SECOND)),
        |figures| {
            (figures.requests, figures.misses, figures.hit_rate) = (1, 1, Some(0.0));
            (figures.saved_seconds, figures.asking_seconds) = (Some(-2.0), 2.0);
            figures.miss_latency = latency(1, 2.0);
            let memory = tier(figures, Place::Memory);
            (memory.lookups, memory.hit_rate) = (1, Some(0.0));
        },
    );
}

#[test]
fn who_waits_for_another_saves_the_difference_and_is_no_hit() {
    check(
        |series, key| series.waited(key, 5 * SECOND, Some(2 * SECOND)),
        |figures| {
            (figures.requests, figures.waited, figures.hit_rate) = (1, 1, Some(0.0));
            (figures.saved_seconds, figures.asking_seconds) = (Some(3.0), 2.0);
            figures.wait_latency = latency(1, 2.0);
            let memory = tier(figures, Place::Memory);
            (memory.lookups, memory.hit_rate) = (1, Some(0.0));
        },
    );
}

#[test]
fn computations_count_by_how_they_end_and_only_finished_ones_enter_the_latencies() {
    for end in Computed::ALL {
        check(
            |series, _| series.computed(end, 2 * SECOND),
            |figures| {
                figures.computations.insert(end, 1);
                figures.computing_seconds = 2.0;
                figures.compute_latency = (end == Computed::Finished).then(|| latency(1, 2.0)).flatten();
            },
        );
    }
}

#[test]
fn a_lookup_counts_whether_the_tier_had_the_entry() {
    for (place, found) in [(Place::Disk, true), (Place::Disk, false), (Place::Shared, true)] {
        check(
            |series, _| series.lookup(place, found, Some(SECOND)),
            |figures| {
                let tier = tier(figures, place);
                (tier.lookups, tier.found, tier.hit_rate) = (1, found.into(), Some(0.0));
                tier.lookup_latency = latency(1, 1.0);
            },
        );
    }
}

#[test]
fn a_put_counts_bytes_before_and_after_compression() {
    let sizes =
        Sizes { samples: 1, mean_bytes: 10.0, p50_bytes: 10, p90_bytes: 10, p99_bytes: 10, max_bytes: 10 };
    for place in [Place::Disk, Place::Shared] {
        check(
            |series, _| series.put(place, 10, 7, Some(SECOND)),
            |figures| {
                let tier = tier(figures, place);
                (tier.puts, tier.encoded_bytes, tier.stored_bytes) = (1, 10, 7);
                (tier.put_latency, tier.sizes) = (latency(1, 1.0), Some(sizes.clone()));
            },
        );
    }
}

#[test]
fn sizes_of_puts_into_memory_are_sampled() {
    let lab = Lab::at(Level::Full);
    for _ in 0..3_200 {
        lab.series(&key("a/k@1/x")).put(Place::Memory, 10, 10, None);
    }
    let memory = &lab.stats.report().total.unwrap().tiers[&Place::Memory];
    let sizes = memory.sizes.clone().unwrap();
    assert_eq!((memory.puts, memory.encoded_bytes, sizes.p50_bytes), (3_200, 32_000, 10));
    assert!((100..300).contains(&sizes.samples), "{} of 3,200 where 1 in 16 is measured", sizes.samples);
}

#[test]
fn evictions_count_by_tier_and_cause_and_some_are_expirations() {
    for place in Place::ALL {
        for cause in EvictionCause::ALL {
            check(
                |series, _| series.evicted(place, cause, 9),
                |figures| {
                    let tier = tier(figures, place);
                    *tier.evictions.entry(cause).or_default() += 1;
                    tier.evicted_bytes += 9;
                    tier.expirations = matches!(cause, EvictionCause::Expired | EvictionCause::Idle).into();
                },
            );
        }
    }
}

#[test]
fn refusals_count_by_tier_and_cause() {
    for place in Place::ALL {
        for cause in RefusalCause::ALL {
            check(
                |series, _| series.refused(place, cause),
                |figures| tier(figures, place).refusals = [(cause, 1)].into(),
            );
        }
    }
}

#[test]
fn bad_bytes_failures_and_dropped_writes_count_by_tier() {
    for place in Place::ALL {
        check(|series, _| series.corrupt(place), |figures| tier(figures, place).corrupt = 1);
        check(|series, _| series.failed(place), |figures| tier(figures, place).failures = 1);
        check(|series, _| series.dropped(place), |figures| tier(figures, place).dropped = 1);
    }
    check(|series, _| series.invalidated(4), |figures| figures.invalidated += 4);
}

#[test]
fn invalidations_count_by_form() {
    let lab = Lab::at(Level::Counters);
    lab.stats.invalidated(SelectorForm::Tag, 3);
    lab.stats.invalidated(SelectorForm::Tag, 0);
    lab.stats.invalidated(SelectorForm::All, 7);
    let report = lab.stats.report();
    let forms: Vec<_> = report.invalidations.iter().map(|(f, i)| (*f, i.times, i.entries)).collect();
    assert_eq!(forms, [(SelectorForm::Tag, 2, 3), (SelectorForm::All, 1, 7)]);
}

#[test]
fn what_was_not_measured_is_absent() {
    let lab = Lab::at(Level::Full);
    let report = lab.stats.report();
    assert_eq!((report.total, report.since, report.series.len()), (None, None, 0));
    lab.series(&key("a/k@1/x")).put(Place::Disk, 5, 5, None);
    let total = lab.stats.report().total.unwrap();
    assert_eq!((total.hit_rate, total.saved_seconds, total.hit_latency), (None, None, None));
    assert_eq!(total.tiers.keys().collect::<Vec<_>>(), [&Place::Disk]);
    let disk = &total.tiers[&Place::Disk];
    assert_eq!((disk.hit_rate, disk.bytes, disk.entries, &disk.put_latency), (None, None, None, &None));
}

#[test]
fn what_a_tier_holds_is_asked_of_the_tier_and_absent_once_it_is_gone() {
    let lab = Lab::at(Level::Full);
    let (scope, kind) = (Scope::new("a").unwrap(), KindName::new("k", 1).unwrap());
    lab.stats.series(&scope, &kind).invalidated(1);
    let usage =
        TierUsage { bytes: 10, entries: 2, budget_bytes: Some(99), series: vec![(scope, kind, 7, 1)] };
    let tier = std::sync::Arc::new(usage);
    let weak = std::sync::Arc::downgrade(&tier);
    lab.stats.probe(Place::Memory, move || weak.upgrade().map(|usage| (*usage).clone()));
    let report = lab.stats.report();
    let whole = &report.total.unwrap().tiers[&Place::Memory];
    assert_eq!((whole.bytes, whole.entries, whole.budget_bytes), (Some(10), Some(2), Some(99)));
    let part = &report.series[0].figures.tiers[&Place::Memory];
    assert_eq!((part.bytes, part.entries, part.budget_bytes), (Some(7), Some(1), None));
    drop(tier);
    assert!(lab.stats.report().total.unwrap().tiers.is_empty());
    lab.stats.probe(Place::Memory, || Some(TierUsage { bytes: 3, ..TierUsage::default() }));
    assert_eq!(
        lab.stats.report().total.unwrap().tiers[&Place::Memory].bytes,
        Some(3),
        "the last probe counts"
    );
}

#[test]
fn off_counts_nothing_and_counters_time_nothing() {
    let everything = |lab: &Lab| {
        let key = key("a/k@1/x");
        for _ in 0..5_000 {
            lab.memory_hit(&key, SECOND);
        }
        let series = lab.series(&key);
        series.miss(&key, Some(SECOND));
        series.stale(Place::Disk, &key, Some(SECOND));
        series.waited(&key, SECOND, Some(SECOND));
        series.computed(Computed::Finished, SECOND);
        series.lookup(Place::Disk, true, Some(SECOND));
        series.put(Place::Disk, 1, 1, Some(SECOND));
        series.evicted(Place::Disk, EvictionCause::Idle, 1);
        series.refused(Place::Disk, RefusalCause::Revoked);
        series.corrupt(Place::Disk);
        lab.stats.invalidated(SelectorForm::Key, 1);
    };
    let off = Lab::at(Level::Off);
    everything(&off);
    assert!((0..5_000).all(|_| !off.series(&key("a/k@1/x")).begin().is_sampled()));
    assert!(!off.series(&key("a/k@1/x")).timed());
    let report = off.stats.report();
    assert_eq!((&report.total, report.hot_keys.requests, report.memory_hits_sampled), (&None, 0, None));
    assert!(report.invalidations.is_empty() && off.stats.take_unsaved().is_none());

    let counters = Lab::at(Level::Counters);
    everything(&counters);
    let report = counters.stats.report();
    let total = report.total.unwrap();
    assert_eq!(
        (total.requests, total.hits, total.misses, total.stale, total.waited),
        (5_003, 5_000, 1, 1, 1)
    );
    assert_eq!((total.hit_latency, total.miss_latency, total.compute_latency), (None, None, None));
    assert_eq!((&total.tiers[&Place::Disk].sizes, report.hot_keys.requests), (&None, 0));
    assert_eq!(report.history[&Resolution::Second].len(), 1);
}

#[test]
fn sampled_measures_few_and_counts_all() {
    let lab = Lab::at(Level::Sampled);
    let key = key("a/k@1/x");
    for _ in 0..10_000 {
        lab.series(&key).miss(&key, Some(SECOND));
    }
    let total = lab.stats.report().total.unwrap();
    assert_eq!((total.misses, total.asking_seconds), (10_000, 10_000.0));
    let samples = total.miss_latency.unwrap().samples;
    assert!((400..900).contains(&samples), "{samples} of 10,000 where 1 in 16 is measured");
}

#[test]
fn what_asking_memory_took_is_extrapolated_from_the_hits_that_were_timed() {
    let lab = Lab::at(Level::Full);
    for _ in 0..1_000_000 {
        lab.memory_hit(&key("a/k@1/x"), Duration::from_micros(3));
    }
    let total = lab.stats.report().total.unwrap();
    assert_eq!(total.hits, 1_000_000);
    assert!((0.8..1.2).contains(&total.asking_seconds), "{} of a million µs", total.asking_seconds);
    assert!((1.8..2.2).contains(&total.saved_seconds.unwrap()));
    let latency = total.hit_latency.unwrap();
    assert!(latency.samples < 10_000 && (9.6e-7..1.04e-6).contains(&latency.p50_seconds));
}

#[test]
fn a_memory_hit_that_was_timed_for_another_reason_stands_for_no_others() {
    let lab = Lab::at(Level::Full);
    let key = key("a/k@1/x");
    for _ in 0..20_000 {
        lab.series(&key).begin();
        lab.series(&key).hit(Place::Memory, &key, SECOND, Some(SECOND));
    }
    let samples = lab.stats.report().total.unwrap().hit_latency.unwrap().samples;
    assert!((10..100).contains(&samples), "{samples} of 20,000 where 1 in 512 is to be");
}

#[test]
fn requests_that_overlap_are_sampled_no_more_than_others() {
    let lab = Lab::at(Level::Full);
    let (key, series) = (key("a/k@1/x"), lab.series(&key("a/k@1/x")));
    for _ in 0..250_000 {
        let (one, other) = (series.begin(), series.begin());
        one.hit(&key, SECOND);
        other.hit(&key, SECOND);
    }
    let total = lab.stats.report().total.unwrap();
    let samples = total.hit_latency.unwrap().samples;
    assert_eq!(total.hits, 500_000);
    assert!(samples.abs_diff(977) < 200, "{samples} of 500,000 where 1 in 512 is to be");
}

#[test]
fn series_of_two_levels_on_one_thread_are_both_estimated_right() {
    // With the error that six standard deviations are.
    let labs = [(Lab::at(Level::Full), 700_000u64, 0.16), (Lab::at(Level::Sampled), 300_000, 0.7)];
    let key = key("a/k@1/x");
    for n in 0..1_000_000 {
        labs[usize::from(n % 10 < 3)].0.memory_hit(&key, SECOND);
    }
    for (lab, truth, error) in labs {
        let estimate = lab.stats.report().hot_keys.requests;
        assert!((estimate as f64 / truth as f64 - 1.0).abs() < error, "{estimate} for {truth}");
    }
}

#[test]
fn more_threads_than_have_counters_of_their_own_are_counted_and_sampled_alike() {
    const THREADS: usize = 100;
    let lab = Lab::at(Level::Full);
    let (key, series) = (key("a/k@1/x"), lab.series(&key("a/k@1/x")));
    let all_alive = std::sync::Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                all_alive.wait();
                (0..10_000).for_each(|_| series.begin().hit(&key, SECOND));
                (0..1_600).for_each(|_| series.put(Place::Memory, 10, 10, None));
                all_alive.wait();
            });
        }
    });
    let total = lab.stats.report().total.unwrap();
    let (hits, memory) = (total.hit_latency.unwrap().samples, &total.tiers[&Place::Memory]);
    assert_eq!((total.hits, memory.puts, memory.encoded_bytes), (1_000_000, 160_000, 1_600_000));
    assert!(hits.abs_diff(1_953) < 300, "{hits} of 1,000,000 where 1 in 512 is to be");
    let sizes = memory.sizes.as_ref().unwrap().samples;
    assert!(sizes.abs_diff(10_000) < 800, "{sizes} of 160,000 where 1 in 16 is to be");
}

#[test]
fn hot_keys_are_found_within_their_stated_error_though_few_hits_are_sampled() {
    let lab = Lab::at(Level::Full);
    let keys: Vec<Key> = (0..1_000).map(|n| key(&format!("a/k@1/{n}"))).collect();
    // A loop whose length divides the sampling's stride: sampling in step would only ever see some of it.
    for _ in 0..10_000 {
        for n in 0..64 {
            lab.memory_hit(&keys[if n < 32 { 7 } else { n }], millis(1));
        }
    }
    let hot = lab.stats.report().hot_keys;
    let first = &hot.keys[0];
    assert_eq!(first.key, "a/k@1/7");
    assert!((0.4..0.6).contains(&first.share), "share {}", first.share);
    assert!((512_000..768_000).contains(&hot.requests), "{} requests of 640,000", hot.requests);
    assert!(hot.keys.len() == 33 && hot.unlisted_at_most == 0 && first.error == 0);
}

#[test]
fn beyond_the_limit_series_are_counted_together() {
    let lab = Lab::with(StatsOptions { max_series: 2, ..StatsOptions::default() });
    for scope in ["a", "b", "c", "d"] {
        let key = key(&format!("{scope}/k@1/x"));
        lab.series(&key).miss(&key, None);
    }
    let report = lab.stats.report();
    let series: Vec<_> =
        report.series.iter().map(|s| (s.scope.as_str(), s.kind.as_str(), s.figures.misses)).collect();
    assert_eq!(series, [("(other)", "(other)", 2), ("a", "k@1", 1), ("b", "k@1", 1)]);
    assert_eq!(report.total.unwrap().misses, 4);
    assert_eq!(report.kinds["k@1"].misses, 2);

    let stored = lab.stats.take_unsaved().unwrap();
    let later = Lab::with(StatsOptions { max_series: 1, ..StatsOptions::default() });
    later.stats.loaded(stored);
    let report = later.stats.report();
    assert_eq!((report.series.len(), report.total.unwrap().misses), (2, 4));
}

/// Stands for what the disk tier does in one transaction.
fn save(lab: &Lab, stored: &mut Option<Vec<u8>>) {
    if let Some(unsaved) = lab.stats.take_unsaved() {
        let now = lab.clock.wall();
        let all = merge_into(stored.as_deref(), &unsaved, lab.stats.options(), now).unwrap();
        *stored = Some(encode(&all));
        lab.stats.added();
        lab.stats.loaded(all);
    }
}

#[test]
fn several_processes_and_successive_runs_add_up() {
    let mut stored = None;
    let (one, other) = (Lab::at(Level::Full), Lab::at(Level::Full));
    let act = |lab: &Lab, n: u64| {
        let key = key(&format!("a/k@1/{n}"));
        lab.series(&key).hit(Place::Disk, &key, millis(n), Some(millis(1)));
        lab.stats.invalidated(SelectorForm::Key, n);
    };
    act(&one, 10);
    act(&other, 20);
    save(&one, &mut stored);
    save(&other, &mut stored);
    act(&one, 30);
    save(&one, &mut stored);
    save(&one, &mut stored);
    let later = Lab::at(Level::Full);
    later.stats.loaded(decode(stored.as_ref().unwrap()).unwrap());
    let alone = Lab::at(Level::Full);
    [10, 20, 30].into_iter().for_each(|n| act(&alone, n));
    assert_eq!(numbers(&later.stats.report()), numbers(&alone.stats.report()));
    assert_eq!(later.stats.report().history, alone.stats.report().history);
    assert!(later.stats.take_unsaved().is_none(), "what was read is not written again");
    act(&later, 40);
    assert_eq!(later.stats.report().total.unwrap().hits, 4);
}

#[test]
fn what_could_not_be_stored_is_reported_meanwhile_and_stored_the_next_time() {
    let lab = Lab::at(Level::Full);
    let key = key("a/k@1/x");
    let misses = |snapshot: &Snapshot| {
        let report = Report::new(snapshot, &StatsOptions::default(), &[], START);
        report.total.unwrap().misses
    };
    lab.series(&key).miss(&key, None);
    let taken = lab.stats.take_unsaved().unwrap();
    lab.series(&key).miss(&key, None);
    assert_eq!(lab.stats.report().total.unwrap().misses, 2);
    assert_eq!(lab.stats.take_unsaved(), None, "one is on its way");
    lab.stats.loaded(taken.clone());
    assert_eq!(lab.stats.report().total.unwrap().misses, 2, "reading meanwhile counts nothing twice");
    lab.stats.give_back(&taken);
    assert_eq!((misses(&taken), lab.stats.report().total.unwrap().misses), (1, 2));
    assert_eq!(misses(&lab.stats.take_unsaved().unwrap()), 2);
}

#[test]
fn each_tick_files_what_happened_under_its_time_also_when_the_clock_steps() {
    let lab = Lab::at(Level::Full);
    let key = key("a/k@1/x");
    let miss_then_tick = || {
        lab.series(&key).miss(&key, None);
        lab.stats.tick();
    };
    miss_then_tick();
    lab.clock.advance(SECOND);
    miss_then_tick();
    lab.clock.step_wall(START);
    miss_then_tick();
    lab.clock.step_wall(START.plus(2 * SECOND));
    miss_then_tick();
    lab.stats.tick();
    let history = lab.stats.report().history;
    let seconds: Vec<_> = history[&Resolution::Second]
        .iter()
        .map(|point| (point.start.since(START).as_secs(), point.misses, point.hit_rate))
        .collect();
    assert_eq!(seconds, [(0, 2, Some(0.0)), (1, 1, Some(0.0)), (2, 1, Some(0.0))]);
    assert_eq!(history[&Resolution::Day].iter().map(|point| point.requests).collect::<Vec<_>>(), [4]);
}

#[test]
fn time_saved_outgrows_64_bits_of_nanoseconds() {
    let lab = Lab::at(Level::Counters);
    let century = Duration::from_secs(100 * 365 * 86_400);
    for _ in 0..10 {
        for _ in 0..5 {
            lab.series(&key("a/k@1/x")).hit(Place::Memory, &key("a/k@1/x"), century, None);
        }
        lab.stats.tick();
    }
    let saved = lab.stats.report().total.unwrap().saved_seconds.unwrap();
    assert!((saved / century.as_secs_f64() - 50.0).abs() < 1e-6);
}

/// Asks for some words in one process after another, and returns what the next one reports of them all.
async fn report_of_runs(dir: &std::path::Path, runs: &[&[&str]]) -> Report {
    let open = || {
        let settings = Settings::new(dir.to_owned());
        Larder::open(&settings, &Machine::probe(std::path::Path::new("/")), Clock::manual(START), "ann@box")
    };
    for ids in runs {
        let opened = open();
        let scope = Scope::new("a").unwrap();
        let words = opened.larder.kind::<String>(&scope, "word", 1, KindOptions::default()).unwrap();
        for id in *ids {
            let compute = || async { Ok::<_, std::io::Error>(Made::new("word".to_owned())) };
            words.get_or_compute(&words.key(id).unwrap(), compute).await.unwrap();
        }
        opened.close().await;
    }
    open().report().unwrap()
}

#[tokio::test]
async fn the_engine_counts_each_request_once_and_successive_runs_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let report = report_of_runs(dir.path(), &[&["x", "y", "x", "x"], &["x"], &["z", "z"]]).await;
    let total = report.total.unwrap();
    assert_eq!((total.requests, total.hits, total.misses), (7, 4, 3));
    assert_eq!(total.computations, [(Computed::Finished, 3)].into());
    let tiers = |figure: fn(&TierFigures) -> u64| Place::ALL.map(|place| total.tiers.get(&place).map(figure));
    assert_eq!(tiers(|tier| tier.hits), [Some(3), Some(1), None]);
    assert_eq!(tiers(|tier| tier.puts), [Some(4), Some(3), None], "what disk has goes to memory too");
    assert_eq!(tiers(|tier| tier.lookups), [Some(7), Some(4), None]);
    assert_eq!(tiers(|tier| tier.found), [Some(3), Some(1), None]);
    assert_eq!(total.tiers[&Place::Disk].entries, Some(3));
}

#[tokio::test]
async fn damaged_statistics_on_disk_are_begun_anew_and_those_of_another_format_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut newer = encode(&Snapshot::default());
    newer[4] = 9;
    for (bytes, requests) in [(b"nonsense".to_vec(), Some(1)), (newer, None)] {
        report_of_runs(dir.path(), &[&["x"]]).await;
        let settings = Settings::new(dir.path().to_owned());
        let machine = Machine::probe(std::path::Path::new("/"));
        let disk = Larder::open(&settings, &machine, Clock::manual(START), "").disk.unwrap();
        assert_eq!(disk.meta_with_notes("stats", "all").unwrap().notes.len(), 1);
        disk.fold_notes("stats", "all", |_, _| Some(bytes.clone())).unwrap();
        // So many notes that the next process folds them.
        disk.add_note("stats", "all", &vec![0; 100_000]).unwrap();
        let report = report_of_runs(dir.path(), &[&["x"]]).await;
        assert_eq!(report.total.filter(|total| total.requests > 0).map(|total| total.requests), requests);
        assert_eq!(disk.meta("stats", "all").unwrap() == Some(bytes), requests.is_none());
    }
}
