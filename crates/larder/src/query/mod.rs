//! What is known about an answer that was derived from others and from the outside: what its computation observed,
//! and why it was given or computed anew.
//!
//! Pure: nothing here looks at a file, the environment or a clock, and nothing waits. A trace says under which
//! observations a computation returned what; comparing it with the present is `engine`'s.

mod explanation;
mod fingerprint;
mod path;
mod source;
mod stored;
mod trace;
mod why;

pub use explanation::{Because, Difference, ExplainedOutcome, ExplainedQuery, Explanation, Observed, State};
pub use fingerprint::{Fingerprint, Listed, ListedKind};
pub use path::{BadRootName, NotBelowRoot, RootPath};
pub(crate) use path::{joined, root_name, split as split_root};
pub use source::{Question, Source};
pub(crate) use source::{observes_much, tag_of_key};
pub use trace::MAX_TRACES;
pub(crate) use trace::{Ground, Observation, Trace, Traces};
pub use why::{Mismatch, Missed, Now, Unsteady, Why};
