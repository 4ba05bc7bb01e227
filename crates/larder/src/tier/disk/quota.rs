//! Keeping scopes within limits of their own.
//!
//! Invariant: what a scope has too much leaves that scope and no other. An entry counts with the blobs that it names,
//! whoever else names them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::gc::{BATCH, Eviction, LOW_WATER, Limits, PICKED, Run, still_there};
use super::open::Disk;
use crate::key::Scope;
use crate::stats::EvictionCause;
use crate::tier::TierError;

/// What gc keeps one scope to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScopeLimits {
    /// Bytes of its entries and of the blobs that they name.
    pub max_bytes: Option<u64>,
    /// How long one of its entries may be unused.
    pub max_age: Option<Duration>,
}

impl Disk {
    /// Whether a scope has more bytes than its limit. Blocks, and reads all of the index's entries if there is such a
    /// limit: about 0.2 s for a million.
    pub(super) fn exceeds_scopes(&self, limits: &Limits) -> Result<bool, TierError> {
        let mut limited = limits.scopes.iter().filter_map(|(scope, limits)| Some((scope, limits.max_bytes?)));
        let Some(first) = limited.next() else { return Ok(false) };
        let bytes = self.bytes_by_scope()?;
        let exceeds =
            |(scope, limit): (&Scope, u64)| bytes.get(scope.as_str()).is_some_and(|&has| has > limit);
        Ok(exceeds(first) || limited.any(exceeds))
    }

    /// How many bytes each scope has, in entries and the blobs that they name.
    fn bytes_by_scope(&self) -> Result<BTreeMap<String, u64>, TierError> {
        self.read(|connection, _| {
            let mut query = connection.prepare_cached(
                "SELECT k.scope, sum(e.bytes + e.blob_bytes) FROM entries e JOIN kinds k ON k.id = e.kind \
                 GROUP BY k.scope",
            )?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
            Ok(rows.collect::<Result<_, rusqlite::Error>>()?)
        })
    }
}

impl Run<'_> {
    /// Removes what scopes have had unused for too long, and then what they have too much.
    pub(super) fn meet_scope_limits(&mut self) -> Result<(), TierError> {
        let limits = self.limits;
        for (scope, scope_limits) in &limits.scopes {
            if let Some(age) = scope_limits.max_age {
                self.remove_unused(Some(scope), age)?;
            }
        }
        if !self.disk.exceeds_scopes(limits)? {
            return Ok(());
        }
        let bytes = self.disk.bytes_by_scope()?;
        for (scope, scope_limits) in &limits.scopes {
            let has = bytes.get(scope.as_str()).copied().unwrap_or(0);
            if let Some(limit) = scope_limits.max_bytes.filter(|&limit| has > limit) {
                self.evict_of(scope, has, (limit as f64 * LOW_WATER) as u64)?;
            }
        }
        Ok(())
    }

    /// Evicts from a scope until it has no more than `goal`, or nothing is left of it.
    fn evict_of(&mut self, scope: &Scope, mut has: u64, goal: u64) -> Result<(), TierError> {
        while has > goal {
            let picked = self.pick_of(scope, has - goal)?;
            if picked.is_empty() {
                return Ok(());
            }
            for batch in picked.chunks(BATCH) {
                self.remove_batch(EvictionCause::Capacity, |connection| still_there(connection, batch))?;
            }
            has = self.disk.bytes_by_scope()?.get(scope.as_str()).copied().unwrap_or(0);
        }
        Ok(())
    }

    /// The entries of a scope that leave next, in order: as many as make up so many bytes, or as are picked at once.
    fn pick_of(&self, scope: &Scope, bytes: u64) -> Result<Vec<(i64, i64)>, TierError> {
        let order = match self.limits.eviction {
            Eviction::LeastRecentlyUsed => "e.used, e.id",
            Eviction::Cost => {
                "CAST(e.cost AS REAL) * (e.uses + 1) / (e.bytes + e.blob_bytes + 512) \
                 / (max(?2 - e.used, 0) + 3600000), e.used, e.id"
            }
        };
        let sql = format!(
            "SELECT e.id, e.used, e.bytes + e.blob_bytes FROM entries e JOIN kinds k ON k.id = e.kind \
             WHERE k.scope = ?1 AND ?2 > 0 ORDER BY {order} LIMIT ?3"
        );
        self.disk.read(|connection, _| {
            let (mut picked, mut left) = (Vec::new(), bytes);
            let mut query = connection.prepare_cached(&sql)?;
            let mut rows = query.query((scope.as_str(), self.now.as_millis() as i64, PICKED as i64))?;
            while let Some(row) = rows.next()?.filter(|_| left > 0) {
                picked.push((row.get(0)?, row.get(1)?));
                left = left.saturating_sub(row.get::<_, i64>(2)? as u64);
            }
            Ok(picked)
        })
    }
}
