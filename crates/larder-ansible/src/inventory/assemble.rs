//! Texts become an inventory: which form each has, and all of them joined in order.
//!
//! Unlike Ansible, which warns of a source that it can't read and goes on with a part of it, the first problem
//! ends the reading: a plan for some of the hosts is a wrong plan.
//! Not here: which files there are (`files`).

use std::sync::Arc;

use super::address;
use super::build::{Building, Text};
use super::ini;
use super::model::{Inventory, UNGROUPED};
use super::output;
use super::tree::{self, Document};
use crate::problem::Problem;
use crate::yaml::Position;

/// How the content of a file begins that `ansible-vault` encrypted as a whole.
pub(super) const ENCRYPTED: &[u8] = b"$ANSIBLE_VAULT;";

/// A part of an inventory, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Hosts separated by commas, as in `-i web1,web2,`.
    Hosts(String),
    /// A file's content.
    File {
        /// What to call it; the extension decides about the form.
        name: String,
        /// Its content.
        content: Arc<[u8]>,
    },
    /// What a program printed.
    Output {
        /// The program.
        name: String,
        /// Its output.
        content: Arc<[u8]>,
    },
}

/// Joins parts in their order. The first thing that is wrong is returned; what is odd is a warning of the inventory.
pub fn assemble(parts: &[Part]) -> Result<Inventory, Problem> {
    let mut building = Building::new();
    for part in parts {
        match part {
            Part::Hosts(list) => {
                let text = Text { name: "", bytes: list.as_bytes() };
                building.begin(text);
                host_list(list, &mut building)?;
            }
            Part::Output { name, content } => {
                let text = Text { name, bytes: content };
                building.begin(text);
                output::read(&text, &mut building)?;
            }
            Part::File { name, content } => {
                let text = Text { name, bytes: content };
                building.begin(text);
                file(text, &mut building)?;
            }
        }
    }
    building.finish()
}

fn host_list(list: &str, building: &mut Building<'_>) -> Result<(), Problem> {
    for host in list.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        // Ranges are not expanded here, and what is no address is a name.
        let (name, port) =
            address::parse(host).filter(|(name, _)| !name.contains('[')).unwrap_or((host, None));
        if !building.has_host(name) {
            let listed = building.host(name, UNGROUPED, port, 0);
            listed.map_err(|fault| fault.at(&Text { name: "", bytes: b"" }, START))?;
        }
    }
    Ok(())
}

const START: Position = Position { line: 1, column: 1 };

fn file<'a>(text: Text<'a>, building: &mut Building<'a>) -> Result<(), Problem> {
    let of_file = |message: &str, remedy: String| Err(Problem::of_file(text.name, message).remedy(remedy));
    if text.bytes.starts_with(ENCRYPTED) {
        return of_file(
            "the inventory is encrypted",
            format!("decrypt it first: ansible-vault decrypt {}", text.name),
        );
    }
    let extension = extension(text.name);
    if extension == "toml" {
        let remedy = convert(text.name);
        return of_file("inventories in TOML are not read", remedy);
    }
    if !matches!(extension, "" | "yml" | "yaml" | "json") || !may_be_mapping(text.bytes) {
        return ini::read(text, building)
            .map_err(|problem| as_yaml_where_named_so(&text, extension, problem));
    }
    let json = tree::parse_json(&text);
    let is_json = json.is_some();
    match json.map_or_else(|| tree::parse(&text), Ok) {
        Ok(Document::Groups(document)) => {
            let read = tree::read(&text, &document, building);
            read.map_err(|problem| is_json.then(|| placed(&text)).flatten().unwrap_or(problem))
        }
        Ok(Document::Plugin(plugin)) => {
            let problem = text.problem(plugin.at, "this is the configuration of an inventory plugin");
            Err(problem.remedy(convert(text.name)))
        }
        // What is no mapping of YAML may still be lines of hosts, whatever the extension says.
        Ok(Document::Other) => {
            ini::read(text, building).map_err(|problem| as_yaml_where_named_so(&text, extension, problem))
        }
        Err(wrong_yaml) => {
            let is_yaml = !extension.is_empty() || text.bytes.starts_with(b"---");
            ini::read(text, building).map_err(|wrong_ini| if is_yaml { wrong_yaml } else { wrong_ini })
        }
    }
}

/// What is wrong with a text of JSON, read as YAML, which has positions and fails at the same thing.
fn placed(text: &Text<'_>) -> Option<Problem> {
    match tree::parse(text) {
        Ok(Document::Groups(document)) => tree::read(text, &document, &mut Building::new()).err(),
        _ => None,
    }
}

fn convert(name: &str) -> String {
    format!("let Ansible convert it: ansible-inventory -i {name} --list --yaml --export --output hosts.yml")
}

/// What a file named as YAML has wrong is that it is none, and not what is wrong with it as INI.
fn as_yaml_where_named_so(text: &Text<'_>, extension: &str, problem: Problem) -> Problem {
    if !matches!(extension, "yml" | "yaml" | "json") {
        return problem;
    }
    let problem = text.problem(START, "an inventory must be a mapping of groups");
    problem.remedy("begin it with `all:` and write hosts, vars and children below")
}

/// What follows the last point of a file's name, unless that is its first character.
fn extension(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    let stem = file.trim_start_matches('.');
    stem.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// Whether a text can be a mapping of YAML, by its first line: there has to be a colon, or something that has
/// a meaning at the start of a line. Saves reading large INI inventories as YAML first.
fn may_be_mapping(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // A text that is not in UTF-8 is for the reader of YAML to decode, or to refuse.
    if bytes.iter().take(4).any(|&byte| byte == 0 || byte >= 0xfe) {
        return true;
    }
    let mut lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(b"#"));
    first.is_some_and(|line| line.contains(&b':') || b"-{?\"'!&%|>*".contains(&line[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_is_pythons() {
        for (name, is) in
            [("a/b.yml", "yml"), ("hosts", ""), (".hosts", ""), ("a.b/hosts", ""), ("x.tar.gz", "gz")]
        {
            assert_eq!(extension(name), is);
        }
    }
}
