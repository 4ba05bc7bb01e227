//! Computing anew what is kept.

use std::future::Future;

use super::flight::Seat;
use super::{Answer, AskError, Computed, Kind, Larder, Value};
use crate::key::{Key, Selector};

impl<T: Value> Kind<T> {
    /// Computes the answer anew and keeps it in place of the old one, whatever is kept. A computation that is
    /// under way began before this call and does not count: its callers get what it returns, and it is not kept.
    pub async fn refresh<E, F, C>(&self, key: &Key, compute: C) -> Result<Answer<T>, AskError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<Computed<T>, E>> + Send + 'static,
        C: FnOnce() -> F + Send + 'static,
    {
        let flights = &self.larder.shared.flights;
        loop {
            flights.revoke(&Selector::key(key));
            if let Seat::Lead(lead) = flights.board(key) {
                return self.anew(key, lead, compute).await;
            }
        }
    }

    /// Computes the answer anew in a task of its own, unless somebody does so already. Failing is counted and
    /// leaves the stale answer to the next caller.
    pub(super) fn refresh_behind<E, F, C>(&self, key: &Key, compute: C)
    where
        E: std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<Computed<T>, E>> + Send + 'static,
        C: FnOnce() -> F + Send + 'static,
    {
        let Some(refreshing) = Refreshing::begin(&self.larder, key) else { return };
        let kind = self.clone();
        tokio::spawn(async move {
            let key = &refreshing.key;
            if let Err(error) = kind.refresh(key, compute).await {
                tracing::warn!(%key, error = &error as &dyn std::error::Error, "refresh failed");
            }
        });
    }

    async fn anew<E, F, C>(
        &self,
        key: &Key,
        lead: super::flight::Lead,
        compute: C,
    ) -> Result<Answer<T>, AskError<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<Computed<T>, E>> + Send + 'static,
        C: FnOnce() -> F + Send + 'static,
    {
        let flight = std::sync::Arc::clone(lead.flight());
        let wait = self.larder.shared.waits.enter(&flight).map_err(AskError::Cycle)?;
        let outcome = self.execute(key, &lead, None, compute).await;
        drop(wait);
        lead.land(std::sync::Arc::new(outcome.clone()));
        outcome
    }
}

/// That a key is being refreshed. Ends with this, also when the refresh panics or its task is dropped.
pub(super) struct Refreshing {
    larder: Larder,
    key: Key,
}

impl Refreshing {
    /// Begins to refresh a key; `None` if somebody is at it.
    pub(super) fn begin(larder: &Larder, key: &Key) -> Option<Self> {
        let begins = larder.shared.refreshing.lock().insert(key.clone());
        begins.then(|| Self { larder: larder.clone(), key: key.clone() })
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.larder.shared.refreshing.lock().remove(&self.key);
    }
}
