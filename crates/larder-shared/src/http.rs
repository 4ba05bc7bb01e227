//! The HTTP client of tiers that speak HTTP.
//!
//! It reads no environment, so it goes through no proxy, and trusts the authorities that the system trusts.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use crate::url::UrlError;

/// Makes a client that connects to nothing yet. `plain` is for servers that are asked without encryption: the system's
/// authorities are not read then.
pub(crate) fn client(plain: bool, connect: Duration, silence: Duration) -> Result<reqwest::Client, UrlError> {
    let mut roots = RootCertStore::empty();
    if !plain {
        // What of the system's own cannot be read vouches for nobody.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(malformed)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        // One connection for each request under way, so that none waits behind a large value.
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect)
        .read_timeout(silence)
        .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(malformed)
}

fn malformed(error: impl std::error::Error + Send + Sync + 'static) -> UrlError {
    UrlError::Malformed(Box::new(error))
}
