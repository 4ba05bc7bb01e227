//! What is wrong with an access file, where, and what to do about it.

use std::fmt;
use std::ops::Range;

/// An access file can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessError {
    /// All that is wrong, in the order of the lines; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for AccessError {}

/// One thing that is wrong. Its text never has a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub fault: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    pub(super) fn at(path: &str, text: &str, span: Range<usize>, fault: String, remedy: String) -> Self {
        let before = text.get(..span.start.min(text.len())).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { path: path.to_owned(), line, column, fault, remedy }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, column, fault, remedy } = self;
        write!(f, "{path}:{line}:{column}: {fault} ({remedy})")
    }
}
