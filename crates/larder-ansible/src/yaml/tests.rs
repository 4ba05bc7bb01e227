//! What Python would have read, checked value by value.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::{Node, Value, parse};

/// A document as JSON with its quirks: what Python would call it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::String(text) => format!("{text:?}"),
        Value::Vault(text) => format!("vault({text:?})"),
        Value::Sequence(items) => {
            let items: Vec<String> = items.iter().map(|item| shown(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Mapping(entries) => {
            let entry =
                |(key, value): &(Node, Node)| format!("{}: {}", shown(&key.value), shown(&value.value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

fn check(text: &str, expected: Expect) {
    let outcome = match parse("f.yml", text.as_bytes()) {
        Ok(documents) => documents.iter().map(|node| shown(&node.value)).collect::<Vec<_>>().join("\n---\n"),
        Err(problem) => problem.render(),
    };
    expected.assert_eq(&outcome);
}

fn value_of(text: &str) -> String {
    let documents = parse("f.yml", format!("- {text}\n").as_bytes()).unwrap();
    shown(&documents[0].as_sequence().unwrap()[0].value)
}

#[test]
fn plain_scalars_mean_what_they_mean_to_pyyaml() {
    let cases = [
        ("yes", "true"),
        ("On", "true"),
        ("OFF", "false"),
        ("nO", "\"nO\""),
        ("y", "\"y\""),
        ("~", "null"),
        ("Null", "null"),
        ("0", "0"),
        ("010", "8"),
        ("0644", "420"),
        ("08", "\"08\""),
        ("0o17", "\"0o17\""),
        ("0x1F", "31"),
        ("0b101", "5"),
        ("-1_000", "-1000"),
        ("+7", "7"),
        ("1:30", "90"),
        ("190:20:30", "685230"),
        ("1:60", "\"1:60\""),
        ("22:22:22:22:22:22", "17397152542"),
        ("9223372036854775808", "\"9223372036854775808\""),
        ("1.5", "1.5"),
        ("1.", "1.0"),
        (".5", "0.5"),
        ("+.5", "\"+.5\""),
        ("1e3", "\"1e3\""),
        ("1.0e3", "\"1.0e3\""),
        ("1.0e+3", "1000.0"),
        ("-.inf", "-inf"),
        (".nan", "NaN"),
        ("1:30.5", "90.5"),
        (".", "\".\""),
        ("-", "[null]"),
        ("2001-12-14", "\"2001-12-14\""),
        ("1.2.3", "\"1.2.3\""),
        ("'yes'", "\"yes\""),
        ("!!str yes", "\"yes\""),
        ("!!int '5'", "5"),
        ("!!float 5", "5.0"),
        ("!!bool 'no'", "false"),
        ("!unsafe '{{ x }}'", "\"{{ x }}\""),
        ("! 5", "\"5\""),
        ("!!set {a, b}", "{\"a\": null, \"b\": null}"),
    ];
    for (text, expected) in cases {
        assert_eq!(value_of(text), expected, "of {text}");
    }
}

#[test]
fn each_value_is_where_it_was_written() {
    let text = "\u{feff}- hosts: all\r\n  vars:\r\n    ü: [a, {b: 'c'}]\r\n";
    let document = parse("f.yml", text.as_bytes()).unwrap().remove(0);
    let play = &document.as_sequence().unwrap()[0];
    let at = |node: &Node| (node.at.line, node.at.column);
    let list = play.get("vars").unwrap().get("ü").unwrap();
    assert_eq!(at(&document), (1, 1));
    assert_eq!(at(play), (1, 3));
    assert_eq!(at(play.get("hosts").unwrap()), (1, 10));
    assert_eq!(at(list), (3, 8));
    assert_eq!(at(list.as_sequence().unwrap()[1].get("b").unwrap()), (3, 16));
}

#[test]
fn documents_are_several_and_an_empty_text_has_none() {
    check("", expect![""]);
    check("# nothing\n", expect![""]);
    check("---\n", expect!["null"]);
    check(
        "a: 1\n---\nb\n",
        expect![[r#"
            {"a": 1}
            ---
            "b""#]],
    );
}

#[test]
fn vaults_stay_closed() {
    check(
        "k: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n",
        expect![[r#"{"k": vault("$ANSIBLE_VAULT;1.1;AES256\n6162\n")}"#]],
    );
}

#[test]
fn merge_keys_come_first_and_give_way() {
    check(
        "base: &a {x: 1, y: 2}\nmore: &b {y: 3, z: 4}\none:\n  y: 9\n  <<: *a\n  w: 0\ntwo:\n  <<: [*a, *b]\n",
        expect![[
            r#"{"base": {"x": 1, "y": 2}, "more": {"y": 3, "z": 4}, "one": {"x": 1, "y": 9, "w": 0}, "two": {"y": 2, "z": 4, "x": 1}}"#
        ]],
    );
    check("'<<': 1\n", expect![[r#"{"<<": 1}"#]]);
    check(
        "a: 1\n<<: 2\n",
        expect![[r#"
        f.yml:2:5: only a mapping or a list of mappings can be merged
          |
        2 | <<: 2
          |     ^
    "#]],
    );
}

#[test]
fn of_a_key_given_twice_the_last_value_counts_where_the_first_stood() {
    check("a: 1\nb: 2\na: 3\n", expect![[r#"{"a": 3, "b": 2}"#]]);
}

#[test]
fn mistakes_are_named_with_their_line_and_what_to_do() {
    check(
        "- hosts: all\n\ttasks: []\n",
        expect![[r#"
        f.yml:2:1: a tab indents this line
          |
        2 | 	tasks: []
          | ^
          = help: indent with spaces
    "#]],
    );
    check(
        "- name: {{ x }}\n",
        expect![[r#"
        f.yml:1:10: a mapping key must be a scalar
          |
        1 | - name: {{ x }}
          |          ^
          = help: quote a value that begins with a template: "{{ name }}"
    "#]],
    );
    check(
        "- name: {{ x }} and\n",
        expect![[r#"
        f.yml:1:10: a mapping key must be a scalar
          |
        1 | - name: {{ x }} and
          |          ^
          = help: quote a value that begins with a template: "{{ name }}"
    "#]],
    );
    check(
        "a: b: c\n",
        expect![[r#"
        f.yml:1:5: mapping values are not allowed in this context
          |
        1 | a: b: c
          |     ^
          = help: quote a value that has `: ` in it, or mend the indentation
    "#]],
    );
    check(
        "a: 'b\n",
        expect![[r#"
        f.yml:1:4: while scanning a quoted scalar, found unexpected end of stream
          |
        1 | a: 'b
          |    ^
          = help: close the quote or bracket that is still open
    "#]],
    );
    check(
        "a: [1, 2\n",
        expect![[r#"
        f.yml:2:1: while parsing a flow sequence, expected ',' or ']'
          |
        2 | 
          | ^
          = help: close the quote or bracket that is still open
    "#]],
    );
}

#[test]
fn what_no_loader_would_take_is_named_with_its_line() {
    check(
        "a: !secret x\n",
        expect![[r#"
        f.yml:1:4: tag `!secret` is not known
          |
        1 | a: !secret x
          |    ^
          = help: Ansible knows !vault and !unsafe, and the tags of YAML itself
    "#]],
    );
    check(
        "a: *b\n",
        expect![[r#"
        f.yml:1:4: while parsing node, found unknown anchor
          |
        1 | a: *b
          |    ^
    "#]],
    );
    check(
        "a: &x [*x]\n",
        expect![[r#"
        f.yml:1:8: the alias stands inside of what it stands for
          |
        1 | a: &x [*x]
          |        ^
    "#]],
    );
    check(
        "a: \u{7}\n",
        expect![[r#"
        f.yml:1:4: character U+0007 is not allowed in YAML
          |
        1 | a: �
          |    ^
          = help: write it as an escape in double quotes: "\u0007"
    "#]],
    );
    check(
        "? [a]\n: b\n",
        expect![[r#"
        f.yml:1:3: a mapping key must be a scalar
          |
        1 | ? [a]
          |   ^
    "#]],
    );
    let latin = parse("f.yml", b"a: 1\nb: \xe9tude\n").unwrap_err();
    expect![[r#"
        f.yml:2:4: byte 0xe9 is not UTF-8
          |
        2 | b: �tude
          |    ^
          = help: save the file as UTF-8
    "#]]
    .assert_eq(&latin.render());
}

#[test]
fn aliases_of_aliases_do_not_fill_the_memory() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..30 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
    }
    let problem = parse("bomb.yml", text.as_bytes()).unwrap_err();
    assert_eq!(problem.message(), "aliases expand to more than 32 MiB");
}

#[test]
fn depth_is_bounded_also_through_aliases() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse("f.yml", deep(100).as_bytes()).is_ok());
    let problem = parse("f.yml", deep(200).as_bytes()).unwrap_err();
    assert_eq!(problem.message(), "nested deeper than 128 levels");
    let nested = |inner: &str| format!("{}{inner}{}", "[".repeat(60), "]".repeat(60));
    let text = format!("a: &a {}\nb: &b {}\nc: {}\n", nested(""), nested("*a"), nested("*b"));
    let problem = parse("f.yml", text.as_bytes()).unwrap_err();
    assert_eq!(problem.message(), "nested deeper than 128 levels");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "([-?:,\\[\\]{}#&*!|>'\"%@` \n\t]|[a-c<~0-9.]|yes|\\{\\{|: |- |\n  ){0,40}") {
        let _ = parse("f.yml", text.as_bytes());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = parse("f.yml", &bytes);
    }
}
