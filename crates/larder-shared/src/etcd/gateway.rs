//! Requests to one of the servers: the next one where one fails, with a token where there is an account.
//!
//! Each request here may be made twice, so one whose connection breaks is made once more. A larger answer than any that
//! a server of ours gives is not read to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use larder::tier::TierError;
use parking_lot::Mutex;
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::address::{Account, Address};
use super::wire::{Admitted, Failed, Line};
use crate::http;
use crate::naming::random;
use crate::tls::{self, Tls};

/// How long making a connection may take; callers have less patience.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);
/// How long is waited at most before a request is made again.
const JITTER_MICROS: u64 = 5_000;
/// How long an answer is at most.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the connection failed")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("nobody listens there")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it does not speak as etcd does")]
    Unknown(#[source] Option<serde_json::Error>),
    #[error("it has no room left")]
    NoSpace,
    #[error("the lease is over")]
    NoLease,
    /// The token is too old, or the server has forgotten it.
    #[error("it wants to be told anew who asks")]
    Token,
    /// It does not know the account, or wants one.
    #[error("{0}")]
    TurnedAway(String),
    /// That server cannot answer now; another may.
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Said(String),
}

impl From<Failure> for TierError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Broken(error) => Self::Io(std::io::Error::other(error)),
            Failure::Refused(error) => Self::Refused(error),
            Failure::Token | Failure::TurnedAway(_) => Self::Refused(Box::new(failure)),
            other => Self::Index(Box::new(other)),
        }
    }
}

impl Failure {
    fn of(error: reqwest::Error) -> Self {
        let is_refused = error.is_connect();
        let error = error.without_url();
        match tls::refused(&error) {
            Some(refused) => Self::Refused(Box::new(refused)),
            None if is_refused => Self::Refused(Box::new(error)),
            None => Self::Broken(Box::new(error)),
        }
    }

    /// What the server says of a request that it did not grant.
    fn said(failed: Failed) -> Self {
        let Failed { code, message } = failed;
        match code {
            _ if message.contains("database space exceeded") => Self::NoSpace,
            _ if message.contains("requested lease not found") => Self::NoLease,
            16 => Self::Token,
            _ if message.contains("auth token") || message.contains("auth store is old") => Self::Token,
            _ if message.contains("authentication failed") || message.contains("user name is empty") => {
                Self::TurnedAway(message)
            }
            14 => Self::Unavailable(message),
            _ => Self::Said(message),
        }
    }

    /// Whether asking again may help, perhaps another server.
    fn may_pass(&self, servers: usize) -> bool {
        match self {
            Self::Broken(_) | Self::Unavailable(_) => true,
            Self::Refused(_) => servers > 1,
            _ => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Gateway {
    servers: Vec<String>,
    /// Which server is asked; counts on.
    at: AtomicUsize,
    account: Option<Account>,
    token: Mutex<Option<Arc<str>>>,
    tls: Option<Tls>,
    client: Mutex<Option<Client>>,
    /// Whether somebody gave up waiting on a connection.
    stale: AtomicBool,
    answers: AtomicU64,
}

/// Marks connections as stale, and the server as one to be passed over, unless the request came to its end.
struct Step<'a> {
    gateway: &'a Gateway,
    at: usize,
    ended: bool,
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.gateway.stale.store(true, Ordering::Release);
            self.gateway.pass_on(self.at);
        }
    }
}

impl Gateway {
    pub(super) fn new(address: &Address, tls: Option<Tls>) -> Self {
        let scheme = if address.encrypted { "https" } else { "http" };
        let servers = address.servers.iter().map(|server| format!("{scheme}://{server}")).collect();
        Self {
            servers,
            at: AtomicUsize::new(0),
            account: address.account.clone(),
            token: Mutex::default(),
            tls,
            client: Mutex::default(),
            stale: AtomicBool::new(false),
            answers: AtomicU64::new(0),
        }
    }

    /// How many requests were answered so far.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Asks one thing.
    pub(super) async fn ask<A: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        asked: &A,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(asked).map_err(|error| Failure::Unknown(Some(error)))?;
        self.trying(|| async {
            let mut step = Step { gateway: self, at: self.at.load(Ordering::Relaxed), ended: false };
            let answer = self.send(path, body.clone()).await;
            let answer = match answer {
                Ok(response) => whole(response).await,
                Err(failure) => Err(failure),
            };
            step.ended = !matches!(answer, Err(Failure::Broken(_)));
            serde_json::from_slice(&answer?).map_err(|error| Failure::Unknown(Some(error)))
        })
        .await
    }

    /// Asks one thing where the answer is a stream, and takes its first line.
    pub(super) async fn ask_first<A: Serialize, T>(&self, path: &str, asked: &A) -> Result<T, Failure>
    where
        T: DeserializeOwned + Default,
    {
        Ok(self.ask::<A, Line<T>>(path, asked).await?.result)
    }

    /// Begins to listen to a stream.
    pub(super) async fn listen<A: Serialize>(&self, path: &str, asked: &A) -> Result<Lines, Failure> {
        let body = serde_json::to_vec(asked).map_err(|error| Failure::Unknown(Some(error)))?;
        let response = self.trying(|| self.send(path, body.clone())).await?;
        Ok(Lines { response, rest: Vec::new() })
    }

    /// Tries a request as often as may help.
    async fn trying<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        request: impl Fn() -> F,
    ) -> Result<T, Failure> {
        let attempts = self.servers.len().max(2);
        let mut is_admitted = false;
        let mut n = 1;
        loop {
            let at = self.at.load(Ordering::Relaxed);
            match request().await {
                Err(Failure::Token) if self.account.is_some() && !is_admitted => {
                    *self.token.lock() = None;
                    is_admitted = true;
                }
                Err(failure) if n < attempts && failure.may_pass(self.servers.len()) => {
                    tracing::debug!(error = &failure as &dyn std::error::Error, "trying again");
                    n += 1;
                    self.pass_on(at);
                    tokio::time::sleep(Duration::from_micros(random() % JITTER_MICROS)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn send(&self, path: &str, body: Vec<u8>) -> Result<Response, Failure> {
        let token = match &self.account {
            Some(account) => Some(self.token(account).await?),
            None => None,
        };
        self.post(path, body, token.as_deref()).await
    }

    async fn post(&self, path: &str, body: Vec<u8>, token: Option<&str>) -> Result<Response, Failure> {
        let server = &self.servers[self.at.load(Ordering::Relaxed) % self.servers.len()];
        let mut request = self.client()?.post(format!("{server}/v3/{path}")).body(body);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        let response = request.send().await.map_err(Failure::of)?;
        self.answers.fetch_add(1, Ordering::Relaxed);
        if response.status().is_success() {
            return Ok(response);
        }
        let said = whole(response).await?;
        Err(serde_json::from_slice(&said).map_or(Failure::Unknown(None), Failure::said))
    }

    async fn token(&self, account: &Account) -> Result<Arc<str>, Failure> {
        if let Some(token) = &*self.token.lock() {
            return Ok(Arc::clone(token));
        }
        let Account { name, password } = account.clone();
        let body = serde_json::to_vec(&super::wire::Account { name, password });
        let body = body.map_err(|error| Failure::Unknown(Some(error)))?;
        let admitted = whole(self.post("auth/authenticate", body, None).await?).await?;
        let admitted: Admitted =
            serde_json::from_slice(&admitted).map_err(|error| Failure::Unknown(Some(error)))?;
        let token: Arc<str> = admitted.token.into();
        *self.token.lock() = Some(Arc::clone(&token));
        Ok(token)
    }

    fn client(&self) -> Result<Client, Failure> {
        let mut kept = self.client.lock();
        if self.stale.swap(false, Ordering::AcqRel) {
            // Those of the old one that others wait on go on.
            *kept = None;
        }
        if let Some(client) = &*kept {
            return Ok(client.clone());
        }
        let client = http::client(self.tls.as_ref(), CONNECT);
        // Whoever waits for an answer says how long.
        let client = client.map_err(|error| Failure::Broken(Box::new(error)))?.pool_idle_timeout(IDLE);
        Ok(kept.insert(client.build().map_err(Failure::of)?).clone())
    }

    /// Asks the next server from now on, unless somebody passed this one over already.
    fn pass_on(&self, at: usize) {
        let _ = self.at.compare_exchange(at, at.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The whole of an answer.
async fn whole(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut whole = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failure::of)? {
        whole.extend(chunk);
        if whole.len() > MAX_ANSWER_BYTES {
            return Err(Failure::Unknown(None));
        }
    }
    Ok(whole)
}

/// A stream of lines.
pub(super) struct Lines {
    response: Response,
    rest: Vec<u8>,
}

impl Lines {
    /// The next line; `None` at the end.
    pub(super) async fn next<T: DeserializeOwned + Default>(&mut self) -> Result<Option<T>, Failure> {
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let line: Line<T> =
                    serde_json::from_slice(&line).map_err(|error| Failure::Unknown(Some(error)))?;
                return Ok(Some(line.result));
            }
            let Some(chunk) = self.response.chunk().await.map_err(Failure::of)? else { return Ok(None) };
            self.rest.extend(chunk);
            if self.rest.len() > MAX_ANSWER_BYTES {
                return Err(Failure::Unknown(None));
            }
        }
    }
}
