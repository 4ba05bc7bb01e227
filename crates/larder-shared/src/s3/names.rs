//! What the objects are called.
//!
//! A name consists of letters, digits, `.`, `_`, `-`, `=` and the slashes between its parts, whatever the key: other
//! bytes are `=` and two hexadecimal digits. That keeps to what every server takes, and no object's name is that of
//! a folder of others, which some refuse. A prefix of an id is a prefix of its name.

use larder::key::{Digest, IdPattern, Key, KindName, Scope, Selector};

/// The number of this layout.
const LAYOUT: &str = "larder1";
/// Longer ids are told by the key's digest. Some servers take no part of a name above 255 bytes.
const LONGEST_ID: usize = 96;
/// How much of a longer one stands before the digest.
const KEPT: usize = 24;

#[derive(Debug)]
pub(super) struct Names {
    /// What each name begins with.
    base: String,
}

/// What the name of an entry says of its key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    Key(Key),
    /// The key stands in the object only.
    Long,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { base: format!("{prefix}{LAYOUT}/") }
    }

    pub(super) fn entry(&self, key: &Key) -> String {
        let mut id = escaped(key.id());
        if id.len() > LONGEST_ID {
            id = format!("{}=={}", beginning(&id), key.digest());
        }
        format!("{}{}={}/{id}", self.scope(key.scope()), escaped(key.kind().name()), key.kind().version())
    }

    fn scope(&self, scope: &Scope) -> String {
        format!("{}e/{}/", self.base, escaped(scope.as_str()))
    }

    /// The key that an entry of this name is filed under; `None` for what is no entry.
    pub(super) fn key_of(&self, name: &str) -> Option<Named> {
        let mut parts = name.strip_prefix(&self.base)?.strip_prefix("e/")?.splitn(3, '/');
        let (scope, kind, id) = (parts.next()?, parts.next()?, parts.next()?);
        let (kind, version) = kind.rsplit_once('=')?;
        let scope = Scope::new(&plain(scope)?).ok()?;
        let kind = KindName::new(&plain(kind)?, version.parse().ok()?).ok()?;
        if id.contains("==") {
            return Some(Named::Long);
        }
        Key::new(&scope, &kind, &plain(id)?).ok().map(Named::Key)
    }

    /// What the names of all entries begin with that a selector could select, and perhaps of others.
    pub(super) fn beginning(&self, selector: &Selector) -> String {
        let Some(scope) = selector.scope() else { return format!("{}e/", self.base) };
        let mut name = self.scope(scope);
        let (Some(kind), version) = selector.kind() else { return name };
        name.push_str(&escaped(kind));
        name.push('=');
        let Some(version) = version else { return name };
        name.push_str(&format!("{version}/"));
        if let IdPattern::Exact(id) | IdPattern::Prefix(id) = selector.id() {
            name.push_str(beginning(&escaped(id)));
        }
        name
    }

    pub(super) fn blob(&self, digest: Digest) -> String {
        format!("{}b/{digest}", self.base)
    }

    /// Where what proved bad is kept aside.
    pub(super) fn aside(&self, name: &str) -> String {
        format!("{0}q/{1}", self.base, name.strip_prefix(&self.base).unwrap_or(name))
    }

    pub(super) fn lease(&self, key: &Key) -> String {
        format!("{}l/{}", self.base, key.digest())
    }

    pub(super) fn log(&self) -> String {
        format!("{}log", self.base)
    }

    pub(super) fn probe(&self) -> String {
        format!("{}probe", self.base)
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        // A part that begins with a dot may mean something to a server that keeps files.
        if byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || (byte == b'.' && at > 0) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("={byte:02X}"));
        }
    }
    escaped
}

/// As much of an escaped text as a longer one has in its name, without a part of an escape at its end.
fn beginning(escaped: &str) -> &str {
    let cut = &escaped[..escaped.len().min(KEPT)];
    match cut.rfind('=') {
        Some(at) if at + 3 > cut.len() => &cut[..at],
        _ => cut,
    }
}

fn plain(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'=' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_from_its_name_and_the_name_has_nothing_odd_in_it() {
        let names = Names::new("team/");
        for text in ["acme/facts@2/src/a*b =ü.py", "../.@0/..", "a/b@1/.", "a/b@1/x/y"] {
            let key = Key::parse(text).unwrap();
            let name = names.entry(&key);
            assert!(
                name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-=/".contains(&byte)),
                "{name}"
            );
            assert!(name.split('/').all(|part| !part.is_empty() && !part.starts_with('.')), "{name}");
            assert_eq!(names.key_of(&name), Some(Named::Key(key)), "{name}");
        }
        for other in
            ["team/larder1/b/00", "team/larder1/e/a/b=1", "team/larder1/e/a/b=x/c", "larder1/e/a/b=1/c"]
        {
            assert_eq!(names.key_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_long_id_has_a_short_name_that_is_found_by_its_prefixes() {
        let names = Names::new("");
        let id = "ä/".repeat(200);
        let key = Key::parse(&format!("a/b@1/{id}")).unwrap();
        let other = Key::parse(&format!("a/b@1/{id}x")).unwrap();
        let name = names.entry(&key);
        assert!(name.len() < 120 && name != names.entry(&other), "{name}");
        assert_eq!(names.key_of(&name), Some(Named::Long));
        let in_kind = Selector::all().in_scope(key.scope()).of_kind_version(key.kind());
        for prefix in ["", "ä", "ä/ä", id.as_str()] {
            assert!(name.starts_with(&names.beginning(&in_kind.clone().with_prefix(prefix))), "{prefix}");
        }
        assert!(name.starts_with(&names.beginning(&Selector::key(&key))));
    }

    #[test]
    fn the_beginning_of_names_goes_as_far_as_the_selector_says() {
        let names = Names::new("");
        for (selector, expected) in [
            ("all", "larder1/e/"),
            ("kind:task", "larder1/e/"),
            ("scope:shop", "larder1/e/shop/"),
            ("any:shop/task", "larder1/e/shop/task="),
            ("any:shop/task@3", "larder1/e/shop/task=3/"),
            ("prefix:shop/task@3/src/", "larder1/e/shop/task=3/src=2F"),
            ("glob:shop/task@3/src/*", "larder1/e/shop/task=3/"),
        ] {
            assert_eq!(names.beginning(&selector.parse().unwrap()), expected, "{selector}");
        }
    }
}
