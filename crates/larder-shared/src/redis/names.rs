//! What the keys are called.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};

use larder::key::{Digest, IdPattern, Key, Selector};

use crate::url::UrlError;

/// The namespace of whoever names none, with the number of the layout.
const NAMESPACE: &str = "larder1";

#[derive(Debug)]
pub(super) struct Names {
    namespace: String,
}

/// Takes the namespace out of a URL's query.
pub(super) fn namespace(url: &str) -> Result<(String, String), UrlError> {
    let Some((before, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), NAMESPACE.to_owned()));
    };
    let (mut rest, mut namespace) = (Vec::new(), NAMESPACE.to_owned());
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.strip_prefix("namespace=") {
            Some(name) => namespace = format!("{NAMESPACE}-{}", well_formed(name)?),
            None => rest.push(part),
        }
    }
    let url = if rest.is_empty() { before.to_owned() } else { format!("{before}?{}", rest.join("&")) };
    Ok((url, namespace))
}

fn well_formed(name: &str) -> Result<&str, UrlError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_good = (1..=64).contains(&name.len()) && name.bytes().all(good);
    if is_good { Ok(name) } else { Err(UrlError::Namespace(name.to_owned())) }
}

impl Names {
    pub(super) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    pub(super) fn entry(&self, key: &Key) -> String {
        format!("{}:e:{key}", self.namespace)
    }

    /// The key that an entry of this name is filed under.
    pub(super) fn key_of(&self, name: &str) -> Option<Key> {
        Key::parse(name.strip_prefix(&self.namespace)?.strip_prefix(":e:")?).ok()
    }

    /// A pattern that matches the names of all entries that a selector could select, and perhaps of others.
    pub(super) fn pattern(&self, selector: &Selector) -> String {
        let scope = selector.scope().map_or("*".to_owned(), |scope| escaped(scope.as_str()));
        let kind = match selector.kind() {
            (None, _) => "*".to_owned(),
            (Some(name), None) => format!("{}@*", escaped(name)),
            (Some(name), Some(version)) => format!("{}@{version}", escaped(name)),
        };
        let id = match selector.id() {
            IdPattern::Exact(id) => escaped(id),
            IdPattern::Prefix(prefix) => format!("{}*", escaped(prefix)),
            IdPattern::Any | IdPattern::Glob(..) => "*".to_owned(),
        };
        format!("{}:e:{scope}/{kind}/{id}", self.namespace)
    }

    pub(super) fn blob(&self, digest: Digest) -> String {
        format!("{}:b:{digest}", self.namespace)
    }

    /// Where a damaged blob's description is kept aside.
    pub(super) fn blob_aside(&self, digest: Digest) -> String {
        format!("{}:q:{digest}", self.namespace)
    }

    pub(super) fn piece(&self, digest: Digest, upload: &str, nth: u64) -> String {
        format!("{}:p:{digest}:{upload}:{nth}", self.namespace)
    }

    pub(super) fn lease(&self, key: &Key) -> String {
        format!("{}:l:{}", self.namespace, key.digest())
    }

    pub(super) fn epoch(&self) -> String {
        format!("{{{}}}:epoch", self.namespace)
    }

    pub(super) fn log(&self) -> String {
        format!("{{{}}}:log", self.namespace)
    }

    pub(super) fn pending(&self) -> String {
        format!("{{{}}}:pending", self.namespace)
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A number that nobody guesses and that does not come twice.
pub(super) fn random() -> u64 {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    RandomState::new().hash_one((COUNTER.fetch_add(1, Ordering::Relaxed), std::process::id()))
}

/// A name that no other process makes, nor this one again.
pub(super) fn unique() -> String {
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_taken_out_of_the_url_and_has_to_be_well_formed() {
        let taken = |url: &str| namespace(url).unwrap();
        assert_eq!(taken("redis://h"), ("redis://h".into(), "larder1".into()));
        assert_eq!(taken("redis://h/1?namespace=web"), ("redis://h/1".into(), "larder1-web".into()));
        assert_eq!(
            taken("redis://h?protocol=resp3&namespace=a.b"),
            ("redis://h?protocol=resp3".into(), "larder1-a.b".into())
        );
        for bad in ["redis://h?namespace=", "redis://h?namespace=a:b", "redis://h?namespace=a/../b"] {
            assert!(matches!(namespace(bad), Err(UrlError::Namespace(_))), "{bad}");
        }
    }

    #[test]
    fn a_key_is_read_back_from_its_name() {
        let names = Names::new("larder1");
        let key = Key::parse("acme/facts@2/src/a*b.py").unwrap();
        assert_eq!(names.key_of(&names.entry(&key)), Some(key));
        assert_eq!(names.key_of("larder1:b:00"), None);
        assert_eq!(Names::new("larder1-x").key_of("larder1:e:a/b@1/c"), None);
    }
}
