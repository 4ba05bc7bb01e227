//! Values without positions: what documents say, wherever in the file they say it.
//!
//! Answers of queries are made of these, so that a line inserted above does not change them.
//! Invariant: keys of a [`Mapping`] are text, each of them once, in the order of the file.
//! Not here: positions (`yaml`), and finding them again for a message (`fault`).

use std::fmt::Write as _;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::yaml::{Node, Value};

/// A value as a document says it.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Plain {
    /// Nothing.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    String(Box<str>),
    /// A list.
    List(Vec<Plain>),
    /// Keys and values.
    Map(Mapping),
    /// The ciphertext of an encrypted value.
    Vault(Box<str>),
}

/// Keys and values in the order of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping(Vec<(Box<str>, Plain)>);

impl Plain {
    /// A text.
    pub(crate) fn text(text: impl Into<Box<str>>) -> Self {
        Self::String(text.into())
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if it is a mapping.
    pub fn as_map(&self) -> Option<&Mapping> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Whether it is nothing.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// What to call it in a message, with its article.
    pub(crate) fn described(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
            Self::Vault(_) => "an encrypted value",
        }
    }

    /// How Python prints it where text is wanted.
    pub fn shown(&self) -> String {
        match self {
            Self::String(text) | Self::Vault(text) => text.to_string(),
            _ => self.repr(),
        }
    }

    fn repr(&self) -> String {
        match self {
            Self::Null => "None".to_owned(),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => format!("{number:?}"),
            Self::String(text) | Self::Vault(text) => format!("'{text}'"),
            Self::List(items) => {
                format!("[{}]", items.iter().map(Self::repr).collect::<Vec<_>>().join(", "))
            }
            Self::Map(entries) => {
                let mut out = String::new();
                for (key, value) in entries.iter() {
                    let separator = if out.is_empty() { "" } else { ", " };
                    let _ = write!(out, "{separator}'{key}': {}", value.repr());
                }
                format!("{{{out}}}")
            }
        }
    }

    /// The truth value that Ansible's `boolean` filter makes of it.
    pub(crate) fn truth(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            Self::Integer(0) => Some(false),
            Self::Integer(1) => Some(true),
            Self::String(text) => match text.to_lowercase().as_str() {
                "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Some(true),
                "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Mapping {
    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&Plain> {
        self.0.iter().find(|(known, _)| &**known == key).map(|(_, value)| value)
    }

    /// Sets a value: where the key stood if it was there, else at the end.
    pub(crate) fn set(&mut self, key: impl Into<Box<str>>, value: Plain) {
        let key = key.into();
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    /// Sets all values of another mapping.
    pub fn update(&mut self, other: &Self) {
        for (key, value) in other.iter() {
            self.set(key, value.clone());
        }
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Plain)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// For how many entries there is room.
    pub(crate) fn room(&self) -> usize {
        self.0.capacity()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Box<str>, Plain)> for Mapping {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Plain)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl From<&Node> for Plain {
    fn from(node: &Node) -> Self {
        match &node.value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Integer(number) => Self::Integer(*number),
            Value::Float(number) => Self::Float(*number),
            Value::String(text) => Self::String(text.clone()),
            Value::Vault(text) => Self::Vault(text.clone()),
            Value::Sequence(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Mapping(entries) => {
                let entry = |(key, value): &(Node, Node)| (key_text(key), Self::from(value));
                Self::Map(entries.iter().map(entry).collect())
            }
        }
    }
}

/// A key as text; that is what attribute names and variables are.
pub(crate) fn key_text(key: &Node) -> Box<str> {
    Plain::from(key).shown().into()
}

/// The form in which binary formats keep it: with the variant, as they don't describe themselves.
#[derive(Serialize, Deserialize)]
enum Stored<S, L, M> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(S),
    List(L),
    Map(M),
    Vault(S),
}

impl Serialize for Plain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            let stored = match self {
                Self::Null => Stored::Null,
                Self::Bool(truth) => Stored::Bool(*truth),
                Self::Integer(number) => Stored::Integer(*number),
                Self::Float(number) => Stored::Float(*number),
                Self::String(text) => Stored::String(&**text),
                Self::List(items) => Stored::List(items),
                Self::Map(entries) => Stored::Map(entries),
                Self::Vault(text) => Stored::Vault(&**text),
            };
            return stored.serialize(serializer);
        }
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Integer(number) => serializer.serialize_i64(*number),
            // JSON has no word for these.
            Self::Float(number) if !number.is_finite() => serializer.serialize_str(&number.to_string()),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::String(text) => serializer.serialize_str(text),
            Self::List(items) => items.serialize(serializer),
            Self::Map(entries) => serializer.collect_map(entries.iter()),
            Self::Vault(text) => serializer.collect_map([("__ansible_vault", text)]),
        }
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let json = serde_json::Value::deserialize(deserializer)?;
            return Self::of_json(json).map_err(D::Error::custom);
        }
        let stored: Stored<Box<str>, Vec<Self>, Mapping> = Stored::deserialize(deserializer)?;
        Ok(match stored {
            Stored::Null => Self::Null,
            Stored::Bool(truth) => Self::Bool(truth),
            Stored::Integer(number) => Self::Integer(number),
            Stored::Float(number) => Self::Float(number),
            Stored::String(text) => Self::String(text),
            Stored::List(items) => Self::List(items),
            Stored::Map(entries) => Self::Map(entries),
            Stored::Vault(text) => Self::Vault(text),
        })
    }
}

impl Plain {
    /// What a JSON value says. An integer that does not fit becomes a float.
    pub(crate) fn of_json(json: serde_json::Value) -> Result<Self, String> {
        use serde_json::Value as Json;
        Ok(match json {
            Json::Null => Self::Null,
            Json::Bool(truth) => Self::Bool(truth),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Self::Integer(number),
                None => Self::Float(number.as_f64().ok_or("number out of range")?),
            },
            Json::String(text) => Self::String(text.into()),
            Json::Array(items) => Self::List(items.into_iter().map(Self::of_json).collect::<Result<_, _>>()?),
            Json::Object(entries) => match entries.get("__ansible_vault") {
                Some(Json::String(text)) if entries.len() == 1 => Self::Vault(text.as_str().into()),
                _ => {
                    let entry = |(key, value): (String, Json)| Ok((key.into(), Self::of_json(value)?));
                    Self::Map(entries.into_iter().map(entry).collect::<Result<_, String>>()?)
                }
            },
        })
    }
}

impl Serialize for Mapping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_map(self.iter());
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Vec::deserialize(deserializer).map(Self);
        }
        match Plain::deserialize(deserializer)? {
            Plain::Map(entries) => Ok(entries),
            other => Err(D::Error::custom(format!("expected a mapping, found {}", other.described()))),
        }
    }
}

#[cfg(test)]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{Mapping, Plain};

    impl JsonSchema for Plain {
        fn schema_name() -> Cow<'static, str> {
            "Value".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"description": "Any value. An encrypted one is {\"__ansible_vault\": CIPHERTEXT}."})
        }
    }

    impl JsonSchema for Mapping {
        fn schema_name() -> Cow<'static, str> {
            "Mapping".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "object", "description": "Values by name, in the order of the file."})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_whole_from_both_forms() {
        let text = "{a: [1, 2.5, true, ~, x], b: {c: !vault cipher}, d: ''}";
        let value = Plain::from(&crate::yaml::parse("f", text.as_bytes()).unwrap()[0]);
        let binary = postcard::to_stdvec(&value).unwrap();
        assert_eq!(postcard::from_bytes::<Plain>(&binary).unwrap(), value);
        let json = serde_json::to_string(&value).unwrap();
        assert_eq!(serde_json::from_str::<Plain>(&json).unwrap(), value);
    }
}
