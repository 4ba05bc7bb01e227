//! Quotas: how much the entries of one scope or kind may take together.
//!
//! Invariant: a quota's count is the sum of the weights of its group's entries in the shards where it is
//! installed, plus what puts under way have taken; it never exceeds the limit, other than while a quota is being
//! introduced or lowered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hashbrown::HashMap;

use crate::policy::Slot;

/// Entries that share a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Those of the scope with this number.
    Scope(u32),
    /// Those of the kind with this number.
    Kind(u32),
}

/// Which of an entry's two groups.
pub(super) const AXES: [usize; 2] = [0, 1];

impl Group {
    /// The axis and the number on it.
    pub(super) fn place(self) -> (usize, u32) {
        match self {
            Self::Scope(number) => (0, number),
            Self::Kind(number) => (1, number),
        }
    }
}

/// What a group takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Sum of the weights of its entries.
    pub bytes: u64,
    /// Number of its entries.
    pub entries: u64,
}

/// How much a group may take and takes.
#[derive(Debug)]
pub(super) struct Quota {
    limit: AtomicU64,
    used: AtomicU64,
}

impl Quota {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit: AtomicU64::new(limit), used: AtomicU64::new(0) }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    pub(super) fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Relaxed);
    }

    /// How much the group takes beyond its limit.
    pub(super) fn excess(&self) -> u64 {
        self.used.load(Relaxed).saturating_sub(self.limit())
    }

    /// Takes `weight` if the limit allows it.
    pub(super) fn take(&self, weight: u64) -> Taking {
        let within = |used: u64| used.checked_add(weight).filter(|&sum| sum <= self.limit());
        match self.used.fetch_update(Relaxed, Relaxed, within) {
            Ok(_) => Taking::Taken,
            Err(_) => Taking::Exceeded,
        }
    }

    /// Counts what is there already, whatever the limit says.
    pub(super) fn count(&self, weight: u64) {
        self.used.fetch_add(weight, Relaxed);
    }

    pub(super) fn give(&self, weight: u64) {
        self.used.fetch_sub(weight, Relaxed);
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }
}

/// What became of the wish to take some of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taking {
    Taken,
    Exceeded,
}

/// All quotas.
pub(super) type Quotas = HashMap<Group, Arc<Quota>>;

/// What a shard knows of a group.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) usage: Usage,
    /// The quota if there is one, and who in this shard counts towards it.
    pub(super) limited: Option<(Arc<Quota>, Vec<Slot>)>,
}
