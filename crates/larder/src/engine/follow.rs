//! Following: what others invalidated in the far tier is removed from memory and from the near tiers here.
//!
//! Each near tier knows up to where it has followed the far tier's log, from one process to the next. One that never
//! followed it begins where the log stands; one that fell off the log's end drops everything, as anything may have
//! been invalidated. Where a process had to go on without the log before it was ever followed, that is noted as an epoch
//! from before the log began (`UNFOLLOWED`), so that what is kept from then on is gone through when it is followed.
//!
//! A log that cannot be followed is tried a few times by whoever asks first, within its patience. Then the tier is left
//! alone, which the process tells: what is here may have been invalidated.
//!
//! What the far tier could not be told (`owing`) it is told by whoever follows its log next, once it answers.
//!
//! What this process told the log itself is not done again when it comes back: what was stored since then is newer.
//! Another process on the same disk tier does not know whose it was, and may take such an entry off that.
//!
//! Invariants: before an answer of a kind that is shared is given for the first time, the log was followed up to then,
//! if the far tier answers; after that, as often as [`Larder::catch_up`] is called. Nobody still does what the log told
//! before an invalidation when that has returned: one follows at a time.

use std::convert::Infallible;
use std::time::Duration;

use super::Larder;
use super::invalidate::{Met, fresh_mark};
use crate::key::Selector;
use crate::tier::stack::{Guarded, Waits, words};
use crate::tier::{Epoch, Invalidations, TierError};

/// How often a process tries to follow the log before its first answer.
const ATTEMPTS: u32 = 3;

/// Up to where somebody followed a log who kept answers before it could be followed: nothing in it is from before.
const UNFOLLOWED: Epoch = Epoch(0);

/// How often it is looked whether listening is possible where it is not.
const LISTEN: Duration = Duration::from_millis(250);

impl Larder {
    /// Follows the far tier's log for the first time in this process.
    pub(super) async fn follow_afar(&self) {
        let follow = || async {
            self.recall_afar().await;
            self.recall_owed().await;
            // One that does not answer now is asked again.
            self.follow_and_settle(Waits::Caller, Met::NeverOfTeam).await;
        };
        self.shared.followed_afar.get_or_init(follow).await;
    }

    /// Removes what others invalidated in the far tier, and tells it what it could not be told before. A far tier that
    /// does not answer now is asked again from the same epoch on.
    pub(super) async fn catch_up_afar(&self, waits: Waits) {
        self.follow_and_settle(waits, Met::Before).await;
        self.note_told().await;
    }

    async fn follow_and_settle(&self, waits: Waits, met: Met) {
        let Some(far) = &self.shared.far else { return };
        // First, as a tier that hangs is noticed there sooner than where much is to be removed.
        let is_followed = match met {
            Met::NeverOfTeam => self.follow_or_give_up(far).await,
            Met::Before => self.catch_up_with(waits, met).await.is_ok(),
        };
        if is_followed && far.settle(waits).await {
            self.note_settled(met).await;
        }
        if met == Met::NeverOfTeam {
            // What is removed here by now is not to be taken later for something that was under way then.
            self.catch_up_nearby(met).await;
        }
    }

    /// Follows the log before anything is given or kept. Returns whether that came to something.
    async fn follow_or_give_up(&self, far: &Guarded) -> bool {
        let mut attempt = 1;
        let error = loop {
            match self.catch_up_with(Waits::Caller, Met::NeverOfTeam).await {
                Ok(()) => return true,
                // It is left alone by now, or nobody has any patience left.
                Err(error @ TierError::Open) => break error,
                Err(error) if attempt == ATTEMPTS => break error,
                Err(_) => attempt += 1,
            }
        };
        if !matches!(error, TierError::Open) {
            far.give_up(&words(&error));
        }
        self.note_unfollowed(far).await;
        false
    }

    /// Notes, before anything is kept, that the log was not followed, where it never was.
    async fn note_unfollowed(&self, far: &Guarded) {
        let log = far.tier().log();
        for near in &self.shared.tiers {
            if let Ok(None) = near.tier().followed(&log).await
                && let Err(error) = near.tier().note_followed(&log, UNFOLLOWED).await
            {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "it is not noted what is not followed"
                );
            }
        }
    }

    /// Tells the far tier at the end of the process what it could not be told before, if it answers.
    pub(super) async fn settle_afar(&self, far: &Guarded) {
        if far.settle_at_last().await {
            self.note_settled(Met::Before).await;
        }
        self.note_told().await;
    }

    /// Follows the log over what it was just told, which the next process on the same disk tier would take for another's.
    async fn note_settled(&self, met: Met) {
        // One that does not answer costs what was stored since.
        let _ = self.catch_up_with(Waits::Nobody, met).await;
    }

    /// Removes what others invalidate as soon as the far tier tells of it by itself. It does not notice a connection
    /// that hangs, so that the log is to be followed besides. Never ends.
    pub(super) async fn listen_afar(&self) -> Infallible {
        let Some(far) = &self.shared.far else { return std::future::pending().await };
        loop {
            let seen = *self.shared.seen_afar.lock();
            if let Some(seen) = seen.filter(|_| !far.is_open())
                && far.tier().heard(seen).await.is_ok()
            {
                self.catch_up_afar(Waits::Nobody).await;
            }
            if *self.shared.seen_afar.lock() == seen {
                tokio::time::sleep(LISTEN).await;
            }
        }
    }

    async fn catch_up_with(&self, waits: Waits, met: Met) -> Result<(), TierError> {
        let Some(far) = &self.shared.far else { return Ok(()) };
        let turn = self.shared.following.lock();
        let _turn = match waits {
            Waits::Nobody => turn.await,
            Waits::Caller => {
                let patience = far.patience().unwrap_or_default();
                let Ok(turn) = tokio::time::timeout(patience, turn).await else {
                    far.give_up("timed out");
                    return Err(TierError::Open);
                };
                turn
            }
        };
        let log = far.tier().log();
        let seen = *self.shared.seen_afar.lock();
        let mut newest = None;
        let forgets = seen.is_none() && met == Met::Before;
        for near in &self.shared.tiers {
            // A near tier that does not answer now is no use now.
            let Ok(known) = near.tier().followed(&log).await else { continue };
            let mut since = told(far, waits, known).await?;
            if known.is_none()
                && let Ok(Some(noted)) = near.tier().followed(&log).await
            {
                // Somebody else here began meanwhile, or went on without.
                since = told(far, waits, Some(noted)).await?;
            }
            let mut is_done = true;
            for selector in all_if_unknown(since.selectors()) {
                let mark = selector.mark().unwrap_or_else(fresh_mark);
                let selector = selector.marked(mark);
                // What it could not be told it owes, and answers nothing of it in this process.
                is_done &= near.invalidate(&selector).await.is_ok();
                // Memory hears of it here, and what is begun after that is newer.
                near.done_here(&selector);
                if seen.is_none() {
                    // It may hold by now what was read while the far tier did not answer.
                    self.count_invalidated(&self.forget_met(met, &selector));
                }
            }
            if is_done
                && known != Some(since.epoch)
                && let Err(error) = near.tier().note_followed(&log, since.epoch).await
            {
                tracing::warn!(error = &error as &dyn std::error::Error, "the log is followed in vain");
            }
            newest = newest.or(Some(since.epoch));
        }
        let epoch = match (seen, newest) {
            (None, Some(newest)) => newest,
            _ => {
                let since = told(far, waits, seen).await?;
                // Where nothing was followed before, nothing is known of what memory holds by now.
                let selectors = if forgets { None } else { since.selectors() };
                for selector in all_if_unknown(selectors) {
                    self.count_invalidated(&self.forget_met(met, &selector));
                }
                since.epoch
            }
        };
        *self.shared.seen_afar.lock() = Some(epoch);
        Ok(())
    }
}

/// What was invalidated since somebody looked; whoever never did begins now.
async fn told(far: &Guarded, waits: Waits, known: Option<Epoch>) -> Result<Invalidations, TierError> {
    match known {
        Some(known) => far.invalidated_since(waits, known).await,
        None => Ok(Invalidations { epoch: far.log_begins(waits).await?, all: Some(Vec::new()) }),
    }
}

fn all_if_unknown(selectors: Option<Vec<Selector>>) -> Vec<Selector> {
    selectors.unwrap_or_else(|| vec![Selector::all()])
}
