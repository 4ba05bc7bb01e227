//! Verifying: whether what a kept answer was built on is unchanged.
//!
//! Walks a trace in the order of its observations and stops at the first that differs, so that nothing is asked
//! that computing now would not ask. A query in the trace is verified in turn, and computed if it must be: if its
//! value is the same as before, the walk goes on (early cutoff). Its value itself is not needed for that.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::flight::Seat;
use super::ground::RestsOn;
use super::lookup::{InMemory, Watch};
use super::query::{Expiry, Query, QueryError, Registered};
use super::refresh::Refreshing;
use super::session::{Asked, Need, Purpose, Session, Settled, Told, Verifiable};
use super::waits::{computing, current};
use super::{Answer, Entry, Freshness, Kind, Value};
use crate::key::{Digest, Key};
use crate::query::{Fingerprint, Mismatch, Missed, Now, Observation, Question, Source, Trace, Traces, Why};
use crate::stats::Place;

/// How many sources are looked at, or queries prepared, ahead of the walk at first.
const MIN_AHEAD: usize = 16;
/// And how many at most.
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

/// A kept answer that holds.
pub(super) struct Verified {
    pub(super) value: Digest,
    pub(super) why: Arc<Why>,
    pub(super) observations: Arc<[Observation]>,
    pub(super) freshness: Freshness,
}

impl Verified {
    pub(super) fn without_value<T>(self) -> Settled<T> {
        let Self { value, why, observations, freshness } = self;
        Settled { holds: Ok(value), answer: None, why, observations, freshness }
    }
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
        let (mut mismatches, mut expired) = (Vec::new(), false);
        for (nth, trace) in entry.iter().enumerate() {
            let Some(own) = self.freshness_of::<Q>(trace) else {
                expired = true;
                continue;
            };
            let Some(mismatch) = self.first_mismatch(trace).await else {
                let why = Arc::new(Why::Held { trace: nth });
                let (value, observations) = (trace.value, Arc::clone(&trace.observations));
                let freshness = self.freshness_on(&observations, own);
                let verified = Verified { value, why, observations, freshness };
                let settled = match need {
                    Need::Digest => verified.without_value(),
                    Need::Value | Need::Asked => self.with_value(asked, verified).await?,
                };
                // What it is built on is refreshed by itself.
                if own == Freshness::Stale {
                    traces.stale(place, &asked.key, watch);
                    self.refresh_behind(&asked.question);
                } else {
                    traces.hit(place, &asked.key, &entry, watch);
                }
                return Ok(settled);
            };
            mismatches.push(mismatch);
        }
        let missed = match mismatches.is_empty() {
            true if expired => Missed::Expired,
            true => Missed::NothingKept,
            false => Missed::Differs(mismatches),
        };
        Err(Miss { missed, traces: Some(entry), watch })
    }

    /// Whether a trace is as good as new, going by its age; `None` if it is too old.
    fn freshness_of<Q: Query>(&self, trace: &Trace) -> Option<Freshness> {
        let Some(Expiry { fresh, stale }) = Q::EXPIRY else { return Some(Freshness::Fresh) };
        let now = self.larder().clock().wall();
        // After a step back of the clock its age is not known.
        let age = if trace.at <= now { now.since(trace.at) } else { return None };
        match age {
            _ if age < fresh => Some(Freshness::Fresh),
            _ if age < stale && self.purpose() == Purpose::Asking => Some(Freshness::Stale),
            _ => None,
        }
    }

    /// Has a query computed anew, in a view of its own, unless that is under way.
    fn refresh_behind(&self, question: &Question) {
        let (registry, larder) = (self.registry(), self.larder());
        let key = question.key(&registry.scope);
        let Some(kind) = registry.verifiable(question.kind()) else { return };
        let Some(refreshing) = Refreshing::begin(larder, &key) else { return };
        let outside = self.view().outside().clone();
        let session = Session::new(Arc::clone(registry), outside, Purpose::Refreshing);
        let refresh = Arc::clone(kind).refresh(session, question.clone());
        tokio::spawn(async move {
            refresh.await;
            drop(refreshing);
        });
    }

    /// A kept answer that was verified, with its value.
    pub(super) async fn with_value<Q: Query>(
        &self,
        asked: &Asked<Q>,
        verified: Verified,
    ) -> Result<Settled<Q::Output>, Miss> {
        let (values, watch) = (&asked.kind.values, asked.kind.traces.watch());
        match values.peek(&values.key_of_digest(verified.value)).await {
            Some((entry, place)) => {
                let freshness = verified.freshness;
                let answer = Some(Answer { freshness, ..values.answer(entry, place) });
                Ok(Settled { answer, ..verified.without_value() })
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
        let (view, observations) = (self.view(), &trace.observations);
        if view.are_right(observations).await || view.are_right_at_first(observations, 0).await {
            return None;
        }
        let mismatch = Box::pin(self.walk(trace)).await;
        if mismatch.is_none() {
            view.note_right(observations).await;
        }
        mismatch
    }

    async fn walk(&self, trace: &Trace) -> Option<Mismatch> {
        // What is to come is prepared a growing way ahead, as what differs often differs early. Preparing asks no query.
        let (mut prepared, mut ahead) = (0, MIN_AHEAD);
        let mut together: HashMap<usize, Now> = HashMap::new();
        // What stands for the sources from there on.
        let (mut looked_from, mut looked) = (0, Vec::new());
        for (at, seen) in trace.observations.iter().enumerate() {
            if at >= prepared {
                let rest = &trace.observations[at..];
                let is_query = |seen: &Observation| matches!(seen.source, Source::Query(_));
                let alike = rest.iter().take(ahead).take_while(|next| is_query(next) == is_query(seen));
                let alike: Vec<&Source> = alike.map(|seen| &seen.source).collect();
                (prepared, ahead) = (at + alike.len(), (ahead * 8).min(MAX_AHEAD));
                match alike.len() {
                    0 | 1 => {}
                    _ if is_query(seen) => Box::pin(self.prepare(&alike)).await,
                    _ => (looked_from, looked) = (at, Box::pin(self.view().look_ahead(&alike)).await),
                }
            }
            let now = match &seen.source {
                Source::Query(question) => match together.remove(&at) {
                    Some(now) => now,
                    None => {
                        let group = group_from(&trace.observations, at);
                        match group.len() {
                            0 | 1 => self.answers_now(question).await,
                            _ => {
                                together = self.answer_now(at, group).await;
                                together
                                    .remove(&at)
                                    .expect("it is the first of those that were asked together")
                            }
                        }
                    }
                },
                outside => match looked.get(at - looked_from).copied().flatten() {
                    Some(known) => Now::Is(known),
                    None => match self.view().fingerprint(outside).await {
                        Ok(now) => Now::Is(now),
                        Err(error) => Now::Failed(words(&error)),
                    },
                },
            };
            if now != Now::Is(seen.fingerprint) {
                return Some(Mismatch { source: seen.source.clone(), was: seen.fingerprint, is: now });
            }
        }
        None
    }

    async fn answers_now(&self, question: &Question) -> Now {
        match self.registry().verifiable(question.kind()) {
            Some(kind) => kind.now(self, question).await,
            None => Now::Unregistered,
        }
    }

    /// What queries answer now that a computation asks for together, whatever one of them answers: by their places
    /// in the trace, of which the first is `from`.
    async fn answer_now(&self, from: usize, group: &[Observation]) -> HashMap<usize, Now> {
        let mut running = JoinSet::new();
        let mut answers = HashMap::with_capacity(group.len());
        let current = current();
        for (nth, seen) in group.iter().enumerate() {
            let Source::Query(question) = &seen.source else { continue };
            let beside = loop {
                match self.beside(running.len()) {
                    Some(beside) => break beside,
                    None => answers.extend(joined(&mut running).await),
                }
            };
            let (session, question) = (self.clone(), question.clone());
            let answer = async move {
                let answer = session.answers_now(&question).await;
                drop(beside);
                (from + nth, answer)
            };
            match &current {
                Some(flight) => running.spawn(computing(Arc::clone(flight), answer)),
                None => running.spawn(answer),
            };
        }
        while !running.is_empty() {
            answers.extend(joined(&mut running).await);
        }
        answers
    }
}

/// The query at a place of a trace and those after it that were asked for together with it.
fn group_from(observations: &[Observation], at: usize) -> &[Observation] {
    let more = observations[at + 1..].iter();
    let more = more.take_while(|seen| seen.together && matches!(seen.source, Source::Query(_))).count();
    &observations[at..=at + more]
}

/// Waits for one of several answers. A panic in it comes through.
async fn joined(running: &mut JoinSet<(usize, Now)>) -> Option<(usize, Now)> {
    match running.join_next().await? {
        Ok(answer) => Some(answer),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => panic!("the runtime was shut down while an answer was verified"),
        },
    }
}

impl<Q: Query> Registered<Q> {
    async fn answer_of(&self, session: &Session, question: &Question) -> Now {
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
        Box::pin(self.answer_of(session, question))
    }

    fn told(&self, session: &Session, question: &Question) -> Option<Told> {
        self.told_of(session, question)
    }

    fn parameters(&self, question: &Question) -> Option<serde_json::Value> {
        self.parameters_of(question)
    }

    fn expires(&self) -> bool {
        Q::EXPIRY.is_some()
    }

    fn refresh(
        self: Arc<Self>,
        session: Session,
        question: Question,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let Ok((query, [])) = postcard::take_from_bytes::<Q>(question.params()) else { return };
            if let Err(error) = session.get(query).await {
                tracing::warn!(query = %question, error = &error as &dyn std::error::Error, "refresh failed");
            }
        })
    }

    fn is_settled(&self, session: &Session, question: &Question) -> bool {
        session.settled::<Q>(&question.key(&session.registry().scope)).is_some()
    }

    fn is_stale(&self, session: &Session, question: &Question) -> bool {
        let settled = session.settled::<Q>(&question.key(&session.registry().scope));
        settled.is_some_and(|settled| settled.is_ok_and(|settled| settled.freshness == Freshness::Stale))
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
