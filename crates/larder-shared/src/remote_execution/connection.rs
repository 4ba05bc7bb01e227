//! Connections: made when they are first needed, and again after they broke.
//!
//! Small questions and large values go different ways, so that none of the former waits behind one of the latter.
//! Each call here may come twice, so one whose connection breaks is made once more, on a new one.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use larder::tier::TierError;
use parking_lot::Mutex;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::naming::random;
use crate::tls::{self, Tls};

/// How long making a connection may take; callers have less patience.
const CONNECT: Duration = Duration::from_secs(5);
/// How long is waited at most before a call is made again.
const JITTER_MICROS: u64 = 5_000;
/// How much of a value may be on its way before the other side says that it took some.
const WINDOW: u32 = 4 << 20;
/// How much of what a server says of an error is repeated.
const MAX_SAID: usize = 200;

/// Which way a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Small,
    Bulk,
}

/// What a call is made on.
pub(super) type Wire = InterceptedService<Channel, Token>;

/// Who asks, as the server is told.
#[derive(Debug, Clone)]
pub(super) struct Token(Option<AsciiMetadataValue>);

impl Token {
    /// A token in the form of a header; `None` if no header can hold it.
    pub(super) fn new(token: Option<&str>) -> Option<Self> {
        let Some(token) = token else { return Some(Self(None)) };
        let mut value: AsciiMetadataValue = format!("Bearer {token}").parse().ok()?;
        value.set_sensitive(true);
        Some(Self(Some(value)))
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

#[derive(Debug)]
pub(super) struct Connections {
    endpoint: Endpoint,
    tls: Option<Tls>,
    token: Token,
    small: Way,
    bulk: Way,
    answers: AtomicU64,
}

#[derive(Debug, Default)]
struct Way {
    channel: Mutex<Option<Channel>>,
    /// Whether the connection broke, or somebody gave up waiting on it.
    stale: AtomicBool,
}

/// Marks a connection as stale unless the call on it came to its end.
struct Step<'a> {
    way: &'a Way,
    ended: bool,
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.way.stale.store(true, Ordering::Release);
        }
    }
}

impl Connections {
    pub(super) fn new(endpoint: Endpoint, tls: Option<Tls>, token: Token) -> Self {
        let endpoint = endpoint
            .connect_timeout(CONNECT)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(4 * WINDOW);
        let (small, bulk, answers) = (Way::default(), Way::default(), AtomicU64::new(0));
        Self { endpoint, tls, token, small, bulk, answers }
    }

    /// How many calls were answered so far.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Makes a call. What the server says is not there is `None`.
    pub(super) async fn call<T, F>(
        &self,
        lane: Lane,
        call: &'static str,
        step: impl Fn(Wire) -> F,
    ) -> Result<Option<T>, TierError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let outcome = match self.call_once(lane, &step).await? {
            Err(status) if is_broken(&status) && !is_refused(&status) => {
                tracing::debug!(call, error = &status as &dyn Error, "connection broke; trying again");
                tokio::time::sleep(Duration::from_micros(random() % JITTER_MICROS)).await;
                self.call_once(lane, &step).await?
            }
            outcome => outcome,
        };
        match outcome {
            Ok(answer) => Ok(Some(answer)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(failed(call, &status)),
        }
    }

    async fn call_once<T, F>(
        &self,
        lane: Lane,
        step: &impl Fn(Wire) -> F,
    ) -> Result<Result<T, Status>, TierError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let way = match lane {
            Lane::Small => &self.small,
            Lane::Bulk => &self.bulk,
        };
        let wire = InterceptedService::new(self.channel(way)?, self.token.clone());
        let mut guard = Step { way, ended: false };
        let outcome = step(wire).await;
        guard.ended = outcome.as_ref().err().is_none_or(|status| !is_broken(status));
        self.answers.fetch_add(u64::from(guard.ended), Ordering::Relaxed);
        Ok(outcome)
    }

    fn channel(&self, way: &Way) -> Result<Channel, TierError> {
        let mut kept = way.channel.lock();
        if way.stale.swap(false, Ordering::AcqRel) {
            *kept = None;
        }
        if let Some(channel) = &*kept {
            return Ok(channel.clone());
        }
        let mut endpoint = self.endpoint.clone();
        if let Some(tls) = &self.tls {
            // Whom the machine trusts is read now, and not before there is anything to say.
            endpoint =
                endpoint.tls_config(tls.of_grpc()).map_err(|error| TierError::Io(io::Error::other(error)))?;
        }
        Ok(kept.insert(endpoint.connect_lazy()).clone())
    }
}

/// The innermost cause of an error that did not come from the server.
fn root(status: &Status) -> Option<&(dyn Error + 'static)> {
    std::iter::successors(status.source(), |&error| error.source()).last()
}

/// Whether the connection is of no more use. A channel whose runtime ended says no more than that it is not ready, as
/// unknown.
fn is_broken(status: &Status) -> bool {
    root(status).is_some() || matches!(status.code(), Code::Unavailable | Code::Unknown)
}

/// Whether nobody listens there.
fn is_refused(status: &Status) -> bool {
    let cause = root(status).and_then(|error| error.downcast_ref::<io::Error>());
    cause.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The server's answer to a call is an error.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {code}{said}")]
struct Declined {
    call: &'static str,
    code: Code,
    said: String,
}

fn failed(call: &'static str, status: &Status) -> TierError {
    if let Some(refused) = status.source().and_then(tls::refused) {
        return TierError::Refused(Box::new(refused));
    }
    if let Some(root) = root(status) {
        if is_refused(status) {
            return TierError::Refused(root.to_string().into());
        }
        return TierError::Io(io::Error::other(root.to_string()));
    }
    let said: String = status.message().chars().filter(|c| !c.is_control()).take(MAX_SAID).collect();
    let said = if said.is_empty() { said } else { format!(": {said}") };
    let declined = Box::new(Declined { call, code: status.code(), said });
    match status.code() {
        Code::Unauthenticated => TierError::Refused(declined),
        _ => TierError::Index(declined),
    }
}

/// Whether the server said that whoever asks may not do that.
pub(super) fn is_denied(error: &TierError) -> bool {
    matches!(code(error), Some(Code::PermissionDenied | Code::Unimplemented))
}

/// Whether the server said that something else is there, which it does not replace.
pub(super) fn is_taken(error: &TierError) -> bool {
    code(error) == Some(Code::AlreadyExists)
}

fn code(error: &TierError) -> Option<Code> {
    let TierError::Index(error) = error else { return None };
    Some(error.downcast_ref::<Declined>()?.code)
}

/// An answer that is not what the call promises.
pub(super) fn unexpected(what: &'static str) -> TierError {
    TierError::Index(what.into())
}
