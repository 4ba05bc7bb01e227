//! Whether the disk tier takes what is put: one that answers may be full.
//!
//! After a put that it failed, it is tried whether it would take something, until it would.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use larder::engine::NotKept;
use larder::tier::disk::Disk;
use larder::tier::{Refusal, Tier as _, TierError};

use super::StoreError;

/// How much is written to try it.
const TRIED_BYTES: usize = 64 << 10;

/// What is known of how puts go. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Health {
    failed: Arc<AtomicBool>,
}

impl Health {
    /// Takes note of how a put ended.
    pub(super) fn note(&self, put: Result<(), StoreError>) -> Result<(), StoreError> {
        put.inspect(|()| self.failed.store(false, Ordering::Relaxed)).map_err(|error| self.failed(error))
    }

    /// Takes note of how a put failed, if that was the tier's fault.
    pub(super) fn failed(&self, error: StoreError) -> StoreError {
        let refused = |why: &NotKept| {
            matches!(why, NotKept::TierFailed(_) | NotKept::Tier(_, Refusal::NoRoom | Refusal::ReadOnly))
        };
        let is_its_fault = match &error {
            StoreError::Tier(_) => true,
            StoreError::NotKept(why) => refused(why),
            _ => false,
        };
        if is_its_fault {
            self.failed.store(true, Ordering::Relaxed);
        }
        error
    }

    /// Whether the disk tier answers, and takes what is put.
    pub(super) async fn is_well(&self, disk: &Disk) -> bool {
        if disk.ping().await.is_err() {
            return false;
        }
        if !self.failed.load(Ordering::Relaxed) {
            return true;
        }
        let takes = trouble(disk).await.is_none();
        if takes {
            self.failed.store(false, Ordering::Relaxed);
        }
        takes
    }
}

/// Why the disk tier takes nothing now, if it does not. What is written to find that out leaves nothing.
pub(super) async fn trouble(disk: &Disk) -> Option<TierError> {
    let disk = disk.clone();
    let write = move || disk.new_blob(None)?.write(&[0; TRIED_BYTES]);
    tokio::task::spawn_blocking(write).await.ok()?.err()
}
