//! Bringing: an answer that the far tier has, with all that it names, into the tiers that are near.
//!
//! Invariant: an answer is given from afar only when it is whole: its envelope opens, and each blob that it names is in
//! a near tier, where its digest was checked. Anything else is a miss.
//! What was brought is put into the near tiers and is not sent anywhere again.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::flight::Flight;
use super::keep::{Footprint, Outgoing};
use super::{Entry, Kind, Larder, Reach, Value};
use crate::entry::Record;
use crate::key::{Digest, Key};
use crate::stats::Place;
use crate::tier::stack::{Guarded, Looks, Waits};
use crate::tier::{Epoch, TierError};

/// How many blobs of one answer are on their way at once.
const MAX_AT_ONCE: usize = 4;

/// How long bringing an answer may take at least; else no longer than computing it took.
const USUAL: Duration = Duration::from_secs(1);

/// What became of a blob that was to be conveyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conveyed {
    /// It is there.
    Whole,
    /// Where it was to come from it is not.
    Missing,
    /// It is not whole, or not what its digest says.
    Damaged,
    /// Where it was to go it is not taken.
    NotTaken,
}

impl<T: Value> Kind<T> {
    /// The far tier, if answers of this kind may be in it.
    pub(super) fn far(&self) -> Option<&Guarded> {
        self.larder.shared.far.as_ref().filter(|_| self.options.reach == Reach::Team)
    }

    /// Looks in the far tier. What is found is put into memory and into the near tiers.
    pub(super) async fn bring(
        &self,
        key: &Key,
        flight: &Arc<Flight>,
        looks: Looks,
    ) -> Option<(Arc<Entry<T>>, Place)> {
        let shared = &self.larder.shared;
        let far = self.far().filter(|far| far.reads())?;
        let place = far.place();
        // Before the far tier is asked: an invalidation since then keeps what comes from there out of the near tiers.
        let mut began = Vec::with_capacity(shared.tiers.len());
        for guarded in &shared.tiers {
            began.push(guarded.epoch().await.ok());
        }
        let watch = self.watch();
        let found = match far.look(key, looks).await {
            Ok(found) => found,
            // Left alone it was not asked, so nothing failed.
            Err(TierError::Open) => return None,
            Err(_) => {
                self.series.failed(place);
                return None;
            }
        };
        self.series.lookup(place, found.is_some(), watch.took(self));
        let envelope = found?;
        let (entry, footprint) = self.open(key, &envelope, far, place).await?;
        if !self.bring_blobs(&entry.record, far).await {
            tracing::debug!(%key, "what the answer names is not whole");
            return None;
        }
        far.gained(entry.record.cost);
        self.note_taken(key);
        let entry = Arc::new(entry);
        self.settle_near(key, &entry, envelope, footprint, began);
        // Where memory has no room, the tiers have it.
        let _ = flight.unless_revoked(|| self.hold(key, &entry, footprint));
        Some((entry, place))
    }

    /// Files what came from afar in the near tiers, behind the caller.
    fn settle_near(
        &self,
        key: &Key,
        entry: &Entry<T>,
        envelope: Vec<u8>,
        footprint: Footprint,
        epochs: Vec<Option<Epoch>>,
    ) {
        if !self.larder.shared.mode.writes() || epochs.is_empty() {
            return;
        }
        let outgoing = Outgoing {
            key: key.clone(),
            record: entry.record.clone(),
            envelope,
            encoded_bytes: footprint.encoded_bytes,
            epochs,
            far: None,
            lease: None,
            series: Arc::clone(&self.series),
        };
        self.larder.write_behind(outgoing);
    }

    /// Brings one blob that an answer in the far tier names into the nearest tier. Says whether it is there then.
    pub async fn bring_named(&self, digest: Digest) -> bool {
        matches!(self.larder.bring_blob(digest).await, Ok(Conveyed::Whole))
    }

    /// Brings the blobs that a record names into the nearest tier. Says whether they are all there then.
    async fn bring_blobs(&self, record: &Record, far: &Guarded) -> bool {
        if record.blobs.is_empty() {
            return true;
        }
        let Some(near) = self.larder.shared.tiers.first() else { return false };
        let missing = match near.run_for(Waits::Caller, near.tier().missing_blobs(&record.blobs)).await {
            Ok(missing) => missing,
            Err(_) => return false,
        };
        let limit = record.cost.max(USUAL);
        match tokio::time::timeout(limit, self.bring_all(missing)).await {
            Ok(all) => all,
            Err(_) => {
                tracing::info!("bringing an answer took longer than computing it");
                self.series.failed(far.place());
                false
            }
        }
    }

    async fn bring_all(&self, missing: Vec<Digest>) -> bool {
        let mut waiting = missing.into_iter();
        let mut under_way = JoinSet::new();
        let mut all_whole = true;
        loop {
            while under_way.len() < MAX_AT_ONCE
                && let Some(digest) = waiting.next()
            {
                let larder = self.larder.clone();
                under_way.spawn(async move { (digest, larder.bring_blob(digest).await) });
            }
            // A task that panics has brought nothing; those that are left end with the set.
            match under_way.join_next().await {
                None => return all_whole,
                Some(Ok((_, Ok(Conveyed::Whole)))) => {}
                // The others are looked at too: who computes the answer anew sends what is not there by then.
                Some(Ok((digest, Ok(Conveyed::Damaged)))) => {
                    self.set_blob_aside(digest).await;
                    all_whole = false;
                }
                Some(Ok((_, Ok(Conveyed::Missing | Conveyed::NotTaken)))) => return false,
                Some(Ok((_, Err(_))) | Err(_)) => {
                    self.series.failed(Place::Shared);
                    return false;
                }
            }
        }
    }

    async fn set_blob_aside(&self, digest: Digest) {
        tracing::warn!(blob = %digest, "blob from the shared tier is damaged and set aside");
        self.series.corrupt(Place::Shared);
        if let Some(far) = &self.larder.shared.far {
            // Failing that, the next writer finds it whole or writes it anew.
            let _ = far.run_for(Waits::Nobody, far.tier().quarantine_blob(digest)).await;
        }
    }
}

impl Larder {
    async fn bring_blob(&self, digest: Digest) -> Result<Conveyed, TierError> {
        let (Some(far), Some(near)) = (&self.shared.far, self.shared.tiers.first()) else {
            return Ok(Conveyed::NotTaken);
        };
        convey(digest, (far, near), Waits::Caller, || ()).await
    }
}

/// Conveys a blob from one tier to another, a piece at a time, each step under its tier's guard. `moved` is called
/// after each piece.
pub(super) async fn convey(
    digest: Digest,
    (from, to): (&Guarded, &Guarded),
    waits: Waits,
    moved: impl Fn(),
) -> Result<Conveyed, TierError> {
    let source = from.run_for(waits, from.tier().open_blob(digest)).await?;
    let Some(mut source) = source else { return Ok(Conveyed::Missing) };
    let sink = to.run_for(waits, to.tier().make_blob(digest, source.form())).await?;
    let Some(mut sink) = sink else { return Ok(Conveyed::NotTaken) };
    while let Some(piece) = from.read_piece(waits, &mut *source).await? {
        to.write_piece(waits, &mut *sink, piece).await?;
        moved();
    }
    let is_whole = to.run_for(waits, sink.finish()).await?;
    Ok(if is_whole { Conveyed::Whole } else { Conveyed::Damaged })
}
