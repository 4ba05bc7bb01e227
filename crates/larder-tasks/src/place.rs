//! Places: where in which file something was written, for messages that point at it.
//!
//! Invariant: a span lies inside its text and on character boundaries. Line and column are computed only when a
//! message is made, so that carrying a place costs a reference count.
//! Not here: what is wrong there (`problem`).

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A file's text and what to call it in messages.
#[derive(Debug)]
pub struct SourceText {
    path: String,
    text: String,
    flags: &'static [(&'static str, &'static str)],
}

impl SourceText {
    /// Names a text, usually by its path relative to the workspace root.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { path: path.into(), text: text.into(), flags: &[] })
    }

    /// A text that nobody has written: it stands for flags of a command line. What is wrong in the line of a key is told of
    /// the flag, without the line.
    pub fn of_flags(
        path: impl Into<String>,
        text: impl Into<String>,
        flags: &'static [(&'static str, &'static str)],
    ) -> Arc<Self> {
        Arc::new(Self { path: path.into(), text: text.into(), flags })
    }

    /// The name.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The place that `span` covers; what lies outside the text is cut off.
    pub fn at(self: &Arc<Self>, span: Range<usize>) -> Place {
        let boundary = |mut offset: usize| {
            offset = offset.min(self.text.len());
            while !self.text.is_char_boundary(offset) {
                offset -= 1;
            }
            offset
        };
        let (start, end) = (boundary(span.start), boundary(span.end));
        Place { source: Arc::clone(self), start, end: end.max(start) }
    }

    /// The whole file, for what is wrong with no line in particular.
    pub fn whole(self: &Arc<Self>) -> Place {
        self.at(0..0)
    }
}

/// A span of a text.
#[derive(Clone)]
pub struct Place {
    source: Arc<SourceText>,
    start: usize,
    end: usize,
}

impl Place {
    /// The file.
    pub fn path(&self) -> &str {
        self.source.path()
    }

    /// Offset of the first byte.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Line, counted from 1.
    pub fn line(&self) -> usize {
        self.source.text[..self.start].matches('\n').count() + 1
    }

    /// Column in characters, counted from 1.
    pub fn column(&self) -> usize {
        let line_start = self.source.text[..self.start].rfind('\n').map_or(0, |newline| newline + 1);
        self.source.text[line_start..self.start].chars().count() + 1
    }

    /// The line with a row of carets under the span and `note` after them, each line ended by a newline.
    ///
    /// Of a text that stands for flags only the note, if there is one.
    pub fn excerpt(&self, note: &str) -> String {
        if !self.source.flags.is_empty() {
            return if note.is_empty() { String::new() } else { format!("  {note}\n") };
        }
        let text = &self.source.text;
        let line_start = text[..self.start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[self.start..].find('\n').map_or(text.len(), |newline| self.start + newline);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let number = self.line().to_string();
        let margin = " ".repeat(number.len());
        // A tab stays a tab, so that the carets stand below the span at every tab width.
        let before: String = text[line_start..self.start.min(line_start + line.len())]
            .chars()
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let covered = text[self.start..self.end.min(line_end).max(self.start)].trim_end_matches('\r');
        let carets = "^".repeat(covered.chars().count().max(1));
        let note = if note.is_empty() { String::new() } else { format!(" {note}") };
        format!("{margin} |\n{number} | {line}\n{margin} | {before}{carets}{note}\n")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source.flags {
            [] => write!(f, "{}:{}:{}", self.path(), self.line(), self.column()),
            flags => {
                let line = self.source.text[..self.start].rfind('\n').map_or(0, |newline| newline + 1);
                let key = self.source.text[line..].split([' ', '=', '\n']).next();
                let flag = flags.iter().find(|(known, _)| Some(*known) == key);
                f.write_str(flag.map_or(self.path(), |(_, flag)| flag))
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

/// A value and where it was written. Equal when the values are.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub place: Place,
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_under_the_span_also_after_tabs_and_wide_characters() {
        let source = SourceText::new("larder.toml", "a = 1\r\n\tü = \"söme\" # x\r\n");
        let start = source.text().find("\"s").unwrap();
        let place = source.at(start..start + "\"söme\"".len());
        assert_eq!(place.to_string(), "larder.toml:2:6");
        assert_eq!(place.excerpt("no"), "  |\n2 | \tü = \"söme\" # x\n  | \t    ^^^^^^ no\n");
    }

    #[test]
    fn a_span_outside_the_text_or_inside_a_character_is_moved_into_it() {
        let source = SourceText::new("x", "ü");
        assert_eq!(source.at(1..9).excerpt(""), "  |\n1 | ü\n  | ^\n");
        assert_eq!(SourceText::new("x", "").at(5..9).to_string(), "x:1:1");
    }
}
