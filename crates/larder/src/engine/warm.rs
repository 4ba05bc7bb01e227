//! Warming: bringing answers from the tiers into memory before they are asked for.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::flight::Seat;
use super::lookup::InMemory;
use super::{Kind, Value};
use crate::key::Key;

/// How many keys are looked up at once.
const AT_ONCE: usize = 4;

/// What warming did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Warmed {
    /// Answers that memory has now and did not have before.
    pub promoted: u64,
    /// Answers that memory had already, or that somebody was just computing.
    pub present: u64,
    /// Keys of which no tier has an answer that holds.
    pub absent: u64,
    /// Keys that were not looked at, because memory was full.
    pub left: u64,
}

impl<T: Value> Kind<T> {
    /// Brings kept answers into memory, those of higher priority first, and stops when memory is full, so that
    /// nothing of more use has to leave. Computes nothing. Dropping the future stops it.
    pub async fn warm(&self, keys: impl IntoIterator<Item = (Key, i32)>) -> Warmed {
        let mut keys: Vec<(Key, i32)> = keys.into_iter().collect();
        keys.sort_by_key(|(_, priority)| std::cmp::Reverse(*priority));
        let keys = Arc::new(parking_lot::Mutex::new(keys.into_iter()));
        let turn = Arc::new(Mutex::new(()));
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let (kind, keys, turn) = (self.clone(), Arc::clone(&keys), Arc::clone(&turn));
            workers.spawn(async move {
                let mut warmed = Warmed::default();
                loop {
                    let Some((key, _)) = keys.lock().next() else { return warmed };
                    kind.warm_one(&key, &turn, &mut warmed).await;
                }
            });
        }
        let mut total = Warmed::default();
        while let Some(warmed) = workers.join_next().await {
            let warmed = warmed.unwrap_or_default();
            total.promoted += warmed.promoted;
            total.present += warmed.present;
            total.absent += warmed.absent;
            total.left += warmed.left;
        }
        tracing::debug!(kind = %self.name, ?total, "warmed");
        total
    }

    async fn warm_one(&self, key: &Key, turn: &Mutex<()>, warmed: &mut Warmed) {
        let is_filled = |tenths| {
            let usage = self.larder.memory_usage();
            usage.is_none_or(|usage| usage.bytes >= usage.budget / 10 * tenths)
        };
        // Where little room is left they come one by one: several at once could take more than that.
        let _turn = if is_filled(7) { Some(turn.lock().await) } else { None };
        let full = is_filled(9);
        if !matches!(self.in_memory(key), InMemory::Absent) {
            warmed.present += 1;
        } else if full {
            warmed.left += 1;
        } else if let Seat::Lead(lead) = self.larder.shared.flights.board(key) {
            match self.in_tiers(key, lead.flight()).await {
                Some(_) => warmed.promoted += 1,
                None => warmed.absent += 1,
            }
        } else {
            warmed.present += 1;
        }
    }
}
