//! Dependents: which queries have observed a source or another query, directly or through others.
//!
//! The traces of a query carry a tag for each source that one of them observed ([`Source::tag`]), so the index is the
//! tiers' own index of tags: it survives a restart, is shared by processes, and an entry that leaves takes its part of
//! it along. A tag is a part of a digest; two sources may have the same by accident, and then one dependent too many
//! is told, never one too few.
//!
//! The walk goes level by level, and meets each key once, so that a circle ends it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::query::Queries;
use super::{Held, Larder};
use crate::key::{Key, Scope, Selector};
use crate::query::{Source, Traces, observes_much, tag_of_key};
use crate::tier::memory::{Seen, Verdict};

/// How many dependents are told.
const MAX_DEPENDENTS: usize = 1 << 20;

/// The entries that a selector selects and those that depend on them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dependents {
    /// Their keys, sorted.
    pub keys: Vec<Key>,
    /// Whether these are all: there may be more than a million, and a tier may not have answered.
    pub complete: bool,
}

impl Queries {
    /// Selects the queries that have observed a source in the answers that are kept, directly or through others.
    ///
    /// A query that observed thousands of sources counts as one that may have observed any.
    pub fn observers_of(&self, source: &Source) -> Selector {
        let direct = Selector::all().in_scope(&self.registry().scope).tagged(&source.tag());
        direct.expect("the tag of a source is well formed").with_dependents()
    }
}

impl Larder {
    /// The keys that a selector selects, in memory and in the tiers, and those of queries that have observed these
    /// queries, directly or through others. Waits until what was computed before has reached the tiers.
    pub async fn dependents(&self, selector: &Selector) -> Dependents {
        self.written().await;
        let mut found = Dependents { keys: Vec::new(), complete: true };
        let mut level = self.select(&[selector.clone().without_dependents()], &mut found.complete).await;
        let mut met: BTreeSet<Key> = level.clone();
        let mut scopes: HashSet<Scope> = level.iter().map(|key| key.scope().clone()).collect();
        scopes.extend(selector.scope().cloned());
        // Those that observe too much to say what depend on whatever is selected, be nothing kept of that itself.
        let much = scopes.iter().map(|scope| tagged(scope, &observes_much()));
        level.extend(self.select(&much.collect::<Vec<_>>(), &mut found.complete).await);
        met.extend(level.iter().cloned());
        while !level.is_empty() && met.len() < MAX_DEPENDENTS {
            let observers = level.iter().map(|key| tagged(key.scope(), &tag_of_key(key)));
            let next = self.select(&observers.collect::<Vec<_>>(), &mut found.complete).await;
            level = next.into_iter().filter(|key| met.insert(key.clone())).collect();
        }
        found.complete &= level.is_empty();
        found.keys = met.into_iter().collect();
        found
    }

    /// The keys that any of some selectors selects.
    async fn select(&self, selectors: &[Selector], complete: &mut bool) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        if selectors.is_empty() {
            return keys;
        }
        if let Some(memory) = &self.shared.memory {
            // By their tags at once, as there may be many selectors.
            let tags: HashSet<&str> = selectors.iter().filter_map(Selector::tag).collect();
            let look = |seen: Seen<'_, Key, Held>| {
                let its_tags: &[Arc<str>] = seen.value.record().map_or(&[], |record| &record.tags);
                let may = tags.is_empty() || its_tags.iter().any(|tag| tags.contains(&**tag));
                if may && selectors.iter().any(|selector| selector.matches(seen.key, its_tags, None)) {
                    keys.insert(seen.key.clone());
                }
                Verdict::Keep
            };
            memory.sweep(look, drop);
        }
        for guarded in &self.shared.tiers {
            match guarded.select(selectors).await {
                Ok(selected) => keys.extend(selected),
                Err(_) => *complete = false,
            }
        }
        keys
    }
}

fn tagged(scope: &Scope, tag: &str) -> Selector {
    Selector::all().in_scope(scope).tagged(tag).expect("the tag of a source is well formed")
}

/// The tags of what traces have observed.
pub(super) fn tags_of(traces: &Traces) -> Vec<Arc<str>> {
    let mut sources = HashSet::new();
    for seen in traces.iter().flat_map(|trace| trace.observations.iter()) {
        sources.insert(&seen.source);
        if sources.len() > Source::MAX_TAGS {
            return vec![observes_much().into()];
        }
    }
    sources.into_iter().map(|source| source.tag().into()).collect()
}
