//! Up to where this tier has followed the invalidation logs of others.
//!
//! Invariant: what such a log says up to the noted position has been removed here. Two processes may both remove it;
//! the position may step back, where the other log did.

use super::open::Disk;
use crate::tier::{Epoch, TierError};

/// The namespace of the positions; each is kept under its log's name.
const FOLLOWED: &str = "followed";

impl Disk {
    pub(super) fn blocking_followed(&self, log: &str) -> Result<Option<Epoch>, TierError> {
        let bytes = self.meta(FOLLOWED, log)?;
        Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(|bytes| Epoch(u64::from_le_bytes(bytes))))
    }

    pub(super) fn blocking_note_followed(&self, log: &str, epoch: Epoch) -> Result<(), TierError> {
        if self.read_only() || self.blocking_followed(log)? == Some(epoch) {
            return Ok(());
        }
        self.put_meta(&[(FOLLOWED, log, epoch.0.to_le_bytes().to_vec())])
    }
}
