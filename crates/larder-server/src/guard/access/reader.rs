//! Walking a parsed document: typed values, and complaints about the rest.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use larder::clock::Timestamp;
use larder::config::{ByteSize, parse_duration};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::problem::Problem;

/// A value of the document.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;
/// A key of the document.
pub(super) type Key<'i> = Spanned<DeString<'i>>;

/// Reads one document.
pub(super) struct Reader<'i> {
    path: String,
    text: &'i str,
    pub(super) problems: Vec<Problem>,
}

impl<'i> Reader<'i> {
    pub(super) fn new(path: &Path, text: &'i str) -> Self {
        Self { path: path.display().to_string(), text, problems: Vec::new() }
    }

    /// Parses, or reports every place where the text is not TOML.
    pub(super) fn parse(&mut self) -> Option<Spanned<DeTable<'i>>> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let fault = error.message().replace('\n', ", ");
            self.report(error.span().unwrap_or_default(), fault, "the file is TOML");
        }
        errors.is_empty().then_some(document)
    }

    pub(super) fn report(&mut self, span: Range<usize>, fault: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::at(&self.path, self.text, span, fault.into(), remedy.into()));
    }

    pub(super) fn unknown(&mut self, key: &Key<'_>, table: &str, known: &[&str]) {
        let word = key.get_ref();
        let near = known.iter().map(|one| (strsim::damerau_levenshtein(word, one), one)).min();
        let remedy = match near {
            Some((distance, near)) if distance <= word.chars().count() / 3 + 1 => {
                format!("did you mean `{near}`?")
            }
            _ => format!("known here: {}", known.join(", ")),
        };
        self.report(key.span(), format!("unknown key `{word}` in {table}"), remedy);
    }

    /// Reports that `value` is not what `key` takes. Says nothing of the value itself, which may be a secret.
    fn mismatch<T>(&mut self, key: &str, expected: &str, value: &Value<'_>) -> Option<T> {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let remedy = format!("write {expected}");
        self.report(value.span(), format!("`{key}` is {found}, which it can't be"), remedy);
        None
    }

    pub(super) fn table<'a, 't>(&mut self, name: &str, value: &'a Value<'t>) -> Option<&'a DeTable<'t>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => self.mismatch(name, "a table", value),
        }
    }

    /// Walks the entries of a table of named things.
    pub(super) fn each<'t>(
        &mut self,
        name: &str,
        value: &Value<'t>,
        mut visit: impl FnMut(&mut Self, &Key<'t>, &Value<'t>),
    ) {
        for (key, value) in self.table(name, value).into_iter().flatten() {
            visit(self, key, value);
        }
    }

    pub(super) fn string(&mut self, key: &str, value: &Value<'_>) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            _ => self.mismatch(key, "a string", value),
        }
    }

    pub(super) fn boolean(&mut self, key: &str, value: &Value<'_>) -> Option<bool> {
        match value.get_ref() {
            DeValue::Boolean(choice) => Some(*choice),
            _ => self.mismatch(key, "true or false", value),
        }
    }

    pub(super) fn choice(&mut self, key: &str, value: &Value<'_>, choices: &[&str]) -> Option<String> {
        let text = self.string(key, value)?;
        if choices.contains(&text.as_str()) {
            return Some(text);
        }
        let remedy = format!("it is one of {}", choices.join(", "));
        self.report(value.span(), format!("`{key}` can't be {text:?}"), remedy);
        None
    }

    pub(super) fn size(&mut self, key: &str, value: &Value<'_>) -> Option<u64> {
        const EXPECTED: &str = "a size from 1 B on such as \"20 GiB\"";
        let DeValue::String(text) = value.get_ref() else { return self.mismatch(key, EXPECTED, value) };
        match text.parse() {
            Ok(ByteSize(bytes)) if bytes > 0 => Some(bytes),
            _ => {
                self.report(value.span(), format!("`{key}` can't be {text:?}"), format!("write {EXPECTED}"));
                None
            }
        }
    }

    pub(super) fn duration(&mut self, key: &str, value: &Value<'_>) -> Option<Duration> {
        const EXPECTED: &str = "a time such as \"30 s\" or \"14 d\"";
        let DeValue::String(text) = value.get_ref() else { return self.mismatch(key, EXPECTED, value) };
        match parse_duration(text) {
            Ok(duration) if !duration.is_zero() => Some(duration),
            _ => {
                self.report(value.span(), format!("`{key}` can't be {text:?}"), format!("write {EXPECTED}"));
                None
            }
        }
    }

    pub(super) fn number(&mut self, key: &str, value: &Value<'_>) -> Option<u64> {
        const EXPECTED: &str = "a whole number from 1 on";
        let DeValue::Integer(number) = value.get_ref() else { return self.mismatch(key, EXPECTED, value) };
        let fault = match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(..=0) => format!("`{key}` has to be at least 1"),
            Ok(number) => match u64::try_from(number) {
                Ok(number) => return Some(number),
                Err(_) => format!("`{key}` is too large"),
            },
            Err(_) => format!("`{key}` is too large"),
        };
        self.report(value.span(), fault, format!("write {EXPECTED}"));
        None
    }

    /// A moment: a date, which stands for its beginning, or a date and a time, both in UTC.
    pub(super) fn date(&mut self, key: &str, value: &Value<'_>) -> Option<Timestamp> {
        const EXPECTED: &str = "2027-01-01 or 2027-01-01T12:00:00Z";
        let DeValue::Datetime(moment) = value.get_ref() else { return self.mismatch(key, EXPECTED, value) };
        let is_utc = !matches!(moment.offset, Some(toml::value::Offset::Custom { minutes }) if minutes != 0);
        let text = match (moment.date, moment.time) {
            (Some(date), None) => format!("{date}T00:00:00Z"),
            (Some(date), Some(time)) if is_utc => format!("{date}T{time}Z"),
            _ => String::new(),
        };
        match humantime::parse_rfc3339(&text) {
            Ok(moment) => Some(moment.into()),
            Err(_) => {
                let fault = format!("`{key}` is no moment in UTC");
                self.report(value.span(), fault, format!("write {EXPECTED}"));
                None
            }
        }
    }
}
