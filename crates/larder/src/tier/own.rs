//! Which invalidations of a tier's log are this process's own: what was stored since them is newer, and is not to go when
//! they come back by the log.
//!
//! Bounded: one that was told long before it comes back is taken for another's, which costs what was stored since.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::{Epoch, Invalidation, Invalidations};
use crate::key::Selector;

/// How many are remembered.
const MAX_OWN: usize = 1024;

/// What the tier's log has of this process that is done here already: whoever follows the log does not do it again.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// The newest.
    told: VecDeque<Epoch>,
    /// What the tier is told just now that it could not be told before. Its epoch is not known yet.
    telling: Vec<Selector>,
}

impl Own {
    pub(super) fn remember(&mut self, epoch: Epoch) {
        if self.told.len() >= MAX_OWN {
            self.told.pop_front();
        }
        self.told.push_back(epoch);
    }

    /// Takes out of what a log told since `epoch` what is known to be its own. What may be is not told yet, nor is what
    /// comes after that.
    pub(super) fn take_out(&self, epoch: Epoch, since: &mut Invalidations) {
        let Some(all) = &mut since.all else { return };
        let is_own = |one: &Invalidation| self.told.contains(&one.epoch);
        if let Some(at) = all.iter().position(|one| self.telling.contains(&one.selector) && !is_own(one)) {
            since.epoch = at.checked_sub(1).map_or(epoch, |last| all[last].epoch);
            all.truncate(at);
        }
        all.retain(|one| !is_own(one));
    }
}

/// That something is told; ends with this.
pub(super) struct Telling<'a>(&'a Mutex<Own>, &'a Selector);

impl<'a> Telling<'a> {
    pub(super) fn begin(own: &'a Mutex<Own>, selector: &'a Selector) -> Self {
        own.lock().telling.push(selector.clone());
        Self(own, selector)
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        let telling = &mut self.0.lock().telling;
        if let Some(at) = telling.iter().position(|one| one == self.1) {
            telling.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_are_never_told_and_those_that_may_be_once_that_is_known() {
        let selectors = ["a/b@1/x", "a/b@1/y", "a/b@1/x", "a/b@1/z"].map(|text| text.parse().unwrap());
        let all: Vec<_> = (1..).zip(selectors.clone()).collect();
        let check = |own: &Own, epoch, told: &[u64]| {
            let invalidation = |(epoch, selector)| Invalidation { epoch: Epoch(epoch), selector };
            let all = Some(all.iter().cloned().map(invalidation).collect());
            let mut since = Invalidations { epoch: Epoch(4), all };
            own.take_out(Epoch(0), &mut since);
            let since: (_, Vec<u64>) =
                (since.epoch, since.all.unwrap().into_iter().map(|one| one.epoch.0).collect());
            assert_eq!(since, (Epoch(epoch), told.to_vec()));
        };
        let own = Mutex::new(Own::default());
        check(&own.lock(), 4, &[1, 2, 3, 4]);
        own.lock().remember(Epoch(1));
        check(&own.lock(), 4, &[2, 3, 4]);
        let telling = Telling::begin(&own, &selectors[2]);
        // Another said the same, or it did.
        check(&own.lock(), 2, &[2]);
        own.lock().remember(Epoch(3));
        drop(telling);
        check(&own.lock(), 4, &[2, 4]);
        let _telling = Telling::begin(&own, &selectors[1]);
        check(&own.lock(), 1, &[]);
    }
}
