//! What is asked for at the same time shares a thread, and what is stored at the same time a transaction.
//!
//! A look-up takes a few microseconds; handing it to a blocking thread and its answer back takes ten times as long.
//! So those that come while a thread is on its way, or busy, are left to it. Another one is sent for when more than
//! [`BATCH`] of them wait. Storing has one thread, as the index has one writer.
//!
//! Invariants: no more threads are busy than there are to be; whoever waits is answered, with an error if the thread
//! that was to do it does not come to that.

use std::mem;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::open::Disk;
use crate::key::Key;
use crate::tier::{Brief, PutOutcome, Sealed, TierError};

/// How many wait before another thread is sent for.
const BATCH: usize = 32;
/// How many threads look up at once.
const MAX_READERS: usize = 4;

/// Something that is asked of the disk.
pub(super) trait Ask: Sized + Send + 'static {
    /// What comes of it.
    type Answer: Send + 'static;
    /// How many threads are at it at most.
    const THREADS: usize;

    /// Where those wait that nobody is at.
    fn waiting(disk: &Disk) -> &Gathered<Self>;

    /// Does some together; an answer for each, in order.
    fn answer(disk: &Disk, asked: Vec<Self>) -> Vec<Result<Self::Answer, TierError>>;
}

impl Ask for Key {
    type Answer = Option<Vec<u8>>;
    const THREADS: usize = MAX_READERS;

    fn waiting(disk: &Disk) -> &Gathered<Self> {
        disk.gathered_gets()
    }

    fn answer(disk: &Disk, asked: Vec<Self>) -> Vec<Result<Self::Answer, TierError>> {
        asked.iter().map(|key| disk.blocking_get(key)).collect()
    }
}

impl Ask for Vec<Sealed> {
    type Answer = Vec<PutOutcome>;
    const THREADS: usize = 1;

    fn waiting(disk: &Disk) -> &Gathered<Self> {
        disk.gathered_puts()
    }

    fn answer(disk: &Disk, asked: Vec<Self>) -> Vec<Result<Self::Answer, TierError>> {
        let counts: Vec<usize> = asked.iter().map(Vec::len).collect();
        let together: Vec<Sealed> = asked.into_iter().flatten().collect();
        if let Ok(outcomes) = disk.blocking_put(&together) {
            let mut outcomes = outcomes.into_iter();
            return counts.iter().map(|&count| Ok(outcomes.by_ref().take(count).collect())).collect();
        }
        // One that cannot be stored takes no other with it.
        let mut rest = &together[..];
        let mut alone = |&count: &usize| {
            let (these, others) = rest.split_at(count);
            rest = others;
            disk.blocking_put(these)
        };
        counts.iter().map(&mut alone).collect()
    }
}

/// Where an answer goes.
type Sender<A> = oneshot::Sender<Result<<A as Ask>::Answer, TierError>>;

/// What waits to be done.
pub(super) struct Gathered<A: Ask>(Mutex<Waiting<A>>);

struct Waiting<A: Ask> {
    asked: Vec<(A, Sender<A>)>,
    threads: usize,
}

impl<A: Ask> Default for Gathered<A> {
    fn default() -> Self {
        Self(Mutex::new(Waiting { asked: Vec::new(), threads: 0 }))
    }
}

impl Disk {
    /// Like [`Disk::blocking_get`], on one of the runtime's blocking threads, unless look-ups are done in place.
    pub(super) async fn gathered_get(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        if self.options().brief == Brief::InPlace {
            return self.blocking_get(key);
        }
        self.gathered(key.clone()).await
    }

    /// Does what is asked on one of the runtime's blocking threads, together with what others ask for. It is done also
    /// if nobody waits for it any more, unless that is seen in time.
    pub(super) async fn gathered<A: Ask>(&self, ask: A) -> Result<A::Answer, TierError> {
        let (sender, answer) = oneshot::channel();
        let wanted = {
            let mut waiting = A::waiting(self).0.lock();
            waiting.asked.push((ask, sender));
            let wanted = waiting.threads < A::THREADS && waiting.asked.len() > waiting.threads * BATCH;
            waiting.threads += usize::from(wanted);
            wanted
        };
        if wanted {
            let thread = Thread::<A> { disk: self.clone(), ended: false, asks: std::marker::PhantomData };
            // Its answers come by the channels.
            drop(tokio::task::spawn_blocking(move || thread.work()));
        }
        answer.await.unwrap_or_else(|gone| Err(TierError::Index(Box::new(gone))))
    }
}

/// A thread that does what is asked, from when it is sent for.
struct Thread<A: Ask> {
    disk: Disk,
    /// Whether it is no longer counted among the threads.
    ended: bool,
    asks: std::marker::PhantomData<A>,
}

impl<A: Ask> Thread<A> {
    fn work(mut self) {
        while let Some(asked) = self.next() {
            let wanted = asked.into_iter().filter(|(_, sender)| !sender.is_closed());
            let (asked, senders): (Vec<A>, Vec<Sender<A>>) = wanted.unzip();
            // Answered together, so that whoever waits is woken once.
            for (answer, sender) in A::answer(&self.disk, asked).into_iter().zip(senders) {
                // Whoever asked may have gone since.
                let _ = sender.send(answer);
            }
        }
    }

    /// What to do next; `None` ends it.
    fn next(&mut self) -> Option<Vec<(A, Sender<A>)>> {
        let mut waiting = A::waiting(&self.disk).0.lock();
        let count = waiting.asked.len().min(BATCH);
        if count == 0 {
            // With the same look, so that whatever comes from now on sends for another.
            waiting.threads -= 1;
            self.ended = true;
            return None;
        }
        Some(waiting.asked.drain(..count).collect())
    }
}

impl<A: Ask> Drop for Thread<A> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // The runtime went before the thread came, or what was asked panicked: nobody would answer what waits.
        let mut waiting = A::waiting(&self.disk).0.lock();
        waiting.threads -= 1;
        let unanswered = if waiting.threads == 0 { mem::take(&mut waiting.asked) } else { Vec::new() };
        drop(waiting);
        drop(unanswered);
    }
}
