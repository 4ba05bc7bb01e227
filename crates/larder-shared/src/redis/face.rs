//! The tier's face.

use larder::key::{Digest, Key, Selector};
use larder::stats::Place;
use larder::tier::{
    Answer, BlobForm, BlobSink, BlobSource, Epoch, Invalidated, Invalidations, Lease, PutOutcome, Sealed,
    Tier,
};

use super::Redis;
use super::connection::Lane;
use super::steps::Steps;
use crate::pieces::Pieces as _;

impl Tier for Redis {
    fn name(&self) -> &'static str {
        "redis"
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

    fn select<'a>(&'a self, selectors: &'a [Selector]) -> Answer<'a, Vec<Key>> {
        Box::pin(self.keys(selectors))
    }

    fn quarantine<'a>(&'a self, key: &'a Key) -> Answer<'a, ()> {
        Box::pin(self.hide(key))
    }

    fn epoch(&self) -> Answer<'_, Epoch> {
        Box::pin(self.epoch_now())
    }

    fn invalidated_since(&self, epoch: Epoch) -> Answer<'_, Invalidations> {
        Box::pin(self.told_since(epoch))
    }

    fn try_lease<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Lease>> {
        Box::pin(self.lease(key))
    }

    fn missing_blobs<'a>(&'a self, blobs: &'a [Digest]) -> Answer<'a, Vec<Digest>> {
        Box::pin(self.not_whole(blobs))
    }

    fn open_blob(&self, digest: Digest) -> Answer<'_, Option<Box<dyn BlobSource>>> {
        Box::pin(self.described_blob(digest))
    }

    fn make_blob(&self, digest: Digest, form: BlobForm) -> Answer<'_, Option<Box<dyn BlobSink>>> {
        Box::pin(async move { Ok(Some(self.writing(digest, form))) })
    }

    fn quarantine_blob(&self, digest: Digest) -> Answer<'_, ()> {
        Box::pin(self.set_aside(digest))
    }

    fn log(&self) -> String {
        self.inner.log.clone()
    }

    fn answers(&self) -> u64 {
        self.inner.connections.answers()
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async {
            let mut steps = Steps::new();
            steps.cmd("PING").ignore();
            self.inner.connections.run(Lane::Small, &steps).await
        })
    }

    fn flush(&self) -> Answer<'_, ()> {
        // What was acknowledged is with the server; how well that keeps it is its operator's choice.
        Box::pin(async {
            self.inner.releasing.ended().await;
            Ok(())
        })
    }
}
