//! Listing entries, and counting what there is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::fault::Fault;
use super::open::Disk;
use super::put::tags;
use super::select::{Selected, visit};
use super::store::Totals;
use crate::clock::Timestamp;
use crate::entry::Record;
use crate::key::{Digest, Key, Selector};
use crate::tier::TierError;

/// In which order entries are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By scope, kind and id.
    Key,
    /// Used most recently first.
    Used,
    /// Made most recently first.
    Created,
    /// Largest first, blobs included.
    Size,
    /// What took longest to compute first.
    Cost,
}

/// An entry, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is filed under.
    pub key: Key,
    /// What is known about it.
    pub record: Record,
    /// How many bytes the entry takes.
    pub bytes: u64,
    /// How many bytes the blobs that it names take, each also counted for every other entry that names it.
    pub blob_bytes: u64,
    /// When it was used last, as far as that was written down.
    pub used: Timestamp,
    /// In how many of the intervals after which a use is noted anew it was used.
    pub uses: u64,
}

/// How much there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of entries.
    pub entries: u64,
    /// Bytes of their envelopes, except of those that are stored as blobs.
    pub entry_bytes: u64,
    /// Number of blobs that entries named since gc ran last.
    pub blobs: u64,
    /// Bytes that these blobs take.
    pub blob_bytes: u64,
    /// Number and bytes of entries by scope and kind, with the blobs that they name: a blob counts for each.
    pub kinds: BTreeMap<(String, String), (u64, u64)>,
    /// Bytes of the index with its log.
    pub index_bytes: u64,
    /// Number and bytes of what was set aside.
    pub quarantine: (u64, u64),
}

impl Disk {
    /// Lists the first `limit` entries that `selector` selects. Blocks, for about 1 µs an entry that is looked at.
    pub fn list(&self, selector: &Selector, order: Order, limit: usize) -> Result<Vec<Listed>, TierError> {
        self.read(|connection, _| {
            let mut chosen = Vec::new();
            visit(connection, selector, |selected| {
                chosen.push(selected);
                // No more than twice what is asked for is held at once.
                if chosen.len() >= limit.saturating_mul(2).max(1024) {
                    sort(&mut chosen, order);
                    chosen.truncate(limit);
                }
                Ok(())
            })?;
            sort(&mut chosen, order);
            chosen.truncate(limit);
            chosen.into_iter().map(|selected| listed(connection, selected)).collect()
        })
    }

    /// The keys of the entries that any of `selectors` selects, sorted.
    pub(super) fn blocking_select(&self, selectors: &[Selector]) -> Result<Vec<Key>, TierError> {
        self.read(|connection, _| {
            let mut keys = BTreeSet::new();
            for selector in selectors {
                visit(connection, selector, |selected| {
                    keys.insert(selected.key);
                    Ok(())
                })?;
            }
            Ok(keys.into_iter().collect())
        })
    }

    /// Counts what there is. Blocks, for about 0.1 µs an entry.
    pub fn usage(&self) -> Result<Usage, TierError> {
        let mut usage = self.read(|connection, _| {
            let totals = Totals::read(connection)?;
            let mut usage = Usage {
                blobs: totals.blobs as u64,
                blob_bytes: totals.blob_bytes as u64,
                ..Usage::default()
            };
            let mut query = connection.prepare_cached(
                "SELECT k.scope, k.name || '@' || k.version, count(*), sum(e.bytes + e.blob_bytes), \
                 sum(iif(e.spill IS NULL, e.bytes, 0)) FROM entries e JOIN kinds k ON k.id = e.kind GROUP BY e.kind",
            )?;
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let (entries, bytes, inline): (i64, i64, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
                usage.entries += entries as u64;
                usage.entry_bytes += inline as u64;
                usage.kinds.insert((row.get(0)?, row.get(1)?), (entries as u64, bytes as u64));
            }
            Ok(usage)
        })?;
        for suffix in ["", "-wal", "-shm"] {
            let file = self.root().join(format!("index.sqlite{suffix}"));
            usage.index_bytes += std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        }
        if let Ok(files) = std::fs::read_dir(self.root().join("quarantine")) {
            for metadata in files.flatten().filter_map(|file| file.metadata().ok()) {
                usage.quarantine.0 += 1;
                usage.quarantine.1 += metadata.len();
            }
        }
        Ok(usage)
    }
}

fn sort(chosen: &mut [Selected], order: Order) {
    match order {
        Order::Key => chosen.sort_by(|a, b| a.key.cmp(&b.key)),
        Order::Used => chosen.sort_by_cached_key(|one| (Reverse(one.used), one.key.clone())),
        Order::Created => chosen.sort_by_cached_key(|one| (Reverse(one.created), one.key.clone())),
        Order::Size => {
            chosen.sort_by_cached_key(|one| (Reverse(one.bytes + one.blob_bytes), one.key.clone()))
        }
        Order::Cost => chosen.sort_by_cached_key(|one| (Reverse(one.cost_nanos), one.key.clone())),
    }
}

fn listed(connection: &Connection, selected: Selected) -> Result<Listed, Fault> {
    let (expires, producer, spill) = connection
        .prepare_cached("SELECT expires, producer, spill FROM entries WHERE id = ?1")?
        .query_row([selected.row], |row| {
            Ok((
                row.get::<_, Option<i64>>(0)?.map(|time| Timestamp::from_millis(time as u64)),
                Arc::from(row.get_ref(1)?.as_str()?),
                row.get::<_, Option<[u8; 32]>>(2)?,
            ))
        })
        .optional()?
        .ok_or(Fault::Damaged("table of entries"))?;
    let mut query = connection.prepare_cached(
        "SELECT digest FROM blobs WHERE id IN (SELECT blob FROM refs WHERE entry = ?1) ORDER BY digest",
    )?;
    let mut rows = query.query([selected.row])?;
    let mut blobs = Vec::new();
    while let Some(row) = rows.next()? {
        let digest = row.get::<_, [u8; 32]>(0)?;
        if spill != Some(digest) {
            blobs.push(Digest::from_bytes(digest));
        }
    }
    Ok(Listed {
        record: Record {
            created: selected.created,
            cost: Duration::from_nanos(selected.cost_nanos),
            expires,
            tags: tags(connection, selected.row)?.into(),
            producer,
            blobs: blobs.into(),
        },
        key: selected.key,
        bytes: selected.bytes,
        blob_bytes: selected.blob_bytes,
        used: selected.used,
        uses: selected.uses,
    })
}
