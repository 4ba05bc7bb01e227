//! From a URL to a tier.

use std::sync::Arc;
use std::time::Duration;

use larder::clock::Clock;
use larder::config::Secret;
use larder::tier::Tier;

/// How a shared tier is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long an entry stays there after it was put, unless it ends to hold before.
    pub max_age: Duration,
    /// Tells how long an entry still holds.
    pub clock: Clock,
    /// What says to a server who asks, where that does not stand in the URL.
    pub token: Option<Secret>,
    /// What the surroundings say of S3.
    #[cfg(feature = "s3")]
    pub s3: crate::S3Options,
}

/// A URL names no shared tier. What is said of it never has a password in it.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It does not begin with a scheme.
    #[error("the shared tier's URL has no scheme")]
    NoScheme,
    /// Its scheme stands for no tier that this build knows.
    #[error("no shared tier is known for {0}://")]
    Scheme(String),
    /// It asks for an encrypted connection, which this build cannot make.
    #[error("{0}:// asks for an encrypted connection, which this version cannot make")]
    Encrypted(String),
    /// The namespace is not well formed.
    #[error("namespace {0:?} must be 1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-'")]
    Namespace(String),
    /// The token is no text that can be sent.
    #[error("the shared tier's token has characters that no token has")]
    Token,
    /// It names a bucket, and nobody gave a key for that.
    #[error("there is no access key for s3://")]
    NoAccessKey,
    /// The rest of it is not well formed.
    #[error("the shared tier's URL is not well formed")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Makes the tier that a URL names. Connects to nothing yet.
pub fn open(url: &str, options: Options) -> Result<Arc<dyn Tier>, UrlError> {
    let (scheme, _) = url.split_once("://").ok_or(UrlError::NoScheme)?;
    match scheme {
        #[cfg(feature = "redis")]
        "redis" | "valkey" | "redis+unix" | "valkey+unix" => Ok(Arc::new(crate::Redis::open(url, options)?)),
        #[cfg(feature = "remote-execution")]
        "grpc" | "grpcs" => Ok(Arc::new(crate::RemoteExecution::open(url, options)?)),
        #[cfg(feature = "s3")]
        "s3" => Ok(Arc::new(crate::S3::open(url, options)?)),
        "rediss" | "valkeys" => Err(UrlError::Encrypted(scheme.to_owned())),
        _ => Err(UrlError::Scheme(scheme.to_owned())),
    }
}
