//! Distributions of latencies and sizes in log-linear buckets.
//!
//! Values below 16 have a bucket each; above, each power of two is divided into 16 buckets of equal width, up to
//! 2⁴⁸ (three days in nanoseconds, 256 TiB in bytes); larger values share the last one. A quantile is reported as
//! the middle of its bucket, so it is off by at most 1/32 (3.1 %) of the value. The layout is that of HDR
//! histograms (Tene) with a fixed precision.
//!
//! Invariant: the number of a bucket keeps its meaning forever, as stored statistics name buckets by it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

const LINEAR_BITS: u32 = 4;
const LINEAR: u64 = 1 << LINEAR_BITS;
const TOP_BITS: u32 = 48;
const BUCKETS: usize = (LINEAR as usize) * (TOP_BITS - LINEAR_BITS + 1) as usize;

fn bucket_of(value: u64) -> usize {
    let value = value.min((1 << TOP_BITS) - 1);
    if value < LINEAR {
        return value as usize;
    }
    let octave = value.ilog2() - LINEAR_BITS;
    (u64::from(octave) * LINEAR + (value >> octave)) as usize
}

/// The lowest and the highest value of a bucket.
fn bounds_of(bucket: usize) -> (u64, u64) {
    let bucket = bucket as u64;
    if bucket < LINEAR {
        return (bucket, bucket);
    }
    let octave = bucket / LINEAR - 1;
    let low = (bucket % LINEAR + LINEAR) << octave;
    (low, low + (1 << octave) - 1)
}

/// A distribution that many threads record into at once.
pub(super) struct Histogram {
    buckets: Box<[AtomicU64]>,
    recorded: AtomicU64,
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            recorded: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
        }
    }

    pub(super) fn record(&self, value: u64) {
        self.buckets[bucket_of(value)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
        // Looked at first, as writing costs more and mostly changes nothing.
        if value < self.min.load(Ordering::Relaxed) {
            self.min.fetch_min(value, Ordering::Relaxed);
        }
        if value > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(value, Ordering::Relaxed);
        }
        // Last and released, so that whoever sees it sees the bucket too.
        self.recorded.fetch_add(1, Ordering::Release);
    }

    /// Takes out what was recorded since the last call. A value that is being recorded meanwhile is in this
    /// distribution or in the next one.
    pub(super) fn take(&self) -> Option<Distribution> {
        if self.recorded.swap(0, Ordering::Acquire) == 0 {
            return None;
        }
        let mut taken = Distribution {
            sum: self.sum.swap(0, Ordering::Relaxed).into(),
            min: self.min.swap(u64::MAX, Ordering::Relaxed),
            max: self.max.swap(0, Ordering::Relaxed),
            ..Distribution::default()
        };
        for (number, bucket) in self.buckets.iter().enumerate() {
            if bucket.load(Ordering::Relaxed) != 0 {
                taken.buckets.insert(number as u16, bucket.swap(0, Ordering::Relaxed));
            }
        }
        Some(taken)
    }
}

/// A distribution as plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Distribution {
    pub(super) buckets: BTreeMap<u16, u64>,
    pub(super) sum: u128,
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { buckets: BTreeMap::new(), sum: 0, min: u64::MAX, max: 0 }
    }
}

impl Distribution {
    pub(super) fn merge(&mut self, other: &Self) {
        for (&bucket, &count) in &other.buckets {
            let sum = self.buckets.entry(bucket).or_default();
            *sum = sum.saturating_add(count);
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Whether each bucket is one that this version knows.
    pub(super) fn is_known(&self) -> bool {
        self.buckets.keys().all(|&bucket| usize::from(bucket) < BUCKETS)
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.values().fold(0, |sum, &count| sum.saturating_add(count))
    }

    pub(super) fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum as f64 / count as f64)
    }

    /// The value that a share of `q` of all values does not exceed, within 1/32 of it; `None` of nothing.
    pub(super) fn quantile(&self, q: f64) -> Option<u64> {
        let rank = ((q * self.count() as f64).ceil() as u64).max(1);
        let mut seen = 0u64;
        let (&bucket, _) = self.buckets.iter().find(|&(_, &count)| {
            seen = seen.saturating_add(count);
            seen >= rank
        })?;
        // A value recorded while the distribution was taken may have left its extremes to the next one.
        let (min, max) = (self.min.min(self.max), self.max.max(self.min));
        Some(middle_of(bucket).clamp(min, max))
    }
}

/// The middle of a bucket: what each value in it is reported as.
pub(super) fn middle_of(bucket: u16) -> u64 {
    let (low, high) = bounds_of(bucket.into());
    low + (high - low) / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn distribution(values: &[u64]) -> Distribution {
        let histogram = Histogram::new();
        values.iter().for_each(|&value| histogram.record(value));
        histogram.take().unwrap_or_default()
    }

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        let mut next = 0;
        for bucket in 0..BUCKETS {
            let (low, high) = bounds_of(bucket);
            assert_eq!(low, next);
            assert_eq!((bucket_of(low), bucket_of(high)), (bucket, bucket));
            next = high + 1;
        }
        assert_eq!(next, 1 << TOP_BITS);
        assert_eq!((bucket_of(u64::MAX), BUCKETS), (719, 720));
    }

    #[test]
    fn of_nothing_there_is_no_quantile_and_no_mean() {
        let histogram = Histogram::new();
        assert_eq!(histogram.take(), None);
        let empty = Distribution::default();
        assert_eq!((empty.quantile(0.5), empty.mean(), empty.count()), (None, None, 0));
    }

    #[test]
    fn what_was_taken_is_not_taken_again() {
        let histogram = Histogram::new();
        histogram.record(7);
        histogram.record(u64::MAX >> 1);
        let taken = histogram.take().unwrap();
        assert_eq!((taken.count(), taken.min, taken.max), (2, 7, u64::MAX >> 1));
        assert_eq!(histogram.take(), None);
        histogram.record(9);
        assert_eq!(histogram.take().unwrap(), distribution(&[9]));
    }

    proptest! {
        #[test]
        fn quantiles_are_within_one_32nd(
            mut values in proptest::collection::vec(
                prop_oneof![0u64..100, 0u64..1_000_000, 0u64..1 << TOP_BITS], 1..200),
            q in 0.0f64..=1.0,
        ) {
            let distribution = distribution(&values);
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let reported = distribution.quantile(q).unwrap();
            prop_assert!(reported.abs_diff(exact) as f64 <= exact as f64 / 32.0, "{reported} for {exact}");
            prop_assert_eq!(distribution.sum, values.iter().map(|&v| u128::from(v)).sum::<u128>());
            prop_assert_eq!((distribution.min, distribution.max), (values[0], values[values.len() - 1]));
        }

        #[test]
        fn merging_equals_recording_together(
            a in proptest::collection::vec(any::<u64>(), 0..50),
            b in proptest::collection::vec(any::<u64>(), 0..50),
        ) {
            // The live sum wraps at 2⁶⁴ between two collections; values here are far beyond any real latency.
            let small = |values: &[u64]| values.iter().map(|v| v >> 8).collect::<Vec<_>>();
            let (a, b) = (small(&a), small(&b));
            let mut merged = distribution(&a);
            merged.merge(&distribution(&b));
            prop_assert_eq!(merged, distribution(&[a, b].concat()));
        }
    }
}
