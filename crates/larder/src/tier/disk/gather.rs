//! Look-ups that are asked for at the same time share a thread.
//!
//! A look-up takes a few microseconds; handing it to a blocking thread and its answer back takes ten times as long.
//! So those that come while a thread is on its way, or busy, are left to it. Another one is sent for when more than
//! [`BATCH`] of them wait.
//!
//! Invariants: at most [`MAX_READERS`] threads are busy; whoever waits is answered, with an error if the thread that
//! was to do it does not come to that.

use std::mem;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::open::Disk;
use crate::key::Key;
use crate::tier::{Brief, TierError};

/// How many look-ups wait before another thread is sent for.
const BATCH: usize = 32;
/// How many threads look up at once.
const MAX_READERS: usize = 4;

type Found = Result<Option<Vec<u8>>, TierError>;

/// Look-ups that wait.
#[derive(Debug, Default)]
pub(super) struct Gathered(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    asked: Vec<(Key, oneshot::Sender<Found>)>,
    readers: usize,
}

impl Disk {
    /// Like [`Disk::blocking_get`], on one of the runtime's blocking threads, unless look-ups are done in place.
    pub(super) async fn gathered_get(&self, key: &Key) -> Found {
        if self.options().brief == Brief::InPlace {
            return self.blocking_get(key);
        }
        let (sender, answer) = oneshot::channel();
        let wanted = {
            let mut waiting = self.gathered().0.lock();
            waiting.asked.push((key.clone(), sender));
            let wanted = waiting.readers < MAX_READERS && waiting.asked.len() > waiting.readers * BATCH;
            waiting.readers += usize::from(wanted);
            wanted
        };
        if wanted {
            let reader = Reader { disk: self.clone(), ended: false };
            // Its answers come by the channels.
            drop(tokio::task::spawn_blocking(move || reader.read()));
        }
        answer.await.unwrap_or_else(|gone| Err(TierError::Index(Box::new(gone))))
    }
}

/// A thread that looks up, from when it is sent for.
struct Reader {
    disk: Disk,
    /// Whether it is no longer counted among the readers.
    ended: bool,
}

impl Reader {
    fn read(mut self) {
        while let Some(asked) = self.next() {
            // Answered together, so that whoever waits is woken once.
            let answer = |(key, sender): (Key, oneshot::Sender<Found>)| {
                (!sender.is_closed()).then(|| (self.disk.blocking_get(&key), sender))
            };
            let answers: Vec<_> = asked.into_iter().filter_map(answer).collect();
            for (found, sender) in answers {
                // Whoever asked may have gone since.
                let _ = sender.send(found);
            }
        }
    }

    /// What to look up next; `None` ends it.
    fn next(&mut self) -> Option<Vec<(Key, oneshot::Sender<Found>)>> {
        let mut waiting = self.disk.gathered().0.lock();
        let count = waiting.asked.len().min(BATCH);
        if count == 0 {
            // With the same look, so that whatever comes from now on sends for another.
            waiting.readers -= 1;
            self.ended = true;
            return None;
        }
        Some(waiting.asked.drain(..count).collect())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // The runtime went before the thread came, or a look-up panicked: nobody would answer what waits.
        let mut waiting = self.disk.gathered().0.lock();
        waiting.readers -= 1;
        let unanswered = if waiting.readers == 0 { mem::take(&mut waiting.asked) } else { Vec::new() };
        drop(waiting);
        drop(unanswered);
    }
}
