//! Larder keeps what tools compute: a computation runs once, its answer is kept, and it runs again only when
//! something it really depended on has changed.

pub mod clock;
pub mod config;
pub mod engine;
pub mod entry;
pub mod glob;
pub mod key;
pub mod policy;
pub mod query;
pub mod source;
pub mod stats;
mod sync;
pub mod testing;
pub mod tier;
