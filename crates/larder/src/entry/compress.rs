//! Compression where it pays: zstd, skipped for small contents and kept only where it shrinks.

use std::io::Read;

use parking_lot::Mutex;
use zstd::bulk::{Compressor, Decompressor};

/// Contents below this many bytes are not tried: the saving is less than a disk block.
pub const MIN_BYTES: usize = 1024;

/// Contents up to this many bytes are packed and unpacked in one go, by what is kept for it: to make that anew takes longer
/// than to unpack 20 KiB.
pub(crate) const WHOLE_BYTES: u64 = 1 << 20;

/// At higher levels a compressor holds too much memory to be kept.
const KEPT_LEVEL: i32 = 3;

/// Of how many things that are kept there are at most.
const MAX_KEPT: usize = 16;

/// Things that take long to make, for whichever thread needs one next.
struct Kept<T>(Mutex<Vec<T>>);

static COMPRESSORS: Kept<Compressor<'static>> = Kept(Mutex::new(Vec::new()));
static DECOMPRESSORS: Kept<Decompressor<'static>> = Kept(Mutex::new(Vec::new()));

impl<T> Kept<T> {
    /// Does `work` with one that is kept, or else made now; `None` if it can't be made.
    fn with<R>(&self, make: impl FnOnce() -> Option<T>, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        let kept = self.0.lock().pop();
        let mut one = kept.or_else(make)?;
        let done = work(&mut one);
        let mut kept = self.0.lock();
        if kept.len() < MAX_KEPT {
            kept.push(one);
        }
        Some(done)
    }
}

/// How hard to try: zstd's level, 0 for not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(i32);

impl Level {
    /// No compression.
    pub const OFF: Self = Self(0);
    /// zstd's level 1: about 500 MB/s in and 1.5 GB/s out on one core.
    pub const FAST: Self = Self(1);

    /// Takes zstd's level, 1 to 19, or 0 for none.
    pub fn new(level: i32) -> Option<Self> {
        (0..=19).contains(&level).then_some(Self(level))
    }

    /// zstd's level; 0 is none.
    pub fn get(self) -> i32 {
        self.0
    }

    /// Returns `bytes` compressed, or `None` where that is not wanted or saves less than an eighth.
    pub fn pack(self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self == Self::OFF || bytes.len() < MIN_BYTES {
            return None;
        }
        // A failure of the compressor is no reason to lose the value: it is then stored as it is.
        let packed = if self.0 <= KEPT_LEVEL && bytes.len() as u64 <= WHOLE_BYTES {
            self.pack_whole(bytes)
        } else {
            zstd::bulk::compress(bytes, self.0).ok()
        }?;
        (packed.len() <= bytes.len() - bytes.len() / 8).then_some(packed)
    }

    fn pack_whole(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let make = || Compressor::new(self.0).ok();
        let pack = |compressor: &mut Compressor<'_>| {
            compressor.set_compression_level(self.0).ok()?;
            compressor.compress(bytes).ok()
        };
        COMPRESSORS.with(make, pack)?
    }
}

/// Bytes do not decompress to the length that they should have.
#[derive(Debug, thiserror::Error)]
#[error("compressed bytes do not unpack to {expected} bytes")]
pub struct UnpackError {
    /// The length that was recorded.
    pub expected: u64,
}

/// Returns what [`Level::pack`] was given, if it has `expected` bytes; never allocates more than one byte above
/// that, whatever the input says.
pub fn unpack(packed: &[u8], expected: u64) -> Result<Vec<u8>, UnpackError> {
    let bad = || UnpackError { expected };
    if expected <= WHOLE_BYTES {
        return unpack_whole(packed, expected).ok_or_else(bad);
    }
    // The expected length may be a lie too: reserve no more at once than such input could plausibly hold.
    let likely = expected.min(packed.len() as u64 * 64).min(1 << 30);
    let mut bytes = Vec::with_capacity(likely as usize + 1);
    let decoder = zstd::Decoder::with_buffer(packed).map_err(|_| bad())?;
    decoder.take(expected.saturating_add(1)).read_to_end(&mut bytes).map_err(|_| bad())?;
    if bytes.len() as u64 == expected { Ok(bytes) } else { Err(bad()) }
}

/// Like [`unpack`], for at most [`WHOLE_BYTES`]; `None` if it does not have as many bytes as `expected`.
pub(crate) fn unpack_whole(packed: &[u8], expected: u64) -> Option<Vec<u8>> {
    let capacity = usize::try_from(expected).ok()?;
    let make = || Decompressor::new().ok();
    let content =
        DECOMPRESSORS.with(make, |decompressor| decompressor.decompress(packed, capacity).ok())??;
    (content.len() as u64 == expected).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_shrinks_is_packed() {
        let text = b"the same words again and again ".repeat(100);
        let packed = Level::FAST.pack(&text).unwrap();
        assert!(packed.len() < text.len() / 8);
        assert_eq!(unpack(&packed, text.len() as u64).unwrap(), text);
        assert_eq!(Level::OFF.pack(&text), None);
        assert_eq!(Level::FAST.pack(&text[..MIN_BYTES - 1]), None);
        let noise: Vec<u8> = (0..1000u32).flat_map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()).collect();
        assert_eq!(Level::FAST.pack(&noise), None);
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        let packed = Level::FAST.pack(&[7; 100_000]).unwrap();
        for expected in [0, 99_999, 100_001, u64::MAX] {
            assert!(unpack(&packed, expected).is_err(), "{expected}");
        }
        assert!(unpack(b"no zstd", 7).is_err());
        assert!(unpack(&packed[..packed.len() - 5], 100_000).is_err());
    }
}
