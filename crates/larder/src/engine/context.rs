//! The context of a computation: through it a query asks others and looks at the outside, and it writes down what
//! was seen.
//!
//! Invariant: whatever a computation learned through its context is in the trace, or the answer is unsteady. An
//! observation stands behind those that it can depend on.
//! Not here: how sources are looked at (`observe`), what becomes of the trace (`derive`).

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::Entry;
use super::contents::Read;
use super::flight::Flight;
use super::observe::{Detail, Seen};
use super::outside::{LookError, Tool};
use super::query::{Query, QueryError};
use super::session::{Need, Outcome, Session, Settled};
use super::waits::computing;
use crate::clock::Instant;
use crate::query::{Fingerprint, Listed, Mismatch, Now, Observation, RootPath, Source, Unsteady};

/// What a query asks and looks at while it is computed. All of it is written down, in order: the answer holds
/// while all of it is unchanged.
///
/// What a computation learns in any other way, from a clock or a file that it opens itself, is not seen, and
/// makes kept answers wrong.
#[derive(Debug)]
pub struct Context {
    session: Session,
    flight: Arc<Flight>,
    recorded: Mutex<Recording>,
}

#[derive(Debug, Default)]
struct Recording {
    observations: Vec<Observation>,
    seen: HashMap<Source, Fingerprint>,
    unsteady: Option<Unsteady>,
    waiting: u32,
    waiting_since: Instant,
    waited: Duration,
}

/// What a computation observed.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) observations: Vec<Observation>,
    pub(super) unsteady: Option<Unsteady>,
    /// How long it did nothing but wait for other queries.
    pub(super) waited: Duration,
}

impl Context {
    pub(super) fn new(session: Session, flight: Arc<Flight>) -> Self {
        Self { session, flight, recorded: Mutex::default() }
    }

    /// The answer of another query. An error that this computation survives makes its answer one that is not kept.
    pub async fn get<Q: Query>(&self, query: Q) -> Result<Arc<Entry<Q::Output>>, QueryError<Q::Error>> {
        let asked = self.session.asked(query)?;
        let source = Source::Query(asked.question.clone());
        let waiting = Waiting::begin(self);
        let outcome = self.session.settle(&asked, Need::Value).await;
        drop(waiting);
        self.answered::<Q>(source, outcome, &mut false)
    }

    /// The answers of several queries of one kind, in order, computed in parallel where the runtime has threads.
    pub async fn get_all<Q: Query>(
        &self,
        queries: impl IntoIterator<Item = Q>,
    ) -> Vec<Result<Arc<Entry<Q::Output>>, QueryError<Q::Error>>> {
        let asked: Vec<_> = queries.into_iter().map(|query| self.session.asked(query)).collect();
        let mut outcomes: Vec<Option<Outcome<Q>>> = asked.iter().map(|_| None).collect();
        let mut running = JoinSet::new();
        let waiting = Waiting::begin(self);
        for (at, asked) in asked.iter().enumerate() {
            let Ok(asked) = asked.clone() else { continue };
            let beside = loop {
                match self.session.beside(running.len()) {
                    Some(beside) => break beside,
                    None => finished::<Q>(&mut running, &mut outcomes).await,
                }
            };
            let (session, flight) = (self.session.clone(), Arc::clone(&self.flight));
            running.spawn(computing(flight, async move {
                let outcome = session.settle(&asked, Need::Value).await;
                drop(beside);
                (at, outcome)
            }));
        }
        while !running.is_empty() {
            finished::<Q>(&mut running, &mut outcomes).await;
        }
        drop(waiting);
        let mut together = false;
        let answers = asked.into_iter().zip(outcomes).map(|(asked, outcome)| {
            let source = Source::Query(asked?.question.clone());
            self.answered::<Q>(source, outcome.expect("all that were asked have finished"), &mut together)
        });
        answers.collect()
    }

    /// A file's content; `None` if there is no such file. The path is one below a root, as [`Outside`] tells.
    ///
    /// [`Outside`]: super::Outside
    pub async fn read(&self, path: impl AsRef<Path>) -> Result<Option<Arc<[u8]>>, LookError> {
        let path = RootPath::new(path)?;
        let read = self.session.view().read(&path).await;
        self.content(Source::File(path), read)
    }

    /// The names in a directory, sorted; `None` if there is no such directory.
    pub async fn list(&self, path: impl AsRef<Path>) -> Result<Option<Arc<[Listed]>>, LookError> {
        let path = RootPath::new(path)?;
        let read = self.session.view().list(&path).await;
        self.content(Source::Listing(path), read)
    }

    /// The files that patterns select, sorted; see [`FileSet`](crate::source::FileSet) for the patterns. All of them
    /// are below one root: below one with a name, each begins with `/@NAME/`, as the paths that are found do.
    /// Observed are the paths alone: whoever wants to know what is in the files reads them, or asks queries that do.
    pub async fn glob<P: Into<Box<str>>>(
        &self,
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Arc<[RootPath]>, LookError> {
        let patterns = patterns.into_iter().map(Into::into).collect();
        let seen = self.see(Source::Glob(patterns)).await?;
        Ok(match &seen.detail {
            Detail::Paths(selected) => Arc::clone(selected.paths()),
            _ => Arc::default(),
        })
    }

    /// The value of an environment variable of the session; `None` if it is not set.
    pub fn env(&self, name: &str) -> Option<OsString> {
        let value = self.session.view().variable(name).map(ToOwned::to_owned);
        let fingerprint = Fingerprint::of_variable(name, value.as_deref());
        self.observed(Source::Variable(name.into()), fingerprint);
        value
    }

    /// The program that a name stands for: a path below the root if there is a slash in it, else the first in the
    /// directories of the session's `PATH`. `None` if there is none. Observed is its content, not where it is.
    pub async fn tool(&self, name: &str) -> Result<Option<Arc<Tool>>, LookError> {
        if name.contains('/') {
            RootPath::new(name)?;
        }
        let seen = self.see(Source::Tool(name.into())).await?;
        Ok(match &seen.detail {
            Detail::Tool(tool) => Some(Arc::clone(tool)),
            _ => None,
        })
    }

    /// Ends the computation.
    pub(super) fn finish(self) -> Recorded {
        let Recording { observations, unsteady, waited, .. } = self.recorded.into_inner();
        Recorded { observations, unsteady, waited }
    }

    async fn see(&self, source: Source) -> Result<Arc<Seen>, LookError> {
        let seen = self.looked(&source, self.session.view().see(&source).await)?;
        self.observed(source, seen.fingerprint);
        Ok(seen)
    }

    fn content<T: ?Sized>(
        &self,
        source: Source,
        read: Result<Read<T>, LookError>,
    ) -> Result<Option<Arc<T>>, LookError> {
        let Read { seen, fingerprint, content } = self.looked(&source, read)?;
        if fingerprint != seen {
            let (source, is) = (source.clone(), Now::Is(fingerprint));
            self.unsteady(Unsteady::Changed(Mismatch { source, was: seen, is }));
        }
        self.observed(source, fingerprint);
        Ok(content)
    }

    fn looked<T>(&self, source: &Source, outcome: Result<T, LookError>) -> Result<T, LookError> {
        if outcome.is_err() {
            self.unsteady(Unsteady::Failed(source.clone()));
        }
        outcome
    }

    fn answered<Q: Query>(
        &self,
        source: Source,
        outcome: Outcome<Q>,
        together: &mut bool,
    ) -> Result<Arc<Entry<Q::Output>>, QueryError<Q::Error>> {
        match outcome {
            Ok(Settled { holds, answer, .. }) => {
                match holds {
                    Ok(digest) => *together |= self.note(source, Fingerprint::Is(digest), *together),
                    Err(_) => self.unsteady(Unsteady::BuiltOn(source)),
                }
                Ok(answer.expect("a value was needed").entry)
            }
            Err(error) => {
                self.unsteady(Unsteady::Failed(source));
                Err(error)
            }
        }
    }

    fn observed(&self, source: Source, fingerprint: Fingerprint) {
        self.note(source, fingerprint, false);
    }

    /// Writes down what was seen, and whether it was asked for together with what stands before. Returns whether it
    /// was seen for the first time.
    fn note(&self, source: Source, fingerprint: Fingerprint, together: bool) -> bool {
        let recorded = &mut *self.recorded.lock();
        match recorded.seen.entry(source.clone()) {
            Slot::Vacant(slot) => {
                slot.insert(fingerprint);
                recorded.observations.push(Observation { source, fingerprint, together });
                return true;
            }
            // Two states of one source, as when a query was invalidated and settled anew in between.
            Slot::Occupied(slot) if *slot.get() != fingerprint => {
                let (was, is) = (*slot.get(), Now::Is(fingerprint));
                recorded.unsteady.get_or_insert(Unsteady::Changed(Mismatch { source, was, is }));
            }
            Slot::Occupied(_) => {}
        }
        false
    }

    fn unsteady(&self, why: Unsteady) {
        self.recorded.lock().unsteady.get_or_insert(why);
    }
}

/// Waits for one query of several.
async fn finished<Q: Query>(running: &mut JoinSet<(usize, Outcome<Q>)>, outcomes: &mut [Option<Outcome<Q>>]) {
    match running.join_next().await {
        None => {}
        Some(Ok((at, outcome))) => outcomes[at] = Some(outcome),
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => panic!("the runtime was shut down while an answer was computed"),
        },
    }
}

/// Measures how long a computation does nothing but wait, so that its cost is its own.
struct Waiting<'a>(&'a Context);

impl<'a> Waiting<'a> {
    fn begin(cx: &'a Context) -> Self {
        let mut recorded = cx.recorded.lock();
        if recorded.waiting == 0 {
            recorded.waiting_since = cx.session.larder().clock().now();
        }
        recorded.waiting += 1;
        drop(recorded);
        Self(cx)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut recorded = self.0.recorded.lock();
        recorded.waiting -= 1;
        if recorded.waiting == 0 {
            let since = recorded.waiting_since;
            recorded.waited += self.0.session.larder().clock().now().since(since);
        }
    }
}
