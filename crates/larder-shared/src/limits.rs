//! How long things are, and how long they stay, in each tier alike.

#[cfg(any(feature = "etcd", feature = "redis", feature = "s3"))]
use std::time::Duration;

/// A longer envelope is not taken: what is large is a blob.
pub(crate) const MAX_ENVELOPE_BYTES: usize = 8 << 20;

/// How long a lease lasts without a sign of life.
#[cfg(any(feature = "etcd", feature = "redis", feature = "s3"))]
pub(crate) const LASTS: Duration = Duration::from_secs(10);
/// How often its holder gives one.
#[cfg(any(feature = "etcd", feature = "redis", feature = "s3"))]
pub(crate) const RENEWED: Duration = Duration::from_secs(3);

/// How long what is set aside stays.
#[cfg(any(feature = "etcd", feature = "redis"))]
pub(crate) const ASIDE: Duration = Duration::from_secs(7 * 86_400);
