//! Queries: computations whose answers hold while what they observed is unchanged, and which of them there are.
//!
//! Invariant: within one [`Queries`] a kind's name and version belong to one type.
//! Not here: asking (`session`), observing (`context`), computing and keeping (`derive`).

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::Circle;
use super::derive::UnderWay;
use super::glob::KeptSnapshot;
use super::outside::Outside;
use super::session::{Purpose, Session, Verifiable};
use super::{Context, Kind, KindOptions, Larder, Value};
use crate::key::{Canonical, CanonicalError, Floats, Key, KeyError, KindName, Scope};
use crate::query::{Ground, Question, Source, Traces};

/// A computation whose answer is a function of its parameters and of what it observes through its [`Context`].
///
/// The type is the parameters. Two that serialize to the same canonical form are the same query, and ask for the
/// same answer; floats count bit by bit. Parameters name things by what is the same on every machine: no absolute
/// path, no time.
///
/// The answer is kept for as long as everything that was observed is unchanged. Whatever else decides it, such as
/// a library's version, belongs into `VERSION`. Two answers are the same if their postcard encodings are: an
/// `Output` with a `HashMap` in it is encoded in another order each time, and so never the same; take a `BTreeMap`.
///
/// ```
/// use larder::engine::{Context, LookError, Query};
///
/// /// How many lines a file below the root has.
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Lines {
///     file: String,
/// }
///
/// impl Query for Lines {
///     type Output = usize;
///     type Error = LookError;
///     const KIND: &'static str = "lines";
///     const VERSION: u32 = 1;
///
///     async fn compute(&self, cx: &Context) -> Result<usize, LookError> {
///         let content = cx.read(&self.file).await?;
///         Ok(content.map_or(0, |content| content.split(|&byte| byte == b'\n').count()))
///     }
/// }
/// ```
pub trait Query: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What it answers.
    type Output: Value;
    /// How it fails. Failures are not kept.
    type Error: std::error::Error + Send + Sync + 'static;
    /// Name of its kind: 1 to 57 of `a-z A-Z 0-9 . _ -`.
    const KIND: &'static str;
    /// Version of the computation and of the form of its parameters and its output. A bump makes old answers
    /// unreachable.
    const VERSION: u32;

    /// For how long an answer may be given at all. `None`: for as long as what was observed is unchanged, which is
    /// right for everything that a computation sees through its context.
    const EXPIRY: Option<Expiry> = None;
    /// Whether an answer that other queries ask for is kept with all that lies outside and that it rests on, as one
    /// asked for in a session always is. Verifying it is then one look-up, however many queries are below: worth it
    /// for what stands above many, and a waste for all else.
    const GROUNDED: bool = false;
    /// How many bytes of memory an answer takes, where that is not near the length of its encoded form.
    const WEIGH: Option<fn(&Self::Output) -> u64> = None;
    /// How long a computation may take, with what it waits for; above that it is cancelled, which is an error. The
    /// runtime has to have its clock enabled.
    const TIME_LIMIT: Option<Duration> = None;

    /// Computes the answer. Runs in a task of its own, which is cancelled when nobody waits for it any more. What
    /// takes long without awaiting belongs on a blocking pool.
    fn compute(&self, cx: &Context) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send;
}

/// For how long an answer may be given although nothing that was observed has changed: for queries that learn
/// something in ways that can't be observed, from a machine or a network.
///
/// An answer that is built on one that is given once more while it is refreshed is marked as stale too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// How long after it was computed it is as good as new.
    pub fresh: Duration,
    /// How long after it was computed it may be given once more, while it is computed anew behind the caller's back.
    pub stale: Duration,
}

/// Asking a query failed.
#[derive(thiserror::Error)]
pub enum QueryError<E> {
    /// The computation failed; all who ask within the session get the same error.
    #[error("computation failed")]
    Computation(#[source] Arc<E>),
    /// The computation asked, perhaps through others, for its own answer. The path begins and ends with the query
    /// that closed the circle.
    #[error("computation waits for itself: {}", Circle(.0))]
    Cycle(Vec<Key>),
    /// Its kind is not among those that the session knows.
    #[error("query kind {0} is not registered")]
    Unregistered(&'static str),
    /// The computation took longer than it may.
    #[error("computation took longer than {0:?}")]
    TimedOut(Duration),
    /// Its parameters have no canonical form.
    #[error("query parameters have no canonical form")]
    Params(#[from] CanonicalError),
}

impl<E: fmt::Debug> fmt::Debug for QueryError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Computation(error) => f.debug_tuple("Computation").field(error).finish(),
            Self::Cycle(keys) => f.debug_tuple("Cycle").field(keys).finish(),
            Self::Unregistered(kind) => f.debug_tuple("Unregistered").field(kind).finish(),
            Self::TimedOut(limit) => f.debug_tuple("TimedOut").field(limit).finish(),
            Self::Params(error) => f.debug_tuple("Params").field(error).finish(),
        }
    }
}

impl<E> Clone for QueryError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Computation(error) => Self::Computation(Arc::clone(error)),
            Self::Cycle(keys) => Self::Cycle(keys.clone()),
            Self::Unregistered(kind) => Self::Unregistered(kind),
            Self::TimedOut(limit) => Self::TimedOut(*limit),
            Self::Params(error) => Self::Params(error.clone()),
        }
    }
}

/// A kind of query can't be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Its name is not well formed.
    #[error("query kind has no good name")]
    Name(#[from] KeyError),
    /// Another type has the same name and version.
    #[error("query kind {0} is registered twice, with two types")]
    Taken(KindName),
}

/// The kinds of queries of a scope. Make it once for a process; a clone is another handle to the same.
///
/// A kept answer is verified by asking for what it was built on, in another process too. So all kinds that an
/// answer may be built on are registered, not only those that are asked for directly.
#[derive(Clone)]
pub struct Queries {
    registry: Arc<Registry>,
}

#[derive(Clone)]
pub(super) struct Registry {
    pub(super) larder: Larder,
    pub(super) scope: Scope,
    pub(super) snapshots: Kind<KeptSnapshot>,
    pub(super) grounds: Kind<Ground>,
    by_type: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    by_name: HashMap<KindName, (TypeId, Arc<dyn Verifiable>)>,
    /// What sessions compute now, so that one waits for another and then verifies what that kept.
    pub(super) under_way: UnderWay,
}

/// One kind of query: where its traces and its values are kept.
pub(super) struct Registered<Q: Query> {
    pub(super) name: KindName,
    pub(super) traces: Kind<Traces>,
    pub(super) values: Kind<Q::Output>,
}

impl Queries {
    /// No kinds yet.
    pub fn new(larder: &Larder, scope: &Scope) -> Self {
        let snapshots = larder.kind(scope, "query.glob", 1, KindOptions::default());
        let grounds = larder.kind(scope, "query.ground", 1, KindOptions::default());
        Self {
            registry: Arc::new(Registry {
                larder: larder.clone(),
                scope: scope.clone(),
                snapshots: snapshots.expect("the name is well formed"),
                grounds: grounds.expect("the name is well formed"),
                by_type: HashMap::new(),
                by_name: HashMap::new(),
                under_way: Arc::default(),
            }),
        }
    }

    /// Adds a kind; one that is there already changes nothing.
    pub fn with<Q: Query>(mut self) -> Result<Self, RegisterError> {
        let name = KindName::new(Q::KIND, Q::VERSION)?;
        let id = TypeId::of::<Q>();
        match self.registry.by_name.get(&name) {
            Some((known, _)) if *known == id => return Ok(self),
            Some(_) => return Err(RegisterError::Taken(name)),
            None => {}
        }
        let Registry { larder, scope, .. } = &*self.registry;
        let registered = Arc::new(Registered::<Q> {
            traces: larder.kind(scope, Q::KIND, Q::VERSION, KindOptions::default())?,
            values: larder.kind(
                scope,
                &format!("{}.value", Q::KIND),
                Q::VERSION,
                KindOptions { weigh: Q::WEIGH, ..KindOptions::default() },
            )?,
            name: name.clone(),
        });
        let registry = Arc::make_mut(&mut self.registry);
        registry.by_type.insert(id, Arc::clone(&registered) as Arc<dyn Any + Send + Sync>);
        registry.by_name.insert(name, (id, registered));
        Ok(self)
    }

    /// Begins a session: one consistent view of `outside`.
    pub fn session(&self, outside: Outside) -> Session {
        Session::new(Arc::clone(&self.registry), outside, Purpose::Asking)
    }

    /// A query as a source of others, for asking who observed it.
    pub fn source_of<Q: Query>(&self, query: &Q) -> Result<Source, QueryError<Q::Error>> {
        let registered = self.registry.registered::<Q>().ok_or(QueryError::Unregistered(Q::KIND))?;
        Ok(Source::Query(registered.question(query)?))
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What a query's answer is filed under, for selectors.
    pub fn key_of<Q: Query>(&self, query: &Q) -> Result<Key, QueryError<Q::Error>> {
        let registered = self.registry.registered::<Q>().ok_or(QueryError::Unregistered(Q::KIND))?;
        Ok(registered.question(query)?.key(&self.registry.scope))
    }
}

impl Registry {
    pub(super) fn registered<Q: Query>(&self) -> Option<Arc<Registered<Q>>> {
        let registered = Arc::clone(self.by_type.get(&TypeId::of::<Q>())?);
        Some(registered.downcast().expect("it is filed under its type"))
    }

    pub(super) fn verifiable(&self, name: &KindName) -> Option<&Arc<dyn Verifiable>> {
        self.by_name.get(name).map(|(_, registered)| registered)
    }
}

impl<Q: Query> Registered<Q> {
    /// The query in the form that outlives the process.
    pub(super) fn question(&self, query: &Q) -> Result<Question, CanonicalError> {
        let id = Canonical::new().with_floats(Floats::ByBits).digest(query)?;
        let params = postcard::to_stdvec(query).map_err(|error| CanonicalError::Value(error.to_string()))?;
        Ok(Question::new(self.name.clone(), id, params))
    }
}

impl fmt::Debug for Queries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&KindName> = self.registry.by_name.keys().collect();
        names.sort_unstable();
        f.debug_struct("Queries").field("scope", &self.registry.scope).field("kinds", &names).finish()
    }
}
