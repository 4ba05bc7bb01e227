//! What can be shipped as a query of its own: the play on its hosts, the files that its tasks send, the facts of hosts.
//!
//! Not here: how tasks are put together (`plan::ship`).

use std::collections::{BTreeMap, BTreeSet};

use larder::engine::{Context, Query};
use serde::{Deserialize, Serialize};

use super::document::problem;
use super::plan::{PlanPlay, damaged, inventory_problem};
use super::{Compile, ShipOptions};
use crate::inventory::{InventoryError, Sources, Value, VariablesOf};
use crate::place::{join, parent};
use crate::plan::ship::{self, Embedded, Findings, Shipping, Target, WhyNot};
use crate::plan::{PlannedTask, PlayPlan};
use crate::playbook::short_module;
use crate::problem::Problem;
use crate::template;

/// What can be shipped of a play.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ship {
    pub(crate) play: PlanPlay,
    pub(crate) options: ShipOptions,
}

impl Query for Ship {
    type Output = Shipping;
    type Error = Problem;
    const KIND: &'static str = "ansible.ship";
    const VERSION: u32 = 4;

    async fn compute(&self, cx: &Context) -> Result<Shipping, Problem> {
        let order = &self.play.order;
        let compile = Compile { play: order.play.clone(), options: order.options.clone() };
        let compiled = cx.get(compile).await.map_err(problem)?;
        let play = cx.get(self.play.clone()).await.map_err(problem)?.play().map_err(damaged)?;
        let roles: BTreeMap<&str, &str> =
            compiled.roles.iter().map(|role| (role.name.as_str(), role.path.as_str())).collect();
        let mut findings = Findings { targets: self.targets(cx, &play).await?, ..Findings::default() };
        for task in &play.tasks {
            let role = task.role.as_deref().and_then(|role| roles.get(role).copied());
            Files { cx, directory: parent(&order.play.path), role }.of(task, &mut findings).await;
        }
        Ok(ship::binaries(&play, &findings, &self.options))
    }
}

impl Ship {
    async fn targets(&self, cx: &Context, play: &PlayPlan) -> Result<BTreeMap<String, Target>, Problem> {
        let directory = parent(&self.play.order.play.path);
        let targets = play.hosts.iter().map(|host| TargetOf {
            sources: self.play.sources.clone(),
            playbook_directory: directory.to_owned(),
            facts: self.options.facts.clone(),
            host: host.clone(),
        });
        let mut known = BTreeMap::new();
        for (host, target) in play.hosts.iter().zip(cx.get_all(targets).await) {
            let target = target.map_err(problem)?.value.clone();
            known.extend(target.map(|target| (host.clone(), target)));
        }
        Ok(known)
    }
}

/// What a host is, by its facts, or by variables of the inventory of the same names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TargetOf {
    sources: Sources,
    playbook_directory: String,
    facts: Option<String>,
    host: String,
}

impl Query for TargetOf {
    type Output = Option<Target>;
    type Error = Problem;
    const KIND: &'static str = "ansible.target";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<Option<Target>, Problem> {
        if let Some(target) = self.of_facts(cx).await? {
            return Ok(Some(target));
        }
        let query = VariablesOf {
            sources: self.sources.clone(),
            playbook_directory: Some(self.playbook_directory.clone()),
            host: self.host.as_str().into(),
        };
        let known = cx.get(query).await.map_err(|error| inventory_problem(InventoryError::from(error)))?;
        let text = |name: &str| match known.variables.get(name) {
            Some(Value::String(text)) if !template::is_template(text) => Some(&**text),
            _ => None,
        };
        let architecture = text("ansible_architecture");
        Ok(architecture.map(|architecture| Target::of_facts(text("ansible_system"), architecture)))
    }
}

impl TargetOf {
    /// By the file of facts that is kept for the host; with or without `ansible_` before their names.
    async fn of_facts(&self, cx: &Context) -> Result<Option<Target>, Problem> {
        let Some(path) = self.facts.as_ref().and_then(|directory| join(directory, &self.host)) else {
            return Ok(None);
        };
        let text = cx.read(&path).await.map_err(|error| Problem::of_file(&path, error.to_string()))?;
        let Some(text) = text else { return Ok(None) };
        let facts: serde_json::Value = serde_json::from_slice(&text).map_err(|error| {
            Problem::of_file(&path, format!("facts of a host are an object of JSON: {error}"))
        })?;
        let fact = |name: &str| {
            let found = facts.get(format!("ansible_{name}")).or_else(|| facts.get(name));
            found.and_then(serde_json::Value::as_str)
        };
        Ok(fact("architecture").map(|architecture| Target::of_facts(fact("system"), architecture)))
    }
}

/// Looks for the files that tasks send, where Ansible does.
struct Files<'a> {
    cx: &'a Context,
    /// The playbook's.
    directory: &'a str,
    role: Option<&'a str>,
}

impl Files<'_> {
    async fn of(&self, task: &PlannedTask, findings: &mut Findings) {
        let remote = task.args.get("remote_src").is_some_and(|remote| remote.truth() != Some(false));
        let part = match short_module(&task.module) {
            "template" => "templates",
            "copy" | "unarchive" if !remote => "files",
            _ => return,
        };
        let Some(src) = task.args.get("src").filter(|src| !src.is_null()) else { return };
        match self.find(&src.shown(), part).await {
            Ok((path, text)) => {
                if part == "templates" {
                    match names_in(&text) {
                        Some(names) => {
                            let of_controller = ship::of_controller(&names);
                            let reason = |name| format!("the template {path} uses `{name}`");
                            findings.missing.extend(of_controller.map(|name| (task.id, reason(name))));
                            findings.names.insert(task.id, names);
                        }
                        None => {
                            findings.missing.insert(task.id, format!("the template {path} can't be read"));
                        }
                    }
                }
                findings.files.insert(task.id, vec![Embedded { path, bytes: text.len() as u64 }]);
            }
            Err(reason) => drop(findings.missing.insert(task.id, reason)),
        }
    }

    /// A file's path and content, or why it can't be sent.
    async fn find(&self, src: &str, part: &str) -> Result<(String, std::sync::Arc<[u8]>), String> {
        if template::is_template(src) {
            return Err(format!("the file {src:?} is not known before it runs"));
        }
        if src.contains("://") || src.ends_with('/') {
            return Err(format!("{src:?} is no file of the project"));
        }
        let mut candidates = Vec::new();
        for directory in self.role.into_iter().chain([self.directory]) {
            candidates.push(join(directory, &format!("{part}/{src}")));
            if self.role == Some(directory) {
                candidates.push(join(directory, &format!("tasks/{src}")));
            }
            candidates.push(join(directory, src));
        }
        for path in candidates.into_iter().flatten() {
            match self.cx.read(&path).await {
                Ok(Some(text)) => return Ok((path, text)),
                Ok(None) => {}
                Err(_) => return Err(format!("{path} is no file that can be read")),
            }
        }
        Err(format!("the file {src} could not be found"))
    }
}

/// Names that a template file uses; `None` if it can't be read.
fn names_in(text: &[u8]) -> Option<BTreeSet<String>> {
    let text = std::str::from_utf8(text).ok()?;
    ship::names(&[text.to_owned()]).ok()
}

/// Why a play can't be shipped as a whole; `None` if it can.
pub(super) fn left(play: &PlayPlan, shipping: &Shipping) -> Option<String> {
    let obstacles = &shipping.by_ssh;
    if let Some(obstacle) = obstacles.iter().find(|obstacle| obstacle.why != WhyNot::Stays) {
        let name = &play.tasks[obstacle.task].name;
        return Some(format!("the task {name:?} can't be shipped: {}", obstacle.reason));
    }
    let host = shipping.hosts_without_target.first()?;
    Some(format!("the architecture of {host} is not known"))
}
