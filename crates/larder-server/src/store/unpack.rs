//! Unpacking zstd frames that come a piece at a time.
//!
//! Invariant: what is unpacked goes on in bounded pieces, so that a small input that unpacks to a large output takes no
//! memory: whoever takes the pieces ends it.

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::StoreError;

/// How much is unpacked at once.
const PIECE_BYTES: usize = 128 << 10;

/// Frames on their way.
pub(crate) struct Unpack {
    decoder: Decoder<'static>,
    /// Whether the last byte that came ended a frame.
    between_frames: bool,
    piece: Vec<u8>,
}

impl Unpack {
    pub(crate) fn new() -> Result<Self, StoreError> {
        let decoder = Decoder::new().map_err(|_| StoreError::Packed)?;
        Ok(Self { decoder, between_frames: true, piece: vec![0; PIECE_BYTES] })
    }

    /// Takes the next piece, and gives on what it unpacks to.
    pub(crate) fn take(
        &mut self,
        packed: &[u8],
        mut give: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut input = InBuffer::around(packed);
        loop {
            let mut output = OutBuffer::around(&mut self.piece[..]);
            let hint = self.decoder.run(&mut input, &mut output).map_err(|_| StoreError::Packed)?;
            let unpacked = output.pos();
            give(&self.piece[..unpacked])?;
            let input_left = input.pos() < packed.len();
            if hint == 0 {
                self.between_frames = true;
                if !input_left {
                    return Ok(());
                }
                self.decoder.reinit().map_err(|_| StoreError::Packed)?;
                continue;
            }
            self.between_frames = false;
            // A full piece may mean that more waits inside.
            if !input_left && unpacked < PIECE_BYTES {
                return Ok(());
            }
        }
    }

    /// Whether all frames came to their end.
    pub(crate) fn is_whole(&self) -> bool {
        self.between_frames
    }
}
