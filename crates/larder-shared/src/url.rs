//! From a URL to a tier.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder::clock::Clock;
use larder::config::Secret;
use larder::tier::Tier;

use crate::tls::TlsFiles;

/// How a shared tier is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long an entry stays there after it was put, unless it ends to hold before.
    pub max_age: Duration,
    /// Tells how long an entry still holds.
    pub clock: Clock,
    /// What says to a server who asks, where that does not stand in the URL.
    pub token: Option<Secret>,
    /// Whom an encrypted connection trusts, and who it says that this machine is.
    pub tls: TlsFiles,
    /// What the surroundings say of S3.
    #[cfg(feature = "s3")]
    pub s3: crate::S3Options,
}

impl Options {
    /// Nothing but how long entries stay.
    pub fn new(max_age: Duration, clock: Clock) -> Self {
        Self {
            max_age,
            clock,
            token: None,
            tls: TlsFiles::default(),
            #[cfg(feature = "s3")]
            s3: crate::S3Options::default(),
        }
    }
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
    /// The namespace is not well formed.
    #[error("namespace {0:?} must be 1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-'")]
    Namespace(String),
    /// The token is no text that can be sent.
    #[error("the shared tier's token has characters that no token has")]
    Token,
    /// It names a bucket, and nobody says where there is a key for that.
    #[error("there is no access key for s3://")]
    NoAccessKey,
    /// No request can be signed with the key.
    #[error("the access key for s3:// has characters that no key has")]
    AccessKey,
    /// The rest of it is not well formed.
    #[error("the shared tier's URL is not well formed")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file for encrypted connections cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate or a key is not well formed.
    #[error("a certificate or key for the shared tier is not well formed")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file of certificates has none.
    #[error("a file of certificates for the shared tier has none in PEM form")]
    NoCertificate,
    /// A certificate is of no use without its key, nor a key without its certificate.
    #[error("shared_cert and shared_key are only of use together")]
    HalfIdentity,
}

/// Makes the tier that a URL names. Connects to nothing yet.
pub fn open(url: &str, options: Options) -> Result<Arc<dyn Tier>, UrlError> {
    let (scheme, _) = url.split_once("://").ok_or(UrlError::NoScheme)?;
    match scheme {
        #[cfg(feature = "etcd")]
        "etcd" | "etcds" => Ok(Arc::new(crate::Etcd::open(url, options)?)),
        #[cfg(feature = "redis")]
        _ if crate::redis::speaks(scheme) => Ok(Arc::new(crate::Redis::open(url, options)?)),
        #[cfg(feature = "remote-execution")]
        "grpc" | "grpcs" => Ok(Arc::new(crate::RemoteExecution::open(url, options)?)),
        #[cfg(feature = "s3")]
        "s3" => Ok(Arc::new(crate::S3::open(url, options)?)),
        _ => Err(UrlError::Scheme(scheme.to_owned())),
    }
}
