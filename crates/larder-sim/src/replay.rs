//! Takes a trace through a cache and counts.

use crate::trace::{Request, Trace};

/// What a cache makes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was there.
    Hit,
    /// It was not, and was stored if the cache so decided.
    Miss,
}

/// Something that keeps what is asked for, within a capacity.
pub trait Cache {
    /// Looks up a key; stores it if it is not there.
    fn request(&mut self, request: Request, cost: u64) -> Outcome;
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tally {
    /// Requests that were not answered.
    pub misses: u64,
    /// All requests.
    pub requests: u64,
    /// Sum of the costs of the requests that were answered.
    pub saved: f64,
    /// Sum of the costs of all requests.
    pub cost: f64,
}

impl Tally {
    /// Share of the requests that were answered, in percent.
    pub fn hit_percent(&self) -> f64 {
        100.0 * (self.requests - self.misses) as f64 / self.requests as f64
    }

    /// Share of the cost that was saved, in percent.
    pub fn saved_percent(&self) -> f64 {
        100.0 * self.saved / self.cost
    }
}

/// Takes all requests through `cache`; costs are by key.
pub fn replay(trace: &Trace, costs: &[u64], cache: &mut dyn Cache) -> Tally {
    let mut tally = Tally { requests: trace.requests.len() as u64, ..Tally::default() };
    for &request in &trace.requests {
        let cost = costs[request.key as usize];
        tally.cost += cost as f64;
        match cache.request(request, cost) {
            Outcome::Hit => tally.saved += cost as f64,
            Outcome::Miss => tally.misses += 1,
        }
    }
    tally
}
