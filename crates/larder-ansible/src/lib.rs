//! Ansible playbooks, read and planned: what would run where, in which order, without running anything.
//!
//! [`inventory`] knows hosts and their variables. [`yaml`] reads files as Ansible's own loader does and keeps positions for [`problem`]s.
//! Not here: printing, exit codes, the home directory (the command line); running anything on a host.

pub mod inventory;
pub mod problem;
pub mod yaml;
