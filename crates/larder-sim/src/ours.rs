//! Larder's policies, bare and inside the memory tier.

use std::num::NonZero;
use std::time::Duration;

use larder::clock::Instant;
use larder::policy::{AnyPolicy, Arrival, Gdsf, Mark, Policy, PolicyName, Slot};
use larder::tier::memory::{Config, Limits, Lookup, Memory, Terms};

use crate::replay::{Cache, Outcome};
use crate::trace::Request;

/// A policy and nothing else: who is there, and a capacity that is met exactly.
pub struct Bare<P> {
    policy: P,
    capacity: u64,
    used: u64,
    slots: Vec<Option<Slot>>,
    entries: Vec<Request>,
    marks: Vec<Mark>,
    vacant: Vec<Slot>,
}

impl Bare<AnyPolicy> {
    /// The policy of a name, for traces of `keys` keys.
    pub fn named(name: PolicyName, capacity: u64, keys: usize) -> Self {
        Self::new(AnyPolicy::new(name), capacity, keys)
    }
}

impl Bare<Gdsf> {
    /// GDSF whatever the costs are, where the `cost` policy would choose.
    pub fn gdsf(capacity: u64, keys: usize) -> Self {
        Self::new(Gdsf::default(), capacity, keys)
    }
}

impl<P: Policy> Bare<P> {
    fn new(policy: P, capacity: u64, keys: usize) -> Self {
        Self {
            policy,
            capacity,
            used: 0,
            slots: vec![None; keys],
            entries: Vec::new(),
            marks: Vec::new(),
            vacant: Vec::new(),
        }
    }

    fn store(&mut self, request: Request, arrival: Arrival) {
        while self.used + arrival.weight > self.capacity {
            let Some(slot) = self.policy.evict(&self.marks) else { return };
            let left = self.entries[slot as usize];
            self.used -= u64::from(left.size);
            self.slots[left.key as usize] = None;
            self.vacant.push(slot);
        }
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(request);
            self.marks.push(Mark::default());
            (self.marks.len() - 1) as Slot
        });
        self.policy.insert(slot, &self.marks[slot as usize], arrival);
        self.entries[slot as usize] = request;
        self.slots[request.key as usize] = Some(slot);
        self.used += arrival.weight;
    }
}

impl<P: Policy> Cache for Bare<P> {
    fn request(&mut self, request: Request, cost: u64) -> Outcome {
        // The policies take hashes to be spread; these keys are not.
        let hash = u64::from(request.key).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if let Some(slot) = self.slots[request.key as usize] {
            self.policy.hit(&self.marks[slot as usize], hash);
            return Outcome::Hit;
        }
        let weight = u64::from(request.size);
        if weight <= self.capacity {
            self.store(request, Arrival { hash, weight, cost });
        }
        Outcome::Miss
    }
}

/// The memory tier as the engine uses it.
pub struct Tier(Memory<u32, ()>);

impl Tier {
    /// One with this policy and this many shards.
    pub fn new(policy: PolicyName, capacity: u64, shards: NonZero<usize>) -> Self {
        Self(Memory::new(Config { limits: Limits::bytes(capacity), policy, shards, seed: 1 }))
    }

    /// How many shards a tier chooses for two threads if it has room for so many entries, and bytes enough.
    pub fn shards(entries: u64) -> NonZero<usize> {
        let limits = Limits { bytes: 1 << 60, entries: Some(entries) };
        Config::new(limits, NonZero::new(2).unwrap_or(NonZero::<usize>::MIN), 1).shards
    }
}

impl Cache for Tier {
    fn request(&mut self, request: Request, cost: u64) -> Outcome {
        match self.0.get(&request.key, Instant::default) {
            Lookup::Hit(()) => Outcome::Hit,
            Lookup::Miss | Lookup::Lapsed(_) => {
                let terms = Terms {
                    weight: request.size.into(),
                    cost: Duration::from_nanos(cost),
                    ..Terms::default()
                };
                drop(self.0.put(request.key, (), terms, Instant::default));
                Outcome::Miss
            }
        }
    }
}
