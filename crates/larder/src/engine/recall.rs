//! Recalling that the far tier was left alone: one that was dead a moment ago costs the next short process little.
//!
//! When a process ends that has left the far tier alone, the nearest tier notes that. Whoever comes soon after gives the
//! far tier only as long as one takes to answer that is worth asking, and leaves it alone at once if it does not; so one
//! that is back is used at once. The note ends by itself, so that one that is slow is given its chance again, and with the
//! process that finds the tier well.

use std::time::Duration;

use super::Larder;
use crate::tier::LeftAlone;

/// How long it is remembered.
const REMEMBERED: Duration = Duration::from_secs(30);

impl Larder {
    /// Leaves the far tier alone if that was done a moment ago, and it does not answer at once.
    pub(super) async fn recall_afar(&self) {
        let (Some(far), Some(near)) = (&self.shared.far, self.shared.tiers.first()) else { return };
        let Ok(Some(note)) = near.tier().left_alone(&far.tier().log()).await else { return };
        let now = self.shared.clock.wall();
        let age = now.since(note.at);
        // Somebody with less patience may have left it alone who had no need to. A note from the future is none.
        if note.at > now
            || age >= REMEMBERED
            || far.patience().is_some_and(|patience| note.patience < patience)
        {
            return;
        }
        *self.shared.recalled.lock() = true;
        far.recall(note.why, age).await;
    }

    /// Notes whether the far tier is left alone, where that is news.
    pub(super) async fn note_afar(&self) {
        let (Some(far), Some(near)) = (&self.shared.far, self.shared.tiers.first()) else { return };
        let note = match far.left_alone() {
            Some((why, true)) => {
                let at = self.shared.clock.wall();
                Some(LeftAlone { at, patience: far.whole_patience(), why })
            }
            // It was not asked by this process, which so knows nothing new.
            Some((_, false)) => return,
            None if *self.shared.recalled.lock() => None,
            None => return,
        };
        if let Err(error) = near.tier().note_left_alone(&far.tier().log(), note).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "it is not noted how the shared tier is"
            );
        }
    }
}
