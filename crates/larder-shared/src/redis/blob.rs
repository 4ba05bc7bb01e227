//! Blobs, as this server has their pieces. A server that is short of memory drops some.

use std::time::Duration;

use larder::key::Digest;
use larder::tier::blob::PIECE_BYTES;
use larder::tier::{BlobSource, TierError};

use super::Redis;
use super::connection::Lane;
use super::put::millis;
use super::steps::Steps;
use crate::limits::ASIDE;
use crate::pieces::{Described, Pieces};

/// How many commands go in one step.
const BATCH: u64 = 500;
/// How long the pieces of an upload that never came to its end stay.
const UNFINISHED: Duration = Duration::from_secs(3600);

impl Redis {
    async fn describe(&self, digest: Digest) -> Result<Option<Described>, TierError> {
        let mut steps = Steps::new();
        steps.cmd("GET").arg(self.inner.names.blob(digest));
        let (text,): (Option<String>,) = self.inner.connections.run(Lane::Small, &steps).await?;
        Ok(text.as_deref().and_then(Described::parse))
    }

    /// Which blobs are not there, or not whole. Those that are begin their time to live anew.
    pub(super) async fn not_whole(&self, blobs: &[Digest]) -> Result<Vec<Digest>, TierError> {
        let mut missing = Vec::new();
        for &digest in blobs {
            let described = self.describe(digest).await?;
            let is_whole = match described {
                Some(described) => self.renew(digest, &described).await?,
                None => false,
            };
            if !is_whole {
                missing.push(digest);
            }
        }
        Ok(missing)
    }

    /// Has a blob live as long as an entry that is put now. Says whether all of it is there.
    async fn renew(&self, digest: Digest, described: &Described) -> Result<bool, TierError> {
        if !self.renew_pieces(digest, described).await? {
            return Ok(false);
        }
        let mut steps = Steps::new();
        let age = millis(self.inner.options.max_age);
        steps.cmd("PEXPIRE").arg(self.inner.names.blob(digest)).arg(age);
        let (there,): (bool,) = self.inner.connections.run(Lane::Small, &steps).await?;
        Ok(there)
    }

    async fn renew_pieces(&self, digest: Digest, described: &Described) -> Result<bool, TierError> {
        let age = millis(self.inner.options.max_age);
        let mut nth = 0;
        while nth < described.pieces::<Self>() {
            let end = described.pieces::<Self>().min(nth + BATCH);
            let mut steps = Steps::new();
            for nth in nth..end {
                steps.cmd("PEXPIRE").arg(self.inner.names.piece(digest, &described.upload, nth)).arg(age);
            }
            let there: Vec<bool> = self.inner.connections.run(Lane::Small, &steps).await?;
            if there.contains(&false) {
                return Ok(false);
            }
            nth = end;
        }
        Ok(true)
    }

    pub(super) async fn described_blob(
        &self,
        digest: Digest,
    ) -> Result<Option<Box<dyn BlobSource>>, TierError> {
        Ok(self.describe(digest).await?.map(|described| self.reading(digest, described)))
    }

    /// Keeps a blob from being read, and its description for whoever looks into it.
    pub(super) async fn set_aside(&self, digest: Digest) -> Result<(), TierError> {
        let names = &self.inner.names;
        let mut steps = Steps::new();
        steps.cmd("GETDEL").arg(names.blob(digest));
        let (text,): (Option<String>,) = self.inner.connections.run(Lane::Small, &steps).await?;
        let Some(text) = text else { return Ok(()) };
        let mut steps = Steps::new();
        steps.cmd("SET").arg(names.blob_aside(digest)).arg(text).arg("PX").arg(millis(ASIDE)).ignore();
        self.inner.connections.run(Lane::Small, &steps).await
    }
}

impl Pieces for Redis {
    const BYTES: usize = PIECE_BYTES;

    async fn piece(&self, digest: Digest, upload: &str, nth: u64) -> Result<Option<Vec<u8>>, TierError> {
        let mut steps = Steps::new();
        // One byte more than a piece may have, so that one that is too long is not taken for a whole one.
        steps.cmd("GETRANGE").arg(self.inner.names.piece(digest, upload, nth)).arg(0).arg(PIECE_BYTES);
        let (piece,): (Vec<u8>,) = self.inner.connections.run(Lane::Bulk, &steps).await?;
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    async fn put_piece(
        &self,
        digest: Digest,
        upload: &str,
        nth: u64,
        piece: Vec<u8>,
    ) -> Result<bool, TierError> {
        let mut steps = Steps::new();
        steps.cmd("SET").arg(self.inner.names.piece(digest, upload, nth)).arg(piece);
        steps.arg("PX").arg(millis(UNFINISHED)).ignore();
        self.inner.connections.run::<()>(Lane::Bulk, &steps).await?;
        Ok(true)
    }

    async fn show(&self, digest: Digest, described: &Described) -> Result<bool, TierError> {
        if !self.renew_pieces(digest, described).await? {
            return Ok(false);
        }
        let mut steps = Steps::new();
        steps.cmd("SET").arg(self.inner.names.blob(digest)).arg(described.text());
        steps.arg("PX").arg(millis(self.inner.options.max_age)).ignore();
        self.inner.connections.run::<()>(Lane::Small, &steps).await?;
        Ok(true)
    }

    /// They end by themselves.
    fn give_up(&self, _upload: &str) {}
}
