//! Contents whose digest is not known before their end, and contents a piece at a time: for whoever takes bytes from a
//! network and gives them to one.
//!
//! Invariant: what is written here becomes a blob only when it is finished, under the digest of what was written. What
//! is read here was checked against its digest since its file was last changed.
//! Not here: blobs in the form in which they are stored (`convey`).

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;

use hashbrown::HashMap;
use parking_lot::Mutex;
use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use super::blobs::{Located, StoredBlob, Temporary, locate};
use super::convey::{frame_length, holds};
use super::open::Disk;
use crate::key::{Algorithm, Digest, Hasher};
use crate::tier::TierError;

/// How many checked files are remembered; above that the memory begins anew.
const MAX_CHECKED: usize = 1 << 16;

/// Which blobs this process wrote or checked, and under which stat data of their files.
#[derive(Debug, Default)]
pub(super) struct Checked(Mutex<HashMap<Digest, (Stat, Known)>>);

/// How it is known what a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It was written, and its bytes were hashed on their way.
    Written,
    /// It was read back.
    Checked,
}

/// What tells that a file was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&Metadata> for Stat {
    fn from(m: &Metadata) -> Self {
        Self {
            inode: (m.dev(), m.ino()),
            bytes: m.size(),
            modified: (m.mtime(), m.mtime_nsec()),
            changed: (m.ctime(), m.ctime_nsec()),
        }
    }
}

impl Stat {
    fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }
}

impl Checked {
    fn was_checked(&self, digest: Digest, stat: Stat) -> bool {
        self.0.lock().get(&digest) == Some(&(stat, Known::Checked))
    }

    pub(super) fn learn(&self, digest: Digest, stat: Stat, known: Known) {
        let mut checked = self.0.lock();
        if checked.len() >= MAX_CHECKED {
            checked.clear();
        }
        checked.insert(digest, (stat, known));
    }

    /// Takes note that this process made a file younger, and changed nothing else.
    pub(super) fn rejuvenated(&self, digest: Digest, before: Stat, after: Stat) {
        if let Some((stat, _)) = self.0.lock().get_mut(&digest).filter(|(stat, _)| *stat == before) {
            *stat = after;
        }
    }
}

/// A content that is being written. Dropped before it is finished it leaves nothing.
pub struct NewBlob {
    disk: Disk,
    temporary: Temporary,
    /// Packs into the temporary file, where the first piece said that it pays.
    packing: Option<Encoder<'static, File>>,
    hasher: Hasher,
    /// How long it is going to be, if that is known: a frame has to state it at its beginning.
    announced: Option<u64>,
    bytes: u64,
}

impl fmt::Debug for NewBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewBlob({} bytes)", self.bytes)
    }
}

impl NewBlob {
    /// Takes the next piece. Blocks. Pieces of 64 KiB or more are hashed at full speed.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), TierError> {
        self.append(piece).map_err(TierError::Io)
    }

    fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.bytes == 0 {
            self.packing = self.packing_for(piece)?;
        }
        self.hasher.update(piece);
        self.bytes += piece.len() as u64;
        match &mut self.packing {
            None => self.temporary.file.write_all(piece),
            Some(encoder) => encoder.write_all(piece),
        }
    }

    /// A content that does not shrink at its beginning is taken as it is.
    fn packing_for(&self, first: &[u8]) -> io::Result<Option<Encoder<'static, File>>> {
        let level = self.disk.options().level;
        let Some(bytes) = self.announced.filter(|_| level.pack(first).is_some()) else { return Ok(None) };
        let mut encoder = Encoder::new(self.temporary.file.try_clone()?, level.get())?;
        encoder.set_pledged_src_size(Some(bytes))?;
        Ok(Some(encoder))
    }

    /// How many bytes came so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes what was written a blob, unless it is one already. Blocks. One that was there already is checked, so that
    /// whoever brings a content that was damaged here replaces it.
    ///
    /// # Errors
    /// Those of the disk, and [`io::ErrorKind::InvalidData`] if it is not as long as was announced.
    pub fn finish(self) -> Result<StoredBlob, TierError> {
        let Self { disk, temporary, packing, hasher, announced, bytes } = self;
        if announced.is_some_and(|announced| announced != bytes) {
            let error = io::Error::new(io::ErrorKind::InvalidData, "content is not as long as was announced");
            return Err(TierError::Io(error));
        }
        let digest = hasher.finish();
        if disk.open_content(digest)?.is_some_and(|content| content.bytes() == bytes) {
            return Ok(StoredBlob { digest, bytes, written: 0 });
        }
        let packed = packing.is_some();
        if let Some(encoder) = packing {
            encoder.finish().map_err(TierError::Io)?;
        }
        let written = temporary.file.metadata().map_err(TierError::Io)?.len();
        disk.publish(temporary, digest, packed).map_err(TierError::Io)?;
        Ok(StoredBlob { digest, bytes, written })
    }
}

/// A blob's content, checked.
#[derive(Debug)]
pub struct Content {
    file: File,
    packed: bool,
    bytes: u64,
}

impl Content {
    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The content as one zstd frame, if that is how it is stored.
    pub fn into_frame(self) -> Result<File, Self> {
        if self.packed { Ok(self.file) } else { Err(self) }
    }

    /// The content from `offset` on. Blocks: where it is stored as a frame, for as long as unpacking what comes before
    /// takes.
    pub fn read_from(mut self, offset: u64) -> Result<Box<dyn Read + Send>, TierError> {
        if self.packed {
            let mut decoder = Decoder::new(self.file).map_err(TierError::Io)?.single_frame();
            io::copy(&mut (&mut decoder).take(offset), &mut io::sink()).map_err(TierError::Io)?;
            Ok(Box::new(decoder))
        } else {
            self.file.seek(SeekFrom::Start(offset)).map_err(TierError::Io)?;
            Ok(Box::new(self.file))
        }
    }
}

impl Disk {
    /// Begins to write a content, of as many bytes as are announced. Blocks.
    pub fn new_blob(&self, announced: Option<u64>) -> Result<NewBlob, TierError> {
        if self.read_only() {
            return Err(TierError::ReadOnly);
        }
        let temporary = self.temporary().map_err(TierError::Io)?;
        let hasher = Hasher::new(Algorithm::Blake3);
        Ok(NewBlob { disk: self.clone(), temporary, packing: None, hasher, announced, bytes: 0 })
    }

    /// Begins to read a blob's content; `None` if it is not there or was damaged, in which case it is set aside.
    ///
    /// Blocks: for as long as reading and hashing all of it takes, where this process has not checked its file since
    /// that was last changed; else for as long as opening a file.
    pub fn open_content(&self, digest: Digest) -> Result<Option<Content>, TierError> {
        let Some(found) = locate(self.root(), digest).map_err(TierError::Io)? else { return Ok(None) };
        let content = self.checked_content(digest, &found).map_err(TierError::Io)?;
        if let Opened::Damaged = content {
            self.set_blob_aside(&found.path);
        }
        Ok(if let Opened::Whole(content) = content { Some(content) } else { None })
    }

    /// Whether a blob is there and whole, as far as that shows without reading it: its file is as this process wrote or
    /// checked it, and is else read; one that this process does not know is as long as the index says. Damage that
    /// leaves a file's stat data as they were, or came before this process began and left its length, is found by
    /// whoever reads the blob first.
    pub(super) fn has_whole_blob(&self, digest: Digest) -> Result<bool, TierError> {
        let Some(found) = locate(self.root(), digest).map_err(TierError::Io)? else { return Ok(false) };
        let known = self.checked().0.lock().get(&digest).map(|(stat, _)| *stat);
        let is_as_it_was = match known {
            Some(known) => known == found.stat,
            None => self.stored_length(digest)?.is_none_or(|bytes| bytes == found.bytes),
        };
        Ok(is_as_it_was || self.open_content(digest)?.is_some())
    }

    fn checked_content(&self, digest: Digest, found: &Located) -> io::Result<Opened> {
        let mut file = match File::open(&found.path) {
            Ok(file) => file,
            // Another process's gc took it this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Gone),
            Err(error) => return Err(error),
        };
        let stat = Stat::of(&file)?;
        if !self.checked().was_checked(digest, stat) {
            if !holds(&mut file, digest, found.packed)? {
                return Ok(Opened::Damaged);
            }
            // A file that was written to while it was read is checked again the next time.
            if Stat::of(&file)? == stat {
                self.checked().learn(digest, stat, Known::Checked);
            }
        }
        let bytes = if found.packed { frame_length(&mut file)? } else { Some(stat.bytes) };
        let Some(bytes) = bytes else { return Ok(Opened::Damaged) };
        file.rewind()?;
        Ok(Opened::Whole(Content { file, packed: found.packed, bytes }))
    }
}

/// What became of a blob that was to be opened.
enum Opened {
    Whole(Content),
    Damaged,
    Gone,
}
