//! All that was counted in some stretch of time, as plain data that adds up.
//!
//! Invariant: [`Snapshot::merge`] is commutative, and associative on all counters, distributions and history;
//! of hot keys it keeps the stated errors. An empty snapshot changes nothing.

use std::collections::BTreeMap;

use super::count::Counts;
use super::event::SelectorForm;
use super::histogram::Distribution;
use super::history::History;
use super::hot::HotKeys;
use super::registry::StatsOptions;
use super::series::{Collected, Measure, SeriesName};
use crate::clock::Timestamp;

/// How many keys are watched.
pub(super) const HOT_KEYS: usize = 128;

/// What was counted of one scope and kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    pub(super) distributions: BTreeMap<usize, Distribution>,
}

impl Tally {
    pub(super) fn merge(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (&number, distribution) in &other.distributions {
            self.distributions.entry(number).or_default().merge(distribution);
        }
    }

    pub(super) fn distribution(&self, measure: Measure) -> Option<&Distribution> {
        self.distributions.get(&measure.number())
    }

    pub(super) fn absorb(&mut self, collected: &Collected) {
        self.counts.add(&collected.counts);
        for (number, distribution) in &collected.distributions {
            self.distributions.entry(*number).or_default().merge(distribution);
        }
    }
}

/// How often an invalidation came in a form, and how many entries it removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Invalidations {
    pub(super) times: u64,
    pub(super) entries: u64,
}

impl Invalidations {
    pub(super) fn add(&mut self, other: &Self) {
        self.times = self.times.saturating_add(other.times);
        self.entries = self.entries.saturating_add(other.entries);
    }
}

/// All that was counted in some stretch of time: several processes' and successive runs' add up.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// When the first of it was counted.
    pub(super) since: Option<Timestamp>,
    pub(super) series: BTreeMap<SeriesName, Tally>,
    pub(super) invalidations: [Invalidations; SelectorForm::ALL.len()],
    pub(super) hot: HotKeys,
    pub(super) history: History,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            since: None,
            series: BTreeMap::new(),
            invalidations: Default::default(),
            hot: HotKeys::new(HOT_KEYS),
            history: History::default(),
        }
    }
}

impl Snapshot {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.invalidations.iter().all(|form| form.times == 0)
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        self.since = match (self.since, other.since) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        for (name, tally) in &other.series {
            self.series.entry(name.clone()).or_default().merge(tally);
        }
        for (sum, more) in self.invalidations.iter_mut().zip(&other.invalidations) {
            sum.add(more);
        }
        self.hot.merge(&other.hot);
        self.history.merge(&other.history);
    }

    /// Bounds it: history to the slots that the options keep, and series to those with most requests; what the
    /// others counted goes to the one series that has no name.
    pub fn prune(&mut self, now: Timestamp, options: &StatsOptions) {
        self.history.prune(now, options.history);
        let max_series = options.max_series;
        let named = self.series.len() - usize::from(self.series.contains_key(&None));
        if named <= max_series {
            return;
        }
        let mut by_use: Vec<_> = self
            .series
            .iter()
            .filter(|(name, _)| name.is_some())
            .map(|(name, tally)| (tally.counts.requests(), name.clone()))
            .collect();
        by_use.sort();
        for (_, name) in by_use.into_iter().take(named - max_series) {
            if let Some(tally) = self.series.remove(&name) {
                self.series.entry(None).or_default().merge(&tally);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::count::Count;
    use super::*;
    use crate::key::{KindName, Scope};

    #[test]
    fn beyond_the_limit_the_least_used_series_are_counted_together() {
        let mut all = Snapshot::default();
        for (scope, misses) in [("a", 3), ("b", 1), ("c", 2), ("d", 4)] {
            let name = (Scope::new(scope).unwrap(), KindName::new("k", 1).unwrap());
            all.series.entry(Some(name)).or_default().counts[Count::MISSES] = misses;
        }
        all.prune(Timestamp::default(), &StatsOptions { max_series: 2, ..StatsOptions::default() });
        let kept = all.series.iter().map(|(name, tally)| {
            (name.as_ref().map(|(scope, _)| scope.as_str()), tally.counts.number_of(Count::MISSES))
        });
        assert_eq!(kept.collect::<Vec<_>>(), [(None, 3), (Some("a"), 3), (Some("d"), 4)]);
    }
}
