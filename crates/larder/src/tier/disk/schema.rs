//! The index's format: its tables, its version, and what happens to any other version.
//!
//! Invariant: a connection that leaves [`connect`] reads and writes the format of this version.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::fault::Fault;
use crate::tier::TierError;

/// The version of the directory `v1/`: index, blobs and everything else in it.
pub(super) const FORMAT: u32 = 1;

const TABLES: &str = "
CREATE TABLE kinds(id INTEGER PRIMARY KEY, scope TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
  UNIQUE(scope, name, version));
CREATE TABLE entries(id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL,
  blob_bytes INTEGER NOT NULL, created INTEGER NOT NULL, cost INTEGER NOT NULL, expires INTEGER, producer TEXT NOT NULL,
  used INTEGER NOT NULL, uses INTEGER NOT NULL, spill BLOB);
CREATE UNIQUE INDEX entries_key ON entries(kind, name);
CREATE INDEX entries_expires ON entries(expires) WHERE expires IS NOT NULL;
CREATE TABLE envelopes(id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE tags(tag TEXT NOT NULL, entry INTEGER NOT NULL, PRIMARY KEY(tag, entry)) WITHOUT ROWID;
CREATE INDEX tags_entry ON tags(entry);
CREATE TABLE blobs(id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, bytes INTEGER NOT NULL);
CREATE TABLE refs(entry INTEGER NOT NULL, blob INTEGER NOT NULL, PRIMARY KEY(entry, blob)) WITHOUT ROWID;
CREATE INDEX refs_blob ON refs(blob);
CREATE TABLE log(epoch INTEGER PRIMARY KEY, at INTEGER NOT NULL, selector TEXT NOT NULL, checksum BLOB NOT NULL);
CREATE TABLE totals(id INTEGER PRIMARY KEY, blobs INTEGER NOT NULL, blob_bytes INTEGER NOT NULL);
INSERT INTO totals VALUES(1, 0, 0);
CREATE TABLE meta(namespace TEXT NOT NULL, name TEXT NOT NULL, bytes BLOB NOT NULL, checksum BLOB NOT NULL,
  PRIMARY KEY(namespace, name));
";

/// How many pages the log has when whoever commits writes it back. Before that it is done aside (`ready`).
const LOG_PAGES: i64 = 4000;

/// What a file that should be an index is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An index of this version's format.
    Current,
    /// An empty file, or one whose creation was cut short.
    Empty,
}

/// How an index is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// To read and write; the file is made if it is not there.
    Write,
    /// To read, along with others who may write.
    Read,
    /// To read from a place where nothing can be written, not even the files that readers share.
    Frozen,
}

/// The version as `PRAGMA user_version` holds it: in each of its four bytes, so that a damaged byte is not taken
/// for a version from the future.
const fn stamp(format: u32) -> u32 {
    format * 0x0101_0101
}

/// Opens a connection and reads what it is connected to.
///
/// Cost: about 0.1 ms, most of it SQLite reading the schema at the first statement.
pub(super) fn connect(path: &Path, access: Access) -> Result<(Connection, Found), Fault> {
    let base = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = match access {
        Access::Write => Connection::open_with_flags(
            path,
            base | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        )?,
        Access::Read => Connection::open_with_flags(path, base | OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        Access::Frozen => Connection::open_with_flags(
            frozen_uri(path),
            base | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
        )?,
    };
    connection.busy_handler(Some(wait_for_writer))?;
    // The last connection to close would write the log back and wait for the disk. A short process leaves that
    // to whoever finds the log grown.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    if version(&connection)? == stamp(FORMAT) {
        return Ok((connection, Found::Current));
    }
    // One transaction, or an index that another process makes between the two looks would seem to be damaged.
    let look = connection.transaction()?;
    let found = judge(&look, version(&look)?)?;
    drop(look);
    Ok((connection, found))
}

fn version(connection: &Connection) -> Result<u32, Fault> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? as u32)
}

/// Has whoever commits write the log back only once it is long.
pub(super) fn let_log_grow(connection: &Connection) -> Result<(), Fault> {
    Ok(connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?)
}

/// Waits for another process's transaction, for about five seconds in all. SQLite's own waiting takes steps of up to a
/// tenth of a second, and starves where many write.
fn wait_for_writer(looks: i32) -> bool {
    const LOOKS: i32 = 2_500;
    std::thread::sleep(Duration::from_micros(50 << looks.clamp(0, 5)));
    looks < LOOKS
}

fn frozen_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri + "?immutable=1"
}

fn judge(connection: &Connection, version: u32) -> Result<Found, Fault> {
    if version == stamp(FORMAT) {
        return Ok(Found::Current);
    }
    let found = version & 0xff;
    if version == 0 {
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        return if tables == 0 { Ok(Found::Empty) } else { Err(Fault::Damaged("tables without a version")) };
    }
    if version != stamp(found) {
        return Err(Fault::Damaged("version"));
    }
    if found > FORMAT {
        return Err(TierError::Format { found, supported: FORMAT }.into());
    }
    // No older format exists that would be worth migrating: it is set aside like a damaged one.
    Err(Fault::Damaged("older version"))
}

/// Makes the tables. The caller holds the lock on making them, and found the file [`Found::Empty`].
pub(super) fn create(connection: &Connection, epoch: u64, at: u64) -> Result<(), Fault> {
    // Nothing is lost with an index that is torn while it is made, so nobody waits for the disk.
    connection.execute_batch(
        "PRAGMA synchronous = OFF; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;",
    )?;
    let write = rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
    write.execute_batch(TABLES)?;
    if epoch > 0 {
        // There was an index before this one: nothing that anybody remembers of it holds.
        super::invalidate::append(&write, epoch, at, &crate::key::Selector::all())?;
    }
    write.pragma_update(None, "user_version", i64::from(stamp(FORMAT)))?;
    write.commit()?;
    Ok(())
}

/// Writes the version once more that is there, which takes one page.
pub(super) fn rewrite_version(write: &rusqlite::Transaction<'_>) -> Result<(), Fault> {
    Ok(write.pragma_update(None, "user_version", i64::from(version(write)?))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: u32) -> Result<Found, Fault> {
        let connection = Connection::open_in_memory().unwrap();
        judge(&connection, version)
    }

    #[test]
    fn one_damaged_byte_of_the_version_is_not_a_newer_format() {
        assert_eq!(check(stamp(1)).unwrap(), Found::Current);
        assert_eq!(check(0).unwrap(), Found::Empty);
        for byte in 0..4 {
            for bit in 0..8 {
                let flipped = stamp(1) ^ (1 << (byte * 8 + bit));
                assert!(matches!(check(flipped), Err(Fault::Damaged(_))), "{flipped:x}");
            }
        }
        let newer = check(stamp(2));
        assert!(matches!(newer, Err(Fault::Tier(TierError::Format { found: 2, supported: 1 }))));
    }
}
