//! Sources: what a computation can observe.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::RootPath;
use crate::key::{Digest, Key, KindName, Scope};

/// Something that a computation can observe. Says which, and nothing about its state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A file's content.
    File(RootPath),
    /// The names in a directory.
    Listing(RootPath),
    /// Which files match patterns, not what is in them.
    Glob(Arc<[Box<str>]>),
    /// An environment variable.
    Variable(Arc<str>),
    /// The program that a name stands for, by its content.
    Tool(Arc<str>),
    /// Another query's answer.
    Query(Question),
}

/// For people: "file src/main.rs", "variable LANG".
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {path}"),
            Self::Listing(path) => write!(f, "listing of {path}"),
            Self::Glob(patterns) => write!(f, "files matching {}", patterns.join(" ")),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Tool(name) => write!(f, "tool {name}"),
            Self::Query(question) => write!(f, "query {question}"),
        }
    }
}

/// A query in a form that outlives the process: its kind, its parameters, and what they are filed under.
///
/// Equality goes by kind and id.
#[derive(Clone)]
pub struct Question {
    kind: KindName,
    id: Digest,
    params: Arc<[u8]>,
}

impl Question {
    /// `id` is the digest of the parameters' canonical form, `params` their postcard encoding, from which they
    /// can be read back.
    pub(crate) fn new(kind: KindName, id: Digest, params: impl Into<Arc<[u8]>>) -> Self {
        Self { kind, id, params: params.into() }
    }

    /// What is computed.
    pub fn kind(&self) -> &KindName {
        &self.kind
    }

    /// Digest of the parameters.
    pub fn id(&self) -> Digest {
        self.id
    }

    /// The parameters.
    pub(crate) fn params(&self) -> &[u8] {
        &self.params
    }

    /// What the answer is filed under.
    pub(crate) fn key(&self, scope: &Scope) -> Key {
        Key::of_digest(scope, &self.kind, self.id)
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.kind == other.kind
    }
}

impl Eq for Question {}

impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.id.table_hash());
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:.12}", self.kind, self.id)
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Question({self})")
    }
}
