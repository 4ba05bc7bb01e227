//! Sessions: asking queries under one consistent view of the outside.
//!
//! The way of a question, here: what the session has settled already; else the one flight that the session has for
//! the query, led in a task of its own: `verify` the kept traces, and if none holds, `derive` the answer anew.
//! Tasks, and not calls within calls, so that the stack does not grow with the depth of the graph. As many queries as a
//! graph is deep wait for one another, times as many as are settled beside others at once, of which there are [`BESIDE`]
//! in a session; where those are under way, what is asked for together is settled one after the other. So nobody waits for
//! leave to go on, and memory stays bounded however wide and deep a graph is. What a task has in hand is boxed phase by
//! phase, and one that waits takes the room of the phase that it is in, and not that of all.
//!
//! Invariants:
//! - within a session a query is settled once: verified or computed, and a failure stays one;
//! - whoever waits is woken, also when a computation is cancelled or panics;
//! - what an invalidation covers is settled anew, and what was computed meanwhile is not kept.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::flight::{Cargo, Flight, Flights, Lead, Seat};
use super::ground::{Laying, RestsOn, Since};
use super::observe::View;
use super::outside::Outside;
use super::query::{Query, QueryError, Registered, Registry};
use super::verify::Verified;
use super::waits::computing;
use super::{Answer, Freshness, Larder};
use crate::key::{Digest, Key, Selector};
use crate::query::{Missed, Now, Observation, Question, Source, Trace, Unsteady, Why};
use crate::source::Counts;

/// How many queries of one session are settled beside others at once, all that were asked for together taken together. So
/// there are so many chains of queries that wait for one another, and one for each that is asked from outside.
const BESIDE: usize = 64;

/// One consistent view of the outside, under which queries are asked. A clone is another handle to the same one.
///
/// Within a session each source is looked at at most once, and each query settled at most once; so after a change
/// outside, begin a new one. It holds the answers that it gave until it is dropped. Ask within a Tokio runtime.
#[derive(Clone)]
pub struct Session {
    shared: Arc<State>,
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Whoever asks.
    Asking,
    /// Computing anew what is no longer as good as new.
    Refreshing,
}

pub(super) struct State {
    purpose: Purpose,
    registry: Arc<Registry>,
    view: View,
    flights: Arc<Flights>,
    /// The outcome of each query, of a type that its kind knows.
    settled: Mutex<HashMap<Key, Cargo>>,
    /// What is known of computations that failed, beside their error.
    failed: Mutex<HashMap<Key, Arc<Failed>>>,
    /// Whether an answer was given that is not as good as new.
    gave_stale: AtomicBool,
    since: OnceCell<Since>,
    laying: Mutex<Laying>,
    /// For queries that are settled beside another one that was asked for together with them.
    beside: Arc<Semaphore>,
}

/// What a session answers.
#[derive(Debug)]
pub struct Derived<T> {
    /// The value, its record, where it came from and whether it is kept.
    pub answer: Answer<T>,
    /// Why it was given or computed.
    pub why: Arc<Why>,
}

impl<T> Deref for Derived<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.answer
    }
}

/// What came of a query within a session.
pub(super) type Outcome<Q> = Result<Settled<<Q as Query>::Output>, QueryError<<Q as Query>::Error>>;

/// An answer that the session stands by.
pub(super) struct Settled<T> {
    /// Digest of the value, or why nothing may be built on it.
    pub(super) holds: Result<Digest, Arc<Unsteady>>,
    /// The value, unless it was not needed so far.
    pub(super) answer: Option<Answer<T>>,
    pub(super) why: Arc<Why>,
    /// What the answer is built on.
    pub(super) observations: Arc<[Observation]>,
    /// Whether it is as good as new.
    pub(super) freshness: Freshness,
}

/// A computation that failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// Why it was computed.
    pub(super) missed: Missed,
    /// What it had observed.
    pub(super) observed: Arc<[Observation]>,
    /// The source that was the first to be out of reach.
    pub(super) failed: Option<Source>,
}

impl<T> Clone for Settled<T> {
    fn clone(&self) -> Self {
        Self {
            holds: self.holds.clone(),
            answer: self.answer.clone(),
            why: Arc::clone(&self.why),
            observations: Arc::clone(&self.observations),
            freshness: self.freshness,
        }
    }
}

/// What whoever asks wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Whether the answer is the same as before.
    Digest,
    /// The answer, for another query.
    Value,
    /// The answer, for whoever asks from outside.
    Asked,
}

impl Need {
    fn is_met_by<Q: Query>(self, outcome: &Outcome<Q>) -> bool {
        match outcome {
            Ok(settled) => self == Self::Digest || settled.answer.is_some(),
            Err(_) => true,
        }
    }
}

/// A query that is asked.
pub(super) struct Asked<Q: Query> {
    pub(super) query: Q,
    pub(super) question: Question,
    pub(super) key: Key,
    pub(super) kind: Arc<Registered<Q>>,
}

impl Session {
    pub(super) fn new(registry: Arc<Registry>, outside: Outside, purpose: Purpose) -> Self {
        let shared = Arc::new(State {
            purpose,
            view: View::new(registry.scope.clone(), registry.snapshots.clone(), outside),
            registry,
            flights: Arc::default(),
            settled: Mutex::default(),
            failed: Mutex::default(),
            gave_stale: AtomicBool::new(false),
            since: OnceCell::new(),
            laying: Mutex::default(),
            beside: Arc::new(Semaphore::new(BESIDE)),
        });
        let mut sessions = shared.registry.larder.shared.sessions.lock();
        sessions.retain(|session| session.strong_count() > 0);
        sessions.push(Arc::downgrade(&shared));
        drop(sessions);
        Self { shared }
    }

    /// The answer of a query: the kept one if all that it was built on is unchanged, else a new one.
    ///
    /// Computations run in tasks of the current runtime. Dropping the future cancels those that nobody else waits
    /// for; a panic of a computation comes through here.
    ///
    /// Errors: those of the computation, waiting in a circle, and what is wrong with the query itself. A tier
    /// causes none.
    pub async fn get<Q: Query>(&self, query: Q) -> Result<Derived<Q::Output>, QueryError<Q::Error>> {
        let asked = self.asked(query)?;
        let settled = self.settle(&asked, Need::Asked).await?;
        if !Q::GROUNDED {
            self.lay_ground(&asked, &settled).await;
        }
        Ok(Derived { answer: settled.answer.expect("a value was needed"), why: settled.why })
    }

    /// What looking at the outside took so far: paths whose stat data was asked for, files and directories that had
    /// to be read. Programs of tools are not counted.
    pub fn counts(&self) -> Counts {
        self.view().counts()
    }

    pub(super) fn asked<Q: Query>(&self, query: Q) -> Result<Arc<Asked<Q>>, QueryError<Q::Error>> {
        let kind = self.registry().registered::<Q>().ok_or(QueryError::Unregistered(Q::KIND))?;
        let question = kind.question(&query)?;
        let key = question.key(&self.registry().scope);
        Ok(Arc::new(Asked { query, question, key, kind }))
    }

    /// Settles a query, or waits until it is.
    pub(super) async fn settle<Q: Query>(&self, asked: &Arc<Asked<Q>>, need: Need) -> Outcome<Q> {
        loop {
            if let Some(outcome) =
                self.settled::<Q>(&asked.key).filter(|outcome| need.is_met_by::<Q>(outcome))
            {
                return outcome;
            }
            match self.shared.flights.board(&asked.key) {
                Seat::Lead(lead) => {
                    let _wait = self.wait(lead.flight())?;
                    return Task::spawn(self.clone().lead(Arc::clone(asked), need, lead)).ended().await;
                }
                Seat::Follow(follow) => {
                    let _wait = self.wait(follow.flight())?;
                    let Some(cargo) = follow.landed().await else { continue };
                    let outcome: &Outcome<Q> = of_cargo::<Q>(&cargo);
                    if need.is_met_by::<Q>(outcome) {
                        return outcome.clone();
                    }
                }
            }
        }
    }

    fn wait<E>(&self, flight: &Arc<Flight>) -> Result<Option<super::waits::Wait>, QueryError<E>> {
        self.larder().shared.waits.enter(flight).map_err(QueryError::Cycle)
    }

    /// Settles a query on behalf of all who wait for it.
    async fn lead<Q: Query>(self, asked: Arc<Asked<Q>>, need: Need, lead: Lead) -> Outcome<Q> {
        let flight = Arc::clone(lead.flight());
        let settling = Box::pin(self.find_or_derive(&asked, need, &flight));
        let outcome = computing(Arc::clone(&flight), settling).await;
        if outcome.as_ref().is_ok_and(|settled| settled.freshness == Freshness::Stale) {
            self.shared.gave_stale.store(true, Ordering::Release);
        }
        let cargo: Cargo = Arc::new(outcome.clone());
        flight.unless_revoked(|| self.shared.settled.lock().insert(asked.key.clone(), Arc::clone(&cargo)));
        lead.land(cargo);
        outcome
    }

    async fn find_or_derive<Q: Query>(
        &self,
        asked: &Asked<Q>,
        need: Need,
        flight: &Arc<Flight>,
    ) -> Outcome<Q> {
        let found = match self.settled::<Q>(&asked.key) {
            // Another flight has landed since the session was asked.
            Some(outcome) if need.is_met_by::<Q>(&outcome) => return outcome,
            // Verified by now, without the value.
            Some(Ok(Settled { holds: Ok(value), why, observations, freshness, .. })) => {
                let verified = Verified { value, why, observations, freshness };
                Box::pin(self.with_value(asked, verified)).await
            }
            _ if need == Need::Asked || Q::GROUNDED => match Box::pin(self.on_ground(asked, need)).await {
                Some(settled) => Ok(settled),
                None => Box::pin(self.find(asked, need)).await,
            },
            _ => Box::pin(self.find(asked, need)).await,
        };
        let settled = match found {
            Ok(settled) => settled,
            Err(miss) => Box::pin(self.derive(asked, need, miss, flight)).await?,
        };
        if Q::GROUNDED {
            Box::pin(self.lay_ground(asked, &settled)).await;
        }
        Ok(settled)
    }

    pub(super) fn settled<Q: Query>(&self, key: &Key) -> Option<Outcome<Q>> {
        let cargo = self.shared.settled.lock().get(key).map(Arc::clone)?;
        Some(of_cargo::<Q>(&cargo).clone())
    }

    /// How good an answer is that is built on these, and is as good as `own` by itself.
    pub(super) fn freshness_on(&self, observations: &[Observation], own: Freshness) -> Freshness {
        let is_stale = |seen: &Observation| match &seen.source {
            Source::Query(question) => {
                let kind = self.registry().verifiable(question.kind());
                kind.is_some_and(|kind| kind.is_stale(self, question))
            }
            _ => false,
        };
        // Most sessions give none, and need not look at each.
        match self.shared.gave_stale.load(Ordering::Acquire) && observations.iter().any(is_stale) {
            true => Freshness::Stale,
            false => own,
        }
    }

    /// Leave to settle one more query beside `running` others that were asked for together with it: `None` where one of
    /// those has to end first.
    pub(super) fn beside(&self, running: usize) -> Option<Beside> {
        match running {
            0 => Some(Beside(None)),
            _ => Arc::clone(&self.shared.beside).try_acquire_owned().ok().map(|permit| Beside(Some(permit))),
        }
    }

    pub(super) fn laying(&self) -> &Mutex<Laying> {
        &self.shared.laying
    }

    pub(super) fn noted_since(&self) -> &OnceCell<Since> {
        &self.shared.since
    }

    pub(super) fn failed(&self, key: &Key) -> Option<Arc<Failed>> {
        self.shared.failed.lock().get(key).map(Arc::clone)
    }

    pub(super) fn note_failed(&self, key: &Key, failed: Failed) {
        self.shared.failed.lock().insert(key.clone(), Arc::new(failed));
    }

    pub(super) fn purpose(&self) -> Purpose {
        self.shared.purpose
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    pub(super) fn larder(&self) -> &Larder {
        &self.shared.registry.larder
    }

    pub(super) fn view(&self) -> &View {
        &self.shared.view
    }
}

impl State {
    /// Takes from computations under way the right to store, and from the session what it settled.
    pub(super) fn forget(&self, selector: &Selector) {
        self.flights.revoke(selector);
        self.settled.lock().retain(|key, _| !selector.matches_key(key));
        self.failed.lock().retain(|key, _| !selector.matches_key(key));
    }
}

fn of_cargo<Q: Query>(cargo: &Cargo) -> &Outcome<Q> {
    let any: &(dyn Any + Send + Sync) = &**cargo;
    any.downcast_ref().expect("a key belongs to one type of query")
}

/// A kind of query whose type is known to itself alone.
pub(super) trait Verifiable: Send + Sync {
    /// What the query answers now.
    fn now<'a>(
        &'a self,
        session: &'a Session,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Now> + Send + 'a>>;

    /// What a session has settled about the query; `None` if it has nothing.
    fn told(&self, session: &Session, question: &Question) -> Option<Told>;

    /// The query's parameters, if they have a form in JSON.
    fn parameters(&self, question: &Question) -> Option<serde_json::Value>;

    /// Whether an answer grows old although nothing changes.
    fn expires(&self) -> bool;

    /// Computes the query anew if its answer is no longer as good as new.
    fn refresh(
        self: Arc<Self>,
        session: Session,
        question: Question,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Whether a session has settled the query.
    fn is_settled(&self, session: &Session, question: &Question) -> bool;

    /// Whether a session has settled the query with an answer that is not as good as new.
    fn is_stale(&self, session: &Session, question: &Question) -> bool;

    /// The newest trace of the query, which is in memory from now on.
    fn newest<'a>(
        &'a self,
        session: &'a Session,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Option<Arc<Trace>>> + Send + 'a>>;

    /// What the query rests on, if a session has settled it.
    fn rests_on(&self, session: &Session, question: &Question) -> Option<RestsOn>;
}

/// Leave to settle a query beside others, until this is dropped. The first of several needs none.
pub(super) struct Beside(#[expect(dead_code, reason = "it is held")] Option<OwnedSemaphorePermit>);

/// What a session has settled about a query.
pub(super) struct Told {
    /// In words, if it failed.
    pub(super) error: Option<String>,
    /// Why nothing may be built on the answer.
    pub(super) not_kept: Option<String>,
    pub(super) why: Option<Arc<Why>>,
    pub(super) observations: Arc<[Observation]>,
    /// The source that was out of reach.
    pub(super) failed: Option<Source>,
}

/// A task that ends when this is dropped.
struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

    /// Waits for its end. A panic in it comes through.
    async fn ended(mut self) -> T {
        match (&mut self.0).await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => panic!("the runtime was shut down while an answer was computed"),
            },
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("scope", &self.shared.registry.scope).finish_non_exhaustive()
    }
}
