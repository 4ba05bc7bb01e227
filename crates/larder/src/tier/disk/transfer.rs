//! Moving entries between machines, as one file.
//!
//! The file is a sequence of frames behind a header: blobs, each before the first entry that names it, entries,
//! and at the end how many of each and a BLAKE3 digest of everything before. `docs/format.md` describes it.
//! Invariant: nothing of a file is taken in unless all of it matches that digest, and then each blob is checked
//! against its name and each entry against its key once more.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use hashbrown::HashSet;

use super::blobs::{CHUNK_BYTES, Located, Temporary, fill, locate};
use super::open::Disk;
use super::restore::digest_of_content;
use super::select::visit;
use crate::entry::{MAX_VALUE_BYTES, open};
use crate::key::{Algorithm, Digest, Hasher, Key, Selector};
use crate::tier::{PutOutcome, Sealed, TierError};

const MAGIC: &[u8; 8] = b"LARDER-X";
const FORMAT: u32 = 1;
const BLOB: u8 = 1;
const PACKED_BLOB: u8 = 2;
const ENTRY: u8 = 3;
const END: u8 = 4;

/// An entry's frame holds its key too, and an envelope is a little longer than its value.
const MAX_ENTRY_FRAME: u64 = MAX_VALUE_BYTES + (64 << 20);

/// How many entries are taken in by one transaction.
const BATCH: usize = 64;

/// What an export or an import moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Entries that were written, or taken in.
    pub entries: u64,
    /// Blobs that were written, or taken in.
    pub blobs: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Entries that were left out: on export because they or their blobs are damaged or gone, on import because
    /// their key is there already or the tier refused them.
    pub left_out: u64,
}

/// An export or an import failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file can't be written or read.
    #[error("export file is not usable")]
    File(#[source] io::Error),
    /// The file is no export, or was cut or changed since it was written.
    #[error("export file is not whole: {0}")]
    Damaged(&'static str),
    /// A newer version wrote it.
    #[error("export file has format {found}, this version reads {FORMAT}")]
    Format {
        /// The format that the file states.
        found: u32,
    },
    /// The tier failed.
    #[error(transparent)]
    Tier(#[from] TierError),
}

impl Disk {
    /// Writes all entries that `selector` selects, with their blobs, to a file, in place of one that is there, also behind
    /// a link. What is there and no file, such as a pipe, is written to. Blocks.
    pub fn export(&self, selector: &Selector, file: impl AsRef<Path>) -> Result<Transferred, TransferError> {
        let file = file.as_ref();
        if fs::metadata(file).is_ok_and(|there| !there.is_file()) {
            let mut there = File::options().write(true).open(file).map_err(TransferError::File)?;
            return self.export_to(selector, &mut there);
        }
        let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut temporary =
            Temporary::create(folder.unwrap_or(Path::new("."))).map_err(TransferError::File)?;
        let done = self.export_to(selector, &mut temporary.file)?;
        temporary.publish(&file).map_err(TransferError::File)?;
        Ok(done)
    }

    fn export_to(&self, selector: &Selector, file: &mut File) -> Result<Transferred, TransferError> {
        let keys = self.read(|connection, _| {
            let mut keys = Vec::new();
            visit(connection, selector, |selected| {
                keys.push(selected.key);
                Ok(())
            })?;
            Ok(keys)
        })?;
        let mut writer = Writer::new(file).map_err(TransferError::File)?;
        let mut done = Transferred::default();
        let mut written = HashSet::new();
        for key in keys {
            match self.export_entry(&key, &mut writer, &mut written, &mut done)? {
                Exported::Written => done.entries += 1,
                Exported::LeftOut => done.left_out += 1,
            }
        }
        done.bytes = writer.finish(&done).map_err(TransferError::File)?;
        Ok(done)
    }

    fn export_entry(
        &self,
        key: &Key,
        writer: &mut Writer<'_>,
        written: &mut HashSet<Digest>,
        done: &mut Transferred,
    ) -> Result<Exported, TransferError> {
        let Some(envelope) = self.blocking_get(key)? else { return Ok(Exported::LeftOut) };
        let Ok(opened) = open(key, &envelope) else { return Ok(Exported::LeftOut) };
        let pin = self.pin(&opened.record.blobs)?;
        if !pin.missing().is_empty() {
            return Ok(Exported::LeftOut);
        }
        for &digest in &opened.record.blobs {
            if written.contains(&digest) {
                continue;
            }
            let Some(found) = locate(self.root(), digest).map_err(TierError::Io)? else {
                return Ok(Exported::LeftOut);
            };
            let mut blob = File::open(&found.path).map_err(TierError::Io)?;
            if digest_of_content(&mut blob, found.packed)? != Some(digest) {
                self.set_blob_aside(&found.path);
                return Ok(Exported::LeftOut);
            }
            blob.rewind().map_err(TierError::Io)?;
            writer.blob(digest, &found, &mut blob)?;
            written.insert(digest);
            done.blobs += 1;
        }
        writer.entry(key, &envelope).map_err(TransferError::File)?;
        Ok(Exported::Written)
    }

    /// Takes in what [`Disk::export`] wrote, on this machine or another. Blocks.
    ///
    /// An entry whose key is there already is left as it is. The file is read twice: nothing is taken in before
    /// all of it is known to be whole.
    pub fn import(&self, file: impl AsRef<Path>) -> Result<Transferred, TransferError> {
        let mut file = File::open(file).map_err(TransferError::File)?;
        let end = check_whole(&mut file)?;
        let mut reader = Reader::new(&mut file, end)?;
        let mut done = Transferred { bytes: reader.length, ..Transferred::default() };
        let mut batch = Vec::new();
        loop {
            match reader.next()? {
                Frame::Blob { digest, packed, bytes } => {
                    self.import_blob(digest, packed, bytes, &mut reader)?;
                    done.blobs += 1;
                }
                Frame::Entry { key, envelope } => {
                    if self.blocking_get(&key)?.is_some() {
                        done.left_out += 1;
                        continue;
                    }
                    let opened = open(&key, &envelope);
                    let opened = opened.map_err(|_| TransferError::Damaged("an entry does not open"))?;
                    let began = self.blocking_epoch()?;
                    batch.push(Sealed { key, record: opened.record, envelope, began });
                    if batch.len() == BATCH {
                        self.import_batch(&mut batch, &mut done)?;
                    }
                }
                Frame::End { entries, blobs } => {
                    self.import_batch(&mut batch, &mut done)?;
                    if (entries, blobs) != (done.entries + done.left_out, done.blobs) {
                        return Err(TransferError::Damaged("it does not hold what its end says"));
                    }
                    return Ok(done);
                }
            }
        }
    }

    fn import_batch(&self, batch: &mut Vec<Sealed>, done: &mut Transferred) -> Result<(), TransferError> {
        for outcome in self.blocking_put(&std::mem::take(batch))? {
            match outcome {
                PutOutcome::Kept | PutOutcome::Replaced { .. } => done.entries += 1,
                PutOutcome::Refused(_) => done.left_out += 1,
            }
        }
        Ok(())
    }

    fn import_blob(
        &self,
        digest: Digest,
        packed: bool,
        bytes: u64,
        reader: &mut Reader<'_>,
    ) -> Result<(), TransferError> {
        let mut temporary = self.temporary().map_err(TierError::Io)?;
        let mut content = (&mut reader.file).take(bytes);
        let copied = io::copy(&mut content, &mut temporary.file).map_err(TierError::Io)?;
        reader.at += copied;
        temporary.file.rewind().map_err(TierError::Io)?;
        if copied != bytes || digest_of_content(&mut temporary.file, packed)? != Some(digest) {
            return Err(TransferError::Damaged("a blob does not match its digest"));
        }
        if locate(self.root(), digest).map_err(TierError::Io)?.is_none() {
            self.publish(temporary, digest, packed).map_err(TierError::Io)?;
        }
        Ok(())
    }
}

enum Exported {
    Written,
    LeftOut,
}

/// Writes frames, and the digest of all of them at the end.
struct Writer<'a> {
    file: BufWriter<&'a mut File>,
    hasher: Hasher,
    bytes: u64,
}

impl<'a> Writer<'a> {
    fn new(file: &'a mut File) -> io::Result<Self> {
        let file = BufWriter::with_capacity(CHUNK_BYTES, file);
        let mut writer = Self { file, hasher: Hasher::new(Algorithm::Blake3), bytes: 0 };
        writer.write(MAGIC)?;
        writer.write(&FORMAT.to_le_bytes())?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn head(&mut self, frame: u8, bytes: u64) -> io::Result<()> {
        self.write(&[frame])?;
        self.write(&bytes.to_le_bytes())
    }

    fn blob(&mut self, digest: Digest, found: &Located, blob: &mut File) -> Result<(), TransferError> {
        let frame = if found.packed { PACKED_BLOB } else { BLOB };
        self.head(frame, Digest::LEN as u64 + found.bytes).map_err(TransferError::File)?;
        self.write(digest.as_bytes()).map_err(TransferError::File)?;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut copied = 0;
        loop {
            let read = fill(blob, &mut buffer).map_err(TierError::Io)?;
            if read == 0 {
                break;
            }
            copied += read as u64;
            self.write(&buffer[..read]).map_err(TransferError::File)?;
        }
        if copied == found.bytes {
            Ok(())
        } else {
            Err(TransferError::Damaged("a blob changed while it was read"))
        }
    }

    fn entry(&mut self, key: &Key, envelope: &[u8]) -> io::Result<()> {
        let key = key.to_string();
        self.head(ENTRY, 4 + key.len() as u64 + envelope.len() as u64)?;
        self.write(&(key.len() as u32).to_le_bytes())?;
        self.write(key.as_bytes())?;
        self.write(envelope)
    }

    fn finish(mut self, done: &Transferred) -> io::Result<u64> {
        self.head(END, 16)?;
        self.write(&done.entries.to_le_bytes())?;
        self.write(&done.blobs.to_le_bytes())?;
        let digest = self.hasher.clone().finish();
        self.file.write_all(digest.as_bytes())?;
        self.file.flush()?;
        Ok(self.bytes + Digest::LEN as u64)
    }
}

/// Checks that a file is an export of a known format and matches the digest at its end; returns where that begins.
fn check_whole(file: &mut File) -> Result<u64, TransferError> {
    let mut head = [0; 12];
    let read = fill(file, &mut head).map_err(TransferError::File)?;
    if read < head.len() || head[..8] != *MAGIC {
        return Err(TransferError::Damaged("it is no export"));
    }
    let found = u32::from_le_bytes(head[8..].try_into().expect("four bytes"));
    if found != FORMAT {
        return Err(TransferError::Format { found });
    }
    let length = file.metadata().map_err(TransferError::File)?.len();
    let cut = || TransferError::Damaged("it was cut or changed");
    let end = length.checked_sub(Digest::LEN as u64).ok_or_else(cut)?;
    let mut hasher = Hasher::new(Algorithm::Blake3);
    file.rewind().map_err(TransferError::File)?;
    let mut content = file.take(end);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = fill(&mut content, &mut buffer).map_err(TransferError::File)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    let mut digest = [0; Digest::LEN];
    let read = fill(file, &mut digest).map_err(TransferError::File)?;
    if read == digest.len() && hasher.finish() == Digest::from_bytes(digest) { Ok(end) } else { Err(cut()) }
}

enum Frame {
    Blob { digest: Digest, packed: bool, bytes: u64 },
    Entry { key: Key, envelope: Vec<u8> },
    End { entries: u64, blobs: u64 },
}

/// Reads frames. A blob's content is left for the caller to read.
struct Reader<'a> {
    file: BufReader<&'a mut File>,
    at: u64,
    end: u64,
    length: u64,
}

impl<'a> Reader<'a> {
    fn new(file: &'a mut File, end: u64) -> Result<Self, TransferError> {
        let at = 12;
        file.seek(io::SeekFrom::Start(at)).map_err(TransferError::File)?;
        let file = BufReader::with_capacity(CHUNK_BYTES, file);
        Ok(Self { file, at, end, length: end + Digest::LEN as u64 })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], TransferError> {
        let mut bytes = [0; N];
        self.at += N as u64;
        self.file.read_exact(&mut bytes).map_err(TransferError::File)?;
        Ok(bytes)
    }

    fn next(&mut self) -> Result<Frame, TransferError> {
        let shape = || TransferError::Damaged("a frame has no meaning");
        let [frame] = self.take()?;
        let bytes = u64::from_le_bytes(self.take()?);
        if self.at.checked_add(bytes).is_none_or(|end| end > self.end) {
            return Err(shape());
        }
        match frame {
            BLOB | PACKED_BLOB => {
                let digest = Digest::from_bytes(self.take()?);
                let bytes = bytes.checked_sub(Digest::LEN as u64).ok_or_else(shape)?;
                Ok(Frame::Blob { digest, packed: frame == PACKED_BLOB, bytes })
            }
            ENTRY if bytes <= MAX_ENTRY_FRAME => {
                let key_bytes = u64::from(u32::from_le_bytes(self.take()?));
                let rest = bytes.checked_sub(4).filter(|&rest| key_bytes <= rest).ok_or_else(shape)?;
                let mut envelope = vec![0; rest as usize];
                self.at += rest;
                self.file.read_exact(&mut envelope).map_err(TransferError::File)?;
                let key = std::str::from_utf8(&envelope[..key_bytes as usize]).ok();
                let key = key.and_then(|key| Key::parse(key).ok()).ok_or_else(shape)?;
                envelope.drain(..key_bytes as usize);
                Ok(Frame::Entry { key, envelope })
            }
            END if bytes == 16 => {
                let (entries, blobs) = (u64::from_le_bytes(self.take()?), u64::from_le_bytes(self.take()?));
                if self.at == self.end { Ok(Frame::End { entries, blobs }) } else { Err(shape()) }
            }
            _ => Err(shape()),
        }
    }
}
