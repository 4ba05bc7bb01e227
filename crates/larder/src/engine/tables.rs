//! Stat tables: one for each scope and root, read when somebody looks there who may make use of it, written when the
//! engine is closed or attended.
//!
//! A table that is lost costs reading files again and nothing else. So it is kept as a whole, by whoever writes it
//! last; what others have written since is taken in before, but nobody waits for anybody.
//! Not here: what the rows say (`source`), looking (`look`).

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::OnceCell;

use super::flight::Seat;
use super::keep::{Began, FarBegan};
use super::{Kind, KindOptions, Larder};
use crate::key::{Algorithm, Digest, Hasher, Key, Scope, Selector};
use crate::source::StatTable;

/// How many tables an engine has in memory; with another one, that which was asked for first is forgotten.
const MAX_TABLES: usize = 32;
const KIND: (&str, u32) = ("query.stats", 1);

/// The stat tables of one engine, in the order in which they were asked for first.
#[derive(Debug, Default)]
pub(super) struct Tables(Mutex<Vec<Arc<Table>>>);

/// The stat table of one root in one scope.
#[derive(Debug)]
pub(super) struct Table {
    key: Key,
    loaded: OnceCell<()>,
    pub(super) rows: Arc<StatTable>,
}

impl Larder {
    /// The table of a root, with what this process has noted there and [loaded](Self::load_stat_table).
    pub(super) fn stat_table(&self, scope: &Scope, root: &Path) -> Arc<Table> {
        let key = self.stat_tables(scope).key_of_digest(id_of(root));
        let mut tables = self.shared.tables.0.lock();
        if let Some(table) = tables.iter().find(|table| table.key == key) {
            return Arc::clone(table);
        }
        if tables.len() >= MAX_TABLES {
            tables.remove(0);
        }
        let table = Arc::new(Table { key, loaded: OnceCell::new(), rows: Arc::default() });
        tables.push(Arc::clone(&table));
        table
    }

    /// Takes in the table as the tiers have it, unless this process has.
    pub(super) async fn load_stat_table(&self, table: &Table) {
        let load = || async {
            let kind = self.stat_tables(table.key.scope());
            if let Some(stored) = kind.stored_table(&table.key).await {
                table.rows.absorb(&stored, self.shared.clock.wall());
            }
        };
        table.loaded.get_or_init(load).await;
    }

    /// Keeps what was learned about files since the last time.
    pub(super) async fn save_stat_tables(&self) {
        if !self.shared.mode.writes() {
            return;
        }
        let tables = self.shared.tables.0.lock().clone();
        for table in tables.iter().filter(|table| table.rows.has_changed()) {
            let began = Began {
                at: self.shared.clock.now(),
                epochs: self.epochs().await,
                far: FarBegan::Apart,
                lease: None,
            };
            let kind = self.stat_tables(table.key.scope());
            // What another process has learned meanwhile.
            if let Some(stored) = kind.stored_table(&table.key).await {
                table.rows.absorb(&stored, self.shared.clock.wall());
            }
            let kept = KeptTable(Arc::clone(&table.rows));
            if let Seat::Lead(lead) = self.shared.flights.board(&table.key) {
                kind.keep(&table.key, lead.flight(), kept.into(), Duration::ZERO, &began).await;
            }
            self.forget_copy(&table.key);
        }
    }

    /// Empties the tables that a selector covers.
    pub(super) fn forget_stat_tables(&self, selector: &Selector) {
        self.shared.tables.0.lock().retain(|table| !selector.matches_key(&table.key));
    }

    fn stat_tables(&self, scope: &Scope) -> Kind<KeptTable> {
        self.kind(scope, KIND.0, KIND.1, KindOptions::default()).expect("the name is well formed")
    }
}

impl Kind<KeptTable> {
    /// The table as the tiers have it. Memory keeps no copy, as the table itself is there.
    async fn stored_table(&self, key: &Key) -> Option<Arc<StatTable>> {
        let Seat::Lead(lead) = self.larder.shared.flights.board(key) else { return None };
        let found = self.in_tiers(key, lead.flight()).await;
        self.larder.forget_copy(key);
        found.map(|(entry, _)| Arc::clone(&entry.value.0))
    }
}

impl Larder {
    fn forget_copy(&self, key: &Key) {
        if let Some(memory) = &self.shared.memory {
            drop(memory.remove(key));
        }
    }
}

/// What a root's table is filed under: nothing of the path is told.
pub(super) fn id_of(root: &Path) -> Digest {
    let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let mut hasher = Hasher::new(Algorithm::Blake3);
    hasher.update(b"larder root 1\n");
    hasher.update(absolute.as_os_str().as_bytes());
    hasher.finish()
}

/// A table as it is kept.
struct KeptTable(Arc<StatTable>);

impl Serialize for KeptTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0.encode())
    }
}

impl<'de> Deserialize<'de> for KeptTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = KeptTable;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a stored stat table")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<KeptTable, E> {
                StatTable::decode(bytes).map(|table| KeptTable(Arc::new(table))).map_err(E::custom)
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
