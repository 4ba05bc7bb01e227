//! Keys for a role that somebody else's token vouches for: `AssumeRoleWithWebIdentity` of the security token service.

use std::path::PathBuf;
use std::time::Duration;

use larder::clock::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;

use super::ask::{Form, Given, Why, client, read, send};
use crate::tls::TlsFiles;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A role, and a token that says who may have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebIdentity {
    /// The file with the token, which others replace before it ends.
    pub token: PathBuf,
    /// The role's name at AWS.
    pub role: String,
    /// What the session is called in logs; without one it is called after larder and the time.
    pub session: Option<String>,
}

#[derive(Deserialize)]
struct Assumed {
    #[serde(rename = "AssumeRoleWithWebIdentityResult")]
    result: Lending,
}

#[derive(Deserialize)]
struct Lending {
    #[serde(rename = "Credentials")]
    key: Form,
}

/// The service of a region.
pub(super) fn service(region: &str) -> String {
    let end = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://sts.{region}.amazonaws.com{end}")
}

impl WebIdentity {
    pub(super) async fn take(&self, service: &str, tls: &TlsFiles, now: Timestamp) -> Result<Given, Why> {
        let token = read(&self.token).await?;
        let session = self.session.clone().unwrap_or_else(|| format!("larder-{}", now.as_millis()));
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", &self.role),
            ("RoleSessionName", &session),
            ("WebIdentityToken", &token),
        ];
        let fields =
            fields.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        let request = client(service, tls, CONNECT)?.post(service).body(fields.join("&"));
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = String::from_utf8(send(request, PATIENCE).await?).map_err(|_| Why::Form)?;
        let Assumed { result } = quick_xml::de::from_str(&answer).map_err(|_| Why::Form)?;
        result.key.given()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_has_a_service() {
        assert_eq!(service("eu-west-1"), "https://sts.eu-west-1.amazonaws.com");
        assert_eq!(service("cn-north-1"), "https://sts.cn-north-1.amazonaws.com.cn");
    }
}
