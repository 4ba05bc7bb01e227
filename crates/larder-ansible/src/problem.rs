//! Problems: what is wrong with what people wrote, where, and what to do about it.
//!
//! One type for everything that reading and planning can find, because a user mends it in a file whatever part
//! of the reading noticed it. Display is one line; [`Problem::render`] adds the excerpt.
//! Not here: exit codes and colours (the command line).

use std::fmt::{self, Write as _};

use crate::yaml::Position;

/// How much of a source line an excerpt shows before and after the place, in characters.
const EXCERPT_BEFORE: usize = 100;
const EXCERPT_AFTER: usize = 60;

/// What is wrong, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    message: String,
    place: Option<Place>,
    remedy: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    file: String,
    /// Position and source line; `None` for what is wrong with a file as a whole.
    within: Option<(Position, String)>,
}

impl Problem {
    /// A problem at a position of a file's text. `file` is what to call it, usually the path as it was given.
    pub(crate) fn at(file: &str, text: &[u8], position: Position, message: impl Into<String>) -> Self {
        let line = source_line(text, position.line);
        let place = Place { file: file.to_owned(), within: Some((position, line)) };
        Self { message: message.into(), place: Some(place), remedy: None }
    }

    /// A problem with a file as a whole.
    pub(crate) fn of_file(file: &str, message: impl Into<String>) -> Self {
        let place = Place { file: file.to_owned(), within: None };
        Self { message: message.into(), place: Some(place), remedy: None }
    }

    /// A problem with something that stands in no file.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, remedy: None }
    }

    /// Adds what to do about it.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The file's name; `None` for what was typed on the command line.
    pub fn file(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.file.as_str())
    }

    /// Where in the file.
    pub fn position(&self) -> Option<Position> {
        self.place.as_ref()?.within.as_ref().map(|(position, _)| *position)
    }

    /// The message with the line that it is about, a caret below it and the remedy; ends with a newline.
    pub fn render(&self) -> String {
        let mut out = format!("{self}\n");
        let mut margin = String::new();
        if let Some(Place { within: Some((position, line)), .. }) = &self.place {
            let number = position.line.to_string();
            margin = " ".repeat(number.len());
            let (line, before) = excerpt(line, position.column);
            let _ = write!(out, "{margin} |\n{number} | {line}\n{margin} | {before}^\n");
        }
        if let Some(remedy) = &self.remedy {
            let _ = writeln!(out, "{margin} = help: {remedy}");
        }
        out
    }
}

/// One line: place and message.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(Place { file, within: Some((position, _)) }) => {
                write!(f, "{file}:{}:{}: {}", position.line, position.column, self.message)
            }
            Some(Place { file, within: None }) => write!(f, "{file}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Problem {}

/// A line of a text by its number from 1, without its end.
fn source_line(text: &[u8], number: usize) -> String {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let line = lines(text).nth(number.saturating_sub(1)).unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

/// Lines as YAML counts them: ended by a newline, a carriage return, or both.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let line = &text[..end.unwrap_or(text.len())];
        rest = end.map(|end| {
            let both = text[end..].starts_with(b"\r\n");
            &text[end + 1 + usize::from(both)..]
        });
        Some(line)
    })
}

/// The part of a line around a column that fits on a screen, and what stands before the caret.
fn excerpt(line: &str, column: usize) -> (String, String) {
    let at = column.saturating_sub(1);
    let skip = at.saturating_sub(EXCERPT_BEFORE);
    // A control character would be obeyed by a terminal; a tab stays, so that the caret stands at every tab width.
    let shown = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    let line: String = line.chars().skip(skip).take(EXCERPT_BEFORE + EXCERPT_AFTER).map(shown).collect();
    let before = line.chars().take(at - skip).map(|c| if c == '\t' { '\t' } else { ' ' });
    let before: String = before.collect();
    (line, before)
}

/// The word of `known` that `word` is most likely a slip of: at most a third of its letters differ.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
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
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_problem_shows_the_line_and_points_at_the_place_also_after_tabs_and_carriage_returns() {
        let text = "a: 1\r\n\tü: {\r\n".as_bytes();
        let position = Position { line: 2, column: 5 };
        let problem = Problem::at("site.yml", text, position, "a brace is not closed").remedy("close it");
        expect![[r#"
            site.yml:2:5: a brace is not closed
              |
            2 | 	ü: {
              | 	   ^
              = help: close it
        "#]]
        .assert_eq(&problem.render());
    }

    #[test]
    fn a_very_long_line_is_shown_around_the_place() {
        let text = format!("{}x{}", "a".repeat(10_000), "b".repeat(10_000));
        let position = Position { line: 1, column: 10_001 };
        let rendered = Problem::at("f", text.as_bytes(), position, "m").render();
        assert!(rendered.len() < 400, "{}", rendered.len());
        let lines: Vec<&str> = rendered.lines().collect();
        assert_eq!(lines[2].find('x'), lines[3].find('^'));
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        let problem = Problem::at("f", b"a\x1b[2Jb", Position { line: 1, column: 2 }, "m");
        assert!(!problem.render().contains('\x1b'));
    }

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["gather_facts", "hosts", "handlers"];
        assert_eq!(nearest("gather_fact", known), Some("gather_facts"));
        assert_eq!(nearest("description", known), None);
    }
}
