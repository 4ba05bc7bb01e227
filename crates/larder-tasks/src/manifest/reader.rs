//! Walking a parsed document: typed values with their places, and complaints about the rest.
//!
//! Invariant: a value that is not what its key takes is reported once and read as absent, so reading goes on.
//! Not here: which keys there are.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use larder::config::{ByteSize, parse_duration};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::name;
use crate::path::PatternError;
use crate::place::{Located, Place, SourceText};
use crate::problem::{Fault, Problem};

/// A value of the document.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;
/// A key of the document.
pub(super) type Key<'i> = Spanned<DeString<'i>>;

/// A table and what to call it.
pub(super) struct Section<'a, 'i> {
    pub(super) name: String,
    pub(super) table: &'a DeTable<'i>,
}

/// Reads one document.
pub(super) struct Reader<'p> {
    source: Arc<SourceText>,
    pub(super) problems: &'p mut Vec<Problem>,
    /// Bytes before the parsed text: a byte-order mark.
    pub(super) skipped: usize,
}

impl<'p> Reader<'p> {
    pub(super) fn new(source: &Arc<SourceText>, problems: &'p mut Vec<Problem>) -> Self {
        Self { source: Arc::clone(source), problems, skipped: 0 }
    }

    /// Parses, or reports every place where the text is not TOML.
    pub(super) fn parse<'i>(&mut self, text: &'i str) -> Option<Spanned<DeTable<'i>>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let place = self.place(error.span().unwrap_or_default());
            let message = error.message().replace('\n', ", ");
            self.problems.push(Problem::at(&place, Fault::Syntax(message)));
        }
        errors.is_empty().then_some(document)
    }

    pub(super) fn place(&self, span: Range<usize>) -> Place {
        self.source.at(span.start + self.skipped..span.end + self.skipped)
    }

    pub(super) fn located<T>(&self, value: T, span: Range<usize>) -> Located<T> {
        Located { value, place: self.place(span) }
    }

    pub(super) fn report(&mut self, span: Range<usize>, fault: Fault) {
        let place = self.place(span);
        self.problems.push(Problem::at(&place, fault));
    }

    pub(super) fn unknown<'k>(
        &mut self,
        key: &Key<'_>,
        table: &str,
        known: impl Iterator<Item = &'k str> + Clone,
    ) {
        let word = key.get_ref();
        let problem = Problem::at(
            &self.place(key.span()),
            Fault::UnknownKey { key: word.to_string(), table: table.to_owned() },
        );
        let problem = match crate::problem::nearest(word, known.clone()) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem.hint(format!("known here: {}", known.collect::<Vec<_>>().join(", "))),
        };
        self.problems.push(problem);
    }

    /// Reports that `value` is not what `key` takes.
    pub(super) fn mismatch<T>(&mut self, key: &str, expected: &'static str, value: &Value<'_>) -> Option<T> {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.report(value.span(), Fault::Type { key: key.to_owned(), expected, found });
        None
    }

    pub(super) fn section<'a, 'i>(&mut self, name: &str, value: &'a Value<'i>) -> Option<Section<'a, 'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Section { name: format!("[{name}]"), table }),
            _ => self.mismatch(name, "a table", value),
        }
    }

    pub(super) fn string(&mut self, key: &str, value: &Value<'_>) -> Option<Located<String>> {
        match value.get_ref() {
            DeValue::String(text) => Some(self.located(text.to_string(), value.span())),
            _ => self.mismatch(key, "a string", value),
        }
    }

    pub(super) fn boolean(&mut self, key: &str, value: &Value<'_>) -> Option<Located<bool>> {
        match value.get_ref() {
            DeValue::Boolean(choice) => Some(self.located(*choice, value.span())),
            _ => self.mismatch(key, "true or false", value),
        }
    }

    pub(super) fn strings(&mut self, key: &str, value: &Value<'_>) -> Option<Vec<Located<String>>> {
        const EXPECTED: &str = "a list of strings";
        let DeValue::Array(items) = value.get_ref() else { return self.mismatch(key, EXPECTED, value) };
        let mut strings = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref() {
                DeValue::String(text) => strings.push(self.located(text.to_string(), item.span())),
                _ => drop(self.mismatch::<()>(key, EXPECTED, item)),
            }
        }
        Some(strings)
    }

    /// A list of process exit codes, 0 to 255.
    pub(super) fn exit_codes(&mut self, key: &str, value: &Value<'_>) -> Option<Vec<u8>> {
        const EXPECTED: &str = "a list of exit codes from 0 to 255";
        let DeValue::Array(items) = value.get_ref() else { return self.mismatch(key, EXPECTED, value) };
        let mut codes = Vec::with_capacity(items.len());
        for item in items {
            let DeValue::Integer(number) = item.get_ref() else {
                self.mismatch::<()>(key, EXPECTED, item);
                continue;
            };
            match u8::from_str_radix(number.as_str(), number.radix()) {
                Ok(code) => codes.push(code),
                Err(_) => self.bad_value(key, EXPECTED, number.as_str(), item),
            }
        }
        Some(codes)
    }

    pub(super) fn duration(&mut self, key: &str, value: &Value<'_>) -> Option<Located<Duration>> {
        const EXPECTED: &str = "a duration with its unit, such as \"90s\", \"5m\" or \"1.5h\"";
        let DeValue::String(text) = value.get_ref() else { return self.mismatch(key, EXPECTED, value) };
        match parse_duration(text) {
            Ok(duration) if !duration.is_zero() => Some(self.located(duration, value.span())),
            Ok(_) | Err(_) => {
                self.bad_value(key, EXPECTED, text, value);
                None
            }
        }
    }

    pub(super) fn size(&mut self, key: &str, value: &Value<'_>) -> Option<Located<ByteSize>> {
        const EXPECTED: &str = "a size with its unit, such as \"512 KiB\", \"10 MiB\" or \"2 GB\"";
        let DeValue::String(text) = value.get_ref() else { return self.mismatch(key, EXPECTED, value) };
        match text.parse() {
            Ok(size) => Some(self.located(size, value.span())),
            Err(_) => {
                self.bad_value(key, EXPECTED, text, value);
                None
            }
        }
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &str,
        expected: &'static str,
        choices: &[(&str, T)],
        value: &Value<'_>,
    ) -> Option<T> {
        let DeValue::String(text) = value.get_ref() else { return self.mismatch(key, expected, value) };
        let found = choices.iter().find(|(word, _)| word == text);
        if found.is_none() {
            self.bad_value(key, expected, text, value);
            if let Some(problem) = self.problems.pop() {
                self.problems.push(problem.suggest(text, choices.iter().map(|(word, _)| *word)));
            }
        }
        found.map(|(_, choice)| *choice)
    }

    /// A package's or the workspace's name.
    pub(super) fn name(&mut self, key: &str, value: &Value<'_>) -> Option<Located<String>> {
        let name = self.string(key, value)?;
        match name::check_package(&name.value) {
            Ok(()) => Some(name),
            Err(rule) => {
                let fault = Fault::Name { what: "name", name: name.value, rule: rule.0 };
                self.report(value.span(), fault);
                None
            }
        }
    }

    pub(super) fn bad_value(&mut self, key: &str, expected: &'static str, found: &str, value: &Value<'_>) {
        let fault = Fault::Value { key: key.to_owned(), expected, found: found.to_owned() };
        self.report(value.span(), fault);
    }

    /// Whether `check` accepts the glob; if not, that is reported.
    pub(super) fn accepts_glob(
        &mut self,
        key: &'static str,
        glob: &Located<String>,
        check: fn(&str) -> Result<(), PatternError>,
    ) -> bool {
        let checked = check(&glob.value);
        if let Err(error) = &checked {
            self.problems.push(Problem::at(&glob.place, Fault::of_pattern(key, &glob.value, error)));
        }
        checked.is_ok()
    }
}
