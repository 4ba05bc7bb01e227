//! The async face: each operation on one of the runtime's blocking threads, look-ups several at once (`gather`).
//! Where the options say so, what only looks into the index, takes a lease or stores one entry is done in place.

use tokio::task::JoinError;

use super::gather::Stores;
use super::open::Disk;
use crate::key::{Digest, Key, Selector};
use crate::stats::Place;
use crate::tier::{
    Answer, BlobForm, BlobSink, BlobSource, Brief, Epoch, Lease, LeftAlone, NewEntry, Owed, Owing, Sealed,
    Tier, TierError,
};

/// Runs `look` where the options say.
async fn brief<T: Send + 'static>(
    disk: &Disk,
    look: impl FnOnce(&Disk) -> Result<T, TierError> + Send + 'static,
) -> Result<T, TierError> {
    let (place, disk) = (disk.options().brief, disk.clone());
    outcome(place.run(move || look(&disk)).await)
}

/// Runs `work` where blocking is allowed. It goes on to its end even if nobody waits for it any more.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TierError> + Send + 'static,
) -> Result<T, TierError> {
    outcome(tokio::task::spawn_blocking(work).await)
}

fn outcome<T>(ended: Result<Result<T, TierError>, JoinError>) -> Result<T, TierError> {
    ended.unwrap_or_else(|error| Err(TierError::Index(Box::new(error))))
}

impl Tier for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn place(&self) -> Place {
        Place::Disk
    }

    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Vec<u8>>> {
        Box::pin(self.gathered_get(key))
    }

    fn put(&self, entries: Vec<Sealed>) -> Answer<'_, Vec<crate::tier::PutOutcome>> {
        Box::pin(async {
            let in_place = self.options().brief == Brief::InPlace && entries.len() == 1;
            let ask = Stores::These(entries);
            let stored = if in_place { self.stored_in_place(ask).await } else { self.gathered(ask).await };
            // Each of these has an outcome.
            Ok(stored?.into_iter().flatten().collect())
        })
    }

    fn put_new(&self, entry: NewEntry, place: Brief) -> Answer<'_, Option<crate::tier::PutOutcome>> {
        Box::pin(async move {
            let stored = match place {
                Brief::InPlace => self.stored_in_place(Stores::New(entry)).await,
                Brief::Aside => self.gathered(Stores::New(entry)).await,
            };
            Ok(stored?.pop().flatten())
        })
    }

    fn invalidate<'a>(&'a self, selector: &'a Selector) -> Answer<'a, crate::tier::Invalidated> {
        let (disk, selector) = (self.clone(), selector.clone());
        Box::pin(blocking(move || disk.blocking_invalidate(&selector)))
    }

    fn select<'a>(&'a self, selectors: &'a [Selector]) -> Answer<'a, Vec<Key>> {
        let (disk, selectors) = (self.clone(), selectors.to_vec());
        Box::pin(blocking(move || disk.blocking_select(&selectors)))
    }

    fn quarantine<'a>(&'a self, key: &'a Key) -> Answer<'a, ()> {
        let (disk, key) = (self.clone(), key.clone());
        Box::pin(blocking(move || disk.blocking_quarantine(&key)))
    }

    fn epoch(&self) -> Answer<'_, Epoch> {
        Box::pin(brief(self, Disk::blocking_epoch))
    }

    fn invalidated_since(&self, epoch: Epoch) -> Answer<'_, crate::tier::Invalidations> {
        Box::pin(brief(self, move |disk| disk.blocking_invalidated_since(epoch)))
    }

    fn try_lease<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Lease>> {
        let key = key.clone();
        Box::pin(brief(self, move |disk| Ok(disk.blocking_try_lease(&key)?.map(Lease::holding))))
    }

    fn missing_blobs<'a>(&'a self, blobs: &'a [Digest]) -> Answer<'a, Vec<Digest>> {
        let (disk, blobs) = (self.clone(), blobs.to_vec());
        Box::pin(blocking(move || disk.blocking_missing_blobs(&blobs)))
    }

    fn open_blob(&self, digest: Digest) -> Answer<'_, Option<Box<dyn BlobSource>>> {
        let disk = self.clone();
        Box::pin(blocking(move || disk.blocking_open_blob(digest)))
    }

    fn make_blob(&self, digest: Digest, form: BlobForm) -> Answer<'_, Option<Box<dyn BlobSink>>> {
        let disk = self.clone();
        Box::pin(blocking(move || disk.blocking_make_blob(digest, form)))
    }

    fn quarantine_blob(&self, digest: Digest) -> Answer<'_, ()> {
        let disk = self.clone();
        Box::pin(blocking(move || disk.blocking_quarantine_blob(digest)))
    }

    fn followed<'a>(&'a self, log: &'a str) -> Answer<'a, Option<Epoch>> {
        let (disk, log) = (self.clone(), log.to_owned());
        Box::pin(blocking(move || disk.blocking_followed(&log)))
    }

    fn note_followed<'a>(&'a self, log: &'a str, epoch: Epoch) -> Answer<'a, ()> {
        let (disk, log) = (self.clone(), log.to_owned());
        Box::pin(blocking(move || disk.blocking_note_followed(&log, epoch)))
    }

    fn left_alone<'a>(&'a self, log: &'a str) -> Answer<'a, Option<LeftAlone>> {
        let log = log.to_owned();
        Box::pin(brief(self, move |disk| disk.blocking_left_alone(&log)))
    }

    fn note_left_alone<'a>(&'a self, log: &'a str, note: Option<LeftAlone>) -> Answer<'a, ()> {
        let log = log.to_owned();
        Box::pin(brief(self, move |disk| disk.blocking_note_left_alone(&log, note.as_ref())))
    }

    fn owed<'a>(&'a self, log: &'a str) -> Answer<'a, Vec<Owed>> {
        let log = log.to_owned();
        Box::pin(brief(self, move |disk| disk.blocking_owed(&log)))
    }

    fn note_owing<'a>(&'a self, log: &'a str, change: Owing) -> Answer<'a, ()> {
        let (disk, log) = (self.clone(), log.to_owned());
        Box::pin(blocking(move || disk.blocking_note_owing(&log, &change)))
    }

    fn ping(&self) -> Answer<'_, ()> {
        let disk = self.clone();
        Box::pin(blocking(move || disk.blocking_epoch().map(drop)))
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(brief(self, Disk::flush))
    }
}
