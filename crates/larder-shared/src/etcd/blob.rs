//! Blobs, as this server has their pieces.

use larder::key::Digest;
use larder::tier::{BlobForm, BlobSink, BlobSource, TierError};

use super::Etcd;
use super::gateway::Failure;
use super::put::PIECE_BYTES;
use super::wire::{Bytes, Compare, Delete, Op, Put, Range, Ranged, Stored, Txn};
use crate::pieces::{Described, Pieces};

/// A longer blob is not taken: a server holds 2 GiB of everything, unless its operator says otherwise.
const MAX_BLOB_BYTES: u64 = 32 << 20;
/// How many pieces get another term in one step.
const BATCH: u64 = 16;

impl Etcd {
    async fn describe(&self, digest: Digest) -> Result<Option<(Stored, Described)>, Failure> {
        let found: Ranged =
            self.inner.gateway.ask("kv/range", &Range::one(self.inner.names.blob(digest))).await?;
        let Some(stored) = found.kvs.into_iter().next() else { return Ok(None) };
        let described = stored.value.text().and_then(Described::parse);
        Ok(described.map(|described| (stored, described)))
    }

    /// Which blobs are not there, or not whole. Those that are live at least as long as an entry that is put now.
    pub(super) async fn not_whole(&self, blobs: &[Digest]) -> Result<Vec<Digest>, Failure> {
        let mut missing = Vec::new();
        for &digest in blobs {
            if !self.is_whole(digest).await? {
                missing.push(digest);
            }
        }
        Ok(missing)
    }

    async fn is_whole(&self, digest: Digest) -> Result<bool, Failure> {
        let Some((stored, described)) = self.describe(digest).await? else { return Ok(false) };
        let pieces = Range::count(self.inner.names.pieces(&described.upload));
        let found: Ranged = self.inner.gateway.ask("kv/range", &pieces).await?;
        if found.count != described.pieces::<Self>() as i64 {
            return Ok(false);
        }
        let max_age = self.inner.options.max_age;
        if self.lasts(stored.lease, max_age).await? {
            return Ok(true);
        }
        match self.prolong(digest, &described, max_age).await {
            Err(Failure::NoLease) => {
                self.forget_terms();
                self.prolong(digest, &described, max_age).await
            }
            prolonged => prolonged,
        }
    }

    /// Has a blob live as long as what is put now. Says whether all of it is there.
    async fn prolong(
        &self,
        digest: Digest,
        described: &Described,
        age: std::time::Duration,
    ) -> Result<bool, Failure> {
        let lease = self.term(age).await?;
        let pieces =
            (0..described.pieces::<Self>()).map(|nth| self.inner.names.piece(&described.upload, nth));
        // The description comes last: while that has the older term, the pieces may have either.
        let names: Vec<String> = pieces.chain([self.inner.names.blob(digest)]).collect();
        for batch in names.chunks(BATCH as usize) {
            let txn = Txn {
                compare: batch.iter().map(|name| Compare::there(name.as_str())).collect(),
                success: batch.iter().map(|name| Op::Put(Put::longer(name.as_str(), lease))).collect(),
                failure: Vec::new(),
            };
            if !self.transact(&txn).await?.succeeded {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) async fn described_blob(
        &self,
        digest: Digest,
    ) -> Result<Option<Box<dyn BlobSource>>, TierError> {
        Ok(self.describe(digest).await?.map(|(_, described)| self.reading(digest, described)))
    }

    /// `None` for one that is too large.
    pub(super) fn new_blob(&self, digest: Digest, form: BlobForm) -> Option<Box<dyn BlobSink>> {
        (form.bytes <= MAX_BLOB_BYTES).then(|| self.writing(digest, form))
    }

    /// Keeps a blob from being read, and its description for whoever looks into it.
    pub(super) async fn set_aside(&self, digest: Digest) -> Result<(), TierError> {
        let Some((stored, _)) = self.describe(digest).await? else { return Ok(()) };
        let name = self.inner.names.blob(digest);
        let compare = vec![Compare::changed_in(name.as_str(), stored.mod_revision)];
        let gone = vec![Delete::one(name)];
        self.replace_aside(compare, gone, &format!("b/{digest}"), stored.value).await
    }

    async fn try_show(&self, digest: Digest, described: &Described) -> Result<bool, Failure> {
        let names = &self.inner.names;
        let lease = self.term(self.inner.options.max_age).await?;
        let pieces = (0..described.pieces::<Self>()).map(|nth| names.piece(&described.upload, nth));
        let put = Put::new(names.blob(digest), described.text()).until(lease);
        let txn = Txn {
            compare: pieces.map(Compare::there).collect(),
            success: vec![Op::Put(put)],
            failure: Vec::new(),
        };
        Ok(self.transact(&txn).await?.succeeded)
    }
}

impl Pieces for Etcd {
    const BYTES: usize = PIECE_BYTES;

    async fn piece(&self, _digest: Digest, upload: &str, nth: u64) -> Result<Option<Vec<u8>>, TierError> {
        let name = Range::one(self.inner.names.piece(upload, nth));
        let found: Ranged = self.inner.gateway.ask("kv/range", &name).await?;
        Ok(found.kvs.into_iter().next().map(|piece| piece.value.0))
    }

    async fn put_piece(
        &self,
        _digest: Digest,
        upload: &str,
        nth: u64,
        piece: Vec<u8>,
    ) -> Result<bool, TierError> {
        let piece = Put::new(self.inner.names.piece(upload, nth), Bytes(piece));
        let max_age = self.inner.options.max_age;
        let put = async || {
            let lease = self.term(max_age).await?;
            self.put(&piece.clone().until(lease)).await
        };
        let outcome = match put().await {
            Err(Failure::NoLease) => {
                self.forget_terms();
                put().await
            }
            outcome => outcome,
        };
        match outcome {
            Err(Failure::NoSpace) => Ok(false),
            outcome => Ok(outcome.map(|()| true)?),
        }
    }

    async fn show(&self, digest: Digest, described: &Described) -> Result<bool, TierError> {
        match self.try_show(digest, described).await {
            Err(Failure::NoSpace) => Ok(false),
            shown => Ok(shown?),
        }
    }

    fn give_up(&self, upload: &str) {
        self.drop_pieces(upload, None);
    }
}
