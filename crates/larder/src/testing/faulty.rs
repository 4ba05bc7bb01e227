//! A tier that fails on demand, around one that works.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::key::{Digest, Key, Selector};
use crate::stats::Place;
use crate::tier::{
    Answer, BlobForm, BlobSink, BlobSource, Epoch, Invalidated, Invalidations, Lease, LeftAlone, Owed, Owing,
    PutOutcome, Sealed, Tier, TierError,
};

/// How a tier misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    None,
    /// Each operation fails.
    Fails,
    /// Each operation fails but a lease, which everybody gets.
    Lends,
    /// Each operation is refused.
    Refuses,
    /// No operation ends.
    Hangs,
    /// What is read has one bit changed, in the middle.
    Flips,
    /// What is to be removed is removed when it is let go, one after the other.
    Holds,
    /// What is to be removed is not, which fails; all else works.
    Keeps,
    /// What is to be removed is, and the answer is lost, so that it fails; all else works.
    Mumbles,
}

/// A tier that works like `inner` until it is told to misbehave, and counts what it is asked.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Tier>,
    place: Place,
    fault: Mutex<Fault>,
    /// How long an answer takes, and how many a put does.
    steps: Mutex<(Duration, u32)>,
    answered: AtomicU64,
    asked: AtomicU64,
    /// How many operations are still to fail, whatever the fault is.
    failing: AtomicU64,
    held: AtomicU64,
    goes: Semaphore,
}

impl Faulty {
    /// A tier that works like `inner`.
    pub fn new(inner: Arc<dyn Tier>) -> Arc<Self> {
        Self::at(inner.place(), inner)
    }

    /// The same, counted as if it were at another place.
    pub fn at(place: Place, inner: Arc<dyn Tier>) -> Arc<Self> {
        let [asked, failing, held, answered] = [(); 4].map(|()| AtomicU64::new(0));
        let (fault, steps, goes) = (Mutex::new(Fault::None), Mutex::default(), Semaphore::new(0));
        Arc::new(Self { inner, place, fault, steps, answered, asked, failing, held, goes })
    }

    /// Misbehaves so from now on.
    pub fn misbehave(&self, fault: Fault) {
        *self.fault.lock() = fault;
    }

    /// Takes so long for each answer from now on, of which a put needs so many, one after the other.
    pub fn dawdle(&self, each: Duration, of_a_put: u32) {
        *self.steps.lock() = (each, of_a_put);
    }

    async fn answer(&self) {
        let (each, _) = *self.steps.lock();
        if !each.is_zero() {
            tokio::time::sleep(each).await;
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Fails as many operations as this from now on, and then misbehaves as it was told.
    pub fn fail_next(&self, many: u64) {
        self.failing.store(many, Ordering::Relaxed);
    }

    /// How many operations it was asked for since this was called last.
    pub fn take_asked(&self) -> u64 {
        self.asked.swap(0, Ordering::Relaxed)
    }

    /// How many operations were held so far.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Lets one operation go that is held, the first.
    pub fn let_go(&self) {
        self.goes.add_permits(1);
    }

    async fn hold(&self) {
        if *self.fault.lock() == Fault::Holds {
            self.held.fetch_add(1, Ordering::Relaxed);
            let gone = self.goes.acquire().await;
            gone.expect("the semaphore is never closed").forget();
        }
    }

    async fn run<T>(&self, operation: Answer<'_, T>) -> Result<T, TierError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let fewer = |failing: u64| failing.checked_sub(1);
        if self.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
            return Err(failure());
        }
        let fault = *self.fault.lock();
        if fault != Fault::Hangs {
            self.answer().await;
        }
        match fault {
            Fault::None | Fault::Flips | Fault::Holds | Fault::Keeps | Fault::Mumbles => operation.await,
            Fault::Fails | Fault::Lends => Err(failure()),
            Fault::Refuses => Err(TierError::Refused("nobody is at home".into())),
            Fault::Hangs => std::future::pending().await,
        }
    }
}

fn failure() -> TierError {
    TierError::Io(std::io::ErrorKind::StorageFull.into())
}

impl Tier for Faulty {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn place(&self) -> Place {
        self.place
    }

    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Vec<u8>>> {
        Box::pin(async {
            let mut envelope = self.run(self.inner.get(key)).await?;
            if *self.fault.lock() == Fault::Flips
                && let Some(bytes) = &mut envelope
            {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Ok(envelope)
        })
    }

    fn put(&self, entries: Vec<Sealed>) -> Answer<'_, Vec<PutOutcome>> {
        Box::pin(async {
            let (_, answers) = *self.steps.lock();
            for _ in 1..answers {
                self.answer().await;
            }
            self.run(self.inner.put(entries)).await
        })
    }

    fn invalidate<'a>(&'a self, selector: &'a Selector) -> Answer<'a, Invalidated> {
        Box::pin(async {
            self.hold().await;
            if *self.fault.lock() == Fault::Keeps {
                return Err(failure());
            }
            let removed = self.run(self.inner.invalidate(selector)).await;
            if *self.fault.lock() == Fault::Mumbles { Err(failure()) } else { removed }
        })
    }

    fn select<'a>(&'a self, selectors: &'a [Selector]) -> Answer<'a, Vec<Key>> {
        Box::pin(self.run(self.inner.select(selectors)))
    }

    fn quarantine<'a>(&'a self, key: &'a Key) -> Answer<'a, ()> {
        Box::pin(self.run(self.inner.quarantine(key)))
    }

    fn epoch(&self) -> Answer<'_, Epoch> {
        Box::pin(self.run(self.inner.epoch()))
    }

    fn invalidated_since(&self, epoch: Epoch) -> Answer<'_, Invalidations> {
        Box::pin(self.run(self.inner.invalidated_since(epoch)))
    }

    fn try_lease<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Lease>> {
        if *self.fault.lock() == Fault::Lends {
            return Box::pin(async { Ok(Some(Lease::default())) });
        }
        Box::pin(self.run(self.inner.try_lease(key)))
    }

    fn missing_blobs<'a>(&'a self, blobs: &'a [Digest]) -> Answer<'a, Vec<Digest>> {
        Box::pin(self.run(self.inner.missing_blobs(blobs)))
    }

    fn open_blob(&self, digest: Digest) -> Answer<'_, Option<Box<dyn BlobSource>>> {
        Box::pin(self.run(self.inner.open_blob(digest)))
    }

    fn make_blob(&self, digest: Digest, form: BlobForm) -> Answer<'_, Option<Box<dyn BlobSink>>> {
        Box::pin(self.run(self.inner.make_blob(digest, form)))
    }

    fn quarantine_blob(&self, digest: Digest) -> Answer<'_, ()> {
        Box::pin(self.run(self.inner.quarantine_blob(digest)))
    }

    fn log(&self) -> String {
        self.inner.log()
    }

    fn followed<'a>(&'a self, log: &'a str) -> Answer<'a, Option<Epoch>> {
        Box::pin(self.run(self.inner.followed(log)))
    }

    fn note_followed<'a>(&'a self, log: &'a str, epoch: Epoch) -> Answer<'a, ()> {
        Box::pin(self.run(self.inner.note_followed(log, epoch)))
    }

    fn left_alone<'a>(&'a self, log: &'a str) -> Answer<'a, Option<LeftAlone>> {
        Box::pin(self.run(self.inner.left_alone(log)))
    }

    fn note_left_alone<'a>(&'a self, log: &'a str, note: Option<LeftAlone>) -> Answer<'a, ()> {
        Box::pin(self.run(self.inner.note_left_alone(log, note)))
    }

    fn owed<'a>(&'a self, log: &'a str) -> Answer<'a, Vec<Owed>> {
        Box::pin(self.run(self.inner.owed(log)))
    }

    fn note_owing<'a>(&'a self, log: &'a str, change: Owing) -> Answer<'a, ()> {
        Box::pin(self.run(self.inner.note_owing(log, change)))
    }

    fn answers(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(self.run(self.inner.ping()))
    }

    fn flush(&self) -> Answer<'_, ()> {
        Box::pin(self.run(self.inner.flush()))
    }
}
