//! Who leaves first.
//!
//! A cache owns its entries and files each under a small number, its *slot*. A [`Policy`] knows slots, weights
//! and costs, never keys or values, and answers one question: which entry leaves next. It reads no clock, does
//! no I/O and has nothing random in it, so the same calls always give the same victims.
//!
//! What a hit has to leave behind stands on the entry itself, in its [`Mark`], and is written through a shared
//! reference: finding an entry never needs the policy exclusively. Order is made up for when somebody has to
//! leave. Each policy's file says how.
//!
//! | policy | who leaves | a hit writes |
//! |---|---|---|
//! | [`Fifo`] | who came first | nothing |
//! | [`Lru`] | who was used longest ago, exactly | a stamp |
//! | [`Largest`] | the heaviest | nothing |
//! | [`Lfu`] | W-TinyLFU: who was used least, of the newcomer and the oldest | the frequency sketch |
//! | [`S3Fifo`] | who was not used again while in a small queue | a count up to 3 |
//! | [`Cost`] | who saves the least compute per byte | a count and an age |
//!
//! `Cost` is made of two that have no name in configuration: [`Gdsf`] and [`Balanced`].
//!
//! A worked example, with [`Fifo`]: a cache files entry `a` in slot 0 and `b` in slot 1 and calls
//! [`insert`](Policy::insert) for each. It needs room and calls [`evict`](Policy::evict), which answers slot 0
//! and forgets it; the cache drops `a` and may file the next entry under slot 0.
//!
//! Rejected: ordering lists that a hit relinks (each hit fetches and writes its neighbours and the list's end), and a
//! log of hits that is applied later (moka's way: many times the cost of a mark).
//!
//! Not here: how many bytes there may be, expiry and quotas (`tier::memory`).

mod any;
mod balanced;
mod cost;
pub(crate) mod fetch;
mod fifo;
mod gdsf;
mod ghost;
mod largest;
mod lfu;
mod lowest;
mod lru;
mod mark;
mod name;
mod queues;
mod random;
mod rings;
mod s3fifo;
mod sketch;
#[cfg(test)]
mod testing;

pub use any::AnyPolicy;
pub use balanced::Balanced;
pub use cost::Cost;
pub use fifo::Fifo;
pub use gdsf::Gdsf;
pub use largest::Largest;
pub use lfu::Lfu;
pub use lru::Lru;
pub use mark::{Mark, Marks};
pub use name::{PolicyName, UnknownPolicy};
pub use random::Random;
pub use s3fifo::S3Fifo;

/// Where a cache files an entry: a small number that is used again after the entry left.
pub type Slot = u32;

/// What a policy is told of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Hash of the entry's key: how it is recognised when it comes back.
    pub hash: u64,
    /// What it takes, usually in bytes; at least 1.
    pub weight: u64,
    /// What it costs to make again, usually in nanoseconds.
    pub cost: u64,
}

impl Arrival {
    /// Cost per unit of weight, both at least 1.
    pub(crate) fn density(self) -> f32 {
        (self.cost.max(1) as f64 / self.weight.max(1) as f64) as f32
    }
}

/// What a policy makes of a new entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It has to prove itself like any other.
    Fresh,
    /// It left not long ago, so it starts where the proven ones are.
    Returning,
}

/// Decides which entry of a cache leaves next.
///
/// A cache keeps to this: a slot is inserted once before anything else is said of it, and never again until it
/// was removed or evicted. A policy panics or answers nonsense otherwise, but is never unsafe.
pub trait Policy {
    /// Takes in an entry. Resets `mark`.
    fn insert(&mut self, slot: Slot, mark: &Mark, arrival: Arrival) -> Admission;

    /// Notes on `mark` that the entry was found. Concurrent hits on one entry may lose one another.
    fn hit(&self, mark: &Mark, hash: u64);

    /// Notes that the entry's weight and cost are now these.
    fn reweigh(&mut self, slot: Slot, arrival: Arrival);

    /// Forgets an entry that left for a reason of its own.
    fn remove(&mut self, slot: Slot);

    /// Begins to fetch what the arrival of an entry with this hash will touch. Changes nothing; for speed alone.
    fn prepare(&self, hash: u64) {
        let _ = hash;
    }

    /// Picks who leaves and forgets it, remembering perhaps that it was there. `None` if nobody is left.
    fn evict(&mut self, marks: &impl Marks) -> Option<Slot>;

    /// Where the entry stands: of two entries, the one with the lower rank leaves sooner. Approximates
    /// [`evict`](Self::evict)'s order without changing anything, for choosing among a few.
    fn rank(&self, slot: Slot, mark: &Mark) -> u64;
}
