//! Blobs on their way from one tier to another, a piece at a time.
//!
//! A blob travels in the form in which it is stored, so that nobody packs it twice: the content itself, or one zstd
//! frame that states the content's length. Memory holds a few pieces of it, whatever its size.
//! Invariant: a blob becomes visible in a tier that checks digests only when all of it is there and matches.

use super::Answer;

/// How long a piece is at most.
pub const PIECE_BYTES: usize = 128 << 10;

/// In which form a blob is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobForm {
    /// Whether it is one zstd frame; else it is the content itself.
    pub packed: bool,
    /// Its length in this form.
    pub bytes: u64,
}

/// Where a blob comes from.
pub trait BlobSource: Send {
    /// In which form it comes.
    fn form(&self) -> BlobForm;

    /// The next piece, of at most [`PIECE_BYTES`]; `None` at its end, also where that comes early because a part of
    /// it is gone.
    fn next(&mut self) -> Answer<'_, Option<Vec<u8>>>;
}

/// Where a blob goes. Dropped before it is finished, it leaves nothing that anybody sees.
pub trait BlobSink: Send {
    /// Takes the next piece.
    fn write(&mut self, piece: Vec<u8>) -> Answer<'_, ()>;

    /// Makes the blob visible, unless it is not whole or, where that is checked, does not match its digest. Says
    /// whether it is.
    fn finish(&mut self) -> Answer<'_, bool>;
}
