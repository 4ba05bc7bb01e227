//! What can be wrong with a configuration, and where it stands.

use std::fmt;

use super::layers::Origin;

/// Everything that is wrong, in the order of the layers and of the lines in a file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub origin: Origin,
    /// What is wrong.
    pub fault: Fault,
    /// The text there, if it is in a file.
    pub excerpt: Option<Excerpt>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.fault)
    }
}

/// The line of a file that a problem is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The whole line.
    pub text: String,
    /// Where in the line the matter begins: characters before it.
    pub start: usize,
    /// How many characters it is long, at least one.
    pub width: usize,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file is no TOML.
    #[error("{message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// The file may only have the table `[cache]`.
    #[error("unknown table {name:?}")]
    UnknownTable {
        /// Its name.
        name: String,
    },
    /// There is no such setting.
    #[error("unknown setting {name:?}")]
    UnknownSetting {
        /// Its whole name, without `cache.`.
        name: String,
        /// The setting that may be meant.
        suggestion: Option<String>,
    },
    /// There is no such variable; its name is the problem's origin.
    #[error("unknown variable")]
    UnknownVariable {
        /// The variable that may be meant.
        suggestion: Option<String>,
    },
    /// The value of a variable is not UTF-8.
    #[error("value is not UTF-8")]
    NotUtf8,
    /// The value has another type than the setting.
    #[error("{setting} is {expected}, not {found}")]
    Type {
        /// The setting.
        setting: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// The value is not a size.
    #[error("{text:?} is not a size")]
    Size {
        /// The value.
        text: String,
    },
    /// The value is a number with an unknown unit or none.
    #[error("size {text:?} has no known unit")]
    SizeUnit {
        /// The value.
        text: String,
        /// The value that may be meant.
        suggestion: Option<String>,
    },
    /// The value is a percentage, and not between 0.01 and 100.
    #[error("{text:?} is not a share from 0.01% to 100%")]
    Share {
        /// The value.
        text: String,
    },
    /// The value is not a duration.
    #[error("{text:?} is not a duration")]
    Duration {
        /// The value.
        text: String,
    },
    /// The value is not a number in the range.
    #[error("{text:?} is not {expected}")]
    Number {
        /// The value.
        text: String,
        /// What would be in the range.
        expected: &'static str,
    },
    /// The value is none of those that there are.
    #[error("{text:?} is none of {}", .choices.join(", "))]
    Choice {
        /// The value.
        text: String,
        /// Those that there are.
        choices: &'static [&'static str],
        /// The one that may be meant.
        suggestion: Option<String>,
    },
    /// The name of a kind or a scope has other characters than it may have.
    #[error("{name:?} is no name of a {what}")]
    Name {
        /// "kind" or "scope".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The value is empty.
    #[error("{setting} is empty")]
    Empty {
        /// The setting.
        setting: String,
    },
    /// The path begins with `~`, and nobody said where home is.
    #[error("home directory is not known, which {text:?} starts with")]
    NoHome {
        /// The path.
        text: String,
    },
    /// Nobody says where the disk tier lives.
    #[error("dir has no value, as the home directory is not known")]
    NoDir,
    /// A limit of zero, where a switch is what is meant.
    #[error("{setting} is zero, which keeps nothing")]
    Zero {
        /// The setting.
        setting: String,
        /// The switch that turns the whole thing off.
        instead: &'static str,
    },
    /// Two settings cannot both hold.
    #[error("{setting} = {value} contradicts {other} = {other_value} ({other_origin})")]
    Contradiction {
        /// The setting, which stands at the problem's origin.
        setting: String,
        /// Its value.
        value: String,
        /// The setting that it contradicts.
        other: String,
        /// Its value.
        other_value: String,
        /// Where that stands.
        other_origin: Box<Origin>,
    },
}

impl Fault {
    /// What may be meant instead, if something is near enough.
    pub fn suggestion(&self) -> Option<&str> {
        match self {
            Self::UnknownSetting { suggestion, .. }
            | Self::UnknownVariable { suggestion }
            | Self::SizeUnit { suggestion, .. }
            | Self::Choice { suggestion, .. } => suggestion.as_deref(),
            _ => None,
        }
    }
}
