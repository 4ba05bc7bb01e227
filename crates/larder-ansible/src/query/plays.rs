//! Which plays a playbook comes to, with those of the playbooks that it imports in their place.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use larder::engine::{Context, Query};
use serde::{Deserialize, Serialize};

use super::document::{located, problem};
use super::source::{Head, PlaybookHeads};
use super::{Options, collection};
use crate::fault::Way;
use crate::place::{join, parent};
use crate::plain::Mapping;
use crate::playbook::PlaybookImport;
use crate::problem::Problem;
use crate::template::{self, Rank, Variables};

/// The plays of a playbook in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlayList {
    pub(crate) path: String,
    pub(crate) options: Options,
}

/// A play by the place where it is written, and what it inherits from those who import its playbook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlayRef {
    pub(crate) path: String,
    pub(crate) index: usize,
    pub(crate) inherited: Inherited,
}

/// What `import_playbook` hands on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Inherited {
    /// What plays see that say nothing else themselves.
    pub(crate) defaults: Mapping,
    pub(crate) vars: Mapping,
    pub(crate) tags: Vec<String>,
    pub(crate) when: Vec<String>,
}

impl Query for PlayList {
    type Output = Vec<PlayRef>;
    type Error = Problem;
    const KIND: &'static str = "ansible.plays";
    const VERSION: u32 = 3;

    async fn compute(&self, cx: &Context) -> Result<Vec<PlayRef>, Problem> {
        let mut plays = Vec::new();
        let mut walk = Walk { cx, options: &self.options, active: Vec::new(), plays: &mut plays };
        walk.playbook(&self.path, &Inherited::default()).await?;
        Ok(plays)
    }
}

struct Walk<'a> {
    cx: &'a Context,
    options: &'a Options,
    /// Playbooks on the way to the one that is read, outermost first.
    active: Vec<String>,
    plays: &'a mut Vec<PlayRef>,
}

impl Walk<'_> {
    fn playbook<'f>(
        &'f mut self,
        path: &'f str,
        inherited: &'f Inherited,
    ) -> Pin<Box<dyn Future<Output = Result<(), Problem>> + Send + 'f>> {
        Box::pin(async move {
            let heads = self.cx.get(PlaybookHeads { path: path.to_owned() }).await.map_err(problem)?;
            let Some(heads) = &heads.value else {
                return Err(Problem::nowhere(format!("the playbook {path} could not be found")));
            };
            self.active.push(path.to_owned());
            let mut inherited = inherited.clone();
            inherited.defaults.update(&heads.variables);
            for (index, head) in heads.entries.iter().enumerate() {
                match head {
                    Head::Play => {
                        let inherited = inherited.clone();
                        self.plays.push(PlayRef { path: path.to_owned(), index, inherited });
                    }
                    Head::Import(import) => self.import(path, index, import, &inherited).await?,
                }
            }
            self.active.pop();
            Ok(())
        })
    }

    async fn import(
        &mut self,
        path: &str,
        index: usize,
        import: &PlaybookImport,
        inherited: &Inherited,
    ) -> Result<(), Problem> {
        let way = Way::ROOT;
        let entry = way.index(index);
        let mut variables = Variables::default();
        variables.add(Rank::Play, Arc::new(inherited.defaults.clone()));
        variables.add(Rank::Play, Arc::new(import.keywords.vars.clone()));
        variables.add(Rank::Extra, Arc::new(self.options.extra_vars.clone()));
        variables.add(Rank::Magic, Arc::new(self.options.modes.variables()));
        let file = match template::text(&import.file, &variables) {
            Ok(file) => file,
            Err(unknown) => {
                let fault = entry.fault(format!("the playbook {:?} can't be told: {unknown}", import.file));
                return Err(located(self.cx, path, fault).await);
            }
        };
        let Some(target) = self.find(path, &file).await? else {
            let fault = entry.fault(format!("the playbook {file} could not be found"));
            return Err(located(self.cx, path, fault).await);
        };
        if self.active.contains(&target) {
            let circle = self.active.iter().skip_while(|active| **active != target);
            let circle: Vec<&str> = circle.map(String::as_str).chain([&*target]).collect();
            let fault =
                entry.fault(format!("playbooks import each other in a circle: {}", circle.join(" -> ")));
            return Err(located(self.cx, path, fault).await);
        }
        let mut handed = inherited.clone();
        // The outer import is applied last, and wins.
        let mut vars = import.keywords.vars.clone();
        vars.update(&inherited.vars);
        handed.vars = vars;
        handed.tags.extend(import.keywords.tags.iter().cloned());
        handed.when.extend(import.keywords.when.iter().cloned());
        self.playbook(&target, &handed).await
    }

    /// The playbook that an import names: a file beside the one that imports it, or one of a collection.
    async fn find(&self, path: &str, file: &str) -> Result<Option<String>, Problem> {
        let beside = join(parent(path), file).into_iter();
        let of_collection = collection::playbooks(file, parent(path), self.options);
        for candidate in of_collection.into_iter().chain(beside) {
            let heads = self.cx.get(super::Document { path: candidate.clone() }).await.map_err(problem)?;
            if heads.value.is_some() {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }
}
