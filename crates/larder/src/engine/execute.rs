//! Computing what is not kept, once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::flight::{Cargo, Follow, Lead, Seat};
use super::keep::Began;
use super::lookup::{InMemory, Watch};
use super::turn::Turn;
use super::waits::{Wait, computing};
use super::{Answer, AskError, Computed, Exclusion, Freshness, Kept, Kind, Origin, Value, downcast};
use crate::clock::{Clock, Instant};
use crate::key::Key;
use crate::stats::{Computed as End, Place, Series};
use crate::tier::Lease;

/// An error that a kind keeps for a while.
pub(super) struct KeptError<E>(pub(super) AskError<E>);

impl<E: Send + Sync + 'static> super::Holdable for KeptError<E> {
    fn record(&self) -> Option<&crate::entry::Record> {
        None
    }
}

/// A computation that may begin.
pub(super) struct Started<R> {
    /// What it needs; `None` where that was not to be had.
    pub(super) ready: Option<R>,
    /// The turn among machines, to be held until what comes of it has arrived there.
    pub(super) lease: Option<Arc<Lease>>,
}

/// What a computation gives, to be awaited.
type Computing<T, E> = Pin<Box<dyn Future<Output = Result<Computed<T>, E>> + Send>>;

/// A computation that gets ready first.
fn when<R, P, T, E, F>(
    ready: impl Fn() -> P + Send + 'static,
    compute: impl FnOnce(Option<R>) -> F + Send + 'static,
) -> impl FnOnce() -> Computing<T, E> + Send + 'static
where
    R: Send + 'static,
    P: Future<Output = Option<R>> + Send + 'static,
    F: Future<Output = Result<Computed<T>, E>> + Send + 'static,
{
    move || {
        let getting = ready();
        Box::pin(async move { compute(getting.await).await })
    }
}

/// The first wait between two looks at another process's lease, and the longest.
const LEASE_WAITS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));

impl<T: Value> Kind<T> {
    /// Returns the kept answer or, where there is none that holds, runs `compute` and keeps what it gives.
    ///
    /// A memory hit does not wait. Callers who ask for the same key at the same time share one computation and its
    /// outcome, error included. It runs in the task of one of them; if that one is dropped, or panics, the next
    /// takes over with its own `compute`. A stale answer is returned at once, and `compute` runs in a task of its
    /// own, so it owns what it uses. What a computation asks for in tasks that it spawns is not seen as its own:
    /// a circle through those ends by the time limit only.
    ///
    /// Errors: those of the computation, its time limit, and waiting in a circle. What a tier does is none.
    pub async fn get_or_compute<E, F, C>(&self, key: &Key, compute: C) -> Result<Answer<T>, AskError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<Computed<T>, E>> + Send + 'static,
        C: FnOnce() -> F + Send + 'static,
    {
        self.get_or_compute_when(key, || std::future::ready(Some(())), |_| compute()).await
    }

    /// Like [`Kind::get_or_compute`], for a computation that needs something of which there is little, such as one of a
    /// few places to run: `ready` gets it when all tiers have missed, and `compute` takes it over. While another machine
    /// computes the same it is given back, and `ready` is asked again. `None` from `ready` ends the waiting for
    /// other machines: `compute` then gets `None`.
    pub async fn get_or_compute_when<E, R, P, G, F, C>(
        &self,
        key: &Key,
        ready: G,
        compute: C,
    ) -> Result<Answer<T>, AskError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
        R: Send + 'static,
        P: Future<Output = Option<R>> + Send + 'static,
        G: Fn() -> P + Send + Sync + 'static,
        F: Future<Output = Result<Computed<T>, E>> + Send + 'static,
        C: FnOnce(Option<R>) -> F + Send + 'static,
    {
        if self.larder.shared.mode.reads() {
            let request = self.series.begin();
            match self.in_memory(key) {
                InMemory::Fresh(entry) => {
                    self.hit_in_memory(key, &entry, request);
                    return Ok(self.answer(entry, Place::Memory));
                }
                InMemory::Stale(entry) => {
                    tracing::debug!(%key, place = %Place::Memory, "stale; refreshing");
                    request.stale(key);
                    self.refresh_behind(key, when(ready, compute));
                    let answer = self.answer(entry, Place::Memory);
                    return Ok(Answer { freshness: Freshness::Stale, ..answer });
                }
                InMemory::Other(held) => {
                    if let Ok(kept) = downcast::<KeptError<E>>(held) {
                        request.hit(key, Duration::ZERO);
                        return Err(kept.0.clone());
                    }
                }
                InMemory::Absent => {}
            }
        }
        let mut asked = (ready, compute);
        loop {
            match self.larder.shared.flights.board(key) {
                Seat::Follow(follow) => match self.follow(key, follow).await? {
                    Some(outcome) => return outcome,
                    None => continue,
                },
                Seat::Lead(lead) => match self.lead(key, lead, asked).await {
                    Ok(outcome) => return outcome,
                    Err(unused) => asked = unused,
                },
            }
        }
    }

    /// Like [`Kind::get_or_compute`], for a caller who waits no longer than `limit`: for tiers, for another's
    /// computation, or for its own. Its own is cancelled then, and if others wait for it the next takes over.
    pub async fn get_or_compute_within<E, F, C>(
        &self,
        key: &Key,
        limit: Duration,
        compute: C,
    ) -> Result<Answer<T>, AskError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<Computed<T>, E>> + Send + 'static,
        C: FnOnce() -> F + Send + 'static,
    {
        let asking = tokio::time::timeout(limit, self.get_or_compute(key, compute)).await;
        asking.unwrap_or(Err(AskError::TimedOut(limit)))
    }

    /// Waits for another caller's computation. `Ok(None)`: it came to nothing, board again.
    async fn follow<E>(
        &self,
        key: &Key,
        follow: Follow,
    ) -> Result<Option<Result<Answer<T>, AskError<E>>>, AskError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let wait = self.larder.shared.waits.enter(follow.flight()).map_err(AskError::Cycle)?;
        let watch = self.watch();
        let cargo = follow.landed().await;
        drop::<Option<Wait>>(wait);
        let Some(cargo) = cargo else { return Ok(None) };
        // What another type's question brought home is no answer here.
        let Ok(outcome) = cargo.downcast::<Result<Answer<T>, AskError<E>>>() else { return Ok(None) };
        let cost = outcome.as_ref().as_ref().map_or(Duration::ZERO, |answer| answer.entry.record.cost);
        tracing::debug!(%key, "waited for another's computation");
        self.series.waited(key, cost, watch.took(self));
        Ok(Some((*outcome).clone()))
    }

    /// Looks in the tiers, and computes if they all miss. Gives back how to, if meanwhile an invalidation overtook this and
    /// another caller began after that: whose answer it is to be.
    async fn lead<E, R, P, G, F, C>(
        &self,
        key: &Key,
        lead: Lead,
        (ready, compute): (G, C),
    ) -> Result<Result<Answer<T>, AskError<E>>, (G, C)>
    where
        E: std::error::Error + Send + Sync + 'static,
        R: Send + 'static,
        P: Future<Output = Option<R>> + Send + 'static,
        G: Fn() -> P + Send + Sync + 'static,
        F: Future<Output = Result<Computed<T>, E>> + Send + 'static,
        C: FnOnce(Option<R>) -> F + Send + 'static,
    {
        let mut lead = lead;
        let flight = Arc::clone(lead.flight());
        let mut wait = match self.larder.shared.waits.enter(&flight) {
            Ok(wait) => wait,
            Err(circle) => return Ok(Err(AskError::Cycle(circle))),
        };
        let watch = self.watch();
        // Another flight may have landed between the look into memory and the boarding of this one.
        let found = match self.in_memory(key) {
            InMemory::Fresh(entry) if self.larder.shared.mode.reads() => Some((entry, Place::Memory)),
            _ => self.in_tiers(key, &flight).await,
        };
        // What is waited for from here on, as a place among jobs, costs as much without a cache.
        let looked = watch.took(self);
        let mut lease = Lease::default();
        let found = match found {
            Some(found) => Turn::Found(found),
            None => match self.after_lease(key, &lead).await {
                Ok(found) => Turn::Found(found),
                Err(taken) => {
                    lease = taken;
                    self.turn(key, &lead, &ready).await
                }
            },
        };
        let outcome = match found {
            Turn::Found((entry, place)) => Ok(self.found(key, entry, place, watch, when(ready, compute))),
            Turn::Mine(Started { ready: had, lease }) => {
                // It may have waited long, and what was invalidated meanwhile is from before what it computes.
                let Some(now) = lead.beginning_now() else { return Err((ready, compute)) };
                lead = now;
                if !Arc::ptr_eq(lead.flight(), &flight) {
                    drop(wait.take());
                    wait = match self.larder.shared.waits.enter(lead.flight()) {
                        Ok(wait) => wait,
                        Err(circle) => return Ok(Err(AskError::Cycle(circle))),
                    };
                }
                self.miss(key, looked);
                self.execute(key, &lead, lease, move || compute(had)).await
            }
        };
        drop::<Lease>(lease);
        drop::<Option<Wait>>(wait);
        lead.land(Arc::new(outcome.clone()) as Cargo);
        Ok(outcome)
    }

    fn found<E, F, C>(
        &self,
        key: &Key,
        entry: Arc<super::Entry<T>>,
        place: Place,
        watch: Watch,
        compute: C,
    ) -> Answer<T>
    where
        E: std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<Computed<T>, E>> + Send + 'static,
        C: FnOnce() -> F + Send + 'static,
    {
        let freshness = self.freshness(key, &entry);
        if freshness == Freshness::Fresh {
            self.hit(place, key, &entry, watch);
        } else {
            self.stale(place, key, watch);
            self.refresh_behind(key, compute);
        }
        Answer { freshness, ..self.answer(entry, place) }
    }

    /// Takes the lease on the key, for kinds that exclude other processes too, and looks once more in the near tiers,
    /// where whoever held it has stored its answer. Returns what is there by then, or the lease.
    async fn after_lease(&self, key: &Key, lead: &Lead) -> Result<(Arc<super::Entry<T>>, Place), Lease> {
        let shared = &self.larder.shared;
        if self.options.exclusion == Exclusion::Process || !shared.mode.writes() {
            return Err(Lease::default());
        }
        let Some(guarded) = shared.tiers.first() else { return Err(Lease::default()) };
        let (mut wait, longest) = LEASE_WAITS;
        loop {
            match guarded.try_lease(key).await {
                // A tier that fails does not hold anybody up.
                Err(_) => return Err(Lease::default()),
                // Whoever held it may have done so since the first look into the tiers.
                Ok(Some(lease)) => return self.in_near_tiers(key, lead.flight()).await.ok_or(lease),
                Ok(None) => {
                    if wait == LEASE_WAITS.0 {
                        tracing::info!(%key, "another process computes this; waiting for it");
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(longest);
                }
            }
        }
    }

    /// Computes, within the kind's time limit, and keeps what comes out.
    pub(super) async fn execute<E, F, C>(
        &self,
        key: &Key,
        lead: &Lead,
        lease: Option<Arc<Lease>>,
        compute: C,
    ) -> Result<Answer<T>, AskError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<Computed<T>, E>> + Send + 'static,
        C: FnOnce() -> F + Send + 'static,
    {
        let began = Began { lease, ..self.began().await };
        let computation = Computation::begin(self, key, began.at);
        let computing = computing(Arc::clone(lead.flight()), compute());
        let outcome = match self.options.timeout {
            None => computing.await,
            Some(limit) => match tokio::time::timeout(limit, computing).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    computation.end(End::TimedOut);
                    return Err(AskError::TimedOut(limit));
                }
            },
        };
        match outcome {
            Ok(computed) => {
                let took = computation.end(End::Finished);
                Ok(self.keep(key, lead.flight(), computed, took, &began).await)
            }
            Err(error) => {
                computation.end(End::Failed);
                let error = AskError::Computation(Arc::new(error));
                if let Some(lifetime) = self.options.keep_errors_for {
                    self.keep_error(key, lead.flight(), KeptError(error.clone()), lifetime);
                }
                Err(error)
            }
        }
    }

    /// An answer that was computed just now.
    pub(super) fn computed(&self, entry: Arc<super::Entry<T>>, kept: Kept) -> Answer<T> {
        Answer { entry, origin: Origin::Computed, freshness: Freshness::Fresh, kept }
    }
}

/// Counts how a computation ended, also one that ends by being dropped or by a panic.
pub(super) struct Computation<'a> {
    key: &'a Key,
    series: &'a Series,
    clock: &'a Clock,
    began: Instant,
    ended: bool,
}

impl<'a> Computation<'a> {
    pub(super) fn begin<T: Value>(kind: &'a Kind<T>, key: &'a Key, began: Instant) -> Self {
        Self { key, series: &kind.series, clock: &kind.larder.shared.clock, began, ended: false }
    }

    /// Returns how long it took.
    pub(super) fn end(mut self, end: End) -> Duration {
        self.ended = true;
        let took = self.clock.now().since(self.began);
        tracing::debug!(key = %self.key, %end, ?took, "computed");
        self.series.computed(end, took);
        took
    }
}

impl Drop for Computation<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let end = if std::thread::panicking() { End::Failed } else { End::Cancelled };
            tracing::debug!(key = %self.key, %end, "computation ended early");
            self.series.computed(end, self.clock.now().since(self.began));
        }
    }
}
