//! Knowing what the far tier has of what is kept here, for whoever is about to put the same again, or tells others that
//! it is there.
//!
//! Invariant: what is noted was taken or given by the far tier, and since then nothing was put under its key, nor was
//! that invalidated. A process that begins has noted nothing, and so asks. That the far tier drops what it took, as it
//! may, is not noticed for as long as the note lasts; for others it is a miss.

use std::collections::HashSet;

use parking_lot::Mutex;

use super::lookup::is_whole_in;
use super::{Entry, Kind, Value, Write};
use crate::key::{Key, Selector};
use crate::tier::stack::Guarded;

/// How many keys are noted; above that the notes begin anew.
const MAX_NOTED: usize = 1 << 16;

/// What the far tier has of an answer that is kept here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afar {
    /// The same; or there is no far tier for it, none that takes anything, or none that answers now.
    Settled,
    /// Something else.
    Other,
    /// Nothing that holds and is whole.
    Nothing,
}

impl<T: Value> Kind<T> {
    /// What the far tier has of an answer that is kept here; `is_same` judges what is found there. Asks once, and knows
    /// from then on. Brings nothing, and counts as no question.
    pub async fn afar(&self, key: &Key, is_same: impl FnOnce(&T) -> bool) -> Afar {
        let shared = &self.larder.shared;
        let Some(far) = self.far().filter(|far| far.writes() && shared.mode.writes()) else {
            return Afar::Settled;
        };
        if shared.taken.has(key) {
            return Afar::Settled;
        }
        if !far.reads() {
            return Afar::Nothing;
        }
        self.larder.follow_afar().await;
        let envelope = match far.get(key).await {
            Ok(Some(envelope)) => envelope,
            Ok(None) => return Afar::Nothing,
            // It would not take anything either.
            Err(_) => return Afar::Settled,
        };
        match self.open(key, &envelope, far, far.place()).await {
            Some((entry, _)) if is_whole_in(far, &entry.record).await => {
                if !is_same(&entry.value) {
                    return Afar::Other;
                }
                self.note_taken(key);
                Afar::Settled
            }
            _ => Afar::Nothing,
        }
    }

    /// The keys of answers in the far tier that a selector selects, in no stated order; none where it fails or can't say.
    pub async fn keys_afar(&self, selector: &Selector) -> Vec<Key> {
        match self.far_to_look_in().await {
            Some(far) => far.select(std::slice::from_ref(selector)).await.unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// An answer as the far tier has it. What it names stays there, nothing is put anywhere, and it counts as no question.
    pub async fn look_afar(&self, key: &Key) -> Option<Entry<T>> {
        let far = self.far_to_look_in().await?;
        let envelope = far.get(key).await.ok()??;
        self.open(key, &envelope, far, far.place()).await.map(|(entry, _)| entry)
    }

    async fn far_to_look_in(&self) -> Option<&Guarded> {
        let far = self.far().filter(|far| far.reads() && self.larder.shared.mode.reads())?;
        self.larder.follow_afar().await;
        Some(far)
    }

    /// Notes that the far tier has what is kept here, for kinds that are asked about.
    pub(super) fn note_taken(&self, key: &Key) {
        if self.options.write == Write::Everywhere {
            self.larder.shared.taken.note(key);
        }
    }
}

/// Keys of which the far tier has what is kept here.
#[derive(Debug, Default)]
pub(super) struct Taken(Mutex<HashSet<Key>>);

impl Taken {
    fn has(&self, key: &Key) -> bool {
        self.0.lock().contains(key)
    }

    fn note(&self, key: &Key) {
        let mut noted = self.0.lock();
        if noted.len() >= MAX_NOTED {
            noted.clear();
        }
        noted.insert(key.clone());
    }

    /// Forgets what a selector could mean.
    pub(super) fn forget(&self, selector: &Selector) {
        let mut noted = self.0.lock();
        match selector.as_key() {
            Some(key) => drop(noted.remove(&key)),
            None => noted.clear(),
        }
    }
}
