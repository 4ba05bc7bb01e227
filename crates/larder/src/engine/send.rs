//! Sending: what was computed here goes to the far tier, behind everybody's back.
//!
//! What waits is bounded in bytes; what comes on top is dropped and counted. The blobs that an answer names go first,
//! so that whoever finds the answer finds them too. At the end of the process [`Larder::close`] waits for what is on
//! its way as long as it moves. Turns are given back in any case.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::bring::{Conveyed, convey};
use super::keep::{Draining, Enqueued, Outgoing, cause};
use super::{Larder, Shared};
use crate::tier::stack::{Guarded, Waits};
use crate::tier::{Lease, PutOutcome, Refusal, Sealed, TierError};

/// How many answers are on their way at once.
const MAX_AT_ONCE: usize = 4;

/// How long the end of a process waits for something to move, also where callers have lost all that they may.
const LAST_WAIT: Duration = Duration::from_millis(20);

/// What a slow tier costs a process at most whose patience is no longer than that. Whoever has more has a tier in mind
/// that is far away.
const PROMISED: Duration = Duration::from_millis(100);

/// How many answers, each of them in time, a step of sending may take of such a tier.
const ANSWERS: u32 = 8;

/// How long turns have to arrive that are given back to a tier which takes nothing more.
const GIVING_BACK: Duration = Duration::from_millis(15);

/// Turns that are held until what was computed has arrived in the far tier.
#[derive(Debug, Clone, Default)]
pub(super) struct HeldTurns(Arc<Mutex<Turns>>);

/// Turns by a number of their own.
#[derive(Debug, Default)]
struct Turns {
    last: u64,
    held: HashMap<u64, Arc<Lease>>,
}

/// One of them, until this is dropped.
struct HeldTurn(HeldTurns, u64);

impl HeldTurns {
    /// A lease that holds another until it is dropped, or all are given back.
    fn hold(&self, lease: Arc<Lease>) -> Arc<Lease> {
        let mut turns = self.0.lock();
        turns.last += 1;
        let nth = turns.last;
        turns.held.insert(nth, lease);
        Arc::new(Lease::holding(HeldTurn(self.clone(), nth)))
    }

    fn give_back(&self) {
        let turns = std::mem::take(&mut self.0.lock().held);
        // Outside the lock.
        drop(turns);
    }
}

impl Drop for HeldTurn {
    fn drop(&mut self) {
        let turn = self.0.0.lock().held.remove(&self.1);
        drop(turn);
    }
}

/// What becomes of an answer that is sent.
pub(super) enum Sent {
    Kept { bytes: u64 },
    Refused(Refusal),
    Failed,
}

impl Larder {
    /// Sends an answer to the far tier, if it began under an epoch of that.
    pub(super) fn send_behind(&self, mut outgoing: Outgoing) {
        let shared = &self.shared;
        let Some(far) = shared.far.as_ref().filter(|_| outgoing.far.is_some()) else { return };
        outgoing.lease = outgoing.lease.map(|lease| shared.held_turns.hold(lease));
        let series = Arc::clone(&outgoing.series);
        match shared.sending.push(outgoing) {
            Enqueued::Full => {
                series.dropped(far.place());
                shared.unsent.fetch_add(1, Ordering::Relaxed);
            }
            Enqueued::Waiting => {
                shared.to_send.fetch_add(1, Ordering::Relaxed);
                self.drain_sending();
            }
        }
    }

    /// Sends what waits, in a task of its own, unless one is at it already.
    fn drain_sending(&self) {
        if let Some(draining) = Draining::begin(&self.shared, |shared| &shared.sending) {
            tokio::spawn(send_all(draining));
        }
    }

    /// Sends an answer to the far tier before this returns. One that is left alone costs nothing.
    pub(super) async fn send_now(&self, outgoing: Outgoing) -> Sent {
        self.shared.to_send.fetch_add(1, Ordering::Relaxed);
        self.shared.send(outgoing).await
    }

    /// Waits until everything that was to be sent or told has arrived or was given up. A far tier that takes nothing
    /// more is waited for no longer than for any other of its failures.
    pub(super) async fn close_far(&self) {
        let Some(far) = &self.shared.far else { return };
        self.settle_afar(far).await;
        if !self.shares() {
            return;
        }
        self.drain_afar(far).await;
        self.note_afar().await;
    }

    async fn drain_afar(&self, far: &Guarded) {
        let shared = &self.shared;
        self.drain_sending();
        let drained = shared.sending.drained();
        tokio::pin!(drained);
        let more = far.whole_patience().saturating_sub(PROMISED).saturating_mul(ANSWERS);
        let mut since = Instant::now();
        loop {
            let (moved, answers) = (shared.moved.load(Ordering::Relaxed), far.tier().answers());
            let wait = far.patience().unwrap_or_default().max(LAST_WAIT);
            tokio::select! {
                () = &mut drained => break,
                () = tokio::time::sleep(wait) => {}
            }
            if shared.moved.load(Ordering::Relaxed) != moved || far.holds_back() {
                since = Instant::now();
                continue;
            }
            // One step may take several answers of the tier.
            if far.tier().answers() == answers || since.elapsed() >= wait.saturating_add(more) {
                far.give_up("it takes nothing more");
                // Those on their way come to nothing too.
                let left = shared.to_send.swap(0, Ordering::Relaxed);
                shared.unsent.fetch_add(left, Ordering::Relaxed);
                let left = shared.sending.abandon();
                left.iter().for_each(|outgoing| outgoing.series.dropped(far.place()));
                drop(left);
                shared.held_turns.give_back();
                // Those that do not arrive so soon end by themselves.
                let _ = timeout(GIVING_BACK, far.tier().flush()).await;
                return;
            }
        }
        // Turns that were given back are given back there too. Else they end by themselves.
        let _ = far.run_for(Waits::Caller, far.tier().flush()).await;
    }
}

async fn send_all(mut draining: Draining) {
    while let Some(batch) = draining.next_batch() {
        let mut waiting = batch.into_iter();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < MAX_AT_ONCE
                && let Some(outgoing) = waiting.next()
            {
                let shared = Arc::clone(&draining.shared);
                under_way.spawn(async move { shared.send(outgoing).await });
            }
            if under_way.join_next().await.is_none() {
                break;
            }
        }
    }
}

impl Shared {
    async fn send(&self, outgoing: Outgoing) -> Sent {
        let (Some(far), Some(began)) = (&self.far, outgoing.far) else { return Sent::Failed };
        let Outgoing { key, record, envelope, encoded_bytes, series, lease, .. } = outgoing;
        let started = self.clock.now();
        let sealed = Sealed { key, record, envelope, began };
        let sent = self.send_to(far, sealed).await.unwrap_or(Sent::Failed);
        let less = |to_send: u64| to_send.checked_sub(1);
        let is_counted = self.to_send.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err();
        drop(lease);
        let took = self.clock.now().since(started);
        self.moved.fetch_add(1, Ordering::Relaxed);
        match &sent {
            Sent::Kept { bytes } => series.put(far.place(), encoded_bytes, *bytes, Some(took)),
            Sent::Refused(refusal) => series.refused(far.place(), cause(refusal)),
            Sent::Failed => {
                series.failed(far.place());
                // What was given up already is counted.
                self.unsent.fetch_add(u64::from(!is_counted), Ordering::Relaxed);
            }
        }
        sent
    }

    async fn send_to(&self, far: &Guarded, sealed: Sealed) -> Result<Sent, TierError> {
        let bytes = sealed.envelope.len() as u64;
        if !sealed.record.blobs.is_empty() {
            let missing = far.tier().missing_blobs(&sealed.record.blobs);
            for digest in far.run_for(Waits::Nobody, missing).await? {
                self.moved.fetch_add(1, Ordering::Relaxed);
                let Some(near) = self.tiers.first() else {
                    return Ok(Sent::Refused(Refusal::MissingBlob(digest)));
                };
                match self.send_blob(digest, near, far).await? {
                    Conveyed::Whole => {}
                    Conveyed::NotTaken => return Ok(Sent::Refused(Refusal::TooLarge)),
                    Conveyed::Missing | Conveyed::Damaged => {
                        return Ok(Sent::Refused(Refusal::MissingBlob(digest)));
                    }
                }
            }
        }
        let outcome = far.put(vec![sealed]).await?.into_iter().next().transpose()?;
        Ok(match outcome {
            Some(PutOutcome::Kept | PutOutcome::Replaced { .. }) => Sent::Kept { bytes },
            Some(PutOutcome::Refused(refusal)) => Sent::Refused(refusal),
            None => Sent::Failed,
        })
    }

    async fn send_blob(
        &self,
        digest: crate::key::Digest,
        near: &Guarded,
        far: &Guarded,
    ) -> Result<Conveyed, TierError> {
        let moved = || {
            self.moved.fetch_add(1, Ordering::Relaxed);
        };
        convey(digest, (near, far), Waits::Nobody, moved).await
    }
}
