//! The order of the engine's modules: imports run one way.
//!
//! Works on the text: a mention of `crate::module` outside comments, strings and the tests at a file's end is
//! an import. A mention through `super` is refused where it would leave the module, so that nothing hides.

use anyhow::Result;

use crate::workspace::Workspace;

/// A module may mention those before it.
const ORDER: &[&str] = &[
    "clock", "sync", "error", "glob", "key", "entry", "stats", "policy", "config", "tier", "source", "query",
    "engine", "predict", "testing",
];

const ENGINE: &str = "crates/larder/src/";

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in workspace.text_files()? {
        if let Some(inner) = file.path.strip_prefix(ENGINE).filter(|inner| inner.ends_with(".rs")) {
            findings.extend(
                find(inner, &file.text).into_iter().map(|finding| format!("{}: {finding}", file.path)),
            );
        }
    }
    Ok(findings)
}

/// Checks one file, given by its path inside `src`.
fn find(path: &str, text: &str) -> Vec<String> {
    let module = path.split('/').next().unwrap_or(path).trim_end_matches(".rs");
    if module == "lib" {
        return Vec::new();
    }
    let Some(rank) = ORDER.iter().position(|name| *name == module) else {
        return vec![format!("module {module} has no place in the order of xtask/src/check/modules.rs")];
    };
    let code = code(text);
    let mut findings = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        for name in mentioned(&code[at + "crate::".len()..]) {
            let line = code[..at].matches('\n').count() + 1;
            match ORDER.iter().position(|other| *other == name) {
                // A macro or an item re-exported at the root.
                None => findings.push(format!("line {line}: crate::{name} is no module of the order")),
                Some(other) if other > rank => {
                    findings
                        .push(format!("line {line}: {module} must not import {name}, which comes after it"));
                }
                Some(_) => {}
            }
        }
    }
    // `a/mod.rs` and `a.rs` are one level below the root, `a/b.rs` two, and so on.
    let depth = path.split('/').filter(|part| *part != "mod.rs").count();
    let chain = vec!["super"; depth].join("::") + "::";
    if let Some(at) = code.find(&chain) {
        let line = code[..at].matches('\n').count() + 1;
        findings.push(format!("line {line}: {chain} reaches the root; write crate::"));
    }
    findings
}

/// The first segments of a path or of each path in a group.
fn mentioned(rest: &str) -> Vec<&str> {
    let word = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let Some(group) = rest.strip_prefix('{') else { return vec![&rest[..word(rest)]] };
    let mut names = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let item = group[start..at].trim();
                names.push(&item[..word(item)]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The text without comments, string literals and the test module at its end; line breaks stay.
fn code(text: &str) -> String {
    let text = text.find("\n#[cfg(test)]\nmod ").map_or(text, |end| &text[..end]);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            string_end(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(rest[..skip].chars().filter(|c| *c == '\n'));
        rest = &rest[skip..];
    }
    out
}

/// Where the string literal that `text` starts with ends. Raw strings with quotes inside are not told apart.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_of_a_later_module_is_found_wherever_it_stands() {
        assert_eq!(find("tier/disk/mod.rs", "use crate::key::Key;\nuse crate::clock::Clock;\n"), [""; 0]);
        assert_eq!(
            find("key/mod.rs", "use std::fmt;\nuse crate::{clock::Clock, tier::{memory, disk}};\n"),
            ["line 2: key must not import tier, which comes after it"]
        );
        assert_eq!(
            find("policy/lru.rs", "fn f() { crate::engine::run() }"),
            ["line 1: policy must not import engine, which comes after it"]
        );
    }

    #[test]
    fn comments_strings_and_tests_do_not_count() {
        let text = "// crate::engine\n/* crate::engine */ \"crate::engine\" pub(crate) x\n\n#[cfg(test)]\nmod tests {\n use crate::engine;\n}\n";
        assert_eq!(find("key/mod.rs", text), [""; 0]);
    }

    #[test]
    fn a_way_around_through_super_is_found() {
        assert_eq!(find("key/name.rs", "use super::digest::Digest;"), [""; 0]);
        assert_eq!(
            find("key/name.rs", "use super::super::engine::X;"),
            ["line 1: super::super:: reaches the root; write crate::"]
        );
    }

    #[test]
    fn a_module_without_a_place_is_found() {
        assert_eq!(
            find("metrics.rs", ""),
            ["module metrics has no place in the order of xtask/src/check/modules.rs"]
        );
    }
}
