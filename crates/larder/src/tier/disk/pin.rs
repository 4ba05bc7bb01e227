//! Pins: blobs that a running process is about to restore, and which gc therefore leaves alone.
//!
//! Each process that pins has a file under `pins/` with the digests, and holds a lock on it as long as it lives,
//! however it dies. Invariant: pins are written under a shared lock on `pins.lock`, and gc reads them and removes
//! blobs under the exclusive one, in short batches; so a blob that was there when it was pinned stays.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;

use super::blobs::{locate, unique};
use super::lock::Locked;
use super::open::Disk;
use super::sweep::files;
use crate::key::Digest;
use crate::tier::TierError;

/// A file of pins that has this many digests more than are pinned is written anew.
const SLACK: usize = 4096;

/// What this process has pinned through one handle and its clones.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<Pinned>);

#[derive(Debug, Default)]
struct Pinned {
    held: HashMap<Digest, usize>,
    file: Option<PinFile>,
    /// `pins.lock`, which stays open.
    lock: Option<Arc<File>>,
}

#[derive(Debug)]
struct PinFile {
    path: PathBuf,
    file: File,
    written: usize,
}

impl Drop for PinFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Blobs that stay while this is held.
#[derive(Debug)]
pub struct Pin {
    disk: Disk,
    digests: Box<[Digest]>,
    missing: Box<[Digest]>,
}

impl Pin {
    /// The blobs that were not there any more when they were to be pinned.
    pub fn missing(&self) -> &[Digest] {
        &self.missing
    }
}

impl Disk {
    /// Pins blobs: as long as the answer is held, no process's gc removes them. Blocks, for about 15 µs and 3 µs a
    /// blob, or for a batch of a gc that is under way.
    ///
    /// Damage is no gc: a blob that is bad is set aside, pinned or not. On a tier that is read only nothing can be
    /// pinned, and the answer only tells what is missing.
    pub fn pin(&self, digests: &[Digest]) -> Result<Pin, TierError> {
        let mut pinned = self.pins().0.lock();
        let _shared =
            if self.read_only() { None } else { Some(pinned.lock(self.root()).map_err(TierError::Io)?) };
        let mut missing = Vec::new();
        for &digest in digests {
            if locate(self.root(), digest).map_err(TierError::Io)?.is_none() {
                missing.push(digest);
            }
        }
        if !self.read_only() {
            pinned.write(self.root(), digests).map_err(TierError::Io)?;
        }
        for &digest in digests {
            *pinned.held.entry(digest).or_insert(0) += 1;
        }
        Ok(Pin { disk: self.clone(), digests: digests.into(), missing: missing.into() })
    }

    /// Takes away what is left of pins in the directory, if nothing is pinned, as the last handle does when it is
    /// dropped: for a process that is about to end without. Blocks, for some microseconds.
    pub fn put_pins_away(&self) {
        let mut pinned = self.pins().0.lock();
        if pinned.held.is_empty() {
            pinned.file = None;
        }
    }
}

impl Pinned {
    /// Takes the lock under which pins are written.
    fn lock(&mut self, root: &Path) -> io::Result<Locked> {
        if let Some(file) = &self.lock {
            return Locked::shared_again(file);
        }
        fs::create_dir_all(root)?;
        let locked = Locked::shared(&root.join("pins.lock"))?;
        self.lock = Some(Arc::clone(locked.file()));
        Ok(locked)
    }

    fn write(&mut self, root: &Path, digests: &[Digest]) -> io::Result<()> {
        let new: Vec<u8> = digests.iter().flat_map(|digest| *digest.as_bytes()).collect();
        match &mut self.file {
            Some(pins) if pins.written < 2 * self.held.len() + SLACK => {
                pins.written += digests.len();
                pins.file.write_all(&new)
            }
            file => {
                // The old file goes when the new one is whole; gc reads neither in between.
                let mut fresh = PinFile::create(root)?;
                let held: Vec<u8> = self.held.keys().flat_map(|digest| *digest.as_bytes()).collect();
                fresh.file.write_all(&held)?;
                fresh.file.write_all(&new)?;
                fresh.written = self.held.len() + digests.len();
                *file = Some(fresh);
                Ok(())
            }
        }
    }
}

impl PinFile {
    fn create(root: &Path) -> io::Result<Self> {
        let folder = root.join("pins");
        fs::create_dir_all(&folder)?;
        let path = folder.join(unique());
        let file = File::options().create_new(true).append(true).open(&path)?;
        file.lock()?;
        Ok(Self { path, file, written: 0 })
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pinned = self.disk.pins().0.lock();
        for digest in &self.digests {
            if let Some(count) = pinned.held.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    pinned.held.remove(digest);
                }
            }
        }
        if pinned.held.is_empty()
            && let Some(pins) = &mut pinned.file
        {
            // If that fails they stay pinned until the process ends.
            let _ = pins.file.set_len(0);
            pins.written = 0;
        }
    }
}

/// All digests that living processes have pinned. The caller holds the exclusive lock. Files of dead processes are
/// removed.
pub(super) fn pinned(root: &Path) -> io::Result<HashSet<Digest>> {
    let mut all = HashSet::new();
    for (path, _) in files(&root.join("pins"))? {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => {
                let _ = fs::remove_file(&path);
            }
            Err(TryLockError::WouldBlock) => {
                let bytes = fs::read(&path)?;
                let digests = bytes.chunks_exact(Digest::LEN);
                all.extend(digests.map(|digest| {
                    Digest::from_bytes(digest.try_into().expect("chunks of a digest's length"))
                }));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(all)
}
