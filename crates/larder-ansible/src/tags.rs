//! Which tags were asked for: `--tags` and `--skip-tags`.
//!
//! Follows `ansible.playbook.taggable`, with the meanings of `all`, `tagged`, `untagged`, `always` and `never`.
//! Not here: which tags a task has (`query`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A choice of tasks by their tags.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TagSelection {
    only: BTreeSet<String>,
    skip: BTreeSet<String>,
}

impl TagSelection {
    /// A choice as it is written: each text is one tag or several with commas. Nothing to run is everything.
    pub fn new<S: AsRef<str>>(only: &[S], skip: &[S]) -> Self {
        let set = |texts: &[S]| {
            let tags = texts.iter().flat_map(|text| text.as_ref().split(','));
            tags.map(|tag| tag.trim().to_owned()).collect::<BTreeSet<_>>()
        };
        let mut only = set(only);
        if only.is_empty() {
            only.insert("all".to_owned());
        }
        Self { only, skip: set(skip) }
    }

    /// Tags of which a task has to have one.
    pub fn only(&self) -> impl Iterator<Item = &str> {
        self.only.iter().map(String::as_str)
    }

    /// Tags of which a task must have none.
    pub fn skipped(&self) -> impl Iterator<Item = &str> {
        self.skip.iter().map(String::as_str)
    }

    /// Whether a task with these tags, which are sorted, is chosen.
    pub fn selects(&self, tags: &[String]) -> bool {
        let untagged = [String::from("untagged")];
        let (tags, is_tagged) = if tags.is_empty() { (&untagged[..], false) } else { (tags, true) };
        let has = |tag: &str| tags.iter().any(|known| known == tag);
        let among = |set: &BTreeSet<String>| tags.iter().any(|tag| set.contains(tag));
        let is_run = has("always")
            || (self.only.contains("all") && !has("never"))
            || among(&self.only)
            || (self.only.contains("tagged") && is_tagged && !has("never"));
        let is_skipped = if self.skip.contains("all") {
            !has("always") || self.skip.contains("always")
        } else {
            among(&self.skip) || (self.skip.contains("tagged") && is_tagged)
        };
        is_run && !is_skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_tags_mean_what_they_mean_to_ansible() {
        let check = |only: &[&str], skip: &[&str], tags: &str, expected: bool| {
            let tags: Vec<String> = tags.split_whitespace().map(str::to_owned).collect();
            assert_eq!(TagSelection::new(only, skip).selects(&tags), expected, "{only:?} {skip:?} {tags:?}");
        };
        check(&[], &[], "", true);
        check(&[], &[], "never", false);
        check(&[], &[], "a never", false);
        check(&["a"], &[], "a never", true);
        check(&["a"], &[], "", false);
        check(&["b,a"], &[], "a", true);
        check(&["x"], &[], "always", true);
        check(&["tagged"], &[], "a", true);
        check(&["tagged"], &[], "", false);
        check(&["untagged"], &[], "", true);
        check(&[], &["a"], "a b", false);
        check(&[], &["tagged"], "a", false);
        check(&[], &["tagged"], "", true);
        check(&[], &["all"], "always", true);
        check(&[], &["all", "always"], "always", false);
        check(&[], &["always"], "always a", false);
    }
}
