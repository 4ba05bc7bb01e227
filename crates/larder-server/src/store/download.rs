//! Giving a content a piece at a time, from anywhere on, as it is or packed.
//!
//! Invariant: what comes to its end is all that was promised. A file that got shorter meanwhile is an error.
//!
//! Memory holds one piece for each download, and no thread waits for a slow client.

use std::io::{self, Read};

use bytes::Bytes;
use futures_util::Stream;
use larder::tier::TierError;
use larder::tier::disk::Content;
use tokio::task::JoinError;

use super::StoreError;

/// How long a piece is at most.
const PIECE_BYTES: usize = 256 << 10;

/// How hard contents that are stored as they are get packed for whoever wants them packed.
const LEVEL: i32 = 1;

/// In which form bytes go to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As they are.
    Identity,
    /// As one zstd frame.
    Zstd,
}

/// A content that can be given.
#[derive(Debug)]
pub struct Download {
    bytes: u64,
    from: From,
}

#[derive(Debug)]
enum From {
    Memory(Bytes),
    Disk(Content),
}

impl Download {
    pub(super) fn inline(bytes: Bytes) -> Self {
        Self { bytes: bytes.len() as u64, from: From::Memory(bytes) }
    }

    pub(super) fn stored(content: Content) -> Self {
        Self { bytes: content.bytes(), from: From::Disk(content) }
    }

    /// How long the content is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The whole content in memory, for callers who know that it is not too large; `None` if it broke off.
    pub async fn collect(self) -> Result<Option<Bytes>, StoreError> {
        let content = match self.from {
            From::Memory(bytes) => return Ok(Some(bytes)),
            From::Disk(content) => content,
        };
        let expected = self.bytes;
        let work = move || {
            let mut all = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
            content.read_from(0)?.read_to_end(&mut all).map_err(TierError::Io)?;
            Ok::<_, StoreError>((all.len() as u64 == expected).then(|| Bytes::from(all)))
        };
        tokio::task::spawn_blocking(work).await.map_err(ended)?
    }

    /// The content from `offset` on, at most `limit` bytes of it, in pieces. Offset and limit are those of the content,
    /// whatever form it goes in.
    pub async fn pieces(
        self,
        offset: u64,
        limit: Option<u64>,
        coding: Coding,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static, StoreError> {
        let limit = limit.unwrap_or(u64::MAX).min(self.bytes.saturating_sub(offset));
        let state = match (self.from, coding) {
            (From::Memory(bytes), Coding::Identity) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Pieces::Memory(bytes.slice(from..from + limit as usize))
            }
            (from, coding) => {
                let whole = offset == 0 && limit == self.bytes;
                let open = move || reader(from, offset, limit, whole, coding);
                Pieces::Reader(tokio::task::spawn_blocking(open).await.map_err(ended)??)
            }
        };
        Ok(futures_util::stream::unfold(state, Pieces::next))
    }
}

fn reader(from: From, offset: u64, limit: u64, whole: bool, coding: Coding) -> Result<Reader, StoreError> {
    let plain: Reader = match from {
        From::Memory(bytes) => Box::new(io::Cursor::new(bytes.slice(offset as usize..))),
        From::Disk(content) if whole && coding == Coding::Zstd => match content.into_frame() {
            Ok(frame) => {
                let bytes = frame.metadata().map_err(TierError::Io)?.len();
                return Ok(Box::new(Promised { reader: frame, left: bytes }));
            }
            Err(content) => content.read_from(0)?,
        },
        From::Disk(content) => content.read_from(offset)?,
    };
    // Below the encoder, which would make a whole frame of what comes.
    let plain = Promised { reader: plain, left: limit };
    match coding {
        Coding::Identity => Ok(Box::new(plain)),
        Coding::Zstd => {
            let encoder = zstd::stream::read::Encoder::new(plain, LEVEL).map_err(TierError::Io)?;
            Ok(Box::new(encoder))
        }
    }
}

type Reader = Box<dyn Read + Send>;

/// So many bytes of a reader, or an error.
struct Promised<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Promised<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.reader.read(&mut into[..most])?;
        self.left -= read as u64;
        if read == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the content is shorter than it was"));
        }
        Ok(read)
    }
}

/// What is left to give.
enum Pieces {
    Memory(Bytes),
    Reader(Reader),
    Nothing,
}

impl Pieces {
    async fn next(self) -> Option<(io::Result<Bytes>, Self)> {
        match self {
            Self::Nothing => None,
            Self::Memory(mut bytes) => {
                let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                (!piece.is_empty()).then_some((Ok(piece), Self::Memory(bytes)))
            }
            Self::Reader(mut reader) => {
                let read = tokio::task::spawn_blocking(move || {
                    let mut piece = Vec::with_capacity(PIECE_BYTES);
                    let read = (&mut reader).take(PIECE_BYTES as u64).read_to_end(&mut piece);
                    (read.map(|_| piece), reader)
                });
                match read.await {
                    Ok((Ok(piece), _)) if piece.is_empty() => None,
                    Ok((Ok(piece), reader)) => Some((Ok(piece.into()), Self::Reader(reader))),
                    Ok((Err(error), _)) => Some((Err(error), Self::Nothing)),
                    Err(error) => Some((Err(io::Error::other(error)), Self::Nothing)),
                }
            }
        }
    }
}

/// Work on a blocking thread that did not come to its end.
pub(super) fn ended(error: JoinError) -> StoreError {
    StoreError::Tier(TierError::Index(Box::new(error)))
}
