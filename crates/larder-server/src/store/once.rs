//! Keys that are written once.
//!
//! Invariant: of several who put different things under one key at once, one is told that theirs is kept: also with other
//! servers over a shared tier that can lease, as long as that can be asked, and whoever is first takes no longer than
//! [`PATIENCE`].

use std::sync::Arc;
use std::time::Duration;

use larder::engine::{Kind, Value};
use larder::key::Key;
use larder::tier::Lease;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// How long another server is waited for, which may be sending something large.
const PATIENCE: Duration = Duration::from_secs(5);

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
    _afar: Lease,
    _here: MutexGuard<'a, ()>,
}

impl Once {
    pub(super) async fn turn<T: Value>(&self, kind: &Kind<T>, key: &Key) -> Turn<'_> {
        let until = Instant::now() + PATIENCE;
        let at = usize::from(key.digest().as_bytes()[0]) % self.0.len();
        let here = self.0[at].lock().await;
        Turn { _afar: kind.turn_to_put(key, until).await, _here: here }
    }
}
