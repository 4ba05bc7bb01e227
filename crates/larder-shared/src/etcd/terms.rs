//! Terms: leases that are shared by all that ends at about the same time.
//!
//! What is to live for some time gets the term of its length, which may be up to a fourth longer. A term's lease is
//! good for whatever is put while it lasts longer than that; so it lasts a little longer, and after that there is a new
//! one. Its name in the store ends with it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Etcd;
use super::gateway::Failure;
use super::log::{back_off, busy};
use super::wire::{Compare, Grant, Leased, OfLease, Op, Put, Range, Ranged, Txn};

/// How often taking a term is tried that others come before.
const ATTEMPTS: u32 = 5;

/// Leases that are good for what is put now.
#[derive(Debug, Default)]
pub(super) struct Terms(Mutex<HashMap<u64, Term>>);

#[derive(Debug, Clone, Copy)]
struct Term {
    lease: i64,
    /// Until when what is put may have it.
    good: Instant,
    /// When it ends, at the earliest.
    ends: Instant,
}

/// The length of the term of what is to live so long: rounded up, in seconds, so that there are few of them.
pub(super) fn length(age: Duration) -> u64 {
    let seconds = age.as_secs().saturating_add(u64::from(age.subsec_nanos() > 0)).clamp(1, 1 << 32);
    let step = (1_u64 << seconds.ilog2()) / 4;
    seconds.next_multiple_of(step.max(1))
}

impl Etcd {
    /// The lease with which that ends which is to live so long.
    pub(super) async fn term(&self, age: Duration) -> Result<i64, Failure> {
        let length = length(age);
        let now = Instant::now();
        let known = self.inner.terms.0.lock().get(&length).copied();
        if let Some(term) = known.filter(|term| now < term.good) {
            return Ok(term.lease);
        }
        let name = self.inner.names.term(length);
        for attempt in 0..ATTEMPTS {
            let found: Ranged = self.inner.gateway.ask("kv/range", &Range::one(name.as_str())).await?;
            let found = found.kvs.first();
            if let Some(found) = found {
                let left = self.left(found.lease).await?;
                if left > Duration::from_secs(length) {
                    return Ok(self.learn(length, found.lease, now, left));
                }
            }
            let seconds = length + length / 8 + 2;
            let granted: Leased = self.inner.gateway.ask("lease/grant", &Grant { seconds }).await?;
            let seen = found.map_or(0, |found| found.mod_revision);
            let txn = Txn {
                compare: vec![Compare::changed_in(name.as_str(), seen)],
                success: vec![Op::Put(Put::new(name.as_str(), "1").until(granted.id))],
                failure: Vec::new(),
            };
            if self.transact(&txn).await?.succeeded {
                return Ok(self.learn(length, granted.id, now, Duration::from_secs(seconds)));
            }
            self.revoke(granted.id).await?;
            back_off(attempt).await;
        }
        Err(busy())
    }

    fn learn(&self, length: u64, lease: i64, asked: Instant, left: Duration) -> i64 {
        let ends = asked + left;
        let term = Term { lease, good: ends - Duration::from_secs(length), ends };
        self.inner.terms.0.lock().insert(length, term);
        lease
    }

    /// Forgets terms, as one of them was over before its time.
    pub(super) fn forget_terms(&self) {
        self.inner.terms.0.lock().clear();
    }

    /// Whether what has some lease lives as long as what is put now, to live so long.
    pub(super) async fn lasts(&self, lease: i64, age: Duration) -> Result<bool, Failure> {
        let current = self.term(age).await?;
        if lease == current {
            return Ok(true);
        }
        let ends = self.inner.terms.0.lock().get(&length(age)).map(|term| term.ends);
        let now = Instant::now();
        let left = self.left(lease).await?;
        Ok(ends.is_some_and(|ends| now + left >= ends))
    }

    /// How long a lease lasts yet.
    async fn left(&self, lease: i64) -> Result<Duration, Failure> {
        let told: Leased = self.inner.gateway.ask("lease/timetolive", &OfLease { id: lease }).await?;
        Ok(Duration::from_secs(u64::try_from(told.seconds).unwrap_or(0)))
    }

    async fn revoke(&self, lease: i64) -> Result<(), Failure> {
        let revoked: Result<serde::de::IgnoredAny, _> =
            self.inner.gateway.ask("lease/revoke", &OfLease { id: lease }).await;
        match revoked {
            // It ended by itself.
            Ok(_) | Err(Failure::NoLease) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_few_and_at_most_a_fourth_longer() {
        let lengths = |seconds: &[u64]| -> Vec<u64> {
            seconds.iter().map(|&seconds| length(Duration::from_secs(seconds))).collect()
        };
        assert_eq!(lengths(&[0, 1, 2, 3, 5, 8, 9, 100, 3600]), [1, 1, 2, 3, 5, 8, 10, 112, 3584 + 512]);
        for seconds in 1..100_000 {
            let length = length(Duration::from_secs(seconds));
            assert!(length >= seconds && length * 4 <= seconds * 5 + 4, "{seconds}");
        }
        assert_eq!(length(Duration::from_millis(1500)), 2);
        let all: std::collections::BTreeSet<u64> =
            (1..3_000_000).map(|seconds| length(Duration::from_secs(seconds))).collect();
        assert!(all.len() < 100, "{}", all.len());
    }
}
