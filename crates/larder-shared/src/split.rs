//! One tier out of two: entries, the invalidation log and leases in one, blobs in another.
//!
//! Invariant: an entry is stored, and served, only while each blob that it names is in the tier of blobs.

use std::sync::Arc;

use larder::entry;
use larder::key::{Digest, Key, Selector};
use larder::stats::Place;
use larder::tier::{
    Answer, BlobForm, BlobSink, BlobSource, Epoch, Invalidated, Invalidations, Lease, PutOutcome, Refusal,
    Sealed, Tier, TierError,
};

/// Two tiers that are asked as one.
#[derive(Debug, Clone)]
pub struct Split {
    entries: Arc<dyn Tier>,
    blobs: Arc<dyn Tier>,
}

impl Split {
    /// Entries, the log and leases go to one tier and blobs to the other.
    pub fn new(entries: Arc<dyn Tier>, blobs: Arc<dyn Tier>) -> Self {
        Self { entries, blobs }
    }

    async fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        let Some(envelope) = self.entries.get(key).await? else { return Ok(None) };
        // What does not open names nothing, and whoever asked finds that it does not open.
        let Ok(opened) = entry::open(key, &envelope) else { return Ok(Some(envelope)) };
        Ok(self.first_missing(&opened.record.blobs).await?.is_none().then_some(envelope))
    }

    async fn store(&self, entries: Vec<Sealed>) -> Result<Vec<PutOutcome>, TierError> {
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut whole = Vec::with_capacity(entries.len());
        for mut entry in entries {
            let missing = self.first_missing(&entry.record.blobs).await?;
            outcomes.push(missing.map(|missing| PutOutcome::Refused(Refusal::MissingBlob(missing))));
            if missing.is_none() {
                // They are not where it goes.
                entry.record.blobs = [].into();
                whole.push(entry);
            }
        }
        let mut stored = self.entries.put(whole).await?.into_iter();
        let outcomes: Option<Vec<_>> =
            outcomes.into_iter().map(|outcome| outcome.or_else(|| stored.next())).collect();
        outcomes.ok_or_else(|| TierError::Index("there is not an outcome for each entry".into()))
    }

    async fn first_missing(&self, blobs: &[Digest]) -> Result<Option<Digest>, TierError> {
        if blobs.is_empty() {
            return Ok(None);
        }
        Ok(self.blobs.missing_blobs(blobs).await?.first().copied())
    }
}

impl Tier for Split {
    fn name(&self) -> &'static str {
        self.entries.name()
    }

    fn place(&self) -> Place {
        self.entries.place()
    }

    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Vec<u8>>> {
        Box::pin(self.read(key))
    }

    fn put(&self, entries: Vec<Sealed>) -> Answer<'_, Vec<PutOutcome>> {
        Box::pin(self.store(entries))
    }

    fn invalidate<'a>(&'a self, selector: &'a Selector) -> Answer<'a, Invalidated> {
        self.entries.invalidate(selector)
    }

    fn select<'a>(&'a self, selectors: &'a [Selector]) -> Answer<'a, Vec<Key>> {
        self.entries.select(selectors)
    }

    fn quarantine<'a>(&'a self, key: &'a Key) -> Answer<'a, ()> {
        self.entries.quarantine(key)
    }

    fn epoch(&self) -> Answer<'_, Epoch> {
        self.entries.epoch()
    }

    fn invalidated_since(&self, epoch: Epoch) -> Answer<'_, Invalidations> {
        self.entries.invalidated_since(epoch)
    }

    fn try_lease<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Lease>> {
        self.entries.try_lease(key)
    }

    fn missing_blobs<'a>(&'a self, blobs: &'a [Digest]) -> Answer<'a, Vec<Digest>> {
        self.blobs.missing_blobs(blobs)
    }

    fn open_blob(&self, digest: Digest) -> Answer<'_, Option<Box<dyn BlobSource>>> {
        self.blobs.open_blob(digest)
    }

    fn make_blob(&self, digest: Digest, form: BlobForm) -> Answer<'_, Option<Box<dyn BlobSink>>> {
        self.blobs.make_blob(digest, form)
    }

    fn quarantine_blob(&self, digest: Digest) -> Answer<'_, ()> {
        self.blobs.quarantine_blob(digest)
    }

    fn log(&self) -> String {
        self.entries.log()
    }

    fn answers(&self) -> u64 {
        self.entries.answers().wrapping_add(self.blobs.answers())
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async {
            let (entries, blobs) = tokio::join!(self.entries.ping(), self.blobs.ping());
            entries.and(blobs)
        })
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(async {
            let (entries, blobs) = tokio::join!(self.entries.flush(), self.blobs.flush());
            entries.and(blobs)
        })
    }
}
