//! Ansible playbooks, read and planned: what would run where, in which order, without running anything.
//!
//! [`yaml`] reads files as Ansible's own loader does and keeps positions for [`problem`]s. [`playbook`] is what they
//! say, [`query`] puts imports and roles in their place, [`listing`] prints that as ansible-playbook does.
//! [`inventory`] knows hosts and their variables, [`plan`] puts both together, [`change`] tells two plans apart,
//! [`kept`] keeps plans under names for programs that make them otherwise.
//! Not here: printing, exit codes, the home directory (the command line); running anything on a host.

pub mod change;
pub mod compiled;
pub mod extra;
mod fault;
pub mod inventory;
pub mod kept;
pub mod listing;
mod place;
pub mod plain;
pub mod plan;
pub mod planner;
pub mod playbook;
pub mod problem;
pub mod query;
pub mod tags;
mod template;
mod weight;
pub mod yaml;
