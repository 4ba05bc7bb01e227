//! Blobs: what is said of one, and its bytes as content, in pieces.
//!
//! Invariant: what is said of a blob names pieces which were all there when it was said. What goes later, because the
//! server was short of room, is found by whoever reads or names the blob.

use std::collections::VecDeque;

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use larder::key::Digest;
use larder::tier::blob::PIECE_BYTES;
use larder::tier::{Answer, BlobForm, BlobSink, BlobSource, TierError};

use super::RemoteExecution;
use super::statement::{Name, Says, Statement};
use crate::naming::random;
use crate::under_way::UnderWay;

/// How long a piece is at the server.
pub(super) const CONTENT_BYTES: usize = 1 << 20;
/// Up to which length there is no piece, as the bytes stand where the blob is described.
pub(super) const INLINE_BYTES: usize = 16 << 10;
/// How many pieces are on their way at once.
const AHEAD: usize = 3;
/// How many blobs are asked after at once.
const ASKED: usize = 16;
/// How many bytes set a piece apart from one that the server has and that is damaged.
pub(super) const SALT: usize = 16;

/// What is known of a blob.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Described {
    form: BlobForm,
    salt: usize,
    inline: Vec<u8>,
    pub(super) pieces: Vec<api::Digest>,
}

impl Described {
    fn of(statement: Statement) -> Option<Self> {
        let Statement { says: Says::Blob { form, salt }, inline, pieces, .. } = statement else {
            return None;
        };
        Some(Self { form, salt, inline, pieces })
    }
}

impl RemoteExecution {
    /// What is known of blobs, in their order; `None` of one that is not there, or not whole.
    pub(super) async fn described(&self, blobs: &[Digest]) -> Result<Vec<Option<Described>>, TierError> {
        let mut described = Vec::with_capacity(blobs.len());
        for some in blobs.chunks(ASKED) {
            let mut under_way = UnderWay::new();
            for &digest in some {
                let tier = self.clone();
                under_way.push(async move { tier.stated(&Name::blob(digest)).await });
            }
            while let Some(statement) = under_way.first().await? {
                described.push(statement.and_then(Described::of));
            }
        }
        let pieces: Vec<_> = described.iter().flatten().flat_map(|blob| blob.pieces.clone()).collect();
        let missing = self.missing_content(pieces).await?;
        for blob in &mut described {
            blob.take_if(|blob| blob.pieces.iter().any(|piece| missing.contains(&piece.hash)));
        }
        Ok(described)
    }

    pub(super) async fn read_blob(&self, digest: Digest) -> Result<Option<Box<dyn BlobSource>>, TierError> {
        let Some(described) = self.stated(&Name::blob(digest)).await?.and_then(Described::of) else {
            return Ok(None);
        };
        let Described { form, salt, inline, pieces } = described;
        let (tier, under_way) = (self.clone(), UnderWay::new());
        Ok(Some(Box::new(Reading {
            tier,
            form,
            salt,
            pieces: pieces.into(),
            under_way,
            content: inline,
            given: 0,
        })))
    }

    pub(super) async fn write_blob(
        &self,
        digest: Digest,
        form: BlobForm,
    ) -> Result<Option<Box<dyn BlobSink>>, TierError> {
        let stated = self.stated(&Name::blob(digest)).await?;
        if self.reads_only() {
            return Ok(None);
        }
        // What is damaged there goes by its digest, and the server takes no other bytes under that.
        let salt = match stated.map(|statement| statement.says) {
            Some(Says::Aside) => SALT,
            _ => 0,
        };
        Ok(Some(Box::new(Writing {
            tier: self.clone(),
            digest,
            form,
            salt,
            written: 0,
            rest: Vec::new(),
            under_way: UnderWay::new(),
            pieces: Vec::new(),
        })))
    }

    /// Keeps what is filed under a name from being read, and what it named for whoever looks into it.
    pub(super) async fn set_aside(&self, name: &Name) -> Result<(), TierError> {
        let Some(bad) = self.stated(name).await? else { return Ok(()) };
        let aside = Statement { says: Says::Aside, ..bad };
        match self.state(name, || aside.clone()).await {
            // It stays, and is a miss to whoever reads it.
            Err(TierError::ReadOnly) => Ok(()),
            outcome => outcome,
        }
    }

    /// Stores bytes in pieces.
    pub(super) async fn store_pieces(&self, bytes: &[u8]) -> Result<Vec<api::Digest>, TierError> {
        let mut pieces = Vec::new();
        for piece in bytes.chunks(CONTENT_BYTES) {
            pieces.push(self.store_content(piece.to_vec()).await?);
        }
        Ok(pieces)
    }

    /// Bytes that were stored in pieces; `None` if a part of them is gone or not as long as it should be.
    pub(super) async fn read_pieces(&self, pieces: &[api::Digest]) -> Result<Option<Vec<u8>>, TierError> {
        let mut bytes = Vec::new();
        for piece in pieces {
            let content = self.content(piece).await?;
            let is_whole = |content: &Vec<u8>| content.len() as i64 == piece.size_bytes;
            let Some(content) = content.filter(is_whole) else { return Ok(None) };
            bytes.extend(content);
        }
        Ok(Some(bytes))
    }
}

struct Reading {
    tier: RemoteExecution,
    form: BlobForm,
    salt: usize,
    /// Those that are not asked for yet.
    pieces: VecDeque<api::Digest>,
    under_way: UnderWay<Option<Vec<u8>>>,
    /// What came last, and how much of it was given on.
    content: Vec<u8>,
    given: usize,
}

impl BlobSource for Reading {
    fn form(&self) -> BlobForm {
        self.form
    }

    fn next(&mut self) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async {
            while self.under_way.len() < AHEAD
                && let Some(piece) = self.pieces.pop_front()
            {
                let tier = self.tier.clone();
                self.under_way.push(async move { tier.content(&piece).await });
            }
            if self.given >= self.content.len() {
                let Some(content) = self.under_way.first().await?.flatten() else { return Ok(None) };
                (self.content, self.given) = (content, self.salt);
            }
            let rest = self.content.get(self.given..).unwrap_or_default();
            let piece = &rest[..PIECE_BYTES.min(rest.len())];
            self.given += piece.len();
            Ok(Some(piece.to_vec()).filter(|piece| !piece.is_empty()))
        })
    }
}

struct Writing {
    tier: RemoteExecution,
    digest: Digest,
    form: BlobForm,
    salt: usize,
    /// How many bytes came.
    written: u64,
    /// Bytes that do not make a piece yet.
    rest: Vec<u8>,
    under_way: UnderWay<api::Digest>,
    /// Those that arrived.
    pieces: Vec<api::Digest>,
}

impl Writing {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), TierError> {
        while self.under_way.len() >= AHEAD {
            self.pieces.extend(self.under_way.first().await?);
        }
        let mut piece = Vec::with_capacity(self.salt + bytes.len());
        while piece.len() < self.salt {
            piece.extend(random().to_le_bytes());
        }
        piece.extend(bytes);
        let tier = self.tier.clone();
        self.under_way.push(async move { tier.store_content(piece).await });
        Ok(())
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
            while self.rest.len() >= CONTENT_BYTES {
                let more = self.rest.split_off(CONTENT_BYTES);
                let whole = std::mem::replace(&mut self.rest, more);
                self.send(&whole).await?;
            }
            Ok(())
        })
    }

    fn finish(&mut self) -> Answer<'_, bool> {
        Box::pin(async {
            if self.written != self.form.bytes {
                return Ok(false);
            }
            let mut inline = std::mem::take(&mut self.rest);
            if self.written > INLINE_BYTES as u64 && !inline.is_empty() {
                let last = std::mem::take(&mut inline);
                self.send(&last).await?;
            }
            while let Some(piece) = self.under_way.first().await? {
                self.pieces.push(piece);
            }
            let salt = if self.pieces.is_empty() { 0 } else { self.salt };
            let (says, pieces) = (Says::Blob { form: self.form, salt }, std::mem::take(&mut self.pieces));
            let described = Statement { says, inline, pieces, beside: Vec::new() };
            self.tier.state(&Name::blob(self.digest), || described.clone()).await?;
            Ok(true)
        })
    }
}
