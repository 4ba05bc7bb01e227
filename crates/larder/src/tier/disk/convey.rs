//! Blobs on their way between this tier and another.
//!
//! Invariant: what comes from elsewhere gets its name as a blob only after all of it was read back and its digest
//! is right; a frame that holds more than it states is not unpacked beyond that.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;

use parking_lot::Mutex;

use super::blobs::{CHUNK_BYTES, Temporary, fill, locate, stated_length};
use super::face::blocking;
use super::open::Disk;
use crate::key::{Algorithm, Digest, Hasher};
use crate::tier::blob::PIECE_BYTES;
use crate::tier::{Answer, BlobForm, BlobSink, BlobSource, TierError};

/// The longest header of a zstd frame.
const FRAME_HEADER_BYTES: usize = 18;

/// A blob's file, read piece by piece.
struct Reading {
    form: BlobForm,
    file: Arc<Mutex<File>>,
}

impl BlobSource for Reading {
    fn form(&self) -> BlobForm {
        self.form
    }

    fn next(&mut self) -> Answer<'_, Option<Vec<u8>>> {
        let file = Arc::clone(&self.file);
        Box::pin(blocking(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let read = fill(&mut *file.lock(), &mut piece).map_err(TierError::Io)?;
            piece.truncate(read);
            Ok((read > 0).then_some(piece))
        }))
    }
}

/// A blob that is being written; in `None` it is finished or failed.
struct Writing {
    disk: Disk,
    digest: Digest,
    form: BlobForm,
    state: Arc<Mutex<Option<(Temporary, u64)>>>,
}

impl BlobSink for Writing {
    fn write(&mut self, piece: Vec<u8>) -> Answer<'_, ()> {
        let (state, bytes) = (Arc::clone(&self.state), self.form.bytes);
        Box::pin(blocking(move || {
            let mut state = state.lock();
            let Some((temporary, written)) = state.as_mut() else { return Ok(()) };
            *written += piece.len() as u64;
            if *written > bytes {
                // More than was announced: it is not what its digest says, and takes no more room.
                *state = None;
                return Ok(());
            }
            let outcome = temporary.file.write_all(&piece).map_err(TierError::Io);
            if outcome.is_err() {
                *state = None;
            }
            outcome
        }))
    }

    fn finish(&mut self) -> Answer<'_, bool> {
        let (disk, digest, form) = (self.disk.clone(), self.digest, self.form);
        let state = Arc::clone(&self.state);
        Box::pin(blocking(move || {
            let Some((mut temporary, written)) = state.lock().take() else { return Ok(false) };
            if written != form.bytes
                || !holds(&mut temporary.file, digest, form.packed).map_err(TierError::Io)?
            {
                return Ok(false);
            }
            disk.publish(temporary, digest, form.packed).map_err(TierError::Io)?;
            Ok(true)
        }))
    }
}

/// The content's length that the frame in a file states. Leaves the file somewhere behind its beginning.
pub(super) fn frame_length(file: &mut File) -> io::Result<Option<u64>> {
    file.rewind()?;
    let mut header = [0; FRAME_HEADER_BYTES];
    let read = fill(file, &mut header)?;
    Ok(stated_length(&header[..read]))
}

/// Whether a file is the content with this digest, packed or not.
pub(super) fn holds(file: &mut File, digest: Digest, packed: bool) -> io::Result<bool> {
    file.rewind()?;
    if !packed {
        return Ok(digest_of(file, u64::MAX)? == Some(digest));
    }
    let Some(stated) = frame_length(file)? else { return Ok(false) };
    file.rewind()?;
    let mut decoder = zstd::stream::read::Decoder::new(file)?.single_frame();
    // A frame that cannot be unpacked is damaged, not a failure of the disk.
    let unpacked = digest_of(&mut decoder, stated).unwrap_or(None);
    let mut rest = decoder.finish();
    // What comes after the frame would be no part of the content, and yet of the blob's file.
    Ok(unpacked == Some(digest) && rest.read(&mut [0])? == 0)
}

/// The digest of what `source` holds; `None` if that is more than `most`.
fn digest_of(source: &mut impl Read, most: u64) -> io::Result<Option<Digest>> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut hasher = Hasher::new(Algorithm::Blake3);
    let mut all = 0;
    loop {
        let read = fill(source, &mut buffer)?;
        all += read as u64;
        if all > most {
            return Ok(None);
        }
        hasher.update(&buffer[..read]);
        if read < buffer.len() {
            return Ok(Some(hasher.finish()));
        }
    }
}

impl Disk {
    pub(super) fn blocking_missing_blobs(&self, blobs: &[Digest]) -> Result<Vec<Digest>, TierError> {
        let mut missing = Vec::new();
        for &digest in blobs {
            if !self.has_whole_blob(digest)? {
                missing.push(digest);
            }
        }
        Ok(missing)
    }

    pub(super) fn blocking_open_blob(
        &self,
        digest: Digest,
    ) -> Result<Option<Box<dyn BlobSource>>, TierError> {
        let Some(found) = locate(self.root(), digest).map_err(TierError::Io)? else { return Ok(None) };
        let file = match File::open(&found.path) {
            Ok(file) => file,
            // Another process's gc took it this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TierError::Io(error)),
        };
        let form = BlobForm { packed: found.packed, bytes: found.bytes };
        Ok(Some(Box::new(Reading { form, file: Arc::new(Mutex::new(file)) })))
    }

    pub(super) fn blocking_make_blob(
        &self,
        digest: Digest,
        form: BlobForm,
    ) -> Result<Option<Box<dyn BlobSink>>, TierError> {
        if self.read_only() || form.bytes > self.options().max_entry_bytes {
            return Ok(None);
        }
        let temporary = self.temporary().map_err(TierError::Io)?;
        let state = Arc::new(Mutex::new(Some((temporary, 0))));
        Ok(Some(Box::new(Writing { disk: self.clone(), digest, form, state })))
    }

    pub(super) fn blocking_quarantine_blob(&self, digest: Digest) -> Result<(), TierError> {
        if let Some(found) = locate(self.root(), digest).map_err(TierError::Io)? {
            self.set_blob_aside(&found.path);
        }
        Ok(())
    }
}
