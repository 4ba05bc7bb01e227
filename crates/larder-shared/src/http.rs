//! The HTTP client of tiers that speak HTTP.
//!
//! It reads no environment, so it goes through no proxy.

use std::time::Duration;

use crate::tls::Tls;
use crate::url::UrlError;

/// Begins a client that connects to nothing yet. Without `tls` it is for servers that are asked without encryption.
pub(crate) fn client(tls: Option<&Tls>, connect: Duration) -> Result<reqwest::ClientBuilder, UrlError> {
    let tls = tls.map_or_else(Tls::trusting_nobody, Tls::config)?;
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        // One connection for each request under way, so that none waits behind a large value.
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect)
        .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION"))))
}
