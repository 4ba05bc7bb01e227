//! Computing anew what is kept.

use std::future::Future;

use super::flight::Seat;
use super::{Answer, AskError, Computed, Kind, Value};
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
        // The caller may itself lead a flight for this key, which found the stale answer in a tier: the task
        // boards once that has landed.
        let (kind, key) = (self.clone(), key.clone());
        if !self.larder.shared.refreshing.lock().insert(key.clone()) {
            return;
        }
        tokio::spawn(async move {
            let refreshing = Refreshing { kind: &kind, key: &key };
            let outcome = kind.refresh(&key, compute).await;
            if let Err(error) = outcome {
                tracing::warn!(%key, error = &error as &dyn std::error::Error, "refresh failed");
            }
            drop(refreshing);
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

/// Takes the key off the list of those being refreshed, also when the refresh panics.
struct Refreshing<'a, T: Value> {
    kind: &'a Kind<T>,
    key: &'a Key,
}

impl<T: Value> Drop for Refreshing<'_, T> {
    fn drop(&mut self) {
        self.kind.larder.shared.refreshing.lock().remove(self.key);
    }
}
