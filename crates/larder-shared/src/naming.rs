//! Marks that come once.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that nobody guesses and that does not come twice.
pub(crate) fn random() -> u64 {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    RandomState::new().hash_one((COUNTER.fetch_add(1, Ordering::Relaxed), std::process::id()))
}

/// A name that no other process makes, nor this one again.
#[cfg(any(feature = "etcd", feature = "redis", feature = "s3"))]
pub(crate) fn unique() -> String {
    format!("{:016x}{:016x}", random(), random())
}
