//! What larder's policies are measured by: algorithms that know more or spend more than a cache can.

use std::collections::BTreeSet;

use crate::replay::{Cache, Outcome};
use crate::trace::{Request, Trace};

/// Belady's: who is needed last leaves first, and what is not needed again is not stored. The best there is
/// where all sizes are equal.
pub struct Belady {
    next_uses: Vec<u32>,
    at: usize,
    capacity: u64,
    used: u64,
    /// Next use and key of who is there.
    order: BTreeSet<(u32, u32)>,
    /// Next use and size by key.
    here: Vec<Option<(u32, u64)>>,
}

impl Belady {
    /// For one replay of this trace.
    pub fn new(trace: &Trace, capacity: u64) -> Self {
        Self {
            next_uses: trace.next_uses(),
            at: 0,
            capacity,
            used: 0,
            order: BTreeSet::new(),
            here: vec![None; trace.keys],
        }
    }
}

impl Cache for Belady {
    fn request(&mut self, request: Request, _: u64) -> Outcome {
        let next = self.next_uses[self.at];
        self.at += 1;
        let weight = u64::from(request.size);
        let here = self.here[request.key as usize].take();
        if let Some((use_now, size)) = here {
            self.order.remove(&(use_now, request.key));
            self.order.insert((next, request.key));
            self.here[request.key as usize] = Some((next, size));
            return Outcome::Hit;
        }
        if weight <= self.capacity {
            while self.used + weight > self.capacity {
                let Some((_, key)) = self.order.pop_last() else { break };
                self.used -= self.here[key as usize].take().map_or(0, |(_, size)| size);
            }
            self.order.insert((next, request.key));
            self.here[request.key as usize] = Some((next, weight));
            self.used += weight;
        }
        Outcome::Miss
    }
}

/// Whether GDSF counts what a key costs or only how often and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Uses by size: all cost the same.
    Uses,
    /// Cost of all uses by size.
    Cost,
}

/// GreedyDual-Size-Frequency with all entries in order.
pub struct ExactGdsf {
    counting: Counting,
    capacity: u64,
    used: u64,
    age: f64,
    /// Bits of the value, which are ordered as values are, then the turn of the last use, and the key.
    order: BTreeSet<(u64, u64, u32)>,
    here: Vec<Option<Valued>>,
    turn: u64,
}

#[derive(Clone, Copy)]
struct Valued {
    place: (u64, u64),
    uses: u32,
    size: u64,
}

impl ExactGdsf {
    /// For traces of `keys` keys.
    pub fn new(counting: Counting, capacity: u64, keys: usize) -> Self {
        Self {
            counting,
            capacity,
            used: 0,
            age: 0.0,
            order: BTreeSet::new(),
            here: vec![None; keys],
            turn: 0,
        }
    }

    fn file(&mut self, key: u32, uses: u32, size: u64, cost: u64) {
        let cost = match self.counting {
            Counting::Uses => 1e6,
            Counting::Cost => cost.max(1) as f64,
        };
        let value = self.age + f64::from(uses) * cost / size as f64;
        self.turn += 1;
        let place = (value.to_bits(), self.turn);
        self.order.insert((place.0, place.1, key));
        self.here[key as usize] = Some(Valued { place, uses, size });
    }
}

impl Cache for ExactGdsf {
    fn request(&mut self, request: Request, cost: u64) -> Outcome {
        if let Some(Valued { place, uses, size }) = self.here[request.key as usize] {
            self.order.remove(&(place.0, place.1, request.key));
            self.file(request.key, uses + 1, size, cost);
            return Outcome::Hit;
        }
        let weight = u64::from(request.size);
        if weight <= self.capacity {
            while self.used + weight > self.capacity {
                let Some((value, _, key)) = self.order.pop_first() else { break };
                self.age = f64::from_bits(value);
                self.used -= self.here[key as usize].take().map_or(0, |valued| valued.size);
            }
            self.file(request.key, 1, weight, cost);
            self.used += weight;
        }
        Outcome::Miss
    }
}
