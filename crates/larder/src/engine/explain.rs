//! Explaining: what a session verified, reused and computed for an answer, gathered from what it settled.
//!
//! Walks over the queries with a list of its own, not by calls within calls, and meets each once.
//! Not here: how that is shown (`query`).

use std::collections::HashMap;
use std::sync::Arc;

use super::query::{Query, QueryError, Registered};
use super::session::{Need, Outcome, Session, Told};
use super::verify::words;
use crate::query::{
    Because, Difference, ExplainedOutcome, ExplainedQuery, Explanation, Fingerprint, Mismatch, Missed, Now,
    Observation, Observed, Question, Source, State, Why,
};

/// How many queries are explained.
const MAX_QUERIES: usize = 10_000;
/// How many observations of one query are listed.
const MAX_OBSERVATIONS: usize = 1_000;

impl Session {
    /// Asks a query and tells why it is answered as it is: what of all that it is built on was verified, what was
    /// computed, and which observations differ from before. That a computation fails is part of the explanation.
    ///
    /// Costs little beside asking. At most 10,000 queries are explained, those nearest to what was asked.
    pub async fn explain<Q: Query>(&self, query: Q) -> Result<Explanation, QueryError<Q::Error>> {
        let asked = self.asked(query)?;
        self.since().await;
        // A failure is told by the explanation.
        let _ = self.settle(&asked, Need::Digest).await;
        let mut met = Met::default();
        met.place(&asked.question);
        let mut queries = Vec::new();
        while let Some(question) = met.questions.get(queries.len()).cloned() {
            queries.push(self.explained(&question, &mut met));
        }
        Ok(Explanation { version: Explanation::VERSION, queries, left_out: met.left_out.len() })
    }

    fn explained(&self, question: &Question, met: &mut Met) -> ExplainedQuery {
        let kind = self.registry().verifiable(question.kind());
        let told = kind.and_then(|kind| kind.told(self, question));
        let outcome = match &told {
            None => ExplainedOutcome::Unknown,
            Some(Told { error: Some(error), why, .. }) => {
                let because = why.as_deref().and_then(|why| because(why, met));
                ExplainedOutcome::Failed { error: error.to_string(), because }
            }
            Some(Told { why, .. }) => match why.as_deref() {
                Some(Why::Unchanged) => ExplainedOutcome::Unchanged,
                Some(Why::Held { trace }) => ExplainedOutcome::Verified { trace: *trace },
                Some(why) => because(why, met).map_or(ExplainedOutcome::Unknown, ExplainedOutcome::Computed),
                None => ExplainedOutcome::Unknown,
            },
        };
        let observations: &[Observation] = told.as_ref().map_or(&[], |told| &told.observations);
        let listed = observations.iter().take(MAX_OBSERVATIONS).map(|seen| &seen.source);
        let failed = told.as_ref().and_then(|told| told.failed.as_ref());
        ExplainedQuery {
            kind: question.kind().to_string(),
            id: question.id().to_string(),
            parameters: kind.and_then(|kind| kind.parameters(question)),
            outcome,
            not_kept: told.as_ref().and_then(|told| told.not_kept.clone()),
            observed: listed.chain(failed).map(|source| observed(source, met)).collect(),
            observations_left_out: observations.len().saturating_sub(MAX_OBSERVATIONS),
        }
    }
}

/// The queries that were met, in order.
#[derive(Default)]
struct Met {
    questions: Vec<Question>,
    places: HashMap<Question, usize>,
    left_out: std::collections::HashSet<Question>,
}

impl Met {
    fn place(&mut self, question: &Question) -> Option<usize> {
        if let Some(&place) = self.places.get(question) {
            return Some(place);
        }
        let place = self.questions.len();
        if place == MAX_QUERIES {
            self.left_out.insert(question.clone());
            return None;
        }
        self.questions.push(question.clone());
        self.places.insert(question.clone(), place);
        Some(place)
    }
}

fn because(why: &Why, met: &mut Met) -> Option<Because> {
    let Why::Computed(missed) = why else { return None };
    Some(match missed {
        Missed::NothingKept => Because::NothingKept,
        Missed::ValueGone => Because::ValueGone,
        Missed::Expired => Because::Expired,
        Missed::Differs(mismatches) => {
            Because::Differs(mismatches.iter().map(|mismatch| difference(mismatch, met)).collect())
        }
    })
}

fn difference(mismatch: &Mismatch, met: &mut Met) -> Difference {
    let secret = matches!(mismatch.source, Source::Variable(_));
    let state = |fingerprint: &Fingerprint| match fingerprint {
        Fingerprint::Absent => State::Absent,
        Fingerprint::Is(_) if secret => State::Is(None),
        Fingerprint::Is(digest) => State::Is(Some(digest.to_string())),
    };
    let is = match &mismatch.is {
        Now::Is(fingerprint) => state(fingerprint),
        other => State::Not(other.to_string()),
    };
    Difference { of: observed(&mismatch.source, met), was: state(&mismatch.was), is }
}

fn observed(source: &Source, met: &mut Met) -> Observed {
    match source {
        Source::File(path) => Observed::File(path.to_string()),
        Source::Listing(path) => Observed::Listing(path.to_string()),
        Source::Glob(patterns) => Observed::Glob(patterns.iter().map(ToString::to_string).collect()),
        Source::Variable(name) => Observed::Variable(name.to_string()),
        Source::Tool(name) => Observed::Tool(name.to_string()),
        Source::Query(question) => match met.place(question) {
            Some(place) => Observed::Query(place),
            None => Observed::LeftOut(question.to_string()),
        },
    }
}

impl<Q: Query> Registered<Q> {
    /// What a session has settled about a query.
    pub(super) fn told_of(&self, session: &Session, question: &Question) -> Option<Told> {
        let key = question.key(&session.registry().scope);
        let outcome: Outcome<Q> = session.settled::<Q>(&key)?;
        Some(match outcome {
            Ok(settled) => Told {
                error: None,
                not_kept: settled.holds.as_ref().err().map(|why| why.to_string()),
                why: Some(settled.why),
                observations: settled.observations,
                failed: None,
            },
            Err(error) => {
                let text = match &error {
                    QueryError::Computation(error) => words(&**error),
                    error => words(error),
                };
                let failed = session.failed(&key);
                Told {
                    error: Some(text.to_string()),
                    not_kept: None,
                    why: failed.as_ref().map(|failed| Arc::new(Why::Computed(failed.missed.clone()))),
                    observations: failed
                        .as_ref()
                        .map(|failed| Arc::clone(&failed.observed))
                        .unwrap_or_default(),
                    failed: failed.and_then(|failed| failed.failed.clone()),
                }
            }
        })
    }

    /// The parameters of a query, if they have a form in JSON.
    pub(super) fn parameters_of(&self, question: &Question) -> Option<serde_json::Value> {
        let (query, []) = postcard::take_from_bytes::<Q>(question.params()).ok()? else { return None };
        serde_json::to_value(&query).ok()
    }
}
