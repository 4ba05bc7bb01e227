//! Programs that a Makefile or justfile names: another version of them makes something else of the same sources.
//!
//! Not here: what belongs to the system and hardly ever makes a difference, such as `cp` and `sed`.

use std::collections::BTreeSet;

/// What is looked for, and what stands for its identity: a program by its content, a command by what it prints, as some
/// programs only stand in for others.
const KNOWN: &[(&[&str], &str)] = &[
    (&["cc", "$(CC)", "${CC}"], "cc"),
    (&["c++", "$(CXX)", "${CXX}"], "c++"),
    (&["gcc"], "gcc"),
    (&["g++"], "g++"),
    (&["clang"], "clang"),
    (&["clang++"], "clang++"),
    (&["cargo"], "cargo -V"),
    (&["cargo", "rustc"], "rustc -vV"),
    (&["go"], "go version"),
    (&["java", "javac", "gradle", "mvn"], "java -version"),
    (&["node", "npm", "npx", "pnpm", "yarn", "tsc"], "node --version"),
    (&["bun"], "bun --version"),
    (&["deno"], "deno --version"),
    (&["python", "python3", "pip", "pytest"], "python3 -VV"),
    (&["ruby", "bundle", "rake"], "ruby --version"),
    (&["php", "composer"], "php --version"),
    (&["protoc"], "protoc"),
];

/// Those that a text names, as tools. `has_c_rules` is whether naming an object file has a compiler make it.
pub(super) fn named(text: &str, has_c_rules: bool) -> Vec<String> {
    let is_apart =
        |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '$' | '(' | ')' | '{' | '}' | '.'));
    let words: BTreeSet<&str> = text.split(is_apart).map(|word| word.trim_start_matches('.')).collect();
    let is_named = |names: &[&str]| names.iter().any(|name| words.contains(name));
    let makes_objects = has_c_rules && words.iter().any(|word| word.ends_with(".o"));
    let tools = KNOWN.iter().filter(|(names, tool)| is_named(names) || *tool == "cc" && makes_objects);
    tools.map(|(_, tool)| (*tool).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_their_names_alone() {
        assert_eq!(named("all: x\n\t$(CC) -o x x.c && ./tool-cc\n", true), ["cc"]);
        assert_eq!(named("prog: main.o util.o\n", true), ["cc"]);
        assert_eq!(
            named("test:\n  cargo test\n  python3 -m pytest\n", false),
            ["cargo -V", "rustc -vV", "python3 -VV"]
        );
        assert!(named("dist:\n\tmkdir -p dist; cp src/*.o dist # going, cc-like\n", false).is_empty());
    }
}
