//! The tiers below memory, nearest first, each behind a breaker and a time limit.
//!
//! Invariants: a tier that fails costs its caller a bounded time and nothing else; a tier that could not be told
//! of an invalidation answers nothing that the invalidation covers until it has been told.
//! Not here: memory, which holds values and not envelopes.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::breaker::{Admission, Breaker, BreakerOptions, Tripped};
use super::{Epoch, Invalidated, Invalidations, Lease, PutOutcome, Sealed, Tier, TierError};
use crate::clock::Clock;
use crate::key::{Key, Selector};
use crate::stats::Place;

/// How many invalidations a failing tier may owe; above that it is not read any more.
const MAX_OWED: usize = 1024;

/// A tier behind a breaker and a time limit.
#[derive(Debug)]
pub struct Guarded {
    tier: Arc<dyn Tier>,
    breaker: Breaker,
    limit: Duration,
    clock: Clock,
    owed: Mutex<Vec<Selector>>,
}

impl Guarded {
    /// Puts `tier` behind a breaker; an operation that takes longer than `limit` has failed.
    pub fn new(tier: Arc<dyn Tier>, options: BreakerOptions, limit: Duration, clock: Clock) -> Self {
        Self { tier, breaker: Breaker::new(options), limit, clock, owed: Mutex::default() }
    }

    /// What people call it.
    pub fn name(&self) -> &'static str {
        self.tier.name()
    }

    /// Under which place its operations are counted.
    pub fn place(&self) -> Place {
        self.tier.place()
    }

    /// Whether the tier is left alone at the moment.
    pub fn is_open(&self) -> bool {
        matches!(self.breaker.admit(self.clock.now()), Admission::Refused(_))
    }

    /// Returns the envelope filed under `key`.
    pub async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        self.settle().await;
        if self.owes(key) {
            return Ok(None);
        }
        let envelope = self.run(self.tier.get(key)).await?;
        // An invalidation that failed while the answer was on its way covers it too.
        Ok(if self.owes(key) { None } else { envelope })
    }

    /// Stores entries.
    pub async fn put(&self, entries: Vec<Sealed>) -> Result<Vec<PutOutcome>, TierError> {
        self.settle().await;
        self.run(self.tier.put(entries)).await
    }

    /// Removes what `selector` selects. If the tier can't be told now it is told before it is asked again.
    pub async fn invalidate(&self, selector: &Selector) -> Result<Invalidated, TierError> {
        self.settle().await;
        let outcome = self.run(self.tier.invalidate(selector)).await;
        if outcome.is_err() {
            let mut owed = self.owed.lock();
            if owed.len() < MAX_OWED {
                owed.push(selector.clone());
            } else {
                *owed = vec![Selector::all()];
            }
        }
        outcome
    }

    /// The keys of the entries that any of `selectors` selects.
    pub async fn select(&self, selectors: &[Selector]) -> Result<Vec<Key>, TierError> {
        self.settle().await;
        self.run(self.tier.select(selectors)).await
    }

    /// Sets a damaged entry aside.
    pub async fn quarantine(&self, key: &Key) -> Result<(), TierError> {
        self.run(self.tier.quarantine(key)).await
    }

    /// The tier's epoch.
    pub async fn epoch(&self) -> Result<Epoch, TierError> {
        self.run(self.tier.epoch()).await
    }

    /// What was invalidated after `epoch`.
    pub async fn invalidated_since(&self, epoch: Epoch) -> Result<Invalidations, TierError> {
        self.run(self.tier.invalidated_since(epoch)).await
    }

    /// Takes the right to compute `key`, unless another process holds it.
    pub async fn try_lease(&self, key: &Key) -> Result<Option<Lease>, TierError> {
        self.run(self.tier.try_lease(key)).await
    }

    /// The tier itself, for what no breaker should hide: an operator's check, the end of a process.
    pub fn tier(&self) -> &Arc<dyn Tier> {
        &self.tier
    }

    fn owes(&self, key: &Key) -> bool {
        self.owed.lock().iter().any(|selector| selector.matches_key(key))
    }

    /// Tells the tier what it could not be told before.
    async fn settle(&self) {
        loop {
            let Some(selector) = self.owed.lock().first().cloned() else { return };
            if self.run(self.tier.invalidate(&selector)).await.is_err() {
                return;
            }
            let mut owed = self.owed.lock();
            if let Some(at) = owed.iter().position(|one| *one == selector) {
                owed.remove(at);
            }
        }
    }

    async fn run<T>(&self, operation: super::Answer<'_, T>) -> Result<T, TierError> {
        if let Admission::Refused(_) = self.breaker.admit(self.clock.now()) {
            return Err(TierError::Open);
        }
        let outcome = match tokio::time::timeout(self.limit, operation).await {
            Ok(outcome) => outcome,
            Err(_) => Err(TierError::Io(std::io::ErrorKind::TimedOut.into())),
        };
        match &outcome {
            Ok(_) => self.breaker.succeeded(),
            Err(error) => {
                let tripped = self.breaker.failed(self.clock.now());
                tracing::warn!(tier = self.name(), error = error as &dyn std::error::Error, "tier failed");
                if let Tripped::For(pause) = tripped {
                    tracing::warn!(tier = self.name(), ?pause, "tier is left alone");
                }
            }
        }
        outcome
    }
}
