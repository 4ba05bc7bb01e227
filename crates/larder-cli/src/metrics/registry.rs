//! The registry: each series as it stands now.
//!
//! The facade counts in whole numbers, so what is measured in nanoseconds comes as such. Series go by base units, and
//! those become seconds here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;

/// How many series one metric may have; what comes on top is not counted, and that is.
const MAX_SERIES: usize = 8192;

/// Upper bounds of times, in seconds.
const SECONDS: [f64; 22] = [
    1e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0, 60.0, 600.0,
];

/// Upper bounds of sizes: 64 bytes to 16 GiB.
const BYTES: [f64; 15] = [
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
    17_179_869_184.0,
];

/// What counts that a metric has too many series.
const LEFT_OUT: &str = "larder_series_left_out_total";

const NANOSECONDS: &str = "_nanoseconds_total";

/// All metrics. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    metrics: BTreeMap<String, Metric>,
    helps: BTreeMap<String, String>,
    left_out: u64,
}

#[derive(Debug)]
struct Metric {
    kind: Kind,
    series: BTreeMap<Labels, Cell>,
}

/// What sort of metric one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Names and values, by name.
pub(crate) type Labels = Vec<(String, String)>;

#[derive(Debug, Clone)]
enum Cell {
    /// A counter, or the bits of a gauge.
    Number(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

/// How often something was at most some bound and more than the one before, and the sum of those.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    /// One more than there are bounds.
    counted: Mutex<Vec<Bucket>>,
}

impl HistogramFn for Buckets {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        let at = self.bounds.partition_point(|&bound| bound < value);
        let bucket = &mut self.counted.lock()[at];
        bucket.count += count as u64;
        bucket.sum += value * count as f64;
    }
}

/// A metric as it stood.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) kind: Kind,
    pub(crate) series: Vec<(Labels, Value)>,
}

/// The value of one series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Histogram { bounds: &'static [f64], buckets: Vec<Bucket> },
}

impl Registry {
    /// All that there is now, by name.
    pub(crate) fn families(&self) -> Vec<Family> {
        let state = self.0.lock();
        let mut families: Vec<Family> =
            state.metrics.iter().map(|(name, metric)| state.family(name, metric)).collect();
        if state.left_out > 0 {
            families.push(Family {
                name: LEFT_OUT.to_owned(),
                help: "Series that are not here, as their metric has too many.".to_owned(),
                kind: Kind::Counter,
                series: vec![(Labels::new(), Value::Number(state.left_out as f64))],
            });
        }
        families
    }

    fn describe(&self, name: &KeyName, help: &SharedString) {
        self.0.lock().helps.insert(name.as_str().to_owned(), help.to_string());
    }

    /// The series with this name and these labels; `None` if there are too many.
    fn cell(&self, key: &Key, kind: Kind) -> Option<Cell> {
        let mut labels: Labels =
            key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
        labels.sort();
        let mut state = self.0.lock();
        let State { metrics, left_out, .. } = &mut *state;
        if !metrics.contains_key(key.name()) {
            metrics.insert(key.name().to_owned(), Metric { kind, series: BTreeMap::new() });
        }
        let metric = metrics.get_mut(key.name()).filter(|metric| metric.kind == kind)?;
        if let Some(cell) = metric.series.get(&labels) {
            return Some(cell.clone());
        }
        if metric.series.len() >= MAX_SERIES {
            *left_out += 1;
            return None;
        }
        let cell = match kind {
            Kind::Counter | Kind::Gauge => Cell::Number(Arc::default()),
            Kind::Histogram => {
                let bounds: &[f64] = if key.name().ends_with("_bytes") { &BYTES } else { &SECONDS };
                let counted = Mutex::new(vec![Bucket::default(); bounds.len() + 1]);
                Cell::Histogram(Arc::new(Buckets { bounds, counted }))
            }
        };
        metric.series.insert(labels, cell.clone());
        Some(cell)
    }
}

impl State {
    fn family(&self, name: &str, metric: &Metric) -> Family {
        let (shown, unit) = match name.strip_suffix(NANOSECONDS) {
            Some(stem) => (format!("{stem}_seconds_total"), 1e-9),
            None => (name.to_owned(), 1.0),
        };
        let value = |cell: &Cell| match cell {
            Cell::Histogram(buckets) => {
                Value::Histogram { bounds: buckets.bounds, buckets: buckets.counted.lock().clone() }
            }
            Cell::Number(number) => {
                let number = number.load(Ordering::Acquire);
                Value::Number(match metric.kind {
                    Kind::Gauge => f64::from_bits(number),
                    Kind::Counter | Kind::Histogram => number as f64 * unit,
                })
            }
        };
        let series = metric.series.iter().map(|(labels, cell)| (labels.clone(), value(cell))).collect();
        let help = self.helps.get(name).cloned().unwrap_or_default();
        Family { name: shown, help, kind: metric.kind, series }
    }
}

impl Recorder for Registry {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.describe(&name, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.cell(key, Kind::Counter) {
            Some(Cell::Number(number)) => Counter::from_arc(number),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.cell(key, Kind::Gauge) {
            Some(Cell::Number(number)) => Gauge::from_arc(number),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.cell(key, Kind::Histogram) {
            Some(Cell::Histogram(buckets)) => Histogram::from_arc(buckets),
            _ => Histogram::noop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_has_a_bounded_number_of_series_and_what_is_left_out_is_counted() {
        let registry = Registry::default();
        metrics::with_local_recorder(&registry, || {
            for nth in 0..MAX_SERIES + 3 {
                metrics::counter!("larder_hits_total", "scope" => nth.to_string()).increment(1);
            }
        });
        let families = registry.families();
        let shown: Vec<_> = families.iter().map(|family| (&*family.name, family.series.len())).collect();
        assert_eq!(shown, [("larder_hits_total", MAX_SERIES), (LEFT_OUT, 1)]);
        assert_eq!(families[1].series[0].1, Value::Number(3.0));
    }

    #[test]
    fn what_is_recorded_falls_under_the_first_bound_that_it_does_not_exceed() {
        let registry = Registry::default();
        metrics::with_local_recorder(&registry, || {
            let sizes = metrics::histogram!("larder_value_bytes");
            [0.0, 64.0, 65.0, 1e12].iter().for_each(|&size| sizes.record(size));
            sizes.record_many(256.0, 5);
        });
        let Value::Histogram { buckets, .. } = &registry.families()[0].series[0].1 else { unreachable!() };
        assert_eq!(buckets[0], Bucket { count: 2, sum: 64.0 });
        assert_eq!(buckets[1], Bucket { count: 6, sum: 65.0 + 5.0 * 256.0 });
        assert_eq!(buckets[BYTES.len()].count, 1);
    }
}
