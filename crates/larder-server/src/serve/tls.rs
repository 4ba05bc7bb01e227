//! TLS: the server's certificate, and who clients are by theirs.
//!
//! Invariant: files that can't be used leave what was in use before. Connections keep what they began with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, asn1};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// What the common name of a subject is called.
const COMMON_NAME: &str = "2.5.4.3";

/// Where the certificates are, as PEM.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// The server's certificate, and those between it and what clients trust.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Whose signature makes a client's certificate good. Without it clients are not asked for one.
    pub client_authority: Option<PathBuf>,
}

/// The certificates can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or is no PEM of what it should be.
    #[error("cannot read {}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: pem::Error,
    },
    /// A file has no certificate.
    #[error("{} has no certificate", .0.display())]
    Empty(PathBuf),
    /// The authority's certificates can't be trusted.
    #[error("{} is no authority", .path.display())]
    Authority {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The certificate and the key do not fit.
    #[error("the certificate and its key can't be used together")]
    Pair(#[source] rustls::Error),
}

/// TLS as it is now.
#[derive(Debug)]
pub(super) struct Tls {
    options: TlsOptions,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    pub(super) fn open(options: TlsOptions) -> Result<Self, TlsError> {
        let config = RwLock::new(Arc::new(config(&options)?));
        Ok(Self { options, config })
    }

    /// Reads the files anew, for connections to come.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let config = Arc::new(config(&self.options)?);
        *self.config.write() = config;
        Ok(())
    }

    pub(super) fn options(&self) -> &TlsOptions {
        &self.options
    }

    /// The files that it was read from.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let TlsOptions { certificate, key, client_authority } = &self.options;
        [certificate, key].into_iter().chain(client_authority).map(PathBuf::as_path)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config.read()))
    }
}

impl TlsOptions {
    /// Whether clients are asked for certificates.
    pub fn knows_clients(&self) -> bool {
        self.client_authority.is_some()
    }

    /// Says whether the files could be used.
    pub fn check(&self) -> Result<(), TlsError> {
        config(self).map(drop)
    }
}

fn config(options: &TlsOptions) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Pair)?;
    let builder = match &options.client_authority {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let bad = |source| TlsError::Authority { path: path.clone(), source };
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| bad(error.into()))?;
            }
            // A client without a certificate may have a token.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| bad(error.into()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&options.key)
        .map_err(|source| TlsError::File { path: options.key.clone(), source })?;
    let mut config =
        builder.with_single_cert(certificates(&options.certificate)?, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |source| TlsError::File { path: path.to_owned(), source };
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(bad)?.collect();
    let read = read.map_err(bad)?;
    if read.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(read) }
}

/// The names of a client whose certificate was found good: its subject's common name, then the DNS names, mail
/// addresses and URIs that it also goes by.
pub(super) fn names(connection: &ServerConnection) -> Vec<String> {
    let first = connection.peer_certificates().and_then(|all| all.first());
    let certificate = first.and_then(|der| Certificate::from_der(der).ok());
    let Some(certificate) = certificate else { return Vec::new() };
    let mut names = Vec::new();
    let subject = certificate.tbs_certificate().subject();
    for attribute in subject.iter().filter(|attribute| attribute.oid.to_string() == COMMON_NAME) {
        let value = &attribute.value;
        let text =
            value.decode_as::<asn1::Utf8StringRef<'_>>().map(|text| text.as_str().to_owned()).or_else(|_| {
                value.decode_as::<asn1::PrintableStringRef<'_>>().map(|text| text.as_str().to_owned())
            });
        names.extend(text);
    }
    let also = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    for name in also.ok().flatten().into_iter().flat_map(|(_, also)| also.0) {
        match name {
            GeneralName::DnsName(name) | GeneralName::Rfc822Name(name) => names.push(name.to_string()),
            GeneralName::UniformResourceIdentifier(name) => names.push(name.to_string()),
            _ => {}
        }
    }
    names
}
