//! Values of variables, apart from where they were written, and how Python prints them as JSON.
//!
//! Invariant: a value that nothing decrypted stays [`Value::Vault`], and nothing looks into it.
//! Not here: Jinja expressions; they are strings.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::yaml::{self, Node};

/// The variables of a host or a group: each name once, sorted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Variables(Vec<(Box<str>, Value)>);

/// What a variable holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// `None`, `null`.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// The decimal digits of a whole number that does not fit, perhaps after a minus sign.
    Digits(Box<str>),
    /// Any other number.
    Float(f64),
    /// Text.
    String(Box<str>),
    /// A list, also what was a tuple or a set.
    List(Vec<Value>),
    /// Keys and values in the order in which they were written; keys are scalars.
    Map(Vec<(Value, Value)>),
    /// What `!vault` encrypts: the ciphertext.
    Vault(Box<str>),
}

/// Of equal names the last one counts.
impl FromIterator<(Box<str>, Value)> for Variables {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Value)>>(variables: I) -> Self {
        let mut variables: Vec<(Box<str>, Value)> = variables.into_iter().collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        variables.dedup_by(|later, earlier| {
            let is_same = later.0 == earlier.0;
            if is_same {
                std::mem::swap(later, earlier);
            }
            is_same
        });
        variables.shrink_to_fit();
        Self(variables)
    }
}

impl Variables {
    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes over what wins over what is there.
    pub(super) fn extend(&mut self, other: &Self) {
        if !other.is_empty() {
            let (own, other) = (std::mem::take(&mut self.0), other.0.iter().cloned());
            *self = own.into_iter().chain(other).collect();
        }
    }
}

impl From<&Node> for Value {
    fn from(node: &Node) -> Self {
        match &node.value {
            yaml::Value::Null => Self::Null,
            yaml::Value::Bool(value) => Self::Bool(*value),
            yaml::Value::Integer(value) => Self::Integer(*value),
            yaml::Value::Float(value) => Self::Float(*value),
            yaml::Value::String(text) => Self::String(text.clone()),
            yaml::Value::Sequence(items) => Self::List(items.iter().map(Self::from).collect()),
            yaml::Value::Mapping(entries) => {
                Self::Map(entries.iter().map(|(key, value)| (Self::from(key), Self::from(value))).collect())
            }
            yaml::Value::Vault(text) => Self::Vault(text.clone()),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl Value {
    /// Whether Python takes it for false.
    pub(super) fn is_falsy(node: &Node) -> bool {
        match &node.value {
            yaml::Value::Null | yaml::Value::Bool(false) | yaml::Value::Integer(0) => true,
            yaml::Value::Float(number) => *number == 0.0,
            yaml::Value::String(text) => text.is_empty(),
            yaml::Value::Sequence(items) => items.is_empty(),
            yaml::Value::Mapping(entries) => entries.is_empty(),
            yaml::Value::Bool(true) | yaml::Value::Integer(_) | yaml::Value::Vault(_) => false,
        }
    }

    /// The name that a scalar has as a key of JSON.
    pub(super) fn as_key(&self) -> Box<str> {
        match self {
            Self::String(text) | Self::Digits(text) | Self::Vault(text) => text.clone(),
            Self::Null => "null".into(),
            Self::Bool(value) => if *value { "true" } else { "false" }.into(),
            Self::Integer(number) => number.to_string().into(),
            Self::Float(number) => float(*number).into(),
            Self::List(_) | Self::Map(_) => {
                let mut text = String::new();
                self.write_json(&mut text, 0);
                text.into()
            }
        }
    }

    /// Appends what `json.dumps(value, indent=4, sort_keys=True)` prints at a depth of indentation.
    pub(super) fn write_json(&self, out: &mut String, depth: usize) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Integer(number) => {
                let _ = write!(out, "{number}");
            }
            Self::Digits(digits) => out.push_str(digits),
            Self::Float(number) => out.push_str(&float(*number)),
            Self::String(text) => write_text(out, text),
            Self::List(items) => {
                write_block(out, depth, ['[', ']'], items.iter(), |out, item| {
                    item.write_json(out, depth + 1)
                });
            }
            Self::Map(entries) => {
                let mut entries: Vec<(Box<str>, &Self)> =
                    entries.iter().map(|(key, value)| (key.as_key(), value)).collect();
                // Stable, and the last of equal keys is the one that a reader of JSON keeps.
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                write_entries(out, depth, entries.into_iter(), |out, value| value.write_json(out, depth + 1));
            }
            Self::Vault(text) => {
                let text = Self::String(text.clone());
                let entry = std::iter::once(("__ansible_vault", &text));
                write_entries(out, depth, entry, |out, value| value.write_json(out, depth + 1));
            }
        }
    }
}

/// Appends an object whose keys are sorted already.
pub(super) fn write_entries<K: AsRef<str>, V>(
    out: &mut String,
    depth: usize,
    entries: impl Iterator<Item = (K, V)>,
    mut write: impl FnMut(&mut String, V),
) {
    write_block(out, depth, ['{', '}'], entries, |out, (key, value)| {
        write_text(out, key.as_ref());
        out.push_str(": ");
        write(out, value);
    });
}

/// Appends items between brackets, each on a line of its own.
pub(super) fn write_block<T>(
    out: &mut String,
    depth: usize,
    [open, close]: [char; 2],
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', 4 * depth));
    };
    out.push(open);
    let mut is_empty = true;
    for item in items {
        if !is_empty {
            out.push(',');
        }
        is_empty = false;
        line(out, depth + 1);
        write(out, item);
    }
    if !is_empty {
        line(out, depth);
    }
    out.push(close);
}

/// Appends a string, with nothing escaped that need not be.
pub(super) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Python's `repr` of a float, in the spelling of its JSON.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    // The shortest digits that read back as the same number, which Python prints too.
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("it has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a small number");
    if (-4..16).contains(&exponent) {
        let plain = format!("{number}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_spelled_as_python_spells_them() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.000_012, "1.2e-05"),
            (f64::INFINITY, "Infinity"),
        ] {
            assert_eq!(float(number), text);
        }
    }

    #[test]
    fn of_equal_names_the_last_one_counts() {
        let variables = |pairs: &[(&str, i64)]| {
            pairs.iter().map(|&(name, value)| (name.into(), Value::Integer(value))).collect::<Variables>()
        };
        let mut known = variables(&[("b", 1), ("a", 2), ("b", 3), ("b", 4)]);
        assert_eq!(known, variables(&[("a", 2), ("b", 4)]));
        known.extend(&variables(&[("c", 5), ("a", 6)]));
        assert_eq!(known, variables(&[("a", 6), ("b", 4), ("c", 5)]));
        assert_eq!((known.get("a"), known.get("d")), (Some(&Value::Integer(6)), None));
    }

    #[test]
    fn json_has_four_spaces_and_sorted_keys() {
        let value = Value::Map(vec![
            ("b".into(), Value::List(vec![Value::Integer(1), Value::List(Vec::new())])),
            ("a\u{7f}".into(), "ü𝄞\n\u{1}".into()),
        ]);
        let mut out = String::new();
        value.write_json(&mut out, 0);
        assert_eq!(
            out,
            "{\n    \"a\u{7f}\": \"ü𝄞\\n\\u0001\",\n    \"b\": [\n        1,\n        []\n    ]\n}"
        );
    }
}
