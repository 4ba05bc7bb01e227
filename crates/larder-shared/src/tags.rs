//! The tags of an entry as text.

use std::sync::Arc;

/// What stands between them: no tag has it.
const BETWEEN: char = '\u{1f}';

pub(crate) fn join(tags: &[Arc<str>]) -> String {
    tags.join(&BETWEEN.to_string())
}

pub(crate) fn split(text: &str) -> Vec<Arc<str>> {
    text.split(BETWEEN).filter(|tag| !tag.is_empty()).map(Arc::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_read_back() {
        for tags in [[].as_slice(), &["a"], &["a", "b c"]] {
            let tags: Vec<Arc<str>> = tags.iter().copied().map(Arc::from).collect();
            assert_eq!(split(&join(&tags)), tags);
        }
    }
}
