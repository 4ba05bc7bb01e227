//! Reading and hashing one file, with the check that it did not change meanwhile.
//!
//! Invariant: a digest that is returned belongs to a content that the file had, whole, at one moment: stat
//! data before and after the read are the same.
//! Everything here blocks.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::{SourceError, Stat};
use crate::key::{Algorithm, Digest, Hasher};

/// How often a file that changes while it is read is read again before it is given up.
const ATTEMPTS: usize = 4;
/// How much of a file is read at a time. A file up to this size is hashed in one call.
const BUFFER_BYTES: usize = 1 << 20;

/// A file's content by its digest, and the stat data that the content was read under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDigest {
    /// BLAKE3 of the content.
    pub digest: Digest,
    /// Length of the content in bytes.
    pub size: u64,
    /// Stat data, the same before and after the read.
    pub stat: Stat,
}

/// Reads the regular file at `path`, through links, and returns the digest of its content.
///
/// Blocks. A pipe, socket or device is refused without being opened for reading; a file that keeps changing
/// is [`SourceError::Unstable`]; one that is not there is [`SourceError::Unreadable`] with `NotFound` inside.
pub fn digest_file(path: &Path) -> Result<FileDigest, SourceError> {
    let unreadable =
        |errno: Errno| SourceError::Unreadable { path: path.to_owned(), source: io::Error::from(errno) };
    // Opening alone can do something to a device, so its type is asked for first.
    let stat = Stat::from(rustix::fs::stat(path).map_err(unreadable)?);
    if let Some(what) = stat.special() {
        return Err(SourceError::Special { path: path.to_owned(), what });
    }
    let file = openat(CWD, path, OPEN, Mode::empty()).map_err(unreadable)?;
    digest_open_file(file.as_fd(), path)
}

/// Does what [`digest_file`] does with a file that is open for reading; `path` is for errors only.
///
/// Reads at explicit offsets and leaves the position of the descriptor alone.
pub fn digest_open_file(file: BorrowedFd<'_>, path: &Path) -> Result<FileDigest, SourceError> {
    let path = || path.to_owned();
    match Reader::default().digest(file, &AtomicBool::new(false)) {
        Ok(Content::Digest(digest)) => Ok(digest),
        Ok(Content::Other(stat)) => Err(match stat.special() {
            Some(what) => SourceError::Special { path: path(), what },
            None => SourceError::Unreadable { path: path(), source: io::ErrorKind::IsADirectory.into() },
        }),
        Ok(Content::Unstable) => Err(SourceError::Unstable { path: path() }),
        Ok(Content::Stopped) => Err(SourceError::Stopped),
        Err(errno) => Err(SourceError::Unreadable { path: path(), source: errno.into() }),
    }
}

/// A pipe that took a file's place is opened without waiting for its other end, and a terminal without
/// becoming this process's own.
const OPEN: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens `name` in `directory` for reading.
pub(super) fn open_file(
    directory: BorrowedFd<'_>,
    name: &CStr,
    through_links: bool,
) -> Result<OwnedFd, Errno> {
    let links = if through_links { OFlags::empty() } else { OFlags::NOFOLLOW };
    openat(directory, name, OPEN | links, Mode::empty())
}

/// What came of reading an open file.
pub(super) enum Content {
    /// Its digest.
    Digest(FileDigest),
    /// It is not a regular file.
    Other(Stat),
    /// It changed during each attempt.
    Unstable,
    /// The caller asked to stop.
    Stopped,
}

/// A buffer that many files are read with, one after the other.
#[derive(Default)]
pub(super) struct Reader {
    buffer: Vec<u8>,
    /// Bytes read so far.
    pub(super) bytes: u64,
}

impl Reader {
    /// Reads and hashes a file. Looks at `stop` before each buffer.
    pub(super) fn digest(&mut self, file: BorrowedFd<'_>, stop: &AtomicBool) -> Result<Content, Errno> {
        let mut before = Stat::from(fstat(file)?);
        for _ in 0..ATTEMPTS {
            if before.file_type() != FileType::RegularFile {
                return Ok(Content::Other(before));
            }
            let Some((digest, size)) = self.content(file, before.size, stop)? else {
                return Ok(Content::Stopped);
            };
            let after = Stat::from(fstat(file)?);
            if before == after && size == before.size {
                return Ok(Content::Digest(FileDigest { digest, size, stat: after }));
            }
            before = after;
        }
        Ok(Content::Unstable)
    }

    /// Reads up to one byte past `expected`, so that a file that grew is seen to have grown.
    fn content(
        &mut self,
        file: BorrowedFd<'_>,
        expected: u64,
        stop: &AtomicBool,
    ) -> Result<Option<(Digest, u64)>, Errno> {
        let wanted = usize::try_from(expected).unwrap_or(BUFFER_BYTES).saturating_add(1).min(BUFFER_BYTES);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let first = self.fill(file, 0, expected)?;
        if (first as u64) >= expected || first < self.buffer.len() {
            return Ok(Some((Digest::of(&self.buffer[..first]), first as u64)));
        }
        let mut hasher = Hasher::new(Algorithm::Blake3);
        let (mut filled, mut offset) = (first, 0);
        loop {
            hasher.update(&self.buffer[..filled]);
            offset += filled as u64;
            if filled == 0 || offset >= expected {
                return Ok(Some((hasher.finish(), offset)));
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            filled = self.fill(file, offset, expected)?;
        }
    }

    /// Reads from `offset` on until the buffer is full or the file has been read to its expected length or to
    /// its end, and returns how much that was.
    fn fill(&mut self, file: BorrowedFd<'_>, offset: u64, expected: u64) -> Result<usize, Errno> {
        let mut filled = 0;
        while filled < self.buffer.len() {
            match rustix::io::pread(file, &mut self.buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => {
                    filled += more;
                    // That it is the end is known from the stat data that is compared afterwards.
                    if offset + filled as u64 >= expected {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.bytes += filled as u64;
        Ok(filled)
    }
}
