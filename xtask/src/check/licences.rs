//! Licences and banned crates, by the rules of `deny.toml`.
//!
//! `cargo deny check` reads the same file and knows more (advisories, yanked crates); it takes minutes to build,
//! so what can be told from `cargo metadata` alone is told here.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

fn rules(workspace: &Workspace) -> Result<toml::Table> {
    std::fs::read_to_string(workspace.root.join("deny.toml"))?.parse().context("deny.toml")
}

fn list<'a>(rules: &'a toml::Table, table: &str, key: &str) -> Result<&'a Vec<toml::Value>> {
    let value = rules.get(table).and_then(|table| table.get(key)).and_then(toml::Value::as_array);
    value.with_context(|| format!("deny.toml has no list {table}.{key}"))
}

/// Each dependency has a licence that we may pass on.
pub(super) fn licences(workspace: &Workspace) -> Result<Vec<String>> {
    let rules = rules(workspace)?;
    let allowed: BTreeSet<&str> =
        list(&rules, "licenses", "allow")?.iter().filter_map(toml::Value::as_str).collect();
    let mut findings = Vec::new();
    for package in &workspace.metadata.packages {
        match &package.license {
            None => findings.push(format!("{} {}: states no licence", package.name, package.version)),
            Some(expression) if !satisfied(expression, &|licence| allowed.contains(licence)) => {
                findings.push(format!("{} {}: {expression} is not allowed", package.name, package.version));
            }
            Some(_) => {}
        }
    }
    Ok(findings)
}

/// Whether an SPDX expression holds when some licences do. `/` is the old spelling of OR.
fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let holds = any(&words, &mut at, allowed);
    holds && at == words.len()
}

fn any(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut holds = all(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        holds |= all(words, at, allowed);
    }
    holds
}

fn all(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut holds = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        holds &= one(words, at, allowed);
    }
    holds
}

fn one(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let holds = any(words, at, allowed);
        *at += 1;
        return holds && words.get(*at - 1) == Some(&")");
    }
    if words.get(*at) == Some(&"WITH") {
        *at += 2;
        return words.get(*at - 1).is_some_and(|exception| allowed(&format!("{word} WITH {exception}")));
    }
    allowed(word)
}

/// No crate twice in the binary that users get, none that is banned, none from elsewhere.
pub(super) fn bans(workspace: &Workspace) -> Result<Vec<String>> {
    let rules = rules(workspace)?;
    let name_of = |value: &toml::Value| {
        let name = value.as_str().or_else(|| value.get("crate").and_then(toml::Value::as_str));
        name.map(|name| name.split('@').next().unwrap_or(name).to_owned())
    };
    let banned: BTreeSet<String> = list(&rules, "bans", "deny")?.iter().filter_map(name_of).collect();
    let skipped: BTreeSet<String> = list(&rules, "bans", "skip")?.iter().filter_map(name_of).collect();
    let mut findings = Vec::new();
    for package in &workspace.metadata.packages {
        if package.source.as_ref().is_some_and(|source| !source.is_crates_io()) {
            findings.push(format!("{}: is not from crates.io", package.name));
        }
    }
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, version) in shipped(workspace)? {
        if banned.contains(&name) {
            findings.push(format!("{name}: is banned"));
        }
        versions.entry(name).or_default().insert(version);
    }
    for (name, versions) in versions {
        if versions.len() > 1 && !skipped.contains(&name) {
            let versions: Vec<String> = versions.into_iter().collect();
            findings.push(format!("{name}: linked more than once: {}", versions.join(", ")));
        }
    }
    Ok(findings)
}

/// Name and version of each crate that `larder-cli` is linked from on this platform.
///
/// `cargo metadata` lists optional dependencies that are off as well; only `cargo tree` does not.
fn shipped(workspace: &Workspace) -> Result<BTreeSet<(String, String)>> {
    let tree = workspace
        .command("cargo")
        .args(["tree", "--locked", "--package", "larder-cli", "--edges", "normal", "--prefix", "none"])
        .output()
        .context("cannot start cargo")?;
    if !tree.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&tree.stderr).trim());
    }
    let mut shipped = BTreeSet::new();
    for line in String::from_utf8(tree.stdout)?.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else { bail!("cargo tree: {line}") };
        shipped.insert((name.to_owned(), version.to_owned()));
    }
    Ok(shipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_hold_as_spdx_says() {
        let allowed =
            |licence: &str| matches!(licence, "MIT" | "Unicode-3.0" | "Apache-2.0 WITH LLVM-exception");
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(GPL-3.0 OR MIT) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(satisfied(good, &allowed), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "(MIT", "MIT GPL-3.0", ""] {
            assert!(!satisfied(bad, &allowed), "{bad}");
        }
    }
}
