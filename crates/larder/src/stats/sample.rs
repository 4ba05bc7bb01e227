//! Which events are measured: each with the same chance, whatever came before.
//!
//! Events are counted anyway, so which one is the next sample is told by its number: an event that is none costs a
//! comparison with it. The distance to it is geometric: neither the first events of a thread nor a loop over keys
//! are sampled more or less than others. A sample stands for as many events as the distance is long on average; as
//! each counter has samples of its own, several levels on one thread are estimated right.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

thread_local! {
    static RANDOM: Cell<u64> = const { Cell::new(0) };
    /// Up to [`FEW`], how many requests this thread gave weights to; beyond it, how many come before the next one that
    /// gets a weight.
    static ASKED: Cell<u32> = const { Cell::new(0) };
}

/// Which event of a counter is its next sample. Only the counter's owner asks and draws.
#[derive(Debug)]
pub(super) struct Due(AtomicU64);

impl Due {
    /// Nothing is drawn yet.
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Whether the event that comes after `count` others is surely none. True of all but few.
    #[inline]
    pub(super) fn is_not_next(&self, count: u64) -> bool {
        count + 1 < self.0.load(Relaxed)
    }

    /// Whether the event that comes after `count` others is a sample, where one in `stride` is, if any.
    pub(super) fn is_next(&self, count: u64, stride: Option<u32>) -> bool {
        if self.0.load(Relaxed) == 0 {
            self.draw(count, stride);
        }
        !self.is_not_next(count)
    }

    /// The same, and if it is, draws which one is the next.
    pub(super) fn takes(&self, count: u64, stride: Option<u32>) -> bool {
        let is_next = self.is_next(count, stride);
        if is_next {
            self.draw(count + 1, stride);
        }
        is_next
    }

    /// Draws which one is the next sample after `count` events.
    fn draw(&self, count: u64, stride: Option<u32>) {
        let next = stride.map_or(u64::MAX, |stride| count.saturating_add(distance(stride)));
        self.0.store(next, Relaxed);
    }
}

/// How far the next sample is away, from 1 on, where one in `stride` events is one.
fn distance(stride: u32) -> u64 {
    // Uniform over (0, 1].
    let uniform = ((random() >> 11) + 1) as f64 / (1u64 << 53) as f64;
    let pass = 1.0 - 1.0 / f64::from(stride);
    1 + (uniform.ln() / pass.ln()) as u64
}

/// So many requests of a thread count for hot keys one by one.
const FEW: u32 = 4096;
/// One in this many of those that come after them does, for all.
const MANY: u32 = 64;

/// How many requests outside memory the one at hand stands for among the hot keys, if it is chosen.
///
/// Short runs are told exactly; on a busy thread counting each miss would cost as much as finding out that it is one.
#[inline]
pub(super) fn weight() -> Option<u32> {
    let asked = ASKED.get();
    if asked > FEW {
        ASKED.set(asked - 1);
        return None;
    }
    Some(weight_of_one(asked))
}

#[cold]
fn weight_of_one(asked: u32) -> u32 {
    if asked + 1 < FEW {
        ASKED.set(asked + 1);
    } else {
        ASKED.set(FEW + (distance(MANY) - 1) as u32);
    }
    if asked < FEW { 1 } else { MANY }
}

/// Whether to measure an event of which nobody keeps count, where one in `stride` is.
#[inline]
pub(super) fn one_in(stride: u32) -> bool {
    stride == 1 || one_in_several(stride)
}

fn one_in_several(stride: u32) -> bool {
    random().is_multiple_of(stride.into())
}

/// A random number, different in each thread; not for secrets.
#[inline(never)]
fn random() -> u64 {
    static SEED: AtomicU64 = AtomicU64::new(0x9E37_79B9_7F4A_7C15);
    let mut x = RANDOM.get();
    if x == 0 {
        x = SEED.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed) | 1;
    }
    // xorshift64*, Vigna 2016.
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    RANDOM.set(x);
    x.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Events of one owner, as a stripe counts them.
    struct Counter {
        count: Cell<u64>,
        due: Due,
        stride: u32,
    }

    impl Counter {
        fn of(stride: u32) -> Self {
            Self { count: Cell::new(0), due: Due::new(), stride }
        }

        fn is_next(&self) -> bool {
            self.due.is_next(self.count.get(), Some(self.stride))
        }

        /// Counts an event, and tells whether it was a sample.
        fn event(&self) -> bool {
            let count = self.count.replace(self.count.get() + 1);
            !self.due.is_not_next(count) && self.due.takes(count, Some(self.stride))
        }
    }

    #[test]
    fn samples_come_at_the_stated_rate_and_not_in_step() {
        let counter = Counter::of(64);
        let mut gaps = Vec::new();
        let mut last = 0;
        for n in 0..100_000u64 {
            let next = counter.is_next();
            assert_eq!(counter.event(), next, "asking before changes nothing");
            if next {
                gaps.push(n - last);
                last = n;
            }
        }
        let expected = 100_000 / 64;
        assert!(gaps.len().abs_diff(expected) < expected / 8, "{} samples of 1 in 64", gaps.len());
        gaps.sort_unstable();
        gaps.dedup();
        assert!(gaps.len() > 64, "only {} distances between samples", gaps.len());
    }

    #[test]
    fn few_requests_have_their_own_weight_and_many_are_estimated_right() {
        let weights = |requests: u32| (0..requests).filter_map(|_| weight()).map(u64::from).sum::<u64>();
        let few = thread::spawn(move || weights(FEW)).join().unwrap();
        assert_eq!(few, u64::from(FEW));
        let many = thread::spawn(move || weights(200_000)).join().unwrap();
        assert!(many.abs_diff(200_000) < 20_000, "{many} for 200,000");
        let next =
            |_| thread::spawn(|| (0..=FEW).filter_map(|_| weight()).sum::<u32>() > FEW).join().unwrap();
        let chosen = (0..400).filter(|n: &u32| next(*n)).count();
        assert!(chosen < 20, "the first of many was chosen {chosen} of 400 times where 1 in 64 is to be");
    }

    #[test]
    fn the_first_events_of_an_owner_are_sampled_no_more_than_later_ones() {
        let first = |_: u32| {
            let counter = Counter::of(64);
            (0..8).filter(|_| counter.event()).count()
        };
        let samples: usize = (0..4_000).map(first).sum();
        assert!(samples.abs_diff(500) < 125, "{samples} of 32,000 where 1 in 64 is to be");
    }

    #[test]
    fn where_no_event_is_to_be_sampled_none_is() {
        let due = Due::new();
        assert!((0..10_000).all(|count| !due.is_next(count, None)));
    }
}
