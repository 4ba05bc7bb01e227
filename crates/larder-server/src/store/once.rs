//! Keys that are written once.
//!
//! Invariant: of several who put different things under one key at once, one is told that theirs is kept: also with other
//! servers over a shared tier that can lease, as long as that can be asked.

use std::sync::Arc;
use std::time::Duration;

use larder::engine::{Kind, Value};
use larder::key::Key;
use larder::tier::Lease;
use tokio::sync::{Mutex, MutexGuard};

use super::StoreError;

/// How long another server is waited for. One that died has the turn for ten seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is said of something that is put.
#[derive(Debug, Clone, Copy)]
pub struct Made<'a> {
    /// Who puts it.
    pub by: &'a Arc<str>,
    /// What making it took, as far as its client said.
    pub cost: Duration,
    /// Whether it is refused if something else is there.
    pub once: bool,
}

/// Turns to look whether something is there, and to put it. Keys that share one wait for each other.
#[derive(Debug, Default)]
pub(super) struct Once([Mutex<()>; 32]);

/// A turn that somebody has, in this process and with the team.
pub(super) struct Turn<'a> {
    _here: MutexGuard<'a, ()>,
    _afar: Lease,
}

impl Once {
    pub(super) async fn turn<T: Value>(&self, kind: &Kind<T>, key: &Key) -> Result<Turn<'_>, StoreError> {
        let at = usize::from(key.digest().as_bytes()[0]) % self.0.len();
        let here = self.0[at].lock().await;
        let afar = kind.turn_to_put(key, PATIENCE).await.ok_or(StoreError::Busy)?;
        Ok(Turn { _here: here, _afar: afar })
    }
}
