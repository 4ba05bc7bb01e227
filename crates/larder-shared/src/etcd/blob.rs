//! Blobs: a description, and pieces under keys of their own.
//!
//! Invariant: a description names pieces of one upload, which were all there when it was written. What goes later is
//! found by whoever reads or names the blob.

use std::collections::VecDeque;

use larder::key::Digest;
use larder::tier::blob::PIECE_BYTES as GIVEN_BYTES;
use larder::tier::{Answer, BlobForm, BlobSink, BlobSource, TierError};
use tokio::task::JoinHandle;

use super::Etcd;
use super::gateway::Failure;
use super::put::PIECE_BYTES;
use super::wire::{Bytes, Compare, Delete, Op, Put, Range, Ranged, Stored, Txn};
use crate::naming::unique;

/// A longer blob is not taken: a server holds 2 GiB of everything, unless its operator says otherwise.
const MAX_BLOB_BYTES: u64 = 32 << 20;
/// How many pieces are on their way at once.
const AHEAD: usize = 4;
/// How many pieces get another term in one step.
const BATCH: u64 = 16;

/// What is known of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Described {
    form: BlobForm,
    upload: String,
}

impl Described {
    fn text(&self) -> String {
        let form = if self.form.packed { "zstd" } else { "plain" };
        format!("1 {form} {} {}", self.form.bytes, self.upload)
    }

    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(' ').collect();
        let ["1", form, bytes, upload] = parts.as_slice() else { return None };
        let packed = match *form {
            "zstd" => true,
            "plain" => false,
            _ => return None,
        };
        let form = BlobForm { packed, bytes: bytes.parse().ok()? };
        Some(Self { form, upload: (*upload).to_owned() })
    }

    /// How many pieces there are.
    fn pieces(&self) -> u64 {
        self.form.bytes.div_ceil(PIECE_BYTES as u64)
    }
}

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
        if found.count != described.pieces() as i64 {
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
        let pieces = (0..described.pieces()).map(|nth| self.inner.names.piece(&described.upload, nth));
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

    pub(super) async fn read_pieces(&self, digest: Digest) -> Result<Option<Box<dyn BlobSource>>, TierError> {
        let Some((_, described)) = self.describe(digest).await? else { return Ok(None) };
        Ok(Some(Box::new(Reading {
            etcd: self.clone(),
            described,
            asked: 0,
            given: VecDeque::new(),
            under_way: VecDeque::new(),
        })))
    }

    pub(super) fn write_pieces(&self, digest: Digest, form: BlobForm) -> Option<Box<dyn BlobSink>> {
        (form.bytes <= MAX_BLOB_BYTES).then(|| {
            let described = Described { form, upload: unique() };
            let under_way = VecDeque::new();
            let (etcd, rest) = (self.clone(), Vec::new());
            Box::new(Writing {
                etcd,
                digest,
                described,
                written: 0,
                rest,
                under_way,
                refused: false,
                shown: false,
            }) as Box<dyn BlobSink>
        })
    }

    /// Keeps a blob from being read, and its description for whoever looks into it.
    pub(super) async fn set_aside(&self, digest: Digest) -> Result<(), TierError> {
        let Some((stored, _)) = self.describe(digest).await? else { return Ok(()) };
        let name = self.inner.names.blob(digest);
        let compare = vec![Compare::changed_in(name.as_str(), stored.mod_revision)];
        let gone = vec![Delete::one(name)];
        self.replace_aside(compare, gone, &format!("b/{digest}"), stored.value).await
    }

    async fn piece(&self, name: String) -> Result<Option<Vec<u8>>, Failure> {
        let found: Ranged = self.inner.gateway.ask("kv/range", &Range::one(name)).await?;
        Ok(found.kvs.into_iter().next().map(|piece| piece.value.0))
    }

    /// Puts a piece; whether there is room for it.
    async fn put_piece(&self, name: String, piece: Vec<u8>) -> Result<bool, Failure> {
        let piece = Put::new(name, Bytes(piece));
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
            outcome => outcome.map(|()| true),
        }
    }
}

/// Steps that are under way; those that nobody waits for any more are ended.
type UnderWay<T> = VecDeque<JoinHandle<Result<T, Failure>>>;

async fn first<T>(under_way: &mut UnderWay<T>) -> Result<Option<T>, TierError> {
    let Some(first) = under_way.pop_front() else { return Ok(None) };
    match first.await {
        Ok(outcome) => Ok(Some(outcome?)),
        Err(error) => Err(TierError::Index(Box::new(error))),
    }
}

struct Reading {
    etcd: Etcd,
    described: Described,
    asked: u64,
    /// What came of a piece and was not given yet.
    given: VecDeque<Vec<u8>>,
    under_way: UnderWay<Option<Vec<u8>>>,
}

impl BlobSource for Reading {
    fn form(&self) -> BlobForm {
        self.described.form
    }

    fn next(&mut self) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async {
            while self.under_way.len() < AHEAD && self.asked < self.described.pieces() {
                let name = self.etcd.inner.names.piece(&self.described.upload, self.asked);
                let etcd = self.etcd.clone();
                self.under_way.push_back(tokio::spawn(async move { etcd.piece(name).await }));
                self.asked += 1;
            }
            if self.given.is_empty()
                && let Some(piece) = first(&mut self.under_way).await?.flatten()
            {
                self.given.extend(piece.chunks(GIVEN_BYTES).map(<[u8]>::to_vec));
            }
            Ok(self.given.pop_front())
        })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.under_way.iter().for_each(JoinHandle::abort);
    }
}

struct Writing {
    etcd: Etcd,
    digest: Digest,
    described: Described,
    /// How many bytes came.
    written: u64,
    /// Bytes that do not make a piece yet.
    rest: Vec<u8>,
    under_way: UnderWay<bool>,
    /// Whether there was no room for a piece.
    refused: bool,
    shown: bool,
}

impl Writing {
    async fn send(&mut self, piece: Vec<u8>, nth: u64) -> Result<(), TierError> {
        while self.under_way.len() >= AHEAD {
            self.refused |= first(&mut self.under_way).await? == Some(false);
        }
        if self.refused {
            return Ok(());
        }
        let name = self.etcd.inner.names.piece(&self.described.upload, nth);
        let etcd = self.etcd.clone();
        self.under_way.push_back(tokio::spawn(async move { etcd.put_piece(name, piece).await }));
        Ok(())
    }

    /// Writes the description, if all pieces are there.
    async fn show(&self) -> Result<bool, Failure> {
        let names = &self.etcd.inner.names;
        let lease = self.etcd.term(self.etcd.inner.options.max_age).await?;
        let pieces = (0..self.described.pieces()).map(|nth| names.piece(&self.described.upload, nth));
        let put = Put::new(names.blob(self.digest), self.described.text()).until(lease);
        let txn = Txn {
            compare: pieces.map(Compare::there).collect(),
            success: vec![Op::Put(put)],
            failure: Vec::new(),
        };
        Ok(self.etcd.transact(&txn).await?.succeeded)
    }
}

impl BlobSink for Writing {
    fn write(&mut self, piece: Vec<u8>) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut nth = self.written / PIECE_BYTES as u64;
            self.written += piece.len() as u64;
            if self.written > self.described.form.bytes {
                return Ok(());
            }
            self.rest.extend(piece);
            while self.rest.len() >= PIECE_BYTES {
                let more = self.rest.split_off(PIECE_BYTES);
                let whole = std::mem::replace(&mut self.rest, more);
                self.send(whole, nth).await?;
                nth += 1;
            }
            Ok(())
        })
    }

    fn finish(&mut self) -> Answer<'_, bool> {
        Box::pin(async {
            if self.written != self.described.form.bytes {
                return Ok(false);
            }
            let rest = std::mem::take(&mut self.rest);
            if !rest.is_empty() {
                self.send(rest, self.written / PIECE_BYTES as u64).await?;
            }
            while let Some(is_kept) = first(&mut self.under_way).await? {
                self.refused |= !is_kept;
            }
            if self.refused {
                return Ok(false);
            }
            self.shown = match self.show().await {
                Err(Failure::NoSpace) => false,
                shown => shown?,
            };
            Ok(self.shown)
        })
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.under_way.iter().for_each(JoinHandle::abort);
        if !self.shown && self.written >= PIECE_BYTES as u64 {
            self.etcd.drop_pieces(&self.described.upload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_reads_back_and_another_is_none() {
        let form = BlobForm { packed: true, bytes: 1_100_000 };
        let described = Described { form, upload: unique() };
        assert_eq!(Described::parse(&described.text()), Some(described.clone()));
        assert_eq!(described.pieces(), 3);
        for bad in ["", "1 zstd 3", "2 zstd 3 x", "1 gzip 3 x", "1 plain -3 x", "1 plain 3 x y"] {
            assert_eq!(Described::parse(bad), None, "{bad}");
        }
    }
}
