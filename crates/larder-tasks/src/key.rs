//! The key of a task's result: parts, each with a name, and one digest of them all.
//!
//! Invariant: equal keys mean equal parts, and nothing that differs between two clones on two machines is a part:
//! no absolute path, user, host, time or inode. The root package is called `//` here, as its own name may be that
//! of the directory it was cloned into.
//! Parts are kept beside the result, so that `why` can name the one that differs.
//! Not here: where parts come from (`job::prepare`).

use std::fmt;

use larder::key::{Algorithm, Digest, Hasher};
use serde::{Deserialize, Serialize};

use crate::manifest::Component;

/// The version of what a key covers and of what is kept under it. A new one makes old results unreachable.
pub const VERSION: u32 = 2;

/// What a part is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PartKind {
    /// Shell, script or arguments, and the directories that come first in `PATH`.
    Command,
    /// The directory that it runs in.
    Cwd,
    /// Operating system and architecture.
    Platform,
    /// The declared outputs.
    Outputs,
    /// What `cache.salt` says.
    Salt,
    /// A keyed variable.
    Variable,
    /// A secret variable.
    Secret,
    /// A program's identity.
    Tool,
    /// What a task that came before left behind.
    Upstream,
    /// Contents and modes of all input files.
    Inputs,
}

impl PartKind {
    /// The component that a task may leave out, if this belongs to one.
    pub(crate) fn component(self) -> Option<Component> {
        match self {
            Self::Command => Some(Component::Command),
            Self::Cwd => Some(Component::Cwd),
            Self::Platform => Some(Component::Platform),
            Self::Variable | Self::Secret => Some(Component::Env),
            Self::Tool => Some(Component::Tools),
            Self::Upstream => Some(Component::Upstream),
            Self::Inputs => Some(Component::Inputs),
            Self::Outputs | Self::Salt => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Cwd => "cwd",
            Self::Platform => "platform",
            Self::Outputs => "outputs",
            Self::Salt => "salt",
            Self::Variable => "variable",
            Self::Secret => "secret",
            Self::Tool => "tool",
            Self::Upstream => "upstream",
            Self::Inputs => "inputs",
        }
    }
}

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is about.
    pub kind: PartKind,
    /// Which one of several: a variable's, tool's or task's name; empty where there is only one.
    pub name: String,
    /// Stands for its value.
    pub digest: Digest,
    /// Its value for people, where that may be shown: never that of a variable.
    pub shown: String,
}

impl Part {
    /// A part whose value is text that may be shown.
    pub(crate) fn text(kind: PartKind, text: &str) -> Self {
        Self { kind, name: String::new(), digest: Digest::of(text.as_bytes()), shown: text.to_owned() }
    }

    /// A part that is known by a digest.
    pub(crate) fn digest(kind: PartKind, name: &str, digest: Digest, shown: &str) -> Self {
        Self { kind, name: name.to_owned(), digest, shown: shown.to_owned() }
    }
}

/// What it is about, and which one: `variable NODE_ENV`.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.word())?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " {}", self.name) }
    }
}

/// All parts of a key, sorted, and their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskKey {
    parts: Vec<Part>,
    digest: Digest,
}

impl TaskKey {
    /// Makes a key. Parts of components that `counts` refuses are left out.
    pub(crate) fn new(mut parts: Vec<Part>, counts: impl Fn(Component) -> bool) -> Self {
        parts.retain(|part| part.kind.component().is_none_or(&counts));
        parts.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let mut hasher = Hasher::new(Algorithm::Blake3);
        hasher.update(b"larder task key");
        hasher.update(&VERSION.to_le_bytes());
        for part in &parts {
            for text in [part.kind.word(), &part.name] {
                hasher.update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
            hasher.update(part.digest.as_bytes());
        }
        Self { digest: hasher.finish(), parts }
    }

    /// Its parts, sorted by kind and name.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Stands for all of them.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// A part that is not the same in two keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In the key that was asked about; `None` where only the other has it.
    pub now: Option<Part>,
    /// In the other key; `None` where that has none.
    pub then: Option<Part>,
}

impl Difference {
    /// What differs, as [`Part`] displays it.
    pub fn what(&self) -> String {
        self.now.as_ref().or(self.then.as_ref()).map(Part::to_string).unwrap_or_default()
    }
}

/// The parts that differ, in order, and how many are the same.
pub(crate) fn compare(now: &[Part], then: &[Part]) -> (Vec<Difference>, usize) {
    let place = |part: &Part| (part.kind, part.name.clone());
    let (mut now, mut then) = (now.iter().peekable(), then.iter().peekable());
    let (mut differences, mut same) = (Vec::new(), 0);
    loop {
        let order = match (now.peek(), then.peek()) {
            (None, None) => return (differences, same),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => place(a).cmp(&place(b)),
        };
        let a = if order.is_le() { now.next() } else { None };
        let b = if order.is_ge() { then.next() } else { None };
        if a.map(|part| part.digest) == b.map(|part| part.digest) {
            same += 1;
        } else {
            differences.push(Difference { now: a.cloned(), then: b.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Vec<Part> {
        vec![
            Part::text(PartKind::Command, r#"["sh","-c","make"]"#),
            Part::text(PartKind::Cwd, "packages/web"),
            Part::text(PartKind::Platform, "linux x86_64"),
            Part::text(PartKind::Outputs, "packages/web/dist"),
            Part::digest(PartKind::Variable, "LANG", Digest::of(b"C"), ""),
            Part::digest(PartKind::Secret, "TOKEN", Digest::of(b"x"), ""),
            Part::digest(PartKind::Tool, "cc", Digest::of(b"cc"), ""),
            Part::digest(PartKind::Upstream, "core#build", Digest::of(b"core"), ""),
            Part::digest(PartKind::Inputs, "", Digest::of(b"files"), "3 files"),
        ]
    }

    #[test]
    fn the_digest_of_these_parts_is_this_one_forever() {
        let key = TaskKey::new(parts(), |_| true);
        assert_eq!(format!("{:.16}", key.digest()), "e5c84c482c25bcec");
    }

    #[test]
    fn the_order_of_parts_and_what_is_shown_do_not_count_and_everything_else_does() {
        let key = TaskKey::new(parts(), |_| true);
        let mut other = parts();
        other.reverse();
        other.iter_mut().for_each(|part| part.shown.push('!'));
        assert_eq!(TaskKey::new(other, |_| true).digest(), key.digest());
        for at in 0..parts().len() {
            let changes: [fn(&mut Part); 2] =
                [|part| part.digest = Digest::of(b"other"), |part| part.name.push('x')];
            for change in changes {
                let mut other = parts();
                change(&mut other[at]);
                assert_ne!(TaskKey::new(other, |_| true).digest(), key.digest(), "{at}");
            }
            let mut other = parts();
            other.remove(at);
            assert_ne!(TaskKey::new(other, |_| true).digest(), key.digest(), "{at}");
        }
    }

    #[test]
    fn components_that_do_not_count_are_left_out() {
        let key = TaskKey::new(parts(), |component| component != Component::Env);
        let kinds: Vec<_> = key.parts().iter().map(|part| part.kind).collect();
        assert!(!kinds.contains(&PartKind::Variable) && !kinds.contains(&PartKind::Secret));
        assert_eq!(kinds.len(), parts().len() - 2);
    }

    #[test]
    fn differences_are_named() {
        let mut then = parts();
        then[0] = Part::text(PartKind::Command, "other");
        then[5].name = "KEY".into();
        let (now, then) = (TaskKey::new(parts(), |_| true), TaskKey::new(then, |_| true));
        let (differences, same) = compare(now.parts(), then.parts());
        let names: Vec<_> = differences.iter().map(Difference::what).collect();
        assert_eq!((names.join(", ").as_str(), same), ("command, secret KEY, secret TOKEN", 7));
    }
}
