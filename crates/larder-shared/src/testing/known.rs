//! Which keys a server takes. Signatures are checked by `s3s`; what is added is the token that some keys come with.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use larder::config::Secret;
use parking_lot::Mutex;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

use crate::AccessKey;

const TOKEN: &str = "x-amz-security-token";

/// Keys by their names. A clone knows the same ones.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<Mutex<BTreeMap<String, AccessKey>>>);

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("keys", &self.0.lock().len()).finish()
    }
}

impl Known {
    pub(super) fn add(&self, key: AccessKey) {
        self.0.lock().insert(key.id.clone(), key);
    }

    /// Takes one no more.
    pub(super) fn forget(&self, id: &str) {
        self.0.lock().remove(id);
    }

    fn of(&self, id: &str) -> S3Result<AccessKey> {
        self.0.lock().get(id).cloned().ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}

#[async_trait]
impl S3Auth for Known {
    async fn get_secret_key(&self, id: &str) -> S3Result<SecretKey> {
        self.of(id).map(|key| SecretKey::from(key.secret.reveal()))
    }
}

#[async_trait]
impl S3Access for Known {
    /// A token has to be the one of the key, and signed.
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = cx.credentials() else { return Err(s3_error!(AccessDenied)) };
        let key = self.of(&credentials.access_key)?;
        let header = |name| cx.headers().get(name).and_then(|value| value.to_str().ok());
        let signed = header("authorization").and_then(|header| header.split_once("SignedHeaders="));
        let signed = signed.and_then(|(_, signed)| signed.split([',', ' ']).next()).unwrap_or_default();
        match key.session_token.as_ref().map(Secret::reveal) {
            None => Ok(()),
            Some(token) if header(TOKEN) == Some(token) && signed.split(';').any(|name| name == TOKEN) => {
                Ok(())
            }
            Some(_) => Err(s3_error!(InvalidToken)),
        }
    }
}
