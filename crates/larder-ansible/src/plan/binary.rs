//! The binary form of a plan: eight bytes that say what it is and in which version, then postcard.
//!
//! It is also the form in which plans and their plays are kept, in memory too: there a plan itself takes several times as
//! much. As long as somebody has it, whoever asks gets the same, and plans that have a play in common share it.
//!
//! Not here: JSON, which the types have by themselves.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ExecutionPlan, FORMAT, PlayPlan};

const MAGIC: &[u8; 4] = b"LPLN";

/// Why bytes are no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BinaryError {
    /// They begin with something else.
    #[error("not a plan")]
    NotAPlan,
    /// They are of a version that this planner does not read.
    #[error("a plan of format {0}, and this planner reads format {FORMAT}")]
    Format(u32),
    /// They are cut off or damaged.
    #[error("a damaged plan")]
    Damaged(#[source] postcard::Error),
}

/// A plan's bytes. Equal plans have equal bytes.
pub fn encode(plan: &ExecutionPlan) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    postcard::to_extend(plan, bytes).expect("plans encode")
}

/// The plan of such bytes.
pub fn decode(bytes: &[u8]) -> Result<ExecutionPlan, BinaryError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(BinaryError::NotAPlan)?;
    let (format, rest) = rest.split_first_chunk().ok_or(BinaryError::NotAPlan)?;
    match u32::from_le_bytes(*format) {
        FORMAT => postcard::from_bytes(rest).map_err(BinaryError::Damaged),
        other => Err(BinaryError::Format(other)),
    }
}

/// A plan's bytes, as an answer that is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Packed(Bytes<ExecutionPlan>);

impl Packed {
    /// A plan's bytes.
    pub fn new(plan: &ExecutionPlan) -> Self {
        Self(Bytes::read(encode(plan)))
    }

    /// A plan that has just been made; its bytes have those of its plays in them.
    pub(crate) fn made(plan: ExecutionPlan, plays: Vec<Arc<[u8]>>) -> Self {
        let ExecutionPlan { format, metadata, plays: _, totals } = &plan;
        let mut head = MAGIC.to_vec();
        head.extend(FORMAT.to_le_bytes());
        // One field after the other, and of a list its length first, as postcard has them.
        head = postcard::to_extend(&(format, metadata, plays.len()), head).expect("plans encode");
        let totals = postcard::to_stdvec(totals).expect("plans encode");
        let pieces = [head.into()].into_iter().chain(plays).chain([totals.into()]);
        Self(Bytes::made(pieces.collect(), Arc::new(plan)))
    }

    /// The plan of these bytes: if it has just been made, or somebody has it, that one.
    pub fn plan(&self) -> Result<Arc<ExecutionPlan>, BinaryError> {
        self.0.give(decode)
    }

    /// Keeps the bytes alone.
    pub(crate) fn forget_made(&self) {
        self.0.value.lock().give();
    }

    /// How much memory they take, those that they share with others too.
    pub(crate) fn weight(&self) -> u64 {
        self.0.weight()
    }
}

/// A play's bytes, as an answer that is kept: a plan has them in it as they are.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PackedPlay(Bytes<PlayPlan>);

/// A play and its bytes.
#[derive(Debug)]
pub(crate) struct EncodedPlay {
    pub(crate) play: Arc<PlayPlan>,
    pub(crate) bytes: Arc<[u8]>,
}

impl EncodedPlay {
    pub(crate) fn new(play: PlayPlan) -> Self {
        let bytes = postcard::to_stdvec(&play).expect("plays encode");
        Self { play: Arc::new(play), bytes: bytes.into() }
    }
}

impl PackedPlay {
    /// A play that has just been made.
    pub(crate) fn made(play: PlayPlan) -> Self {
        let EncodedPlay { play, bytes } = EncodedPlay::new(play);
        Self(Bytes::made([bytes].into(), play))
    }

    /// The play for the plan that it becomes part of: if it has just been made, or a plan that somebody has is made of it,
    /// that one.
    pub(crate) fn unpack(&self) -> Result<EncodedPlay, BinaryError> {
        let play = self.0.give(Self::decode)?;
        Ok(EncodedPlay { play, bytes: self.0.all() })
    }

    /// The play for whoever looks at it before.
    pub(crate) fn play(&self) -> Result<Arc<PlayPlan>, BinaryError> {
        let known = self.0.value.lock().get();
        known.map_or_else(|| Self::decode(&self.0.all()).map(Arc::new), Ok)
    }

    /// How much memory it takes once it was given.
    pub(crate) fn weight(&self) -> u64 {
        self.0.weight()
    }

    fn decode(bytes: &[u8]) -> Result<PlayPlan, BinaryError> {
        postcard::from_bytes(bytes).map_err(BinaryError::Damaged)
    }
}

/// Bytes, and what they are the bytes of as long as somebody has it.
#[derive(Debug)]
struct Bytes<T> {
    /// One after the other. Others may have them too.
    pieces: Box<[Arc<[u8]>]>,
    value: Mutex<Known<T>>,
}

#[derive(Debug)]
enum Known<T> {
    /// Made, and not given to anybody yet: whoever asks first had it made.
    Made(Arc<T>),
    /// Given. Who has it may have dropped it.
    Given(Weak<T>),
}

impl<T> Known<T> {
    fn get(&self) -> Option<Arc<T>> {
        match self {
            Self::Made(value) => Some(Arc::clone(value)),
            Self::Given(value) => value.upgrade(),
        }
    }

    fn give(&mut self) {
        if let Self::Made(value) = self {
            *self = Self::Given(Arc::downgrade(value));
        }
    }
}

impl<T> Bytes<T> {
    fn made(pieces: Box<[Arc<[u8]>]>, value: Arc<T>) -> Self {
        Self { pieces, value: Mutex::new(Known::Made(value)) }
    }

    fn read(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { pieces: [bytes.into()].into(), value: Mutex::new(Known::Given(Weak::new())) }
    }

    /// The value, which is not held here any longer.
    fn give(&self, decode: fn(&[u8]) -> Result<T, BinaryError>) -> Result<Arc<T>, BinaryError> {
        let known = self.value.lock().get();
        let value = known.map_or_else(|| decode(&self.all()).map(Arc::new), Ok)?;
        *self.value.lock() = Known::Given(Arc::downgrade(&value));
        Ok(value)
    }

    fn all(&self) -> Arc<[u8]> {
        match &*self.pieces {
            [all] => Arc::clone(all),
            pieces => pieces.concat().into(),
        }
    }

    /// A value that was given leaves its outermost part until it is given anew.
    fn weight(&self) -> u64 {
        let bytes: usize = self.pieces.iter().map(|piece| size_of::<Arc<[u8]>>() + piece.len() + 32).sum();
        (size_of::<Self>() + bytes + size_of::<T>()) as u64
    }
}

impl<T> Serialize for Bytes<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.all())
    }
}

impl<'de, T> Deserialize<'de> for Bytes<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Self::read)
    }
}
