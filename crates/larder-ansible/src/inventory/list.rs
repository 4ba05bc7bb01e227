//! The form in which `ansible-inventory --list` prints an inventory.

use std::collections::BTreeMap;

use larder::engine::Session;

use super::files::Sources;
use super::model::{ALL, Inventory};
use super::queries::{HostsOf, InventoryError, Limit, Parsed, VariablesOf};
use super::value::{Variables, write_block, write_entries, write_text};

/// What `ansible-inventory --list` prints of an inventory, byte for byte.
///
/// `playbook_directory` is below the root of the session; hosts that a limit leaves out are not printed.
pub async fn list(
    session: &Session,
    sources: &Sources,
    playbook_directory: Option<&str>,
    limit: Option<&[Limit]>,
) -> Result<String, InventoryError> {
    let patterns = vec!["all".to_owned()];
    let chosen = HostsOf { sources: sources.clone(), patterns, limit: limit.map(<[Limit]>::to_vec) };
    let chosen = session.get(chosen).await?;
    let mut known = BTreeMap::new();
    for host in &chosen.hosts {
        let query = VariablesOf {
            sources: sources.clone(),
            playbook_directory: playbook_directory.map(str::to_owned),
            host: host.clone(),
        };
        known.insert(&**host, session.get(query).await?);
    }
    let variables = known.iter().map(|(&host, known)| (host, &known.variables)).collect();
    let inventory = session.get(Parsed { sources: sources.clone() }).await?;
    Ok(to_json(&inventory, &variables))
}

/// Prints hosts and the groups that they are in as JSON. `chosen` says which hosts, by name, with their variables; others are left out of the groups.
fn to_json(inventory: &Inventory, chosen: &BTreeMap<&str, &Variables>) -> String {
    let mut groups: Vec<(&str, Option<u32>)> = Vec::with_capacity(inventory.groups.len() + 1);
    groups.extend(
        (0..inventory.groups.len() as u32).map(|at| (&*inventory.groups[at as usize].name, Some(at))),
    );
    groups.push(("_meta", None));
    groups.sort_unstable();
    let mut out = String::new();
    let entries = groups.into_iter().filter_map(|(name, at)| match at {
        None => Some((name, None)),
        Some(at) => {
            let members = Members::of(inventory, at, chosen);
            (!members.is_empty()).then_some((name, Some(members)))
        }
    });
    write_entries(&mut out, 0, entries, |out, members| match members {
        Some(members) => members.write(out),
        None => write_meta(out, chosen),
    });
    out.push('\n');
    out
}

fn write_meta(out: &mut String, chosen: &BTreeMap<&str, &Variables>) {
    let entries = [("hostvars", true), ("profile", false)];
    write_entries(out, 1, entries.into_iter(), |out, is_hosts| {
        if !is_hosts {
            return write_text(out, "inventory_legacy");
        }
        let hosts = chosen.iter().filter(|(_, variables)| !variables.is_empty());
        write_entries(out, 2, hosts, |out, variables| {
            write_entries(out, 3, variables.iter(), |out, value| value.write_json(out, 4));
        });
    });
}

/// What a group lists itself.
struct Members<'a> {
    children: Vec<&'a str>,
    hosts: Vec<&'a str>,
}

impl<'a> Members<'a> {
    fn of(inventory: &'a Inventory, at: u32, chosen: &BTreeMap<&str, &Variables>) -> Self {
        let group = &inventory.groups[at as usize];
        let hosts = inventory.listed(group).map(|host| &*host.name).filter(|name| chosen.contains_key(name));
        Self {
            children: inventory.children(group).map(|child| &*child.name).collect(),
            hosts: if at == ALL { Vec::new() } else { hosts.collect() },
        }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.hosts.is_empty()
    }

    fn write(&self, out: &mut String) {
        let parts = [("children", &self.children), ("hosts", &self.hosts)];
        let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
        write_entries(out, 1, parts, |out, names| {
            write_block(out, 2, ['[', ']'], names.iter(), |out, name| write_text(out, name));
        });
    }
}
