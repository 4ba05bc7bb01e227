//! Problems: what is wrong with a definition, and where.
//!
//! One enum for everything that reading and checking a workspace can find, because a user sees them together and
//! mends them together. Display is one line; [`Problem::render`] adds the excerpt.
//! Not here: exit codes and colours (the command line).

use std::fmt::{self, Write as _};

use crate::path::{PathError, PatternError};
use crate::place::Place;

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file is not TOML.
    #[error("{0}")]
    Syntax(String),
    /// A table has a key that means nothing.
    #[error("unknown key `{key}` in {table}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The table, such as `[tasks.build]`.
        table: String,
    },
    /// A value has the wrong type.
    #[error("`{key}` must be {expected}, not {found}")]
    Type {
        /// The key.
        key: String,
        /// What it takes.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A value has the right type and means nothing.
    #[error("`{key}` must be {expected}, not {found:?}")]
    Value {
        /// The key.
        key: String,
        /// What it takes.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A name has characters that it must not have.
    #[error("{what} {name:?} must not {rule}")]
    Name {
        /// Such as "task name".
        what: &'static str,
        /// The name.
        name: String,
        /// Such as "contain '#'".
        rule: &'static str,
    },
    /// A glob does not parse.
    #[error("glob {glob:?} is not valid: {reason}")]
    Glob {
        /// The glob.
        glob: String,
        /// Why, in the words of the parser.
        reason: String,
    },
    /// A path leads out of the workspace.
    #[error("{key} {path:?} leads outside the workspace root")]
    Outside {
        /// Such as "output".
        key: &'static str,
        /// The path as written.
        path: String,
    },
    /// A path is absolute.
    #[error("{key} {path:?} must be relative")]
    Absolute {
        /// Such as "output".
        key: &'static str,
        /// The path as written.
        path: String,
    },
    /// Two settings exclude each other.
    #[error("{0}")]
    Contradiction(&'static str),
    /// A task neither runs something nor depends on something.
    #[error("task `{0}` has no command and depends on nothing")]
    Empty(String),
    /// Two packages have one name.
    #[error("two packages are named `{name}`: {first} and {second}")]
    DuplicatePackage {
        /// The name.
        name: String,
        /// A directory.
        first: String,
        /// Another directory.
        second: String,
    },
    /// A member is not there.
    #[error("member {0:?} matches no directory")]
    MissingMember(String),
    /// A file or directory has a name that is not UTF-8.
    #[error("the name of {0} is not UTF-8")]
    NotUtf8(String),
    /// A package that is named is not in the workspace.
    #[error("package `{0}` is not in the workspace")]
    UnknownPackage(String),
    /// A task that is named does not exist.
    #[error("{}", unknown_task(task, package.as_deref()))]
    UnknownTask {
        /// The task.
        task: String,
        /// The package that should have it; `None` when no package has it.
        package: Option<String>,
    },
    /// A filter does not read.
    #[error("filter {filter:?} is not understood: {reason}")]
    Filter {
        /// The filter.
        filter: String,
        /// Why.
        reason: String,
    },
    /// A filter chooses nothing.
    #[error("filter {0:?} matches no package")]
    FilterMatchesNothing(String),
    /// Packages that have the task are left out by the filters.
    #[error("no package that the filters choose has a task `{0}`")]
    NotChosen(String),
    /// Tasks wait for each other.
    #[error("tasks wait for each other in a circle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    /// A task waits for one that never ends.
    #[error("`{task}` depends on `{persistent}`, which is persistent and never ends")]
    WaitsForever {
        /// The one that waits.
        task: String,
        /// The one that never ends.
        persistent: String,
    },
    /// An output would be an input too.
    #[error("output {output:?} of `{task}` is also its input {input:?}")]
    OutputIsInput {
        /// The task.
        task: String,
        /// The output as written.
        output: String,
        /// The input as written.
        input: String,
    },
    /// An output holds the sources themselves.
    #[error("output {output:?} of `{task}` contains {what}")]
    OutputHoldsSources {
        /// The task.
        task: String,
        /// The output as written.
        output: String,
        /// Such as "its package".
        what: String,
    },
    /// Two tasks of one run write one path.
    #[error("`{first}` and `{second}` both write {path:?}")]
    TwoWriters {
        /// A task.
        first: String,
        /// Another task.
        second: String,
        /// What both write.
        path: String,
    },
}

fn unknown_task(task: &str, package: Option<&str>) -> String {
    match package {
        Some(package) => format!("package `{package}` has no task `{task}`"),
        None => format!("no package has a task `{task}`"),
    }
}

impl Fault {
    /// The fault of a path or glob that cannot stand where it does.
    pub(crate) fn of_pattern(key: &'static str, written: &str, error: &PatternError) -> Self {
        match error {
            PatternError::Path(error) => Self::of_path(key, written, *error),
            PatternError::Glob(reason) => Self::Glob { glob: written.to_owned(), reason: reason.clone() },
        }
    }

    /// The fault of a path that cannot stand where it does.
    pub(crate) fn of_path(key: &'static str, written: &str, error: PathError) -> Self {
        match error {
            PathError::Outside => Self::Outside { key, path: written.to_owned() },
            PathError::Absolute => Self::Absolute { key, path: written.to_owned() },
        }
    }
}

/// What is wrong, where, and what was probably meant.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What is wrong.
    pub fault: Box<Fault>,
    /// Where; `None` for what was typed on the command line.
    pub place: Option<Place>,
    /// What to do about it, such as "did you mean `command`?".
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub(crate) fn at(place: &Place, fault: Fault) -> Self {
        Self { fault: Box::new(fault), place: Some(place.clone()), hint: None }
    }

    /// A problem with something that stands in no file.
    pub(crate) fn nowhere(fault: Fault) -> Self {
        Self { fault: Box::new(fault), place: None, hint: None }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the likeliest of `known` as what was meant, if one is near.
    pub(crate) fn suggest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, known) {
            Some(near) => self.hint(format!("did you mean `{near}`?")),
            None => self,
        }
    }

    /// The message with the line it is about, carets below it and the hint; ends with a newline.
    pub fn render(&self) -> String {
        let hint = self.hint.as_deref().unwrap_or_default();
        match &self.place {
            Some(place) => format!("{self}\n{}", place.excerpt(hint)),
            None if hint.is_empty() => format!("{self}\n"),
            None => format!("{self}; {hint}\n"),
        }
    }
}

/// One line: place and fault.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl std::error::Error for Problem {}

/// All that was found wrong, in the order of the files and lines; never empty.
#[derive(Debug, Clone)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `Ok` when nothing was found. Sorted by place; what a template does wrong in many packages is said once.
    pub(crate) fn check(mut found: Vec<Problem>) -> Result<(), Self> {
        found.sort_by(|a, b| {
            let key = |problem: &Problem| {
                problem.place.as_ref().map(|place| (place.path().to_owned(), place.start()))
            };
            key(a).cmp(&key(b))
        });
        let mut said = std::collections::HashSet::new();
        found.retain(|problem| said.insert(problem.to_string()));
        if found.is_empty() { Ok(()) } else { Err(Self(found)) }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// All of them with their excerpts, an empty line between two.
    pub fn render(&self) -> String {
        self.0.iter().map(Problem::render).collect::<Vec<_>>().join("\n")
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// One line each.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_char('\n')?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The word of `known` that `word` is most likely a slip of: at most a third of its letters differ.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|one| (strsim::damerau_levenshtein(word, one), one))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, one)| one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["command", "cwd", "cache", "inputs"];
        assert_eq!(nearest("comand", known), Some("command"));
        assert_eq!(nearest("input", known), Some("inputs"));
        assert_eq!(nearest("cahce", known), Some("cache"));
        assert_eq!(nearest("description", known), None);
    }
}
