//! A trace: who asked for what, in order.
//!
//! Invariant: keys are numbered from 0 in the order of their first request, so that a list can be a map.

use std::collections::HashMap;

use larder::policy::Random;

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub key: u32,
    /// What it takes.
    pub size: u32,
}

/// A sequence of requests.
#[derive(Debug, Clone)]
pub struct Trace {
    /// What its publisher calls it.
    pub name: String,
    /// The requests in order.
    pub requests: Vec<Request>,
    /// What each key costs to compute, by key; none if the publisher did not say.
    pub costs: Option<Vec<u64>>,
    /// Number of different keys.
    pub keys: usize,
    /// Sum of the sizes of all different keys, each as it was asked for first.
    pub footprint: u64,
}

/// Collects requests.
#[derive(Debug, Default)]
pub struct Builder {
    numbers: HashMap<u64, u32>,
    requests: Vec<Request>,
    costs: Vec<u64>,
    footprint: u64,
}

impl Builder {
    /// Adds a request.
    pub fn request(&mut self, key: u64, size: u32) {
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(key).or_insert(next);
        // Nothing takes no room at all: a cache of nothing but those would be infinite.
        let size = size.max(1);
        if number == next {
            self.footprint += u64::from(size);
        }
        self.requests.push(Request { key: number, size });
    }

    /// Adds a request for something of which it is known what it costs.
    pub fn request_costing(&mut self, key: u64, cost: u64) {
        self.request(key, 1);
        if self.costs.len() < self.numbers.len() {
            self.costs.push(cost);
        }
    }

    /// Returns the trace of all requests.
    pub fn finish(self, name: &str) -> Trace {
        Trace {
            name: name.to_owned(),
            keys: self.numbers.len(),
            costs: (!self.costs.is_empty()).then_some(self.costs),
            requests: self.requests,
            footprint: self.footprint,
        }
    }
}

impl Trace {
    /// Whether all requests are for things of one size.
    pub fn is_uniform(&self) -> bool {
        self.requests.first().is_none_or(|first| self.requests.iter().all(|one| one.size == first.size))
    }

    /// The capacity that is this share of all different keys; at least 1.
    pub fn capacity(&self, share: f64) -> u64 {
        ((self.footprint as f64 * share) as u64).max(1)
    }

    /// For each request, where the next one for the same key is; the number of requests if there is none.
    pub fn next_uses(&self) -> Vec<u32> {
        let mut next_of = vec![self.requests.len() as u32; self.keys];
        let mut next: Vec<u32> = (0..self.requests.len() as u32)
            .rev()
            .map(|at| std::mem::replace(&mut next_of[self.requests[at as usize].key as usize], at))
            .collect();
        next.reverse();
        next
    }

    /// Costs in nanoseconds by key: the publisher's, or drawn with a spread of `sigma` (standard deviation of the
    /// natural logarithm) about a millisecond, whatever the key's size and popularity.
    pub fn costs_or_drawn(&self, sigma: f64) -> Vec<u64> {
        self.costs.clone().unwrap_or_else(|| lognormal(self.keys, sigma))
    }

    /// A trace of `length` requests of which some are popular and some come once: for tests, the same each time.
    pub fn generated(length: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut builder = Builder::default();
        for n in 0..length as u64 {
            let key = if random.below(4) == 0 {
                1_000_000 + n
            } else {
                // As likely to be between 1 and 10 as between 10 and 100 and so on, which is Zipf's law.
                5_000f64.powf(random.below(1 << 20) as f64 / f64::from(1 << 20)) as u64
            };
            builder.request(key, 1 + (key.wrapping_mul(0x9e37_79b9) >> 7) as u32 % 50);
        }
        builder.finish("generated")
    }
}

/// `count` costs about a millisecond.
pub fn lognormal(count: usize, sigma: f64) -> Vec<u64> {
    let mut random = Random::new(2);
    let mut uniform = move || (random.bits() >> 11) as f64 / (1u64 << 53) as f64;
    // Box-Muller.
    let mut normal =
        move || (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    (0..count).map(|_| ((sigma * normal()).exp() * 1e6).max(1.0) as u64).collect()
}
