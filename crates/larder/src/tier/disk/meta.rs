//! State of this machine that belongs to no entry, such as statistics over time.
//!
//! Invariant: bytes come back as they were put, or not at all.

use rusqlite::{Connection, OptionalExtension};
use twox_hash::XxHash3_128;

use super::fault::Fault;
use super::open::Disk;
use super::store::Write;
use crate::tier::TierError;

impl Disk {
    /// Returns what is kept under a name. Blocks.
    pub fn meta(&self, namespace: &str, name: &str) -> Result<Option<Vec<u8>>, TierError> {
        self.read(|connection, _| lookup(connection, namespace, name))
    }

    /// Returns all names of a namespace with what is kept under them, by name. Blocks.
    pub fn meta_all(&self, namespace: &str) -> Result<Vec<(String, Vec<u8>)>, TierError> {
        self.meta_map(namespace, |name, bytes| Some((name.to_owned(), bytes.to_vec())))
    }

    /// Returns what `make` makes of each name of a namespace and what is kept under it, by name, where it makes
    /// something. The bytes are not copied before. `make` may be called twice. Blocks.
    pub fn meta_map<T>(
        &self,
        namespace: &str,
        make: impl Fn(&str, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, TierError> {
        self.read(|connection, _| {
            let mut query = connection.prepare_cached(
                "SELECT name, bytes, checksum FROM meta WHERE namespace = ?1 ORDER BY name",
            )?;
            let mut rows = query.query([namespace])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                let name = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
                let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
                if row.get::<_, [u8; 16]>(2)? == checksum(namespace, name, bytes) {
                    all.extend(make(name, bytes));
                }
            }
            Ok(all)
        })
    }

    /// Replaces what is kept under a name by what `update` makes of it; `None` is nothing kept. No other process
    /// comes between. `update` may be called twice. Blocks.
    pub fn update_meta(
        &self,
        namespace: &str,
        name: &str,
        update: impl Fn(Option<Vec<u8>>) -> Option<Vec<u8>>,
    ) -> Result<(), TierError> {
        self.write(|write| match update(lookup(write, namespace, name)?) {
            Some(bytes) => put(write, namespace, name, &bytes),
            None => {
                write
                    .prepare_cached("DELETE FROM meta WHERE namespace = ?1 AND name = ?2")?
                    .execute((namespace, name))?;
                Ok(())
            }
        })
    }
}

impl Disk {
    /// Keeps something under each of several names, each of a namespace, over what was kept there, in one step. Blocks.
    pub fn put_meta(&self, all: &[(&str, &str, Vec<u8>)]) -> Result<(), TierError> {
        self.write(|write| {
            all.iter().try_for_each(|(namespace, name, bytes)| put(write, namespace, name, bytes))
        })
    }
}

impl Disk {
    /// Removes everything that is kept in several namespaces, in one step. Blocks.
    pub fn clear_meta(&self, namespaces: &[String]) -> Result<(), TierError> {
        self.write(|write| {
            let mut clear = write.prepare_cached("DELETE FROM meta WHERE namespace = ?1")?;
            namespaces
                .iter()
                .try_for_each(|namespace| clear.execute([namespace]).map(drop).map_err(Fault::from))
        })
    }
}

/// Keeps something under a name.
pub(super) const PUT: &str = "INSERT INTO meta(namespace, name, bytes, checksum) VALUES(?1, ?2, ?3, ?4) \
     ON CONFLICT DO UPDATE SET bytes = excluded.bytes, checksum = excluded.checksum";

pub(super) fn put(write: &Write<'_>, namespace: &str, name: &str, bytes: &[u8]) -> Result<(), Fault> {
    write.prepare_cached(PUT)?.execute((namespace, name, bytes, checksum(namespace, name, bytes)))?;
    Ok(())
}

/// Asks what is kept under a name.
pub(super) const GET: &str = "SELECT bytes, checksum FROM meta WHERE namespace = ?1 AND name = ?2";

pub(super) fn lookup(connection: &Connection, namespace: &str, name: &str) -> Result<Option<Vec<u8>>, Fault> {
    let found: Option<(Vec<u8>, [u8; 16])> = connection
        .prepare_cached(GET)?
        .query_row([namespace, name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.filter(|(bytes, sum)| *sum == checksum(namespace, name, bytes)).map(|(bytes, _)| bytes))
}

fn checksum(namespace: &str, name: &str, bytes: &[u8]) -> [u8; 16] {
    let mut hasher = XxHash3_128::new();
    for part in [namespace.as_bytes(), name.as_bytes(), bytes] {
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part);
    }
    hasher.finish_128().to_le_bytes()
}
