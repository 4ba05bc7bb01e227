//! Opening a directory, laying it out, and beginning again where its index is damaged.
//!
//! Invariant: the index is made, and set aside, only by a process that holds the lock on `open.lock`.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::content::Checked;
use super::fault::Fault;
use super::gather::{Gathered, Stores};
use super::lock::Locked;
use super::pin::Pins;
use super::ready::Stored;
use super::schema::{self, Access, FORMAT, Found};
use super::store::{Identity, Store, identity_of};
use crate::clock::Clock;
use crate::entry::compress::Level;
use crate::key::Key;
use crate::tier::{Brief, TierError};

/// A log that has grown beyond this is written back when the tier is closed. Reading a smaller one at the next
/// opening takes less time than waiting for the disk now.
const LOG_KEPT_BYTES: u64 = 512 << 10;

/// How a disk tier is opened.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// Tells when entries were used and how old files are.
    pub clock: Clock,
    /// How hard blobs are compressed. Entries come compressed or not, as their envelope says.
    pub level: Level,
    /// Envelopes up to this size stand in the index, larger ones in a file of their own.
    pub inline_bytes: usize,
    /// An entry that takes more than this with its blobs is refused.
    pub max_entry_bytes: u64,
    /// A use is written down only if the last one that was is older than this, so that a process that only reads
    /// what was just read writes nothing.
    pub touch_after: Duration,
    /// Where look-ups are done, and single entries stored.
    pub brief: Brief,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            level: Level::FAST,
            inline_bytes: 32 << 10,
            max_entry_bytes: u64::MAX,
            touch_after: Duration::from_secs(300),
            brief: Brief::Aside,
        }
    }
}

/// A directory that keeps entries and blobs. Clones are handles to the same one; the last to go writes down what
/// was used.
#[derive(Clone)]
pub struct Disk(Arc<Inner>);

struct Inner {
    root: PathBuf,
    options: DiskOptions,
    store: RwLock<Arc<Store>>,
    replacing: Mutex<()>,
    writer: Mutex<()>,
    pins: Pins,
    checked: Checked,
    gathered_gets: Gathered<Key>,
    gathered_puts: Gathered<Stores>,
    stored: Stored,
    written: AtomicBool,
    quarantined: AtomicU64,
}

impl Disk {
    /// Opens the tier in `directory`, and lays it out there if there is none.
    ///
    /// Where nothing may be written the tier opens for reading. It blocks: warm about 0.2 ms. The directory must be
    /// on a file system of this machine: the index shares memory between processes, which network file systems
    /// do not.
    ///
    /// # Errors
    /// [`TierError::Format`] if a newer version wrote it, which is then left as it is; [`TierError::Io`] if the
    /// directory can't be made or read. A damaged index is no error: it is moved to `quarantine/`.
    pub fn open(directory: impl AsRef<Path>, options: DiskOptions) -> Result<Self, TierError> {
        let root = directory.as_ref().join(format!("v{FORMAT}"));
        let store = open_store(&root, &options)?;
        let disk = Self(Arc::new(Inner {
            root,
            options,
            store: RwLock::new(Arc::new(store)),
            replacing: Mutex::new(()),
            writer: Mutex::new(()),
            pins: Pins::default(),
            checked: Checked::default(),
            gathered_gets: Gathered::default(),
            gathered_puts: Gathered::default(),
            stored: Stored::default(),
            written: AtomicBool::new(false),
            quarantined: AtomicU64::new(0),
        }));
        disk.make_up_for_lost_invalidations()?;
        Ok(disk)
    }

    /// Whether nothing may be written to it.
    pub fn read_only(&self) -> bool {
        self.store().read_only()
    }

    /// How many entries, blobs and indexes this handle and its clones have moved aside since they were opened.
    pub fn quarantined(&self) -> u64 {
        self.0.quarantined.load(Ordering::Relaxed)
    }

    /// The directory that it was opened in.
    pub fn directory(&self) -> &Path {
        self.0.root.parent().expect("the root is a folder of the directory")
    }

    pub(super) fn root(&self) -> &Path {
        &self.0.root
    }

    pub(super) fn options(&self) -> &DiskOptions {
        &self.0.options
    }

    pub(super) fn store(&self) -> Arc<Store> {
        self.0.store.read().clone()
    }

    pub(super) fn writer(&self) -> &Mutex<()> {
        &self.0.writer
    }

    pub(super) fn checked(&self) -> &Checked {
        &self.0.checked
    }

    pub(super) fn pins(&self) -> &Pins {
        &self.0.pins
    }

    pub(super) fn gathered_gets(&self) -> &Gathered<Key> {
        &self.0.gathered_gets
    }

    pub(super) fn gathered_puts(&self) -> &Gathered<Stores> {
        &self.0.gathered_puts
    }

    pub(super) fn stored(&self) -> &Stored {
        &self.0.stored
    }

    pub(super) fn note_written(&self) {
        self.0.written.store(true, Ordering::Relaxed);
    }

    /// Writes down what was used, and shortens a long log: what else would be done when the last handle goes.
    pub(super) fn flush(&self) -> Result<(), TierError> {
        self.flush_touches()?;
        if self.0.written.swap(false, Ordering::Relaxed) {
            write_back_long_log(self.root(), &self.store());
        }
        Ok(())
    }

    /// Counts something that was moved aside.
    pub(super) fn note_quarantined(&self, what: &'static str) {
        self.0.quarantined.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("larder_disk_quarantined_total", "what" => what).increment(1);
    }

    /// Opens the index anew because `old` is not the one at its path any more, or is damaged and so set aside.
    /// Returns where it was moved to, if it was.
    pub(super) fn replace_store(
        &self,
        old: &Arc<Store>,
        damage: Option<&Fault>,
    ) -> Result<Option<PathBuf>, TierError> {
        let _only_one = self.0.replacing.lock();
        if !Arc::ptr_eq(&self.store(), old) {
            return Ok(None);
        }
        let mut aside = None;
        if let Some(damage) = damage {
            if old.read_only() {
                return Err(TierError::Index("the index is damaged and can't be replaced".into()));
            }
            aside = set_aside(self.root(), &self.0.options, Some(old.identity()), damage)?;
            if aside.is_some() {
                self.note_quarantined("index");
            }
        }
        let fresh = open_store(self.root(), &self.0.options)?;
        *self.0.store.write() = Arc::new(fresh);
        Ok(aside)
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("root", &self.0.root).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let store = self.store.get_mut().clone();
        if store.read_only() || store.replaced() {
            return;
        }
        // Losing what is written here costs an order of eviction and a little time, so nobody is told of it.
        let touched = super::touch::write_down(&store).unwrap_or(false);
        if touched || *self.written.get_mut() {
            write_back_long_log(&self.root, &store);
        }
    }
}

/// Writes the log back where it has grown long, unless somebody is in the way.
fn write_back_long_log(root: &Path, store: &Store) {
    if log_bytes(root) > LOG_KEPT_BYTES {
        let _ = store.connection().and_then(|mut connection| {
            // One that waits for nobody is of no use to others.
            connection.close_after_use();
            connection.busy_timeout(Duration::ZERO)?;
            Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
        });
    }
}

pub(super) fn index_path(root: &Path) -> PathBuf {
    root.join("index.sqlite")
}

fn log_bytes(root: &Path) -> u64 {
    fs::metadata(root.join("index.sqlite-wal")).map_or(0, |metadata| metadata.len())
}

fn open_store(root: &Path, options: &DiskOptions) -> Result<Store, TierError> {
    let path = index_path(root);
    match Store::open(&path, Access::Write) {
        Ok(Some(store)) => Ok(store),
        Ok(None) => lay_out(root, options),
        Err(fault) if fault.is_damage() => {
            let identity = identity_of(&path).map_err(TierError::Io)?;
            set_aside(root, options, identity, &fault)?;
            lay_out(root, options)
        }
        Err(fault) if fault.is_read_only() => open_for_reading(&path, fault),
        Err(fault) => Err(fault.into()),
    }
}

fn open_for_reading(path: &Path, fault: Fault) -> Result<Store, TierError> {
    if let Ok(Some(store)) = Store::open(path, Access::Read) {
        return Ok(store);
    }
    // Without the files that readers share, only an index whose log is empty shows all that was written to it.
    let log = fs::metadata(path.with_file_name("index.sqlite-wal")).map_or(0, |metadata| metadata.len());
    if log == 0
        && let Ok(Some(store)) = Store::open(path, Access::Frozen)
    {
        return Ok(store);
    }
    Err(fault.into())
}

/// Makes directories and index where they are not there.
fn lay_out(root: &Path, options: &DiskOptions) -> Result<Store, TierError> {
    for folder in ["blobs", "tmp", "locks", "pins", "quarantine"] {
        fs::create_dir_all(root.join(folder)).map_err(TierError::Io)?;
    }
    if let Some(directory) = root.parent() {
        mark_as_cache(directory);
    }
    let _lock = opening_lock(root)?;
    let path = index_path(root);
    let (connection, found) = schema::connect(&path, Access::Write)?;
    if found == Found::Empty {
        let at = options.clock.wall().as_millis();
        let last = super::invalidate::witnessed(root);
        schema::create(&connection, last.map_or(0, |last| last + 1), at)?;
        super::invalidate::witness(root, last.map_or(0, |last| last + 1))?;
        super::ballast::lay_down(root);
    }
    drop(connection);
    Store::open(&path, Access::Write)?
        .ok_or_else(|| TierError::Index("the index vanished while it was made".into()))
}

/// Backup programs leave a directory alone that has this file. It is a courtesy, so failing is no failure.
fn mark_as_cache(directory: &Path) {
    let tag = directory.join("CACHEDIR.TAG");
    if !tag.exists() {
        let text = "Signature: 8a477f597d28d172789f06886806bc55\n# This directory holds what larder keeps.\n";
        let _ = fs::write(tag, text);
    }
}

fn opening_lock(root: &Path) -> Result<Locked, TierError> {
    // Held for as long as it takes to make or move an index, by a process that lives: waiting is right.
    Locked::alone(&root.join("open.lock")).map_err(TierError::Io)
}

/// Moves the index that has `identity` to `quarantine/`, unless another one stands there by now. Returns where to.
fn set_aside(
    root: &Path,
    options: &DiskOptions,
    identity: Option<Identity>,
    damage: &Fault,
) -> Result<Option<PathBuf>, TierError> {
    let _lock = opening_lock(root)?;
    let path = index_path(root);
    if identity.is_none() || identity_of(&path).map_err(TierError::Io)? != identity {
        return Ok(None);
    }
    tracing::warn!(index = %path.display(), ?damage, "index is damaged and set aside");
    let folder = root.join("quarantine");
    fs::create_dir_all(&folder).map_err(TierError::Io)?;
    let aside = format!("{}-{}-index.sqlite", options.clock.wall().as_millis(), super::blobs::unique());
    // The index itself goes first: whoever opens now finds none, and waits for the lock to make one.
    for suffix in ["", "-wal", "-shm"] {
        let from = root.join(format!("index.sqlite{suffix}"));
        match fs::rename(&from, folder.join(format!("{aside}{suffix}"))) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(TierError::Io(error)),
        }
    }
    Ok(Some(folder.join(aside)))
}
