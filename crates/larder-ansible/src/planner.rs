//! The planner: playbooks asked about under one view of the files.
//!
//! Not here: what is asked (`query`), how answers are printed.

use std::path::PathBuf;

use larder::engine::{Larder, Outside, Queries, RegisterError, Session};
use larder::key::Scope;

use crate::compiled::CompiledPlay;
use crate::inventory;
use crate::problem::Problem;
use crate::query::{self, Compile, Options, PlayList};

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
        Ok(Self { queries: inventory::register(query::register(Queries::new(larder, scope))?)? })
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
    /// The session, for queries of the [`inventory`] and others.
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
}
