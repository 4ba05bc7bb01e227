//! Blobs as a description, and pieces under names of their own: for servers whose values are to be short.
//!
//! Invariant: a description names pieces of one upload, which were all there when it was written. What goes later is
//! found by whoever reads or names the blob.

use std::collections::VecDeque;
use std::future::Future;

use larder::key::Digest;
use larder::tier::blob::PIECE_BYTES;
use larder::tier::{Answer, BlobForm, BlobSink, BlobSource, TierError};

use crate::naming::unique;
use crate::under_way::UnderWay;

/// How many pieces are on their way at once.
const AHEAD: usize = 4;

/// A server that has pieces. A clone is another handle.
pub(crate) trait Pieces: Clone + Send + Sync + 'static {
    /// How long a piece is, but for the last one.
    const BYTES: usize;

    /// A piece of a blob, if it is there. One that is too long may be given in a part that is too long.
    fn piece(
        &self,
        digest: Digest,
        upload: &str,
        nth: u64,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, TierError>> + Send;

    /// Puts a piece of a blob. Says whether there is room for it.
    fn put_piece(
        &self,
        digest: Digest,
        upload: &str,
        nth: u64,
        piece: Vec<u8>,
    ) -> impl Future<Output = Result<bool, TierError>> + Send;

    /// Writes a description, if all pieces are there. Says whether it is written.
    fn show(
        &self,
        digest: Digest,
        described: &Described,
    ) -> impl Future<Output = Result<bool, TierError>> + Send;

    /// Takes note that some pieces of an upload were put and are not described.
    fn give_up(&self, upload: &str);

    /// Reads a blob that is described so.
    fn reading(&self, digest: Digest, described: Described) -> Box<dyn BlobSource> {
        let (given, under_way) = (VecDeque::new(), UnderWay::new());
        Box::new(Reading { server: self.clone(), digest, described, asked: 0, given, under_way })
    }

    /// Writes a blob.
    fn writing(&self, digest: Digest, form: BlobForm) -> Box<dyn BlobSink> {
        Box::new(Writing {
            server: self.clone(),
            digest,
            described: Described { form, upload: unique() },
            written: 0,
            rest: Vec::new(),
            under_way: UnderWay::new(),
            refused: false,
            shown: false,
        })
    }
}

/// What is known of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    form: BlobForm,
    pub(crate) upload: String,
}

impl Described {
    pub(crate) fn text(&self) -> String {
        let form = if self.form.packed { "zstd" } else { "plain" };
        format!("1 {form} {} {}", self.form.bytes, self.upload)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
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

    /// How many pieces there are on such a server.
    pub(crate) fn pieces<P: Pieces>(&self) -> u64 {
        self.form.bytes.div_ceil(P::BYTES as u64)
    }
}

struct Reading<P> {
    server: P,
    digest: Digest,
    described: Described,
    asked: u64,
    /// What came of a piece and was not given yet.
    given: VecDeque<Vec<u8>>,
    under_way: UnderWay<Option<Vec<u8>>>,
}

impl<P: Pieces> BlobSource for Reading<P> {
    fn form(&self) -> BlobForm {
        self.described.form
    }

    fn next(&mut self) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async {
            while self.under_way.len() < AHEAD && self.asked < self.described.pieces::<P>() {
                let (server, digest, nth) = (self.server.clone(), self.digest, self.asked);
                let upload = self.described.upload.clone();
                self.under_way.push(async move { server.piece(digest, &upload, nth).await });
                self.asked += 1;
            }
            if self.given.is_empty()
                && let Some(piece) = self.under_way.first().await?.flatten()
            {
                self.given.extend(piece.chunks(PIECE_BYTES).map(<[u8]>::to_vec));
            }
            Ok(self.given.pop_front())
        })
    }
}

struct Writing<P: Pieces> {
    server: P,
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

impl<P: Pieces> Writing<P> {
    async fn send(&mut self, piece: Vec<u8>, nth: u64) -> Result<(), TierError> {
        while self.under_way.len() >= AHEAD {
            self.refused |= self.under_way.first().await? == Some(false);
        }
        if self.refused {
            return Ok(());
        }
        let (server, digest, upload) = (self.server.clone(), self.digest, self.described.upload.clone());
        self.under_way.push(async move { server.put_piece(digest, &upload, nth, piece).await });
        Ok(())
    }
}

impl<P: Pieces> BlobSink for Writing<P> {
    fn write(&mut self, piece: Vec<u8>) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut nth = self.written / P::BYTES as u64;
            self.written += piece.len() as u64;
            if self.written > self.described.form.bytes {
                return Ok(());
            }
            self.rest.extend(piece);
            while self.rest.len() >= P::BYTES {
                let more = self.rest.split_off(P::BYTES);
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
                self.send(rest, self.written / P::BYTES as u64).await?;
            }
            while let Some(is_kept) = self.under_way.first().await? {
                self.refused |= !is_kept;
            }
            if self.refused {
                return Ok(false);
            }
            self.shown = self.server.show(self.digest, &self.described).await?;
            Ok(self.shown)
        })
    }
}

impl<P: Pieces> Drop for Writing<P> {
    fn drop(&mut self) {
        self.under_way = UnderWay::new();
        if !self.shown && self.written >= P::BYTES as u64 {
            self.server.give_up(&self.described.upload);
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
        assert_eq!(Described::parse(&described.text()), Some(described));
        for bad in ["", "1 zstd 3", "2 zstd 3 x", "1 gzip 3 x", "1 plain -3 x", "1 plain 3 x y"] {
            assert_eq!(Described::parse(bad), None, "{bad}");
        }
    }
}
