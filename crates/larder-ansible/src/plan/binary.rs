//! The binary form of a plan: eight bytes that say what it is and in which version, then postcard.
//!
//! Not here: JSON, which the types have by themselves.

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
