//! Plays with everything static in its place: imports replaced by what they import, roles by their tasks, and what
//! is inherited written down at each task.
//!
//! Invariant: a compiled play depends on no inventory, no tags asked for and no position in a file.
//! Not here: hosts and batches (`plan`), how it comes about (`query`).

use serde::{Deserialize, Serialize};

use crate::plain::{Mapping, Plain};
use crate::playbook::Loop;

/// A play before anybody asked for hosts or tags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompiledPlay {
    /// Its name; empty if it has none.
    pub name: String,
    /// Patterns of hosts.
    pub hosts: Vec<String>,
    /// Tags that all of it has, sorted.
    pub tags: Vec<String>,
    /// Sizes of batches as numbers or percentages; empty for one batch.
    pub serial: Vec<Plain>,
    /// How hosts go through the tasks.
    pub strategy: String,
    /// Which order of hosts; `None` is that of the inventory.
    pub order: Option<String>,
    /// How many of a batch may fail, in percent.
    pub max_fail_percentage: Option<f64>,
    /// Whether facts are gathered first.
    pub gather_facts: bool,
    /// Whether handlers run although a task failed.
    pub force_handlers: bool,
    /// Roles as often as they are run, in order.
    pub roles: Vec<RoleRun>,
    /// Tasks in the order of the playbook.
    pub tasks: Vec<CompiledTask>,
    /// Handlers: those of roles, then the play's own.
    pub handlers: Vec<CompiledTask>,
}

/// A role that is run with certain parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoleRun {
    /// Its name, with its collection.
    pub name: String,
    /// Its directory, relative to the root.
    pub path: String,
    /// An earlier run that does the same, on hosts where that ran.
    pub repeats: Option<usize>,
    /// Whether it runs all the same.
    pub allow_duplicates: bool,
}

/// A part of a play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// `pre_tasks`.
    PreTasks,
    /// `roles`.
    Roles,
    /// `tasks`.
    Tasks,
    /// `post_tasks`.
    PostTasks,
}

/// A part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// What is tried.
    Block,
    /// What is done when that fails.
    Rescue,
    /// What is done in any case.
    Always,
}

/// A task or handler with all that it inherits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompiledTask {
    /// Its name as it is written.
    pub name: Option<String>,
    /// The module as it is written.
    pub module: String,
    /// Its arguments, templates and all. Free text is under `_raw_params`.
    pub args: Mapping,
    /// The role that it belongs to, in [`CompiledPlay::roles`].
    pub role: Option<usize>,
    /// The part of the play that it belongs to.
    pub phase: Phase,
    /// The blocks that it is in, outermost first: a number that tells them apart, and which part of it.
    pub blocks: Vec<(u32, Section)>,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// Conditions, outermost first.
    pub when: Vec<String>,
    /// What it is done for each of.
    pub looped: Option<Loop>,
    /// Handlers that a change notifies.
    pub notify: Vec<String>,
    /// What it is also notified as, if it is a handler.
    pub listen: Vec<String>,
    /// The variable that its result becomes.
    pub register: Option<String>,
    /// Variables of the task and of what it is in.
    pub vars: Mapping,
    /// Keywords that it has or inherits, such as `become`.
    pub settings: Mapping,
    /// Keywords that nothing inherits, such as `until`.
    pub own: Mapping,
    /// The role that it includes when it runs, if its module is `include_role`.
    pub includes_role: bool,
}

impl CompiledTask {
    /// Whether Ansible lists it: what is done only after a failure, or in any case, is not listed.
    pub fn is_listed(&self) -> bool {
        self.blocks.iter().all(|(_, section)| *section == Section::Block)
    }

    /// The name that Ansible lists it under.
    pub fn label(&self, roles: &[RoleRun]) -> String {
        match (&self.name, self.role.and_then(|role| roles.get(role))) {
            // An include of a role stands for that role and not for the one that it is in.
            (Some(name), Some(role)) if !self.includes_role => format!("{} : {name}", role.name),
            (Some(name), _) => name.clone(),
            (None, _) => self.module.clone(),
        }
    }
}
