//! Blobs: a description, and pieces under keys of their own.
//!
//! Invariant: a description names pieces of one upload, which were all there when it was written. What goes later,
//! because the server was short of memory, is found by whoever reads or names the blob.

use std::collections::VecDeque;
use std::time::Duration;

use larder::key::Digest;
use larder::tier::blob::PIECE_BYTES;
use larder::tier::{Answer, BlobForm, BlobSink, BlobSource, TierError};
use tokio::task::JoinHandle;

use super::Redis;
use super::connection::Lane;
use super::put::millis;
use super::steps::Steps;
use crate::naming::unique;

/// How many pieces are on their way at once.
const AHEAD: usize = 4;
/// How many commands go in one step.
const BATCH: u64 = 500;
/// How long the pieces of an upload that never came to its end stay.
const UNFINISHED: Duration = Duration::from_secs(3600);
/// How long what is set aside stays.
const ASIDE: Duration = Duration::from_secs(7 * 86_400);

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
        while nth < described.pieces() {
            let end = described.pieces().min(nth + BATCH);
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

    pub(super) async fn read_pieces(&self, digest: Digest) -> Result<Option<Box<dyn BlobSource>>, TierError> {
        let Some(described) = self.describe(digest).await? else { return Ok(None) };
        let under_way = VecDeque::with_capacity(AHEAD);
        Ok(Some(Box::new(Reading { redis: self.clone(), digest, described, asked: 0, under_way })))
    }

    pub(super) fn write_pieces(&self, digest: Digest, form: BlobForm) -> Box<dyn BlobSink> {
        let described = Described { form, upload: unique() };
        let redis = self.clone();
        Box::new(Writing {
            redis,
            digest,
            described,
            written: 0,
            rest: Vec::new(),
            under_way: VecDeque::new(),
        })
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

    async fn piece(&self, name: String) -> Result<Option<Vec<u8>>, TierError> {
        let mut steps = Steps::new();
        // One byte more than a piece may have, so that one that is too long is not taken for a whole one.
        steps.cmd("GETRANGE").arg(name).arg(0).arg(PIECE_BYTES);
        let (piece,): (Vec<u8>,) = self.inner.connections.run(Lane::Bulk, &steps).await?;
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    async fn put_piece(&self, name: String, piece: Vec<u8>) -> Result<(), TierError> {
        let mut steps = Steps::new();
        steps.cmd("SET").arg(name).arg(piece).arg("PX").arg(millis(UNFINISHED)).ignore();
        self.inner.connections.run(Lane::Bulk, &steps).await
    }
}

/// Steps that are under way; those that nobody waits for any more are ended.
type UnderWay<T> = VecDeque<JoinHandle<Result<T, TierError>>>;

async fn first<T>(under_way: &mut UnderWay<T>) -> Result<Option<T>, TierError> {
    let Some(first) = under_way.pop_front() else { return Ok(None) };
    first.await.unwrap_or_else(|error| Err(TierError::Index(Box::new(error)))).map(Some)
}

struct Reading {
    redis: Redis,
    digest: Digest,
    described: Described,
    asked: u64,
    under_way: UnderWay<Option<Vec<u8>>>,
}

impl BlobSource for Reading {
    fn form(&self) -> BlobForm {
        self.described.form
    }

    fn next(&mut self) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async {
            while self.under_way.len() < AHEAD && self.asked < self.described.pieces() {
                let name = self.redis.inner.names.piece(self.digest, &self.described.upload, self.asked);
                let redis = self.redis.clone();
                self.under_way.push_back(tokio::spawn(async move { redis.piece(name).await }));
                self.asked += 1;
            }
            Ok(first(&mut self.under_way).await?.flatten())
        })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.under_way.iter().for_each(JoinHandle::abort);
    }
}

struct Writing {
    redis: Redis,
    digest: Digest,
    described: Described,
    /// How many bytes came.
    written: u64,
    /// Bytes that do not make a piece yet.
    rest: Vec<u8>,
    under_way: UnderWay<()>,
}

impl Writing {
    async fn send(&mut self, piece: Vec<u8>, nth: u64) -> Result<(), TierError> {
        while self.under_way.len() >= AHEAD {
            first(&mut self.under_way).await?;
        }
        let name = self.redis.inner.names.piece(self.digest, &self.described.upload, nth);
        let redis = self.redis.clone();
        self.under_way.push_back(tokio::spawn(async move { redis.put_piece(name, piece).await }));
        Ok(())
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
            while first(&mut self.under_way).await?.is_some() {}
            if !self.redis.renew_pieces(self.digest, &self.described).await? {
                return Ok(false);
            }
            let age = millis(self.redis.inner.options.max_age);
            let mut steps = Steps::new();
            steps.cmd("SET").arg(self.redis.inner.names.blob(self.digest)).arg(self.described.text());
            steps.arg("PX").arg(age).ignore();
            self.redis.inner.connections.run::<()>(Lane::Small, &steps).await?;
            Ok(true)
        })
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.under_way.iter().for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_reads_back_and_another_is_none() {
        let form = BlobForm { packed: true, bytes: 300_000 };
        let described = Described { form, upload: unique() };
        assert_eq!(Described::parse(&described.text()), Some(described.clone()));
        assert_eq!(described.pieces(), 3);
        for bad in ["", "1 zstd 3", "2 zstd 3 x", "1 gzip 3 x", "1 plain -3 x", "1 plain 3 x y"] {
            assert_eq!(Described::parse(bad), None, "{bad}");
        }
    }
}
