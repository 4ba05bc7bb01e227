//! Which invalidations of a tier's log are this process's own: what was stored since them is newer, and is not to go when
//! they come back by the log.
//!
//! They are known by their marks, also where the tier did what it was told and its answer was lost.
//! Bounded: one that was told long before it comes back is taken for another's, which costs what was stored since.

use std::collections::VecDeque;

use super::{Invalidation, Invalidations};
use crate::key::Selector;

/// How many are remembered.
const MAX_OWN: usize = 1024;

/// What is done here already: whoever follows the log does not do it again.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// The marks of the newest.
    done: VecDeque<u64>,
}

impl Own {
    pub(super) fn remember(&mut self, selector: &Selector) {
        let Some(mark) = selector.mark() else { return };
        if self.done.len() >= MAX_OWN {
            self.done.pop_front();
        }
        self.done.push_back(mark);
    }

    /// Takes out of what a log told what is done here.
    pub(super) fn take_out(&self, since: &mut Invalidations) {
        let is_done = |one: &Invalidation| one.selector.mark().is_some_and(|mark| self.done.contains(&mark));
        if let Some(all) = &mut since.all {
            all.retain(|one| !is_done(one));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::Epoch;

    #[test]
    fn its_own_are_known_by_their_marks_whatever_they_select() {
        let x: Selector = "a/b@1/x".parse().unwrap();
        let marked = [x.clone().marked(1), x.clone().marked(2), x.clone(), x.marked(1)];
        let invalidation = |(epoch, selector)| Invalidation { epoch: Epoch(epoch), selector };
        let all: Vec<_> = (1..).zip(marked.clone()).map(invalidation).collect();
        let told = |own: &Own| {
            let mut since = Invalidations { epoch: Epoch(4), all: Some(all.clone()) };
            own.take_out(&mut since);
            since.all.unwrap().iter().map(|one| one.epoch.0).collect::<Vec<_>>()
        };
        let mut own = Own::default();
        own.remember(&marked[2]);
        assert_eq!(told(&own), [1, 2, 3, 4]);
        own.remember(&marked[0]);
        assert_eq!(told(&own), [2, 3]);
        (10..10 + MAX_OWN as u64).for_each(|mark| own.remember(&marked[2].clone().marked(mark)));
        assert_eq!(told(&own), [1, 2, 3, 4], "what was told long ago is forgotten");
    }
}
