//! Where entries live.
//!
//! [`Memory`](memory) holds decoded values and is asked without waiting. Every other place is a [`Tier`]: it
//! holds envelopes, may be slow and may fail, and a failure of it is a miss to whoever asks the engine.
//! Not here: which entry leaves first (`policy`), what to do after a miss (`engine`).

mod bandwidth;
pub mod blob;
pub mod breaker;
mod brief;
pub mod disk;
pub mod memory;
mod owed;
mod own;
mod patience;
pub mod stack;

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use self::blob::{BlobForm, BlobSink, BlobSource};
pub use self::brief::Brief;
pub use self::owed::{Owed, Owing};
use crate::clock::Timestamp;
use crate::entry::Record;
use crate::key::{Digest, Key, Selector};
use crate::stats::Place;

/// A position in a tier's invalidation log: how many invalidations it has seen since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// An entry on its way into a tier.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// What it is filed under.
    pub key: Key,
    /// What is known about it; the same as inside the envelope.
    pub record: Record,
    /// The envelope that [`seal`](crate::entry::seal) made for this key and record.
    pub envelope: Vec<u8>,
    /// The tier's epoch when the computation of the value began. An invalidation since then that covers the key
    /// revokes the right to store it.
    pub began: Epoch,
}

/// An entry that nobody computed here, and that is stored only where nothing else is.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// What it is filed under.
    pub key: Key,
    /// What is known about it; the same as inside the envelope.
    pub record: Record,
    /// The envelope that [`seal`](crate::entry::seal) made for this key and record.
    pub envelope: Vec<u8>,
}

/// What became of an entry that a tier was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is kept.
    Kept,
    /// It is kept, in the place of an older one. A tier that does not learn of that says `Kept`.
    Replaced {
        /// Length of the older one's envelope.
        bytes: u64,
    },
    /// It is not kept.
    Refused(Refusal),
}

impl PutOutcome {
    /// Whether the entry is kept.
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Kept | Self::Replaced { .. })
    }
}

/// Why a tier does not keep an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// An invalidation that covers the key came after the computation began.
    Revoked,
    /// A blob that the entry names is not there.
    MissingBlob(Digest),
    /// The entry is larger than the tier may ever hold.
    TooLarge,
    /// The tier may not be written to.
    ReadOnly,
    /// The tier has no room left, and makes none.
    NoRoom,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked => f.write_str("it was invalidated while it was computed"),
            Self::MissingBlob(digest) => write!(f, "blob {digest:.12} that it names is not there"),
            Self::TooLarge => f.write_str("it is larger than the tier's budget"),
            Self::ReadOnly => f.write_str("the tier may not be written to"),
            Self::NoRoom => f.write_str("the tier has no room left"),
        }
    }
}

/// What an invalidation removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invalidated {
    /// The tier's epoch after it.
    pub epoch: Epoch,
    /// The keys of the entries that were there.
    pub keys: Vec<Key>,
    /// How many bytes they took.
    pub bytes: u64,
}

/// One invalidation, as a tier's log has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Invalidation {
    /// The tier's epoch after it; no other has the same.
    pub epoch: Epoch,
    /// What was invalidated.
    pub selector: Selector,
}

/// What was invalidated since an epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Invalidations {
    /// The tier's epoch now.
    pub epoch: Epoch,
    /// What was invalidated, oldest first; `None` where the log no longer reaches back that far, so that
    /// anything may have been.
    pub all: Option<Vec<Invalidation>>,
}

impl Invalidations {
    /// What was invalidated, without when.
    pub fn selectors(&self) -> Option<Vec<Selector>> {
        Some(self.all.as_ref()?.iter().map(|one| one.selector.clone()).collect())
    }

    /// Whether an entry was invalidated, or may have been.
    pub fn covers(&self, key: &Key, tags: &[std::sync::Arc<str>]) -> bool {
        self.all.as_ref().is_none_or(|all| all.iter().any(|one| one.selector.matches(key, tags, None)))
    }
}

/// That a tier which is far away was left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftAlone {
    /// When.
    pub at: Timestamp,
    /// How long was waited for it in vain before.
    pub patience: Duration,
    /// Why, in words for people.
    pub why: String,
}

/// The right to compute a key among all processes that share a tier. Dropping it gives it back, and so does the
/// end of the process, however it ends.
#[derive(Default)]
pub struct Lease(Option<Box<dyn Any + Send + Sync>>);

impl Lease {
    /// A lease that lasts as long as `held` is not dropped.
    pub fn holding(held: impl Any + Send + Sync) -> Self {
        Self(Some(Box::new(held)))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Lease(held)" } else { "Lease(of nothing)" })
    }
}

/// A tier failed. Which operation it was is known to whoever asked; this says why.
#[derive(Debug, thiserror::Error)]
pub enum TierError {
    /// The medium failed: disk full, permission, network.
    #[error("tier is not usable")]
    Io(#[source] std::io::Error),
    /// The tier's own bookkeeping failed or is damaged.
    #[error("tier's index failed")]
    Index(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The tier stands in a format that this version does not read.
    #[error("tier has format {found}, this version reads {supported}")]
    Format {
        /// The format found.
        found: u32,
        /// The format that this version reads and writes.
        supported: u32,
    },
    /// It is closed to writing.
    #[error("tier may not be written to")]
    ReadOnly,
    /// It was left alone because it failed a moment ago.
    #[error("tier is left alone after failures")]
    Open,
    /// Nobody listens where it should be, or whoever asks is not let in: to ask once more would tell nothing else.
    #[error("tier is not to be had")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A tier's answer, to be awaited.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, TierError>> + Send + 'a>>;

/// A place that holds envelopes. Each implementation passes the conformance suite in `testing`.
///
/// All operations may be cancelled by dropping the future; an operation that changes something then happens
/// wholly or not at all.
pub trait Tier: fmt::Debug + Send + Sync + 'static {
    /// What people call it: "disk", "redis".
    fn name(&self) -> &'static str;

    /// Under which place its operations are counted.
    fn place(&self) -> Place;

    /// Returns the envelope filed under `key`, as it is stored: whoever asks opens it and so checks it.
    fn get<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Vec<u8>>>;

    /// Stores entries, each wholly or not at all; an outcome for each, in order.
    fn put(&self, entries: Vec<Sealed>) -> Answer<'_, Vec<PutOutcome>>;

    /// Stores an entry whose key has none, or says `None`. No invalidation from before it is stored revokes it. A tier
    /// that does not do that in one step may replace what comes in between. It may be done in the task that asks, where
    /// that is so said; whoever stores several at once does not say so, as they would not go together.
    fn put_new(&self, entry: NewEntry, place: Brief) -> Answer<'_, Option<PutOutcome>> {
        let _ = place;
        Box::pin(async move {
            let NewEntry { key, record, envelope } = entry;
            let began = self.epoch().await?;
            if self.get(&key).await?.is_some() {
                return Ok(None);
            }
            Ok(self.put(vec![Sealed { key, record, envelope, began }]).await?.pop())
        })
    }

    /// Removes what `selector` selects, and makes it known to whoever shares the tier. Nothing that was computed
    /// from before is stored afterwards.
    fn invalidate<'a>(&'a self, selector: &'a Selector) -> Answer<'a, Invalidated>;

    /// The keys of the entries that any of `selectors` selects, in no stated order. A tier that can't say which they
    /// are fails.
    fn select<'a>(&'a self, selectors: &'a [Selector]) -> Answer<'a, Vec<Key>>;

    /// Removes one entry whose bytes proved bad, and keeps them aside for whoever looks into it.
    fn quarantine<'a>(&'a self, key: &'a Key) -> Answer<'a, ()>;

    /// The position in the invalidation log now.
    fn epoch(&self) -> Answer<'_, Epoch>;

    /// What was invalidated after `epoch`, by anybody who shares the tier.
    fn invalidated_since(&self, epoch: Epoch) -> Answer<'_, Invalidations>;

    /// Ends when something was invalidated after `epoch`, as far as the tier hears of that without being asked, and fails
    /// when it cannot listen. One that has to be asked never ends this.
    fn heard(&self, epoch: Epoch) -> Answer<'_, ()> {
        let _ = epoch;
        Box::pin(std::future::pending())
    }

    /// Takes the right to compute `key` among all processes that share the tier, unless another holds it now. A
    /// tier that can't lease gives it to everybody.
    fn try_lease<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Lease>> {
        let _ = key;
        Box::pin(async { Ok(Some(Lease::default())) })
    }

    /// Which of `blobs` are not there, or not whole. Those that are stay at least as long as an entry that is put
    /// next. A tier that takes no blobs has none.
    fn missing_blobs<'a>(&'a self, blobs: &'a [Digest]) -> Answer<'a, Vec<Digest>> {
        Box::pin(async { Ok(blobs.to_vec()) })
    }

    /// Begins to read a blob; `None` if it is not there.
    fn open_blob(&self, digest: Digest) -> Answer<'_, Option<Box<dyn BlobSource>>> {
        let _ = digest;
        Box::pin(async { Ok(None) })
    }

    /// Begins to store a blob that comes in this form; `None` if the tier does not take it.
    fn make_blob(&self, digest: Digest, form: BlobForm) -> Answer<'_, Option<Box<dyn BlobSink>>> {
        let _ = (digest, form);
        Box::pin(async { Ok(None) })
    }

    /// Removes a blob whose bytes proved bad, and keeps it aside for whoever looks into it.
    fn quarantine_blob(&self, digest: Digest) -> Answer<'_, ()> {
        let _ = digest;
        Box::pin(async { Ok(()) })
    }

    /// What its invalidation log is called, the same for all who share it.
    fn log(&self) -> String {
        self.name().to_owned()
    }

    /// Up to where this tier has followed the invalidation log of another one; `None` if it never did.
    fn followed<'a>(&'a self, log: &'a str) -> Answer<'a, Option<Epoch>> {
        let _ = log;
        Box::pin(async { Ok(None) })
    }

    /// Notes up to where this tier has followed the log of another one.
    fn note_followed<'a>(&'a self, log: &'a str, epoch: Epoch) -> Answer<'a, ()> {
        let _ = (log, epoch);
        Box::pin(async { Ok(()) })
    }

    /// Whether it was noted that the tier with this log is left alone.
    fn left_alone<'a>(&'a self, log: &'a str) -> Answer<'a, Option<LeftAlone>> {
        let _ = log;
        Box::pin(async { Ok(None) })
    }

    /// Notes that the tier with this log is left alone, or is not.
    fn note_left_alone<'a>(&'a self, log: &'a str, note: Option<LeftAlone>) -> Answer<'a, ()> {
        let _ = (log, note);
        Box::pin(async { Ok(()) })
    }

    /// What the tier with this log is still to be told, oldest first, as far as it was noted.
    fn owed<'a>(&'a self, log: &'a str) -> Answer<'a, Vec<Owed>> {
        let _ = log;
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Notes how what the tier with this log is still to be told changes.
    fn note_owing<'a>(&'a self, log: &'a str, change: Owing) -> Answer<'a, ()> {
        let _ = (log, change);
        Box::pin(async { Ok(()) })
    }

    /// How many answers came so far from where it is, as far as it counts them: what an operation that takes several
    /// shows of being under way.
    fn answers(&self) -> u64 {
        0
    }

    /// Checks that the tier answers.
    fn ping(&self) -> Answer<'_, ()>;

    /// Waits until all that was stored so far would survive the end of this process.
    fn flush(&self) -> Answer<'_, ()>;
}
