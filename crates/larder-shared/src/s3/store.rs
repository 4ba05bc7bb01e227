//! Requests: what a tier wants of a server, and what became of it.
//!
//! A request that may be done twice is tried again after a moment. One that must not, because it goes by what stands
//! there now, is not: whoever made it looks at what stands there then. What a server says of a failure is told by its
//! code only, as some repeat in it what was signed, and with it a session's token.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use larder::clock::Timestamp;
use larder::tier::TierError;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, GetOptions, GetRange, GetResult, MultipartUpload, ObjectMeta,
    ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, RetryConfig, UpdateVersion,
};
use tokio::sync::OnceCell;

use super::code::Code;
use super::keys::{KeyError, Keys};
use super::place::Place;
use crate::http;
use crate::tls::{self, Tls, TlsFiles};
use crate::url::UrlError;

/// How long making a connection may take; callers have less patience.
const CONNECT: Duration = Duration::from_secs(5);
/// How long nothing may come of what was asked for.
const SILENCE: Duration = Duration::from_secs(60);
/// How often a request is tried again that may be done twice, and how long is waited before that.
const RETRIES: usize = 2;
const WAITS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));
/// How long all that takes at most.
const TRIES: Duration = Duration::from_secs(10);

/// What became of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// It stands there now, with this tag.
    Yes(String),
    /// Something else stands there than was supposed.
    Taken,
}

/// What stands under a name.
#[derive(Debug)]
pub(super) enum Read {
    Nothing,
    /// What is known already.
    Same,
    Found {
        bytes: Bytes,
        tag: String,
        /// When it was written, by the server's clock.
        changed: Timestamp,
    },
}

/// A request failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the bucket, or something that was there a moment ago, is not there")]
    Nothing,
    #[error("access is denied{0}")]
    Denied(Code),
    #[error("the server refuses the request{0}")]
    Refused(Code),
    #[error("no answer from the server: {0}")]
    Unreachable(String),
    #[error("what is there is longer than {0} bytes")]
    TooLong(u64),
    #[error("the server does not say which state it wrote")]
    NoTag,
    #[error("the server does not heed conditions on writes, so that it cannot be shared")]
    Heedless,
}

#[derive(Debug)]
pub(super) struct Store {
    /// For what may be done twice.
    again: AmazonS3,
    /// For what must not.
    once: AmazonS3,
    /// An object that nobody needs.
    probe: String,
    /// Set when the server was seen to heed conditions.
    heeds: OnceCell<()>,
    answers: Arc<AtomicU64>,
}

/// Gives both stores one set of connections, and counts what is answered there.
#[derive(Debug, Clone)]
struct Connections {
    client: reqwest::Client,
    answers: Arc<AtomicU64>,
}

impl HttpConnector for Connections {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connections {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.client.call(request).await?;
        self.answers.fetch_add(1, Ordering::Relaxed);
        Ok(response)
    }
}

impl Store {
    /// Connects to nothing yet.
    pub(super) fn new(place: &Place, keys: Keys, tls: &TlsFiles, probe: String) -> Result<Self, UrlError> {
        let tls = if place.is_plain() { None } else { Some(Tls::read(tls)?) };
        let client = http::client(tls.as_ref(), CONNECT)?.read_timeout(SILENCE).build();
        let client = client.map_err(|error| UrlError::Malformed(Box::new(error)))?;
        let answers = Arc::<AtomicU64>::default();
        let connections = Connections { client, answers: Arc::clone(&answers) };
        let keys: AwsCredentialProvider = Arc::new(keys);
        let build = |retries| {
            let mut builder = AmazonS3Builder::new()
                .with_bucket_name(&place.bucket)
                .with_region(&place.region)
                .with_credentials(Arc::clone(&keys))
                .with_allow_http(place.is_plain())
                .with_virtual_hosted_style_request(!place.path_style)
                .with_http_connector(connections.clone())
                .with_retry(RetryConfig {
                    backoff: BackoffConfig { init_backoff: WAITS.0, max_backoff: WAITS.1, base: 2. },
                    max_retries: retries,
                    retry_timeout: TRIES,
                });
            if let Some(endpoint) = &place.endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            builder.build().map_err(|error| UrlError::Malformed(Box::new(error)))
        };
        Ok(Self { again: build(RETRIES)?, once: build(0)?, probe, heeds: OnceCell::new(), answers })
    }

    /// How many requests were answered so far.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Reads an object of at most so many bytes, unless it is in the state that a tag stands for.
    pub(super) async fn read(&self, name: &str, known: Option<&str>, most: u64) -> Result<Read, TierError> {
        let options = GetOptions { if_none_match: known.map(str::to_owned), ..GetOptions::default() };
        let result = match self.again.get_opts(&path(name)?, options).await {
            Ok(result) => result,
            Err(Error::NotFound { .. }) => return Ok(Read::Nothing),
            Err(Error::NotModified { .. }) => return Ok(Read::Same),
            Err(error) => return Err(failed(error)),
        };
        if result.meta.size > most {
            return Err(TierError::Index(Box::new(Failure::TooLong(most))));
        }
        let (tag, changed) = (tag_of(result.meta.e_tag.clone())?, changed(&result.meta));
        let bytes = result.bytes().await.map_err(failed)?;
        Ok(Read::Found { bytes, tag, changed })
    }

    /// The first bytes of an object; `None` if it is not there.
    pub(super) async fn read_beginning(&self, name: &str, bytes: u64) -> Result<Option<Bytes>, TierError> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(Range { start: 0, end: bytes })),
            ..GetOptions::default()
        };
        match self.again.get_opts(&path(name)?, options).await {
            Ok(result) => result.bytes().await.map(Some).map_err(failed),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Begins to read an object that may be large.
    pub(super) async fn open(
        &self,
        name: &str,
    ) -> Result<Option<(u64, BoxStream<'static, Result<Bytes, TierError>>)>, TierError> {
        match self.again.get_opts(&path(name)?, GetOptions::default()).await {
            Ok(result) => {
                let bytes = result.meta.size;
                Ok(Some((bytes, GetResult::into_stream(result).map(|piece| piece.map_err(failed)).boxed())))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// When an object was written, by the server's clock; `None` if it is not there.
    pub(super) async fn look(&self, name: &str) -> Result<Option<Timestamp>, TierError> {
        match self.again.head(&path(name)?).await {
            Ok(meta) => Ok(Some(changed(&meta))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes an object in the place of whatever stands there. May be done twice.
    pub(super) async fn write(&self, name: &str, bytes: Vec<u8>) -> Result<(), TierError> {
        self.again.put(&path(name)?, payload(bytes)).await.map(drop).map_err(failed)
    }

    /// Writes an object in the place of whatever stands there, once. Returns its tag.
    pub(super) async fn write_once(&self, name: &str, bytes: Vec<u8>) -> Result<String, TierError> {
        let result = self.once.put(&path(name)?, payload(bytes)).await.map_err(failed)?;
        tag_of(result.e_tag)
    }

    /// Writes an object if there is none.
    pub(super) async fn create(&self, name: &str, bytes: Vec<u8>) -> Result<Written, TierError> {
        self.heeds().await?;
        self.write_if(name, bytes, PutMode::Create).await
    }

    /// Writes an object in the place of one that is in the state which a tag stands for.
    pub(super) async fn replace(&self, name: &str, bytes: Vec<u8>, tag: &str) -> Result<Written, TierError> {
        self.heeds().await?;
        self.write_if(name, bytes, in_place_of(tag)).await
    }

    async fn write_if(&self, name: &str, bytes: Vec<u8>, mode: PutMode) -> Result<Written, TierError> {
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.once.put_opts(&path(name)?, payload(bytes), options).await {
            Ok(result) => Ok(Written::Yes(tag_of(result.e_tag)?)),
            // Also what a server says where two write at once.
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Written::Taken),
            Err(error) => Err(failed(error)),
        }
    }

    /// Sees to it, once in a process, that the server is none of those which write whatever the conditions are: two
    /// would then write one state of the log, and an invalidation be lost.
    async fn heeds(&self) -> Result<(), TierError> {
        let probe = || async {
            let write = |mode| self.write_if(&self.probe, b"larder probe 1\n".to_vec(), mode);
            let is_heeded = (write(PutMode::Create).await? == Written::Taken
                || write(PutMode::Create).await? == Written::Taken)
                && write(in_place_of("\"none\"")).await? == Written::Taken;
            if is_heeded { Ok(()) } else { Err(TierError::Index(Box::new(Failure::Heedless))) }
        };
        self.heeds.get_or_try_init(probe).await.map(drop)
    }

    /// Begins to write an object that is large.
    pub(super) async fn write_parts(&self, name: &str) -> Result<Box<dyn MultipartUpload>, TierError> {
        self.again.put_multipart(&path(name)?).await.map_err(failed)
    }

    /// The names, with sizes, of all objects whose names begin so.
    pub(super) async fn list(&self, beginning: &str) -> Result<Vec<(String, u64)>, TierError> {
        let mut all = Vec::new();
        let mut page_token = None;
        loop {
            let options = PaginatedListOptions { page_token, ..PaginatedListOptions::default() };
            let page = self.again.list_paginated(Some(beginning), options).await.map_err(failed)?;
            let objects = page.result.objects.into_iter();
            all.extend(objects.map(|meta| (meta.location.to_string(), meta.size)));
            page_token = page.page_token;
            if page_token.is_none() {
                return Ok(all);
            }
        }
    }

    /// Removes objects. What is not there is no failure.
    pub(super) async fn remove(&self, names: &[String]) -> Result<(), TierError> {
        let paths: Vec<_> = names.iter().map(|name| Path::parse(name).map_err(Error::from)).collect();
        let mut removed = self.again.delete_stream(futures_util::stream::iter(paths).boxed());
        while let Some(removed) = removed.next().await {
            match removed {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// Moves an object. What is not there is no failure; what the server does not copy, as it is too large, is only
    /// removed.
    pub(super) async fn move_aside(&self, name: &str, to: &str) -> Result<(), TierError> {
        match self.again.copy(&path(name)?, &path(to)?).await {
            Err(Error::NotFound { .. }) => return Ok(()),
            Err(error) => {
                tracing::warn!(
                    error = &failed(error) as &dyn std::error::Error,
                    "what proved bad is not kept"
                );
            }
            Ok(()) => {}
        }
        self.remove(&[name.to_owned()]).await
    }
}

fn in_place_of(tag: &str) -> PutMode {
    PutMode::Update(UpdateVersion { e_tag: Some(tag.to_owned()), version: None })
}

fn changed(meta: &ObjectMeta) -> Timestamp {
    Timestamp::from_millis(u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0))
}

fn path(name: &str) -> Result<Path, TierError> {
    Path::parse(name).map_err(|error| failed(error.into()))
}

fn payload(bytes: Vec<u8>) -> PutPayload {
    PutPayload::from_bytes(bytes.into())
}

fn tag_of(tag: Option<String>) -> Result<String, TierError> {
    tag.ok_or_else(|| TierError::Index(Box::new(Failure::NoTag)))
}

/// What failed, in our words.
pub(super) fn failed(error: Error) -> TierError {
    let unreachable = |http: &HttpError| {
        let first: &dyn std::error::Error = http;
        let causes = std::iter::successors(first.source(), |error| error.source());
        // The last one is what the system says.
        causes.last().map_or_else(|| "the connection broke".to_owned(), ToString::to_string)
    };
    let first: &(dyn std::error::Error + 'static) = &error;
    if let Some(refused) = tls::refused(first) {
        return TierError::Refused(Box::new(refused));
    }
    let causes = || std::iter::successors(Some(first), |error| error.source());
    if let Some(no_key) = causes().find_map(|cause| cause.downcast_ref::<Arc<KeyError>>()) {
        return TierError::Index(Box::new(Arc::clone(no_key)));
    }
    if let Some(http) = causes().find_map(|cause| cause.downcast_ref::<HttpError>()) {
        let failure = Failure::Unreachable(unreachable(http));
        // A connection that does not come about in time may come about the next time.
        let mut said = causes().filter_map(|cause| cause.downcast_ref::<io::Error>());
        return match said.any(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            true => TierError::Refused(Box::new(failure)),
            false => TierError::Io(io::Error::other(failure)),
        };
    }
    let code = Code::of(&error);
    match &error {
        Error::NotFound { .. } => TierError::Index(Box::new(Failure::Nothing)),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } if code.is_of_the_key() => {
            TierError::Refused(Box::new(Failure::Denied(code)))
        }
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            TierError::Index(Box::new(Failure::Denied(code)))
        }
        _ => TierError::Index(Box::new(Failure::Refused(code))),
    }
}
