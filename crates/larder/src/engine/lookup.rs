//! Looking: memory first, without waiting, then each tier, nearest first.

use std::sync::Arc;
use std::time::Duration;

use super::flight::{Flight, Seat};
use super::keep::Footprint;
use super::{Answer, Entry, Freshness, Held, Kept, Kind, Origin, Value, downcast};
use crate::clock::{Instant, Timestamp};
use crate::entry::{self, Codec, Opened};
use crate::key::{Key, Selector};
use crate::stats::{Place, Request};
use crate::tier::memory::Lookup;
use crate::tier::stack::{Guarded, Looks, Waits};

/// What memory knows of a key.
pub(super) enum InMemory<T> {
    /// An answer as good as new.
    Fresh(Arc<Entry<T>>),
    /// An answer that may be given once more while it is computed anew.
    Stale(Arc<Entry<T>>),
    /// Something that is no answer of this type: a kept error, or another type's value.
    Other(Held),
    /// Nothing.
    Absent,
}

impl<T: Value> Kind<T> {
    /// Returns the kept answer, if there is one that holds. Looks in memory without waiting, then in the tiers.
    pub async fn get(&self, key: &Key) -> Option<Arc<Entry<T>>> {
        self.get_from(key).await.map(|(entry, _)| entry)
    }

    /// Like [`Kind::get`], and tells where the answer was kept.
    pub async fn get_from(&self, key: &Key) -> Option<(Arc<Entry<T>>, Place)> {
        if !self.larder.shared.mode.reads() {
            return None;
        }
        let request = self.series.begin();
        match self.in_memory(key) {
            InMemory::Fresh(entry) => {
                self.hit_in_memory(key, &entry, request);
                return Some((entry, Place::Memory));
            }
            // Nobody offers to compute it anew here, so what is stale is no answer.
            InMemory::Stale(_) | InMemory::Other(_) | InMemory::Absent => {}
        }
        let watch = self.watch();
        let found = self.look_in_tiers(key).await;
        match found {
            Some((entry, place)) if self.freshness(key, &entry) == Freshness::Fresh => {
                self.hit(place, key, &entry, watch);
                Some((entry, place))
            }
            _ => {
                self.miss(key, watch.took(self));
                None
            }
        }
    }

    /// Like [`Kind::get`], and counts as no question: for whoever is about to put something there.
    pub async fn kept(&self, key: &Key) -> Option<Arc<Entry<T>>> {
        if !self.larder.shared.mode.reads() {
            return None;
        }
        if let InMemory::Fresh(entry) = self.in_memory(key) {
            return Some(entry);
        }
        let (entry, _) = self.look_in_tiers(key).await?;
        (self.freshness(key, &entry) == Freshness::Fresh).then_some(entry)
    }

    /// Like [`Kind::kept`], and brings nothing from afar.
    pub async fn kept_here(&self, key: &Key) -> Option<Arc<Entry<T>>> {
        let shared = &self.larder.shared;
        if !shared.mode.reads() {
            return None;
        }
        if let InMemory::Fresh(entry) = self.in_memory(key) {
            return Some(entry);
        }
        self.larder.follow().await;
        for near in &shared.tiers {
            if let Ok(Some(envelope)) = near.get(key).await
                && let Some((entry, _)) = self.open(key, &envelope, near, near.place()).await
                && self.freshness(key, &entry) == Freshness::Fresh
            {
                return Some(Arc::new(entry));
            }
        }
        None
    }

    async fn look_in_tiers(&self, key: &Key) -> Option<(Arc<Entry<T>>, Place)> {
        match self.larder.shared.flights.board(key) {
            Seat::Lead(lead) => self.in_tiers(key, lead.flight()).await,
            // Whoever leads may only look, too, so what is kept is there already. That it is not there yet, because
            // somebody computes it, is a miss here.
            Seat::Follow(_) => self.in_tiers(key, &Flight::storing_nothing(key)).await,
        }
    }

    /// Whether an answer that holds is kept, with each blob that it names. Reads no blob and brings nothing from afar,
    /// and counts as no question.
    pub async fn has(&self, key: &Key) -> bool {
        let shared = &self.larder.shared;
        if !shared.mode.reads() {
            return false;
        }
        if let InMemory::Fresh(entry) = self.in_memory(key)
            && self.is_whole_near(&entry.record).await
        {
            return true;
        }
        self.larder.follow().await;
        for guarded in &shared.tiers {
            if self.has_in(guarded, key).await {
                return true;
            }
        }
        match self.far().filter(|far| far.reads()) {
            None => false,
            Some(far) => {
                self.larder.follow_afar().await;
                self.has_in(far, key).await
            }
        }
    }

    /// Takes an answer out of memory and the near tiers, because something that it names proved bad. The far tier keeps
    /// its own, so the next question finds that.
    pub async fn set_aside(&self, key: &Key) {
        self.larder.forget(&Selector::key(key));
        for guarded in &self.larder.shared.tiers {
            // Failing that it is found to be bad again.
            let _ = guarded.quarantine(key).await;
        }
    }

    async fn has_in(&self, guarded: &Guarded, key: &Key) -> bool {
        let Ok(Some(envelope)) = guarded.get(key).await else { return false };
        let Some((entry, _)) = self.open(key, &envelope, guarded, guarded.place()).await else {
            return false;
        };
        is_whole_in(guarded, &entry.record).await
    }

    async fn is_whole_near(&self, record: &entry::Record) -> bool {
        match self.larder.shared.tiers.first() {
            Some(near) => is_whole_in(near, record).await,
            None => record.blobs.is_empty(),
        }
    }

    /// Counts and tells that an answer in memory was given.
    #[inline]
    pub(super) fn hit_in_memory(&self, key: &Key, entry: &Entry<T>, request: Request<'_>) {
        tracing::trace!(%key, place = %Place::Memory, "hit");
        request.hit(key, entry.record.cost);
    }

    /// Counts and tells that a kept answer was given.
    pub(super) fn hit(&self, place: Place, key: &Key, entry: &Entry<T>, watch: Watch) {
        tracing::trace!(%key, %place, "hit");
        self.series.hit(place, key, entry.record.cost, watch.took(self));
    }

    /// Counts and tells that a stale answer was given.
    pub(super) fn stale(&self, place: Place, key: &Key, watch: Watch) {
        tracing::debug!(%key, %place, "stale; refreshing");
        self.series.stale(place, key, watch.took(self));
    }

    /// Counts and tells that there was no answer.
    pub(super) fn miss(&self, key: &Key, took: Option<Duration>) {
        tracing::debug!(%key, "miss");
        self.series.miss(key, took);
    }

    /// Begins to time anything but a look into memory, if that is timed at all.
    pub(super) fn watch(&self) -> Watch {
        Watch(self.series.timed().then(|| self.larder.shared.clock.now()))
    }

    /// Looks in memory. Reads the clock only for kinds whose answers expire.
    #[inline]
    pub(super) fn in_memory(&self, key: &Key) -> InMemory<T> {
        let shared = &self.larder.shared;
        let Some(memory) = &shared.memory else { return InMemory::Absent };
        let held = match memory.get(key, || shared.clock.now()) {
            Lookup::Hit(held) => held,
            Lookup::Miss => return InMemory::Absent,
            Lookup::Lapsed(departed) => {
                self.larder.count_departed(&departed);
                return InMemory::Absent;
            }
        };
        match downcast::<Entry<T>>(held) {
            Err(held) => InMemory::Other(held),
            Ok(entry) => match self.freshness(key, &entry) {
                Freshness::Fresh => InMemory::Fresh(entry),
                Freshness::Stale => InMemory::Stale(entry),
            },
        }
    }

    /// Whether an entry that still holds is as good as new. Memory itself drops an entry at the end of its life,
    /// and what comes from a tier is looked at when it is opened.
    #[inline]
    pub(super) fn freshness(&self, key: &Key, entry: &Entry<T>) -> Freshness {
        let shared = &self.larder.shared;
        let fresh = entry.fresh_until.is_none_or(|until| shared.clock.now() < until);
        if fresh && !shared.soft.covers(key, &entry.record) { Freshness::Fresh } else { Freshness::Stale }
    }

    /// Looks in each tier, nearest first. What is found is put into memory, and into the near tiers if it comes from
    /// afar.
    pub(super) async fn in_tiers(&self, key: &Key, flight: &Arc<Flight>) -> Option<(Arc<Entry<T>>, Place)> {
        let shared = &self.larder.shared;
        if !shared.mode.reads() {
            return None;
        }
        self.larder.follow().await;
        if self.far().is_some() {
            self.larder.follow_afar().await;
        }
        match self.in_near_tiers(key, flight).await {
            None => self.bring(key, flight, Looks::First).await,
            found => found,
        }
    }

    /// Looks in each near tier. What is found is put into memory.
    pub(super) async fn in_near_tiers(
        &self,
        key: &Key,
        flight: &Arc<Flight>,
    ) -> Option<(Arc<Entry<T>>, Place)> {
        let shared = &self.larder.shared;
        if !shared.mode.reads() {
            return None;
        }
        for guarded in &shared.tiers {
            let place = guarded.place();
            let watch = self.watch();
            let found = match guarded.get(key).await {
                Ok(found) => found,
                Err(_) => {
                    self.series.failed(place);
                    continue;
                }
            };
            self.series.lookup(place, found.is_some(), watch.took(self));
            let Some(envelope) = found else { continue };
            let Some((entry, footprint)) = self.open(key, &envelope, guarded, place).await else { continue };
            let entry = Arc::new(entry);
            // Where memory has no room, the tier has it still.
            let _ = flight.unless_revoked(|| self.hold(key, &entry, footprint));
            return Some((entry, place));
        }
        None
    }

    pub(super) async fn open(
        &self,
        key: &Key,
        envelope: &[u8],
        guarded: &Guarded,
        place: Place,
    ) -> Option<(Entry<T>, Footprint)> {
        let decoded = entry::open(key, envelope).map_err(|error| error.to_string()).and_then(|opened| {
            let Opened { record, codec, payload } = opened;
            let value = match codec {
                Codec::Postcard => match postcard::take_from_bytes::<T>(&payload) {
                    // Bytes left over: another type wrote it, and what was read is an accident.
                    Ok((_, rest)) if !rest.is_empty() => return Err("payload is of another type".to_owned()),
                    Ok((value, _)) => value,
                    Err(error) => return Err(error.to_string()),
                },
                Codec::Bytes => return Err("payload is plain bytes".to_owned()),
            };
            Ok((value, record, payload.len() as u64))
        });
        match decoded {
            Ok((value, record, encoded_bytes)) => {
                let wall = self.larder.shared.clock.wall();
                let left = self.time_left(&record, wall)?;
                let weight = self.options.weigh.map_or(encoded_bytes, |weigh| weigh(&value));
                let fresh_until = left.fresh.map(|fresh| self.larder.shared.clock.now().plus(fresh));
                let footprint = Footprint { weight, encoded_bytes, lifetime: left.whole };
                Some((Entry { value, record, fresh_until }, footprint))
            }
            Err(reason) => {
                tracing::warn!(tier = guarded.name(), %key, reason, "entry is damaged and set aside");
                self.series.corrupt(place);
                // Failing that, the next write under the same key replaces it.
                let _ = guarded.quarantine(key).await;
                None
            }
        }
    }

    /// How long an entry read at `wall` still holds; `None` when it has ended to.
    pub(super) fn time_left(&self, record: &entry::Record, wall: Timestamp) -> Option<TimeLeft> {
        if record.expired(wall) {
            return None;
        }
        let mut by_record = record.expires.map(|expires| expires.since(wall));
        if let Some(max_age) = self.max_age {
            // Whatever held when it was made. Where the clock has stepped back its age is not known.
            let age = (wall >= record.created).then(|| wall.since(record.created))?;
            let left = max_age.checked_sub(age).filter(|left| !left.is_zero())?;
            by_record = Some(by_record.map_or(left, |by_record| by_record.min(left)));
        }
        let super::Validity::Expiring { fresh, .. } = self.options.validity else {
            return Some(TimeLeft { fresh: by_record, whole: by_record });
        };
        if wall < record.created {
            return None;
        }
        let age = wall.since(record.created);
        let whole = self.options.validity.lifetime()?.checked_sub(age)?;
        let whole = by_record.map_or(whole, |by_record| by_record.min(whole));
        Some(TimeLeft { fresh: Some(fresh.saturating_sub(age)), whole: Some(whole) })
    }

    pub(super) fn answer(&self, entry: Arc<Entry<T>>, place: Place) -> Answer<T> {
        Answer { entry, origin: Origin::Kept(place), freshness: Freshness::Fresh, kept: Kept::Yes }
    }
}

/// Whether a tier has each blob that a record names.
pub(super) async fn is_whole_in(guarded: &Guarded, record: &entry::Record) -> bool {
    if record.blobs.is_empty() {
        return true;
    }
    let missing = guarded.run_for(Waits::Caller, guarded.tier().missing_blobs(&record.blobs)).await;
    missing.is_ok_and(|missing| missing.is_empty())
}

/// When an operation began, if it is timed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch(Option<Instant>);

impl Watch {
    #[inline]
    pub(super) fn took<T: Value>(self, kind: &Kind<T>) -> Option<Duration> {
        self.0.map(|began| kind.larder.shared.clock.now().since(began))
    }
}

/// How long an answer still holds; `None` for ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLeft {
    pub(super) fresh: Option<Duration>,
    pub(super) whole: Option<Duration>,
}
