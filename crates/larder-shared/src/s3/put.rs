//! Storing and reading entries.

use larder::key::Key;
use larder::tier::{Invalidation, PutOutcome, Refusal, Sealed, TierError};

use super::S3;
use super::form::{self, Form, Header};
use super::store::{Read, Written};
use crate::limits::MAX_ENVELOPE_BYTES;
use crate::naming::unique;

/// A longer object is no entry.
const MAX_BYTES: u64 = 16 << 20;

impl S3 {
    /// The envelope filed under a key, unless it is not to be served.
    pub(super) async fn find(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        let name = self.inner.names.entry(key);
        // Both are begun after somebody asked, so whatever was in the log by then is in what is read of it.
        let (read, log) = tokio::join!(self.inner.store.read(&name, None, MAX_BYTES), self.look_at_log());
        let (Read::Found { bytes, .. }, Some(seen)) = (read?, log?) else { return Ok(None) };
        let Form::Entry(header, envelope) = form::read(&bytes) else { return Ok(None) };
        let holds = header.key == *key
            && header.born == seen.head.born()
            && self.inner.options.clock.wall() < header.ends
            && !seen.head.covers(header.checked, key, &header.tags);
        Ok(holds.then(|| envelope.to_vec()))
    }

    /// Stores entries; an outcome for each.
    pub(super) async fn store(&self, entries: Vec<Sealed>) -> Result<Vec<PutOutcome>, TierError> {
        let mut outcomes = Vec::with_capacity(entries.len());
        for entry in entries {
            outcomes.push(self.store_one(entry).await?);
        }
        Ok(outcomes)
    }

    async fn store_one(&self, entry: Sealed) -> Result<PutOutcome, TierError> {
        if entry.envelope.len() > MAX_ENVELOPE_BYTES {
            return Ok(PutOutcome::Refused(Refusal::TooLarge));
        }
        if let Some(missing) = self.not_there(&entry.record.blobs).await?.first() {
            return Ok(PutOutcome::Refused(Refusal::MissingBlob(*missing)));
        }
        let Sealed { key, record, envelope, began } = entry;
        let name = self.inner.names.entry(&key);
        let claim = self.inner.store.write_once(&name, form::claim(&unique())).await?;
        // Read after the claim is there: what comes into the log later finds it.
        let seen = self.log_now().await?;
        let covers =
            |since: Vec<Invalidation>| since.iter().any(|one| one.selector.matches(&key, &record.tags, None));
        if seen.head.since(began).is_none_or(covers) {
            // The claim is no entry, so nobody is served.
            return Ok(PutOutcome::Refused(Refusal::Revoked));
        }
        let ends = self.inner.options.clock.wall().plus(self.inner.options.max_age);
        let header = Header {
            tags: record.tags.to_vec(),
            born: seen.head.born(),
            checked: seen.head.epoch().0,
            ends: record.expires.map_or(ends, |expires| expires.min(ends)),
            key,
        };
        Ok(match self.inner.store.replace(&name, form::write(&header, &envelope), &claim).await? {
            Written::Yes(_) => PutOutcome::Kept,
            Written::Taken => match self.inner.store.look(&name).await? {
                // Replaced by a later one before this was there.
                Some(_) => PutOutcome::Kept,
                // An invalidation that came meanwhile took it away.
                None => PutOutcome::Refused(Refusal::Revoked),
            },
        })
    }

    /// Keeps an entry from being served, and keeps its bytes for whoever looks into them.
    pub(super) async fn set_entry_aside(&self, key: &Key) -> Result<(), TierError> {
        let name = self.inner.names.entry(key);
        self.inner.store.move_aside(&name, &self.inner.names.aside(&name)).await
    }
}
