//! Statistics as exporters get them: what was counted is handed on once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::key::{Key, KindName, Scope};
use larder::stats::{Computed, EvictionCause, Level, Place, RefusalCause, SelectorForm, Series, TierUsage};

use super::stats::{Lab, SECOND, key};

/// Keeps what is handed to the `metrics` facade, as text.
#[derive(Default)]
struct Exporter(Arc<Mutex<BTreeMap<String, f64>>>);

struct Metric(String, Arc<Mutex<BTreeMap<String, f64>>>);

impl Metric {
    fn update(&self, change: impl FnOnce(&mut f64)) {
        change(self.1.lock().unwrap().entry(self.0.clone()).or_default());
    }
}

impl Exporter {
    fn metric(&self, key: &metrics::Key) -> Arc<Metric> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Metric(format!("{}{{{}}}", key.name(), labels.join(",")), Arc::clone(&self.0)).into()
    }

    fn take(&self) -> Vec<String> {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        all.into_iter().map(|(name, value)| format!("{name} {value}")).collect()
    }
}

impl metrics::CounterFn for Metric {
    fn increment(&self, n: u64) {
        self.update(|value| *value += n as f64);
    }

    fn absolute(&self, n: u64) {
        self.update(|value| *value = value.max(n as f64));
    }
}

impl metrics::GaugeFn for Metric {
    fn increment(&self, n: f64) {
        self.update(|value| *value += n);
    }

    fn decrement(&self, n: f64) {
        self.update(|value| *value -= n);
    }

    fn set(&self, n: f64) {
        self.update(|value| *value = n);
    }
}

/// Shows the sum of what was recorded.
impl metrics::HistogramFn for Metric {
    fn record(&self, n: f64) {
        self.update(|value| *value += n);
    }
}

impl metrics::Recorder for Exporter {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}

    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        metrics::Counter::from_arc(self.metric(key))
    }

    fn register_gauge(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::from_arc(self.metric(key))
    }

    fn register_histogram(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::from_arc(self.metric(key))
    }
}

#[test]
fn a_tick_hands_each_event_once_to_the_exporter() {
    let lab = Lab::at(Level::Full);
    let exporter = Exporter::default();
    let check = |cause: &dyn Fn(&Series, &Key), expected: &[&str]| {
        let key = key("a/k@1/x");
        cause(&lab.series(&key), &key);
        metrics::with_local_recorder(&exporter, || lab.stats.tick());
        let expected: Vec<_> = expected.iter().map(|line| line.replace('<', "{scope=a,kind=k@1")).collect();
        assert_eq!(exporter.take(), expected);
        metrics::with_local_recorder(&exporter, || lab.stats.report());
        assert_eq!(exporter.take(), [""; 0]);
    };
    check(
        &|series, key| series.hit(Place::Disk, key, 3 * SECOND, Some(Duration::from_nanos(15))),
        &[
            "larder_asking_nanoseconds_total<} 15",
            "larder_hit_seconds<,tier=disk} 0.000000015",
            "larder_hits_total<,tier=disk} 1",
            "larder_spared_nanoseconds_total<} 3000000000",
        ],
    );
    check(&|series, key| series.stale(Place::Memory, key, None), &["larder_stale_total<,tier=memory} 1"]);
    check(&|series, key| series.miss(key, None), &["larder_misses_total<} 1"]);
    check(&|series, key| series.waited(key, Duration::ZERO, None), &["larder_waited_total<} 1"]);
    check(
        &|series, _| series.computed(Computed::Finished, Duration::from_nanos(7)),
        &[
            "larder_computations_total<,end=finished} 1",
            "larder_compute_seconds<} 0.000000007",
            "larder_computing_nanoseconds_total<} 7",
        ],
    );
    check(
        &|series, _| series.lookup(Place::Shared, true, None),
        &["larder_found_total<,tier=shared} 1", "larder_lookups_total<,tier=shared} 1"],
    );
    check(
        &|series, _| series.put(Place::Disk, 9, 5, None),
        &[
            "larder_put_encoded_bytes_total<,tier=disk} 9",
            "larder_put_stored_bytes_total<,tier=disk} 5",
            "larder_puts_total<,tier=disk} 1",
            "larder_value_bytes<,tier=disk} 9",
        ],
    );
    check(
        &|series, _| series.evicted(Place::Disk, EvictionCause::Quota, 5),
        &["larder_evicted_bytes_total<,tier=disk} 5", "larder_evictions_total<,tier=disk,cause=quota} 1"],
    );
    check(
        &|series, _| series.refused(Place::Disk, RefusalCause::Revoked),
        &["larder_refusals_total<,tier=disk,cause=revoked} 1"],
    );
    check(&|series, _| series.corrupt(Place::Disk), &["larder_corrupt_total<,tier=disk} 1"]);
    check(&|series, _| series.failed(Place::Disk), &["larder_failures_total<,tier=disk} 1"]);
    check(&|series, _| series.dropped(Place::Disk), &["larder_dropped_total<,tier=disk} 1"]);
    check(&|series, _| series.invalidated(3), &["larder_invalidated_total<} 3"]);
    check(
        &|_, _| lab.stats.invalidated(SelectorForm::Glob, 3),
        &["larder_invalidation_entries_total{form=glob} 3", "larder_invalidations_total{form=glob} 1"],
    );
}

#[test]
fn a_tick_tells_the_exporter_what_the_tiers_hold() {
    let lab = Lab::at(Level::Full);
    let exporter = Exporter::default();
    let (scope, kind) = (Scope::new("a").unwrap(), KindName::new("k", 1).unwrap());
    let usage =
        TierUsage { bytes: 10, entries: 2, budget_bytes: Some(99), series: vec![(scope, kind, 7, 1)] };
    let emptied = TierUsage::default();
    lab.stats.probe(Place::Disk, move || Some(usage.clone()));
    metrics::with_local_recorder(&exporter, || lab.stats.tick());
    assert_eq!(
        exporter.take(),
        [
            "larder_held_bytes{scope=a,kind=k@1,tier=disk} 7",
            "larder_held_entries{scope=a,kind=k@1,tier=disk} 1",
            "larder_tier_budget_bytes{tier=disk} 99",
            "larder_tier_bytes{tier=disk} 10",
            "larder_tier_entries{tier=disk} 2",
        ]
    );
    lab.stats.probe(Place::Disk, move || Some(emptied.clone()));
    for gone in [
        &[
            "larder_held_bytes{scope=a,kind=k@1,tier=disk} 0",
            "larder_held_entries{scope=a,kind=k@1,tier=disk} 0",
        ][..],
        &[],
    ] {
        metrics::with_local_recorder(&exporter, || lab.stats.tick());
        let told = exporter.take();
        let held: Vec<_> = told.iter().filter(|line| line.starts_with("larder_held")).collect();
        assert_eq!(held, gone);
    }
}

#[test]
fn of_what_a_tier_holds_the_largest_parts_are_told_apart_and_the_rest_together() {
    let lab = Lab::at(Level::Full);
    let exporter = Exporter::default();
    let kind = KindName::new("k", 1).unwrap();
    let part = |nth: u64| (Scope::new(&format!("s{nth}")).unwrap(), kind.clone(), nth, 1);
    let usage = TierUsage { series: (1..=300).map(part).collect(), ..TierUsage::default() };
    lab.stats.probe(Place::Disk, move || Some(usage.clone()));
    metrics::with_local_recorder(&exporter, || lab.stats.tick());
    let told = exporter.take();
    let held: Vec<_> = told.iter().filter(|line| line.starts_with("larder_held_bytes")).collect();
    assert_eq!(held.len(), 257);
    assert!(held.iter().any(|line| line.contains("{scope=s45,kind=k@1,")), "{held:?}");
    let rest: u64 = (1..=44).sum();
    let other = format!("larder_held_bytes{{scope=(other),kind=(other),tier=disk}} {rest}");
    assert!(told.contains(&other), "{held:?}");
}
