//! The epoch: one action result under a name that all know.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use larder::key::Selector;
use larder::tier::{Epoch, Invalidated, Invalidations, TierError};

use super::RemoteExecution;
use super::connection::unexpected;
use super::statement::{Name, Says, Statement};
use crate::naming::random;

/// Where there is no epoch, and none may be written.
const NONE: u64 = 0;
/// How much the clock is moved to the left, to make room for what no clock tells apart.
const FINER: u32 = 12;
/// How long is waited at least, where there was no epoch, for others who saw none either.
const SETTLES: Duration = Duration::from_millis(20);
/// How often an invalidation is written again where others write at the same time.
const ATTEMPTS: usize = 20;
/// How long is waited at most before that.
const JITTER_MICROS: u64 = 20_000;

impl RemoteExecution {
    /// The epoch as it stands there; `None` where there is none.
    pub(super) async fn stated_epoch(&self) -> Result<Option<u64>, TierError> {
        let stated = self.stated(&Name::epoch()).await?;
        let epoch = stated.and_then(|statement| match statement.says {
            Says::Epoch(epoch) => Some(epoch),
            _ => None,
        });
        self.inner.epoch.store(epoch.unwrap_or(NONE), Ordering::Release);
        Ok(epoch)
    }

    /// The epoch: what is known of it without asking, as an older one is as right as the newest.
    pub(super) async fn epoch_now(&self) -> Result<Epoch, TierError> {
        match self.inner.epoch.load(Ordering::Acquire) {
            NONE => self.epoch_there().await.map(Epoch),
            known => Ok(Epoch(known)),
        }
    }

    /// The epoch as it stands there. Where there is none one is begun, unless that may not be.
    async fn epoch_there(&self) -> Result<u64, TierError> {
        if let Some(epoch) = self.stated_epoch().await? {
            return Ok(epoch);
        }
        let began = Instant::now();
        match self.begin_epoch(NONE).await {
            // Who saw none either has written one within a way to the server and back, which took the place of this one.
            // To take up this one would look as if everything were invalidated since.
            Ok(_) => tokio::time::sleep(began.elapsed().max(SETTLES)).await,
            // What is written once is not replaced.
            Err(TierError::ReadOnly) => {}
            Err(error) => return Err(error),
        }
        // Others may have begun one too: whichever stands there is the one.
        Ok(self.stated_epoch().await?.unwrap_or(NONE))
    }

    /// Puts a new epoch in the place of whatever stands there, and returns it: another one in each attempt, so that one
    /// which arrives late brings nothing back.
    async fn begin_epoch(&self, before: u64) -> Result<u64, TierError> {
        let newest = AtomicU64::new(NONE);
        let micros = self.inner.options.clock.wall().as_millis() * 1000;
        let fresh = || {
            let least = (micros << FINER).max(before);
            let epoch = least.saturating_add(1).saturating_add(random() >> 32);
            newest.store(epoch, Ordering::Release);
            Statement::bare(Says::Epoch(epoch))
        };
        self.state(&Name::epoch(), fresh).await?;
        Ok(newest.into_inner())
    }

    /// What was invalidated after an epoch: nothing if it is the one that stands there, else perhaps everything.
    pub(super) async fn told_since(&self, epoch: Epoch) -> Result<Invalidations, TierError> {
        let now = Epoch(self.epoch_there().await?);
        Ok(Invalidations { epoch: now, all: (now == epoch).then(Vec::new) })
    }

    /// Invalidates everything, as no more can be told. It is done when the epoch that was written is read back: a
    /// server may lose one of two that are written at once.
    pub(super) async fn invalidate_all(&self, _covered: &Selector) -> Result<Invalidated, TierError> {
        let mut before = self.stated_epoch().await?.unwrap_or(NONE);
        for _ in 0..ATTEMPTS {
            let written = self.begin_epoch(before).await?;
            let there = self.stated_epoch().await?;
            if there == Some(written) {
                return Ok(Invalidated { epoch: Epoch(written), keys: Vec::new(), bytes: 0 });
            }
            before = before.max(there.unwrap_or(NONE));
            tokio::time::sleep(Duration::from_micros(random() % JITTER_MICROS)).await;
        }
        Err(unexpected("the server does not replace what it has"))
    }
}
