//! Blobs: an object each, a short header and then the blob in the form in which it came.
//!
//! Invariant: an object is there only when all of it is, so a blob needs no description of its own.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use larder::key::Digest;
use larder::tier::blob::PIECE_BYTES;
use larder::tier::{Answer, BlobForm, BlobSink, BlobSource, TierError};
use object_store::{MultipartUpload, PutPayload};
use tokio::task::JoinSet;

use super::S3;
use super::store::failed;
use crate::under_way::UnderWay;

/// What each begins with, before one byte for its form.
const MAGIC: &[u8; 7] = b"LBLOB\x00\x01";
const HEADER_BYTES: usize = 8;

/// What is longer goes in parts of this size.
const PART_BYTES: usize = 8 << 20;
/// How many parts the protocol allows.
const MAX_PARTS: u64 = 10_000;
/// How many parts are on their way at once.
const AHEAD: usize = 2;
/// How many blobs are asked for at once.
const AT_ONCE: usize = 16;

fn header(packed: bool) -> [u8; HEADER_BYTES] {
    let mut header = [u8::from(packed); HEADER_BYTES];
    header[..MAGIC.len()].copy_from_slice(MAGIC);
    header
}

impl S3 {
    /// Which blobs are not there. One that is so old that it might be gone before an entry that is put now counts as
    /// one of them: whoever sends it again makes it young.
    pub(super) async fn not_there(&self, blobs: &[Digest]) -> Result<Vec<Digest>, TierError> {
        let mut waiting = blobs.iter().copied();
        let mut under_way = JoinSet::new();
        let mut there = Vec::new();
        loop {
            while under_way.len() < AT_ONCE
                && let Some(digest) = waiting.next()
            {
                let s3 = self.clone();
                under_way.spawn(async move { Ok::<_, TierError>((digest, s3.is_there(digest).await?)) });
            }
            let Some(looked) = under_way.join_next().await else { break };
            let (digest, is_there) = looked.map_err(|error| TierError::Index(Box::new(error)))??;
            if is_there {
                there.push(digest);
            }
        }
        Ok(blobs.iter().copied().filter(|digest| !there.contains(digest)).collect())
    }

    async fn is_there(&self, digest: Digest) -> Result<bool, TierError> {
        let Some(changed) = self.inner.store.look(&self.inner.names.blob(digest)).await? else {
            return Ok(false);
        };
        Ok(self.inner.options.clock.wall().since(changed) < self.inner.options.max_age)
    }

    pub(super) async fn read_blob(&self, digest: Digest) -> Result<Option<Box<dyn BlobSource>>, TierError> {
        let Some((bytes, stream)) = self.inner.store.open(&self.inner.names.blob(digest)).await? else {
            return Ok(None);
        };
        let form = BlobForm { packed: false, bytes: 0 };
        let mut reading = Reading { form, stream, rest: Bytes::new(), next: Vec::new() };
        let mut first = Vec::with_capacity(HEADER_BYTES);
        while first.len() < HEADER_BYTES {
            let Some(more) = reading.piece(HEADER_BYTES - first.len()).await? else { return Ok(None) };
            first.extend_from_slice(&more);
        }
        // What is none of ours is not there.
        let Some(packed) = [false, true].into_iter().find(|&packed| header(packed) == *first) else {
            return Ok(None);
        };
        reading.form = BlobForm { packed, bytes: bytes - HEADER_BYTES as u64 };
        Ok(Some(Box::new(reading)))
    }

    /// `None` for one that is too large.
    pub(super) fn write_blob(&self, digest: Digest, form: BlobForm) -> Option<Box<dyn BlobSink>> {
        let parts = (form.bytes + HEADER_BYTES as u64).div_ceil(PART_BYTES as u64);
        let name = self.inner.names.blob(digest);
        let rest = header(form.packed).to_vec();
        let writing = Writing { s3: self.clone(), name, form, written: 0, rest, upload: None };
        (parts <= MAX_PARTS).then(|| Box::new(writing) as Box<dyn BlobSink>)
    }

    /// Keeps a blob from being read, and its bytes for whoever looks into them.
    pub(super) async fn set_blob_aside(&self, digest: Digest) -> Result<(), TierError> {
        let name = self.inner.names.blob(digest);
        self.inner.store.move_aside(&name, &self.inner.names.aside(&name)).await
    }
}

struct Reading {
    form: BlobForm,
    stream: BoxStream<'static, Result<Bytes, TierError>>,
    /// What came and was not given yet.
    rest: Bytes,
    /// What there is of the next piece.
    next: Vec<u8>,
}

impl Reading {
    /// The next bytes, of at most so many.
    async fn piece(&mut self, most: usize) -> Result<Option<Bytes>, TierError> {
        while self.rest.is_empty() {
            match self.stream.next().await {
                Some(more) => self.rest = more?,
                None => return Ok(None),
            }
        }
        Ok(Some(self.rest.split_to(most.min(self.rest.len()))))
    }
}

impl BlobSource for Reading {
    fn form(&self) -> BlobForm {
        self.form
    }

    fn next(&mut self) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async {
            // What arrives is in smaller parts than a piece.
            while self.next.len() < PIECE_BYTES
                && let Some(more) = self.piece(PIECE_BYTES - self.next.len()).await?
            {
                self.next.extend_from_slice(&more);
            }
            Ok(Some(std::mem::take(&mut self.next)).filter(|piece| !piece.is_empty()))
        })
    }
}

struct Writing {
    s3: S3,
    name: String,
    form: BlobForm,
    /// How many bytes came.
    written: u64,
    /// Bytes that do not make a part yet.
    rest: Vec<u8>,
    upload: Option<Upload>,
}

/// Parts on their way.
struct Upload {
    parts: Box<dyn MultipartUpload>,
    under_way: UnderWay<()>,
}

impl Writing {
    async fn send_part(&mut self, part: Vec<u8>) -> Result<(), TierError> {
        if self.upload.is_none() {
            let parts = self.s3.inner.store.write_parts(&self.name).await?;
            self.upload = Some(Upload { parts, under_way: UnderWay::new() });
        }
        let Some(upload) = &mut self.upload else { return Ok(()) };
        while upload.under_way.len() >= AHEAD {
            upload.under_way.first().await?;
        }
        let part = upload.parts.put_part(PutPayload::from_bytes(part.into()));
        upload.under_way.push(async move { part.await.map_err(failed) });
        Ok(())
    }

    /// Gives up what was sent.
    fn abort(&mut self) {
        let Some(Upload { mut parts, under_way }) = self.upload.take() else { return };
        drop(under_way);
        // Else the bucket's rules end it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { parts.abort().await });
        }
    }
}

impl BlobSink for Writing {
    fn write(&mut self, piece: Vec<u8>) -> Answer<'_, ()> {
        Box::pin(async move {
            self.written += piece.len() as u64;
            if self.written > self.form.bytes {
                return Ok(());
            }
            self.rest.extend(piece);
            while self.rest.len() > PART_BYTES {
                let more = self.rest.split_off(PART_BYTES);
                let part = std::mem::replace(&mut self.rest, more);
                self.send_part(part).await?;
            }
            Ok(())
        })
    }

    fn finish(&mut self) -> Answer<'_, bool> {
        Box::pin(async {
            if self.written != self.form.bytes {
                self.abort();
                return Ok(false);
            }
            let rest = std::mem::take(&mut self.rest);
            if self.upload.is_none() {
                self.s3.inner.store.write(&self.name, rest).await?;
                return Ok(true);
            }
            self.send_part(rest).await?;
            if let Some(upload) = &mut self.upload {
                while upload.under_way.first().await?.is_some() {}
                upload.parts.complete().await.map_err(failed)?;
            }
            self.upload = None;
            Ok(true)
        })
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.abort();
    }
}
