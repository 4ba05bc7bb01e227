//! One opened index: its connections, and the frame in which all reads and writes of it happen.
//!
//! Invariant: at most [`MAX_CONNECTIONS`] connections are open, and all of them are to the same file. Whether that
//! file still is the one at the index's path is asked before each write and wherever an epoch is told, because
//! another process may have set a damaged index aside.

use std::cell::Cell;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};
use parking_lot::{Condvar, Mutex, RwLock};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::fault::Fault;
use super::open::Disk;
use super::schema::{self, Access, Found};
use super::touch::Touches;
use crate::key::{Key, KindName, Scope};
use crate::tier::TierError;

/// How many connections are open at most; who needs one more waits.
const MAX_CONNECTIONS: usize = 8;

/// Which file an index is: device and inode.
pub(super) type Identity = (u64, u64);

/// One opened index.
pub(super) struct Store {
    path: PathBuf,
    access: Access,
    identity: Identity,
    pool: Mutex<Idle>,
    returned: Condvar,
    /// Row numbers of kinds. A row of `kinds` is never removed while its index lives.
    kinds: RwLock<HashMap<(Scope, KindName), i64, foldhash::fast::RandomState>>,
    touches: Touches,
}

struct Idle {
    connections: Vec<Opened>,
    out: usize,
}

struct Opened {
    connection: Connection,
    /// What it is set up to write with, if it is.
    writes: Option<Sync>,
}

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sync {
    /// No: after a power cut the last commits may be missing; none is torn.
    Later,
    /// Yes: what was removed must not come back.
    Now,
}

/// The parts of a key that make a kind's row, borrowed.
#[derive(Hash)]
struct KindOf<'a>(&'a Scope, &'a KindName);

impl Equivalent<(Scope, KindName)> for KindOf<'_> {
    fn equivalent(&self, other: &(Scope, KindName)) -> bool {
        *self.0 == other.0 && *self.1 == other.1
    }
}

/// Tells which file stands at `path`, if any.
pub(super) fn identity_of(path: &Path) -> io::Result<Option<Identity>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Store {
    /// Connects to the index at `path`, which must be one already.
    pub(super) fn open(path: &Path, access: Access) -> Result<Option<Self>, Fault> {
        loop {
            let Some(identity) = identity_of(path)? else { return Ok(None) };
            let (connection, found) = schema::connect(path, access)?;
            // The file may have been replaced between the two looks at it.
            if identity_of(path)? != Some(identity) {
                continue;
            }
            if found == Found::Empty {
                return Ok(None);
            }
            let access = match access {
                Access::Write if connection.is_readonly("main")? => Access::Read,
                access => access,
            };
            return Ok(Some(Self {
                path: path.to_owned(),
                access,
                identity,
                pool: Mutex::new(Idle { connections: vec![Opened { connection, writes: None }], out: 0 }),
                returned: Condvar::new(),
                kinds: RwLock::default(),
                touches: Touches::default(),
            }));
        }
    }

    pub(super) fn read_only(&self) -> bool {
        self.access != Access::Write
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether the file at the index's path is another one by now, or gone.
    pub(super) fn replaced(&self) -> bool {
        !matches!(identity_of(&self.path), Ok(Some(identity)) if identity == self.identity)
    }

    /// Borrows a connection; waits while all are in use.
    pub(super) fn connection(&self) -> Result<Borrowed<'_>, Fault> {
        let mut idle = self.pool.lock();
        loop {
            if let Some(opened) = idle.connections.pop() {
                idle.out += 1;
                return Ok(Borrowed { store: self, opened: Some(opened), is_last_use: false });
            }
            if idle.out < MAX_CONNECTIONS {
                idle.out += 1;
                break;
            }
            self.returned.wait(&mut idle);
        }
        drop(idle);
        let mut borrowed = Borrowed { store: self, opened: None, is_last_use: false };
        borrowed.opened = Some(Opened { connection: self.connect_aside()?, writes: None });
        Ok(borrowed)
    }

    /// Makes one more connection.
    pub(super) fn connect_aside(&self) -> Result<Connection, Fault> {
        let (connection, _) = schema::connect(&self.path, self.access)?;
        // A path that was replaced meanwhile leads to another index; the caller then starts anew.
        if self.replaced() { Err(Fault::Damaged("path of the index")) } else { Ok(connection) }
    }

    /// Uses that are not written down yet.
    pub(super) fn touches(&self) -> &Touches {
        &self.touches
    }

    /// Runs `write` in a transaction of its own.
    pub(super) fn write<T>(
        &self,
        sync: Sync,
        write: impl FnOnce(&Write<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut connection = self.connection()?;
        connection.prepare_to_write(sync)?;
        let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
        let frame = Write { transaction, store: self, changed: Cell::default() };
        let outcome = write(&frame)?;
        frame.commit()?;
        Ok(outcome)
    }

    /// The row number of a key's kind, if there is one. `connection` is in no transaction that writes.
    pub(super) fn kind(&self, connection: &Connection, key: &Key) -> Result<Option<i64>, Fault> {
        if let Some(&id) = self.kinds.read().get(&KindOf(key.scope(), key.kind())) {
            return Ok(Some(id));
        }
        let id = kind_row(connection, key)?;
        if let Some(id) = id {
            self.kinds.write().insert((key.scope().clone(), key.kind().clone()), id);
        }
        Ok(id)
    }
}

/// Asks for the row of a kind.
pub(super) const KIND: &str = "SELECT id FROM kinds WHERE scope = ?1 AND name = ?2 AND version = ?3";

fn kind_row(connection: &Connection, key: &Key) -> Result<Option<i64>, Fault> {
    Ok(connection
        .prepare_cached(KIND)?
        .query_row((key.scope().as_str(), key.kind().name(), key.kind().version()), |row| row.get(0))
        .optional()?)
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// A connection on loan.
pub(super) struct Borrowed<'a> {
    store: &'a Store,
    opened: Option<Opened>,
    is_last_use: bool,
}

impl Deref for Borrowed<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.opened.as_ref().expect("a loan has a connection until it ends").connection
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        // One that could not roll back would fail whoever gets it next.
        let sound =
            self.opened.take().filter(|opened| !self.is_last_use && opened.connection.is_autocommit());
        let mut idle = self.store.pool.lock();
        idle.out -= 1;
        idle.connections.extend(sound);
        drop(idle);
        self.store.returned.notify_one();
    }
}

impl Borrowed<'_> {
    /// Has the connection closed when the loan ends.
    pub(super) fn close_after_use(&mut self) {
        self.is_last_use = true;
    }

    fn prepare_to_write(&mut self, sync: Sync) -> Result<(), Fault> {
        let opened = self.opened.as_mut().expect("a loan has a connection until it ends");
        if opened.writes.is_none() {
            schema::let_log_grow(&opened.connection)?;
        }
        if opened.writes != Some(sync) {
            opened.connection.execute_batch(match sync {
                Sync::Later => "PRAGMA synchronous = NORMAL",
                Sync::Now => "PRAGMA synchronous = FULL",
            })?;
            opened.writes = Some(sync);
        }
        Ok(())
    }
}

/// A write transaction. Counts the blobs that it adds and removes, so that their totals need no scan.
pub(super) struct Write<'a> {
    transaction: Transaction<'a>,
    store: &'a Store,
    changed: Cell<Totals>,
}

/// How many blobs entries name, or by how many that changed.
///
/// Entries have no totals: who asks how many there are reads them all anyway, and who stores one would write a page
/// more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) blobs: i64,
    pub(super) blob_bytes: i64,
}

/// Adds to what there is.
const ADD_TO_TOTALS: &str = "UPDATE totals SET blobs = blobs + ?1, blob_bytes = blob_bytes + ?2 WHERE id = 1";

/// Asks for what there is.
const TOTALS: &str = "SELECT blobs, blob_bytes FROM totals WHERE id = 1";

/// What storing an entry that names blobs asks of totals, and a look at limits afterwards.
pub(super) const OF_TOTALS: [&str; 2] = [ADD_TO_TOTALS, TOTALS];

impl Totals {
    pub(super) fn read(connection: &Connection) -> Result<Self, Fault> {
        Ok(connection
            .prepare_cached(TOTALS)?
            .query_row([], |row| Ok(Self { blobs: row.get(0)?, blob_bytes: row.get(1)? }))?)
    }

    /// Counts what there is.
    pub(super) fn count(connection: &Connection) -> Result<Self, Fault> {
        Ok(connection
            .prepare_cached("SELECT count(*), coalesce(sum(bytes), 0) FROM blobs")?
            .query_row([], |row| Ok(Self { blobs: row.get(0)?, blob_bytes: row.get(1)? }))?)
    }

    /// Makes sure of what was counted on the way.
    pub(super) fn recount(write: &Write<'_>) -> Result<(), Fault> {
        let Self { blobs, blob_bytes } = Self::count(write)?;
        write.execute("UPDATE totals SET blobs = ?1, blob_bytes = ?2 WHERE id = 1", (blobs, blob_bytes))?;
        Ok(())
    }
}

impl Deref for Write<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.transaction
    }
}

impl Write<'_> {
    /// Notes that `number` blobs of `bytes` in all came, or went if negative.
    pub(super) fn count_blobs(&self, number: i64, bytes: i64) {
        let mut changed = self.changed.get();
        changed.blobs += number;
        changed.blob_bytes += bytes;
        self.changed.set(changed);
    }

    /// The row number of a key's kind; makes the row where there is none.
    pub(super) fn kind(&self, key: &Key) -> Result<i64, Fault> {
        if let Some(&id) = self.store.kinds.read().get(&KindOf(key.scope(), key.kind())) {
            return Ok(id);
        }
        // What is found or made here is not remembered: the transaction may yet be rolled back, and another one
        // give the same row to another kind.
        if let Some(id) = kind_row(self, key)? {
            return Ok(id);
        }
        self.prepare_cached("INSERT INTO kinds(scope, name, version) VALUES(?1, ?2, ?3)")?.execute((
            key.scope().as_str(),
            key.kind().name(),
            key.kind().version(),
        ))?;
        Ok(self.last_insert_rowid())
    }

    fn commit(self) -> Result<(), Fault> {
        let changed = self.changed.get();
        if changed != Totals::default() {
            self.prepare_cached(ADD_TO_TOTALS)?.execute((changed.blobs, changed.blob_bytes))?;
        }
        Ok(self.transaction.commit()?)
    }
}

impl Disk {
    /// Runs `read` on the index. If that finds damage, the index is set aside and `read` asks the fresh one.
    pub(super) fn read<T>(
        &self,
        read: impl Fn(&Connection, &Store) -> Result<T, Fault>,
    ) -> Result<T, TierError> {
        self.on_store(|store| {
            let connection = store.connection()?;
            read(&connection, store)
        })
    }

    /// Like [`Disk::read`], on a connection that is set up to write where that is possible.
    pub(super) fn read_ready_to_write<T>(
        &self,
        read: impl Fn(&Connection) -> Result<T, Fault>,
    ) -> Result<T, TierError> {
        self.on_store(|store| {
            let mut connection = store.connection()?;
            if !store.read_only() {
                connection.prepare_to_write(Sync::Later)?;
            }
            read(&connection)
        })
    }

    /// Like [`Disk::read`], but surely on the index that stands at its path now.
    pub(super) fn read_latest<T>(
        &self,
        read: impl Fn(&Connection, &Store) -> Result<T, Fault>,
    ) -> Result<T, TierError> {
        self.follow()?;
        self.read(read)
    }

    /// Runs `write` in a transaction, which happens wholly or not at all. May run it twice, like [`Disk::read`].
    pub(super) fn write<T>(&self, write: impl Fn(&Write<'_>) -> Result<T, Fault>) -> Result<T, TierError> {
        self.write_with(Sync::Later, write)
    }

    /// Like [`Disk::write`], and says when the disk is waited for.
    pub(super) fn write_with<T>(
        &self,
        sync: Sync,
        write: impl Fn(&Write<'_>) -> Result<T, Fault>,
    ) -> Result<T, TierError> {
        // Threads of one process queue up here, fairly and without the sleeps that SQLite's waiting is made of.
        let _turn = self.writer().lock();
        self.follow()?;
        self.note_written();
        self.on_store(|store| store.write(sync, &write))
    }

    fn on_store<T>(&self, run: impl Fn(&Arc<Store>) -> Result<T, Fault>) -> Result<T, TierError> {
        let store = self.store();
        match run(&store) {
            Err(fault) if fault.is_damage() => {
                self.replace_store(&store, Some(&fault))?;
                Ok(run(&self.store())?)
            }
            outcome => Ok(outcome?),
        }
    }

    fn follow(&self) -> Result<(), TierError> {
        let store = self.store();
        if store.replaced() { self.replace_store(&store, None).map(drop) } else { Ok(()) }
    }
}
