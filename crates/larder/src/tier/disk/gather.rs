//! What is asked for at the same time shares a thread, and what is stored at the same time a transaction.
//!
//! A look-up takes a few microseconds; handing it to a blocking thread and its answer back takes ten times as long.
//! So those that come while a thread is on its way, or busy, are left to it. Another one is sent for when more than
//! [`BATCH`] of them wait. Storing has one thread, as the index has one writer; what is stored alone may do without, and
//! is then the one.
//!
//! Invariants: no more threads are busy than there are to be; whoever waits is answered, with an error if the thread
//! that was to do it does not come to that.

use std::mem;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::open::Disk;
use super::put::Put;
use crate::key::Key;
use crate::tier::{Brief, NewEntry, PutOutcome, Sealed, TierError};

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

    /// Takes note that so many were answered.
    fn answered(disk: &Disk, count: usize) {
        let _ = (disk, count);
    }
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

/// What somebody wants stored.
pub(super) enum Stores {
    These(Vec<Sealed>),
    New(NewEntry),
}

impl Stores {
    fn puts(&self) -> impl Iterator<Item = Put<'_>> {
        let (these, new) = match self {
            Self::These(entries) => (&entries[..], None),
            Self::New(entry) => (&[][..], Some(entry)),
        };
        these.iter().map(Put::from).chain(new.map(Put::from))
    }
}

impl Ask for Stores {
    type Answer = Vec<Option<PutOutcome>>;
    const THREADS: usize = 1;

    fn waiting(disk: &Disk) -> &Gathered<Self> {
        disk.gathered_puts()
    }

    fn answer(disk: &Disk, asked: Vec<Self>) -> Vec<Result<Self::Answer, TierError>> {
        let counts: Vec<usize> = asked.iter().map(|one| one.puts().count()).collect();
        let together: Vec<Put<'_>> = asked.iter().flat_map(Self::puts).collect();
        if let Ok(outcomes) = disk.store_all(&together) {
            let mut outcomes = outcomes.into_iter();
            return counts.iter().map(|&count| Ok(outcomes.by_ref().take(count).collect())).collect();
        }
        // One that cannot be stored takes no other with it.
        let mut rest = &together[..];
        let mut alone = |&count: &usize| {
            let (these, others) = rest.split_at(count);
            rest = others;
            disk.store_all(these)
        };
        counts.iter().map(&mut alone).collect()
    }

    fn answered(disk: &Disk, count: usize) {
        disk.note_stored(count);
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

    /// Stores in the task that asks, if nobody stores now and either the runtime has other threads for other tasks, or the
    /// options say that there are no other tasks: nothing of what its own thread has to do goes on meanwhile, unless they
    /// take it over. What comes then is left to a blocking thread.
    pub(super) async fn stored_in_place(&self, ask: Stores) -> Result<<Stores as Ask>::Answer, TierError> {
        let holds_up_nobody = self.options().brief == Brief::InPlace
            || tokio::runtime::Handle::try_current().is_ok_and(|runtime| runtime.metrics().num_workers() > 1);
        let alone = holds_up_nobody && !self.writer().is_locked();
        let thread = if alone { Thread::<Stores>::alone(self) } else { None };
        let Some(thread) = thread else { return self.gathered(ask).await };
        let answer = Stores::answer(self, vec![ask]).pop();
        Stores::answered(self, 1);
        thread.go_on();
        answer.unwrap_or_else(|| Ok(Vec::new()))
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
    /// The thread that calls, if there is no other and nothing waits.
    fn alone(disk: &Disk) -> Option<Self> {
        let mut waiting = A::waiting(disk).0.lock();
        let is_alone = waiting.threads == 0 && waiting.asked.is_empty();
        is_alone.then(|| {
            waiting.threads = 1;
            Self { disk: disk.clone(), ended: false, asks: std::marker::PhantomData }
        })
    }

    /// Ends it, or leaves to a blocking thread what came meanwhile.
    fn go_on(mut self) {
        let mut waiting = A::waiting(&self.disk).0.lock();
        self.ended = waiting.asked.is_empty();
        waiting.threads -= usize::from(self.ended);
        drop(waiting);
        if !self.ended {
            drop(tokio::task::spawn_blocking(move || self.work()));
        }
    }

    fn work(mut self) {
        while let Some(asked) = self.next() {
            let wanted = asked.into_iter().filter(|(_, sender)| !sender.is_closed());
            let (asked, senders): (Vec<A>, Vec<Sender<A>>) = wanted.unzip();
            let count = asked.len();
            // Answered together, so that whoever waits is woken once.
            for (answer, sender) in A::answer(&self.disk, asked).into_iter().zip(senders) {
                // Whoever asked may have gone since.
                let _ = sender.send(answer);
            }
            A::answered(&self.disk, count);
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
