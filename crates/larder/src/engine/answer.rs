//! What a caller gets, and what a computation gives.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Instant;
use crate::entry::Record;
use crate::key::{Digest, Key};
use crate::query::Unsteady;
use crate::stats::Place;
use crate::tier::{Refusal, memory};

/// A value and what is known about it. Shared: memory and all who asked have the same one.
#[derive(Debug)]
pub struct Entry<T> {
    /// The value.
    pub value: T,
    /// What is known about it.
    pub record: Record,
    /// Until when it is as good as new, by the engine's clock; `None` for ever.
    pub(super) fresh_until: Option<Instant>,
}

impl<T> Deref for Entry<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Send + Sync + 'static> super::Holdable for Entry<T> {
    fn record(&self) -> Option<&Record> {
        Some(&self.record)
    }
}

/// What a caller gets who asks for an answer and, where none is kept, has it computed.
#[derive(Debug)]
pub struct Answer<T> {
    /// The value and its record.
    pub entry: Arc<Entry<T>>,
    /// Where it came from.
    pub origin: Origin,
    /// Whether it is as good as new.
    pub freshness: Freshness,
    /// Whether it is kept.
    pub kept: Kept,
}

impl<T> Clone for Answer<T> {
    fn clone(&self) -> Self {
        Self {
            entry: Arc::clone(&self.entry),
            origin: self.origin,
            freshness: self.freshness,
            kept: self.kept.clone(),
        }
    }
}

impl<T> Deref for Answer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.entry.value
    }
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was kept there.
    Kept(Place),
    /// It was computed for this question, or for one that was asked at the same time.
    Computed,
}

/// Whether an answer is as good as new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It equals what computing now would return.
    Fresh,
    /// It is what computing returned a moment ago; computing it anew is under way.
    Stale,
}

/// Whether an answer is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is, or is on its way through the queue.
    Yes,
    /// It is returned and forgotten.
    No(NotKept),
    /// Memory has it; a tier below does not.
    InMemoryOnly(NotKept),
}

/// Why an answer is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotKept {
    /// The computation said so, in its own words.
    ByChoice(String),
    /// It was invalidated while it was computed.
    Revoked,
    /// Writing is switched off.
    ReadOnly,
    /// It can't be encoded.
    Encoding(String),
    /// A tier refused it.
    Tier(&'static str, Refusal),
    /// A tier failed.
    TierFailed(&'static str),
    /// No tier is there to keep it.
    NoTier,
    /// Memory, where nothing is below it, has no room for it.
    NoRoom(memory::Refusal),
    /// Too much waits to be written.
    QueueFull,
    /// What a query observed did not stand still.
    Unsteady(Arc<Unsteady>),
}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByChoice(why) => f.write_str(why),
            Self::Revoked => f.write_str("it was invalidated while it was computed"),
            Self::ReadOnly => f.write_str("writing is switched off"),
            Self::Encoding(why) => write!(f, "it can't be encoded: {why}"),
            Self::Tier(tier, refusal) => write!(f, "tier {tier} refused: {refusal}"),
            Self::TierFailed(tier) => write!(f, "tier {tier} failed"),
            Self::NoTier => f.write_str("no tier is configured"),
            Self::NoRoom(memory::Refusal::TooLarge) => f.write_str("it is too large for memory"),
            Self::NoRoom(memory::Refusal::OverQuota) => {
                f.write_str("it is larger than its scope's or kind's quota")
            }
            Self::NoRoom(memory::Refusal::Crowded) => f.write_str("memory is crowded"),
            Self::QueueFull => f.write_str("too much waits to be written"),
            Self::Unsteady(why) => why.fmt(f),
        }
    }
}

/// What a computation gives: a value, and what should become of it.
#[derive(Debug, Clone)]
pub struct Computed<T> {
    pub(super) value: T,
    pub(super) unkept: Option<String>,
    pub(super) tags: Vec<Arc<str>>,
    pub(super) blobs: Vec<Digest>,
    pub(super) cost: Option<Duration>,
    pub(super) producer: Option<Arc<str>>,
}

impl<T> Computed<T> {
    /// A value to be kept.
    pub fn new(value: T) -> Self {
        Self { value, unkept: None, tags: Vec::new(), blobs: Vec::new(), cost: None, producer: None }
    }

    /// Returned but not kept, and why.
    pub fn unkept(self, why: impl Into<String>) -> Self {
        Self { unkept: Some(why.into()), ..self }
    }

    /// With a tag by which it can be selected; one that is not well formed is left out.
    pub fn tagged(mut self, tag: &str) -> Self {
        if crate::key::check_tag(tag).is_ok() {
            self.tags.push(tag.into());
        }
        self
    }

    /// Names blobs without which it is not whole.
    pub fn naming(mut self, blobs: impl IntoIterator<Item = Digest>) -> Self {
        self.blobs.extend(blobs);
        self
    }

    /// What computing it took, where that is not the time that the computation was seen to take.
    pub fn costing(self, cost: Duration) -> Self {
        Self { cost: Some(cost), ..self }
    }

    /// Who made it, in words for people, where that is not whom the engine works for.
    pub fn made_by(self, producer: Arc<str>) -> Self {
        Self { producer: Some(producer), ..self }
    }
}

impl<T> From<T> for Computed<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// Asking failed. Only the computation can cause that: what a tier does is a miss at most.
#[derive(thiserror::Error)]
pub enum AskError<E> {
    /// The computation failed; all who waited for it get the same error.
    #[error("computation failed")]
    Computation(#[source] Arc<E>),
    /// The computation took longer than the kind, or whoever asked, allows, and was cancelled.
    #[error("computation took longer than {0:?}")]
    TimedOut(Duration),
    /// The computation asked, perhaps through others, for its own answer.
    #[error("computation waits for itself: {}", Circle(.0))]
    Cycle(Vec<Key>),
}

/// Keys with arrows between.
pub(super) struct Circle<'a>(pub(super) &'a [Key]);

impl fmt::Display for Circle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, key) in self.0.iter().enumerate() {
            write!(f, "{}{key}", if n == 0 { "" } else { " -> " })?;
        }
        Ok(())
    }
}

impl<E: fmt::Debug> fmt::Debug for AskError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Computation(error) => f.debug_tuple("Computation").field(error).finish(),
            Self::TimedOut(limit) => f.debug_tuple("TimedOut").field(limit).finish(),
            Self::Cycle(keys) => f.debug_tuple("Cycle").field(keys).finish(),
        }
    }
}

impl<E> Clone for AskError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Computation(error) => Self::Computation(Arc::clone(error)),
            Self::TimedOut(limit) => Self::TimedOut(*limit),
            Self::Cycle(keys) => Self::Cycle(keys.clone()),
        }
    }
}
