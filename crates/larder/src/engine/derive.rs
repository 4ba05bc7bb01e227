//! Deriving: computing a query anew, writing down what it observes, and keeping both.
//!
//! When the computation has ended, each source that it observed is looked at again: if one has changed meanwhile,
//! the answer is returned and not kept, and neither is what is built on it. For a content that was read through
//! the context the trace would be right all the same; for a program that reads files itself it would not.
//!
//! Invariant: a trace that is kept names a value that was computed from exactly what the trace observed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::context::{Context, Recorded};
use super::dependents::tags_of;
use super::execute::Computation;
use super::flight::{Flight, Seat};
use super::keep::Began;
use super::lookup::InMemory;
use super::query::{Query, QueryError};
use super::session::{Asked, Failed, Need, Outcome, Session, Settled};
use super::verify::{Miss, words};
use super::{Answer, Computed, Freshness, Kept, NotKept, Value};
use crate::key::{Digest, Key};
use crate::query::{Mismatch, Now, Observation, Source, Trace, Traces, Unsteady, Why};
use crate::stats::{self, Computed as End, RefusalCause};

/// What the sessions of a registry compute now.
pub(super) type UnderWay = Arc<Mutex<HashMap<Key, Arc<Flight>>>>;

impl Session {
    /// Computes a query, unless another session of the process does: then waits for that, and computes only if
    /// what that kept does not hold here.
    pub(super) async fn derive<Q: Query>(
        &self,
        asked: &Asked<Q>,
        need: Need,
        mut miss: Miss,
        flight: &Arc<Flight>,
    ) -> Outcome<Q> {
        let under_way = &self.registry().under_way;
        let mut place = Place::take(under_way, &asked.key, flight);
        let mut waited = false;
        if let Err(other) = &place
            // Two sessions with two views may wait for each other in a circle that neither of them has.
            && let Some((wait, give_up)) = self.larder().shared.waits.enter_until_circle(other)
        {
            tokio::select! {
                _ = other.follow().landed() => {}
                () = give_up.notified() => {}
            }
            drop(wait);
            waited = true;
            place = Place::take(under_way, &asked.key, flight);
        }
        // Another session may have kept something since this one looked.
        if waited || self.has_other_traces(asked, miss.traces.as_ref()) {
            match Box::pin(self.find(asked, need)).await {
                Ok(settled) => return Ok(settled),
                Err(newer) => miss = newer,
            }
        }
        let outcome = Box::pin(self.compute(asked, miss, flight)).await;
        drop(place);
        outcome
    }

    async fn compute<Q: Query>(&self, asked: &Asked<Q>, miss: Miss, flight: &Arc<Flight>) -> Outcome<Q> {
        let traces = &asked.kind.traces;
        traces.miss(&asked.key, miss.watch.took(traces));
        let began = traces.began().await;
        let began_at = self.larder().clock().wall();
        let computation = Computation::begin(traces, &asked.key, began.at);
        let cx = Context::new(self.clone(), Arc::clone(flight));
        let computing = Box::pin(asked.query.compute(&cx));
        let outcome = match Q::TIME_LIMIT {
            None => computing.await,
            Some(limit) => match tokio::time::timeout(limit, computing).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    computation.end(End::TimedOut);
                    return Err(QueryError::TimedOut(limit));
                }
            },
        };
        let Recorded { observations, unsteady, waited } = cx.finish();
        let observations = Arc::<[Observation]>::from(observations);
        let value = match outcome {
            Ok(value) => value,
            Err(error) => {
                computation.end(End::Failed);
                let failed = unsteady.and_then(|why| why.failed());
                self.note_failed(&asked.key, Failed { missed: miss.missed, observed: observations, failed });
                return Err(QueryError::Computation(Arc::new(error)));
            }
        };
        let cost = computation.end(End::Finished).saturating_sub(waited);
        let steady = match unsteady {
            Some(why) => Err(Arc::new(why)),
            None => Box::pin(self.look_again(&observations)).await,
        };
        let (holds, answer) = match steady.and_then(|()| encoded(&value)) {
            Ok(encoded) => {
                let digest = Digest::of(&encoded);
                let trace = Trace { observations: Arc::clone(&observations), value: digest, at: began_at };
                let keep = self.keep(asked, flight, (value, encoded), trace, cost, &began);
                (Ok(digest), Box::pin(keep).await)
            }
            Err(why) => {
                tracing::debug!(key = %asked.key, %why, "not kept");
                if let Unsteady::Changed(_) = *why {
                    traces.series.refused(stats::Place::Memory, RefusalCause::InputsChanged);
                }
                let computed = Computed::new(value).unkept(why.to_string());
                let keep = asked.kind.values.keep(&asked.key, flight, computed, cost, &began);
                let answer = Box::pin(keep).await;
                let kept = Kept::No(NotKept::Unsteady(Arc::clone(&why)));
                (Err(why), Answer { kept, ..answer })
            }
        };
        let why = Arc::new(Why::Computed(miss.missed));
        let freshness = self.freshness_on(&observations, Freshness::Fresh);
        let answer = Some(Answer { freshness, ..answer });
        Ok(Settled { holds, answer, why, observations, freshness })
    }

    /// Whether what was observed outside is still so.
    async fn look_again(&self, observations: &[Observation]) -> Result<(), Arc<Unsteady>> {
        // The session's variables are its own, and what a query's answer rests on was looked at when it ended.
        let outside = observations.iter();
        let outside = outside.filter(|seen| !matches!(seen.source, Source::Variable(_) | Source::Query(_)));
        let outside: Vec<&Observation> = outside.collect();
        let sources: Vec<&Source> = outside.iter().map(|seen| &seen.source).collect();
        let now = self.view().look_again(&sources).await;
        for (Observation { source, fingerprint, .. }, now) in outside.into_iter().zip(now) {
            let is = match now {
                Ok(now) if now == *fingerprint => continue,
                Ok(now) => Now::Is(now),
                Err(error) => Now::Failed(words(&error)),
            };
            let changed = Mismatch { source: source.clone(), was: *fingerprint, is };
            return Err(Arc::new(Unsteady::Changed(changed)));
        }
        Ok(())
    }

    /// Keeps a value, which comes with its encoding, by its digest, and then the trace that names it.
    async fn keep<Q: Query>(
        &self,
        asked: &Asked<Q>,
        flight: &Arc<Flight>,
        (value, encoded): (Q::Output, Vec<u8>),
        trace: Trace,
        cost: Duration,
        began: &Began,
    ) -> Answer<Q::Output> {
        let values = &asked.kind.values;
        let key = values.key_of_digest(trace.value);
        let ready = values.ready_as(value.into(), |_| Ok(encoded), cost);
        let answer = values.keep_if_ready(&key, flight, ready, began).await;
        if let Kept::No(_) = answer.kept {
            return answer;
        }
        let kept = self.keep_trace(asked, flight, trace, cost, began).await;
        Answer { kept, ..answer }
    }

    async fn keep_trace<Q: Query>(
        &self,
        asked: &Asked<Q>,
        flight: &Arc<Flight>,
        trace: Trace,
        cost: Duration,
        began: &Began,
    ) -> Kept {
        let shared = &self.larder().shared;
        // The seat keeps other sessions from adding to the same traces meanwhile.
        let lead = loop {
            match shared.flights.board(&asked.key) {
                Seat::Lead(lead) => break lead,
                Seat::Follow(follow) => drop(follow.landed().await),
            }
        };
        let kind = &asked.kind.traces;
        let known = match kind.in_memory(&asked.key) {
            InMemory::Fresh(entry) if shared.mode.reads() => Some(entry),
            _ => kind.in_tiers(&asked.key, lead.flight()).await.map(|(entry, _)| entry),
        };
        let known = known.filter(|entry| kind.freshness(&asked.key, entry) == Freshness::Fresh);
        let mut traces = known.map_or_else(Traces::default, |entry| entry.value.clone());
        traces.add(trace);
        let tags = tags_of(&traces);
        let computed = Computed { tags, ..Computed::new(traces) };
        kind.keep(&asked.key, flight, computed, cost, began).await.kept
    }
}

/// A value as it is kept.
fn encoded<T: Value>(value: &T) -> Result<Vec<u8>, Arc<Unsteady>> {
    postcard::to_stdvec(value).map_err(|error| Arc::new(Unsteady::Unencodable(error.to_string())))
}

/// A place among the computations under way; dropping it gives it back.
struct Place<'a> {
    under_way: &'a UnderWay,
    flight: Arc<Flight>,
}

impl<'a> Place<'a> {
    /// Takes the place for `key`, unless another computation has it: then that one's flight.
    fn take(under_way: &'a UnderWay, key: &Key, flight: &Arc<Flight>) -> Result<Self, Arc<Flight>> {
        let mut table = under_way.lock();
        match table.get(key) {
            // What an invalidation overtook keeps nothing, so there is nothing to wait for.
            Some(other) if other.unless_revoked(|| ()).is_some() => Err(Arc::clone(other)),
            _ => {
                table.insert(key.clone(), Arc::clone(flight));
                Ok(Self { under_way, flight: Arc::clone(flight) })
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut table = self.under_way.lock();
        if table.get(self.flight.key()).is_some_and(|current| Arc::ptr_eq(current, &self.flight)) {
            table.remove(self.flight.key());
        }
    }
}
