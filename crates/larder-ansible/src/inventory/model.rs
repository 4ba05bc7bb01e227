//! The inventory: groups, hosts and what was written beside them, as Ansible has it after reading all sources.
//!
//! Invariant: the groups form no circle, group 0 is `all` and group 1 is `ungrouped`, every host is in a group,
//! and indexes lead to what is there. Made by [`Building`](super::build::Building) alone.
//! Not here: `group_vars/` and `host_vars/`, which are files of their own.

use serde::{Deserialize, Serialize};

use super::value::Variables;

pub(super) const ALL: u32 = 0;
pub(super) const UNGROUPED: u32 = 1;

/// Names by which Ansible knows this machine, in an inventory or without one.
pub(super) const LOCALHOST: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// Groups and hosts in the order in which Ansible first met them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Inventory {
    pub(crate) groups: Vec<Group>,
    pub(crate) hosts: Vec<Host>,
    /// Indexes of groups, by name.
    pub(crate) groups_by_name: Vec<u32>,
    /// Indexes of hosts, by name.
    pub(crate) hosts_by_name: Vec<u32>,
    /// The first host that is named as this machine.
    pub(crate) localhost: Option<u32>,
    pub(crate) warnings: Vec<Warning>,
}

/// A group of hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: Box<str>,
    /// What sources of the inventory set for it.
    pub variables: Variables,
    /// `ansible_group_priority`: of groups of one depth, the one with the highest has the last word.
    pub priority: i64,
    /// How far it is from `all` on the longest way.
    pub depth: u32,
    pub(crate) hosts: Vec<u32>,
    pub(crate) children: Vec<u32>,
    pub(crate) parents: Vec<u32>,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: Box<str>,
    /// What sources of the inventory set for it.
    pub variables: Variables,
    /// The groups that list it.
    pub(crate) groups: Vec<u32>,
}

/// Something that Ansible accepts and that was hardly meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The file, by the name that it was given; empty if it is about no file.
    pub file: Box<str>,
    /// The line; 0 if it is about none.
    pub line: usize,
    /// What is odd.
    pub message: Box<str>,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&*self.file, self.line) {
            ("", _) => f.write_str(&self.message),
            (file, 0) => write!(f, "{file}: {}", self.message),
            (file, line) => write!(f, "{file}:{line}: {}", self.message),
        }
    }
}

impl Inventory {
    /// All hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// All groups, `all` and `ungrouped` among them.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// What was odd, in the order of the sources.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The host of a name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.host_index(name).map(|index| &self.hosts[index as usize])
    }

    /// The group of a name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.group_index(name).map(|index| &self.groups[index as usize])
    }

    /// The groups that list a group as a child.
    pub fn parents<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a Group> {
        group.parents.iter().map(|&parent| &self.groups[parent as usize])
    }

    /// The children of a group.
    pub fn children<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a Group> {
        group.children.iter().map(|&child| &self.groups[child as usize])
    }

    /// The hosts that a group itself lists.
    pub fn listed<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = &'a Host> {
        group.hosts.iter().map(|&host| &self.hosts[host as usize])
    }

    /// The groups of a host and all that these are in, `all` left out, in the order in which their variables
    /// count: later ones win.
    pub fn groups_of(&self, host: &Host) -> Vec<&Group> {
        let mut reached: Vec<u32> = Vec::new();
        let mut pending: Vec<u32> = host.groups.clone();
        let mut seen = std::collections::HashSet::new();
        while let Some(group) = pending.pop() {
            if group != ALL && seen.insert(group) {
                reached.push(group);
                pending.extend(&self.groups[group as usize].parents);
            }
        }
        let mut groups: Vec<&Group> = reached.into_iter().map(|group| &self.groups[group as usize]).collect();
        groups.sort_by(|a, b| (a.depth, a.priority, &a.name).cmp(&(b.depth, b.priority, &b.name)));
        groups
    }

    pub(super) fn host_index(&self, name: &str) -> Option<u32> {
        let at = self.hosts_by_name.binary_search_by(|&host| (*self.hosts[host as usize].name).cmp(name));
        at.ok().map(|at| self.hosts_by_name[at])
    }

    pub(super) fn group_index(&self, name: &str) -> Option<u32> {
        let at = self.groups_by_name.binary_search_by(|&group| (*self.groups[group as usize].name).cmp(name));
        at.ok().map(|at| self.groups_by_name[at])
    }

    /// The hosts of a group and of all below it: its own first, then those of its children, then those of
    /// theirs, each once, in the order in which they were written. Ansible does the same, but where grandchildren
    /// have different parents it goes by the addresses that they have in memory, and so differs from run to run.
    pub(super) fn hosts_below(&self, group: u32) -> Vec<u32> {
        let mut order = vec![group];
        let mut seen_groups = vec![false; self.groups.len()];
        seen_groups[group as usize] = true;
        let mut at = 0;
        let mut hosts = Vec::new();
        let mut seen_hosts = vec![false; self.hosts.len()];
        while let Some(&group) = order.get(at) {
            at += 1;
            let group = &self.groups[group as usize];
            let new = |host: &&u32| !std::mem::replace(&mut seen_hosts[**host as usize], true);
            hosts.extend(group.hosts.iter().filter(new));
            let new = |child: &&u32| !std::mem::replace(&mut seen_groups[**child as usize], true);
            order.extend(group.children.iter().filter(new));
        }
        hosts
    }
}
