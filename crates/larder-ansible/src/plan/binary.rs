//! The binary form of a plan: eight bytes that say what it is and in which version, then postcard.
//!
//! It is also the form in which plans are kept, in memory too: there a plan itself takes several times as much.
//!
//! Not here: JSON, which the types have by themselves.

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
pub struct Packed(Box<[u8]>);

impl Packed {
    /// A plan's bytes.
    pub fn new(plan: &ExecutionPlan) -> Self {
        Self(encode(plan).into())
    }

    /// The plan of these bytes.
    pub fn plan(&self) -> Result<ExecutionPlan, BinaryError> {
        decode(&self.0)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(|bytes| Self(bytes.into()))
    }
}
