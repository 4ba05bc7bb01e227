//! The environment of a task: what it sees is what its key knows of.
//!
//! Invariant: in strict mode each variable that is passed is keyed, secret or on the ambient list, and nothing
//! else is passed. No value leaves this module but for the child process: keys get digests, logs get masks.
//! `LARDER_*` never enters a key; it is passed only if the ambient list names it.
//! Not here: reading this process's variables, which is the caller's to do once.

mod mask;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use larder::key::{Algorithm, Digest, Hasher};

pub use mask::Mask;

use crate::manifest::EnvironmentTable;

/// Passed and keyed unless excluded: what changes how nearly every program prints and sorts.
pub const KEYED: [&str; 3] = ["LANG", "LC_*", "TZ"];
/// Passed and not keyed, unless the workspace or the task has a list of its own.
pub const AMBIENT: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR"];

const OWN: &str = "LARDER_";

/// A variable's name, in which `*` stands for any characters; matches whole names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VariablePattern(Box<str>);

impl VariablePattern {
    /// Checks a pattern; the error is what it must not do.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("be empty");
        }
        if text.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control()) {
            return Err("contain '=', white space or control characters");
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it covers a variable.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // Where the last star stood, and how much of the name it has taken so far.
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            if pattern.get(p) == Some(&b'*') {
                star = Some((p, n));
                p += 1;
            } else if pattern.get(p) == Some(&name[n]) {
                p += 1;
                n += 1;
            } else if let Some((at, taken)) = star {
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }

    /// Whether it is written for larder's own variables.
    pub(crate) fn is_larders_own(&self) -> bool {
        self.0.starts_with(OWN)
    }
}

/// How strictly the rules are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EnvironmentMode {
    /// What no rule names is withheld.
    #[default]
    Strict,
    /// What no rule names is passed without being keyed, so results may be wrong; each run says so.
    Loose,
}

/// What a variable is to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Passed, and its value is in the key.
    Keyed,
    /// Passed, in the key as a digest, masked in kept logs.
    Secret,
    /// Passed, not in the key.
    Ambient,
    /// Not passed.
    Withheld,
    /// Passed only because the mode is loose, not in the key.
    Loose,
}

/// Which variable is what, for one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentRules {
    include: Vec<VariablePattern>,
    exclude: Vec<VariablePattern>,
    secret: Vec<VariablePattern>,
    ambient: Vec<VariablePattern>,
    mode: EnvironmentMode,
}

fn patterns(names: &[&str]) -> Vec<VariablePattern> {
    names.iter().map(|name| VariablePattern((*name).into())).collect()
}

fn any(patterns: &[VariablePattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

impl EnvironmentRules {
    /// Joins the workspace's table with the task's: lists add up, but for `ambient`, where the nearer one counts.
    pub fn new(workspace: &EnvironmentTable, task: Option<&EnvironmentTable>) -> Self {
        let joined = |list: fn(&EnvironmentTable) -> &Vec<VariablePattern>| {
            list(workspace).iter().chain(task.map(list).into_iter().flatten()).cloned().collect()
        };
        let nearer = task.and_then(|task| task.ambient.as_ref()).or(workspace.ambient.as_ref());
        Self {
            include: joined(|table| &table.include),
            exclude: joined(|table| &table.exclude),
            secret: joined(|table| &table.secret),
            ambient: nearer.cloned().unwrap_or_else(|| patterns(&AMBIENT)),
            mode: task.and_then(|task| task.mode).or(workspace.mode).unwrap_or_default(),
        }
    }

    /// How strictly they are kept.
    pub fn mode(&self) -> EnvironmentMode {
        self.mode
    }

    /// The variables that are passed without being keyed.
    pub fn ambient(&self) -> &[VariablePattern] {
        &self.ambient
    }

    /// What a variable is. `exclude` goes before `secret`, that before `include`, that before `ambient`.
    pub fn classify(&self, name: &str) -> Class {
        if name.starts_with(OWN) {
            let named = self.ambient.iter().any(|one| one.is_larders_own() && one.matches(name));
            return if named && !any(&self.exclude, name) { Class::Ambient } else { Class::Withheld };
        }
        if any(&self.exclude, name) {
            Class::Withheld
        } else if any(&self.secret, name) {
            Class::Secret
        } else if any(&self.include, name) {
            Class::Keyed
        } else if any(&self.ambient, name) {
            Class::Ambient
        } else if patterns(&KEYED).iter().any(|pattern| pattern.matches(name)) {
            Class::Keyed
        } else if self.mode == EnvironmentMode::Loose {
            Class::Loose
        } else {
            Class::Withheld
        }
    }

    /// Sorts out the variables of a process. Where a name comes twice, the first counts, as it does for `getenv`.
    ///
    /// A variable whose name is not UTF-8 fits no pattern: it is withheld, or passed unkeyed in loose mode.
    pub fn apply(&self, variables: &[(OsString, OsString)]) -> TaskEnvironment {
        let mut task = TaskEnvironment { passed: Vec::new(), parts: Vec::new(), secrets: Vec::new() };
        let mut seen = std::collections::HashSet::new();
        for (name, value) in variables {
            if !seen.insert(name) {
                continue;
            }
            let class = match name.to_str() {
                Some(text) => self.classify(text),
                None if self.mode == EnvironmentMode::Loose => Class::Loose,
                None => Class::Withheld,
            };
            if class == Class::Withheld {
                continue;
            }
            task.passed.push((name.clone(), value.clone()));
            if class == Class::Secret {
                task.secrets.push(value.as_bytes().to_owned());
            }
            if let (Class::Keyed | Class::Secret, Some(text)) = (class, name.to_str()) {
                let digest = variable_digest(text, value);
                task.parts.push(VariablePart { name: text.into(), digest, secret: class == Class::Secret });
            }
        }
        task.parts.sort_by(|a, b| a.name.cmp(&b.name));
        task
    }
}

/// The name is part of it, so that equal values of two variables do not show as equal.
fn variable_digest(name: &str, value: &OsStr) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Blake3);
    hasher.update(b"larder variable 1");
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.update(value.as_bytes());
    hasher.finish()
}

/// A variable as the key knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariablePart {
    /// Its name.
    pub name: Box<str>,
    /// Stands for name and value.
    pub digest: Digest,
    /// Whether it is a secret.
    pub secret: bool,
}

/// What one task sees.
pub struct TaskEnvironment {
    passed: Vec<(OsString, OsString)>,
    parts: Vec<VariablePart>,
    secrets: Vec<Vec<u8>>,
}

impl TaskEnvironment {
    /// The variables for the child process.
    pub fn passed(&self) -> &[(OsString, OsString)] {
        &self.passed
    }

    /// What enters the key, sorted by name.
    pub fn parts(&self) -> &[VariablePart] {
        &self.parts
    }

    /// A fresh mask of the secrets for one stream of a log.
    pub fn mask(&self) -> Mask {
        Mask::new(&self.secrets)
    }
}

/// Names only: values may be secret.
impl std::fmt::Debug for TaskEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.passed.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<VariablePattern> {
        names.iter().map(|name| VariablePattern::new(name).unwrap()).collect()
    }

    fn rules(table: EnvironmentTable) -> EnvironmentRules {
        EnvironmentRules::new(&EnvironmentTable::default(), Some(&table))
    }

    #[test]
    fn patterns_are_anchored() {
        let check = |pattern: &str, name: &str| VariablePattern::new(pattern).unwrap().matches(name);
        assert!(
            check("NODE_*", "NODE_ENV")
                && check("NODE_*", "NODE_")
                && check("*", "X")
                && check("A*B*C", "AxBBC")
        );
        assert!(!check("NODE_*", "MY_NODE_ENV") && !check("NODE", "NODE_ENV") && !check("NODE_ENV", "NODE"));
        assert!(!check("A*B", "AxBx") && check("**", "") && !check("A", "") && !check("*A", "AB"));
    }

    #[test]
    fn each_variable_is_one_of_four_and_the_nearer_word_counts() {
        let rules = rules(EnvironmentTable {
            include: list(&["NODE_*", "PATH"]),
            exclude: list(&["NODE_OPTIONS", "TERM"]),
            secret: list(&["NODE_TOKEN"]),
            ..Default::default()
        });
        for (name, class) in [
            ("NODE_ENV", Class::Keyed),
            ("NODE_TOKEN", Class::Secret),
            ("NODE_OPTIONS", Class::Withheld),
            ("LC_ALL", Class::Keyed),
            ("TZ", Class::Keyed),
            ("PATH", Class::Keyed),
            ("HOME", Class::Ambient),
            ("TERM", Class::Withheld),
            ("SSH_AUTH_SOCK", Class::Withheld),
            ("MY_LANG", Class::Withheld),
            ("LARDER_DIR", Class::Withheld),
        ] {
            assert_eq!(rules.classify(name), class, "{name}");
        }
    }

    #[test]
    fn the_ambient_list_can_be_emptied_and_larders_own_only_named_there() {
        let none = rules(EnvironmentTable { ambient: Some(Vec::new()), ..Default::default() });
        assert_eq!(none.classify("PATH"), Class::Withheld);
        let all = rules(EnvironmentTable { include: list(&["*"]), ..Default::default() });
        assert_eq!((all.classify("X"), all.classify("LARDER_DIR")), (Class::Keyed, Class::Withheld));
        let named = rules(EnvironmentTable { ambient: Some(list(&["LARDER_DIR"])), ..Default::default() });
        assert_eq!(named.classify("LARDER_DIR"), Class::Ambient);
        let loose = rules(EnvironmentTable { mode: Some(EnvironmentMode::Loose), ..Default::default() });
        assert_eq!((loose.classify("X"), loose.classify("LARDER_DIR")), (Class::Loose, Class::Withheld));
    }

    #[test]
    fn the_key_knows_names_and_digests_and_nothing_prints_a_value() {
        let rules = rules(EnvironmentTable { secret: list(&["TOKEN"]), ..Default::default() });
        let apply = |lang: &str, token: &str, random: &str| {
            let pairs = [("LANG", lang), ("TOKEN", token), ("RANDOM", random), ("LANG", "second")];
            rules.apply(&pairs.map(|(name, value)| (name.into(), value.into())))
        };
        let one = apply("C", "hunter2", "1");
        let names: Vec<_> = one.parts().iter().map(|part| (&*part.name, part.secret)).collect();
        assert_eq!(names, [("LANG", false), ("TOKEN", true)]);
        assert_eq!(format!("{one:?}"), r#"["LANG", "TOKEN"]"#);
        assert_eq!(one.parts(), apply("C", "hunter2", "2").parts());
        assert_ne!(one.parts()[0], apply("en", "hunter2", "1").parts()[0]);
        assert_ne!(one.parts()[1], apply("C", "hunter3", "1").parts()[1]);
    }
}
