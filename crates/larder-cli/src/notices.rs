//! What verbs that stay say of what they wait for.

use crate::console::{Console, NAME, styled};

/// How many things are named.
const MAX_NAMED: usize = 3;

/// Says that it is waited for changes.
pub(crate) fn watching(console: Console) {
    console.note(format_args!("{} for changes; Ctrl-C ends it", styled(NAME, "watching")));
}

/// The first of several things by name, and how many more there are.
pub(crate) fn some_of(mut names: impl Iterator<Item = String>) -> String {
    let mut words = names.by_ref().take(MAX_NAMED).collect::<Vec<_>>().join(", ");
    let more = names.count();
    if more > 0 {
        words += &format!(" and {more} more");
    }
    words
}
