//! Putting something in the place of something else.
//!
//! Invariant: what another server still has in its memory of what was there before, it gives no longer than it takes
//! to hear of it, which it listens for four times a second. Whoever reads there meanwhile gets what was, or nothing.

use std::time::Duration;

use larder::engine::{Afar, Computed, Kept, Kind, NotKept, Value};
use larder::key::{Key, Selector};
use larder::tier::{Brief, Refusal};

use super::{Store, StoreError};

/// How often something is put again that was invalidated meanwhile.
const ATTEMPTS: usize = 5;

impl Store {
    /// Puts an entry. The same as is there already, here and with the team, is left as it is; anything else is removed
    /// first from each tier, of which all servers that share one are told.
    pub(super) async fn replace<T: Value + Clone + PartialEq>(
        &self,
        kind: &Kind<T>,
        key: &Key,
        (value, entry): (T, impl Fn(T) -> Computed<T>),
        cost: Duration,
    ) -> Result<(), StoreError> {
        let mut kept = match kind.put_new(key, entry(value.clone()), cost, Brief::InPlace).await {
            Ok(kept) => kept,
            Err(before) => {
                let afar = match before.value == value {
                    true => kind.afar(key, |there| *there == value).await,
                    false => Afar::Other,
                };
                match afar {
                    Afar::Settled => {
                        self.inner.uses.note(key);
                        return Ok(());
                    }
                    // A tier that can't be told now is told before it is asked again.
                    Afar::Other => self.forget(key).await,
                    // It failed when this came the last time.
                    Afar::Nothing => {}
                }
                kind.put(key, entry(value.clone()), cost).await
            }
        };
        for _ in 1..ATTEMPTS {
            // Somebody removed what was there just then, or that was heard of once more. This comes after it.
            let (Kept::No(why) | Kept::InMemoryOnly(why)) = &kept else { break };
            if !matches!(why, NotKept::Revoked | NotKept::Tier(_, Refusal::Revoked)) {
                break;
            }
            kept = kind.put(key, entry(value.clone()), cost).await;
        }
        if matches!(kept, Kept::InMemoryOnly(_)) {
            self.forget(key).await;
        }
        self.acknowledge(kept).await
    }

    /// Removes what is kept under a key from wherever that can be.
    pub(super) async fn forget(&self, key: &Key) {
        drop(self.inner.opened.larder.invalidate(&Selector::key(key)).await);
    }
}
