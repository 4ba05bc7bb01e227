//! Plans: which tasks would run on which hosts, in which order, and what depends on what.
//!
//! The types here are the plan's public form: JSON by their names (`docs/plan.schema.json`), and a binary form in
//! [`binary`]. [`FORMAT`] is bumped with either.
//!
//! Invariants:
//! - a plan has no time of day and nothing of the machine that made it, so that equal inputs give equal bytes;
//! - a task depends only on tasks of earlier stages; the tasks of one stage do not depend on each other.
//!
//! Not here: how a plan comes about (`query`).

pub mod binary;
pub(crate) mod build;
pub mod dot;
pub mod estimate;
pub(crate) mod graph;
pub mod mermaid;
pub(crate) mod modes;
mod module;
pub mod schedule;
pub mod ship;
pub mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::schedule::Segment;
use self::ship::Shipping;
use crate::compiled::{Phase, Section};
use crate::plain::{Mapping, Plain};

/// Version of the form of a plan.
pub const FORMAT: u32 = 4;

/// What playbooks would do with an inventory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ExecutionPlan {
    /// Version of this form.
    pub format: u32,
    /// What it was made of.
    pub metadata: Metadata,
    /// Plays in the order in which they would run.
    pub plays: Vec<Arc<PlayPlan>>,
    /// Sums and scores over all plays.
    pub totals: Totals,
}

/// What a plan was made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Metadata {
    /// Version of the planner.
    pub version: String,
    /// Playbooks, relative to the root.
    pub playbooks: Vec<String>,
    /// Sources of the inventory as they were given.
    pub inventory: Vec<String>,
    /// What was asked for beside that, by the names of the command line.
    pub options: BTreeMap<String, Plain>,
    /// Digest of all plays in their binary form: two plans with the same do the same.
    pub digest: String,
}

/// A play on its hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlayPlan {
    /// Its name, or its patterns of hosts.
    pub name: String,
    /// Patterns of hosts.
    pub patterns: Vec<String>,
    /// Tags that all of it has.
    pub tags: Vec<String>,
    /// How hosts go through the tasks: what was asked for, or else what the play says: linear, free, host_pinned or a
    /// plugin's name, which counts as linear.
    pub strategy: String,
    /// Whether facts are gathered first.
    pub gather_facts: bool,
    /// How many of a batch may fail, in percent.
    pub max_fail_percentage: Option<f64>,
    /// Hosts in the order in which the play has them.
    pub hosts: Vec<String>,
    /// Patterns that match no host and no group.
    pub unmatched: Vec<String>,
    /// The batches that `serial` makes of them, one after the other. Each goes through all tasks.
    pub batches: Vec<Batch>,
    /// Tasks in the order of the playbook.
    pub tasks: Vec<PlannedTask>,
    /// Handlers that may be notified.
    pub handlers: Vec<PlannedTask>,
    /// Tasks and handlers by stages: what is in one could run at the same time.
    pub stages: Vec<Vec<usize>>,
    /// Tasks and handlers in the order in which each batch goes through them.
    pub segments: Vec<Segment>,
    /// What could be shipped as programs, if that was asked for.
    pub shipping: Option<Shipping>,
}

/// Hosts that go through a play together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Batch {
    /// Their names.
    pub hosts: Vec<String>,
}

/// A task or handler in a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlannedTask {
    /// Its number in the play. Handlers are numbered after tasks.
    pub id: usize,
    /// The name that Ansible lists it under.
    pub name: String,
    /// The module as it is written.
    pub module: String,
    /// Its arguments, templates and all. Free text is under `_raw_params`.
    pub args: Mapping,
    /// The role that it belongs to.
    pub role: Option<String>,
    /// The part of the play that it belongs to.
    pub phase: Phase,
    /// The part of a block that it belongs to: what is done only after a failure is in `rescue`.
    pub section: Section,
    /// The blocks around it that handle failures, outermost first, by numbers that tell them apart.
    pub blocks: Vec<u32>,
    /// Conditions, all of which have to hold.
    pub when: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it is done for each of.
    pub looped: Option<PlannedLoop>,
    /// Handlers that a change notifies.
    pub notify: Vec<String>,
    /// What it is also notified as, if it is a handler.
    pub listen: Vec<String>,
    /// The variable that its result becomes.
    pub register: Option<String>,
    /// The host that it runs on instead, templates and all.
    pub delegate_to: Option<String>,
    /// Whether it runs once in a batch.
    pub run_once: bool,
    /// Variables of the task and of what it is in.
    pub vars: Mapping,
    /// Other keywords that it has or inherits.
    pub settings: Mapping,
    /// What has to be done before it, in the order of their numbers.
    pub depends_on: Vec<Dependency>,
    /// How many dependencies deep it is.
    pub stage: usize,
    /// What it does to its hosts: `--check` and `check_mode` decide.
    pub effect: Effect,
    /// Whether it shows what it changes: `--diff` and `diff` decide, its module has to be able to, and `no_log` forbids it.
    pub diff: bool,
    /// What can go wrong.
    pub risk: Risk,
    /// How long it is assumed to take on one host, in milliseconds.
    pub estimate_ms: u64,
}

impl ExecutionPlan {
    /// On how many hosts a task runs at once.
    pub fn forks(&self) -> usize {
        match self.metadata.options.get("forks") {
            Some(Plain::Integer(forks)) => usize::try_from(*forks).unwrap_or(1).max(1),
            _ => 1,
        }
    }
}

impl PlannedTask {
    /// On how many of so many hosts it runs, as far as that is known beforehand.
    pub fn runs_on(&self, hosts: usize) -> usize {
        match () {
            () if self.effect == Effect::Never => 0,
            () if self.run_once => hosts.min(1),
            () => hosts,
        }
    }
}

/// What a task is done for each of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlannedLoop {
    /// The lookup of `with_…`; `None` for `loop`.
    pub with: Option<String>,
    /// The items, or the expression that gives them.
    pub over: Plain,
}

/// What has to be done before a task, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dependency {
    /// The other task's number.
    pub on: usize,
    /// Why.
    pub because: Because,
}

/// Why a task depends on another: of several reasons, the one that stands first here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// The other notifies it.
    Notify,
    /// It uses a variable that the other sets, or sets one that the other uses.
    Variable,
    /// It uses a path that the other writes.
    Path,
    /// It may use an account that the other makes.
    Resource,
    /// It is in a block that handles failures, where one thing comes after the other.
    Block,
    /// One of them may do or change anything, so that their order counts.
    Order,
}

/// What a task does to its hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// What it says.
    Applies,
    /// Nothing: in check mode, it says what it would change.
    Predicts,
    /// Nothing: in check mode its module can't say what it would change.
    Skips,
    /// Nothing: its conditions hold on no host in this mode.
    Never,
}

/// What can go wrong when a module runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// It looks, and changes nothing.
    Low,
    /// It changes files that it names.
    Medium,
    /// It changes what the system consists of, or nothing is known of it.
    High,
    /// It can do anything, or cut the machine off.
    Critical,
}

/// Sums and scores of a plan.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Totals {
    /// Plays.
    pub plays: usize,
    /// Hosts, each once.
    pub hosts: usize,
    /// Tasks, without handlers.
    pub tasks: usize,
    /// Handlers.
    pub handlers: usize,
    /// Tasks times the hosts that they run on. What never holds does not run.
    pub task_runs: usize,
    /// How long all of it is assumed to take, in milliseconds.
    pub estimate_ms: u64,
    /// Tasks of each risk.
    pub risks: BTreeMap<Risk, usize>,
    /// Tasks divided by stages: how many could run at a time on a host, on average. `None` without tasks.
    pub parallelism: Option<f64>,
    /// Round trips to hosts.
    pub round_trips: usize,
    /// Programs that are shipped in place of some of them.
    pub binaries: usize,
    /// How long compiling those is assumed to take beforehand, in milliseconds.
    pub compile_ms: u64,
    /// The share of round trips that the strategy saves against one for each task on each host; from 0 to 1. `None` if
    /// nothing goes to a host.
    pub network_efficiency: Option<f64>,
}

#[cfg(test)]
mod schema {
    use expect_test::expect_file;

    #[test]
    fn the_schema_in_the_docs_is_that_of_the_types() {
        let schema = schemars::schema_for!(super::ExecutionPlan);
        let mut text = serde_json::to_string_pretty(&schema).unwrap();
        text.push('\n');
        expect_file!["../../../../docs/plan.schema.json"].assert_eq(&text);
    }
}
