//! Names of tasks and packages, and the ways to refer to them.
//!
//! Invariant: no name contains `#` or white space, so `package#task` reads back in one way.

use std::fmt;
use std::sync::Arc;

/// What a name must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must not {0}")]
pub struct NameRule(pub(crate) &'static str);

fn check(name: &str) -> Result<(), NameRule> {
    if name.is_empty() {
        return Err(NameRule("be empty"));
    }
    if name.contains('#') {
        return Err(NameRule("contain '#'"));
    }
    if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(NameRule("contain white space or control characters"));
    }
    if name.starts_with(['^', '-', '!']) {
        return Err(NameRule("start with '^', '-' or '!'"));
    }
    Ok(())
}

/// Checks the name of a package.
pub(crate) fn check_package(name: &str) -> Result<(), NameRule> {
    check(name)
}

/// The name of the root package, whatever else it is called.
pub const ROOT: &str = "//";

/// A task's name, without its package.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskName(Arc<str>);

impl TaskName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, NameRule> {
        check(name).map(|()| Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskName({self})")
    }
}

/// A task of a package, shown as `package#task`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The package's name.
    pub package: Arc<str>,
    /// The task's name.
    pub task: TaskName,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.package, self.task)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({self})")
    }
}

/// What a task depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dependency {
    /// `lint`: another task of the same package.
    Same(TaskName),
    /// `^build`: a task of the packages that this one depends on.
    Upstream(TaskName),
    /// `web#build`: a task of a package; `//` is the root.
    Of {
        /// The package.
        package: Arc<str>,
        /// The task.
        task: TaskName,
    },
}

impl Dependency {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, NameRule> {
        if let Some(task) = text.strip_prefix('^') {
            return TaskName::new(task).map(Self::Upstream);
        }
        match text.split_once('#') {
            Some((package, task)) => {
                check_package(package)?;
                Ok(Self::Of { package: package.into(), task: TaskName::new(task)? })
            }
            None => TaskName::new(text).map(Self::Same),
        }
    }
}

/// As it is written.
impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(task) => task.fmt(f),
            Self::Upstream(task) => write!(f, "^{task}"),
            Self::Of { package, task } => write!(f, "{package}#{task}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_read_back_and_odd_ones_are_refused() {
        for text in ["lint", "build:css", "^build", "@acme/web#build", "//#lint"] {
            assert_eq!(Dependency::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "^", "#", "a#", "#a", "a#b#c", "^a#b", "a b", "-x", "!x", "^^x"] {
            assert!(Dependency::parse(bad).is_err(), "{bad}");
        }
    }
}
