//! The planner: playbooks asked about under one view of the files.
//!
//! Not here: what is asked (`query`), how answers are printed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder::engine::{Derived, Kind, KindOptions, Larder, Outside, Queries, RegisterError, Session};
use larder::key::{Key, Scope};
use larder::query::{ExplainedOutcome, ExplainedQuery, Explanation, Why};

use serde::Serialize;

use crate::compiled::CompiledPlay;
use crate::inventory::Source;
use crate::listing::ListedPlay;
use crate::plain::Plain;
use crate::plan::ExecutionPlan;
use crate::playbook::{INVENTORY, PLAYS};
use crate::problem::Problem;
use crate::query::{self, Compile, Listing, Options, PlanRequest, PlayList};

/// Knows the kinds of queries that plans are made of. Make it once for a process.
#[derive(Debug, Clone)]
pub struct Planner {
    queries: Queries,
    larder: Larder,
    /// What making each plan took at most, in nanoseconds: times are no part of a plan.
    made: Kind<u64>,
}

/// One consistent view of a project's files: each is looked at at most once. After a change, take another.
#[derive(Debug, Clone)]
pub struct View {
    session: Session,
    planner: Planner,
}

impl Planner {
    /// A planner whose answers are kept in `larder` under `scope`.
    pub fn new(larder: &Larder, scope: &Scope) -> Result<Self, RegisterError> {
        let made = larder.kind(scope, "ansible.made", 1, KindOptions::default())?;
        Ok(Self { queries: query::register(Queries::new(larder, scope))?, larder: larder.clone(), made })
    }

    /// Looks at the files below `root`.
    pub fn view(&self, root: impl Into<PathBuf>) -> View {
        self.view_of(Outside::new(root))
    }

    /// Looks at the files below several roots.
    pub fn view_of(&self, outside: Outside) -> View {
        View { session: self.queries.session(outside), planner: self.clone() }
    }
}

impl View {
    /// The session, for queries of the [`inventory`](crate::inventory) and others.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What the plays of a playbook come to. `playbook` is relative to the root. Ask within a Tokio runtime.
    pub async fn plays(&self, playbook: &str, options: &Options) -> Result<Vec<CompiledPlay>, Problem> {
        let list = PlayList { path: playbook.to_owned(), options: options.clone() };
        let list = self.session.get(list).await.map_err(query::problem)?;
        let mut plays = Vec::with_capacity(list.len());
        for play in list.iter() {
            let compile = Compile { play: play.clone(), options: options.clone() };
            plays.push((*self.session.get(compile).await.map_err(query::problem)?).clone());
        }
        Ok(plays)
    }

    /// The inventory that a playbook in the JSON form has in it; `None` if it has none.
    pub async fn inventory_in(&self, playbook: &str) -> Result<Option<Source>, Problem> {
        let document = query::Document { path: playbook.to_owned() };
        let document = self.session.get(document).await.map_err(query::problem)?;
        let form = document.as_ref().and_then(Plain::as_map).filter(|form| form.get(PLAYS).is_some());
        let inventory = form.and_then(|form| form.get(INVENTORY)).filter(|inventory| !inventory.is_null());
        Ok(inventory.map(|_| Source::Path(playbook.to_owned())))
    }

    /// What is listed of the plays of a playbook: for whoever needs no more, as it is far quicker to read.
    pub async fn listed(
        &self,
        playbook: &str,
        options: &Options,
    ) -> Result<Derived<Vec<ListedPlay>>, Problem> {
        let listing = Listing { path: playbook.to_owned(), options: options.clone() };
        self.session.get(listing).await.map_err(query::problem)
    }

    /// The plan: the kept one if nothing that it was made of has changed, else a new one, made of what is kept of
    /// its parts.
    pub async fn plan(&self, request: &PlanRequest) -> Result<Planned, Problem> {
        let clock = self.planner.larder.clock();
        let begun = clock.now();
        let packed = self.session.get(request.clone()).await.map_err(query::problem)?;
        let plan = packed.plan().map_err(|error| Problem::nowhere(format!("the kept plan is {error}")))?;
        let took = clock.now().since(begun);
        let reuse = match &*packed.why {
            Why::Computed(_) => Reuse::of(&self.explain(request).await?),
            _ => Reuse::Whole,
        };
        let saved = self.saved(request, &reuse, took).await;
        Ok(Planned { plan, reuse, took, saved })
    }

    /// How much longer making the plan took when it was made of more, as far as that is known.
    async fn saved(&self, request: &PlanRequest, reuse: &Reuse, took: Duration) -> Option<Duration> {
        let Planner { queries, made, .. } = &self.planner;
        let key: Key = made.key(queries.key_of(request).ok()?.id()).ok()?;
        let longest = made.get(&key).await.map(|longest| Duration::from_nanos(longest.value));
        let is_longest = longest.is_none_or(|longest| took > longest);
        // Of a plan that was made of kept parts alone it is not known how long those took.
        if reuse.counts().0 == 0 && *reuse != Reuse::Whole && is_longest {
            made.put(&key, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Duration::ZERO).await;
        }
        longest.filter(|_| reuse.is_any_kept()).map(|longest| longest.saturating_sub(took))
    }

    /// Why the plan is answered as it is: what was verified, what was computed and which change made it so.
    pub async fn explain(&self, request: &PlanRequest) -> Result<Explanation, Problem> {
        let explanation = self.session.explain(request.clone()).await.map_err(query::problem)?;
        let is_made = |asked: &ExplainedQuery| matches!(asked.outcome, ExplainedOutcome::Computed(_));
        if explanation.asked().is_some_and(is_made)
            && let Ok(packed) = self.session.get(request.clone()).await
        {
            // Whoever wants the plan too has taken it by now.
            packed.forget_made();
        }
        Ok(explanation)
    }
}

/// A plan, and what of it was kept.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Arc<ExecutionPlan>,
    /// What of it was kept.
    pub reuse: Reuse,
    /// What finding or making it took.
    pub took: Duration,
    /// How much less that is than what making it from nothing took, when that was done last; `None` if nothing of it was
    /// kept, or if it never was made from nothing.
    pub saved: Option<Duration>,
}

impl Planned {
    /// Whether it was kept as a whole.
    pub fn was_cached(&self) -> bool {
        self.reuse == Reuse::Whole
    }

    /// Whether it was made of some parts that were kept and some that were not.
    pub fn was_incremental(&self) -> bool {
        !self.was_cached() && self.reuse.is_any_kept()
    }
}

/// What of a plan was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reuse {
    /// All of it.
    Whole,
    /// Parts of it: how many answers of each kind, such as `ansible.role@1`, were kept, and how many were computed.
    Parts(Vec<Part>),
}

/// Answers of one kind that a plan was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// The kind, such as `ansible.role@1`.
    pub kind: String,
    /// How many were kept.
    pub kept: usize,
    /// How many were computed.
    pub computed: usize,
}

impl Reuse {
    fn of(explanation: &Explanation) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        // The first is the plan itself.
        for query in explanation.queries.iter().skip(1) {
            let at = parts.iter().position(|part| part.kind == query.kind).unwrap_or_else(|| {
                parts.push(Part { kind: query.kind.clone(), kept: 0, computed: 0 });
                parts.len() - 1
            });
            match query.outcome {
                ExplainedOutcome::Verified { .. } | ExplainedOutcome::Unchanged => parts[at].kept += 1,
                _ => parts[at].computed += 1,
            }
        }
        Self::Parts(parts)
    }

    /// Whether any of it was kept.
    fn is_any_kept(&self) -> bool {
        *self == Self::Whole || self.counts().0 > 0
    }

    /// How many parts were kept, and how many there are. A plan that was kept as a whole has none.
    pub fn counts(&self) -> (usize, usize) {
        match self {
            Self::Whole => (0, 0),
            Self::Parts(parts) => {
                let kept = parts.iter().map(|part| part.kept).sum::<usize>();
                (kept, kept + parts.iter().map(|part| part.computed).sum::<usize>())
            }
        }
    }
}
