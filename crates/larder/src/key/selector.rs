//! Selectors: which entries an operation is about.
//!
//! A selector is a conjunction: an entry is selected when it agrees with each part that is given. Pure; a tier
//! may turn parts into a query of its own as long as the outcome is that of [`Selector::matches`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use globset::GlobMatcher;

use super::{Key, KeyError, KindName, Scope};
use crate::clock::Timestamp;

/// A selector's text can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// A key or a part of one is not well formed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A glob is not well formed.
    #[error("glob {glob:?}: {reason}")]
    Glob {
        /// The glob as given.
        glob: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tag is empty or too long.
    #[error("tag {0:?} must be 1 to 256 bytes without control characters")]
    Tag(String),
}

/// Checks that `tag` may be an entry's tag: 1 to 256 bytes, no control characters.
pub fn check_tag(tag: &str) -> Result<(), SelectorError> {
    if tag.is_empty() || tag.len() > 256 || tag.chars().any(char::is_control) {
        return Err(SelectorError::Tag(tag.to_owned()));
    }
    Ok(())
}

/// Which ids a selector takes.
#[derive(Debug, Clone)]
pub enum IdPattern {
    /// All.
    Any,
    /// This one.
    Exact(Arc<str>),
    /// Those that begin so.
    Prefix(Arc<str>),
    /// Those that a glob matches: `*` within one segment, `**` any number of them.
    Glob(Arc<str>, GlobMatcher),
}

impl PartialEq for IdPattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Any) => true,
            (Self::Exact(a), Self::Exact(b))
            | (Self::Prefix(a), Self::Prefix(b))
            | (Self::Glob(a, _), Self::Glob(b, _)) => a == b,
            _ => false,
        }
    }
}

/// Which entries an operation is about. [`Selector::all`] and narrow down.
///
/// ```
/// # use larder::key::{Key, Selector};
/// let selector: Selector = "glob:acme/facts@2/src/**/*.py".parse()?;
/// let key = Key::parse("acme/facts@2/src/app/views.py")?;
/// assert!(selector.matches(&key, &[], None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    scope: Option<Scope>,
    kind: Option<Arc<str>>,
    version: Option<u32>,
    id: IdPattern,
    tag: Option<Arc<str>>,
    unused_since: Option<Timestamp>,
    dependents: bool,
    mark: Option<u64>,
}

impl Selector {
    /// Selects everything.
    pub fn all() -> Self {
        Self {
            scope: None,
            kind: None,
            version: None,
            id: IdPattern::Any,
            tag: None,
            unused_since: None,
            dependents: false,
            mark: None,
        }
    }

    /// Selects one entry.
    pub fn key(key: &Key) -> Self {
        let id = IdPattern::Exact(key.id().into());
        Self { id, ..Self::all().in_scope(key.scope()).of_kind_version(key.kind()) }
    }

    /// Only in this scope.
    pub fn in_scope(self, scope: &Scope) -> Self {
        Self { scope: Some(scope.clone()), ..self }
    }

    /// Only of kinds with this name, whatever their version.
    pub fn of_kind(self, name: &str) -> Self {
        Self { kind: Some(name.into()), version: None, ..self }
    }

    /// Only of this version of a kind.
    pub fn of_kind_version(self, kind: &KindName) -> Self {
        Self { kind: Some(kind.name().into()), version: Some(kind.version()), ..self }
    }

    /// Only ids that begin with `prefix`.
    pub fn with_prefix(self, prefix: &str) -> Self {
        Self { id: IdPattern::Prefix(prefix.into()), ..self }
    }

    /// Only ids that `glob` matches: `*` within one segment, `**` any number of segments.
    pub fn with_glob(self, glob: &str) -> Result<Self, SelectorError> {
        match crate::glob::of_paths(glob) {
            Ok(built) => Ok(Self { id: IdPattern::Glob(glob.into(), built.compile_matcher()), ..self }),
            Err(error) => Err(SelectorError::Glob { glob: glob.to_owned(), reason: error.to_string() }),
        }
    }

    /// Only entries that carry this tag.
    pub fn tagged(self, tag: &str) -> Result<Self, SelectorError> {
        check_tag(tag)?;
        Ok(Self { tag: Some(tag.into()), ..self })
    }

    /// Only entries last used before `time`.
    pub fn unused_since(self, time: Timestamp) -> Self {
        Self { unused_since: Some(time), ..self }
    }

    /// Also the entries that depend on those, directly or through others. Who depends on whom is known to the engine,
    /// which looks it up: [`matches`](Self::matches) tells of the others alone.
    pub fn with_dependents(self) -> Self {
        Self { dependents: true, ..self }
    }

    /// Without the entries that depend on others.
    pub fn without_dependents(self) -> Self {
        Self { dependents: false, ..self }
    }

    /// Whether it also selects the entries that depend on others.
    pub fn has_dependents(&self) -> bool {
        self.dependents
    }

    /// The scope it is narrowed to.
    pub fn scope(&self) -> Option<&Scope> {
        self.scope.as_ref()
    }

    /// The kind's name and version that it is narrowed to.
    pub fn kind(&self) -> (Option<&str>, Option<u32>) {
        (self.kind.as_deref(), self.version)
    }

    /// The ids it takes.
    pub fn id(&self) -> &IdPattern {
        &self.id
    }

    /// The tag it asks for.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The time before which an entry must have been used last.
    pub fn unused_before(&self) -> Option<Timestamp> {
        self.unused_since
    }

    /// Whether an entry is selected. `used` is when it was used last; an entry of which that is unknown counts
    /// as just used.
    pub fn matches(&self, key: &Key, tags: &[Arc<str>], used: Option<Timestamp>) -> bool {
        self.matches_key(key)
            && self.tag.as_ref().is_none_or(|tag| tags.contains(tag))
            && self.unused_since.is_none_or(|since| used.is_some_and(|used| used < since))
    }

    /// The same with a mark, by which whoever invalidates knows it again in a tier's log. It changes nothing of what is
    /// selected.
    pub fn marked(self, mark: u64) -> Self {
        Self { mark: Some(mark), ..self }
    }

    /// Whether it selects all that there is.
    pub fn is_all(&self) -> bool {
        Self { mark: None, ..self.clone() } == Self::all()
    }

    /// Its mark, if it has one.
    pub fn mark(&self) -> Option<u64> {
        self.mark
    }

    /// Whether an entry filed under `key` could be selected, whatever its tags and last use.
    pub fn matches_key(&self, key: &Key) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope == key.scope())
            && self.kind.as_deref().is_none_or(|kind| kind == key.kind().name())
            && self.version.is_none_or(|version| version == key.kind().version())
            && match &self.id {
                IdPattern::Any => true,
                IdPattern::Exact(id) => **id == *key.id(),
                IdPattern::Prefix(prefix) => key.id().starts_with(&**prefix),
                IdPattern::Glob(_, glob) => glob.is_match(key.id()),
            }
    }

    /// The one entry that this is about, if it names one.
    pub fn as_key(&self) -> Option<Key> {
        let (IdPattern::Exact(id), Some(scope), Some(kind), Some(version)) =
            (&self.id, &self.scope, &self.kind, self.version)
        else {
            return None;
        };
        if self.tag.is_some() || self.unused_since.is_some() || self.dependents {
            return None;
        }
        Key::new(scope, &KindName::new(kind, version).ok()?, id).ok()
    }
}

/// The text form that [`Selector::from_str`] reads back: `any:S/K`, `key:S/K@V/ID`, `prefix:S/K@V/P` or
/// `glob:S/K@V/G`, with `*` for any scope and any kind; then, each after a unit separator (U+001F),
/// `older:MILLIS`, `tag:T`, `dependents:all` and `mark:N`, in hexadecimal digits.
///
/// People write shorter forms, which are read too: a key, `all`, `scope:S`, `kind:NAME[@V]`, `tag:T`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = self.scope.as_ref().map_or("*", Scope::as_str);
        let kind = self.kind.as_deref().unwrap_or("*");
        let form = match &self.id {
            IdPattern::Any => "any:",
            IdPattern::Exact(_) => "key:",
            IdPattern::Prefix(_) => "prefix:",
            IdPattern::Glob(..) => "glob:",
        };
        write!(f, "{form}{scope}/{kind}")?;
        if let Some(version) = self.version {
            write!(f, "@{version}")?;
        }
        match &self.id {
            IdPattern::Any => {}
            IdPattern::Exact(id) | IdPattern::Prefix(id) | IdPattern::Glob(id, _) => write!(f, "/{id}")?,
        }
        if let Some(time) = self.unused_since {
            write!(f, "\u{1f}older:{}", time.as_millis())?;
        }
        if let Some(tag) = &self.tag {
            write!(f, "\u{1f}tag:{tag}")?;
        }
        if self.dependents {
            f.write_str("\u{1f}dependents:all")?;
        }
        if let Some(mark) = self.mark {
            write!(f, "\u{1f}mark:{mark:x}")?;
        }
        Ok(())
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut parts = text.split('\u{1f}');
        let mut selector = Self::parse_names(parts.next().unwrap_or_default())?;
        for part in parts {
            selector = match part.split_once(':') {
                Some(("tag", tag)) => selector.tagged(tag)?,
                Some(("dependents", "all")) => selector.with_dependents(),
                Some(("older", millis)) => {
                    let millis = millis.parse().map_err(|_| KeyError::Shape(text.to_owned()))?;
                    selector.unused_since(Timestamp::from_millis(millis))
                }
                Some(("mark", mark)) => {
                    let mark = u64::from_str_radix(mark, 16).map_err(|_| KeyError::Shape(text.to_owned()))?;
                    selector.marked(mark)
                }
                _ => return Err(KeyError::Shape(text.to_owned()).into()),
            };
        }
        Ok(selector)
    }
}

impl Selector {
    fn parse_names(text: &str) -> Result<Self, SelectorError> {
        match text.split_once(':') {
            None if text == "all" => Ok(Self::all()),
            Some(("scope", scope)) => Ok(Self::all().in_scope(&Scope::new(scope)?)),
            Some(("kind", kind)) => Self::all().narrowed_to_kind(kind),
            Some(("tag", tag)) => Self::all().tagged(tag),
            Some(("any", rest)) => {
                let (scope, kind) = rest.split_once('/').ok_or_else(|| KeyError::Shape(text.to_owned()))?;
                Self::all().narrowed(scope, kind)
            }
            Some((form @ ("key" | "prefix" | "glob"), rest)) => {
                let shape = || KeyError::Shape(rest.to_owned());
                let (scope, rest) = rest.split_once('/').ok_or_else(shape)?;
                let (kind, id) = rest.split_once('/').ok_or_else(shape)?;
                let selector = Self::all().narrowed(scope, kind)?;
                match form {
                    "prefix" => Ok(selector.with_prefix(id)),
                    "glob" => selector.with_glob(id),
                    _ => Ok(Self { id: IdPattern::Exact(id.into()), ..selector }),
                }
            }
            _ => Ok(Self::key(&Key::parse(text)?)),
        }
    }

    fn narrowed(self, scope: &str, kind: &str) -> Result<Self, SelectorError> {
        let selector = if scope == "*" { self } else { self.in_scope(&Scope::new(scope)?) };
        if kind == "*" { Ok(selector) } else { selector.narrowed_to_kind(kind) }
    }

    fn narrowed_to_kind(self, kind: &str) -> Result<Self, SelectorError> {
        if kind.contains('@') {
            return Ok(self.of_kind_version(&KindName::parse(kind)?));
        }
        KindName::new(kind, 0)?;
        Ok(self.of_kind(kind))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: [&str; 7] = [
        "acme/facts@1/src/app.py",
        "acme/facts@2/src/app.py",
        "acme/facts@2/src/app/views.py",
        "acme/facts@2/tests/app.py",
        "acme/tree@2/src/app.py",
        "zoo/facts@2/src/app.py",
        "zoo/facts@2/src/app.py.bak",
    ];

    fn selected(text: &str) -> Vec<usize> {
        let selector: Selector = text.parse().unwrap();
        let tags: [Arc<str>; 1] = ["nightly".into()];
        let used = |n: usize| Some(Timestamp::from_millis(n as u64));
        let tags = |n: usize| if n.is_multiple_of(2) { &tags[..] } else { &[] };
        (0..KEYS.len())
            .filter(|&n| selector.matches(&Key::parse(KEYS[n]).unwrap(), tags(n), used(n)))
            .collect()
    }

    #[test]
    fn each_form_selects_what_it_says() {
        let check = |text: &str, expected: &[usize]| assert_eq!(selected(text), expected, "{text}");
        check("all", &[0, 1, 2, 3, 4, 5, 6]);
        check("scope:zoo", &[5, 6]);
        check("kind:facts", &[0, 1, 2, 3, 5, 6]);
        check("kind:facts@2", &[1, 2, 3, 5, 6]);
        check("tag:nightly", &[0, 2, 4, 6]);
        check("acme/facts@2/src/app.py", &[1]);
        check("key:*/facts@2/src/app.py", &[1, 5]);
        check("prefix:acme/facts@2/src/", &[1, 2]);
        check("prefix:*/*/src/app.py", &[0, 1, 4, 5, 6]);
        check("glob:acme/facts@2/src/*.py", &[1]);
        check("glob:acme/facts@2/**/*.py", &[1, 2, 3]);
        check("glob:*/*/src/**", &[0, 1, 2, 4, 5, 6]);
        check("any:*/facts@2\u{1f}older:3\u{1f}tag:nightly", &[2]);
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let check = |text: &str| text.parse::<Selector>().unwrap_err().to_string();
        assert_eq!(check("glob:a/b@1/[x"), "glob \"[x\": unclosed character class; missing ']'");
        assert_eq!(check("nothing"), "key \"nothing\" must be scope/kind@version/id");
        assert!(check("scope:a b").starts_with("scope \"a b\" must be"));
        assert!(check("kind:task@x").starts_with("kind \"task@x\" must be"));
        assert!(check("tag:").starts_with("tag \"\" must be"));
    }

    #[test]
    fn an_entry_of_unknown_use_counts_as_just_used() {
        let selector = Selector::all().unused_since(Timestamp::from_millis(u64::MAX));
        assert!(!selector.matches(&Key::parse(KEYS[0]).unwrap(), &[], None));
    }

    proptest! {
        #[test]
        fn a_selector_reads_back_from_its_text(
            scope in proptest::option::of("[a-z]{1,5}"), kind in proptest::option::of("[a-z]{1,5}"),
            version in proptest::option::of(0u32..9), tag in proptest::option::of("[a-z:/]{1,5}"),
            older in proptest::option::of(0u64..99), form in 0..4, id in "[a-z/:*]{1,9}",
        ) {
            let mut selector = Selector::all();
            if let Some(scope) = &scope { selector = selector.in_scope(&Scope::new(scope).unwrap()); }
            if let Some(kind) = &kind {
                selector = match version {
                    Some(version) => selector.of_kind_version(&KindName::new(kind, version).unwrap()),
                    None => selector.of_kind(kind),
                };
            }
            if let Some(tag) = &tag { selector = selector.tagged(tag).unwrap(); }
            if let Some(older) = older { selector = selector.unused_since(Timestamp::from_millis(older)); }
            selector = match form {
                0 => selector,
                1 => Selector { id: IdPattern::Exact(id.as_str().into()), ..selector },
                2 => selector.with_prefix(&id),
                _ => match selector.clone().with_glob(&id) { Ok(selector) => selector, Err(_) => selector },
            };
            prop_assert_eq!(selector.to_string().parse::<Selector>().unwrap(), selector);
        }
    }
}
