//! Keys that are written once.
//!
//! Invariant: of several who put different things under one key at once, in this process, one is told that theirs is
//! kept. Other servers over the same shared tier have turns of their own.

use std::sync::Arc;
use std::time::Duration;

use larder::key::Key;
use tokio::sync::{Mutex, MutexGuard};

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

impl Once {
    pub(super) async fn turn(&self, key: &Key) -> MutexGuard<'_, ()> {
        let at = usize::from(key.digest().as_bytes()[0]) % self.0.len();
        self.0[at].lock().await
    }
}
