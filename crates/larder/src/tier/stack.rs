//! The tiers below memory, nearest first, each behind a breaker and a time limit.
//!
//! Invariants: a tier that fails costs its caller a bounded time and nothing else; a tier that could not be told
//! of an invalidation answers nothing that the invalidation covers until it has been told.
//!
//! A near tier is tried again by whoever asks after a pause. A far one, which is over a network, has a bounded
//! patience besides (`patience`) and perhaps a bandwidth (`bandwidth`), is tried again by a probe in the background,
//! for which no caller waits, and may be closed to reading or writing.
//! Not here: memory, which holds values and not envelopes.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::bandwidth::Bandwidth;
use super::breaker::{Admission, Breaker, BreakerOptions, Tripped};
use super::own::Own;
use super::patience::Patience;
use super::{
    Answer, BlobSink, BlobSource, Brief, Epoch, Invalidated, Invalidations, Lease, NewEntry, Owed, Owing,
    PutOutcome, Sealed, Tier, TierError,
};
use crate::clock::Clock;
use crate::key::{Key, Selector};
use crate::stats::Place;

/// How many operations for which callers wait may be under way in a far tier.
const MAX_AT_ONCE: usize = 32;
/// How long a caller waits at most for a look into a far tier, however much patience there is.
const LOOK: Duration = Duration::from_secs(2);
/// How long a look into a log may take for which nobody waits. One that hangs, as the network was parted, does not keep
/// the next from coming soon after that is whole again.
const PROMPT: Duration = Duration::from_millis(500);
/// How long a caller waits at most because of what came before and is over the bandwidth.
const HELD_BACK: Duration = Duration::from_secs(1);

/// How a tier is guarded.
#[derive(Debug, Clone, Copy)]
pub struct GuardOptions {
    /// When it is left alone.
    pub breaker: BreakerOptions,
    /// How long an operation may take.
    pub limit: Duration,
    /// What holds for a tier that is far away.
    pub far: Option<FarOptions>,
}

/// How a tier over a network is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FarOptions {
    /// Whether answers are taken from it.
    pub reads: bool,
    /// Whether answers are sent to it.
    pub writes: bool,
    /// How long all callers together wait for it in vain before it is left alone.
    pub patience: Duration,
    /// How long a question waits at most for another machine that computes the answer.
    pub waits: Duration,
    /// How many bytes of answers go there and come from there in a second; `None` for as many as do.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// Who waits for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Whoever asked for an answer.
    Caller,
    /// Nobody: it happens behind everybody's back.
    Nobody,
}

/// Which look for an answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looks {
    /// What it does not find is computed, so that the time is lost.
    First,
    /// Another machine computes it, which is waited for.
    Again,
}

/// A tier behind a breaker and a time limit.
#[derive(Debug)]
pub struct Guarded {
    tier: Arc<dyn Tier>,
    breaker: Breaker,
    limit: Duration,
    clock: Clock,
    owed: Mutex<Vec<Owed>>,
    /// What it was told late, if it is far away, until that is noted.
    told: Mutex<Vec<Selector>>,
    /// The turn to tell what is owed.
    settling: tokio::sync::Mutex<()>,
    own: Mutex<Own>,
    far: Option<Arc<Far>>,
}

/// What is known of a tier that is far away.
#[derive(Debug)]
struct Far {
    options: FarOptions,
    pauses: BreakerOptions,
    patience: Patience,
    /// Whether it failed, and nobody is to ask.
    open: AtomicBool,
    failures: Mutex<u32>,
    probed: AtomicBool,
    /// Whether this process saw it fail.
    seen: AtomicBool,
    permits: Semaphore,
    bandwidth: Option<Bandwidth>,
    /// Why it was left alone the last time.
    trouble: Mutex<Option<Trouble>>,
}

/// Why a tier was left alone.
#[derive(Debug, Clone)]
struct Trouble {
    why: String,
    /// How long ago another process found that, if one did.
    ago: Option<Duration>,
}

impl Guarded {
    /// Puts `tier` behind a breaker and a time limit.
    pub fn new(tier: Arc<dyn Tier>, options: GuardOptions, clock: Clock) -> Self {
        let GuardOptions { breaker, limit, far } = options;
        let far = far.map(|options| {
            Arc::new(Far {
                options,
                pauses: breaker,
                patience: Patience::new(options.patience),
                open: AtomicBool::new(false),
                failures: Mutex::new(0),
                probed: AtomicBool::new(false),
                seen: AtomicBool::new(false),
                permits: Semaphore::new(MAX_AT_ONCE),
                bandwidth: options.bytes_per_second.map(Bandwidth::new),
                trouble: Mutex::new(None),
            })
        });
        let (owed, told, own) = (Mutex::default(), Mutex::default(), Mutex::default());
        let settling = tokio::sync::Mutex::default();
        Self { tier, breaker: Breaker::new(breaker), limit, clock, owed, told, settling, own, far }
    }

    /// What people call it.
    pub fn name(&self) -> &'static str {
        self.tier.name()
    }

    /// Under which place its operations are counted.
    pub fn place(&self) -> Place {
        self.tier.place()
    }

    /// Whether answers are taken from it.
    pub fn reads(&self) -> bool {
        self.far.as_ref().is_none_or(|far| far.options.reads)
    }

    /// Whether answers are put there.
    pub fn writes(&self) -> bool {
        self.far.as_ref().is_none_or(|far| far.options.writes)
    }

    /// How long a question waits at most for another machine.
    pub(crate) fn waits(&self) -> Duration {
        self.far.as_ref().map_or(Duration::ZERO, |far| far.options.waits)
    }

    /// Whether it is far away and is left alone now.
    pub(crate) fn is_left_alone(&self) -> bool {
        self.far.as_ref().is_some_and(|far| far.probed.load(Ordering::Acquire))
    }

    /// Why a far tier was left alone, if it was, in words for people.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.far.as_ref().and_then(|far| far.trouble.lock().clone())?;
        Some(match trouble.ago {
            Some(ago) => format!("{}, {} s ago", trouble.why, ago.as_secs()),
            None => trouble.why,
        })
    }

    /// Whether it is far away and failed, so that nobody is to ask.
    pub(crate) fn is_open(&self) -> bool {
        self.far.as_ref().is_some_and(|far| far.open.load(Ordering::Acquire))
    }

    /// Counts that an answer of a far tier saved so much.
    pub(crate) fn gained(&self, saved: Duration) {
        if let Some(far) = &self.far {
            far.patience.gained(saved);
        }
    }

    /// How long somebody may still wait for a far tier; `None` for as long as it takes.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.far.as_ref().map(|far| far.patience.left())
    }

    /// Leaves a far tier alone from now on.
    pub(crate) fn give_up(&self, why: &str) {
        if let Some(far) = &self.far {
            far.fell_short(&self.tier, why, true);
        }
    }

    /// How long all callers together wait for a far tier in vain.
    pub(crate) fn whole_patience(&self) -> Duration {
        self.far.as_ref().map_or(Duration::ZERO, |far| far.patience.whole())
    }

    /// Leaves a far tier alone that was left alone a moment ago, unless it answers at once.
    pub(crate) async fn recall(&self, why: String, ago: Duration) {
        let Some(far) = &self.far else { return };
        let pinged = tokio::time::timeout(far.patience.quick(), self.tier.ping()).await;
        if !matches!(pinged, Ok(Ok(()))) {
            far.leave_alone(&self.tier, Trouble { why, ago: Some(ago) }, true);
        }
    }

    /// Why a far tier is left alone now, if it is, and whether this process saw it fail.
    pub(crate) fn left_alone(&self) -> Option<(String, bool)> {
        let far = self.far.as_ref().filter(|far| far.probed.load(Ordering::Acquire))?;
        let why = far.trouble.lock().as_ref()?.why.clone();
        Some((why, far.seen.load(Ordering::Acquire)))
    }

    /// Returns the envelope filed under `key`.
    pub async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        self.look(key, Looks::First).await
    }

    /// The same, perhaps again.
    pub(crate) async fn look(&self, key: &Key, looks: Looks) -> Result<Option<Vec<u8>>, TierError> {
        self.settle(Waits::Caller).await;
        if self.owes(key) {
            return Ok(None);
        }
        if let Some(bandwidth) = self.bandwidth()
            && !bandwidth.settled_within(HELD_BACK).await
        {
            return Err(TierError::Open);
        }
        let began = Instant::now();
        let envelope = self.run(self.tier.get(key)).await?;
        if let (Some(envelope), Some(bandwidth)) = (&envelope, self.bandwidth()) {
            bandwidth.charge(envelope.len() as u64);
        }
        if let (None, Some(far), Looks::First) = (&envelope, &self.far, looks) {
            far.patience.missed(began.elapsed());
            far.look_at_patience(&self.tier);
        }
        // An invalidation that failed while the answer was on its way covers it too.
        Ok(if self.owes(key) { None } else { envelope })
    }

    /// Stores entries; what came of each, in order. What would go with an invalidation that the tier still can't be told
    /// is not stored, and fails.
    pub async fn put(&self, entries: Vec<Sealed>) -> Result<Vec<Result<PutOutcome, TierError>>, TierError> {
        self.settle(self.behind()).await;
        let owes: Vec<bool> = entries.iter().map(|entry| self.owes(&entry.key)).collect();
        let beside = entries.into_iter().zip(&owes).filter(|(_, owes)| !**owes);
        let beside: Vec<Sealed> = beside.map(|(entry, _)| entry).collect();
        let mut outcomes = Vec::new();
        if !beside.is_empty() {
            if let Some(bandwidth) = self.bandwidth() {
                bandwidth.take(beside.iter().map(|entry| entry.envelope.len() as u64).sum()).await;
            }
            outcomes = self.run_for(self.behind(), self.tier.put(beside)).await?;
        }
        let mut outcomes = outcomes.into_iter();
        let mut one = |owes| if owes { None } else { outcomes.next() };
        Ok(owes.into_iter().map(|owes| one(owes).ok_or(TierError::Open)).collect())
    }

    /// Stores an entry whose key has none, in a tier that is near; `None` if it has one.
    pub async fn put_new(&self, entry: NewEntry, place: Brief) -> Result<Option<PutOutcome>, TierError> {
        self.settle(Waits::Caller).await;
        self.run(self.tier.put_new(entry, place)).await
    }

    /// Reads a piece of a blob that comes from this tier.
    pub(crate) async fn read_piece(
        &self,
        waits: Waits,
        source: &mut dyn BlobSource,
    ) -> Result<Option<Vec<u8>>, TierError> {
        let piece = self.run_for(waits, source.next()).await?;
        if let (Some(piece), Some(bandwidth)) = (&piece, self.bandwidth()) {
            bandwidth.take(piece.len() as u64).await;
        }
        Ok(piece)
    }

    /// Writes a piece of a blob that goes to this tier.
    pub(crate) async fn write_piece(
        &self,
        waits: Waits,
        sink: &mut dyn BlobSink,
        piece: Vec<u8>,
    ) -> Result<(), TierError> {
        if let Some(bandwidth) = self.bandwidth() {
            bandwidth.take(piece.len() as u64).await;
        }
        self.run_for(waits, sink.write(piece)).await
    }

    /// Whether something waits because the bandwidth is used up, and will go on.
    pub(crate) fn holds_back(&self) -> bool {
        self.bandwidth().is_some_and(Bandwidth::holds_back)
    }

    fn bandwidth(&self) -> Option<&Bandwidth> {
        self.far.as_ref()?.bandwidth.as_ref()
    }

    /// Removes what `selector` selects. If the tier can't be told now it is told before it is asked again.
    pub async fn invalidate(&self, selector: &Selector) -> Result<Invalidated, TierError> {
        if let Some(far) = self.far.as_ref().filter(|far| !far.seen.load(Ordering::Acquire)) {
            // Whoever tells of an invalidation does not take others' word for it that nobody listens.
            far.open.store(false, Ordering::Release);
        }
        self.settle(self.behind()).await;
        let outcome = match self.writes() {
            true => self.run_for(self.behind(), self.tier.invalidate(selector)).await,
            false => Err(TierError::ReadOnly),
        };
        if outcome.is_err() {
            Owing::Owes(selector.clone()).apply(&mut self.owed.lock());
        }
        outcome
    }

    /// Takes note of what other processes could not tell the tier.
    pub(crate) fn owes_also(&self, others: Vec<Owed>) {
        let mut owed = self.owed.lock();
        let others = others.into_iter();
        let new: Vec<Owed> =
            others.filter(|other| owed.iter().all(|own| own.selector != other.selector)).collect();
        new.iter().filter(|owed| owed.done_here).for_each(|owed| self.own.lock().remember(&owed.selector));
        owed.extend(new);
    }

    /// What the tier was told late since this was asked last.
    pub(crate) fn take_told(&self) -> Vec<Selector> {
        std::mem::take(&mut self.told.lock())
    }

    /// Takes note that an invalidation is done here: what it covers is gone from whatever follows this tier's log.
    pub(crate) fn done_here(&self, selector: &Selector) {
        self.own.lock().remember(selector);
        Owing::DoneHere(selector.clone()).apply(&mut self.owed.lock());
    }

    /// The keys of the entries that any of `selectors` selects.
    pub async fn select(&self, selectors: &[Selector]) -> Result<Vec<Key>, TierError> {
        self.settle(Waits::Caller).await;
        self.run(self.tier.select(selectors)).await
    }

    /// Sets a damaged entry aside.
    pub async fn quarantine(&self, key: &Key) -> Result<(), TierError> {
        self.run(self.tier.quarantine(key)).await
    }

    /// The tier's epoch. What is put from then on is newer than what the tier could not be told before, if it can be now.
    pub async fn epoch(&self) -> Result<Epoch, TierError> {
        self.settle(Waits::Caller).await;
        self.run_perhaps_unasked(self.tier.epoch()).await
    }

    /// What was invalidated after `epoch`, but for what this process did here itself.
    pub async fn invalidated_since(&self, waits: Waits, epoch: Epoch) -> Result<Invalidations, TierError> {
        let mut since = self.run_on_log(waits, self.tier.invalidated_since(epoch)).await?;
        self.own.lock().take_out(&mut since);
        Ok(since)
    }

    /// Where the log stands, for whoever begins to follow it now.
    pub(crate) async fn log_begins(&self, waits: Waits) -> Result<Epoch, TierError> {
        self.run_on_log(waits, self.tier.epoch()).await
    }

    /// Takes the right to compute `key`, unless another process holds it.
    pub async fn try_lease(&self, key: &Key) -> Result<Option<Lease>, TierError> {
        self.run_perhaps_unasked(self.tier.try_lease(key)).await
    }

    /// The tier itself, for what no breaker should hide: an operator's check, the end of a process.
    pub fn tier(&self) -> &Arc<dyn Tier> {
        &self.tier
    }

    fn owes(&self, key: &Key) -> bool {
        self.owed.lock().iter().any(|owed| owed.selector.matches_key(key))
    }

    /// Tells the tier what it could not be told before. Returns whether its log has any of that now.
    pub(crate) async fn settle(&self, waits: Waits) -> bool {
        if !self.owes_anything() {
            return false;
        }
        let _turn = if waits == Waits::Caller && self.far.is_some() {
            // Somebody who has more patience is at it. What is owed is answered by nobody meanwhile.
            let Ok(turn) = self.settling.try_lock() else { return false };
            turn
        } else {
            self.settling.lock().await
        };
        let mut has_told = false;
        loop {
            let Some(Owed { selector, .. }) = self.owed.lock().first().cloned() else { return has_told };
            if self.run_for(waits, self.tier.invalidate(&selector)).await.is_err() {
                return has_told;
            }
            has_told = true;
            if self.far.is_some() {
                self.told.lock().push(selector.clone());
            }
            Owing::Told(vec![selector]).apply(&mut self.owed.lock());
        }
    }

    /// Tells the tier what it could not be told before, at the end of a process; also one that was left alone, if it
    /// answers.
    pub(crate) async fn settle_at_last(&self) -> bool {
        if !self.owes_anything() {
            return false;
        }
        if let Some(far) = &self.far {
            let pinged = tokio::time::timeout(far.patience.whole(), self.tier.ping()).await;
            if !matches!(pinged, Ok(Ok(()))) {
                return false;
            }
            far.open.store(false, Ordering::Release);
        }
        self.settle(Waits::Nobody).await
    }

    /// Whether it could not be told something, and may be.
    fn owes_anything(&self) -> bool {
        self.writes() && !self.owed.lock().is_empty()
    }

    /// Nobody waits for what is written to a far tier, and whoever tells of an invalidation wants it told.
    fn behind(&self) -> Waits {
        if self.far.is_some() { Waits::Nobody } else { Waits::Caller }
    }

    /// Runs a look into the tier, for which a caller waits, under the guard.
    async fn run<T>(&self, operation: Answer<'_, T>) -> Result<T, TierError> {
        match &self.far {
            Some(far) => far.run(&self.tier, self.limit.min(LOOK), Waits::Caller, operation).await,
            None => self.run_near(operation).await,
        }
    }

    /// The same of one that a tier may answer without asking anybody, as it knows its epoch or lends to everybody. That
    /// it answers says nothing of its health then.
    async fn run_perhaps_unasked<T>(&self, operation: Answer<'_, T>) -> Result<T, TierError> {
        let failures = self.far.as_ref().map(|far| *far.failures.lock());
        let outcome = self.run(operation).await;
        if let (Ok(_), Some(far), Some(failures)) = (&outcome, &self.far, failures) {
            let mut now = far.failures.lock();
            *now = failures.max(*now);
        }
        outcome
    }

    /// Runs a look into the log under the guard.
    async fn run_on_log<T: Send>(&self, waits: Waits, operation: Answer<'_, T>) -> Result<T, TierError> {
        match waits {
            Waits::Caller => self.run(operation).await,
            Waits::Nobody => {
                let promptly = async {
                    let outcome = tokio::time::timeout(PROMPT, operation).await;
                    outcome.unwrap_or_else(|_| Err(TierError::Io(std::io::ErrorKind::TimedOut.into())))
                };
                self.run_for(waits, Box::pin(promptly)).await
            }
        }
    }

    /// Runs an operation of the tier, or of something that it gave, under the guard.
    pub(crate) async fn run_for<T>(&self, waits: Waits, operation: Answer<'_, T>) -> Result<T, TierError> {
        match &self.far {
            Some(far) => far.run(&self.tier, self.limit, waits, operation).await,
            None => self.run_near(operation).await,
        }
    }

    async fn run_near<T>(&self, operation: Answer<'_, T>) -> Result<T, TierError> {
        if let Admission::Refused(_) = self.breaker.admit(self.clock.now()) {
            return Err(TierError::Open);
        }
        let outcome = match tokio::time::timeout(self.limit, operation).await {
            Ok(outcome) => outcome,
            Err(_) => Err(TierError::Io(std::io::ErrorKind::TimedOut.into())),
        };
        match &outcome {
            Ok(_) => self.breaker.succeeded(),
            Err(error) => {
                let tripped = self.breaker.failed(self.clock.now());
                tracing::warn!(tier = self.name(), error = error as &dyn std::error::Error, "tier failed");
                if let Tripped::For(pause) = tripped {
                    tracing::warn!(tier = self.name(), ?pause, "tier is left alone");
                }
            }
        }
        outcome
    }
}

impl Far {
    async fn run<T>(
        self: &Arc<Self>,
        tier: &Arc<dyn Tier>,
        limit: Duration,
        waits: Waits,
        operation: Answer<'_, T>,
    ) -> Result<T, TierError> {
        if self.open.load(Ordering::Acquire) {
            return Err(TierError::Open);
        }
        let is_waited_for = waits == Waits::Caller;
        let began = Instant::now();
        let limit = if is_waited_for { limit.min(self.patience.left()) } else { limit };
        if limit.is_zero() {
            return Err(TierError::Open);
        }
        let permitted = async {
            // The semaphore is never closed.
            let permit = if is_waited_for { self.permits.acquire().await.ok() } else { None };
            let outcome = operation.await;
            drop(permit);
            outcome
        };
        let (outcome, hung) = tokio::select! {
            biased;
            outcome = tokio::time::timeout(limit, permitted) => match outcome {
                Ok(outcome) => (outcome, false),
                Err(_) => (Err(TierError::Io(std::io::ErrorKind::TimedOut.into())), true),
            },
            // Others have lost what there was to lose, while this one waited.
            () = self.patience.gone(), if is_waited_for => return Err(TierError::Open),
        };
        let Err(error) = &outcome else {
            *self.failures.lock() = 0;
            return outcome;
        };
        // Failing once is what a network does; whoever runs something hears of it when it is left alone.
        tracing::debug!(tier = tier.name(), error = error as &dyn std::error::Error, "tier failed");
        if is_waited_for {
            self.patience.lost(began.elapsed());
        }
        let failures = {
            let mut failures = self.failures.lock();
            *failures += 1;
            *failures
        };
        // What hangs once costs the next as much, and who is refused once is refused again.
        let is_certain = hung || matches!(error, TierError::Refused(_));
        if is_certain || failures >= self.pauses.failures || self.patience.left().is_zero() {
            self.fell_short(tier, &words(error), true);
        }
        outcome
    }

    /// Tells, once, when callers have lost all that they may by misses that took long. What nobody waits for goes on.
    fn look_at_patience(self: &Arc<Self>, tier: &Arc<dyn Tier>) {
        if self.patience.left().is_zero() {
            self.fell_short(tier, "it answers too slowly", false);
        }
    }

    /// Leaves it alone, as callers of this process saw it fail.
    fn fell_short(self: &Arc<Self>, tier: &Arc<dyn Tier>, why: &str, open: bool) {
        self.seen.store(true, Ordering::Release);
        self.leave_alone(tier, Trouble { why: why.to_owned(), ago: None }, open);
    }

    fn leave_alone(self: &Arc<Self>, tier: &Arc<dyn Tier>, trouble: Trouble, open: bool) {
        if open {
            self.open.store(true, Ordering::Release);
        }
        if self.probed.swap(true, Ordering::AcqRel) {
            return;
        }
        // Whose patience ends says at its own end what it did without; a server has no end to say it at.
        if self.patience.whole() == Duration::MAX {
            tracing::warn!(tier = tier.name(), why = trouble.why, "tier is left alone");
        } else {
            tracing::info!(tier = tier.name(), why = trouble.why, "tier is left alone");
        }
        *self.trouble.lock() = Some(trouble);
        let (probing, tier, pauses) = (Probing(Arc::downgrade(self)), Arc::clone(tier), self.pauses);
        // Half-open: one probe at a time. Nobody waits for it, and what others invalidate is to be heard of soon after
        // the tier is back, so that the pauses stay short.
        let pause = pauses.pause / 2;
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let began = Instant::now();
                let pinged = tokio::time::timeout(pause, tier.ping()).await;
                let Some(far) = probing.0.upgrade() else { return };
                if !matches!(pinged, Ok(Ok(()))) {
                    far.seen.store(true, Ordering::Release);
                } else {
                    *far.failures.lock() = 0;
                    far.open.store(false, Ordering::Release);
                    if began.elapsed() <= far.patience.quick() {
                        far.patience.restore();
                        tracing::info!(tier = tier.name(), "tier is back");
                        return;
                    }
                }
            }
        });
    }
}

/// That a far tier is probed. When that ends it is left alone no more: it is back, or the task that probed it was dropped, as
/// its runtime ended, and who finds it failing has it probed again.
struct Probing(Weak<Far>);

impl Drop for Probing {
    fn drop(&mut self) {
        if let Some(far) = self.0.upgrade() {
            far.open.store(false, Ordering::Release);
            far.probed.store(false, Ordering::Release);
        }
    }
}

/// An error with its causes in one line.
pub(crate) fn words(error: &TierError) -> String {
    let first: &dyn std::error::Error = error;
    // What a tier's error says of itself is that the tier failed; the cause says why.
    let mut causes = std::iter::successors(first.source(), |error| error.source()).peekable();
    match causes.peek() {
        None => error.to_string(),
        Some(_) => {
            let mut words: Vec<String> = causes.map(ToString::to_string).collect();
            // Some errors say what their cause says.
            words.dedup();
            words.join(": ")
        }
    }
}
