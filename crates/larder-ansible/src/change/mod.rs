//! What differs between two plans: tasks that came, went, changed or moved, aligned by what they are and not by where
//! they stand.
//!
//! The impact is the share of all work that the differences concern, from 0 to 1. A task's work is the number of hosts
//! that it runs on times the weight of its risk: 1, 2, 4 or 8 from low to critical. One that came or went counts in
//! full, as does one whose module, arguments, conditions, loop, place or hosts changed; one with another difference
//! counts half. All work is that of the tasks of both plans, each matched pair once, with the heavier of the two.
//!
//! Not here: what a plan is (`plan`), how files with plans are read (the command line).

mod align;
mod compare;
mod text;

use serde::Serialize;

pub use compare::changes;

/// What differs between two plans.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changes {
    /// Plays that differ, in the order of the new plan; those that went stand last.
    pub plays: Vec<PlayChanges>,
    /// How much of all work the differences concern: 0 is none, 1 is all.
    pub impact: f64,
}

/// What differs in a play.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlayChanges {
    /// Its name; the new one if it changed.
    pub name: String,
    /// Whether the play is in one of the plans only.
    pub presence: Presence,
    /// Hosts that only the new plan has.
    pub added_hosts: Vec<String>,
    /// Hosts that only the old plan has.
    pub removed_hosts: Vec<String>,
    /// Differences of the play itself.
    pub fields: Vec<FieldChange>,
    /// Tasks and handlers that only the new plan has.
    pub added: Vec<TaskName>,
    /// Tasks and handlers that only the old plan has.
    pub removed: Vec<TaskName>,
    /// Tasks and handlers that both have and that differ.
    pub modified: Vec<Modified>,
}

/// Which plans have a play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Both.
    Both,
    /// Only the new one.
    Added,
    /// Only the old one.
    Removed,
}

/// A task for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskName {
    /// Its name.
    pub name: String,
    /// Its module.
    pub module: String,
}

/// A task that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Modified {
    /// The task, as it is now.
    #[serde(flatten)]
    pub task: TaskName,
    /// Whether it stands elsewhere among those that both plans have.
    pub moved: bool,
    /// What differs.
    pub fields: Vec<FieldChange>,
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// Of what: `args.dest`, `when`, `tags`, `depends_on` and so on.
    pub field: String,
    /// As it was; `None` if it was not there.
    pub was: Option<String>,
    /// As it is; `None` if it is not there.
    pub is: Option<String>,
}

impl Changes {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.plays.is_empty()
    }
}
