//! JSON, which Ansible's loader tries before YAML: some scalars mean something else there.
//!
//! Positions are those of the text's start. Where one is needed, the same text is read as YAML.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::yaml::{Node, Position, Value};

const START: Position = Position { line: 1, column: 1 };

/// The document that a text is, if it is JSON with braces or brackets around it.
pub(crate) fn parse(bytes: &[u8]) -> Option<Node> {
    let begins = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if !matches!(begins, Some(b'{' | b'[')) {
        return None;
    }
    serde_json::from_slice::<Document>(bytes).ok().map(|document| document.0)
}

struct Document(Node);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values).map(node).map(Self)
    }
}

fn node(value: Value) -> Node {
    Node { value, at: START }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        // What does not fit is text, as in YAML.
        Ok(i64::try_from(value).map_or_else(|_| Value::String(value.to_string().into()), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut sequence = Vec::new();
        while let Some(Document(item)) = items.next_element()? {
            sequence.push(item);
        }
        Ok(Value::Sequence(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut mapping: Vec<(Node, Node)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        while let Some((key, Document(value))) = entries.next_entry::<Box<str>, Document>()? {
            let place = *places.entry(key.clone()).or_insert(mapping.len());
            match mapping.get_mut(place) {
                Some(entry) => entry.1 = value,
                None => mapping.push((node(Value::String(key)), value)),
            }
        }
        Ok(Value::Mapping(mapping))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_escapes_are_those_of_json_and_the_last_of_equal_keys_counts() {
        let document = parse(br#" {"a": 1e20, "b": "\ud834\udd1e\/", "a": [1, null]}"#).unwrap();
        let keys: Vec<_> =
            document.as_mapping().unwrap().iter().filter_map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(document.get("b").unwrap().as_str(), Some("𝄞/"));
        assert_eq!(document.get("a").unwrap().as_sequence().map(<[Node]>::len), Some(2));
    }

    #[test]
    fn what_is_no_json_is_left_to_yaml() {
        for text in ["{a: 1}", "a: 1", "", "[1", "{} {}", &"[".repeat(100_000)] {
            assert!(parse(text.as_bytes()).is_none(), "{text:.20}");
        }
    }
}
