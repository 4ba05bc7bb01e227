//! One request on the way to a key, and what came of it.
//!
//! Nothing that was answered is repeated but a code, as it may hold a secret.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use larder::clock::Timestamp;
use larder::config::Secret;
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;

use crate::AccessKey;
use crate::http;
use crate::s3::code::Code;
use crate::tls::{self, Tls, TlsFiles};
use crate::url::UrlError;

/// How long an answer, or a file, is at most.
const MOST_BYTES: u64 = 1 << 20;

/// Why a place has no key.
#[derive(Debug, thiserror::Error)]
pub(in crate::s3) enum Why {
    #[error("nobody answers: {0}")]
    Silent(String),
    #[error("it answers {status}{code}")]
    Refused { status: u16, code: Code },
    #[error("what it has is not well formed")]
    Form,
    #[error("it has no role")]
    NoRole,
    #[error("it gets one by {0}, which larder does not")]
    Otherwise(&'static str),
    #[error("it has no key")]
    Nothing,
    #[error("it is neither encrypted nor on this machine")]
    Open,
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Tls(UrlError),
}

/// A key as it is given, and when it ends.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) key: AccessKey,
    pub(super) ends: Option<Timestamp>,
}

/// The form in which all of them give it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Form {
    access_key_id: String,
    secret_access_key: String,
    #[serde(alias = "SessionToken")]
    token: String,
    expiration: String,
}

impl Form {
    pub(super) fn given(self) -> Result<Given, Why> {
        let ends: SystemTime = humantime::parse_rfc3339(&self.expiration).map_err(|_| Why::Form)?;
        let key = AccessKey {
            id: self.access_key_id,
            secret: Secret::new(self.secret_access_key),
            session_token: Some(Secret::new(self.token)),
        };
        Ok(Given { key, ends: Some(ends.into()) })
    }
}

/// The same from an answer in JSON.
pub(super) fn given(json: &[u8]) -> Result<Given, Why> {
    serde_json::from_slice::<Form>(json).map_err(|_| Why::Form)?.given()
}

/// A client for one question.
pub(super) fn client(url: &str, tls: &TlsFiles, connect: Duration) -> Result<Client, Why> {
    let tls = url.starts_with("https://").then(|| Tls::read(tls)).transpose().map_err(Why::Tls)?;
    let client = http::client(tls.as_ref(), connect).map_err(Why::Tls)?;
    client.build().map_err(|error| silent(&error))
}

/// Sends a request, which takes so long at most, and returns what is answered where it is granted.
pub(super) async fn send(request: RequestBuilder, patience: Duration) -> Result<Vec<u8>, Why> {
    let mut response = request.timeout(patience).send().await.map_err(|error| silent(&error))?;
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| silent(&error))? {
        if (bytes.len() + piece.len()) as u64 > MOST_BYTES {
            return Err(Why::Form);
        }
        bytes.extend_from_slice(&piece);
    }
    match response.status() {
        status if status.is_success() => Ok(bytes),
        status => Err(Why::Refused { status: status.as_u16(), code: Code::in_answer(&bytes) }),
    }
}

/// What a file holds, without space around it.
pub(super) async fn read(path: &Path) -> Result<String, Why> {
    let (path, unreadable) = (path.to_owned(), path.to_owned());
    let read = move || {
        let mut text = String::new();
        std::fs::File::open(&path)?.take(MOST_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MOST_BYTES { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
    };
    let text = tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    match text {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(Why::Unreadable { path: unreadable, source }),
    }
}

fn silent(error: &reqwest::Error) -> Why {
    if let Some(refused) = tls::refused(error) {
        return Why::Silent(refused.to_string());
    }
    if error.is_timeout() {
        return Why::Silent("it takes too long".to_owned());
    }
    let first: &dyn std::error::Error = error;
    let last = std::iter::successors(first.source(), |error| error.source()).last();
    Why::Silent(last.map_or_else(|| "the connection broke".to_owned(), ToString::to_string))
}
