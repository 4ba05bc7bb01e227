//! Reading a mapping whose keys are known: each value with its type, each unknown key named.
//!
//! Not here: which keys there are (`keywords`), what they mean.

use super::keywords::{COMMON, NAMED};
use super::{Expression, Keywords};
use crate::fault::{Fault, Way};
use crate::plain::{Mapping, Plain};

/// A mapping, the way to it, and what to call it in messages.
pub(super) struct Fields<'a> {
    pub(super) map: &'a Mapping,
    pub(super) way: &'a Way<'a>,
    /// Such as "play".
    pub(super) what: &'static str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(value: &'a Plain, way: &'a Way<'a>, what: &'static str) -> Result<Self, Fault> {
        match value.as_map() {
            Some(map) => Ok(Self { map, way, what }),
            None => Err(way.fault(format!("a {what} must be a mapping, not {}", value.described()))),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Plain> {
        self.map.get(key)
    }

    /// Whether any of the words that everything may say, or of `own`, is `key`.
    pub(super) fn knows(key: &str, own: &[&[&str]]) -> bool {
        [COMMON, NAMED].iter().chain(own).any(|words| words.contains(&key))
    }

    /// Names the first key that is neither common nor among `own`.
    pub(super) fn check_keys(&self, own: &[&[&str]]) -> Result<(), Fault> {
        match self.map.iter().map(|(key, _)| key).find(|key| !Self::knows(key, own)) {
            Some(key) => Err(self.unknown(key, own)),
            None => Ok(()),
        }
    }

    pub(super) fn unknown(&self, key: &str, own: &[&[&str]]) -> Fault {
        let known = [COMMON, NAMED].iter().chain(own).flat_map(|words| words.iter().copied());
        let message = format!("`{key}` is not a keyword of a {}", self.what);
        self.way.fault_of_key(key, message).suggest(key, known)
    }

    /// Text, or what Python prints of another scalar; `None` if it is not there or nothing.
    pub(super) fn text(&self, key: &str) -> Result<Option<Expression>, Fault> {
        match self.get(key) {
            None | Some(Plain::Null) => Ok(None),
            Some(Plain::List(_) | Plain::Map(_)) => Err(self.wrong(key, "a string")),
            Some(value) => Ok(Some(value.shown())),
        }
    }

    /// A list of texts; a single one counts as a list of itself.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<Expression>, Fault> {
        let one = |item: &Plain| match item {
            Plain::List(_) | Plain::Map(_) => Err(self.wrong(key, "a string or a list of strings")),
            scalar => Ok(scalar.shown()),
        };
        match self.get(key) {
            None | Some(Plain::Null) => Ok(Vec::new()),
            Some(Plain::List(items)) => items.iter().map(one).collect(),
            Some(single) => Ok(vec![one(single)?]),
        }
    }

    pub(super) fn list(&self, key: &str) -> Result<&'a [Plain], Fault> {
        match self.get(key) {
            None | Some(Plain::Null) => Ok(&[]),
            Some(Plain::List(items)) => Ok(items),
            Some(_) => Err(self.wrong(key, "a list")),
        }
    }

    pub(super) fn mapping(&self, key: &str) -> Result<Mapping, Fault> {
        match self.get(key) {
            None | Some(Plain::Null) => Ok(Mapping::default()),
            Some(Plain::Map(entries)) => Ok(entries.clone()),
            Some(_) => Err(self.wrong(key, "a mapping")),
        }
    }

    /// What everything in a playbook may say.
    pub(super) fn keywords(&self) -> Result<Keywords, Fault> {
        let mut settings = Mapping::default();
        for (key, value) in self.map.iter() {
            if COMMON.contains(&key) || matches!(key, "delegate_to" | "delegate_facts") {
                settings.set(key, value.clone());
            }
        }
        let vars = self.mapping("vars")?;
        if let Some((name, _)) = vars.iter().find(|(name, _)| !is_variable_name(name)) {
            let way = self.way.key("vars");
            return Err(way
                .fault_of_key(name, format!("{name:?} is not a name of a variable"))
                .remedy("a name is made of letters, digits and underscores, and begins with no digit"));
        }
        Ok(Keywords {
            tags: self.tags()?,
            when: self.texts("when")?,
            vars,
            settings,
            collections: self.texts("collections")?,
        })
    }

    /// Tags: a text is split at commas, the items of a list are not.
    fn tags(&self) -> Result<Vec<Expression>, Fault> {
        match self.get("tags") {
            None => Ok(Vec::new()),
            Some(Plain::String(text)) => Ok(text.split(',').map(|tag| tag.trim().to_owned()).collect()),
            Some(Plain::List(items)) => {
                let mut tags = Vec::with_capacity(items.len());
                for item in items {
                    match item {
                        Plain::String(_) | Plain::Integer(_) => tags.push(item.shown()),
                        Plain::List(inner) => tags.extend(inner.iter().map(Plain::shown)),
                        _ => return Err(self.wrong("tags", "a list of strings")),
                    }
                }
                Ok(tags)
            }
            Some(_) => Err(self.wrong("tags", "a string or a list of strings")),
        }
    }

    pub(super) fn wrong(&self, key: &str, expected: &str) -> Fault {
        let found = self.get(key).map_or("nothing", Plain::described);
        self.way.key(key).fault(format!("`{key}` must be {expected}, not {found}"))
    }
}

/// Whether Ansible takes it for a variable: an identifier of Python in ASCII.
pub(crate) fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
