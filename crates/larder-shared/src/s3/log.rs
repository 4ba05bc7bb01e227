//! The invalidation log: followed, written, and brought to its end.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use larder::key::Selector;
use larder::tier::{Epoch, Invalidated, Invalidations, TierError};

use super::S3;
use super::head::Head;
use super::store::{Read, Written};
use crate::naming::random;

/// A longer log is none of ours.
const MAX_BYTES: u64 = 8 << 20;

/// How often somebody tries to write the log while others do, and how long is waited at most before the next time.
const TRIES: u32 = 12;
const JITTER: Duration = Duration::from_millis(20);

/// A state of the log, and what the server tells it by.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) head: Head,
    tag: String,
}

impl S3 {
    /// The log as it is now; `None` if there is none. What is known already is not sent again.
    pub(super) async fn look_at_log(&self) -> Result<Option<Arc<Seen>>, TierError> {
        let known = self.inner.seen.lock().clone();
        let tag = known.as_ref().map(|seen| seen.tag.as_str());
        let seen = match self.inner.store.read(&self.inner.names.log(), tag, MAX_BYTES).await? {
            Read::Same => known,
            Read::Nothing => None,
            Read::Found { bytes, tag, .. } => Some(Arc::new(Seen { head: Head::parse(&bytes)?, tag })),
        };
        self.inner.seen.lock().clone_from(&seen);
        if let Some(seen) = &seen {
            self.look_after_pending(&seen.head);
        }
        Ok(seen)
    }

    /// The log as it is now, begun if there is none.
    pub(super) async fn log_now(&self) -> Result<Arc<Seen>, TierError> {
        for _ in 0..TRIES {
            if let Some(seen) = self.look_at_log().await? {
                return Ok(seen);
            }
            // No epoch that was told before is told again.
            let told = self.inner.told.load(Ordering::Acquire);
            let head = Head::begin(self.now_micros().max(told + 1));
            // Another may have begun it meanwhile.
            self.inner.store.create(&self.inner.names.log(), head.text().into_bytes()).await?;
        }
        Err(too_many())
    }

    /// The epoch: what is known of it without asking, as an older one is as right as the newest.
    pub(super) async fn epoch_now(&self) -> Result<Epoch, TierError> {
        let known = self.inner.seen.lock().as_ref().map(|seen| seen.head.epoch());
        match known {
            Some(epoch) => Ok(epoch),
            None => Ok(self.tell(self.log_now().await?.head.epoch())),
        }
    }

    /// What was invalidated after an epoch.
    pub(super) async fn told_since(&self, epoch: Epoch) -> Result<Invalidations, TierError> {
        let told_before = self.inner.told.load(Ordering::Acquire);
        let seen = self.log_now().await?;
        if seen.head.epoch().0 < told_before || seen.head.has_lost(epoch) {
            // The bucket was put back to an older copy. What the log lost may cover anything, and what that removed may
            // be there again: nobody else may know.
            let least = Epoch(told_before.max(epoch.0));
            let told = self.invalidate_above(least, &Selector::all()).await?;
            return Ok(Invalidations { epoch: told.epoch, all: None });
        }
        Ok(Invalidations { epoch: self.tell(seen.head.epoch()), all: seen.head.since(epoch) })
    }

    /// Notes an epoch that is told to others.
    fn tell(&self, epoch: Epoch) -> Epoch {
        self.inner.told.fetch_max(epoch.0, Ordering::AcqRel);
        epoch
    }

    /// Removes what a selector selects, and tells everybody.
    pub(super) async fn invalidate_all(&self, selector: &Selector) -> Result<Invalidated, TierError> {
        self.invalidate_above(Epoch(0), selector).await
    }

    /// The same, with an epoch above one that the log may have lost.
    async fn invalidate_above(&self, least: Epoch, selector: &Selector) -> Result<Invalidated, TierError> {
        let now = self.now_micros().max(least.0 + 1);
        let written = self.change(|head| {
            let wide = head.widened(selector);
            let next = head.with(now, &wide);
            Some((next.clone(), (next.epoch(), wide)))
        });
        // A change that is always made comes to something.
        let (epoch, wide) = written.await?.ok_or_else(too_many)?;
        self.tell(epoch);
        let (keys, bytes) = self.sweep(&wide).await?;
        self.no_longer_pending(epoch.0).await?;
        Ok(Invalidated { epoch, keys, bytes })
    }

    async fn no_longer_pending(&self, epoch: u64) -> Result<(), TierError> {
        self.inner.pending.ended(Epoch(epoch));
        self.change(|head| Some((head.without_pending(epoch)?, ()))).await.map(drop)
    }

    /// Writes the log as it is to be after what it is now, whoever else writes it; `None` where nothing is to change.
    async fn change<T>(
        &self,
        mut next: impl FnMut(&Head) -> Option<(Head, T)>,
    ) -> Result<Option<T>, TierError> {
        let mut failed = false;
        for tries in 1..=TRIES {
            let seen = self.log_now().await?;
            let Some((head, outcome)) = next(&seen.head) else { return Ok(None) };
            let text = head.text().into_bytes();
            match self.inner.store.replace(&self.inner.names.log(), text, &seen.tag).await {
                Ok(Written::Yes(tag)) => {
                    *self.inner.seen.lock() = Some(Arc::new(Seen { head, tag }));
                    return Ok(Some(outcome));
                }
                Ok(Written::Taken) => {}
                // It may have been written, and only the answer be lost.
                Err(_) if self.log_now().await?.head.goes_on_from(&head, &seen.head) => {
                    return Ok(Some(outcome));
                }
                Err(error) if failed => return Err(error),
                Err(_) => failed = true,
            }
            let micros = random() % u64::try_from((JITTER * tries).as_micros()).unwrap_or(u64::MAX);
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
        Err(too_many())
    }

    /// Takes up pending invalidations that were left behind.
    fn look_after_pending(&self, head: &Head) {
        let pending = head.pending();
        let left = self.inner.pending.left_behind(pending.iter().map(|told| Epoch(told.epoch)));
        for told in pending.iter().filter(|told| left.contains(&Epoch(told.epoch))) {
            if let Some(selector) = told.selector() {
                tokio::spawn(self.take_up(told.epoch, selector.clone()));
            }
        }
    }

    /// Ends what somebody began who is gone.
    fn take_up(&self, epoch: u64, selector: Selector) -> impl Future<Output = ()> + Send + use<> {
        let s3 = self.clone();
        async move {
            let removed = match s3.sweep(&selector).await {
                Ok(_) => s3.no_longer_pending(epoch).await,
                Err(error) => Err(error),
            };
            if let Err(error) = removed {
                tracing::warn!(error = &error as &dyn std::error::Error, "an invalidation is still pending");
            }
        }
    }

    fn now_micros(&self) -> u64 {
        self.inner.options.clock.wall().as_millis().saturating_mul(1000)
    }
}

fn too_many() -> TierError {
    TierError::Index("others write the invalidation log all the time".into())
}
