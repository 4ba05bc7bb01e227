//! Who asks for what: Zipf's law over a number of keys, as popularity is on most real traces.

use std::hint::black_box;
use std::sync::Arc;

use larder::policy::Random;

use crate::contenders::{Contender, Value};
use crate::harness::{Sample, together};

/// Operations of one thread in a run.
const OPERATIONS: usize = 1 << 20;

/// What is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ValueKind {
    /// A number, copied on a hit.
    Number,
    /// A shared pointer, whose count goes up and down on a hit: what the engine keeps.
    Shared,
}

/// What is done.
#[derive(Debug, Clone, Copy)]
enum Doing {
    /// Only lookups, all hits.
    Reads,
    /// This many of 100 operations store, the others look up.
    Mixed(u64),
    /// A lookup, and on a miss a computation (which costs nothing here) whose result is stored.
    Computes,
}

/// A workload: keys in the order in which they are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) value: ValueKind,
    /// How many entries a cache may hold.
    pub(crate) capacity: usize,
    doing: Doing,
    universe: usize,
    keys: Arc<Vec<u64>>,
}

/// All workloads.
pub(crate) fn all() -> Vec<Workload> {
    let of = |name, doing, value, universe| {
        let keys = Arc::new(zipf(universe, 2 * OPERATIONS));
        Workload { name, value, capacity: 100_000, doing, universe, keys }
    };
    use Doing::{Computes, Mixed, Reads};
    use ValueKind::{Number, Shared};
    vec![
        of("reads", Reads, Number, 80_000),
        of("reads of shared values", Reads, Shared, 80_000),
        of("mixed, 10 % stores", Mixed(10), Number, 400_000),
        of("mixed, 50 % stores", Mixed(50), Number, 400_000),
        of("get or compute", Computes, Number, 400_000),
    ]
}

impl Workload {
    pub(crate) fn describe(&self) -> String {
        format!("{} ({} keys by Zipf's law, room for {})", self.name, self.universe, self.capacity)
    }

    /// Stores all keys once, or as many as there is room for.
    pub(crate) fn fill<V: Value>(&self, cache: &impl Contender<V>) {
        (0..self.universe as u64).rev().for_each(|key| cache.put(spread(key), V::of(key)));
    }

    pub(crate) fn run<V: Value, C: Contender<V>>(&self, cache: &C, threads: usize, round: usize) -> Sample {
        together(threads, (threads * OPERATIONS) as u64, |thread| {
            // Threads ask for the same popular keys, at different times.
            let from = (thread * OPERATIONS + round * 7919) % OPERATIONS;
            let keys = &self.keys[from..from + OPERATIONS];
            match self.doing {
                Doing::Reads => reads(cache, keys),
                Doing::Mixed(percent) => mixed(cache, keys, percent, (thread + round) as u64),
                Doing::Computes => computes(cache, keys),
            }
        })
    }
}

#[inline(never)]
fn reads<V: Value>(cache: &impl Contender<V>, keys: &[u64]) {
    for &key in keys {
        black_box(cache.get(key));
    }
}

#[inline(never)]
fn mixed<V: Value>(cache: &impl Contender<V>, keys: &[u64], percent: u64, seed: u64) {
    let mut random = Random::new(seed);
    let below = u64::MAX / 100 * percent;
    for &key in keys {
        if random.bits() < below {
            cache.put(key, V::of(key));
        } else {
            black_box(cache.get(key));
        }
    }
}

#[inline(never)]
fn computes<V: Value>(cache: &impl Contender<V>, keys: &[u64]) {
    for &key in keys {
        black_box(cache.get_or_compute(key, || V::of(key)));
    }
}

/// Keys of `0..universe` with a chance proportional to `1 / rank^0.9`, spread over all 64 bits.
fn zipf(universe: usize, count: usize) -> Vec<u64> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=universe)
        .map(|rank| {
            sum += (rank as f64).powf(-0.9);
            sum
        })
        .collect();
    let mut random = Random::new(11);
    let mut draw = || {
        let at = (random.bits() >> 11) as f64 / (1u64 << 53) as f64 * sum;
        spread(sums.partition_point(|&sum| sum < at) as u64)
    };
    (0..count).map(|_| draw()).collect()
}

/// A key for a rank, such that popular keys have nothing in common.
fn spread(rank: u64) -> u64 {
    rank.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
