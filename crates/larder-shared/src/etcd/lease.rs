//! Leases: the right to compute a key among all machines, for as long as its holder lives.
//!
//! A process is one holder, with one lease of etcd's that all its rights hang on. It ends some seconds after the
//! process last said that it lives, so that nobody waits for the dead. A right would last as long
//! as the process has others where giving it back is lost, or the answer to taking it; it is given back again with each
//! sign of life.

use std::time::Instant;

use larder::key::Key;
use larder::tier::TierError;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{interval_at, timeout};

use super::Etcd;
use super::gateway::Failure;
use super::wire::{Compare, Delete, Grant, Leased, OfLease, Op, Put, Range, Txn};
use crate::limits::{LASTS, RENEWED};
use crate::naming::unique;

/// How many rights are given back again that could not be; above that the lease ends, and with it what they are.
const MAX_DROPPED: usize = 1000;

/// This process as a holder of leases.
#[derive(Debug, Default)]
pub(super) struct Holder {
    /// Who asks the server for a lease does so alone: of two, only one would be kept alive.
    asking: tokio::sync::Mutex<()>,
    holding: Mutex<Holding>,
}

#[derive(Debug, Default)]
struct Holding {
    lease: Option<i64>,
    /// When it last was known to last its whole time.
    renewed: Option<Instant>,
    /// How many rights hang on it.
    held: usize,
    /// Those that were dropped and are not known to be given back.
    dropped: Vec<Right>,
    /// What keeps it alive, unless the runtime of that has ended.
    keeping: Option<JoinHandle<()>>,
}

impl Holding {
    /// Notes a right that is to be given back.
    fn drop_right(&mut self, right: Right) {
        if self.dropped.len() >= MAX_DROPPED {
            // All that hangs on it ends with it, and whoever takes a right from now on takes another lease.
            self.lease = None;
            self.dropped.clear();
        }
        self.dropped.push(right);
    }
}

/// What stands there while a right is held.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Right {
    name: String,
    mark: String,
}

/// A right that is held.
struct Held {
    etcd: Etcd,
    right: Right,
}

/// A right that is being taken. If the answer is lost, or nobody waits for it any more, it may be held by nobody.
struct Taking<'a> {
    etcd: &'a Etcd,
    right: Option<Right>,
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        if let Some(right) = self.right.take() {
            self.etcd.inner.holder.holding.lock().drop_right(right);
        }
    }
}

impl Etcd {
    pub(super) async fn lease(&self, key: &Key) -> Result<Option<larder::tier::Lease>, TierError> {
        let right = Right { name: self.inner.names.lease(key), mark: unique() };
        let mut taking = Taking { etcd: self, right: Some(right.clone()) };
        let taken = match self.take(&right).await {
            // The server has forgotten it.
            Err(Failure::NoLease) => self.take(&right).await,
            taken => taken,
        };
        let is_taken = taken?;
        taking.right = None;
        if !is_taken {
            return Ok(None);
        }
        self.keep_alive();
        Ok(Some(larder::tier::Lease::holding(Held { etcd: self.clone(), right })))
    }

    /// Takes a right, unless somebody has it.
    async fn take(&self, right: &Right) -> Result<bool, Failure> {
        let (name, mark) = (right.name.as_str(), right.mark.as_str());
        let lease = self.holder().await?;
        let txn = Txn {
            compare: vec![Compare::changed_in(name, 0)],
            success: vec![Op::Put(Put::new(name, mark).until(lease))],
            failure: vec![Op::Range(Range::one(name))],
        };
        let done = self.transact(&txn).await;
        if matches!(done, Err(Failure::NoLease)) {
            self.inner.holder.holding.lock().lease.take_if(|held| *held == lease);
        }
        let done = done?;
        // It may have been taken by a request whose answer was lost.
        let is_ours =
            |found: &super::wire::Ranged| found.kvs.first().is_some_and(|it| it.value.text() == Some(mark));
        Ok(done.succeeded || done.ranges().any(|found| is_ours(&found)))
    }

    /// The lease of this process, good for some seconds at least.
    async fn holder(&self) -> Result<i64, Failure> {
        let _asking = self.inner.holder.asking.lock().await;
        let now = Instant::now();
        let known = {
            let holding = self.inner.holder.holding.lock();
            let is_fresh = holding.renewed.is_some_and(|renewed| now.duration_since(renewed) < RENEWED);
            match holding.lease {
                Some(lease) if is_fresh => return Ok(lease),
                known => known,
            }
        };
        if let Some(lease) = known
            && self.renew(lease).await?
        {
            return Ok(lease);
        }
        let granted: Leased =
            self.inner.gateway.ask("lease/grant", &Grant { seconds: LASTS.as_secs() }).await?;
        let mut holding = self.inner.holder.holding.lock();
        holding.lease = Some(granted.id);
        holding.renewed = Some(now);
        Ok(granted.id)
    }

    /// Says that this process lives. Says whether that came in time.
    async fn renew(&self, lease: i64) -> Result<bool, Failure> {
        let now = Instant::now();
        let told: Leased = self.inner.gateway.ask_first("lease/keepalive", &OfLease { id: lease }).await?;
        let mut holding = self.inner.holder.holding.lock();
        if holding.lease == Some(lease) {
            match told.seconds {
                0 => holding.lease = None,
                _ => holding.renewed = Some(now),
            }
        }
        Ok(told.seconds > 0)
    }

    /// Counts a right, and gives signs of life for as long as there are any.
    fn keep_alive(&self) {
        let mut holding = self.inner.holder.holding.lock();
        holding.held += 1;
        if holding.keeping.as_ref().is_some_and(|keeping| !keeping.is_finished()) {
            return;
        }
        let etcd = self.clone();
        holding.keeping = Some(tokio::spawn(async move {
            let mut signs = interval_at(tokio::time::Instant::now() + RENEWED, RENEWED);
            loop {
                signs.tick().await;
                let lease = {
                    let holding = etcd.inner.holder.holding.lock();
                    holding.lease.filter(|_| holding.held > 0)
                };
                if let Some(lease) = lease {
                    // One sign that does not get through is not the last, and one that hangs is given up for the next.
                    let _ = timeout(RENEWED, etcd.renew(lease)).await;
                }
                let _ = timeout(RENEWED, etcd.release_again()).await;
                let mut holding = etcd.inner.holder.holding.lock();
                if holding.held == 0 {
                    holding.keeping = None;
                    return;
                }
            }
        }));
    }

    /// Gives back a right that was dropped.
    async fn release(&self, right: &Right) -> Result<(), Failure> {
        let Right { name, mark } = right.clone();
        let compare = vec![Compare::value(name.as_str(), mark)];
        let txn = Txn { compare, success: vec![Delete::one(name)], failure: Vec::new() };
        self.transact(&txn).await?;
        self.inner.holder.holding.lock().dropped.retain(|dropped| dropped != right);
        Ok(())
    }

    /// Gives back what was to be given back before and was not.
    async fn release_again(&self) {
        let dropped = self.inner.holder.holding.lock().dropped.clone();
        for right in dropped {
            if self.release(&right).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        {
            let mut holding = self.etcd.inner.holder.holding.lock();
            holding.held -= 1;
            holding.drop_right(self.right.clone());
        }
        // Without a runtime, or where it is lost, it is given back with a later sign of life; where there is none, it ends.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (etcd, right) = (self.etcd.clone(), self.right.clone());
        let release = etcd.inner.releasing.begin();
        runtime.spawn(async move {
            let _ = timeout(LASTS, etcd.release(&right)).await;
            drop(release);
        });
    }
}
