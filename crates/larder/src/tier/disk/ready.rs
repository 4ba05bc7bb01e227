//! What is made ready while nobody waits, so that storing an entry takes less when somebody does.
//!
//! Invariant: of a tier's logs one is written back at a time, by those who store here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::fault::Fault;
use super::open::Disk;
use super::store::Store;
use super::{amount, invalidate, meta, put, schema, store};

/// How much of the log whoever opens the tier next may have to read.
const SHORT_LOG_FRAMES: i64 = 32;

/// After how many times of storing the log is written back: with an entry of some kilobytes each time, it has about a
/// thousand pages by then. Whoever makes it four times as long writes it back, and waits for that.
const TIMES: u64 = 128;

/// How often something was stored, and whether the log is being written back for that.
#[derive(Debug, Default)]
pub(super) struct Stored {
    times: AtomicU64,
    under_way: Mutex<()>,
}

impl Disk {
    /// Makes ready for an entry that will be stored before long: compiles what that, and a look at limits afterwards, asks
    /// of the index. Blocks.
    pub fn get_ready(&self) {
        // What fails here fails again where it matters, and is told there.
        let _ = self.read_ready_to_write(compile);
    }

    /// Counts how often something was stored, and has the log written back on a blocking thread where that is due: else
    /// whoever stores waits for the disk at times.
    pub(super) fn note_stored(&self, times: usize) {
        let times = times as u64;
        let before = self.stored().times.fetch_add(times, Ordering::Relaxed);
        if before / TIMES == (before + times) / TIMES {
            return;
        }
        let disk = self.clone();
        drop(tokio::task::spawn_blocking(move || {
            // One that takes long writes back what comes meanwhile.
            if let Some(_only) = disk.stored().under_way.try_lock() {
                LongLog(disk.store()).write_back();
            }
        }));
    }

    /// The index's log if it has grown: whoever opens the tier next has to read it. Blocks, for some microseconds.
    pub fn long_log(&self) -> Option<LongLog> {
        let waiting = self.read(|connection, _| Ok(checkpoint(connection, "NOOP")?)).ok()??;
        (!self.read_only() && waiting > SHORT_LOG_FRAMES).then(|| LongLog(self.store()))
    }
}

/// A log to be written back. It keeps no tier open.
#[derive(Debug)]
pub struct LongLog(Arc<Store>);

impl LongLog {
    /// Writes it back and begins it anew. Blocks until the disk has both. No reader waits for that, and no writer but one
    /// that comes just when the log begins.
    pub fn write_back(self) {
        // By a connection of its own: an entry may come meanwhile, and finds one that is ready. A log that stays as it
        // is costs a little time and nothing else.
        let _ = self.0.connect_aside().and_then(|aside| {
            if checkpoint(&aside, "PASSIVE")? == Some(0) {
                begin_anew(&aside)?;
            }
            Ok(())
        });
    }
}

/// Begins a log anew that was written back. Else whoever writes next does, and waits until the disk has the log's new head:
/// that would be whoever stores an entry.
fn begin_anew(connection: &Connection) -> Result<(), Fault> {
    // Whoever writes now begins it.
    connection.busy_timeout(Duration::ZERO)?;
    connection.execute_batch("PRAGMA synchronous = NORMAL")?;
    let write = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    schema::rewrite_version(&write)?;
    Ok(write.commit()?)
}

/// Compiles the statements that storing an entry and looking at limits afterwards are made of.
fn compile(connection: &Connection) -> Result<(), Fault> {
    let others = [store::KIND, invalidate::SINCE, meta::GET, meta::PUT];
    let mut all = put::STATEMENTS.iter().chain(&others).chain(&store::OF_TOTALS).chain(&amount::STATEMENTS);
    all.try_for_each(|statement| {
        connection.prepare_cached(statement)?;
        Ok(())
    })
}

/// Writes back what of the log may be. Returns how many frames remain; `None` while another connection does that.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<Option<i64>> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let (is_busy, frames, written): (bool, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((!is_busy && frames >= 0).then_some(frames - written))
    })
}
