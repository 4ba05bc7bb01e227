//! Building an inventory out of what its sources say, in the order in which they say it.
//!
//! The rules are those of `ansible/inventory/data.py` and `group.py`, whose order of groups and hosts decides the
//! order in which plays go through hosts. Circles of groups are looked for once, at the end, and not at each child.
//! Not here: what sources look like (`ini`, `tree`).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::address::{self, RANGE_LIMIT, RangeError};
use super::model::{ALL, Group, Host, Inventory, LOCALHOST, UNGROUPED, Warning};
use super::value::{Value, Variables};
use crate::problem::{Problem, nearest};
use crate::yaml::Position;

/// How many warnings are kept; more say nothing new.
const WARNINGS_LIMIT: usize = 100;

/// A text that an inventory is read from.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    /// What to call it.
    pub(super) name: &'a str,
    pub(super) bytes: &'a [u8],
}

impl Text<'_> {
    pub(super) fn problem(&self, at: Position, message: impl Into<String>) -> Problem {
        Problem::at(self.name, self.bytes, at, message)
    }
}

/// Why something can't be in an inventory. Where is known to whoever read it.
#[derive(Debug)]
pub(super) struct Fault {
    message: String,
    remedy: Option<&'static str>,
}

impl Fault {
    fn new(message: impl Into<String>, remedy: &'static str) -> Self {
        Self { message: message.into(), remedy: Some(remedy) }
    }

    pub(super) fn at(self, text: &Text<'_>, position: Position) -> Problem {
        let problem = text.problem(position, self.message);
        match self.remedy {
            Some(remedy) => problem.remedy(remedy),
            None => problem,
        }
    }
}

impl From<RangeError> for Fault {
    fn from(error: RangeError) -> Self {
        Self::new(error.to_string(), error.remedy())
    }
}

/// An inventory that is not whole yet.
pub(super) struct Building<'a> {
    groups: Vec<Group>,
    hosts: Vec<Host>,
    /// What was set, in order; of equal names the last counts.
    group_variables: Vec<Vec<(Box<str>, Value)>>,
    host_variables: Vec<Vec<(Box<str>, Value)>>,
    group_ids: HashMap<Box<str>, u32>,
    host_ids: HashMap<Box<str>, u32>,
    /// Which group lists which host, and the source that said so first.
    members: HashMap<(u32, u32), u32>,
    /// Parent and child.
    kin: HashSet<(u32, u32)>,
    /// Where each child was written.
    written: Vec<(u32, u32, u32, Position)>,
    texts: Vec<Text<'a>>,
    localhost: Option<u32>,
    warnings: Vec<Warning>,
    has_odd_name: bool,
    /// How many hosts ranges stood for.
    ranged: usize,
}

impl<'a> Building<'a> {
    pub(super) fn new() -> Self {
        let mut building = Self {
            groups: Vec::new(),
            hosts: Vec::new(),
            group_variables: Vec::new(),
            host_variables: Vec::new(),
            group_ids: HashMap::new(),
            host_ids: HashMap::new(),
            members: HashMap::new(),
            kin: HashSet::new(),
            written: Vec::new(),
            texts: vec![Text { name: "", bytes: b"" }],
            localhost: None,
            warnings: Vec::new(),
            has_odd_name: false,
            ranged: 0,
        };
        for name in ["all", "ungrouped"] {
            building.insert_group(name);
        }
        building.relate(ALL, UNGROUPED);
        building
    }

    /// Says which text the following comes from.
    pub(super) fn begin(&mut self, text: Text<'a>) {
        self.texts.push(text);
    }

    pub(super) fn warn(&mut self, line: usize, message: impl Into<Box<str>>) {
        if self.warnings.len() < WARNINGS_LIMIT {
            let file = self.texts.last().expect("there is one").name.into();
            self.warnings.push(Warning { file, line, message: message.into() });
        }
    }

    pub(super) fn has_group(&self, name: &str) -> bool {
        self.group_ids.contains_key(name)
    }

    /// The group that a name which is none was probably meant to be.
    pub(super) fn nearest_group(&self, name: &str) -> Option<&str> {
        // A look at more would take longer than it helps.
        let known = self.groups.iter().take(1_000).map(|group| &*group.name);
        nearest(name, known.filter(|known| *known != name))
    }

    /// The group of a name, which is added if it is not there.
    pub(super) fn group(&mut self, name: &str, line: usize) -> Result<u32, Fault> {
        if let Some(&group) = self.group_ids.get(name) {
            return Ok(group);
        }
        if name.is_empty() {
            return Err(Fault::new("a group has an empty name", "give it a name of letters, digits and `_`"));
        }
        let is_good =
            |(at, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit());
        if !self.has_odd_name && !name.char_indices().all(is_good) {
            self.has_odd_name = true;
            let message =
                format!("group name `{name}` is no name of a variable: `groups.{name}` won't find it");
            self.warn(line, message);
        }
        Ok(self.insert_group(name))
    }

    fn insert_group(&mut self, name: &str) -> u32 {
        let group = self.groups.len() as u32;
        self.group_ids.insert(name.into(), group);
        self.group_variables.push(Vec::new());
        self.groups.push(Group {
            name: name.into(),
            variables: Variables::default(),
            priority: 1,
            depth: 0,
            hosts: Vec::new(),
            children: Vec::new(),
            parents: Vec::new(),
        });
        group
    }

    /// Makes a group the child of another.
    pub(super) fn child(&mut self, parent: u32, child: u32, at: Position) -> Result<(), Fault> {
        if parent == child {
            let name = &self.groups[parent as usize].name;
            return Err(Fault::new(
                format!("group `{name}` is a child of itself"),
                "take it out of its own children",
            ));
        }
        if self.relate(parent, child) {
            self.written.push((parent, child, self.source(), at));
        }
        Ok(())
    }

    fn relate(&mut self, parent: u32, child: u32) -> bool {
        let is_new = self.kin.insert((parent, child));
        if is_new {
            self.groups[parent as usize].children.push(child);
            self.groups[child as usize].parents.push(parent);
        }
        is_new
    }

    fn source(&self) -> u32 {
        self.texts.len() as u32 - 1
    }

    /// The hosts that an expression stands for, and its port. All ranges of an inventory share one limit, so that a
    /// short text does not fill the memory.
    pub(super) fn hosts_of(&mut self, expression: &str) -> Result<(Vec<String>, Option<u32>), Fault> {
        // What is no address is taken for a name as it stands, with any range in it.
        let (pattern, port) = address::parse(expression).unwrap_or((expression, None));
        if !pattern.contains('[') {
            return Ok((vec![pattern.to_owned()], port));
        }
        let hosts = address::expand(pattern)?;
        self.ranged += hosts.len();
        if self.ranged > RANGE_LIMIT {
            return Err(RangeError::TooMany("this, with the ranges before it,".to_owned()).into());
        }
        Ok((hosts, port))
    }

    /// Lists a host in a group. The port counts only for a host that was not known.
    pub(super) fn host(
        &mut self,
        name: &str,
        group: u32,
        port: Option<u32>,
        line: usize,
    ) -> Result<(), Fault> {
        if name.is_empty() {
            return Err(Fault::new("a host has an empty name", "name the host, or take the line out"));
        }
        let host = match self.host_ids.get(name) {
            Some(&host) => host,
            None => self.insert_host(name, port, line),
        };
        let source = self.source();
        match self.members.entry((group, host)) {
            Entry::Vacant(slot) => {
                slot.insert(source);
                self.groups[group as usize].hosts.push(host);
            }
            Entry::Occupied(slot) if *slot.get() == source => {
                let group = self.groups[group as usize].name.clone();
                self.warn(
                    line,
                    format!("host `{name}` is in group `{group}` already; the variables are joined"),
                );
            }
            Entry::Occupied(_) => {}
        }
        Ok(())
    }

    pub(super) fn has_host(&self, name: &str) -> bool {
        self.host_ids.contains_key(name)
    }

    fn insert_host(&mut self, name: &str, port: Option<u32>, line: usize) -> u32 {
        let host = self.hosts.len() as u32;
        self.host_ids.insert(name.into(), host);
        let port = port.filter(|&port| port > 0);
        let variables = port.map(|port| ("ansible_port".into(), Value::Integer(port.into())));
        self.host_variables.push(variables.into_iter().collect());
        self.hosts.push(Host { name: name.into(), variables: Variables::default(), groups: Vec::new() });
        if LOCALHOST.contains(&name) {
            match self.localhost {
                None => self.localhost = Some(host),
                Some(first) => {
                    let first = self.hosts[first as usize].name.clone();
                    self.warn(line, format!("`{name}` and `{first}` both stand for this machine"));
                }
            }
        }
        host
    }

    /// Sets a variable. A group that has the name of a host gets it instead of the host, as in Ansible.
    pub(super) fn variable(&mut self, of: &str, name: &str, value: Value) -> Result<(), Fault> {
        if let Some(&group) = self.group_ids.get(of) {
            if name == "ansible_group_priority" {
                self.groups[group as usize].priority = priority(&value)?;
            } else {
                self.group_variables[group as usize].push((name.into(), value));
            }
        } else if let Some(&host) = self.host_ids.get(of) {
            self.host_variables[host as usize].push((name.into(), value));
        }
        Ok(())
    }

    /// Puts everything below `all`, takes out of `ungrouped` what is in other groups, and looks for circles.
    pub(super) fn finish(mut self) -> Result<Inventory, Problem> {
        for group in 1..self.groups.len() as u32 {
            if self.groups[group as usize].parents.is_empty() {
                self.relate(ALL, group);
            }
        }
        self.settle_depths()?;
        self.settle_ungrouped();
        for (group, variables) in self.groups.iter_mut().zip(std::mem::take(&mut self.group_variables)) {
            group.variables = variables.into_iter().collect();
        }
        for (host, variables) in self.hosts.iter_mut().zip(std::mem::take(&mut self.host_variables)) {
            host.variables = variables.into_iter().collect();
        }
        self.texts.push(Text { name: "", bytes: b"" });
        let both: Vec<Box<str>> = self
            .groups
            .iter()
            .filter(|group| self.has_host(&group.name))
            .map(|group| group.name.clone())
            .collect();
        for name in both {
            self.warn(0, format!("`{name}` is a group and a host; variables of the host go to the group"));
        }
        let by_name = |names: Vec<&str>| {
            let mut order: Vec<u32> = (0..names.len() as u32).collect();
            order.sort_unstable_by_key(|&at| names[at as usize]);
            order
        };
        Ok(Inventory {
            groups_by_name: by_name(self.groups.iter().map(|group| &*group.name).collect()),
            hosts_by_name: by_name(self.hosts.iter().map(|host| &*host.name).collect()),
            groups: self.groups,
            hosts: self.hosts,
            localhost: self.localhost,
            warnings: self.warnings,
        })
    }

    fn settle_ungrouped(&mut self) {
        let mut is_grouped = vec![false; self.hosts.len()];
        // Whatever `ungrouped` was made a child of is a group of all its hosts.
        let is_child = self.groups[UNGROUPED as usize].parents.iter().any(|&parent| parent != ALL);
        let mut is_in_ungrouped = vec![false; self.hosts.len()];
        for (at, group) in self.groups.iter().enumerate() {
            let marks = match at as u32 {
                ALL => continue,
                UNGROUPED if is_child => {
                    group.hosts.iter().for_each(|&host| is_in_ungrouped[host as usize] = true);
                    &mut is_grouped
                }
                UNGROUPED => &mut is_in_ungrouped,
                _ => &mut is_grouped,
            };
            group.hosts.iter().for_each(|&host| marks[host as usize] = true);
        }
        let ungrouped = &mut self.groups[UNGROUPED as usize].hosts;
        ungrouped.retain(|&host| !is_grouped[host as usize]);
        let is_free = |&host: &u32| !is_grouped[host as usize] && !is_in_ungrouped[host as usize];
        ungrouped.extend((0..self.hosts.len() as u32).filter(is_free));
        for (at, group) in self.groups.iter().enumerate() {
            for &host in &group.hosts {
                self.hosts[host as usize].groups.push(at as u32);
            }
        }
    }

    /// Depths are lengths of longest ways from `all`; groups that are on no such way are in a circle.
    fn settle_depths(&mut self) -> Result<(), Problem> {
        let mut waits_for: Vec<usize> = self.groups.iter().map(|group| group.parents.len()).collect();
        let mut ready: Vec<u32> = (waits_for[ALL as usize] == 0).then_some(ALL).into_iter().collect();
        let mut settled = 0;
        while let Some(group) = ready.pop() {
            settled += 1;
            let depth = self.groups[group as usize].depth + 1;
            for at in 0..self.groups[group as usize].children.len() {
                let child = self.groups[group as usize].children[at] as usize;
                self.groups[child].depth = self.groups[child].depth.max(depth);
                waits_for[child] -= 1;
                if waits_for[child] == 0 {
                    ready.push(child as u32);
                }
            }
        }
        if settled == self.groups.len() { Ok(()) } else { Err(self.circle(&waits_for)) }
    }

    /// Names a circle among the groups that still wait for a parent.
    fn circle(&self, waits_for: &[usize]) -> Problem {
        let waiting_parent = |group: u32| {
            let parents = &self.groups[group as usize].parents;
            parents.iter().copied().find(|&parent| waits_for[parent as usize] > 0)
        };
        let mut group =
            (0..self.groups.len() as u32).find(|&group| waits_for[group as usize] > 0).unwrap_or(ALL);
        let mut way = Vec::new();
        let mut place = HashMap::new();
        // Each that waits has a parent that waits, so going up comes back to where it was.
        while let Entry::Vacant(slot) = place.entry(group) {
            slot.insert(way.len());
            way.push(group);
            group = waiting_parent(group).unwrap_or(group);
        }
        let mut circle = way.split_off(place[&group]);
        circle.push(group);
        circle.reverse();
        let edges: HashSet<(u32, u32)> = circle.windows(2).map(|pair| (pair[0], pair[1])).collect();
        let mut names: Vec<&str> =
            circle.iter().take(20).map(|&group| &*self.groups[group as usize].name).collect();
        if circle.len() > names.len() {
            names.push("...");
        }
        let message = format!("groups are children of each other in a circle: {}", names.join(" -> "));
        let remedy = "take one of them out of the children of the next";
        let last = self.written.iter().rev().find(|(parent, child, ..)| edges.contains(&(*parent, *child)));
        match last {
            Some(&(_, _, source, at)) => self.texts[source as usize].problem(at, message).remedy(remedy),
            None => Problem::nowhere(message).remedy(remedy),
        }
    }
}

/// Python's `int` of a value.
fn priority(value: &Value) -> Result<i64, Fault> {
    let number = match value {
        Value::Integer(number) => Some(*number),
        Value::Bool(value) => Some(i64::from(*value)),
        Value::Float(number) if number.is_finite() => Some(*number as i64),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| Fault::new("ansible_group_priority is no whole number", "write it as 10"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_ranges_share_one_limit() {
        let mut building = Building::new();
        assert_eq!(building.hosts_of("a[1:1000000]").unwrap().0.len(), 1_000_000);
        assert_eq!(
            building.hosts_of("b[1:2]:22").unwrap(),
            (vec!["b1".to_owned(), "b2".to_owned()], Some(22))
        );
        let fault = building.hosts_of("c[1:100000]").unwrap_err();
        let message = "this, with the ranges before it, stands for too many hosts: 1048576 are the most";
        assert_eq!(fault.message, message);
    }
}
