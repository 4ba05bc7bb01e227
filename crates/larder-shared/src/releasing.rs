//! Leases that are being given back.
//!
//! Invariant: nobody waits for one whose task is gone, as its runtime ended, and for none longer than a lease lasts that
//! gives no sign of life: by then others have it anyway.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::limits::LASTS;

/// How many leases are being given back.
#[derive(Debug)]
pub(crate) struct Releasing(Arc<watch::Sender<usize>>);

/// One that is being given back, until this is dropped.
#[derive(Debug)]
pub(crate) struct Release(Arc<watch::Sender<usize>>);

impl Releasing {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Begins to give one back.
    pub(crate) fn begin(&self) -> Release {
        self.0.send_modify(|releasing| *releasing += 1);
        Release(Arc::clone(&self.0))
    }

    /// Waits until all that were dropped are given back.
    pub(crate) async fn ended(&self) {
        // The sender lives as long as `self`.
        let ended = async { drop(self.0.subscribe().wait_for(|releasing| *releasing == 0).await) };
        if timeout(LASTS, ended).await.is_err() {
            tracing::debug!("leases end by themselves, as they are not given back");
        }
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        self.0.send_modify(|releasing| *releasing -= 1);
    }
}
