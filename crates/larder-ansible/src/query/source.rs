//! Files of tasks and playbooks, read into what they are made of. An edit of one play leaves the answers about its
//! neighbours as they are.

use larder::engine::{Context, Query};
use serde::{Deserialize, Serialize};

use super::document::{document, located, problem};
use crate::fault::{Fault, Way};
use crate::plain::{Mapping, Plain};
use crate::playbook::{self, Entry, Item, Play, PlaybookImport};
use crate::problem::Problem;
use crate::weight::weight;

/// The tasks of a file; `None` if there is no such file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TaskFile {
    pub(crate) path: String,
    /// Whether they are handlers.
    pub(crate) is_handlers: bool,
}

impl Query for TaskFile {
    type Output = Option<Vec<Item>>;
    type Error = Problem;
    const KIND: &'static str = "ansible.tasks";
    const VERSION: u32 = 1;
    const WEIGH: Option<fn(&Self::Output) -> u64> = Some(weight);

    async fn compute(&self, cx: &Context) -> Result<Option<Vec<Item>>, Problem> {
        let document = cx.get(super::Document { path: self.path.clone() }).await.map_err(problem)?;
        let Some(document) = &document.value else { return Ok(None) };
        match playbook::items(document, &Way::ROOT, self.is_handlers) {
            Ok(items) => Ok(Some(items)),
            Err(fault) => Err(located(cx, &self.path, fault).await),
        }
    }
}

/// Which plays and imports a playbook has, in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlaybookHeads {
    pub(crate) path: String,
}

/// An entry of a playbook as far as it decides which plays there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Head {
    Play,
    Import(PlaybookImport),
}

/// What decides which plays a playbook has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Heads {
    pub(crate) entries: Vec<Head>,
    /// Variables of all plays, which its JSON form may have.
    pub(crate) variables: Mapping,
}

impl Query for PlaybookHeads {
    type Output = Option<Heads>;
    type Error = Problem;
    const KIND: &'static str = "ansible.heads";
    const VERSION: u32 = 2;

    async fn compute(&self, cx: &Context) -> Result<Option<Heads>, Problem> {
        let document = cx.get(super::Document { path: self.path.clone() }).await.map_err(problem)?;
        let Some(document) = &document.value else { return Ok(None) };
        let heads = || {
            let (entries, variables) = playbook::entries(document)?;
            let entries = entries.iter().enumerate().map(|(n, entry)| head(entry, n));
            Ok::<_, Fault>(Heads { entries: entries.collect::<Result<_, Fault>>()?, variables })
        };
        match heads() {
            Ok(heads) => Ok(Some(heads)),
            Err(fault) => Err(located(cx, &self.path, fault).await),
        }
    }
}

fn head(entry: &Plain, n: usize) -> Result<Head, Fault> {
    let is_import = |key: &str| matches!(key.rsplit('.').next(), Some("import_playbook"));
    match entry.as_map() {
        // A play is read when it is asked for, so that a slip in one does not hide behind another's.
        Some(map) if !map.iter().any(|(key, _)| is_import(key)) => Ok(Head::Play),
        _ => match playbook::entry(entry, &Way::ROOT.index(n))? {
            Entry::Play(_) => Ok(Head::Play),
            Entry::Import(import) => Ok(Head::Import(*import)),
        },
    }
}

/// A play as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlaySource {
    pub(crate) path: String,
    /// Which entry of the playbook it is, from 0.
    pub(crate) index: usize,
}

impl Query for PlaySource {
    type Output = Play;
    type Error = Problem;
    const KIND: &'static str = "ansible.source";
    const VERSION: u32 = 2;
    const WEIGH: Option<fn(&Self::Output) -> u64> = Some(weight);

    async fn compute(&self, cx: &Context) -> Result<Play, Problem> {
        let gone = || Problem::of_file(&self.path, format!("there is no play {}", self.index + 1));
        let document = document(cx, &self.path).await?.ok_or_else(gone)?;
        let entry = playbook::nth(&document, self.index).ok_or_else(gone)?;
        match playbook::entry(entry, &Way::ROOT.index(self.index)) {
            Ok(Entry::Play(play)) => Ok(*play),
            Ok(Entry::Import(_)) => Err(gone()),
            Err(fault) => Err(located(cx, &self.path, fault).await),
        }
    }
}
