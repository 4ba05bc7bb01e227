//! Owing: what the far tier could not be told of invalidations is noted in the nearest one, for other processes here.
//!
//! Whoever begins, or hears of an invalidation in the nearest tier, takes note of what is owed: it tells the far tier once
//! that answers, and takes nothing from there before that the invalidation covers.
//!
//! Invariant: what is owed is noted before it is invalidated in the nearest tier. Where that takes no notes, what is owed
//! is known to this process only.

use super::Larder;
use crate::key::Selector;
use crate::tier::stack::Guarded;
use crate::tier::{Owing, Tier, TierError};

impl Larder {
    /// Takes note of what other processes here owe the far tier.
    pub(super) async fn recall_owed(&self) {
        let Some((far, near)) = self.far_and_near() else { return };
        match near.owed(&far.tier().log()).await {
            Ok(owed) => far.owes_also(owed),
            Err(error) => failed(&error),
        }
    }

    /// Notes that the far tier could not be told of an invalidation.
    pub(super) async fn note_owed(&self, selector: &Selector) {
        self.note_owing(Owing::Owes(selector.clone())).await;
    }

    /// Notes that an invalidation which the far tier could not be told of is done here.
    pub(super) async fn note_done_here(&self, selector: &Selector) {
        self.note_owing(Owing::DoneHere(selector.clone())).await;
    }

    /// Notes what the far tier was told late.
    pub(super) async fn note_told(&self) {
        let told = self.shared.far.as_ref().map(Guarded::take_told).unwrap_or_default();
        if !told.is_empty() {
            self.note_owing(Owing::Told(told)).await;
        }
    }

    async fn note_owing(&self, change: Owing) {
        let Some((far, near)) = self.far_and_near() else { return };
        if let Err(error) = near.note_owing(&far.tier().log(), change).await {
            failed(&error);
        }
    }

    fn far_and_near(&self) -> Option<(&Guarded, &dyn Tier)> {
        Some((self.shared.far.as_ref()?, self.shared.tiers.first()?.tier().as_ref()))
    }
}

fn failed(error: &TierError) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "it is not noted what the shared tier is still to be told");
}
