//! Keeping: memory at once, the tiers behind a bounded queue or before the caller gets the answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::execute::KeptError;
use super::flight::Flight;
use super::send::Sent;
use super::{Answer, Computed, Entry, Held, Kept, Kind, Larder, NotKept, Shared, Value, Write};
use crate::clock::Instant;
use crate::entry::{self, Codec, Record};
use crate::key::{Key, Selector};
use crate::stats::{EvictionCause, Place, RefusalCause, Series};
use crate::tier::memory::{self, Keeping, Memory, Terms};
use crate::tier::stack::Guarded;
use crate::tier::{Brief, Epoch, Lease, PutOutcome, Refusal, Sealed, TierError};

/// How many entries go to a tier at once.
const BATCH: usize = 256;
/// How many wait, in a process that does brief work in place, before any is written: most such processes end with fewer,
/// and write all of them at once when they close. A thread that wrote each as it came would be in the way.
const HELD_BACK: usize = 256;

/// What an entry takes of memory beside its value and its key's text: table, policy, record and two counts.
const BESIDE_VALUE: u64 = Memory::<Key, Held>::OVERHEAD_BYTES + size_of::<Entry<()>>() as u64 + 32;

/// What memory has to know to hold a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    pub(super) weight: u64,
    /// Length of the value as it is encoded.
    pub(super) encoded_bytes: u64,
    pub(super) lifetime: Option<Duration>,
}

/// When a computation began, by the clock and by each tier's invalidation log.
#[derive(Debug)]
pub(super) struct Began {
    pub(super) at: Instant,
    /// `None` for a tier that did not answer, and is not written to then.
    pub(super) epochs: Vec<Option<Epoch>>,
    /// The same of the far tier, for kinds whose answers may go there.
    pub(super) far: FarBegan,
    /// The turn among machines, given back when what was computed has arrived in the far tier.
    pub(super) lease: Option<Arc<Lease>>,
}

/// When a computation began by the far tier's log.
#[derive(Debug, Clone, Copy)]
pub(super) enum FarBegan {
    /// Its answer does not go there.
    Apart,
    /// It was not told. Its answer is not sent, though it was to be.
    Untold,
    /// Under this epoch.
    At(Epoch),
}

impl FarBegan {
    fn epoch(self) -> Option<Epoch> {
        if let Self::At(epoch) = self { Some(epoch) } else { None }
    }
}

/// An entry on its way into the tiers.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) key: Key,
    pub(super) record: Record,
    pub(super) envelope: Vec<u8>,
    pub(super) encoded_bytes: u64,
    /// Those of the near tiers.
    pub(super) epochs: Vec<Option<Epoch>>,
    /// That of the far tier; `None` if it is not to go there.
    pub(super) far: Option<Epoch>,
    /// Held until it has arrived there.
    pub(super) lease: Option<Arc<Lease>>,
    pub(super) series: Arc<Series>,
}

/// A value that is to be kept, as memory and as the tiers take it.
#[derive(Debug)]
pub(super) struct Ready<T> {
    pub(super) entry: Arc<Entry<T>>,
    pub(super) payload: Vec<u8>,
    pub(super) footprint: Footprint,
}

impl<T: Value> Kind<T> {
    /// Makes an entry of what was computed, and puts it where it belongs.
    pub(super) async fn keep(
        &self,
        key: &Key,
        flight: &Arc<Flight>,
        computed: Computed<T>,
        took: Duration,
        began: &Began,
    ) -> Answer<T> {
        let ready = self.ready(computed, took);
        self.keep_if_ready(key, flight, ready, began).await
    }

    /// Puts an entry where it belongs, if it is to be kept.
    pub(super) async fn keep_if_ready(
        &self,
        key: &Key,
        flight: &Arc<Flight>,
        ready: Result<Ready<T>, (Arc<Entry<T>>, NotKept)>,
        began: &Began,
    ) -> Answer<T> {
        match ready {
            Ok(ready) => {
                let kept = self.keep_ready(key, flight, &ready, began).await;
                self.computed(ready.entry, kept)
            }
            Err((entry, why_not)) => self.computed(entry, Kept::No(why_not)),
        }
    }

    /// Makes an entry of what was computed; or tells why that is not to be kept.
    pub(super) fn ready(
        &self,
        computed: Computed<T>,
        took: Duration,
    ) -> Result<Ready<T>, (Arc<Entry<T>>, NotKept)> {
        self.ready_as(computed, postcard::to_stdvec, took)
    }

    /// The same of a value whose encoding is at hand, or fails.
    pub(super) fn ready_as(
        &self,
        computed: Computed<T>,
        encode: impl FnOnce(&T) -> Result<Vec<u8>, postcard::Error>,
        took: Duration,
    ) -> Result<Ready<T>, (Arc<Entry<T>>, NotKept)> {
        let shared = &self.larder.shared;
        let Computed { value, unkept, mut tags, blobs, cost, producer } = computed;
        tags.sort_unstable();
        tags.dedup();
        let created = shared.clock.wall();
        let lifetime = self.lifetime();
        let record = Record {
            expires: lifetime.map(|lifetime| created.plus(lifetime)),
            tags: tags.into(),
            producer: producer.unwrap_or_else(|| Arc::clone(&shared.producer)),
            blobs: blobs.into(),
            ..Record::new(created, cost.unwrap_or(took))
        };
        let fresh_until = match self.options.validity {
            super::Validity::Immutable => None,
            super::Validity::Expiring { fresh, .. } => Some(shared.clock.now().plus(fresh)),
        };
        let why_not = unkept.map(NotKept::ByChoice).or((!shared.mode.writes()).then_some(NotKept::ReadOnly));
        if let Some(why_not) = why_not {
            return Err((Arc::new(Entry { value, record, fresh_until }), why_not));
        }
        let payload = match encode(&value) {
            Ok(payload) => payload,
            Err(error) => {
                let why_not = NotKept::Encoding(error.to_string());
                return Err((Arc::new(Entry { value, record, fresh_until }), why_not));
            }
        };
        let weight = self.options.weigh.map_or(payload.len() as u64, |weigh| weigh(&value));
        let entry = Arc::new(Entry { value, record, fresh_until });
        let footprint = Footprint { weight, encoded_bytes: payload.len() as u64, lifetime };
        Ok(Ready { entry, payload, footprint })
    }

    /// Puts an entry where it belongs.
    pub(super) async fn keep_ready(
        &self,
        key: &Key,
        flight: &Arc<Flight>,
        ready: &Ready<T>,
        began: &Began,
    ) -> Kept {
        let shared = &self.larder.shared;
        let Ready { entry, payload, footprint } = ready;
        let held = flight.unless_revoked(|| self.hold(key, entry, *footprint));
        let Some(held) = held else {
            self.series.refused(Place::Memory, RefusalCause::Revoked);
            return Kept::No(NotKept::Revoked);
        };
        let kept = if shared.tiers.is_empty() {
            self.send_far(key, &entry.record, payload, began);
            held.map_or_else(Kept::No, |()| Kept::Yes)
        } else {
            match (self.send_down(key, &entry.record, payload, began).await, held) {
                (Ok(()), _) => Kept::Yes,
                (Err(why_not), Ok(())) => Kept::InMemoryOnly(why_not),
                (Err(why_not), Err(_)) => Kept::No(why_not),
            }
        };
        if matches!((began.far, &kept), (FarBegan::Untold, Kept::Yes)) {
            shared.unsent.fetch_add(1, Ordering::Relaxed);
        }
        tracing::debug!(%key, bytes = payload.len(), ?kept, "keeping");
        kept
    }

    /// Puts a value into memory, or tells why it is not there.
    pub(super) fn hold(&self, key: &Key, entry: &Arc<Entry<T>>, footprint: Footprint) -> Result<(), NotKept> {
        self.hold_any(key, Arc::clone(entry) as Held, footprint, entry.record.cost)
    }

    /// Keeps an error in memory for a while.
    pub(super) fn keep_error<E>(&self, key: &Key, flight: &Flight, error: KeptError<E>, lifetime: Duration)
    where
        E: Send + Sync + 'static,
    {
        if self.larder.shared.mode.writes() {
            let footprint = Footprint { weight: 0, encoded_bytes: 0, lifetime: Some(lifetime) };
            // Where there is no room for it, the next caller computes.
            let _ = flight.unless_revoked(|| self.hold_any(key, Arc::new(error), footprint, Duration::ZERO));
        }
    }

    fn hold_any(&self, key: &Key, held: Held, footprint: Footprint, cost: Duration) -> Result<(), NotKept> {
        let shared = &self.larder.shared;
        let Some(memory) = &shared.memory else { return Err(NotKept::NoTier) };
        let terms = Terms {
            weight: footprint.weight + key.id().len() as u64 + BESIDE_VALUE,
            cost,
            scope: self.groups.scope,
            kind: self.groups.kind,
            expires_after: footprint.lifetime,
            idle_after: self.options.idle_after,
        };
        let weight = terms.weight;
        let put = memory.put(key.clone(), held, terms, || shared.clock.now());
        put.gone.iter().for_each(|departed| self.larder.count_departed(departed));
        match put.keeping {
            Keeping::Kept => {
                self.series.put(Place::Memory, footprint.weight, weight, None);
                Ok(())
            }
            Keeping::Refused(refusal) => {
                self.series.refused(Place::Memory, memory_cause(refusal));
                Err(NotKept::NoRoom(refusal))
            }
        }
    }

    /// Sends an entry to the tiers, now or through the queue, as the kind says; or tells why the nearest of them
    /// will not have it.
    async fn send_down(
        &self,
        key: &Key,
        record: &Record,
        payload: &[u8],
        began: &Began,
    ) -> Result<(), NotKept> {
        let shared = &self.larder.shared;
        let outgoing = self.outgoing(key, record, payload, began)?;
        match self.options.write {
            Write::Through => {
                let sent = outgoing.far.is_some().then(|| outgoing.clone());
                match shared.store(vec![outgoing]).await.into_iter().next().flatten() {
                    None => {
                        // What the nearest tier refuses, as it is not whole or no longer right, nobody gets.
                        sent.into_iter().for_each(|outgoing| self.larder.send_behind(outgoing));
                        Ok(())
                    }
                    Some(why_not) => Err(why_not),
                }
            }
            Write::Everywhere => {
                let sent = outgoing.far.is_some().then(|| outgoing.clone());
                shared.taken.forget(&Selector::key(key));
                let near = shared.store(vec![outgoing]).await.into_iter().next().flatten();
                if near.is_none()
                    && let Some(outgoing) = sent
                    && let Sent::Kept { .. } = self.larder.send_now(outgoing).await
                {
                    self.note_taken(key);
                }
                near.map_or(Ok(()), Err)
            }
            Write::Behind => {
                if outgoing.far.is_some() {
                    self.larder.send_behind(outgoing.clone());
                }
                match self.larder.write_behind(outgoing) {
                    Enqueued::Waiting => Ok(()),
                    Enqueued::Full => Err(NotKept::QueueFull),
                }
            }
        }
    }

    /// Sends an entry to the far tier where there is no near one.
    fn send_far(&self, key: &Key, record: &Record, payload: &[u8], began: &Began) {
        if began.far.epoch().is_some()
            && let Ok(outgoing) = self.outgoing(key, record, payload, began)
        {
            self.larder.send_behind(outgoing);
        }
    }

    fn outgoing(
        &self,
        key: &Key,
        record: &Record,
        payload: &[u8],
        began: &Began,
    ) -> Result<Outgoing, NotKept> {
        let envelope = entry::seal(key, record, Codec::Postcard, payload, self.larder.shared.level)
            .map_err(|error| NotKept::Encoding(error.to_string()))?;
        Ok(Outgoing {
            key: key.clone(),
            record: record.clone(),
            envelope,
            encoded_bytes: payload.len() as u64,
            epochs: began.epochs.clone(),
            far: began.far.epoch(),
            lease: began.lease.clone(),
            series: Arc::clone(&self.series),
        })
    }

    /// The moment at which a computation begins.
    pub(super) async fn began(&self) -> Began {
        let shared = &self.larder.shared;
        let at = shared.clock.now();
        let far = self.far().filter(|far| far.writes() && shared.mode.writes());
        let far = match far {
            Some(far) => {
                self.larder.follow_afar().await;
                far.epoch().await.map_or(FarBegan::Untold, FarBegan::At)
            }
            None => FarBegan::Apart,
        };
        Began { at, epochs: self.larder.epochs().await, far, lease: None }
    }
}

impl Larder {
    /// Each tier's epoch now.
    pub(super) async fn epochs(&self) -> Vec<Option<Epoch>> {
        let mut epochs = Vec::with_capacity(self.shared.tiers.len());
        if self.shared.mode.writes() {
            self.follow().await;
            for guarded in &self.shared.tiers {
                epochs.push(guarded.epoch().await.ok());
            }
        }
        epochs
    }

    /// Puts an entry into the queue to the near tiers, and sees to it that it is drained.
    pub(super) fn write_behind(&self, outgoing: Outgoing) -> Enqueued {
        let series = Arc::clone(&outgoing.series);
        let enqueued = self.shared.queue.push(outgoing);
        match enqueued {
            Enqueued::Waiting if self.holds_back() => {}
            Enqueued::Waiting => self.drain_behind(),
            Enqueued::Full => series.dropped(self.shared.tiers.first().map_or(Place::Disk, Guarded::place)),
        }
        enqueued
    }

    /// Waits until the near tiers have all that they are to have by now.
    pub(super) async fn written(&self) {
        self.drain_behind();
        self.shared.queue.drained().await;
    }

    fn holds_back(&self) -> bool {
        self.shared.brief == Brief::InPlace && self.shared.queue.len() < HELD_BACK
    }

    /// Writes what waits in the queue, in a task of its own, unless one is at it already.
    pub(super) fn drain_behind(&self) {
        let Some(mut draining) = Draining::begin(&self.shared, |shared| &shared.queue) else { return };
        tokio::spawn(async move {
            while let Some(batch) = draining.next_batch() {
                draining.shared.store(batch).await;
            }
        });
    }
}

impl Shared {
    /// Stores entries in each tier; for each entry, why the nearest tier does not have it, if so.
    async fn store(&self, batch: Vec<Outgoing>) -> Vec<Option<NotKept>> {
        let mut outcomes: Vec<Option<NotKept>> = vec![None; batch.len()];
        for (nth, guarded) in self.tiers.iter().enumerate().rev() {
            let mut sealed = Vec::with_capacity(batch.len());
            let mut sent = Vec::with_capacity(batch.len());
            for (at, one) in batch.iter().enumerate() {
                let Some(began) = one.epochs.get(nth).copied().flatten() else {
                    outcomes[at] = Some(NotKept::TierFailed(guarded.name()));
                    continue;
                };
                let (key, record, envelope) = (one.key.clone(), one.record.clone(), one.envelope.clone());
                sealed.push(Sealed { key, record, envelope, began });
                sent.push(at);
            }
            let began = self.clock.now();
            let put = guarded.put(sealed).await;
            let took = self.clock.now().since(began);
            for (nth_sent, at) in sent.into_iter().enumerate() {
                let series = &batch[at].series;
                let sizes = (batch[at].encoded_bytes, batch[at].envelope.len() as u64);
                let put = put.as_ref().and_then(|put| put[nth_sent].as_ref());
                outcomes[at] = count_put(guarded, series, put, sizes, took);
            }
        }
        outcomes
    }
}

/// Counts what became of an entry that a tier was given, of so many bytes encoded and in its envelope; why the tier does
/// not have it, if so.
pub(super) fn count_put(
    guarded: &Guarded,
    series: &Series,
    put: Result<&PutOutcome, &TierError>,
    (encoded, stored): (u64, u64),
    took: Duration,
) -> Option<NotKept> {
    let place = guarded.place();
    match put {
        Ok(kept @ (PutOutcome::Kept | PutOutcome::Replaced { .. })) => {
            if let PutOutcome::Replaced { bytes } = *kept {
                series.evicted(place, EvictionCause::Replaced, bytes);
            }
            series.put(place, encoded, stored, Some(took));
            None
        }
        Ok(PutOutcome::Refused(refusal)) => {
            series.refused(place, cause(refusal));
            Some(NotKept::Tier(guarded.name(), refusal.clone()))
        }
        Err(_) => {
            series.failed(place);
            Some(NotKept::TierFailed(guarded.name()))
        }
    }
}

fn memory_cause(refusal: memory::Refusal) -> RefusalCause {
    match refusal {
        memory::Refusal::TooLarge => RefusalCause::TooLarge,
        memory::Refusal::OverQuota => RefusalCause::OverQuota,
        memory::Refusal::Crowded => RefusalCause::Crowded,
    }
}

pub(super) fn cause(refusal: &Refusal) -> RefusalCause {
    match refusal {
        Refusal::Revoked => RefusalCause::Revoked,
        Refusal::MissingBlob(_) => RefusalCause::MissingBlob,
        Refusal::TooLarge => RefusalCause::TooLarge,
        Refusal::ReadOnly => RefusalCause::ReadOnly,
        Refusal::NoRoom => RefusalCause::NoRoom,
    }
}

/// What became of an entry that was to be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enqueued {
    Waiting,
    Full,
}

/// That somebody drains a queue. If the task that does is dropped, as its runtime ended, or panics, the next who asks
/// goes on.
pub(super) struct Draining {
    pub(super) shared: Arc<Shared>,
    queue: fn(&Shared) -> &Queue,
    is_over: bool,
}

impl Draining {
    /// Begins to drain a queue; `None` if somebody is at it.
    pub(super) fn begin(shared: &Arc<Shared>, queue: fn(&Shared) -> &Queue) -> Option<Self> {
        queue(shared).begin_draining().then(|| Self { shared: Arc::clone(shared), queue, is_over: false })
    }

    /// What to write next; `None` is the end of it.
    pub(super) fn next_batch(&mut self) -> Option<Vec<Outgoing>> {
        let batch = (self.queue)(&self.shared).next_batch();
        self.is_over = batch.is_none();
        batch
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        if !self.is_over {
            let queue = (self.queue)(&self.shared);
            queue.end_draining(&mut queue.state.lock());
        }
    }
}

/// Entries that wait to be written, bounded in bytes.
#[derive(Debug)]
pub(super) struct Queue {
    limit_bytes: u64,
    state: Mutex<QueueState>,
    idle: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: VecDeque<Outgoing>,
    bytes: u64,
    draining: bool,
}

impl Queue {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, state: Mutex::default(), idle: watch::Sender::new(true) }
    }

    pub(super) fn push(&self, outgoing: Outgoing) -> Enqueued {
        let mut state = self.state.lock();
        let bytes = outgoing.envelope.len() as u64;
        if state.bytes + bytes > self.limit_bytes {
            return Enqueued::Full;
        }
        state.bytes += bytes;
        state.waiting.push_back(outgoing);
        Enqueued::Waiting
    }

    /// How many wait.
    fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Whether the caller is the one to drain it.
    fn begin_draining(&self) -> bool {
        let mut state = self.state.lock();
        let begins = !std::mem::replace(&mut state.draining, true);
        if begins {
            self.idle.send_replace(false);
        }
        begins
    }

    fn end_draining(&self, state: &mut QueueState) {
        state.draining = false;
        self.idle.send_replace(true);
    }

    /// What to write next; `None` ends the draining.
    fn next_batch(&self) -> Option<Vec<Outgoing>> {
        let mut state = self.state.lock();
        let count = state.waiting.len().min(BATCH);
        if count == 0 {
            self.end_draining(&mut state);
            return None;
        }
        let batch: Vec<Outgoing> = state.waiting.drain(..count).collect();
        state.bytes -= batch.iter().map(|one| one.envelope.len() as u64).sum::<u64>();
        Some(batch)
    }

    /// Gives up what waits.
    pub(super) fn abandon(&self) -> Vec<Outgoing> {
        let mut state = self.state.lock();
        state.bytes = 0;
        state.waiting.drain(..).collect()
    }

    /// Waits until nothing is waiting and nothing is being written, or nobody writes it any more.
    pub(super) async fn drained(&self) {
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = self.idle.subscribe().wait_for(|idle| *idle).await;
    }
}
