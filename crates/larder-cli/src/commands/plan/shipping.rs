//! `larder plan --strategy` and `--list-binaries`: how hosts go through the tasks, and what goes as a program.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use larder_ansible::query::{Force, ShipOptions, Strategy};

use super::place::Place;
use crate::failure::Failure;

/// What is about playbooks or inventories, and not about plans.
const LISTINGS: [&str; 4] = ["list_hosts", "list_tasks", "list_tags", "list_inventory"];

#[derive(Debug, Args)]
pub(super) struct ShippingArguments {
    /// How hosts go through the tasks, whatever the plays say
    #[arg(long, value_name = "STRATEGY", conflicts_with_all = LISTINGS)]
    strategy: Option<Named>,
    /// List which runs of tasks could go to which hosts as one program, instead of printing the plan
    #[arg(long, conflicts_with_all = ["list_hosts", "list_tasks", "list_tags", "list_inventory", "format", "explain", "changes", "estimate"])]
    list_binaries: bool,
    /// How many round trips tasks in a row have to take for a program to be worth it [default: 3]
    #[arg(long, value_name = "N", conflicts_with_all = LISTINGS)]
    binary_threshold: Option<usize>,
    /// Ship whatever can be shipped
    #[arg(long, conflicts_with_all = LISTINGS, conflicts_with = "binary_threshold")]
    force_binary: bool,
    /// Ship nothing
    #[arg(long, conflicts_with_all = LISTINGS, conflicts_with_all = ["binary_threshold", "force_binary"])]
    force_ssh: bool,
    /// Directory with the facts of each host in a file of its name, as Ansible's fact cache `jsonfile` writes them
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = LISTINGS)]
    facts: Option<PathBuf>,
}

/// A strategy by its name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Named {
    /// All hosts of a batch finish a task before the next begins
    Linear,
    /// The same, in batches of --forks hosts where the play has no serial
    Rolling,
    /// Each host goes on as fast as it can
    Free,
    /// The same, and a host that began is finished before another takes its place
    HostPinned,
    /// Runs of tasks go as programs where that is worth it, the others by ssh
    Hybrid,
    /// All tasks go as programs; one that can't is an error
    BinaryOnly,
}

impl ShippingArguments {
    /// What has to be below the root.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.facts.iter().cloned().collect()
    }

    pub(super) fn is_listed(&self) -> bool {
        self.list_binaries
    }

    pub(super) fn strategy(&self) -> Option<Strategy> {
        self.strategy.map(|named| match named {
            Named::Linear => Strategy::Linear,
            Named::Rolling => Strategy::Rolling,
            Named::Free => Strategy::Free,
            Named::HostPinned => Strategy::HostPinned,
            Named::Hybrid => Strategy::Hybrid,
            Named::BinaryOnly => Strategy::BinaryOnly,
        })
    }

    /// What decides what is shipped, if anything is.
    pub(super) fn options(&self, place: &Place) -> Result<Option<ShipOptions>, Failure> {
        let is_asked = self.list_binaries || self.strategy().is_some_and(Strategy::ships);
        if !is_asked {
            return match self.given() {
                None => Ok(None),
                Some(option) => {
                    let error = anyhow!("{option} says how programs are shipped, and nothing asks for any");
                    Err(Failure::usage(error).hint("add --list-binaries or --strategy hybrid"))
                }
            };
        }
        let force = match () {
            () if self.force_binary => Some(Force::Binary),
            () if self.force_ssh => Some(Force::Ssh),
            () => None,
        };
        if let Some(facts) = self.facts.as_ref().filter(|facts| !facts.is_dir()) {
            let error = anyhow!("{} is no directory with facts of hosts", facts.display());
            return Err(Failure::usage(error)
                .hint("set fact_caching=jsonfile and fact_caching_connection for Ansible"));
        }
        let default = ShipOptions::default();
        Ok(Some(ShipOptions {
            threshold: self.binary_threshold.unwrap_or(default.threshold),
            force,
            facts: self.facts.as_ref().map(|facts| place.relative(facts)).transpose()?,
        }))
    }

    fn given(&self) -> Option<&'static str> {
        match () {
            () if self.binary_threshold.is_some() => Some("--binary-threshold"),
            () if self.force_binary => Some("--force-binary"),
            () if self.force_ssh => Some("--force-ssh"),
            () if self.facts.is_some() => Some("--facts"),
            () => None,
        }
    }
}
