//! Extra variables as the command line gives them: `-e key=value`, `-e '{"key": 1}'`, `-e @file`.
//!
//! Not here: reading the files that are named.

use crate::plain::{Mapping, Plain};
use crate::playbook;
use crate::problem::Problem;
use crate::yaml;

/// What one `-e` says.
#[derive(Debug, Clone, PartialEq)]
pub enum ExtraVars {
    /// Variables.
    Given(Mapping),
    /// A file with variables.
    File(String),
}

impl ExtraVars {
    /// Reads an argument of `-e`.
    pub fn read(text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix('@') {
            return Ok(Self::File(path.to_owned()));
        }
        if text.starts_with(['{', '[']) {
            return Self::of_document("the extra variables", text.as_bytes()).map(Self::Given);
        }
        if text.starts_with(['/', '.']) {
            let problem = Problem::nowhere(format!("{text:?} is no variable"));
            return Err(problem.remedy(format!("write @{text} to read variables from a file")));
        }
        match playbook::assignments(text) {
            Some(variables) => Ok(Self::Given(variables)),
            None => Err(Problem::nowhere(format!("a quote or a template is not closed in {text:?}"))),
        }
    }

    /// The variables of a file.
    pub fn of_document(name: &str, text: &[u8]) -> Result<Mapping, Problem> {
        match yaml::parse(name, text)?.first().map(Plain::from) {
            Some(Plain::Map(variables)) => Ok(variables),
            None | Some(Plain::Null) => Ok(Mapping::default()),
            Some(other) => {
                Err(Problem::of_file(name, format!("variables must be a mapping, not {}", other.described())))
            }
        }
    }
}
