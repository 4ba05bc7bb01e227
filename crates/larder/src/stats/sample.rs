//! Which events are measured: each with the same chance, whatever came before.
//!
//! A thread counts down to its next sample over all that it does, in whatever series, so that an event which is
//! none costs a decrement. The distance is geometric: neither the first events of a thread nor a loop over keys
//! are sampled more or less than others. A sample stands for as many events as the distance was drawn for on
//! average, so that series of several levels on one thread are estimated right.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    /// Events up to the next sample, that one included; 0 before the first distance was drawn.
    static LEFT: Cell<u32> = const { Cell::new(0) };
    /// How many events the next sample stands for.
    static WEIGHT: Cell<u32> = const { Cell::new(0) };
    static RANDOM: Cell<u64> = const { Cell::new(0) };
    /// Up to [`FEW`], how many requests this thread gave weights to.
    static ASKED: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread's next event is a sample, where one in `stride` is.
#[inline]
pub(super) fn is_next(stride: u32) -> bool {
    LEFT.get() <= 1 && is_next_or_drawn(stride)
}

#[cold]
fn is_next_or_drawn(stride: u32) -> bool {
    if LEFT.get() == 0 {
        draw(stride);
    }
    LEFT.get() == 1
}

/// Counts an event. If it is a sample, returns how many events it stands for.
#[inline]
pub(super) fn count(stride: u32) -> Option<u32> {
    match LEFT.get() {
        left @ 2.. => {
            LEFT.set(left - 1);
            None
        }
        _ => count_last(stride),
    }
}

#[cold]
fn count_last(stride: u32) -> Option<u32> {
    if is_next_or_drawn(stride) {
        let weight = WEIGHT.get();
        draw(stride);
        return Some(weight);
    }
    LEFT.set(LEFT.get() - 1);
    None
}

/// Draws the distance to the next sample.
fn draw(stride: u32) {
    // Uniform over (0, 1].
    let uniform = ((random() >> 11) + 1) as f64 / (1u64 << 53) as f64;
    let pass = 1.0 - 1.0 / f64::from(stride);
    LEFT.set(1 + (uniform.ln() / pass.ln()) as u32);
    WEIGHT.set(stride);
}

/// So many requests of a thread count for hot keys one by one.
const FEW: u32 = 4096;
/// One in this many of those that come after them does, for all.
const MANY: u32 = 64;

/// How many requests outside memory the one at hand stands for among the hot keys, if it is chosen.
///
/// Short runs are told exactly; on a busy thread counting each miss would cost as much as finding out that it is one.
pub(super) fn weight() -> Option<u32> {
    let asked = ASKED.get();
    if asked < FEW {
        ASKED.set(asked + 1);
        return Some(1);
    }
    one_in(MANY).then_some(MANY)
}

/// Whether to measure one event in `stride`, without counting down.
pub(super) fn one_in(stride: u32) -> bool {
    stride == 1 || random().is_multiple_of(stride.into())
}

/// A random number, different in each thread; not for secrets.
fn random() -> u64 {
    static SEED: AtomicU64 = AtomicU64::new(0x9E37_79B9_7F4A_7C15);
    let mut x = RANDOM.get();
    if x == 0 {
        x = SEED.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed) | 1;
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

    #[test]
    fn samples_come_at_the_stated_rate_and_not_in_step() {
        let mut gaps = Vec::new();
        let mut last = 0;
        for n in 0..100_000u64 {
            let next = is_next(64);
            assert_eq!(count(64), next.then_some(64));
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
    }

    #[test]
    fn the_first_events_of_a_thread_are_sampled_no_more_than_later_ones() {
        let sampled = |_: &u32| {
            let next = is_next(64);
            count(64).is_some() && next
        };
        let of_a_thread = |_| thread::spawn(move || (0..8).filter(sampled).count()).join().unwrap();
        let samples: usize = (0..4_000).map(of_a_thread).sum();
        assert!(samples.abs_diff(500) < 125, "{samples} of 32,000 where 1 in 64 is to be");
    }

    #[test]
    fn series_of_two_levels_on_one_thread_are_both_estimated_right() {
        let mut estimates = [0u64; 2];
        for n in 0..1_000_000 {
            let series = usize::from(n % 10 < 3);
            let stride = [16, 64][series];
            estimates[series] += u64::from(count(stride).unwrap_or(0));
        }
        for (estimate, truth) in estimates.into_iter().zip([700_000, 300_000]) {
            assert!(estimate.abs_diff(truth) < truth / 10, "{estimate} for {truth}");
        }
    }
}
