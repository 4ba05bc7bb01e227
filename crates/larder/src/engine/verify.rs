//! Verifying: whether what a kept answer was built on is unchanged.
//!
//! Walks a trace in the order of its observations and stops at the first that differs, so that nothing is asked
//! that computing now would not ask. A query in the trace is verified in turn, and computed if it must be: if its
//! value is the same as before, the walk goes on (early cutoff). Its value itself is not needed for that.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::flight::Seat;
use super::ground::RestsOn;
use super::lookup::{InMemory, Watch};
use super::query::{Query, QueryError, Registered};
use super::session::{Asked, Need, Session, Settled, Told, Verifiable};
use super::{Entry, Freshness, Kind, Value};
use crate::key::{Digest, Key};
use crate::query::{Fingerprint, Mismatch, Missed, Now, Observation, Question, Source, Trace, Traces, Why};
use crate::stats::Place;

/// How many sources are looked at, or queries prepared, ahead of the walk.
const MAX_AHEAD: usize = 1024;
/// At how many sources of a query is looked ahead of verifying it.
const MAX_FIRST: usize = 16;

/// No kept answer holds.
pub(super) struct Miss {
    pub(super) missed: Missed,
    /// The traces that were verified.
    pub(super) traces: Option<Arc<Entry<Traces>>>,
    pub(super) watch: Watch,
}

impl Session {
    /// The kept answer of a query, if one holds: verifies its traces, newest first.
    pub(super) async fn find<Q: Query>(
        &self,
        asked: &Asked<Q>,
        need: Need,
    ) -> Result<Settled<Q::Output>, Miss> {
        let traces = &asked.kind.traces;
        let watch = traces.watch();
        let Some((entry, place)) = self.traces(asked).await else {
            return Err(Miss { missed: Missed::NothingKept, traces: None, watch });
        };
        let mut mismatches = Vec::new();
        for (nth, trace) in entry.iter().enumerate() {
            let Some(mismatch) = self.first_mismatch(trace).await else {
                let why = Arc::new(Why::Held { trace: nth });
                let observations = Arc::clone(&trace.observations);
                let settled = match need {
                    Need::Digest => Settled { holds: Ok(trace.value), answer: None, why, observations },
                    Need::Value | Need::Asked => {
                        self.with_value(asked, trace.value, why, observations).await?
                    }
                };
                traces.hit(place, &asked.key, &entry, watch);
                return Ok(settled);
            };
            mismatches.push(mismatch);
        }
        let missed = if mismatches.is_empty() { Missed::NothingKept } else { Missed::Differs(mismatches) };
        Err(Miss { missed, traces: Some(entry), watch })
    }

    /// A kept answer that was verified, with its value.
    pub(super) async fn with_value<Q: Query>(
        &self,
        asked: &Asked<Q>,
        value: Digest,
        why: Arc<Why>,
        observations: Arc<[Observation]>,
    ) -> Result<Settled<Q::Output>, Miss> {
        let (values, watch) = (&asked.kind.values, asked.kind.traces.watch());
        match values.peek(&values.key_of_digest(value)).await {
            Some((entry, place)) => {
                let answer = Some(values.answer(entry, place));
                Ok(Settled { holds: Ok(value), answer, why, observations })
            }
            None => Err(Miss { missed: Missed::ValueGone, traces: None, watch }),
        }
    }

    /// Whether other traces are in memory than those that were found wanting.
    pub(super) fn has_other_traces<Q: Query>(
        &self,
        asked: &Asked<Q>,
        than: Option<&Arc<Entry<Traces>>>,
    ) -> bool {
        if !self.larder().mode().reads() {
            return false;
        }
        match asked.kind.traces.in_memory(&asked.key) {
            InMemory::Fresh(entry) => than.is_none_or(|known| !Arc::ptr_eq(known, &entry)),
            _ => false,
        }
    }

    /// The kept traces of a query, unless they were invalidated, be it softly.
    pub(super) async fn traces<Q: Query>(&self, asked: &Asked<Q>) -> Option<(Arc<Entry<Traces>>, Place)> {
        let (entry, place) = asked.kind.traces.peek(&asked.key).await?;
        (asked.kind.traces.freshness(&asked.key, &entry) == Freshness::Fresh).then_some((entry, place))
    }

    /// Brings the traces of queries into memory, together, and looks at the outside that they observed first, in one
    /// go. A query's computation begins by looking there too, so nothing is looked at that it would not look at.
    async fn prepare(&self, queries: &[&Source]) {
        let mut fetching = JoinSet::new();
        for source in queries {
            let Source::Query(question) = source else { continue };
            let Some(kind) = self.registry().verifiable(question.kind()) else { continue };
            if !kind.is_settled(self, question) {
                let (session, kind, question) = (self.clone(), Arc::clone(kind), question.clone());
                fetching.spawn(async move { kind.newest(&session, &question).await });
            }
        }
        let mut traces = Vec::with_capacity(fetching.len());
        while let Some(fetched) = fetching.join_next().await {
            // What could not be fetched is fetched again by whoever needs it.
            traces.extend(fetched.ok().flatten());
        }
        let first = traces.iter().flat_map(|trace| {
            let sources = trace.observations.iter().map(|seen| &seen.source).take(MAX_FIRST);
            sources.take_while(|source| !matches!(source, Source::Query(_)))
        });
        let first: Vec<&Source> = first.collect();
        self.view().look_ahead(&first).await;
    }

    async fn first_mismatch(&self, trace: &Trace) -> Option<Mismatch> {
        // What is to come is prepared a growing way ahead, as what differs often differs early. Preparing asks no query.
        let (mut prepared, mut ahead) = (0, 4);
        for (at, seen) in trace.observations.iter().enumerate() {
            if at >= prepared {
                let rest = &trace.observations[at..];
                let is_query = |seen: &Observation| matches!(seen.source, Source::Query(_));
                let alike = rest.iter().take(ahead).take_while(|next| is_query(next) == is_query(seen));
                let alike: Vec<&Source> = alike.map(|seen| &seen.source).collect();
                (prepared, ahead) = (at + alike.len(), (ahead * 8).min(MAX_AHEAD));
                match alike.len() {
                    0 | 1 => {}
                    _ if is_query(seen) => self.prepare(&alike).await,
                    _ => self.view().look_ahead(&alike).await,
                }
            }
            let now = match &seen.source {
                Source::Query(question) => match self.registry().verifiable(question.kind()) {
                    Some(kind) => kind.now(self, question).await,
                    None => Now::Unregistered,
                },
                outside => match self.view().see(outside).await {
                    Ok(seen) => Now::Is(seen.fingerprint),
                    Err(error) => Now::Failed(words(&error)),
                },
            };
            if now != Now::Is(seen.fingerprint) {
                return Some(Mismatch { source: seen.source.clone(), was: seen.fingerprint, is: now });
            }
        }
        None
    }
}

impl<Q: Query> Registered<Q> {
    async fn answers_now(&self, session: &Session, question: &Question) -> Now {
        // What reads back but is filed under something else was written by another type of the same name.
        let Ok((query, [])) = postcard::take_from_bytes::<Q>(question.params()) else {
            return Now::Unreadable;
        };
        let asked = match session.asked(query) {
            Ok(asked) if asked.question == *question => asked,
            _ => return Now::Unreadable,
        };
        match session.settle(&asked, Need::Digest).await {
            Ok(settled) => match settled.holds {
                Ok(value) => Now::Is(Fingerprint::Is(value)),
                Err(why) => Now::Unsteady(why),
            },
            Err(QueryError::Computation(error)) => Now::Failed(words(&*error)),
            Err(error) => Now::Failed(words(&error)),
        }
    }
}

impl<Q: Query> Verifiable for Registered<Q> {
    fn now<'a>(
        &'a self,
        session: &'a Session,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Now> + Send + 'a>> {
        Box::pin(self.answers_now(session, question))
    }

    fn told(&self, session: &Session, question: &Question) -> Option<Told> {
        self.told_of(session, question)
    }

    fn parameters(&self, question: &Question) -> Option<serde_json::Value> {
        self.parameters_of(question)
    }

    fn is_settled(&self, session: &Session, question: &Question) -> bool {
        session.settled::<Q>(&question.key(&session.registry().scope)).is_some()
    }

    fn newest<'a>(
        &'a self,
        session: &'a Session,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Option<Arc<Trace>>> + Send + 'a>> {
        Box::pin(async move {
            let (entry, _) = self.traces.peek(&question.key(&session.registry().scope)).await?;
            entry.iter().next().cloned()
        })
    }

    fn rests_on(&self, session: &Session, question: &Question) -> Option<RestsOn> {
        self.settled_on(session, question)
    }
}

/// An error and its sources, for people.
pub(super) fn words(error: &dyn std::error::Error) -> Arc<str> {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    words.into()
}

impl<T: Value> Kind<T> {
    /// What is kept under `key`, from the nearest place that has it, whether it is stale or not. Counts neither a
    /// hit nor a miss, and waits where another caller looks in the tiers just now.
    pub(super) async fn peek(&self, key: &Key) -> Option<(Arc<Entry<T>>, Place)> {
        let shared = &self.larder.shared;
        if !shared.mode.reads() {
            return None;
        }
        loop {
            if let InMemory::Fresh(entry) | InMemory::Stale(entry) = self.in_memory(key) {
                return Some((entry, Place::Memory));
            }
            match shared.flights.board(key) {
                Seat::Lead(lead) => return self.in_tiers(key, lead.flight()).await,
                Seat::Follow(follow) => drop(follow.landed().await),
            }
        }
    }
}
