//! The tier's face.

use larder::key::{Digest, Key, Selector};
use larder::stats::Place;
use larder::tier::{
    Answer, BlobForm, BlobSink, BlobSource, Epoch, Invalidated, Invalidations, PutOutcome, Sealed, Tier,
};

use super::RemoteExecution;
use super::connection::unexpected;
use super::statement::Name;

impl Tier for RemoteExecution {
    fn name(&self) -> &'static str {
        "remote-execution"
    }

    fn place(&self) -> Place {
        Place::Shared
    }

    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Vec<u8>>> {
        Box::pin(self.read(key))
    }

    fn put(&self, entries: Vec<Sealed>) -> Answer<'_, Vec<PutOutcome>> {
        Box::pin(self.store(entries))
    }

    fn invalidate<'a>(&'a self, selector: &'a Selector) -> Answer<'a, Invalidated> {
        Box::pin(self.invalidate_all(selector))
    }

    fn select<'a>(&'a self, _: &'a [Selector]) -> Answer<'a, Vec<Key>> {
        Box::pin(async { Err(unexpected("a remote execution cache does not tell what is in it")) })
    }

    fn quarantine<'a>(&'a self, key: &'a Key) -> Answer<'a, ()> {
        Box::pin(async { self.set_aside(&Name::entry(key)).await })
    }

    fn epoch(&self) -> Answer<'_, Epoch> {
        Box::pin(self.epoch_now())
    }

    fn invalidated_since(&self, epoch: Epoch) -> Answer<'_, Invalidations> {
        Box::pin(self.told_since(epoch))
    }

    fn missing_blobs<'a>(&'a self, blobs: &'a [Digest]) -> Answer<'a, Vec<Digest>> {
        Box::pin(async {
            let described = self.described(blobs).await?;
            let missing = blobs.iter().zip(described).filter(|(_, blob)| blob.is_none());
            Ok(missing.map(|(&digest, _)| digest).collect())
        })
    }

    fn open_blob(&self, digest: Digest) -> Answer<'_, Option<Box<dyn BlobSource>>> {
        Box::pin(self.read_blob(digest))
    }

    fn make_blob(&self, digest: Digest, form: BlobForm) -> Answer<'_, Option<Box<dyn BlobSink>>> {
        Box::pin(self.write_blob(digest, form))
    }

    fn quarantine_blob(&self, digest: Digest) -> Answer<'_, ()> {
        Box::pin(async move { self.set_aside(&Name::blob(digest)).await })
    }

    fn log(&self) -> String {
        self.inner.log.clone()
    }

    fn answers(&self) -> u64 {
        self.inner.connections.answers()
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async { self.ask_terms().await.map(drop) })
    }

    fn flush(&self) -> Answer<'_, ()> {
        // What was acknowledged is with the server; how well that keeps it is its operator's choice.
        Box::pin(async { Ok(()) })
    }
}
