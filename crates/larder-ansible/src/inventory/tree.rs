//! Inventories in the YAML and JSON form, as Ansible's yaml plugin reads them.

use super::build::{Building, Text};
use super::json;
use super::value::Value;
use crate::playbook::{INVENTORY, PLAYS};
use crate::problem::Problem;
use crate::yaml::{self, Node};

/// What a YAML text is to an inventory.
pub(super) enum Document {
    /// Groups.
    Groups(Node),
    /// The configuration of an inventory plugin.
    Plugin(Node),
    /// Something else, perhaps nothing.
    Other,
}

/// Reads JSON without looking at what its groups are; `None` if a text is none.
pub(super) fn parse_json(text: &Text<'_>) -> Option<Document> {
    json::parse(text.bytes).map(Document::of)
}

/// Reads a text without looking at what its groups are.
pub(super) fn parse(text: &Text<'_>) -> Result<Document, Problem> {
    let mut documents = yaml::parse(text.name, text.bytes)?;
    if documents.len() > 1 {
        let problem = text.problem(documents[1].at, "an inventory is one document, and this is a second");
        return Err(problem.remedy("take the `---` between them out"));
    }
    Ok(documents.pop().map_or(Document::Other, Document::of))
}

impl Document {
    fn of(document: Node) -> Self {
        match document.as_mapping() {
            None | Some([]) => Self::Other,
            // A playbook in the JSON form, of which this is the inventory.
            Some(_) if document.get(PLAYS).is_some_and(|plays| plays.as_sequence().is_some()) => {
                document.get(INVENTORY).map_or(Self::Other, |inventory| Self::of(inventory.clone()))
            }
            Some(_) => match document.get("plugin") {
                Some(plugin) if !Value::is_falsy(plugin) => Self::Plugin(plugin.clone()),
                _ => Self::Groups(document),
            },
        }
    }
}

/// Adds the groups of a document.
pub(super) fn read(text: &Text<'_>, document: &Node, building: &mut Building<'_>) -> Result<(), Problem> {
    let mut reading = Reading { text, building };
    for (name, content) in document.as_mapping().unwrap_or_default() {
        reading.group(name, content)?;
    }
    Ok(())
}

struct Reading<'r, 't, 'b> {
    text: &'r Text<'t>,
    building: &'r mut Building<'b>,
}

impl Reading<'_, '_, '_> {
    /// The group, unless what stands for it is none.
    fn group(&mut self, name: &Node, content: &Node) -> Result<Option<u32>, Problem> {
        let Some(text) = name.as_str() else {
            let problem =
                self.text.problem(name.at, format!("{} is no name of a group", name.value.described()));
            return Err(problem.remedy("put quotes around it"));
        };
        if !content.is_null() && content.as_mapping().is_none() {
            let found = content.value.described();
            self.building
                .warn(name.at.line, format!("`{text}` is no group, as it is {found}; it is skipped"));
            return Ok(None);
        }
        let group = self.building.group(text, name.at.line).map_err(|fault| fault.at(self.text, name.at))?;
        for (key, part) in content.as_mapping().unwrap_or_default() {
            self.part(text, group, key, part)?;
        }
        Ok(Some(group))
    }

    fn part(&mut self, name: &str, group: u32, key: &Node, part: &Node) -> Result<(), Problem> {
        let section = key.as_str().unwrap_or_default();
        let is_section = matches!(section, "vars" | "children" | "hosts");
        // A name alone is a mapping of it to nothing.
        let alone = match &part.value {
            yaml::Value::String(_) if is_section => {
                let nothing = Node { value: yaml::Value::Null, at: part.at };
                Some([(part.clone(), nothing)])
            }
            _ => None,
        };
        let entries = match (&alone, &part.value) {
            (Some(alone), _) => alone.as_slice(),
            (None, yaml::Value::Mapping(entries)) => entries,
            (None, yaml::Value::Null) => return Ok(()),
            (None, other) if is_section => {
                let message =
                    format!("`{section}` of group `{name}` must be a mapping, not {}", other.described());
                let remedy = match section {
                    "hosts" | "children" => "end each name with a colon instead of beginning it with `- `",
                    _ => "write each variable as `name: value`",
                };
                return Err(self.text.problem(part.at, message).remedy(remedy));
            }
            (None, _) => {
                let message = format!(
                    "key `{section}` of group `{name}` is skipped; known are vars, children and hosts"
                );
                self.building.warn(key.at.line, message);
                return Ok(());
            }
        };
        for (key, value) in entries {
            match section {
                "vars" => self.variable(name, key, value)?,
                "children" => self.child(group, key, value)?,
                "hosts" => self.hosts(group, key, value)?,
                _ => {}
            }
        }
        if !is_section {
            let message =
                format!("key `{section}` of group `{name}` is skipped; known are vars, children and hosts");
            self.building.warn(key.at.line, message);
        }
        Ok(())
    }

    fn variable(&mut self, of: &str, name: &Node, value: &Node) -> Result<(), Problem> {
        let set = self.building.variable(of, &Value::from(name).as_key(), Value::from(value));
        set.map_err(|fault| fault.at(self.text, value.at))
    }

    fn child(&mut self, parent: u32, name: &Node, content: &Node) -> Result<(), Problem> {
        let Some(child) = self.group(name, content)? else {
            let problem = self.text.problem(content.at, "a group must be a mapping or nothing");
            return Err(problem.remedy("its keys are vars, children and hosts"));
        };
        self.building.child(parent, child, name.at).map_err(|fault| fault.at(self.text, name.at))
    }

    fn hosts(&mut self, group: u32, expression: &Node, variables: &Node) -> Result<(), Problem> {
        let Some(text) = expression.as_str() else {
            let found = expression.value.described();
            let problem = self.text.problem(expression.at, format!("a host is a string, not {found}"));
            return Err(problem.remedy("put quotes around it"));
        };
        let (names, port) =
            self.building.hosts_of(text).map_err(|fault| fault.at(self.text, expression.at))?;
        if variables.as_mapping().is_none() && !Value::is_falsy(variables) {
            let found = variables.value.described();
            let problem = self.text.problem(variables.at, format!("variables of host `{text}` are {found}"));
            return Err(problem.remedy("write each variable as `name: value` below the host"));
        }
        let entries = variables.as_mapping().unwrap_or_default();
        let values: Vec<(Box<str>, Value)> =
            entries.iter().map(|(name, value)| (Value::from(name).as_key(), Value::from(value))).collect();
        for name in &names {
            let listed = self.building.host(name, group, port, expression.at.line);
            listed.map_err(|fault| fault.at(self.text, expression.at))?;
            for (variable, value) in &values {
                let set = self.building.variable(name, variable, value.clone());
                set.map_err(|fault| fault.at(self.text, expression.at))?;
            }
        }
        Ok(())
    }
}
