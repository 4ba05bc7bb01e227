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

    /// An entry's envelope.
    pub(super) fn entry(&self, key: &Key) -> String {
        format!("{}/e/{key}", self.namespace)
    }

    /// What is known of an entry.
    pub(super) fn note(&self, key: &Key) -> String {
        format!("{}/m/{key}", self.namespace)
    }

    /// The key that a note of this name is about.
    pub(super) fn key_of(&self, name: &str) -> Option<Key> {
        Key::parse(name.strip_prefix(&self.namespace)?.strip_prefix("/m/")?).ok()
    }

    /// What the names of the notes of all entries begin with that a selector could select.
    pub(super) fn notes(&self, selector: &Selector) -> String {
        let mut prefix = format!("{}/m/", self.namespace);
        let Some(scope) = selector.scope() else { return prefix };
        prefix += &format!("{scope}/");
        match selector.kind() {
            (None, _) => return prefix,
            (Some(kind), None) => {
                prefix += &format!("{kind}@");
                return prefix;
            }
            (Some(kind), Some(version)) => prefix += &format!("{kind}@{version}/"),
        }
        if let IdPattern::Exact(id) | IdPattern::Prefix(id) = selector.id() {
            prefix += id;
        }
        prefix
    }

    pub(super) fn blob(&self, digest: Digest) -> String {
        format!("{}/b/{digest}", self.namespace)
    }

    /// The pieces of one upload.
    pub(super) fn pieces(&self, upload: &str) -> String {
        format!("{}/p/{upload}/", self.namespace)
    }

    pub(super) fn piece(&self, upload: &str, nth: u64) -> String {
        format!("{}/p/{upload}/{nth:04}", self.namespace)
    }

    /// Where what proved bad is kept aside.
    pub(super) fn aside(&self, what: &str) -> String {
        format!("{}/q/{what}", self.namespace)
    }

    pub(super) fn lease(&self, key: &Key) -> String {
        format!("{}/l/{}", self.namespace, key.digest())
    }

    /// The lease with which end what lives so long.
    pub(super) fn term(&self, seconds: u64) -> String {
        format!("{}/t/{seconds}", self.namespace)
    }

    pub(super) fn epoch(&self) -> String {
        format!("{}/epoch", self.namespace)
    }

    pub(super) fn log(&self) -> String {
        format!("{}/log/", self.namespace)
    }

    /// An invalidation in the log. Epochs are in order as text, too.
    pub(super) fn logged(&self, epoch: u64) -> String {
        format!("{}/log/{epoch:020}", self.namespace)
    }

    pub(super) fn pending(&self) -> String {
        format!("{}/pending/", self.namespace)
    }

    pub(super) fn one_pending(&self, epoch: u64) -> String {
        format!("{}/pending/{epoch:020}", self.namespace)
    }
}

/// The epoch at the end of a name.
pub(super) fn epoch_of(name: &str) -> Option<u64> {
    name.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_begin_with_what_a_selector_says_for_certain() {
        let names = Names::new("larder1");
        let key = Key::parse("acme/facts@2/src/a.py").unwrap();
        let all = Selector::all();
        let cases = [
            (all.clone(), "larder1/m/"),
            (all.clone().of_kind("facts"), "larder1/m/"),
            (all.clone().in_scope(key.scope()), "larder1/m/acme/"),
            (all.clone().in_scope(key.scope()).of_kind("facts"), "larder1/m/acme/facts@"),
            (all.clone().in_scope(key.scope()).of_kind_version(key.kind()), "larder1/m/acme/facts@2/"),
            (
                all.in_scope(key.scope()).of_kind_version(key.kind()).with_prefix("src/"),
                "larder1/m/acme/facts@2/src/",
            ),
            (Selector::key(&key), "larder1/m/acme/facts@2/src/a.py"),
        ];
        for (selector, prefix) in cases {
            assert_eq!(names.notes(&selector), prefix);
            assert!(names.note(&key).starts_with(prefix));
        }
        assert_eq!(names.key_of(&names.note(&key)), Some(key));
        assert_eq!(epoch_of(&names.logged(7)), Some(7));
    }
}
