//! The log of a command: what it wrote to stdout and stderr, apart and in the order in which it was read.
//!
//! Invariant: a log is whole or says that it is not; it never takes more memory than [`Log::LIMIT_BYTES`].
//! The two streams are two pipes, so when a command writes to both faster than they are read, which came first is
//! not known: each stream by itself is always in order.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Bytes of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Which.
    pub stream: Stream,
    /// Milliseconds since the command started.
    pub at_millis: u32,
    /// What it wrote.
    #[serde(with = "crate::kept::bytes")]
    pub bytes: Vec<u8>,
}

/// What a command wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    chunks: Vec<Chunk>,
    bytes: usize,
    cut: bool,
}

/// Bytes of the same stream that come this soon after each other are one chunk.
const JOINED_MILLIS: u32 = 20;

impl Log {
    /// How much is held. A command that writes more is still shown in full, but its result is not kept.
    pub const LIMIT_BYTES: usize = 16 << 20;

    /// Appends what was read `since_start`.
    pub fn push(&mut self, stream: Stream, since_start: Duration, bytes: &[u8]) {
        if self.cut || bytes.is_empty() {
            return;
        }
        if self.bytes + bytes.len() > Self::LIMIT_BYTES {
            *self = Self { cut: true, ..Self::default() };
            return;
        }
        self.bytes += bytes.len();
        let at_millis = u32::try_from(since_start.as_millis()).unwrap_or(u32::MAX);
        match self.chunks.last_mut() {
            Some(last)
                if last.stream == stream && at_millis.saturating_sub(last.at_millis) <= JOINED_MILLIS =>
            {
                last.bytes.extend_from_slice(bytes);
            }
            _ => self.chunks.push(Chunk { stream, at_millis, bytes: bytes.to_vec() }),
        }
    }

    /// The chunks, or `None` when there was more than is held.
    pub fn whole(&self) -> Option<&[Chunk]> {
        (!self.cut).then_some(&*self.chunks)
    }

    /// The chunks that are held: none of a log that was too large.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// A log that was read back.
    pub(crate) fn of_chunks(chunks: Vec<Chunk>) -> Self {
        let bytes = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        Self { chunks, bytes, cut: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_stay_apart_and_in_order_and_too_much_is_said_to_be() {
        let mut log = Log::default();
        let at = Duration::from_millis;
        log.push(Stream::Out, at(0), b"a");
        log.push(Stream::Out, at(10), b"b");
        log.push(Stream::Err, at(11), b"c");
        log.push(Stream::Out, at(12), b"d");
        log.push(Stream::Out, at(90), b"e");
        let seen: Vec<_> = log.chunks().iter().map(|chunk| (chunk.stream, chunk.bytes.as_slice())).collect();
        let (out, err) = (Stream::Out, Stream::Err);
        assert_eq!(seen, [(out, &b"ab"[..]), (err, b"c"), (out, b"d"), (out, b"e")]);
        log.push(Stream::Out, at(91), &vec![0; Log::LIMIT_BYTES]);
        assert_eq!((log.whole(), log.chunks().len()), (None, 0));
        log.push(Stream::Out, at(92), b"f");
        assert_eq!(log.whole(), None);
    }
}
