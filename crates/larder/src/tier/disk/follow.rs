//! What this tier knows of others that are far away: up to where it has followed their invalidation logs, which of
//! them were left alone, and what they are still to be told.
//!
//! Invariant: what such a log says up to the noted position has been removed here. Two processes may both remove it;
//! the position may step back, where the other log did.

use std::time::Duration;

use super::open::Disk;
use crate::clock::Timestamp;
use crate::tier::{Epoch, LeftAlone, Owed, Owing, TierError, owed};

/// The namespace of the positions; each is kept under its log's name.
const FOLLOWED: &str = "followed";
/// The namespace of notes that a tier is left alone; each is kept under its log's name.
const LEFT_ALONE: &str = "left alone";
/// The namespace of what tiers are still to be told; each has a text under its log's name.
const OWED: &str = "owed";

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

    pub(super) fn blocking_left_alone(&self, log: &str) -> Result<Option<LeftAlone>, TierError> {
        Ok(self.meta(LEFT_ALONE, log)?.as_deref().and_then(note))
    }

    pub(super) fn blocking_note_left_alone(
        &self,
        log: &str,
        note: Option<&LeftAlone>,
    ) -> Result<(), TierError> {
        if self.read_only() {
            return Ok(());
        }
        self.update_meta(LEFT_ALONE, log, |_| note.map(bytes))
    }

    pub(super) fn blocking_owed(&self, log: &str) -> Result<Vec<Owed>, TierError> {
        Ok(self.meta(OWED, log)?.map(|bytes| read(&bytes)).unwrap_or_default())
    }

    pub(super) fn blocking_note_owing(&self, log: &str, change: &Owing) -> Result<(), TierError> {
        if self.read_only() {
            return Ok(());
        }
        self.update_meta(OWED, log, |bytes| {
            let mut all = bytes.map(|bytes| read(&bytes)).unwrap_or_default();
            change.apply(&mut all);
            (!all.is_empty()).then(|| owed::text(&all).into_bytes())
        })
    }
}

fn read(bytes: &[u8]) -> Vec<Owed> {
    owed::parse(&String::from_utf8_lossy(bytes))
}

fn bytes(note: &LeftAlone) -> Vec<u8> {
    let patience = u64::try_from(note.patience.as_millis()).unwrap_or(u64::MAX);
    [&note.at.as_millis().to_le_bytes(), &patience.to_le_bytes(), note.why.as_bytes()].concat()
}

/// Reads a note. What cannot be read is none.
fn note(bytes: &[u8]) -> Option<LeftAlone> {
    let (at, rest) = bytes.split_first_chunk()?;
    let (patience, why) = rest.split_first_chunk()?;
    Some(LeftAlone {
        at: Timestamp::from_millis(u64::from_le_bytes(*at)),
        patience: Duration::from_millis(u64::from_le_bytes(*patience)),
        why: std::str::from_utf8(why).ok()?.to_owned(),
    })
}
