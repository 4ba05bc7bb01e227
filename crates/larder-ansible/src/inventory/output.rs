//! What a program prints that is an inventory, as Ansible's script plugin reads it.

use super::build::{Building, Text};
use super::json;
use super::value::Value;
use crate::problem::Problem;
use crate::yaml::{self, Node, Position};

const START: Position = Position { line: 1, column: 1 };

/// Adds the groups of an output and the variables of its `_meta`.
pub(super) fn read(text: &Text<'_>, building: &mut Building<'_>) -> Result<(), Problem> {
    let document = document(text.name, text.bytes)?;
    if document.get("_meta").is_some() && host_variables(&document).is_none() {
        return Err(wrong(text, "no object as `_meta.hostvars`"));
    }
    let mut listed: Vec<Box<str>> = Vec::new();
    for (name, content) in document.as_mapping().unwrap_or_default() {
        if let Some(name) = name.as_str().filter(|&name| name != "_meta") {
            group(text, building, name, content, &mut listed)?;
        }
    }
    listed.sort_unstable();
    listed.dedup();
    for host in &listed {
        let variables =
            host_variables(&document).and_then(|known| known.get(host)).and_then(Node::as_mapping);
        set(text, building, host, variables.unwrap_or_default())?;
    }
    Ok(())
}

fn wrong(text: &Text<'_>, what: impl std::fmt::Display) -> Problem {
    Problem::of_file(text.name, format!("the output of the program has {what}"))
        .remedy("an inventory is an object of groups, each with a list `hosts`, and `_meta` with `hostvars`")
}

/// Adds a group, and to `listed` the hosts that it lists.
fn group(
    text: &Text<'_>,
    building: &mut Building<'_>,
    name: &str,
    content: &Node,
    listed: &mut Vec<Box<str>>,
) -> Result<(), Problem> {
    let group = building.group(name, 0).map_err(|fault| fault.at(text, START))?;
    let is_group = ["hosts", "vars", "children"].iter().any(|key| content.get(key).is_some());
    let itself = [Node { value: yaml::Value::String(name.into()), at: START }];
    // Older programs give a list of hosts instead of a group, or the variables of a host named like the group.
    let (hosts, variables) = match &content.value {
        yaml::Value::Mapping(_) if is_group => {
            let hosts = content.get("hosts").map(|hosts| {
                hosts.as_sequence().ok_or_else(|| wrong(text, format_args!("no list as `hosts` of `{name}`")))
            });
            (hosts.transpose()?.unwrap_or_default(), content.get("vars"))
        }
        yaml::Value::Mapping(_) => (&itself[..], Some(content)),
        yaml::Value::Sequence(hosts) => (hosts.as_slice(), None),
        other => return Err(wrong(text, format_args!("{} as group `{name}`", other.described()))),
    };
    for host in hosts {
        let host = host.as_str();
        let host = host.ok_or_else(|| wrong(text, format_args!("a host of `{name}` that is no string")))?;
        building.host(host, group, None, 0).map_err(|fault| fault.at(text, START))?;
        listed.push(host.into());
    }
    if let Some(variables) = variables {
        let variables = variables.as_mapping();
        let variables =
            variables.ok_or_else(|| wrong(text, format_args!("no object as `vars` of `{name}`")))?;
        set(text, building, name, variables)?;
    }
    let children = content.get("children").and_then(Node::as_sequence).unwrap_or_default();
    for child in children {
        let child = child.as_str();
        let child =
            child.ok_or_else(|| wrong(text, format_args!("a child of `{name}` that is no string")))?;
        let related = building.group(child, 0).and_then(|child| building.child(group, child, START));
        related.map_err(|fault| fault.at(text, START))?;
    }
    Ok(())
}

fn set(
    text: &Text<'_>,
    building: &mut Building<'_>,
    of: &str,
    variables: &[(Node, Node)],
) -> Result<(), Problem> {
    for (name, value) in variables {
        let set = building.variable(of, &Value::from(name).as_key(), value_of(value));
        set.map_err(|fault| fault.at(text, START))?;
    }
    Ok(())
}

/// A value, where Ansible marks what is encrypted and what is no template by objects with one key.
fn value_of(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Mapping(entries) => match entries.as_slice() {
            [(key, text)] if key.as_str() == Some("__ansible_vault") && text.as_str().is_some() => {
                Value::Vault(text.as_str().unwrap_or_default().into())
            }
            [(key, value)] if key.as_str() == Some("__ansible_unsafe") => value_of(value),
            entries => {
                Value::Map(entries.iter().map(|(key, value)| (Value::from(key), value_of(value))).collect())
            }
        },
        yaml::Value::Sequence(items) => Value::List(items.iter().map(value_of).collect()),
        _ => Value::from(node),
    }
}

fn document(name: &str, bytes: &[u8]) -> Result<Node, Problem> {
    let document = json::parse(bytes).filter(|document| document.as_mapping().is_some());
    document.ok_or_else(|| {
        Problem::of_file(name, "the output of the program is no object of JSON")
            .remedy(format!("look at what it prints: {name} --list"))
    })
}

/// The variables of all hosts, if the output has them; otherwise the program is asked for each host.
fn host_variables(document: &Node) -> Option<&Node> {
    document.get("_meta")?.get("hostvars").filter(|variables| variables.as_mapping().is_some())
}

/// The hosts that a program has to be asked about one by one, as what it printed says nothing of their variables.
pub(super) fn hosts_without_variables(name: &str, bytes: &[u8]) -> Result<Vec<String>, Problem> {
    let document = document(name, bytes)?;
    if host_variables(&document).is_some() {
        return Ok(Vec::new());
    }
    let text = Text { name, bytes };
    let mut building = Building::new();
    building.begin(text);
    read(&text, &mut building)?;
    Ok(building.finish()?.hosts().iter().map(|host| host.name.to_string()).collect())
}
