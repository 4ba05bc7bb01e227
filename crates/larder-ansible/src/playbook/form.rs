//! The JSON form of playbooks, for tools that parse elsewhere: `metadata`, `plays`, `variables` and `inventory` in one
//! document. Its schema is `docs/playbook.schema.json`.
//!
//! Plays are made of the same keywords as in a playbook of Ansible's own. Variables are those of all plays, and give way
//! to whatever a play says itself. The inventory has the form of an inventory in YAML.
//! Not here: reading the inventory (`inventory`), JSON itself.

use super::fields::is_variable_name;
use crate::fault::{Fault, Way};
use crate::plain::{Mapping, Plain};

/// The key that makes a document one of this form.
pub(crate) const PLAYS: &str = "plays";
/// The key of its inventory.
pub(crate) const INVENTORY: &str = "inventory";
/// Version of the form.
pub const FORM_VERSION: i64 = 1;

const METADATA: &[&str] = &["format", "name", "generator", "source"];
const KEYS: &[&str] = &["metadata", PLAYS, "variables", INVENTORY];

/// The entries of a playbook in either form, each of them not read yet, and the variables of all of them.
pub(crate) fn entries(document: &Plain) -> Result<(&[Plain], Mapping), Fault> {
    let way = Way::ROOT;
    match document {
        Plain::List(entries) => some(entries, &way).map(|entries| (entries, Mapping::default())),
        Plain::Null => Err(way.fault("the playbook is empty")),
        Plain::Map(form) if form.get(PLAYS).is_some() => {
            check(form, &way)?;
            let plays = way.key(PLAYS);
            match form.get(PLAYS) {
                Some(Plain::List(entries)) => Ok((some(entries, &plays)?, variables(form, &way)?)),
                other => {
                    let found = other.map_or("nothing", Plain::described);
                    Err(plays.fault(format!("`{PLAYS}` must be a list of plays, not {found}")))
                }
            }
        }
        other => {
            let fault = way.fault(format!("a playbook must be a list of plays, not {}", other.described()));
            let is_map = matches!(other, Plain::Map(_));
            Err(if is_map { fault.remedy("in the JSON form the list stands under `plays`") } else { fault })
        }
    }
}

/// The entry of a playbook in either form.
pub(crate) fn nth(document: &Plain, index: usize) -> Option<&Plain> {
    let entries = match document {
        Plain::Map(form) => form.get(PLAYS)?,
        list => list,
    };
    entries.as_list()?.get(index)
}

fn some<'p>(entries: &'p [Plain], way: &Way<'_>) -> Result<&'p [Plain], Fault> {
    if entries.is_empty() { Err(way.fault("a playbook must contain at least one play")) } else { Ok(entries) }
}

fn check(form: &Mapping, way: &Way<'_>) -> Result<(), Fault> {
    known(form, KEYS, "the JSON form of a playbook", way)?;
    let metadata_way = way.key("metadata");
    let metadata = match form.get("metadata") {
        Some(Plain::Map(metadata)) => metadata,
        Some(other) => {
            return Err(
                metadata_way.fault(format!("`metadata` must be a mapping, not {}", other.described()))
            );
        }
        None => {
            let fault = way.fault("the JSON form of a playbook has no `metadata`");
            return Err(fault.remedy(format!("say `\"metadata\": {{\"format\": {FORM_VERSION}}}`")));
        }
    };
    known(metadata, METADATA, "the metadata of a playbook", &metadata_way)?;
    match metadata.get("format") {
        Some(Plain::Integer(FORM_VERSION)) => {}
        Some(other) => {
            let message = format!("the format is {}, and this larder reads {FORM_VERSION}", other.shown());
            return Err(metadata_way.key("format").fault(message));
        }
        None => {
            let fault = metadata_way.fault("the metadata have no `format`");
            return Err(fault.remedy(format!("say `\"format\": {FORM_VERSION}`")));
        }
    }
    for key in METADATA.iter().filter(|key| **key != "format") {
        if let Some(value) = metadata.get(key).filter(|value| value.as_str().is_none()) {
            let message = format!("`{key}` must be a string, not {}", value.described());
            return Err(metadata_way.key(key).fault(message));
        }
    }
    match form.get(INVENTORY) {
        None | Some(Plain::Null | Plain::Map(_)) => Ok(()),
        Some(other) => {
            let fault = way
                .key(INVENTORY)
                .fault(format!("`{INVENTORY}` must be a mapping of groups, not {}", other.described()));
            Err(fault.remedy("begin it with `all` and put hosts, vars and children below"))
        }
    }
}

fn known(map: &Mapping, keys: &[&str], of: &str, way: &Way<'_>) -> Result<(), Fault> {
    match map.iter().map(|(key, _)| key).find(|key| !keys.contains(key)) {
        Some(key) => Err(way
            .fault_of_key(key, format!("`{key}` is no key of {of}"))
            .suggest(key, keys.iter().copied())),
        None => Ok(()),
    }
}

fn variables(form: &Mapping, way: &Way<'_>) -> Result<Mapping, Fault> {
    let way = way.key("variables");
    let variables = match form.get("variables") {
        None | Some(Plain::Null) => return Ok(Mapping::default()),
        Some(Plain::Map(variables)) => variables,
        Some(other) => {
            return Err(way.fault(format!("`variables` must be a mapping, not {}", other.described())));
        }
    };
    match variables.iter().map(|(name, _)| name).find(|name| !is_variable_name(name)) {
        Some(name) => Err(way
            .fault_of_key(name, format!("{name:?} is not a name of a variable"))
            .remedy("a name is made of letters, digits and underscores, and begins with no digit")),
        None => Ok(variables.clone()),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;
    use proptest::prelude::*;
    use schemars::json_schema;

    use super::super::keywords::{BLOCK, COMMON, CONDITIONAL, NAMED, PLAY, TASK};
    use super::*;

    /// Keywords as properties: of most, the value is the reader's to judge.
    fn properties(words: &[&[&str]], typed: &[(&str, serde_json::Value)]) -> serde_json::Value {
        let any = words.iter().flat_map(|words| words.iter()).map(|word| (*word, serde_json::json!({})));
        let typed = typed.iter().map(|(word, schema)| (*word, schema.clone()));
        any.chain(typed)
            .map(|(word, schema)| (word.to_owned(), schema))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// What plays, tasks and groups are made of.
    fn definitions() -> serde_json::Value {
        use serde_json::json;
        let items = json!({"type": "array", "items": {"$ref": "#/$defs/item"}});
        let lists = ["pre_tasks", "tasks", "post_tasks", "handlers"].map(|key| (key, items.clone()));
        let blocks = ["block", "rescue", "always"].map(|key| (key, items.clone()));
        let vars = json!({"type": "object"});
        let mut play = lists.to_vec();
        play.extend([
            ("vars", vars.clone()),
            ("roles", json!({"type": "array"})),
            ("hosts", json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})),
        ]);
        let mut item = blocks.to_vec();
        item.push(("vars", vars));
        json!({
                "play": {
                    "type": "object",
                    "required": ["hosts"],
                    "additionalProperties": false,
                    "properties": properties(&[COMMON, NAMED, PLAY], &play),
                },
                "import": {
                    "type": "object",
                    "required": ["import_playbook"],
                    "properties": {"import_playbook": {"type": "string"}},
                },
                "item": {
                    "description": "A task, whose module is a key beside these, or a block.",
                    "type": "object",
                    "properties": properties(&[COMMON, NAMED, CONDITIONAL, TASK, BLOCK], &item),
                },
                "group": {
                    "type": ["object", "null"],
                    "properties": {
                        "hosts": {"type": ["object", "null"]},
                        "vars": {"type": ["object", "null"]},
                        "children": {
                            "type": ["object", "null"],
                            "additionalProperties": {"$ref": "#/$defs/group"},
                        },
                    },
                },
        })
    }

    #[test]
    fn the_schema_in_the_docs_is_that_of_the_keywords() {
        let schema = json_schema!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Playbook",
            "description": "A playbook in larder's JSON form.",
            "type": "object",
            "required": ["metadata", "plays"],
            "additionalProperties": false,
            "properties": {
                "metadata": {
                    "description": "What the document is, and where it comes from.",
                    "type": "object",
                    "required": ["format"],
                    "additionalProperties": false,
                    "properties": {
                        "format": {"description": "Version of this form.", "const": FORM_VERSION},
                        "name": {"type": "string"},
                        "generator": {"description": "The program that wrote it.", "type": "string"},
                        "source": {"description": "What it was made of.", "type": "string"},
                    },
                },
                "plays": {
                    "description": "Plays, and playbooks that are imported, in order.",
                    "type": "array",
                    "minItems": 1,
                    "items": {"anyOf": [{"$ref": "#/$defs/play"}, {"$ref": "#/$defs/import"}]},
                },
                "variables": {
                    "description": "Variables of all plays, which give way to what a play says itself.",
                    "type": "object",
                    "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
                },
                "inventory": {
                    "description": "Hosts and groups, which count where no other inventory is given.",
                    "type": ["object", "null"],
                    "additionalProperties": {"$ref": "#/$defs/group"},
                },
            },
            "$defs": definitions(),
        });
        let mut text = serde_json::to_string_pretty(&schema).unwrap();
        text.push('\n');
        expect_file!["../../../../docs/playbook.schema.json"].assert_eq(&text);
    }

    /// Values that may stand anywhere in a document of this form.
    fn value() -> impl Strategy<Value = serde_json::Value> {
        const WORDS: &[&str] =
            &["metadata", "plays", "variables", "inventory", "format", "hosts", "tasks", "all", "1x"];
        let word = prop::sample::select(WORDS).prop_map(str::to_owned);
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            (0..3_i64).prop_map(Into::into),
            word.clone().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
                prop::collection::vec((word.clone(), inner), 0..4)
                    .prop_map(|entries| entries.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_document_is_a_playbook_or_is_refused_at_a_place_in_it(json in value()) {
            let text = serde_json::to_vec(&json).unwrap();
            let document = Plain::of_json(json).unwrap();
            match entries(&document) {
                Ok((entries, _)) => {
                    let all: Vec<&Plain> = (0..entries.len()).map(|n| nth(&document, n).unwrap()).collect();
                    prop_assert_eq!(all, entries.iter().collect::<Vec<_>>());
                }
                Err(fault) => prop_assert!(fault.located("p.json", &text).to_string().starts_with("p.json:1:")),
            }
        }
    }
}
