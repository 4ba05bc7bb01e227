//! Reading the table `[cache]` of a file, with the place of each value.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Excerpt, Fault, Problem};
use super::layers::{Assignment, Layer, Layers, Origin};
use super::schema::{Form, SETTINGS, Setting, Target, nearest, valid_name};

/// The table that settings stand in.
const TABLE: &str = "cache";

/// Adds what the file assigns to `layers`, and what is wrong in it.
pub(super) fn read(layers: &mut Layers, layer: Layer, path: &Path, text: &str) {
    let mut reader = Reader { layers, layer, path, text };
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let message = error.message().to_owned();
            reader.problem(error.span().unwrap_or(0..0), Fault::Syntax { message });
            return;
        }
    };
    for (name, value) in document.get_ref() {
        match (name.get_ref().as_ref(), value.get_ref()) {
            (TABLE, DeValue::Table(table)) => reader.table(&[], table),
            (TABLE, other) => {
                let fault =
                    Fault::Type { setting: TABLE.to_owned(), expected: "a table", found: type_name(other) };
                reader.problem(value.span(), fault);
            }
            (name_text, _) if layer == Layer::User => {
                reader.problem(name.span(), Fault::UnknownTable { name: name_text.to_owned() });
            }
            // Of a project's file the other tables are somebody else's matter.
            _ => {}
        }
    }
}

struct Reader<'a> {
    layers: &'a mut Layers,
    layer: Layer,
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    /// Walks a table; `path` is the way to it from `[cache]`.
    fn table(&mut self, path: &[&str], table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let way = [path, &[name]].concat();
            match (is_group(&way), value.get_ref()) {
                (false, _) => match target(&way) {
                    Ok(target) => self.assign(target, value),
                    Err(fault) => self.problem(key.span(), fault),
                },
                (true, DeValue::Table(inner)) => match check_name(&way) {
                    Ok(()) => self.table(&way, inner),
                    Err(fault) => self.problem(key.span(), fault),
                },
                (true, other) => {
                    let fault =
                        Fault::Type { setting: way.join("."), expected: "a table", found: type_name(other) };
                    self.problem(value.span(), fault);
                }
            }
        }
    }

    fn assign(&mut self, target: Target, value: &Spanned<DeValue<'_>>) {
        let form = target.setting.form;
        let text = match (form, value.get_ref()) {
            (Form::Switch, DeValue::Boolean(on)) => on.to_string(),
            (Form::Number, DeValue::Integer(number)) if number.radix() == 10 => number.as_str().to_owned(),
            (Form::Number | Form::Text, DeValue::String(text)) => text.to_string(),
            (_, other) => {
                let expected = match form {
                    Form::Switch => "true or false",
                    Form::Number => "a whole number",
                    Form::Text => "text in quotes",
                };
                let fault = Fault::Type { setting: target.name(), expected, found: type_name(other) };
                self.problem(value.span(), fault);
                return;
            }
        };
        let (origin, excerpt) = self.place(value.span());
        let base = self.path.parent().unwrap_or(Path::new("")).to_owned();
        self.layers.assignments.push(Assignment { target, text, base, origin, excerpt: Some(excerpt) });
    }

    fn problem(&mut self, span: Range<usize>, fault: Fault) {
        let (origin, excerpt) = self.place(span);
        self.layers.problems.push(Problem { origin, fault, excerpt: Some(excerpt) });
    }

    /// Line and column of a range of bytes, and the line's text.
    fn place(&self, span: Range<usize>) -> (Origin, Excerpt) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line_text = self.text[line_start..].lines().next().unwrap_or_default();
        let start = before[line_start..].chars().count();
        let inside = self.text.get(span).unwrap_or_default().lines().next().unwrap_or_default();
        let origin = Origin::File {
            layer: self.layer,
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: start + 1,
        };
        let excerpt = Excerpt { text: line_text.to_owned(), start, width: inside.chars().count().max(1) };
        (origin, excerpt)
    }
}

/// Whether a table may stand at the end of this way.
fn is_group(way: &[&str]) -> bool {
    match way {
        ["kind" | "scope"] | ["kind" | "scope", _] => true,
        [group] => SETTINGS
            .iter()
            .any(|setting| setting.name.split_once('.').is_some_and(|(head, _)| head == *group)),
        _ => false,
    }
}

/// Whether the name of a kind or scope is one; other groups need none.
fn check_name(way: &[&str]) -> Result<(), Fault> {
    match way {
        [group, of] => valid_name(group, of),
        _ => Ok(()),
    }
}

fn target(way: &[&str]) -> Result<Target, Fault> {
    match way {
        [group @ ("kind" | "scope"), of, last] => Target::find_in_group(group, of, last),
        _ => Target::find(&way.join(".")).map_err(|fault| match fault {
            Fault::UnknownSetting { name, suggestion: None } => {
                let groups = SETTINGS.iter().filter_map(|setting: &Setting| setting.name.split_once('.'));
                let suggestion = nearest(&name, groups.map(|(group, _)| group));
                Fault::UnknownSetting { name, suggestion }
            }
            fault => fault,
        }),
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
