//! Why an answer was given or computed anew, as data.
//!
//! Not here: how that is shown.

use std::fmt;
use std::sync::Arc;

use super::{Fingerprint, Source};

/// Why an answer is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// All that one of the kept traces observed is unchanged.
    Held {
        /// Which trace: 0 is the newest.
        trace: usize,
    },
    /// All that lies outside and that it rests on in the end, through other queries too, is unchanged, so that those
    /// need not be asked.
    Unchanged,
    /// It was computed, as nothing that is kept held.
    Computed(Missed),
}

/// Why nothing that is kept held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missed {
    /// Nothing is kept for this query.
    NothingKept,
    /// For each kept trace, newest first, the first observation that differs.
    Differs(Vec<Mismatch>),
    /// A trace held, but the value that it names is not kept any more.
    ValueGone,
    /// What is kept is older than the query allows.
    Expired,
}

/// An observation that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Of what.
    pub source: Source,
    /// What was seen then.
    pub was: Fingerprint,
    /// What is seen now.
    pub is: Now,
}

/// What is seen of a source now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Now {
    /// Its fingerprint.
    Is(Fingerprint),
    /// It can't be looked at, or the query fails, in its words.
    Failed(Arc<str>),
    /// The query has an answer that nothing may be built on.
    Unsteady(Arc<Unsteady>),
    /// It is a query of a kind that is not registered.
    Unregistered,
    /// It is a query whose parameters don't read back.
    Unreadable,
}

/// Why an answer is returned and not kept, and nothing that is built on it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsteady {
    /// A source changed while the answer was computed.
    Changed(Mismatch),
    /// A source could not be looked at, or the query that was asked failed: the computation did without, and what
    /// it saw has no fingerprint.
    Failed(Source),
    /// It is built on a query's answer that is itself unsteady.
    BuiltOn(Source),
    /// The value can't be encoded, so it has no digest.
    Unencodable(String),
}

impl Unsteady {
    /// The source that could not be looked at, or the query that failed, if that is why.
    pub(crate) fn failed(self) -> Option<Source> {
        match self {
            Self::Failed(source) => Some(source),
            Self::Changed(_) | Self::BuiltOn(_) | Self::Unencodable(_) => None,
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was {} and is {}", self.source, self.was, self.is)
    }
}

impl fmt::Display for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(fingerprint) => fingerprint.fmt(f),
            Self::Failed(why) => write!(f, "out of reach: {why}"),
            Self::Unsteady(why) => write!(f, "unsteady: {why}"),
            Self::Unregistered => f.write_str("of a kind that is not registered"),
            Self::Unreadable => f.write_str("not readable"),
        }
    }
}

impl fmt::Display for Unsteady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(mismatch) => write!(f, "while it was computed, {mismatch}"),
            Self::Failed(source) => write!(f, "{source} was out of reach"),
            Self::BuiltOn(source) => write!(f, "it is built on {source}, which is not kept"),
            Self::Unencodable(why) => write!(f, "it can't be encoded: {why}"),
        }
    }
}
