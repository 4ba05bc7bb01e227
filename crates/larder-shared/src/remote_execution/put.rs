//! Storing and reading entries.

use larder::key::Key;
use larder::tier::{Epoch, PutOutcome, Refusal, Sealed, TierError};

use super::RemoteExecution;
use super::blob::INLINE_BYTES;
use super::statement::{Name, Says, Statement};
use crate::limits::MAX_ENVELOPE_BYTES;

/// How many pieces the blobs of one entry may have together, so that all that it names fits into a message.
const MAX_PIECES: usize = 20_000;

impl RemoteExecution {
    /// The envelope filed under a key, if it was stored under the epoch that stands there now.
    pub(super) async fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        let name = Name::entry(key);
        let (epoch, stated) = tokio::try_join!(self.stated_epoch(), self.stated(&name))?;
        let Some(Statement { says: Says::Entry { epoch: under, until }, inline, pieces, .. }) = stated else {
            return Ok(None);
        };
        if epoch != Some(under) || self.inner.options.clock.wall() >= until {
            return Ok(None);
        }
        if pieces.is_empty() { Ok(Some(inline)) } else { self.read_pieces(&pieces).await }
    }

    /// Stores entries; an outcome for each.
    pub(super) async fn store(&self, entries: Vec<Sealed>) -> Result<Vec<PutOutcome>, TierError> {
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            outcomes.push(match self.store_one(entry).await {
                Err(TierError::ReadOnly) => PutOutcome::Refused(Refusal::ReadOnly),
                outcome => outcome?,
            });
        }
        Ok(outcomes)
    }

    async fn store_one(&self, entry: Sealed) -> Result<PutOutcome, TierError> {
        let Sealed { key, record, envelope, began: Epoch(began) } = entry;
        if envelope.len() > MAX_ENVELOPE_BYTES {
            return Ok(PutOutcome::Refused(Refusal::TooLarge));
        }
        let (epoch, blobs) = tokio::try_join!(self.stated_epoch(), self.described(&record.blobs))?;
        if epoch != Some(began) {
            return Ok(PutOutcome::Refused(Refusal::Revoked));
        }
        let mut beside = Vec::new();
        for (&digest, blob) in record.blobs.iter().zip(blobs) {
            let Some(blob) = blob else { return Ok(PutOutcome::Refused(Refusal::MissingBlob(digest))) };
            beside.extend(blob.pieces);
        }
        if beside.len() > MAX_PIECES {
            return Ok(PutOutcome::Refused(Refusal::TooLarge));
        }
        let longest = self.inner.options.clock.wall().plus(self.inner.options.max_age);
        let until = record.expires.map_or(longest, |expires| expires.min(longest));
        let (inline, pieces) = if envelope.len() <= INLINE_BYTES {
            (envelope, Vec::new())
        } else {
            (Vec::new(), self.store_pieces(&envelope).await?)
        };
        // An invalidation that comes before this arrives has the epoch changed, so that it is not served.
        let stored = Statement { says: Says::Entry { epoch: began, until }, inline, pieces, beside };
        self.state(&Name::entry(&key), || stored.clone()).await?;
        Ok(PutOutcome::Kept)
    }
}
