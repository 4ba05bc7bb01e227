//! YAML as Ansible's own loader reads it, with the position of every value.
//!
//! The syntax is that of a YAML 1.2 parser; what scalars mean is decided as PyYAML does for YAML 1.1, because
//! playbooks are written for that: `yes` is true, `010` is eight, `1:30` is ninety.
//!
//! Invariants:
//! - no input makes reading panic, hang, or take memory out of proportion to its length;
//! - keys of a mapping are scalars, each of them once, and merge keys are resolved;
//! - aliases are expanded, and what they stand for has the position where it was written.
//!
//! Not here: what a document has to look like to be a playbook or an inventory.

mod build;
mod resolve;
mod text;

use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where its first character stands.
    pub at: Position,
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `yes`, `off`, `True` and so on.
    Bool(bool),
    /// A whole number. One that does not fit is a [`Value::String`] of its decimal digits.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text; also what PyYAML makes a date or a time of.
    String(Box<str>),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order in which Python's dictionaries keep them. Each key is a scalar.
    Mapping(Vec<(Node, Node)>),
    /// What `!vault` encrypts: the ciphertext, never looked into.
    Vault(Box<str>),
}

/// The documents of a text. `name` is what to call it in problems.
pub fn parse(name: &str, text: &[u8]) -> Result<Vec<Node>, Problem> {
    let decoded = text::decode(name, text)?;
    build::Builder::new(name, decoded).documents()
}

impl Node {
    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_sequence(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a mapping.
    pub fn as_mapping(&self) -> Option<&[(Node, Node)]> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value that a mapping has under a key of text.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_mapping()?.iter().find(|(known, _)| known.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// Whether it is `Null`.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }
}

impl Value {
    /// What to call it in a message, with its article.
    pub fn described(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::Sequence(_) => "a list",
            Self::Mapping(_) => "a mapping",
            Self::Vault(_) => "an encrypted value",
        }
    }
}

#[cfg(test)]
mod tests;
