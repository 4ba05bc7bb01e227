//! How much there is, and whether that is more than a limit allows.

use rusqlite::Connection;

use super::fault::Fault;
use super::gc::Limits;
use super::open::Disk;
use super::store::Totals;
use crate::tier::TierError;

/// A number of entries, and of bytes in them and in blobs that they name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount {
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

const PAGES: &str = "PRAGMA page_count";
const FREE_PAGES: &str = "PRAGMA freelist_count";
const PAGE_BYTES: &str = "PRAGMA page_size";
const ROWS: &str = "SELECT 1 + (SELECT max(id) FROM entries) - (SELECT min(id) FROM entries)";

/// What is asked to tell that no limit is exceeded.
pub(super) const STATEMENTS: [&str; 4] = [PAGES, FREE_PAGES, PAGE_BYTES, ROWS];

impl Amount {
    /// What is in the index: entries, without envelopes that are blobs. Reads all of them.
    pub(super) fn of_entries(connection: &Connection) -> Result<Self, Fault> {
        let mut query = connection
            .prepare_cached("SELECT coalesce(sum(iif(spill IS NULL, bytes, 0)), 0), count(*) FROM entries")?;
        let (bytes, entries) =
            query.query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        Ok(Self { bytes: bytes as u64, entries: entries as u64 })
    }

    /// No less than [`of_entries`](Self::of_entries), and told at once: what the index's pages hold, and how many
    /// numbers of rows lie between the first and the last.
    fn of_entries_at_most(connection: &Connection) -> Result<Self, Fault> {
        let ask = |sql| -> Result<u64, Fault> {
            let number = connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0))?;
            Ok(number.unwrap_or(0) as u64)
        };
        let pages = ask(PAGES)?.saturating_sub(ask(FREE_PAGES)?);
        Ok(Self { bytes: pages * ask(PAGE_BYTES)?, entries: ask(ROWS)? })
    }

    /// The same with the blobs that entries name.
    pub(super) fn with_blobs(self, connection: &Connection) -> Result<Self, Fault> {
        // What is damaged counts for nothing until it is counted anew.
        let blob_bytes = Totals::read(connection)?.blob_bytes.max(0) as u64;
        Ok(Self { bytes: self.bytes.saturating_add(blob_bytes), ..self })
    }

    pub(super) fn less(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            entries: self.entries.saturating_sub(other.entries),
        }
    }

    pub(super) fn is_within(self, limit: Self) -> bool {
        self.bytes <= limit.bytes && self.entries <= limit.entries
    }
}

impl Limits {
    /// How much there may be of all scopes together, however full the disk is.
    fn amount(&self) -> Amount {
        Amount { bytes: self.max_bytes.unwrap_or(u64::MAX), entries: self.max_entries.unwrap_or(u64::MAX) }
    }
}

impl Disk {
    /// Whether there is more than `limits` allow, or less of the disk is free and something here may leave for that.
    /// Blocks, briefly; near a limit of bytes or entries, and where scopes have limits, for as long as it takes to
    /// read all of the index's entries.
    pub fn exceeds(&self, limits: &Limits) -> Result<bool, TierError> {
        let short = match limits.min_free_bytes {
            Some(floor) => self.free_bytes()? < floor,
            None => false,
        };
        let mut limit = limits.amount();
        if short {
            limit.bytes = limit.bytes.min(limits.reserved_bytes);
        }
        let exceeds = self.read(|connection, _| {
            let surely_within =
                Amount::of_entries_at_most(connection)?.with_blobs(connection)?.is_within(limit);
            Ok(!surely_within && !Amount::of_entries(connection)?.with_blobs(connection)?.is_within(limit))
        })?;
        Ok(exceeds || self.exceeds_scopes(limits)?)
    }

    /// How much may still be written to the file system.
    pub(super) fn free_bytes(&self) -> Result<u64, TierError> {
        let status = rustix::fs::statvfs(self.root()).map_err(|error| TierError::Io(error.into()))?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }
}
