//! One of the policies, chosen while the program runs.

use super::{
    Admission, Arrival, Cost, Fifo, Largest, Lfu, Lru, Mark, Marks, Policy, PolicyName, S3Fifo, Slot,
};

/// The policy of a name.
///
/// An enum instead of a trait object, because a hit asks it each time and a known branch is cheaper. With a tag of its
/// own, as one that is hidden in a field takes a hit some instructions more to read.
#[derive(Debug)]
#[repr(u8)]
pub enum AnyPolicy {
    /// Least compute saved per byte.
    Cost(Cost),
    /// S3-FIFO.
    S3Fifo(S3Fifo),
    /// Least recently used.
    Lru(Lru),
    /// W-TinyLFU.
    Lfu(Box<Lfu>),
    /// First in, first out.
    Fifo(Fifo),
    /// Largest first.
    Size(Largest),
}

impl AnyPolicy {
    /// Makes an empty policy.
    pub fn new(name: PolicyName) -> Self {
        match name {
            PolicyName::Cost => Self::Cost(Cost::default()),
            PolicyName::S3Fifo => Self::S3Fifo(S3Fifo::default()),
            PolicyName::Lru => Self::Lru(Lru::default()),
            PolicyName::Lfu => Self::Lfu(Box::default()),
            PolicyName::Fifo => Self::Fifo(Fifo::default()),
            PolicyName::Size => Self::Size(Largest::default()),
        }
    }
}

macro_rules! each {
    ($any:expr, $policy:ident => $call:expr) => {
        match $any {
            AnyPolicy::Cost($policy) => $call,
            AnyPolicy::S3Fifo($policy) => $call,
            AnyPolicy::Lru($policy) => $call,
            AnyPolicy::Lfu($policy) => $call,
            AnyPolicy::Fifo($policy) => $call,
            AnyPolicy::Size($policy) => $call,
        }
    };
}

impl Policy for AnyPolicy {
    fn insert(&mut self, slot: Slot, mark: &Mark, arrival: Arrival) -> Admission {
        each!(self, policy => policy.insert(slot, mark, arrival))
    }

    #[inline]
    fn hit(&self, mark: &Mark, hash: u64) {
        // A comparison for the default, which most use, costs less than a jump by a table.
        match self {
            Self::Cost(policy) => policy.hit(mark, hash),
            _ => self.hit_other(mark, hash),
        }
    }

    #[inline]
    fn prepare(&self, hash: u64) {
        each!(self, policy => policy.prepare(hash))
    }

    fn reweigh(&mut self, slot: Slot, arrival: Arrival) {
        each!(self, policy => policy.reweigh(slot, arrival));
    }

    fn remove(&mut self, slot: Slot) {
        each!(self, policy => policy.remove(slot));
    }

    fn evict(&mut self, marks: &impl Marks) -> Option<Slot> {
        each!(self, policy => policy.evict(marks))
    }

    fn rank(&self, slot: Slot, mark: &Mark) -> u64 {
        each!(self, policy => policy.rank(slot, mark))
    }
}

impl AnyPolicy {
    /// Out of line, as it is long.
    #[inline(never)]
    fn hit_other(&self, mark: &Mark, hash: u64) {
        each!(self, policy => policy.hit(mark, hash));
    }
}
