//! The planner: playbooks asked about under one view of the files.
//!
//! Not here: what is asked (`query`), how answers are printed.

use std::path::PathBuf;

use larder::engine::{Derived, Larder, Outside, Queries, RegisterError, Session};
use larder::key::Scope;
use larder::query::{ExplainedOutcome, Explanation, Why};

use crate::compiled::CompiledPlay;
use crate::plan::ExecutionPlan;
use crate::problem::Problem;
use crate::query::{self, Compile, Options, PlanRequest, PlayList};

/// Knows the kinds of queries that plans are made of. Make it once for a process.
#[derive(Debug, Clone)]
pub struct Planner {
    queries: Queries,
}

/// One consistent view of a project's files: each is looked at at most once. After a change, take another.
#[derive(Debug, Clone)]
pub struct View {
    session: Session,
}

impl Planner {
    /// A planner whose answers are kept in `larder` under `scope`.
    pub fn new(larder: &Larder, scope: &Scope) -> Result<Self, RegisterError> {
        Ok(Self { queries: query::register(Queries::new(larder, scope))? })
    }

    /// Looks at the files below `root`.
    pub fn view(&self, root: impl Into<PathBuf>) -> View {
        self.view_of(Outside::new(root))
    }

    /// Looks at the files below several roots.
    pub fn view_of(&self, outside: Outside) -> View {
        View { session: self.queries.session(outside) }
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

    /// The plan: the kept one if nothing that it was made of has changed, else a new one, made of what is kept of
    /// its parts.
    pub async fn plan(&self, request: &PlanRequest) -> Result<Planned, Problem> {
        let plan = self.session.get(request.clone()).await.map_err(query::problem)?;
        let reuse = match &*plan.why {
            Why::Computed(_) => Reuse::of(&self.explain(request).await?),
            _ => Reuse::Whole,
        };
        Ok(Planned { plan, reuse })
    }

    /// Why the plan is answered as it is: what was verified, what was computed and which change made it so.
    pub async fn explain(&self, request: &PlanRequest) -> Result<Explanation, Problem> {
        self.session.explain(request.clone()).await.map_err(query::problem)
    }
}

/// A plan, and what of it was kept.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: Derived<ExecutionPlan>,
    /// What of it was kept.
    pub reuse: Reuse,
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
