//! Putting: keeping what was not computed through the engine.
//!
//! Invariant: of what is put under one key, memory holds nothing that a later invalidation or a later put has overtaken.

use std::sync::Arc;
use std::time::Duration;

use super::flight::Seat;
use super::keep::{Ready, count_put};
use super::lookup::InMemory;
use super::{Computed, Entry, Kept, Kind, NotKept, Value, Write};
use crate::entry::{self, Codec};
use crate::key::{Key, Selector};
use crate::tier::stack::Guarded;
use crate::tier::{Brief, NewEntry};

impl<T: Value> Kind<T> {
    /// Keeps a value that was not computed through the engine, as if computing it had taken `cost`. A computation
    /// of the same key that is under way keeps its callers and loses its right to store.
    pub async fn put(&self, key: &Key, value: impl Into<Computed<T>>, cost: Duration) -> Kept {
        match self.ready(value.into(), cost) {
            Ok(ready) => self.put_ready(key, &ready).await,
            Err((_, why_not)) => Kept::No(why_not),
        }
    }

    /// Like [`Kind::put`] where nothing is kept under the key, and what is kept there otherwise.
    ///
    /// Where there is one tier below memory, that is asked once, and keeps what comes first; in the task that puts, if
    /// `place` says so, nobody else stores and the runtime has threads for other tasks meanwhile.
    pub async fn put_new(
        &self,
        key: &Key,
        value: impl Into<Computed<T>>,
        cost: Duration,
        place: Brief,
    ) -> Result<Kept, Arc<Entry<T>>> {
        let ready = match self.ready(value.into(), cost) {
            Ok(ready) => ready,
            Err((_, why_not)) => return Ok(Kept::No(why_not)),
        };
        if let Some(near) = self.only_tier()
            && !matches!(self.in_memory(key), InMemory::Fresh(_))
            && let Some(kept) = self.put_new_in(near, key, &ready, place).await
        {
            return Ok(kept);
        }
        match self.kept(key).await {
            Some(there) => Err(there),
            None => Ok(self.put_ready(key, &ready).await),
        }
    }

    async fn put_ready(&self, key: &Key, ready: &Ready<T>) -> Kept {
        let shared = &self.larder.shared;
        shared.flights.revoke(&Selector::key(key));
        let began = self.began().await;
        loop {
            // A flight of its own, so that an invalidation in between finds something to revoke.
            match shared.flights.board(key) {
                Seat::Lead(lead) => return self.keep_ready(key, lead.flight(), ready, &began).await,
                Seat::Follow(_) => shared.flights.revoke(&Selector::key(key)),
            }
        }
    }

    /// The tier that has all that is kept, beside memory, if answers are written there before their caller gets them.
    fn only_tier(&self) -> Option<&Guarded> {
        let shared = &self.larder.shared;
        let waits = self.options.write != Write::Behind && shared.mode.reads();
        match &shared.tiers[..] {
            [near] if waits && self.far().is_none() => Some(near),
            _ => None,
        }
    }

    /// Puts an entry into the only tier there is, and then into memory; `None` if something is there, or is on its way.
    async fn put_new_in(&self, near: &Guarded, key: &Key, ready: &Ready<T>, place: Brief) -> Option<Kept> {
        let Seat::Lead(lead) = self.larder.shared.flights.board(key) else { return None };
        self.larder.follow().await;
        let Ready { entry, payload, footprint } = ready;
        let sealed = entry::seal(key, &entry.record, Codec::Postcard, payload, self.larder.shared.level);
        let envelope = match sealed {
            Ok(envelope) => envelope,
            Err(error) => return Some(Kept::No(NotKept::Encoding(error.to_string()))),
        };
        let sizes = (payload.len() as u64, envelope.len() as u64);
        let began = self.larder.shared.clock.now();
        let new = NewEntry { key: key.clone(), record: entry.record.clone(), envelope };
        let put = near.put_new(new, place).await;
        let took = self.larder.shared.clock.now().since(began);
        let put = put.transpose()?;
        let why_not = count_put(near, &self.series, put.as_ref(), sizes, took);
        // After the tier has it, as memory is to hold nothing else. That memory does not hold it is no loss.
        let held = || if why_not.is_none() { self.hold(key, entry, *footprint).ok() } else { None };
        lead.flight().unless_revoked(held);
        Some(why_not.map_or(Kept::Yes, Kept::No))
    }
}
