//! Keys of an instance's role, by version 2 of the instance metadata service.
//!
//! There is no way back to version 1, which answers whoever can make a program on the instance ask.

use std::time::Duration;

use reqwest::header::HeaderValue;
use serde::Deserialize;

use super::ask::{Given, Why, client, given, send};
use crate::s3::code::Code;
use crate::tls::TlsFiles;

/// How long each answer may take. Where there is no such service nobody answers at all.
const PATIENCE: Duration = Duration::from_secs(1);
const TOKEN: &str = "x-aws-ec2-metadata-token";
/// How long the token that is asked for holds; it is used at once.
const HOLDS: (&str, &str) = ("x-aws-ec2-metadata-token-ttl-seconds", "60");
const ROLES: &str = "latest/meta-data/iam/security-credentials/";

/// Whether the service has a key for its role.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome {
    code: String,
}

/// Takes the URL of the service, without a path.
pub(super) async fn take(url: &str, tls: &TlsFiles) -> Result<Given, Why> {
    let (client, url) = (client(url, tls, PATIENCE)?, url.trim_end_matches('/'));
    let token = client.put(format!("{url}/latest/api/token")).header(HOLDS.0, HOLDS.1);
    let mut token = HeaderValue::from_bytes(&send(token, PATIENCE).await?).map_err(|_| Why::Form)?;
    token.set_sensitive(true);
    let get = |path: &str| send(client.get(format!("{url}/{ROLES}{path}")).header(TOKEN, &token), PATIENCE);
    let roles = match get("").await {
        Err(Why::Refused { status: 404, .. }) => return Err(Why::NoRole),
        roles => String::from_utf8(roles?).map_err(|_| Why::Form)?,
    };
    let role = roles.lines().next().unwrap_or_default();
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    if role.is_empty() || !role.bytes().all(is_good) {
        return Err(Why::Form);
    }
    let answer = get(role).await?;
    let Outcome { code } = serde_json::from_slice(&answer).map_err(|_| Why::Form)?;
    match code.as_str() {
        "Success" => given(&answer),
        _ => Err(Why::Refused { status: 200, code: Code::new(&code) }),
    }
}
