//! Blobs: contents in files named by their digest.
//!
//! Invariant: a file under `blobs/` was written whole and hashed before it got its name, by rename from `tmp/`.
//! `blobs/ab/ab…` is exactly the content, so that it can be reflinked; `blobs/ab/ab….zst` is the content as one
//! zstd frame that states its length. Presence is asked of the file system and of nothing else.
//!
//! A file that does not hold what its name says is moved to `quarantine/` and is no blob any more, so the next
//! `put` writes it anew. A `put` of a blob that is there writes nothing, but makes the file young again, so that
//! gc gives whoever put it the time to store the entry that names it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::content::{Known, Stat};
use super::open::Disk;
use crate::entry::compress::{self, WHOLE_BYTES};
use crate::key::{Algorithm, Digest, Hasher};
use crate::tier::TierError;

/// How much is read and written at once. BLAKE3 reaches its full speed far below this; the system calls do not.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// A blob that is younger than this is not made younger.
const YOUNG: Duration = Duration::from_secs(60);

/// A blob that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBlob {
    /// Digest of the content.
    pub digest: Digest,
    /// Length of the content.
    pub bytes: u64,
    /// How many bytes were written for it, compressed or not; 0 if it was there already.
    pub written: u64,
}

/// A blob could not be stored or restored.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The file that was to be stored can't be read.
    #[error("source can't be read")]
    Source(#[source] io::Error),
    /// The file that was to be stored was written to while it was read.
    #[error("source changed while it was read")]
    Changed,
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
    /// The file that was to be made can't be written.
    #[error("destination can't be written")]
    Destination(#[source] io::Error),
    /// The tier failed.
    #[error(transparent)]
    Tier(#[from] TierError),
}

/// A blob's file.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) path: PathBuf,
    /// Whether it is compressed.
    pub(super) packed: bool,
    /// Length of the file.
    pub(super) bytes: u64,
    /// When it was put last.
    pub(super) modified: SystemTime,
    pub(super) stat: Stat,
}

impl Disk {
    /// Stores the content of a file. Blocks.
    ///
    /// Memory stays below 2 MiB whatever the size. A content that is there already is read and hashed, and nothing
    /// is written.
    ///
    /// # Errors
    /// [`BlobError::Changed`] if the file changed meanwhile, in which case nothing is stored.
    pub fn put_blob_file(&self, path: impl AsRef<Path>) -> Result<StoredBlob, BlobError> {
        self.put_blob_file_until(path, &AtomicBool::new(false))
    }

    /// Does what [`Disk::put_blob_file`] does, unless `stop` is set before it is done. Blocks.
    ///
    /// # Errors
    /// Those of [`Disk::put_blob_file`], and [`BlobError::Stopped`] soon after `stop` is set, in which case nothing is stored.
    pub fn put_blob_file_until(
        &self,
        path: impl AsRef<Path>,
        stop: &AtomicBool,
    ) -> Result<StoredBlob, BlobError> {
        goes_on(stop)?;
        let mut source = File::open(path).map_err(BlobError::Source)?;
        let before = source.metadata().map_err(BlobError::Source)?;
        if !before.is_file() {
            return Err(BlobError::Source(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        let stored = if before.len() <= WHOLE_BYTES {
            let mut content = Vec::with_capacity(before.len() as usize + 1);
            (&source).take(WHOLE_BYTES + 1).read_to_end(&mut content).map_err(BlobError::Source)?;
            if content.len() as u64 != before.len() || changed(&source, &before)? {
                return Err(BlobError::Changed);
            }
            self.put_blob_bytes(&content)?
        } else {
            self.put_large(&mut source, before.len(), stop)?
        };
        // Content that came from a moment between two writes is what nobody meant; the blob is harmless, but the
        // caller is not to name it.
        if changed(&source, &before)? {
            return Err(BlobError::Changed);
        }
        Ok(stored)
    }

    /// Stores bytes. Blocks.
    pub fn put_blob_bytes(&self, content: &[u8]) -> Result<StoredBlob, TierError> {
        let digest = Digest::of(content);
        let bytes = content.len() as u64;
        if self.is_there(digest, bytes).map_err(TierError::Io)? {
            return Ok(StoredBlob { digest, bytes, written: 0 });
        }
        let packed = self.options().level.pack(content);
        let body = packed.as_deref().unwrap_or(content);
        self.publish_bytes(digest, packed.is_some(), body).map_err(TierError::Io)?;
        Ok(StoredBlob { digest, bytes, written: body.len() as u64 })
    }

    /// Returns a blob's content, or `None` if it is not there or was damaged. Blocks.
    pub fn read_blob(&self, digest: Digest) -> Result<Option<Vec<u8>>, TierError> {
        let Some(found) = locate(self.root(), digest).map_err(TierError::Io)? else { return Ok(None) };
        let stored = match fs::read(&found.path) {
            Ok(stored) => stored,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(TierError::Io(error)),
        };
        let content = if found.packed {
            stated_length(&stored).and_then(|length| compress::unpack(&stored, length).ok())
        } else {
            Some(stored)
        };
        match content {
            Some(content) if Digest::of(&content) == digest => Ok(Some(content)),
            _ => {
                self.set_blob_aside(&found.path);
                Ok(None)
            }
        }
    }

    /// Whether a blob is there. Its content is not checked. Blocks, for about 2 µs.
    pub fn has_blob(&self, digest: Digest) -> Result<bool, TierError> {
        locate(self.root(), digest).map(|found| found.is_some()).map_err(TierError::Io)
    }

    /// Stores an envelope as it is: its own checksum guards it, and it is compressed already where that pays.
    pub(super) fn put_raw(&self, content: &[u8]) -> Result<Digest, TierError> {
        let digest = Digest::of(content);
        if !self.is_there(digest, content.len() as u64).map_err(TierError::Io)? {
            self.publish_bytes(digest, false, content).map_err(TierError::Io)?;
        }
        Ok(digest)
    }

    /// Whether a blob is there already. Makes it young if so.
    pub(super) fn is_there(&self, digest: Digest, bytes: u64) -> io::Result<bool> {
        let Some(found) = locate(self.root(), digest)? else { return Ok(false) };
        // A file that was cut is written anew. Other damage is found by whoever reads it.
        if !found.packed && found.bytes != bytes {
            return Ok(false);
        }
        let now: SystemTime = self.options().clock.wall().into();
        if found.modified + YOUNG > now && found.modified <= now + YOUNG {
            return Ok(true);
        }
        let rejuvenate = || {
            let file = File::options().write(true).open(&found.path)?;
            file.set_modified(now)?;
            file.metadata()
        };
        match rejuvenate() {
            Ok(metadata) => {
                self.checked().rejuvenated(digest, found.stat, Stat::from(&metadata));
                Ok(true)
            }
            // Another process's gc took it this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn publish_bytes(&self, digest: Digest, packed: bool, body: &[u8]) -> io::Result<()> {
        let mut temporary = self.temporary()?;
        temporary.file.write_all(body)?;
        self.publish(temporary, digest, packed)
    }

    /// Gives a complete and checked file its name as a blob.
    pub(super) fn publish(&self, temporary: Temporary, digest: Digest, packed: bool) -> io::Result<()> {
        // Its age is measured by our clock, which is not always the file system's.
        temporary.file.set_modified(self.options().clock.wall().into())?;
        let path = blob_path(self.root(), digest, packed);
        temporary.publish(&path)?;
        // Another process's gc may have taken it this moment.
        if let Ok(metadata) = fs::symlink_metadata(&path) {
            self.checked().learn(digest, Stat::from(&metadata), Known::Written);
        }
        Ok(())
    }

    /// A file on its way into the folder of blobs.
    pub(super) fn temporary(&self) -> io::Result<Temporary> {
        let folder = self.root().join("tmp");
        match Temporary::create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&folder)?;
                Temporary::create(&folder)
            }
            created => created,
        }
    }

    /// Stores a file that does not fit in memory: hashed first, and only if it is new read once more and copied,
    /// which must give the same digest.
    fn put_large(&self, source: &mut File, bytes: u64, stop: &AtomicBool) -> Result<StoredBlob, BlobError> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut hasher = Hasher::new(Algorithm::Blake3);
        let mut sample = None;
        loop {
            goes_on(stop)?;
            let read = fill(source, &mut buffer).map_err(BlobError::Source)?;
            hasher.update(&buffer[..read]);
            // The first chunk decides: a content that does not shrink at its beginning is taken as it is.
            sample.get_or_insert_with(|| self.options().level.pack(&buffer[..read]).is_some());
            if read < buffer.len() {
                break;
            }
        }
        let digest = hasher.finish();
        if self.is_there(digest, bytes).map_err(TierError::Io)? {
            return Ok(StoredBlob { digest, bytes, written: 0 });
        }
        io::Seek::rewind(source).map_err(BlobError::Source)?;
        let packed = sample == Some(true);
        let mut temporary = self.temporary().map_err(TierError::Io)?;
        let copied = if packed {
            let level = self.options().level.get();
            let mut encoder =
                zstd::stream::write::Encoder::new(&mut temporary.file, level).map_err(TierError::Io)?;
            encoder.set_pledged_src_size(Some(bytes)).map_err(TierError::Io)?;
            let copied = copy(source, &mut encoder, &mut buffer, stop)?;
            if copied != digest {
                return Err(BlobError::Changed);
            }
            encoder.finish().map_err(TierError::Io)?;
            copied
        } else {
            copy(source, &mut temporary.file, &mut buffer, stop)?
        };
        if copied != digest {
            return Err(BlobError::Changed);
        }
        let written = temporary.file.metadata().map_err(TierError::Io)?.len();
        self.publish(temporary, digest, packed).map_err(TierError::Io)?;
        Ok(StoredBlob { digest, bytes, written })
    }

    /// Moves a blob's file to `quarantine/`, or removes it where that fails.
    pub(super) fn set_blob_aside(&self, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        tracing::warn!(blob = %name, "blob does not match its digest and is set aside");
        let moved = self.aside(&format!("blob-{name}")).and_then(|aside| fs::rename(path, aside));
        if moved.is_err() {
            let _ = fs::remove_file(path);
        }
        self.note_quarantined("blob");
    }

    /// Keeps bytes in `quarantine/` for whoever looks into it, as far as that is possible.
    pub(super) fn keep_aside(&self, what: &'static str, bytes: &[u8]) {
        let _ = self.aside(what).and_then(|aside| fs::write(aside, bytes));
        self.note_quarantined(what);
    }

    /// A path in `quarantine/` that nothing has.
    fn aside(&self, what: &str) -> io::Result<PathBuf> {
        let folder = self.root().join("quarantine");
        fs::create_dir_all(&folder)?;
        let stamp = self.options().clock.wall().as_millis();
        Ok(folder.join(format!("{stamp}-{}-{what}", unique())))
    }
}

fn goes_on(stop: &AtomicBool) -> Result<(), BlobError> {
    if stop.load(Ordering::Relaxed) { Err(BlobError::Stopped) } else { Ok(()) }
}

/// Copies all of `source` and returns the digest of what was copied.
fn copy(
    source: &mut File,
    to: &mut impl Write,
    buffer: &mut [u8],
    stop: &AtomicBool,
) -> Result<Digest, BlobError> {
    let mut hasher = Hasher::new(Algorithm::Blake3);
    loop {
        goes_on(stop)?;
        let read = fill(source, buffer).map_err(BlobError::Source)?;
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read]).map_err(TierError::Io)?;
        if read < buffer.len() {
            return Ok(hasher.finish());
        }
    }
}

/// Reads until the buffer is full or the file ends.
pub(super) fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn changed(source: &File, before: &fs::Metadata) -> Result<bool, BlobError> {
    let after = source.metadata().map_err(BlobError::Source)?;
    let state = |m: &fs::Metadata| (m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    Ok(state(&after) != state(before))
}

/// The content's length that a zstd frame states. All of ours do.
pub(super) fn stated_length(frame: &[u8]) -> Option<u64> {
    zstd::zstd_safe::get_frame_content_size(frame).ok().flatten()
}

/// Where a blob's file lies, packed or not.
pub(super) fn blob_path(root: &Path, digest: Digest, packed: bool) -> PathBuf {
    let hex = digest.to_string();
    let mut path = root.join("blobs");
    path.push(&hex[..2]);
    path.push(hex + if packed { ".zst" } else { "" });
    path
}

/// Finds a blob's file.
pub(super) fn locate(root: &Path, digest: Digest) -> io::Result<Option<Located>> {
    for packed in [true, false] {
        let path = blob_path(root, digest, packed);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                let (modified, stat) = (metadata.modified()?, Stat::from(&metadata));
                return Ok(Some(Located { path, packed, bytes: metadata.len(), modified, stat }));
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Reads a blob that guards itself, as an envelope does: its digest is not checked.
pub(super) fn read_raw(root: &Path, digest: Digest) -> Result<Option<Vec<u8>>, TierError> {
    match fs::read(blob_path(root, digest, false)) {
        Ok(content) => Ok(Some(content)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(TierError::Io(error)),
    }
}

/// A name that no other process on the machine makes, nor this one again.
pub(super) fn unique() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{nanos:x}-{count:x}", std::process::id())
}

/// How names of files begin that are made beside those that they become. One that is listed where inputs are looked
/// for is none.
pub const TEMPORARY: &str = ".larder-tmp-";

/// A name for such a file, which no other has.
pub fn temporary_name() -> String {
    format!("{TEMPORARY}{}", unique())
}

/// A file that is removed unless it is published.
pub(super) struct Temporary {
    pub(super) file: File,
    path: PathBuf,
    published: bool,
}

impl Temporary {
    /// Makes an empty file with a name of its own in `folder`.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        loop {
            let path = folder.join(temporary_name());
            match File::options().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self { file, path, published: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the file its name, in place of what has that name. Makes the folder if it is not there.
    pub(super) fn publish(mut self, to: &Path) -> io::Result<()> {
        let renamed = match fs::rename(&self.path, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                to.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::rename(&self.path, to)
            }
            outcome => outcome,
        };
        self.published = renamed.is_ok();
        renamed
    }
}

impl Temporary {
    /// Gives the file its name, in place of a file that likely is there.
    ///
    /// It changes places with that one, which then goes. A rename over it would do the same in one step, but has some
    /// file systems (ext4) write the new content to the disk first, which takes twenty times as long.
    pub(super) fn publish_over(mut self, to: &Path) -> io::Result<()> {
        match fs::symlink_metadata(to) {
            Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) if exchange(&self.path, to) => {}
            _ => return self.publish(to),
        }
        self.published = true;
        match fs::remove_file(&self.path) {
            // A folder was made there this moment: it gets its name back.
            Err(error) if self.path.is_dir() && exchange(&self.path, to) => {
                self.published = false;
                Err(error)
            }
            removed => removed,
        }
    }
}

#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchange(_one: &Path, _other: &Path) -> bool {
    false
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_file(&self.path);
        }
    }
}
