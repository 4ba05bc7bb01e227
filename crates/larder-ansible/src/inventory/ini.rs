//! Inventories in the INI form, as Ansible's ini plugin reads them.
//!
//! Values are Python literals where they read as such, and text where they do not. A line costs time in proportion
//! to its length, a range in proportion to the hosts that it stands for.

use std::collections::HashMap;

use super::build::{Building, Fault, Text};
use super::literal;
use super::value::Value;
use super::words::{self, Word, WordsError};
use crate::problem::Problem;
use crate::yaml::Position;

/// What the lines below a header are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Hosts,
    Children,
    Variables,
}

/// A group that was named before it was declared.
struct Pending {
    at: Position,
    name: Box<str>,
    /// The sections that have it as a child; none if it is a section of variables that came first.
    parents: Vec<u32>,
    is_child: bool,
}

struct Reading<'t, 'b, 'a> {
    text: Text<'t>,
    building: &'b mut Building<'a>,
    pending: Vec<Option<Pending>>,
    pending_by_name: HashMap<Box<str>, usize>,
    group: u32,
    group_name: Box<str>,
    section: Section,
}

/// A line without the space around it.
#[derive(Clone, Copy)]
struct Line<'t> {
    text: &'t str,
    at: Position,
}

impl Line<'_> {
    /// The position of a byte of it.
    fn position(&self, byte: usize) -> Position {
        let before = self.text.get(..byte).unwrap_or(self.text);
        Position { line: self.at.line, column: self.at.column + before.chars().count() }
    }
}

/// Adds what a text says.
pub(super) fn read<'a>(text: Text<'a>, building: &mut Building<'a>) -> Result<(), Problem> {
    let group = building.group("ungrouped", 0).map_err(|fault| fault.at(&text, START))?;
    let mut reading = Reading {
        text,
        building,
        pending: Vec::new(),
        pending_by_name: HashMap::new(),
        group,
        group_name: "ungrouped".into(),
        section: Section::Hosts,
    };
    let bytes = text.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text.bytes);
    // Checked as a whole, as that is quick, and line by line only if something is wrong.
    let whole = std::str::from_utf8(bytes);
    for (number, line) in physical_lines(bytes).enumerate() {
        let number = number + 1;
        let line = match &whole {
            Ok(_) => std::str::from_utf8(line).expect("lines of a string end between its characters"),
            Err(_) if matches!(line.first(), Some(b'#' | b';')) => continue,
            Err(_) => std::str::from_utf8(line).map_err(|error| not_utf8(&text, number, line, error))?,
        };
        reading.physical_line(number, line)?;
    }
    reading.finish()
}

const START: Position = Position { line: 1, column: 1 };

fn not_utf8(text: &Text<'_>, line: usize, bytes: &[u8], error: std::str::Utf8Error) -> Problem {
    let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
    let at = Position { line, column: before.chars().count() + 1 };
    text.problem(at, "the text is not UTF-8").remedy("save the file as UTF-8")
}

/// Lines as editors count them.
fn physical_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..)).unwrap_or_default();
        Some(line)
    })
}

impl<'t> Reading<'t, '_, '_> {
    /// Python ends lines at more characters than editors do.
    fn physical_line(&mut self, number: usize, line: &'t str) -> Result<(), Problem> {
        let ends_line = |c: char| {
            matches!(c, '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
        };
        if line.is_ascii() && !line.bytes().any(|byte| ends_line(byte.into())) {
            return self.line(number, line, 1);
        }
        let mut column = 1;
        for part in line.split_inclusive(ends_line) {
            self.line(number, part, column)?;
            column += part.chars().count();
        }
        Ok(())
    }

    fn line(&mut self, number: usize, line: &'t str, column: usize) -> Result<(), Problem> {
        let trimmed = line.trim_start_matches(is_space);
        let indent = line[..line.len() - trimmed.len()].chars().count();
        let text = trimmed.trim_end_matches(is_space);
        if text.is_empty() || text.starts_with(['#', ';']) {
            return Ok(());
        }
        let line = Line { text, at: Position { line: number, column: column + indent } };
        if text.starts_with('[') {
            if let Some((name, kind)) = header(text) {
                return self.header(line, name, kind);
            }
            if text.ends_with(']') {
                let problem =
                    self.text.problem(line.at, format!("section {} is not understood", clipped(text)));
                return Err(problem.remedy("write [group], [group:vars] or [group:children], without spaces"));
            }
        }
        match self.section {
            Section::Hosts => self.hosts(line),
            Section::Variables => self.variable(line),
            Section::Children => self.child(line),
        }
    }

    fn header(&mut self, line: Line<'t>, name: &str, kind: Option<&str>) -> Result<(), Problem> {
        self.section = match kind {
            None | Some("hosts") => Section::Hosts,
            Some("children") => Section::Children,
            Some("vars") => Section::Variables,
            Some(kind) => {
                let problem =
                    self.text.problem(line.at, format!("section [{name}:{kind}] has an unknown kind"));
                return Err(problem.remedy("a section is [group], [group:vars] or [group:children]"));
            }
        };
        let is_declared = self.section != Section::Variables;
        if !self.building.has_group(name) && !is_declared && !self.pending_by_name.contains_key(name) {
            let pending = Pending { at: line.at, name: name.into(), parents: Vec::new(), is_child: false };
            self.wait_for(pending);
        }
        let group = self.building.group(name, line.at.line);
        self.group = group.map_err(|fault| fault.at(&self.text, line.at))?;
        self.group_name = name.into();
        if is_declared && let Some(at) = self.pending_by_name.remove(name) {
            let pending = self.pending[at].take().expect("what is filed is pending");
            for parent in pending.parents {
                let related = self.building.child(parent, self.group, pending.at);
                related.map_err(|fault| fault.at(&self.text, pending.at))?;
            }
        }
        Ok(())
    }

    fn wait_for(&mut self, pending: Pending) {
        self.pending_by_name.insert(pending.name.clone(), self.pending.len());
        self.pending.push(Some(pending));
    }

    fn child(&mut self, line: Line<'t>) -> Result<(), Problem> {
        let name = group_name(line.text).ok_or_else(|| {
            let problem = self.text.problem(line.at, format!("{} is no name of a group", clipped(line.text)));
            problem.remedy("write one group a line, without spaces and colons")
        })?;
        if self.building.has_group(name) {
            let child = self.building.group(name, line.at.line);
            let related = child.and_then(|child| self.building.child(self.group, child, line.at));
            return related.map_err(|fault| fault.at(&self.text, line.at));
        }
        match self.pending_by_name.get(name) {
            Some(&at) => {
                let pending = self.pending[at].as_mut().expect("what is filed is pending");
                pending.parents.push(self.group);
            }
            None => {
                let (name, parents) = (name.into(), vec![self.group]);
                self.wait_for(Pending { at: line.at, name, parents, is_child: true });
            }
        }
        Ok(())
    }

    fn variable(&mut self, line: Line<'t>) -> Result<(), Problem> {
        let Some((name, value)) = line.text.split_once('=') else {
            let problem = self.text.problem(line.at, format!("{} is no variable", clipped(line.text)));
            return Err(problem.remedy("write name=value, or begin a section of hosts with [group]"));
        };
        let set = self.building.variable(
            &self.group_name,
            name.trim_matches(is_space),
            value_of(value.trim_matches(is_space)),
        );
        set.map_err(|fault| fault.at(&self.text, line.at))
    }

    fn hosts(&mut self, line: Line<'t>) -> Result<(), Problem> {
        let words = words::split(line.text).map_err(|error| self.no_words(line, error))?;
        let Some((expression, assignments)) = words.split_first() else { return Ok(()) };
        let at = |word: &Word| line.position(word.span.start);
        let (names, port) =
            self.building.hosts_of(&expression.text).map_err(|fault| self.bad_host(line, fault))?;
        let trimmed = expression.text.trim_matches(is_space);
        if trimmed.ends_with(':') && port.is_none() {
            let message = format!("host {} ends with a colon", clipped(trimmed));
            let remedy =
                "write the port after it, or take the colon out; in a YAML inventory the extension is .yml";
            return Err(self.text.problem(at(expression), message).remedy(remedy));
        }
        if names.iter().any(|name| name.trim_matches(is_space) == "---") {
            let problem = self.text.problem(at(expression), "`---` is no host");
            return Err(problem.remedy("this seems to be YAML; mend its syntax, or name the file with .yml"));
        }
        let mut variables = Vec::with_capacity(assignments.len());
        for word in assignments {
            let Some((name, value)) = word.text.split_once('=') else {
                let problem = self.text.problem(at(word), format!("{} is no variable", clipped(&word.text)));
                return Err(problem.remedy("write name=value, with quotes around a value that has spaces"));
            };
            variables.push((name, value_of(value)));
        }
        for name in &names {
            let listed = self.building.host(name, self.group, port, line.at.line);
            listed.map_err(|fault| fault.at(&self.text, at(expression)))?;
            for (variable, value) in &variables {
                let set = self.building.variable(name, variable, value.clone());
                set.map_err(|fault| fault.at(&self.text, line.at))?;
            }
        }
        Ok(())
    }

    fn bad_host(&self, line: Line<'t>, fault: Fault) -> Problem {
        if line.text.starts_with('[') && !line.text.contains(']') {
            let problem = self.text.problem(line.at, "a bracket of a section is not closed");
            return problem.remedy("write [group], [group:vars] or [group:children]");
        }
        fault.at(&self.text, line.at)
    }

    fn no_words(&self, line: Line<'t>, error: WordsError) -> Problem {
        match error {
            WordsError::Quotation(byte) => {
                self.text.problem(line.position(byte), "a quotation is not closed").remedy("close it")
            }
            WordsError::Escape(byte) => {
                let problem = self.text.problem(line.position(byte), "nothing follows a backslash");
                problem.remedy("take it out, or write two")
            }
        }
    }

    /// Complains of the first group that was never declared.
    fn finish(self) -> Result<(), Problem> {
        let Some(pending) = self.pending.into_iter().flatten().next() else { return Ok(()) };
        let name = &pending.name;
        let message = match pending.is_child {
            true => format!("group `{name}` is a child and is defined nowhere"),
            false => format!("section [{name}:vars] is of a group that is defined nowhere"),
        };
        let mut remedy = format!("add a section [{name}]");
        if let Some(near) = self.building.nearest_group(name) {
            remedy = format!("{remedy}, or write `{near}` if that was meant");
        }
        Err(self.text.problem(pending.at, message).remedy(remedy))
    }
}

/// A value as it is written, or the literal that it is.
fn value_of(text: &str) -> Value {
    literal::read(text).unwrap_or_else(|| text.into())
}

/// What Python takes for space.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// The start of a text that may be long, in quotes.
fn clipped(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

/// The group and the kind of a section header.
fn header(line: &str) -> Option<(&str, Option<&str>)> {
    let inside = line.strip_prefix('[')?;
    let end = inside.find(|c| c == ':' || c == ']' || is_space(c)).filter(|&end| end > 0)?;
    let (name, rest) = inside.split_at(end);
    let (kind, rest) = match rest.strip_prefix(':') {
        Some(rest) => {
            let end = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).filter(|&end| end > 0)?;
            (Some(&rest[..end]), &rest[end..])
        }
        None => (None, rest),
    };
    ends(rest.strip_prefix(']')?).then_some((name, kind))
}

fn group_name(line: &str) -> Option<&str> {
    let end = line.find(|c| c == ':' || c == ']' || is_space(c)).unwrap_or(line.len());
    // A `#` is no part of a name that a comment follows directly, if what is before it is one.
    let (name, rest) = line.split_at(end);
    if !name.is_empty() && ends(rest) {
        return Some(name);
    }
    // Python's expression gives characters back until a comment follows: `web#a b` is `web`.
    let at = name.rfind('#').filter(|&at| at > 0)?;
    Some(&name[..at])
}

/// Whether a line has nothing more than space and a comment.
fn ends(rest: &str) -> bool {
    let rest = rest.trim_start_matches(is_space);
    rest.is_empty() || rest.starts_with('#')
}
