//! Shipping: which runs of tasks could go to which hosts as one static program, instead of one round trip a task.
//!
//! A run is of tasks that follow each other, that nothing but the host and what is handed over decides, and that are
//! done as the same user. It never crosses a batch, a point where handlers run, a task that concerns other hosts or the
//! controller, or a block that handles failures. So whatever is shipped, each host does the same tasks in the same order.
//!
//! Sizes and times of compiling are assumptions, as the times of modules are.
//! Not here: files and facts (`query`), strategies (`schedule`).

mod group;
mod listing;
mod obstacle;

use serde::{Deserialize, Serialize};

pub(crate) use group::{Findings, binaries};
pub use listing::{Listing, listing};
pub(crate) use obstacle::{crosses, names, of_controller};

/// A run of tasks as one program for some hosts of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Binary {
    /// The batch, from 0.
    pub batch: usize,
    /// The tasks by their numbers, in order.
    pub tasks: Vec<usize>,
    /// The hosts, which are of the same target.
    pub hosts: Vec<String>,
    /// What the program is compiled for.
    pub target: Target,
    /// Which program of the play it is, from 0: several batches may have the same.
    pub program: usize,
    /// The modules in it, sorted.
    pub modules: Vec<String>,
    /// The files in it, by the paths that they have below the root.
    pub files: Vec<Embedded>,
    /// Variables that it is handed for each host.
    pub variables: Vec<String>,
    /// Registered results that it hands back.
    pub results: Vec<String>,
    /// How large it is assumed to be.
    pub size_bytes: u64,
    /// How long compiling it is assumed to take, in milliseconds; 0 if an earlier binary is the same program.
    pub compile_ms: u64,
    /// Round trips that it saves, on all its hosts together.
    pub round_trips_saved: usize,
}

/// What a program is compiled for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Target {
    /// The system, such as `linux`.
    pub system: String,
    /// The architecture, such as `x86_64`.
    pub architecture: String,
}

/// A file in a program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Embedded {
    /// Its path below the root.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// Why a task is in no program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Obstacle {
    /// The task's number.
    pub task: usize,
    /// The sort of reason.
    pub why: WhyNot,
    /// The reason in words.
    pub reason: String,
}

/// The sort of reason why a task is in no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WhyNot {
    /// Its module runs on the controller, or is not known.
    Module,
    /// It concerns other hosts: it runs once or is delegated, or a failure ends the others.
    Hosts,
    /// An expression in it needs the controller, or can't be read.
    Expression,
    /// A keyword of it has Ansible do something.
    Keyword,
    /// It is in a block that handles failures.
    Block,
    /// It has an encrypted value, which is not put into a program.
    Secret,
    /// A file that it sends is not known, not there or not a file.
    File,
    /// It only predicts what it would do.
    Check,
    /// It never leaves the controller, and stands at an end of a run.
    Stays,
    /// Too few tasks follow each other for a program to be worth it.
    Few,
    /// Shipping is switched off.
    Forced,
}

/// What can be shipped of a play.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Shipping {
    /// Programs in the order of batches and tasks.
    pub binaries: Vec<Binary>,
    /// The other tasks that run, each with the reason why.
    pub by_ssh: Vec<Obstacle>,
    /// Hosts of which no target is known, so that nothing is compiled for them.
    pub hosts_without_target: Vec<String>,
}

/// What decides what is shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipOptions {
    /// How many round trips a run of tasks has to take without a program for one to be worth it.
    pub threshold: usize,
    /// Whether that is overruled.
    pub force: Option<Force>,
    /// A directory below the root with a file of facts for each host, as Ansible's cache plugin `jsonfile` writes them.
    pub facts: Option<String>,
}

impl Default for ShipOptions {
    fn default() -> Self {
        Self { threshold: 3, force: None, facts: None }
    }
}

/// What is shipped whatever is worth it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Force {
    /// Everything that can be.
    Binary,
    /// Nothing.
    Ssh,
}

impl Target {
    /// A target by the facts `ansible_system` and `ansible_architecture`, under the names that compilers use.
    pub(crate) fn of_facts(system: Option<&str>, architecture: &str) -> Self {
        let architecture = match architecture {
            "amd64" | "x86-64" => "x86_64",
            "arm64" => "aarch64",
            other => other,
        };
        Self { system: system.unwrap_or("linux").to_lowercase(), architecture: architecture.to_lowercase() }
    }
}
