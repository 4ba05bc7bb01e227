//! Notes beside what is kept under a name in the index ([`Disk::meta`]): short processes add theirs to the end of a
//! file, which takes no transaction, and once in a while all of them are folded into the index.
//!
//! ```text
//! notes.NAMESPACE.NAME:  id of the file, 16 bytes that no other has; then of each note
//!   length, 4 bytes, little-endian; XXH3-64 of the note, 8 bytes, little-endian; the note
//! ```
//!
//! Invariants: a note is folded at most once, also when the process that folds is killed in between, as the index
//! says up to where a file was folded; a note that is cut off or damaged ends those that are read.

use std::fs::File;
use std::io::{self, Read as _, Write as _};

use twox_hash::{XxHash3_64, XxHash3_128};

use super::blobs::unique;
use super::fault::Fault;
use super::meta::{lookup, put};
use super::open::Disk;
use super::store::Write;
use crate::tier::TierError;

/// In which namespace it stands how far the notes under each name were folded.
const FOLDED: &str = "notes";
const ID: usize = 16;
const HEADER: usize = 12;

/// What is under a name, and the notes that are not folded into it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// What is kept in the index, if anything is.
    pub kept: Option<Vec<u8>>,
    /// The notes, in order.
    pub notes: Vec<Vec<u8>>,
}

/// A file with notes, locked.
struct Notes(File);

/// What is in such a file.
struct Content {
    id: [u8; ID],
    /// Each note, and where in the file it ends.
    notes: Vec<(Vec<u8>, u64)>,
}

impl Disk {
    /// Adds a note to those under a name. Returns how many bytes of them wait to be folded. Blocks, for opening,
    /// locking and writing one file.
    pub fn add_note(&self, namespace: &str, name: &str, note: &[u8]) -> Result<u64, TierError> {
        let mut notes = self.notes(namespace, name).map_err(TierError::Io)?;
        notes.add(note).map_err(TierError::Io)
    }

    /// Returns what is kept under a name, and the notes that are not folded into it yet, in order. Blocks.
    pub fn meta_with_notes(&self, namespace: &str, name: &str) -> Result<Noted, TierError> {
        // Where nothing may be written nobody folds either.
        let content = match self.read_only() {
            true => Notes::content_at(&self.notes_path(namespace, name)),
            false => self.notes(namespace, name).and_then(|mut notes| notes.content()),
        };
        let content = content.map_err(TierError::Io)?;
        self.read(|connection, _| {
            let folded = lookup(connection, FOLDED, &both(namespace, name))?;
            let notes = content.since(folded.as_deref());
            Ok(Noted { kept: lookup(connection, namespace, name)?, notes })
        })
    }

    /// Replaces what is kept under a name by what `fold` makes of it and of the notes, which are gone then; `None` is
    /// nothing kept. `fold` may be called twice. Blocks.
    pub fn fold_notes(
        &self,
        namespace: &str,
        name: &str,
        fold: impl Fn(Option<Vec<u8>>, Vec<Vec<u8>>) -> Option<Vec<u8>>,
    ) -> Result<(), TierError> {
        let mut notes = self.notes(namespace, name).map_err(TierError::Io)?;
        let content = notes.content().map_err(TierError::Io)?;
        self.write(|write: &Write<'_>| -> Result<(), Fault> {
            let both = both(namespace, name);
            let since = content.since(lookup(write, FOLDED, &both)?.as_deref());
            if let Some(bytes) = fold(lookup(write, namespace, name)?, since) {
                put(write, namespace, name, &bytes)?;
            }
            put(write, FOLDED, &both, &content.end())
        })?;
        notes.0.set_len(0).map_err(TierError::Io)
    }

    fn notes(&self, namespace: &str, name: &str) -> io::Result<Notes> {
        let path = self.notes_path(namespace, name);
        let file = File::options().create(true).append(true).read(true).open(path)?;
        file.lock()?;
        Ok(Notes(file))
    }

    fn notes_path(&self, namespace: &str, name: &str) -> std::path::PathBuf {
        self.root().join(format!("notes.{namespace}.{name}"))
    }
}

fn both(namespace: &str, name: &str) -> String {
    format!("{namespace}.{name}")
}

impl Notes {
    fn add(&mut self, note: &[u8]) -> io::Result<u64> {
        let there = self.0.metadata()?.len();
        let mut bytes = Vec::with_capacity(ID + HEADER + note.len());
        if there == 0 {
            bytes.extend_from_slice(&new_id());
        }
        let length = u32::try_from(note.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&XxHash3_64::oneshot(note).to_le_bytes());
        bytes.extend_from_slice(note);
        self.0.write_all(&bytes)?;
        Ok(there + bytes.len() as u64)
    }

    fn content(&mut self) -> io::Result<Content> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes)?;
        Ok(Content::of(&bytes))
    }

    fn content_at(path: &std::path::Path) -> io::Result<Content> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Content::of(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Content::of(&[])),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        // By name and not left to the closing: a child that is just being started has the file for a moment too.
        let _ = self.0.unlock();
    }
}

impl Content {
    fn of(bytes: &[u8]) -> Self {
        let Some((id, mut rest)) = bytes.split_first_chunk::<ID>() else {
            return Self { id: [0; ID], notes: Vec::new() };
        };
        let mut notes = Vec::new();
        while let Some((header, after)) = rest.split_first_chunk::<HEADER>() {
            let (length, sum) = header.split_at(4);
            let length = u32::from_le_bytes(length.try_into().expect("it is four bytes")) as usize;
            let Some((note, after)) = after.split_at_checked(length) else { break };
            if XxHash3_64::oneshot(note).to_le_bytes() != *sum {
                break;
            }
            rest = after;
            notes.push((note.to_vec(), (bytes.len() - rest.len()) as u64));
        }
        Self { id: *id, notes }
    }

    /// What the index says of a file that was folded to its end.
    fn end(&self) -> Vec<u8> {
        let end = self.notes.last().map_or(0, |(_, end)| *end);
        [&self.id[..], &end.to_le_bytes()].concat()
    }

    /// The notes behind the place that the index names.
    fn since(&self, folded: Option<&[u8]>) -> Vec<Vec<u8>> {
        let until = folded.and_then(|folded| folded.strip_prefix(&self.id));
        let until = until.and_then(|end| Some(u64::from_le_bytes(end.try_into().ok()?))).unwrap_or(0);
        self.notes.iter().filter(|(_, end)| *end > until).map(|(note, _)| note.clone()).collect()
    }
}

fn new_id() -> [u8; ID] {
    XxHash3_128::oneshot(unique().as_bytes()).to_le_bytes()
}
