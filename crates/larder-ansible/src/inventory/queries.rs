//! Inventories as queries: what is read again, and what is computed again, is what an edit concerns.
//!
//! `Parsed` reads the sources; `HostsOf` and `VariablesOf` are built on it, and stay as they are where a change of
//! a source leaves the inventory the same. `GroupFiles` is what `group_vars/` has for a group in one directory,
//! read once for all hosts. What `host_vars/` has is read by the one host that it is for.

use std::path::PathBuf;

use larder::engine::{Context, LookError, Queries, Query, QueryError, RegisterError};
use serde::{Deserialize, Serialize};

use super::assemble::{Part, assemble};
use super::files::{self, Entity, Known, Sources};
use super::model::{Inventory, LOCALHOST};
use super::pattern::{self, Chosen};
use super::value::Value;
use crate::problem::Problem;
use crate::weight::weight;

/// An inventory of this many bytes is read on another thread, so that others are not kept waiting.
const LARGE_BYTES: usize = 1 << 18;

/// Why there is no answer about an inventory.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InventoryError {
    /// What people wrote is wrong.
    #[error(transparent)]
    Wrong(#[from] Problem),
    /// A part of the inventory is a program, and what it prints is not there.
    #[error("{0}: the inventory is a program, and it is not run")]
    Program(String),
    /// A file or a directory can't be looked at.
    #[error("a part of the inventory can't be read")]
    Look(#[from] LookError),
    /// The engine refused a query.
    #[error("the inventory can't be asked about")]
    Engine(#[source] Box<QueryError<InventoryError>>),
}

impl From<QueryError<InventoryError>> for InventoryError {
    fn from(error: QueryError<InventoryError>) -> Self {
        match error {
            QueryError::Computation(error) => (*error).clone(),
            error => Self::Engine(Box::new(error)),
        }
    }
}

/// Adds the kinds of queries that are here.
pub fn register(queries: Queries) -> Result<Queries, RegisterError> {
    queries.with::<Parsed>()?.with::<GroupFiles>()?.with::<HostsOf>()?.with::<VariablesOf>()
}

/// The inventory that sources make together. Paths are below the root of the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parsed {
    /// What it is made of.
    pub sources: Sources,
}

impl Query for Parsed {
    type Output = Inventory;
    type Error = InventoryError;
    const KIND: &'static str = "ansible.inventory";
    const VERSION: u32 = 2;
    const WEIGH: Option<fn(&Self::Output) -> u64> = Some(weight);

    async fn compute(&self, cx: &Context) -> Result<Inventory, InventoryError> {
        let mut parts: Vec<Part> = Vec::new();
        for source in &self.sources.sources {
            parts.extend(files::parts(cx, source, &self.sources.outputs).await?);
        }
        let size = |part: &Part| match part {
            Part::Hosts(list) => list.len(),
            Part::File { content, .. } | Part::Output { content, .. } => content.len(),
        };
        if parts.iter().map(size).sum::<usize>() < LARGE_BYTES {
            return Ok(assemble(&parts)?);
        }
        match tokio::task::spawn_blocking(move || assemble(&parts)).await {
            Ok(inventory) => Ok(inventory?),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => panic!("the runtime was shut down while an inventory was read"),
            },
        }
    }
}

/// What `group_vars/` in a directory has for a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct GroupFiles {
    directory: PathBuf,
    group: Box<str>,
}

impl Query for GroupFiles {
    type Output = Known;
    type Error = InventoryError;
    const KIND: &'static str = "ansible.inventory.group_vars";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<Known, InventoryError> {
        files::beside(cx, &self.directory, Entity::Group, &self.group).await
    }
}

/// A pattern of `--limit`, or a file of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// A single pattern.
    Pattern(String),
    /// A file below the root with a pattern on each line.
    File(String),
}

impl Limit {
    /// The parts of a text such as `web*:!db` or `@site.retry`.
    pub fn parse(text: &str) -> Vec<Self> {
        let parts = pattern::split(text).into_iter();
        let limit = |part: &str| match part.strip_prefix('@') {
            Some(file) => Self::File(file.to_owned()),
            None => Self::Pattern(part.to_owned()),
        };
        parts.map(limit).collect()
    }
}

/// The hosts that patterns choose out of an inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostsOf {
    /// What the inventory is made of.
    pub sources: Sources,
    /// Patterns as a play's `hosts` has them: one text or several.
    pub patterns: Vec<String>,
    /// What `--limit` leaves; `None` if it is not given.
    pub limit: Option<Vec<Limit>>,
}

impl Query for HostsOf {
    type Output = Chosen;
    type Error = InventoryError;
    const KIND: &'static str = "ansible.inventory.hosts";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<Chosen, InventoryError> {
        let inventory = cx.get(Parsed { sources: self.sources.clone() }).await?;
        let mut limits: Vec<String> = Vec::new();
        for limit in self.limit.iter().flatten() {
            match limit {
                Limit::Pattern(pattern) => limits.push(pattern.clone()),
                Limit::File(path) => {
                    let Some(content) = cx.read(path).await? else {
                        let problem = Problem::of_file(path, "there is no such file of limits");
                        return Err(problem
                            .remedy("name a file with a pattern on each line after the @")
                            .into());
                    };
                    let text = String::from_utf8_lossy(&content);
                    limits.extend(text.split('\n').map(|line| line.trim().to_owned()));
                }
            }
        }
        let patterns: Vec<&str> = self.patterns.iter().flat_map(|text| pattern::split(text)).collect();
        let limits: Vec<&str> = limits.iter().map(String::as_str).collect();
        let limit = self.limit.is_some().then_some(limits.as_slice());
        Ok(pattern::choose(&inventory, &patterns, limit)?)
    }
}

/// The variables that a host has before any play: those of the inventory, of `group_vars/` and of `host_vars/`.
///
/// A name of this machine that the inventory does not have is the implicit localhost, which has the variables of
/// `all` and a local connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariablesOf {
    /// What the inventory is made of.
    pub sources: Sources,
    /// The directory of the playbook below the root, whose `group_vars/` and `host_vars/` win over those beside
    /// the inventory.
    pub playbook_directory: Option<String>,
    /// The host's name.
    pub host: Box<str>,
}

impl Query for VariablesOf {
    type Output = Known;
    type Error = InventoryError;
    const KIND: &'static str = "ansible.inventory.variables";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<Known, InventoryError> {
        let inventory = cx.get(Parsed { sources: self.sources.clone() }).await?;
        let host = inventory.host(&self.host);
        if host.is_none() && !LOCALHOST.contains(&&*self.host) {
            let problem = Problem::nowhere(format!("host `{}` is not in the inventory", self.host));
            return Err(problem.remedy("ask for a host that a pattern has chosen").into());
        }
        let groups = host.map(|host| inventory.groups_of(host)).unwrap_or_default();
        let mut beside_inventory = Vec::new();
        for source in &self.sources.sources {
            beside_inventory.extend(files::directory(cx, source).await?);
        }
        let beside_play: Vec<PathBuf> = self.playbook_directory.iter().map(PathBuf::from).collect();

        let mut known = Known::default();
        let all = inventory.group("all").map(|all| &all.variables);
        for variables in all.into_iter().chain(groups.iter().map(|group| &group.variables)) {
            known.variables.extend(variables);
        }
        let names: Vec<&str> = groups.iter().map(|group| &*group.name).collect();
        for groups in [&["all"][..], &names] {
            for directories in [&beside_inventory, &beside_play] {
                extend_with_groups(cx, &mut known, directories, groups).await?;
            }
        }
        match host {
            Some(host) => known.variables.extend(&host.variables),
            None => {
                let connection = ("ansible_connection".into(), Value::from("local"));
                known.variables.extend(&std::iter::once(connection).collect());
            }
        }
        for directory in beside_inventory.iter().chain(&beside_play) {
            known.extend(&files::beside(cx, directory, Entity::Host, &self.host).await?);
        }
        known.encrypted.sort_unstable();
        known.encrypted.dedup();
        Ok(known)
    }
}

async fn extend_with_groups(
    cx: &Context,
    known: &mut Known,
    directories: &[PathBuf],
    groups: &[&str],
) -> Result<(), InventoryError> {
    let mut queries = Vec::with_capacity(directories.len() * groups.len());
    for directory in directories {
        for &group in groups {
            queries.push(GroupFiles { directory: directory.clone(), group: group.into() });
        }
    }
    for files in cx.get_all(queries).await {
        known.extend(&files?.value);
    }
    Ok(())
}
