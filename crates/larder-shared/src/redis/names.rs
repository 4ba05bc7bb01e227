//! What the keys are called.

use larder::key::{Digest, IdPattern, Key, Selector};

#[derive(Debug)]
pub(super) struct Names {
    namespace: String,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_from_its_name() {
        let names = Names::new("larder1");
        let key = Key::parse("acme/facts@2/src/a*b.py").unwrap();
        assert_eq!(names.key_of(&names.entry(&key)), Some(key));
        assert_eq!(names.key_of("larder1:b:00"), None);
        assert_eq!(Names::new("larder1-x").key_of("larder1:e:a/b@1/c"), None);
    }
}
