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

impl Source {
    /// How many sources the traces of one query have tags for; those of one that observed more have the one tag
    /// [`observes_much`].
    pub(crate) const MAX_TAGS: usize = 4096;

    /// The tag that the traces of whoever observed this carry: the first 64 bits of a digest, for finding them.
    pub fn tag(&self) -> String {
        let parts = |sort: &str, parts: &[&[u8]]| tag(sort, parts);
        match self {
            Self::File(path) => parts("file", &[path.as_bytes()]),
            Self::Listing(path) => parts("listing", &[path.as_bytes()]),
            Self::Glob(patterns) => {
                let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
                parts("glob", &patterns)
            }
            Self::Variable(name) => parts("variable", &[name.as_bytes()]),
            Self::Tool(name) => parts("tool", &[name.as_bytes()]),
            Self::Query(question) => tag_of_query(&question.kind, &question.id.to_string()),
        }
    }
}

/// The tag of those who observed the query that is filed under `key`.
pub(crate) fn tag_of_key(key: &Key) -> String {
    tag_of_query(key.kind(), key.id())
}

/// The tag of traces that observed more than is told by tags.
pub(crate) fn observes_much() -> String {
    "on *".to_owned()
}

fn tag_of_query(kind: &KindName, id: &str) -> String {
    tag("query", &[kind.to_string().as_bytes(), id.as_bytes()])
}

fn tag(sort: &str, parts: &[&[u8]]) -> String {
    let mut said = b"larder source 1\n".to_vec();
    for part in [sort.as_bytes()].iter().chain(parts) {
        said.extend_from_slice(&(part.len() as u64).to_le_bytes());
        said.extend_from_slice(part);
    }
    format!("on {:.16}", Digest::of(&said))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_tag_and_a_query_that_of_its_key() {
        let path = |path: &str| RootPath::new(path).unwrap();
        let kind = KindName::new("words", 3).unwrap();
        let question = Question::new(kind, Digest::of(b"id"), *b"params");
        let sources = [
            Source::File(path("a")),
            Source::File(path("/@a")),
            Source::Listing(path("a")),
            Source::Glob(["a".into()].into()),
            Source::Glob(["a".into(), "b".into()].into()),
            Source::Glob(["ab".into()].into()),
            Source::Variable("a".into()),
            Source::Tool("a".into()),
            Source::Query(question.clone()),
        ];
        let tags: std::collections::HashSet<String> = sources.iter().map(Source::tag).collect();
        assert_eq!(tags.len(), sources.len());
        let key = question.key(&Scope::new("lab").unwrap());
        assert_eq!(tag_of_key(&key), Source::Query(question).tag());
        assert_eq!(sources[0].tag(), "on af93cb8e0fb6cc9b");
    }
}
