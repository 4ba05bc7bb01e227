//! Traces: under which observations a computation returned what.
//!
//! A computation is a function of what it observes. So where everything that a trace observed is unchanged,
//! computing now would return the value that the trace names; and since an observation can depend only on those
//! before it, a walk in order that stops at the first difference never asks for what computing now would not ask
//! for. (*Build Systems à la Carte*: constructive traces.)

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Fingerprint, Source};
use crate::clock::Timestamp;
use crate::key::{Digest, KindName};

/// How many traces of one query are kept.
pub const MAX_TRACES: usize = 8;

/// What a computation saw of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observation {
    /// What it looked at.
    pub(crate) source: Source,
    /// What it saw.
    pub(crate) fingerprint: Fingerprint,
    /// Whether it asked for it together with what stands before, whatever came of that.
    pub(crate) together: bool,
}

/// What one computation observed, in order, and the digest of what it returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Each source once, where it was first looked at.
    pub(crate) observations: Arc<[Observation]>,
    /// Digest of the value, encoded as it is kept.
    pub(crate) value: Digest,
    /// When it was computed.
    pub(crate) at: Timestamp,
}

/// What an answer rests on in the end: all that lies outside and was observed by the query or by one that it is built
/// on, through others too, and nothing else.
///
/// Computations are functions of what they observe, so while all of that is unchanged, each query below answers what
/// it answered, and this one does. Who the others were need not be known, but for what they would be computed by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ground {
    /// The observations, none of a query, and the digest of the answer.
    pub(crate) trace: Trace,
    /// The kinds of all queries below, sorted.
    pub(crate) kinds: Vec<KindName>,
    /// Each tier's epoch when the looking began.
    pub(crate) epochs: Vec<u64>,
    /// How many invalidations this process had seen when the looking began; zero if another process looked.
    pub(crate) generation: u64,
}

/// The traces of one query, newest first, at most [`MAX_TRACES`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Traces(VecDeque<Arc<Trace>>);

impl Traces {
    /// Puts a trace in front, in place of one with the same observations. The oldest leaves if there are too many.
    pub(crate) fn add(&mut self, trace: Trace) {
        self.0.retain(|known| known.observations != trace.observations);
        self.0.push_front(Arc::new(trace));
        self.0.truncate(MAX_TRACES);
    }

    /// The traces, newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Trace>> {
        self.0.iter()
    }

    /// Takes traces, newest first.
    pub(super) fn of(traces: impl Iterator<Item = Trace>) -> Self {
        Self(traces.take(MAX_TRACES).map(Arc::new).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(seen: u8, value: u8) -> Trace {
        let fingerprint = Fingerprint::Is(Digest::of(&[seen]));
        let observations =
            [Observation { source: Source::Variable("A".into()), fingerprint, together: false }];
        let at = Timestamp::default();
        Trace { observations: observations.into(), value: Digest::of(&[value]), at }
    }

    #[test]
    fn the_newest_traces_stay_and_the_same_observations_stand_once() {
        let mut traces = Traces::default();
        (0..MAX_TRACES as u8 + 2).for_each(|n| traces.add(trace(n, n)));
        traces.add(trace(5, 50));
        let kept: Vec<Trace> = traces.iter().map(|trace| (**trace).clone()).collect();
        let expected = [(5, 50), (9, 9), (8, 8), (7, 7), (6, 6), (4, 4), (3, 3), (2, 2)];
        assert_eq!(kept, expected.map(|(seen, value)| trace(seen, value)));
    }
}
