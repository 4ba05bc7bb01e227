//! Keeping the disk tier within what its settings allow: which limits follow from them, when that is due, and
//! counting what leaves.
//!
//! What leaves the disk tier leaves memory as well: what is there no more is given by nobody in this process. Memory of
//! other processes is not told and goes on giving it, as it would give what the disk tier never took. That is right: what
//! leaves was not invalidated, what is invalidated they hear of by the logs, whatever the tier has of it, and blobs that an
//! answer names are looked for when it is used.
//! Not here: which entry leaves first and how (`tier::disk`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::{JoinError, spawn_blocking};

use super::open::save;
use super::{Larder, Opened};
use crate::clock::Timestamp;
use crate::config::{ByteSize, Settings};
use crate::key::Scope;
use crate::policy::PolicyName;
use crate::stats::Place;
use crate::tier::TierError;
use crate::tier::disk::{Collected, Departed, Disk, Eviction, Limits, ScopeLimits};

/// Under which names the disk tier keeps when it was collected last.
const COLLECTED: (&str, &str) = ("gc", "last");

/// How long after the last time it is collected again, whatever the limits say: things expire and grow old.
const COLLECT_AFTER: Duration = Duration::from_secs(86_400);

/// What it takes to collect a disk tier, so that another thread can do it.
#[derive(Debug, Clone)]
struct Reclaimer {
    disk: Disk,
    larder: Larder,
    settings: Arc<Settings>,
    scope_limits: Arc<Mutex<BTreeMap<Scope, ScopeLimits>>>,
}

impl Opened {
    fn reclaimer(&self) -> Option<Reclaimer> {
        let (larder, settings) = (self.larder.clone(), Arc::clone(&self.settings));
        let scope_limits = Arc::clone(&self.scope_limits);
        Some(Reclaimer { disk: self.disk.clone()?, larder, settings, scope_limits })
    }

    /// Keeps scopes to limits of their own from now on, in the disk tier. Takes the place of what was told before.
    pub fn limit_scopes(&self, limits: BTreeMap<Scope, ScopeLimits>) {
        *self.scope_limits.lock() = limits;
    }

    /// Keeps the disk tier to its limits as the settings have them, counts what leaves and writes that down at once.
    /// Blocks, in steps that let other writers in between. `None` if there is no disk tier.
    pub fn collect(&self) -> Result<Option<Collected>, TierError> {
        let Some(reclaimer) = self.reclaimer() else { return Ok(None) };
        reclaimer.collect(&reclaimer.limits()?).map(Some)
    }

    /// Does what [`collect`](Self::collect) does, to other limits.
    pub fn collect_to(&self, limits: &Limits) -> Result<Option<Collected>, TierError> {
        self.reclaimer().map(|reclaimer| reclaimer.collect(limits)).transpose()
    }

    /// Does what [`collect`](Self::collect) does if that is due: a limit is exceeded, which is looked at if something
    /// was `written`, or it was not done for a day. `None` if it is not due, or nothing may be written.
    pub fn collect_if_due(&self, written: bool) -> Result<Option<Collected>, TierError> {
        self.reclaimer().map_or(Ok(None), |reclaimer| reclaimer.collect_if_due(written))
    }

    /// The same on a blocking thread, beside other work. Whether it is due is looked at where brief looks are done.
    pub async fn collect_aside_if_due(&self, written: bool) -> Result<Option<Collected>, TierError> {
        let Some(reclaimer) = self.reclaimer() else { return Ok(None) };
        let gone = |error: JoinError| TierError::Io(error.into());
        let asked = reclaimer.clone();
        let due = self.larder.brief().run(move || asked.due(written)).await.map_err(gone)??;
        let Some(limits) = due else { return Ok(None) };
        spawn_blocking(move || reclaimer.collect_now(&limits)).await.map_err(gone)?.map(Some)
    }
}

impl Reclaimer {
    fn collect_if_due(&self, written: bool) -> Result<Option<Collected>, TierError> {
        self.due(written)?.map(|limits| self.collect_now(&limits)).transpose()
    }

    /// To which limits it is to be collected now; `None` if that is not due.
    fn due(&self, written: bool) -> Result<Option<Limits>, TierError> {
        if self.disk.read_only() || !self.settings.mode.writes() {
            return Ok(None);
        }
        let now = self.larder.clock().wall();
        let last = self.disk.meta(COLLECTED.0, COLLECTED.1)?;
        let last = last.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        let last = last.map(Timestamp::from_millis);
        // A clock that stepped back makes the last time lie ahead: then it is not known.
        let recently = last.is_some_and(|last| last <= now && now.since(last) < COLLECT_AFTER);
        if recently && !written {
            return Ok(None);
        }
        let limits = self.limits()?;
        Ok((!recently || self.disk.exceeds(&limits)?).then_some(limits))
    }

    /// Collects, and notes that it was done now.
    fn collect_now(&self, limits: &Limits) -> Result<Collected, TierError> {
        let now = self.larder.clock().wall();
        let collected = self.collect(limits)?;
        let done = now.as_millis().to_le_bytes().to_vec();
        self.disk.update_meta(COLLECTED.0, COLLECTED.1, |_| Some(done.clone()))?;
        Ok(collected)
    }

    fn collect(&self, limits: &Limits) -> Result<Collected, TierError> {
        let stats = self.larder.stats();
        let collected = self.disk.gc_telling(limits, &mut |departed| {
            let Departed { key, cause, bytes } = departed;
            tracing::debug!(%key, %cause, bytes, "evicted from disk");
            stats.series(key.scope(), key.kind()).evicted(Place::Disk, *cause, *bytes);
            if let Some(memory) = &self.larder.shared.memory {
                drop(memory.remove(key));
            }
        })?;
        if let Err(error) = save(stats, &self.disk) {
            tracing::warn!(error = &error as &dyn std::error::Error, "statistics are not saved");
        }
        Ok(collected)
    }

    /// What the settings allow; shares are of the file system that the tier is on.
    fn limits(&self) -> Result<Limits, TierError> {
        let disk = &self.settings.disk;
        let status = rustix::fs::statvfs(&self.settings.dir).map_err(|error| TierError::Io(error.into()))?;
        let whole = ByteSize(status.f_blocks.saturating_mul(status.f_frsize));
        Ok(Limits {
            max_bytes: Some(disk.budget.of(whole).0),
            max_entries: disk.entries,
            max_age: disk.max_age,
            min_free_bytes: Some(disk.min_free.of(whole).0),
            // A small file system is not to be filled to its end.
            reserved_bytes: disk.reserved.of(whole).0.min(whole.0 / 2),
            scopes: self.scope_limits.lock().clone(),
            eviction: match disk.policy {
                PolicyName::Lru => Eviction::LeastRecentlyUsed,
                _ => Eviction::Cost,
            },
            ..Limits::default()
        })
    }
}
