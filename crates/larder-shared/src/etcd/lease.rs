//! Leases: the right to compute a key among all machines, for as long as its holder lives.
//!
//! A process is one holder, with one lease of etcd's that all its rights hang on. It ends some seconds after the
//! process last said that it lives, so that nobody waits for the dead.

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
    /// What keeps it alive, unless the runtime of that has ended.
    keeping: Option<JoinHandle<()>>,
}

/// A lease that is held.
struct Held {
    etcd: Etcd,
    name: String,
    mark: String,
}

impl Etcd {
    pub(super) async fn lease(&self, key: &Key) -> Result<Option<larder::tier::Lease>, TierError> {
        let (name, mark) = (self.inner.names.lease(key), unique());
        let taken = match self.take(&name, &mark).await {
            // The server has forgotten it.
            Err(Failure::NoLease) => self.take(&name, &mark).await,
            taken => taken,
        };
        if !taken? {
            return Ok(None);
        }
        self.keep_alive();
        Ok(Some(larder::tier::Lease::holding(Held { etcd: self.clone(), name, mark })))
    }

    /// Takes a right, unless somebody has it.
    async fn take(&self, name: &str, mark: &str) -> Result<bool, Failure> {
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
                    let mut holding = etcd.inner.holder.holding.lock();
                    if holding.held == 0 {
                        holding.keeping = None;
                        return;
                    }
                    holding.lease
                };
                if let Some(lease) = lease {
                    // One sign that does not get through is not the last, and one that hangs is given up for the next.
                    let _ = timeout(RENEWED, etcd.renew(lease)).await;
                }
            }
        }));
    }

    /// Waits until all leases that were dropped are given back.
    pub(super) async fn released(&self) {
        // The sender lives as long as `self`.
        let _ = self.inner.releasing.subscribe().wait_for(|releasing| *releasing == 0).await;
    }

    async fn release(&self, name: String, mark: String) -> Result<(), Failure> {
        let compare = vec![Compare::value(name.as_str(), mark)];
        let txn = Txn { compare, success: vec![Delete::one(name)], failure: Vec::new() };
        self.transact(&txn).await.map(drop)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.etcd.inner.holder.holding.lock().held -= 1;
        // Without a runtime it ends by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let etcd = self.etcd.clone();
        let (name, mark) = (std::mem::take(&mut self.name), std::mem::take(&mut self.mark));
        etcd.inner.releasing.send_modify(|releasing| *releasing += 1);
        runtime.spawn(async move {
            // Else it ends by itself.
            let _ = etcd.release(name, mark).await;
            etcd.inner.releasing.send_modify(|releasing| *releasing -= 1);
        });
    }
}
