//! Where brief waits for the file system are done.

use tokio::task::{JoinError, spawn_blocking};

/// Where an engine does what waits for the file system for microseconds: looking into the disk tier's index, storing one
/// entry there, asking for a file's stat data, reading a small file.
///
/// Handing such a look to another thread and its answer back takes longer than the look itself. But where it has to
/// wait after all, for a slow disk or for another process, everything else on its thread waits too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Brief {
    /// On the runtime's blocking threads: for a process that serves others meanwhile.
    #[default]
    Aside,
    /// In the task that asks: for a process that has nothing else to do.
    InPlace,
}

impl Brief {
    /// Runs `look`. Fails if it panics aside, or if the runtime goes meanwhile.
    pub(crate) async fn run<T, F>(self, look: F) -> Result<T, JoinError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        match self {
            Self::Aside => spawn_blocking(look).await,
            Self::InPlace => Ok(look()),
        }
    }
}
