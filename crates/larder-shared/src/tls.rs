//! Encrypted connections: whom they trust, and who this machine says it is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::url::UrlError;

/// Files in PEM form for encrypted connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that are trusted; `None` for those that this machine trusts.
    pub authorities: Option<PathBuf>,
    /// The certificate with which this machine says who it is, and those that vouch for it.
    pub certificate: Option<PathBuf>,
    /// The key that belongs to it.
    pub key: Option<PathBuf>,
}

/// What stands in those files.
pub(crate) struct Tls {
    authorities: Option<Vec<u8>>,
    identity: Option<Identity>,
}

#[derive(Clone)]
struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Identity {
    fn config(&self, config: ConfigBuilder<ClientConfig, WantsClientCert>) -> Result<ClientConfig, UrlError> {
        let malformed = |error: &dyn std::error::Error| UrlError::Certificate(error.to_string().into());
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| malformed(&error))?;
        let config = config.with_client_auth_cert(certificates(&self.certificate)?, key);
        config.map_err(|error| malformed(&error))
    }
}

/// No key is ever shown.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { authorities, identity } = self;
        let (authorities, identity) = (authorities.is_some(), identity.is_some());
        f.debug_struct("Tls").field("authorities", &authorities).field("identity", &identity).finish()
    }
}

/// A server's certificate is not to be trusted, or it does not trust ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("its certificate is not trusted here ({0}); `shared_ca` names the file with whom to trust")]
    Untrusted(String),
    #[error("it does not take this machine's certificate ({0}); `shared_cert` and `shared_key` name one")]
    Unknown(String),
}

impl Tls {
    pub(crate) fn read(files: &TlsFiles) -> Result<Self, UrlError> {
        let authorities = files.authorities.as_deref().map(read).transpose()?;
        let identity = match (&files.certificate, &files.key) {
            (Some(certificate), Some(key)) => {
                Some(Identity { certificate: read(certificate)?, key: read(key)? })
            }
            (None, None) => None,
            _ => return Err(UrlError::HalfIdentity),
        };
        // What is wrong with them is told now, and not by the first connection.
        if let Some(authorities) = &authorities {
            trusting(authorities)?;
        }
        if let Some(identity) = &identity {
            identity.config(config()?.with_root_certificates(RootCertStore::empty()))?;
        }
        Ok(Self { authorities, identity })
    }

    /// The configuration of a connection. Reads whom this machine trusts, where no file says so.
    #[cfg(any(feature = "etcd", feature = "s3"))]
    pub(crate) fn config(&self) -> Result<ClientConfig, UrlError> {
        let config = config()?.with_root_certificates(self.roots()?);
        match &self.identity {
            None => Ok(config.with_no_client_auth()),
            Some(identity) => identity.config(config),
        }
    }

    /// The configuration of who makes no encrypted connection.
    #[cfg(any(feature = "etcd", feature = "s3"))]
    pub(crate) fn trusting_nobody() -> Result<ClientConfig, UrlError> {
        Ok(config()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
    }

    #[cfg(any(feature = "etcd", feature = "s3"))]
    fn roots(&self) -> Result<RootCertStore, UrlError> {
        let Some(authorities) = &self.authorities else {
            let mut roots = RootCertStore::empty();
            // What of the machine's own cannot be read vouches for nobody.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(roots);
        };
        trusting(authorities)
    }

    /// The same for who speaks gRPC.
    #[cfg(feature = "remote-execution")]
    pub(crate) fn of_grpc(&self) -> tonic::transport::ClientTlsConfig {
        use tonic::transport::{Certificate, ClientTlsConfig, Identity};
        let config = match &self.authorities {
            Some(authorities) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        match &self.identity {
            Some(identity) => config.identity(Identity::from_pem(&identity.certificate, &identity.key)),
            None => config,
        }
    }

    /// The same for the client of Redis.
    #[cfg(feature = "redis")]
    pub(crate) fn of_redis(&self) -> redis::TlsCertificates {
        let client_tls = self.identity.clone();
        let client_tls = client_tls.map(|Identity { certificate, key }| redis::ClientTlsConfig {
            client_cert: certificate,
            client_key: key,
        });
        redis::TlsCertificates { client_tls, root_cert: self.authorities.clone() }
    }
}

fn trusting(authorities: &[u8]) -> Result<RootCertStore, UrlError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities)? {
        roots.add(certificate).map_err(|error| UrlError::Certificate(Box::new(error)))?;
    }
    Ok(roots)
}

fn config() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, UrlError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    config.map_err(|error| UrlError::Certificate(Box::new(error)))
}

/// What TLS has against a connection, if that is why it failed.
pub(crate) fn refused(error: &(dyn std::error::Error + 'static)) -> Option<Refused> {
    let tls =
        std::iter::successors(Some(error), |error| inner(*error)).find_map(|error| error.downcast_ref())?;
    match tls {
        rustls::Error::InvalidCertificate(why) => Some(Refused::Untrusted(why.to_string())),
        rustls::Error::AlertReceived(alert) => Some(Refused::Unknown(format!("{alert:?}"))),
        _ => None,
    }
}

/// The cause of an error, also where an I/O error wraps it.
fn inner<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    // What the client of Redis wraps an error into that it hands to several.
    if let Some(wrapped) = error.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>() {
        return Some(&**wrapped);
    }
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, UrlError> {
    std::fs::read(path).map_err(|source| UrlError::Unreadable { path: path.to_owned(), source })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, UrlError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| UrlError::Certificate(Box::new(error)))?;
    if all.is_empty() { Err(UrlError::NoCertificate) } else { Ok(all) }
}
