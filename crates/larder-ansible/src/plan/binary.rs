//! The binary form of a plan: eight bytes that say what it is and in which version, then postcard.
//!
//! It is also the form in which plans are kept, in memory too: there a plan itself takes several times as much.
//!
//! Not here: JSON, which the types have by themselves.

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ExecutionPlan, FORMAT};

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
#[derive(Debug)]
pub struct Packed {
    bytes: Box<[u8]>,
    /// The plan that they were made of, for the one who had it made.
    made: Mutex<Option<Box<ExecutionPlan>>>,
}

impl Packed {
    /// A plan's bytes.
    pub fn new(plan: &ExecutionPlan) -> Self {
        Self::of(encode(plan), None)
    }

    /// The bytes of a plan that has just been made, and whose plays have the encoding `plays`.
    pub(crate) fn made(plan: ExecutionPlan, plays: &[u8]) -> Self {
        let ExecutionPlan { format, metadata, plays: _, totals } = &plan;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        // One field after the other, as postcard has them.
        bytes = postcard::to_extend(&(format, metadata), bytes).expect("plans encode");
        bytes.extend(plays);
        bytes = postcard::to_extend(totals, bytes).expect("plans encode");
        Self::of(bytes, Some(Box::new(plan)))
    }

    fn of(bytes: Vec<u8>, made: Option<Box<ExecutionPlan>>) -> Self {
        Self { bytes: bytes.into(), made: Mutex::new(made) }
    }

    /// The plan of these bytes. The first time it is the one that they were made of, if it has just been made.
    pub fn plan(&self) -> Result<ExecutionPlan, BinaryError> {
        let made = self.made.lock().take();
        made.map_or_else(|| decode(&self.bytes), |made| Ok(*made))
    }

    /// Keeps the bytes alone.
    pub(crate) fn forget_made(&self) {
        drop(self.made.lock().take());
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(|bytes| Self::of(bytes.to_vec(), None))
    }
}
