//! Entries: a value and its record, and the envelope in which both are stored and sent.

pub mod compress;
mod envelope;
mod record;

pub use envelope::{Codec, EnvelopeError, MAX_VALUE_BYTES, Opened, open, seal};
pub use record::Record;
