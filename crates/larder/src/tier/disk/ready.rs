//! What is made ready while nobody waits, so that storing an entry takes less when somebody does.

use std::sync::Arc;

use rusqlite::Connection;

use super::fault::Fault;
use super::open::Disk;
use super::store::Store;
use super::{invalidate, meta, put, store};

/// How much of the log whoever opens the tier next may have to read.
const SHORT_LOG_FRAMES: i64 = 32;

impl Disk {
    /// Makes ready for an entry that will be stored before long: compiles what that asks of the index. Blocks.
    pub fn get_ready(&self) {
        // What fails here fails again where it matters, and is told there.
        let _ = self.read(|connection, _| compile(connection));
    }

    /// The index's log if it has grown: whoever opens the tier next has to read it. Blocks, for some microseconds.
    pub fn long_log(&self) -> Option<LongLog> {
        let waiting = self.read(|connection, _| Ok(checkpoint(connection, "NOOP")?)).ok()?;
        (!self.read_only() && waiting > SHORT_LOG_FRAMES).then(|| LongLog(self.store()))
    }
}

/// A log to be written back. It keeps no tier open.
#[derive(Debug)]
pub struct LongLog(Arc<Store>);

impl LongLog {
    /// Writes it back. Blocks until the disk has it, which nobody else waits for, neither readers nor writers.
    pub fn write_back(self) {
        // By a connection of its own: an entry may come meanwhile, and finds one that is ready. A log that stays as it
        // is costs a little time and nothing else.
        let _ = self.0.connect_aside().and_then(|aside| Ok(checkpoint(&aside, "PASSIVE")?));
    }
}

/// Compiles the statements that storing an entry is made of.
fn compile(connection: &Connection) -> Result<(), Fault> {
    let others = [store::KIND, store::TOTALS, invalidate::SINCE, meta::PUT];
    put::STATEMENTS.iter().chain(&others).try_for_each(|statement| {
        connection.prepare_cached(statement)?;
        Ok(())
    })
}

/// Writes back what of the log may be. Returns how many frames remain.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<i64> {
    let remaining = |row: &rusqlite::Row<'_>| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?);
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], remaining)
}
