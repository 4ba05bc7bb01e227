//! Turning a blob back into a file.
//!
//! Invariant: a file appears at the destination whole and checked against its digest, or not at all. Who asks for it
//! ([`Disk::make_from_blob`]) gives up half of that for speed: a process that is killed may leave a part.
//!
//! Hard links are never made, though they are cheapest: whoever writes to a linked file, or changes its mode,
//! would do so inside the cache, and of several places that share it.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::blobs::{BlobError, CHUNK_BYTES, Located, Temporary, blob_path, fill, locate, stated_length};
use super::open::Disk;
use crate::entry::compress::{WHOLE_BYTES, unpack_whole};
use crate::key::{Algorithm, Digest, Hasher};
use crate::tier::TierError;

/// How a file was made from a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// It shares the blob's blocks until either is written to.
    Reflinked,
    /// It is a copy.
    Copied,
    /// It was decompressed.
    Unpacked,
}

impl Disk {
    /// Makes the file `destination` with a blob's content and the permission bits of `mode`, in place of what is
    /// there. `None` if the blob is not there, or was damaged and is now set aside. Blocks.
    ///
    /// The folder of `destination` must exist; while the file is made it holds one more, whose name begins with
    /// [`TEMPORARY`](super::TEMPORARY). Memory stays below 1 MiB whatever the size.
    pub fn restore_blob(
        &self,
        digest: Digest,
        destination: impl AsRef<Path>,
        mode: u32,
    ) -> Result<Option<Restored>, BlobError> {
        let destination = destination.as_ref();
        let Some(found) = locate(self.root(), digest).map_err(TierError::Io)? else { return Ok(None) };
        let mut blob = match File::open(&found.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TierError::Io(error).into()),
        };
        let folder = destination.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut made = Temporary::create(folder.unwrap_or(Path::new("."))).map_err(BlobError::Destination)?;
        let Some((actual, how)) = fill_from(&mut blob, &found, &mut made.file)? else {
            self.set_blob_aside(&found.path);
            return Ok(None);
        };
        if actual != digest {
            self.set_blob_aside(&found.path);
            return Ok(None);
        }
        let permissions = Permissions::from_mode(mode & 0o7777);
        made.file.set_permissions(permissions).map_err(BlobError::Destination)?;
        made.publish_over(destination).map_err(BlobError::Destination)?;
        Ok(Some(how))
    }
}

/// A file that was made from a blob.
#[derive(Debug)]
pub struct Made {
    /// How.
    pub how: Restored,
    /// How it looked when it was whole, where that is known.
    pub metadata: Option<Metadata>,
}

impl Disk {
    /// Makes the new file `destination` with a blob's content and the permission bits of `mode`. `None` if the blob is
    /// not there, or was damaged and is now set aside. Blocks.
    ///
    /// A small content is read and checked first and then written where it belongs: that takes half as long as
    /// [`Disk::restore_blob`], which does the rest. Nobody finds a wrong content at `destination`, but somebody who
    /// looks at this moment, or after this process was killed in it, may find the beginning of the right one. So this
    /// is for who can tell afterwards that it did not come to its end.
    pub fn make_from_blob(
        &self,
        digest: Digest,
        destination: impl AsRef<Path>,
        mode: u32,
    ) -> Result<Option<Made>, BlobError> {
        let destination = destination.as_ref();
        let published = || {
            let restored = self.restore_blob(digest, destination, mode)?;
            Ok(restored.map(|how| Made { how, metadata: None }))
        };
        let Some((content, how)) = self.small_content(digest)? else { return published() };
        let mode = mode & 0o7777;
        let made = File::options().write(true).create_new(true).mode(mode).open(destination);
        let mut made = match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return published();
            }
            made => made.map_err(BlobError::Destination)?,
        };
        let written = made.write_all(&content).and_then(|()| {
            // The umask may have taken some of it.
            let metadata = made.metadata()?;
            if metadata.permissions().mode() & 0o7777 == mode {
                return Ok(metadata);
            }
            made.set_permissions(Permissions::from_mode(mode))?;
            made.metadata()
        });
        let metadata = written.map_err(|error| {
            let _ = std::fs::remove_file(destination);
            BlobError::Destination(error)
        })?;
        Ok(Some(Made { how, metadata: Some(metadata) }))
    }

    /// A blob's content, checked, if it is a small one that can be had without ado.
    fn small_content(&self, digest: Digest) -> Result<Option<(Vec<u8>, Restored)>, BlobError> {
        for packed in [true, false] {
            let path = blob_path(self.root(), digest, packed);
            let mut stored = Vec::with_capacity(32 << 10);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(TierError::Io(error).into()),
            };
            let read = file.take(WHOLE_BYTES + 1).read_to_end(&mut stored);
            if read.map_err(TierError::Io)? as u64 > WHOLE_BYTES {
                return Ok(None);
            }
            let content = if packed {
                let length = stated_length(&stored).filter(|length| *length <= WHOLE_BYTES);
                length.and_then(|length| unpack_whole(&stored, length))
            } else {
                Some(stored)
            };
            // One that is damaged is for whoever sets it aside.
            let how = if packed { Restored::Unpacked } else { Restored::Copied };
            return Ok(content.filter(|content| Digest::of(content) == digest).map(|content| (content, how)));
        }
        Ok(None)
    }
}

/// Fills `made` with the blob's content and returns the digest of what is in it; `None` if the blob can't be
/// decompressed.
fn fill_from(
    blob: &mut File,
    found: &Located,
    made: &mut File,
) -> Result<Option<(Digest, Restored)>, BlobError> {
    if found.packed {
        return Ok(unpack(blob, found.bytes, made)?.map(|digest| (digest, Restored::Unpacked)));
    }
    if reflink(blob, made) {
        // The blocks are shared now, so what is read here is what is published, whatever happens to the blob.
        return match copy(made, &mut io::sink(), found.bytes)? {
            Copied::Whole(digest) => Ok(Some((digest, Restored::Reflinked))),
            Copied::Unreadable(error) => Err(BlobError::Destination(error)),
        };
    }
    match copy(blob, made, found.bytes)? {
        Copied::Whole(digest) => Ok(Some((digest, Restored::Copied))),
        Copied::Unreadable(error) => Err(TierError::Io(error).into()),
    }
}

/// Decompresses a blob's file and returns the digest of its content, if it can be decompressed.
fn unpack(blob: &mut File, bytes: u64, to: &mut impl Write) -> Result<Option<Digest>, BlobError> {
    if bytes <= WHOLE_BYTES {
        let mut frame = Vec::with_capacity(bytes as usize + 1);
        blob.take(WHOLE_BYTES).read_to_end(&mut frame).map_err(TierError::Io)?;
        let Some(length) = stated_length(&frame) else { return Ok(None) };
        if length <= WHOLE_BYTES {
            let Some(content) = unpack_whole(&frame, length) else { return Ok(None) };
            to.write_all(&content).map_err(BlobError::Destination)?;
            return Ok(Some(Digest::of(&content)));
        }
        return unpack_stream(&frame[..], length, to);
    }
    let mut head = [0; 18];
    let read = fill(blob, &mut head).map_err(TierError::Io)?;
    blob.rewind().map_err(TierError::Io)?;
    let Some(length) = stated_length(&head[..read]) else { return Ok(None) };
    unpack_stream(blob, length, to)
}

fn unpack_stream(frame: impl Read, length: u64, to: &mut impl Write) -> Result<Option<Digest>, BlobError> {
    let Ok(decoder) = zstd::stream::read::Decoder::new(frame) else { return Ok(None) };
    // A damaged frame may unpack to more than any disk holds: one byte too many is enough to know.
    let mut content = decoder.take(length.saturating_add(1));
    Ok(match copy(&mut content, to, length)? {
        Copied::Whole(digest) => Some(digest),
        Copied::Unreadable(_) => None,
    })
}

/// The digest of the content that a blob's file holds; `None` if it can't be decompressed.
pub(super) fn digest_of_content(blob: &mut File, packed: bool) -> Result<Option<Digest>, TierError> {
    let outcome = if packed {
        let bytes = blob.metadata().map_err(TierError::Io)?.len();
        unpack(blob, bytes, &mut io::sink())
    } else {
        match copy(blob, &mut io::sink(), u64::MAX) {
            Ok(Copied::Whole(digest)) => Ok(Some(digest)),
            Ok(Copied::Unreadable(error)) => return Err(TierError::Io(error)),
            Err(error) => Err(error),
        }
    };
    match outcome {
        Ok(digest) => Ok(digest),
        Err(BlobError::Tier(error)) => Err(error),
        Err(BlobError::Source(error) | BlobError::Destination(error)) => Err(TierError::Io(error)),
        Err(BlobError::Stopped) => Err(TierError::Io(io::ErrorKind::Interrupted.into())),
        Err(BlobError::Changed) => Ok(None),
    }
}

enum Copied {
    Whole(Digest),
    Unreadable(io::Error),
}

/// Copies all of `from`, which has about `length` bytes.
fn copy(from: &mut impl Read, to: &mut impl Write, length: u64) -> Result<Copied, BlobError> {
    let mut hasher = Hasher::new(Algorithm::Blake3);
    let mut buffer =
        vec![0; CHUNK_BYTES.min(usize::try_from(length).unwrap_or(CHUNK_BYTES).saturating_add(1))];
    loop {
        let read = match fill(from, &mut buffer) {
            Ok(read) => read,
            Err(error) => return Ok(Copied::Unreadable(error)),
        };
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read]).map_err(BlobError::Destination)?;
        if read < buffer.len() {
            return Ok(Copied::Whole(hasher.finish()));
        }
    }
}

#[cfg(target_os = "linux")]
fn reflink(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn reflink(_from: &File, _to: &File) -> bool {
    false
}
