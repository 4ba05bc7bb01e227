//! What can be read off the text of files.

use anyhow::Result;

use crate::workspace::{TextFile, Workspace};

/// Above this a file needs to be split.
const MAX_LINES: usize = 800;

fn rust_files(workspace: &Workspace) -> Result<Vec<TextFile>> {
    let mut files = workspace.text_files()?;
    files.retain(|file| file.path.ends_with(".rs"));
    Ok(files)
}

/// Each Rust file says what it owns.
pub(super) fn openings(workspace: &Workspace) -> Result<Vec<String>> {
    let files = rust_files(workspace)?;
    let opens = |file: &&TextFile| !file.path.starts_with("examples/") && !file.text.starts_with("//! ");
    Ok(files.iter().filter(opens).map(|file| format!("{}: does not open with //!", file.path)).collect())
}

pub(super) fn lengths(workspace: &Workspace) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in rust_files(workspace)? {
        let lines = file.text.lines().count();
        if lines > MAX_LINES {
            findings.push(format!("{}: {lines} lines, more than {MAX_LINES}", file.path));
        }
    }
    Ok(findings)
}

/// Lines with any of the words, as `path:line: word`.
fn lines_with(files: &[TextFile], words: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(word.as_str())) {
                findings.push(format!("{}:{}: {word}", file.path, number + 1));
            }
        }
    }
    findings
}

/// No stubs, no tests that do not run. The words are put together here so that this file does not have them.
pub(super) fn left_undone(workspace: &Workspace) -> Result<Vec<String>> {
    let words = [("todo", "!("), ("unimplemented", "!("), ("TO", "DO"), ("FIX", "ME"), ("#[", "ignore")];
    let words = words.map(|(head, tail)| format!("{head}{tail}"));
    Ok(lines_with(&rust_files(workspace)?, &words))
}

/// No path of the machine or the account that something was written on.
pub(super) fn machine_paths(workspace: &Workspace) -> Result<Vec<String>> {
    let mut own = vec![workspace.root.display().to_string()];
    own.extend(std::env::var("HOME").ok().filter(|home| home.len() > 1).map(|home| format!("{home}/")));
    let mut findings = Vec::new();
    for file in workspace.text_files()? {
        for (number, line) in file.text.lines().enumerate() {
            if own.iter().any(|path| mentions(line, path).next().is_some()) || homes(line) {
                findings.push(format!(
                    "{}:{}: a path of one machine: {}",
                    file.path,
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    Ok(findings)
}

/// Where the line has the absolute path: not as the end of a longer one.
fn mentions<'a>(line: &'a str, path: &'a str) -> impl Iterator<Item = usize> + 'a {
    let inner = |c: char| c.is_alphanumeric() || "._-}>".contains(c);
    line.match_indices(path).map(|(at, _)| at).filter(move |at| !line[..*at].ends_with(inner))
}

/// Whether the line has somebody's home directory; the made-up accounts of tests and docs are fine.
fn homes(line: &str) -> bool {
    ["/home/", "/Users/"].into_iter().any(|homes| {
        mentions(line, homes).any(|at| {
            let account = &line[at + homes.len()..];
            let account = &account[..account.find(|c: char| !c.is_alphanumeric()).unwrap_or(account.len())];
            !account.is_empty() && !["user", "me", "you", "ada"].contains(&account)
        })
    })
}

/// No type named after a role instead of what it is.
pub(super) fn role_nouns(workspace: &Workspace) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in rust_files(workspace)? {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(name) = role_noun(line) {
                findings.push(format!("{}:{}: {name} is named after a role", file.path, number + 1));
            }
        }
    }
    Ok(findings)
}

fn role_noun(line: &str) -> Option<&str> {
    const ROLES: [&str; 7] = ["Manager", "Helper", "Helpers", "Util", "Utils", "Handler", "Service"];
    let mut words =
        line.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    words.find(|word| matches!(*word, "struct" | "enum" | "trait" | "mod"))?;
    words
        .next()
        .filter(|name| ROLES.iter().any(|role| name.ends_with(role) || name.eq_ignore_ascii_case(role)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_one_machine_are_told_from_parts_of_longer_paths() {
        assert_eq!(mentions("see /srv/tree/x", "/srv/tree").next(), Some(4));
        assert_eq!(mentions("see packages/srv/tree", "/srv/tree").next(), None);
        assert!(homes(&format!("cd /home/{}/src", "zoe")));
        assert!(!homes("cd /home/user/src, or below /home/, or packages/home/zoe"));
    }

    #[test]
    fn a_type_named_after_a_role_is_found() {
        assert_eq!(role_noun(&format!("pub struct Cache{};", "Manager")), Some("CacheManager"));
        assert_eq!(role_noun(&format!("    pub(crate) {} helpers;", "mod")), Some("helpers"));
        assert_eq!(role_noun("pub struct Reclaimer { util: u8 }"), None);
    }
}
