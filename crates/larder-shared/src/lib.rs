//! Tiers that a team shares: what one machine computed, the others have.
//!
//! Each is a [`Tier`](larder::tier::Tier) that the engine puts behind a breaker and asks last. An existing server does
//! the distribution. [`open`] takes a URL and touches nothing: the first question connects.
//!
//! Invariant: an entry or a blob becomes visible to others only when all of it is there; nothing that an invalidation
//! covers is served once that is in the log.
//! Not here: whether a shared tier is worth asking (`larder::tier::stack`), what is sent and brought when
//! (`larder::engine`).

#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(any(feature = "etcd", feature = "s3"))]
mod http;
#[cfg(any(feature = "etcd", feature = "redis", feature = "remote-execution", feature = "s3"))]
mod limits;
#[cfg(any(feature = "etcd", feature = "redis", feature = "remote-execution", feature = "s3"))]
mod naming;
#[cfg(any(feature = "etcd", feature = "redis"))]
mod parts;
#[cfg(any(feature = "etcd", feature = "redis", feature = "s3"))]
mod pending;
#[cfg(any(feature = "etcd", feature = "redis"))]
mod pieces;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "etcd", feature = "redis", feature = "s3"))]
mod releasing;
#[cfg(feature = "remote-execution")]
mod remote_execution;
#[cfg(feature = "s3")]
mod s3;
mod split;
#[cfg(any(feature = "etcd", feature = "redis", feature = "s3"))]
mod tags;
#[cfg(feature = "testing")]
pub mod testing;
mod tls;
#[cfg(any(feature = "etcd", feature = "redis", feature = "remote-execution", feature = "s3"))]
mod under_way;
mod url;

#[cfg(feature = "etcd")]
pub use etcd::Etcd;
#[cfg(feature = "redis")]
pub use redis::Redis;
#[cfg(feature = "remote-execution")]
pub use remote_execution::RemoteExecution;
#[cfg(feature = "s3")]
pub use s3::{AccessKey, Container, ContainerToken, Profile, S3, S3Options, WebIdentity};
pub use split::Split;
pub use tls::TlsFiles;
pub use url::{Options, UrlError, open};
