//! A server that lends keys for S3: it speaks the forms of an instance's metadata, a container's URL and the security
//! token service, as AWS documents them.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use larder::clock::Clock;
use larder::config::Secret;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::certificates::Certificates;
use super::known::Known;
use super::port::on_free_ports;
use super::s3::{S3Server, accept, acceptor};
use crate::AccessKey;

/// What a container says, and what a token is that vouches for a role.
const CONTAINER_TOKEN: &str = "Basic hush-container";
const IDENTITY_TOKEN: &str = "hush.identity.token";
const INSTANCE_TOKEN: &str = "hush-instance";
const ROLE: &str = "arn:aws:iam::123456789012:role/cache";

/// Who was asked for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lender {
    /// The instance's metadata.
    Instance,
    /// The container's URL.
    Container,
    /// The security token service.
    TokenService,
}

/// A server that lends keys which an S3 server takes.
pub struct KeyServer {
    running: Option<Runtime>,
    address: SocketAddr,
    is_encrypted: bool,
    lending: Arc<Lending>,
}

struct Lending {
    known: Known,
    clock: Clock,
    lasts: Duration,
    asked: Mutex<Vec<Lender>>,
    fails: AtomicBool,
    has_no_role: AtomicBool,
    holds: watch::Sender<bool>,
}

impl fmt::Debug for KeyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl KeyServer {
    /// Starts one whose keys last so long by a clock.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(server: &S3Server, clock: &Clock, lasts: Duration) -> Self {
        Self::start_with(server, clock, lasts, None)
    }

    /// The same, and it only speaks encrypted.
    ///
    /// # Panics
    /// If it does not start.
    pub fn encrypted(server: &S3Server, clock: &Clock, lasts: Duration, certificates: &Certificates) -> Self {
        Self::start_with(server, clock, lasts, Some(certificates))
    }

    fn start_with(server: &S3Server, clock: &Clock, lasts: Duration, tls: Option<&Certificates>) -> Self {
        let lending = Arc::new(Lending {
            known: server.known().clone(),
            clock: clock.clone(),
            lasts,
            asked: Mutex::default(),
            fails: AtomicBool::new(false),
            has_no_role: AtomicBool::new(false),
            holds: watch::Sender::new(false),
        });
        let (running, address) = on_free_ports(|[address]| {
            let listener = std::net::TcpListener::bind(address).ok()?;
            listener.set_nonblocking(true).expect("a listener that does not block");
            let running = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let (running, lending) = (running.expect("a runtime"), Arc::clone(&lending));
            let service = service_fn(move |request| {
                let lending = Arc::clone(&lending);
                async move { Ok::<_, Infallible>(lending.answer(request).await) }
            });
            running.spawn(accept(listener, service, tls.map(acceptor)));
            Some((running, address))
        });
        Self { running: Some(running), address, is_encrypted: tls.is_some(), lending }
    }

    /// Where it is, as an instance's metadata and as a token service.
    pub fn url(&self) -> String {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Where it is, as a container has it.
    pub fn container_url(&self) -> String {
        format!("{}/keys", self.url())
    }

    /// What a container has to say there.
    pub fn container_token() -> &'static str {
        CONTAINER_TOKEN
    }

    /// Which token vouches for which role.
    pub fn identity() -> (&'static str, &'static str) {
        (IDENTITY_TOKEN, ROLE)
    }

    /// Who was asked for a key, in order.
    pub fn asked(&self) -> Vec<Lender> {
        self.lending.asked.lock().clone()
    }

    /// Lends nothing from now on, or does again.
    pub fn fail(&self, fails: bool) {
        self.lending.fails.store(fails, Ordering::Relaxed);
    }

    /// Is an instance without a role from now on.
    pub fn take_role(&self) {
        self.lending.has_no_role.store(true, Ordering::Relaxed);
    }

    /// Has the S3 server take none of the keys any more that were lent, but the last.
    pub fn forget_all_but_the_last(&self) {
        (1..self.asked().len()).for_each(|n| self.lending.known.forget(&id(n)));
    }

    /// Answers nobody from now on, or all who wait.
    pub fn hold(&self, hold: bool) {
        self.lending.holds.send_replace(hold);
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown_background();
        }
    }
}

type Answer = Response<Full<Bytes>>;

fn says(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
}

impl Lending {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        // The sender lives as long as `self`.
        let _ = self.holds.subscribe().wait_for(|holds| !holds).await;
        let path = request.uri().path().to_owned();
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let is_known = header("x-aws-ec2-metadata-token") == Some(INSTANCE_TOKEN);
        match (request.method(), path.strip_prefix("/latest/").unwrap_or(&path)) {
            (&Method::PUT, "api/token") => {
                match header("x-aws-ec2-metadata-token-ttl-seconds").and_then(|ttl| ttl.parse::<u32>().ok()) {
                    Some(1..=21600) => says(StatusCode::OK, INSTANCE_TOKEN),
                    _ => says(StatusCode::BAD_REQUEST, ""),
                }
            }
            (&Method::GET, rest) if rest.starts_with("meta-data/") && !is_known => {
                says(StatusCode::UNAUTHORIZED, "")
            }
            (&Method::GET, "meta-data/iam/security-credentials/") => {
                match self.has_no_role.load(Ordering::Relaxed) {
                    true => says(StatusCode::NOT_FOUND, ""),
                    false => says(StatusCode::OK, "cache-role"),
                }
            }
            (&Method::GET, "meta-data/iam/security-credentials/cache-role") => self.of_instance(),
            (&Method::GET, "/keys") => {
                let token = request.headers().get(AUTHORIZATION);
                self.of_container(token.is_some_and(|token| token == CONTAINER_TOKEN))
            }
            (&Method::POST, "/") => {
                let body = request.into_body().collect().await.map(|body| body.to_bytes());
                self.of_token_service(&String::from_utf8_lossy(&body.unwrap_or_default()))
            }
            _ => says(StatusCode::NOT_FOUND, ""),
        }
    }

    /// A new key, and when it ends; `None` if there is none to be had.
    fn lend(&self, lender: Lender) -> Option<(AccessKey, String)> {
        let mut asked = self.asked.lock();
        asked.push(lender);
        if self.fails.load(Ordering::Relaxed) {
            return None;
        }
        let key = AccessKey {
            id: id(asked.len()),
            secret: Secret::new(format!("hush-secret-{}", asked.len())),
            session_token: Some(Secret::new(format!("hush/token+{}==", asked.len()))),
        };
        self.known.add(key.clone());
        let ends: SystemTime = self.clock.wall().plus(self.lasts).into();
        Some((key, humantime::format_rfc3339_seconds(ends).to_string()))
    }

    fn of_instance(&self) -> Answer {
        let Some((key, ends)) = self.lend(Lender::Instance) else {
            let failed = r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"hush: no trust"}"#;
            return says(StatusCode::OK, failed);
        };
        let (secret, token) = revealed(&key);
        let now = humantime::format_rfc3339_seconds(self.clock.wall().into());
        says(
            StatusCode::OK,
            format!(
                r#"{{"Code":"Success","LastUpdated":"{now}","Type":"AWS-HMAC","AccessKeyId":"{}",
                "SecretAccessKey":"{secret}","Token":"{token}","Expiration":"{ends}"}}"#,
                key.id
            ),
        )
    }

    fn of_container(&self, is_known: bool) -> Answer {
        if !is_known {
            let failed = r#"{"code":"AccessDenied","message":"hush: who are you"}"#;
            return says(StatusCode::FORBIDDEN, failed);
        }
        let Some((key, ends)) = self.lend(Lender::Container) else {
            let failed = r#"{"code":"InternalServerError","message":"hush: later"}"#;
            return says(StatusCode::INTERNAL_SERVER_ERROR, failed);
        };
        let (secret, token) = revealed(&key);
        says(
            StatusCode::OK,
            format!(
                r#"{{"RoleArn":"{ROLE}","AccessKeyId":"{}","SecretAccessKey":"{secret}","Token":"{token}",
                "Expiration":"{ends}"}}"#,
                key.id
            ),
        )
    }

    fn of_token_service(&self, form: &str) -> Answer {
        let field = |name: &str| {
            let fields = form.split('&').filter_map(|field| field.split_once('='));
            let value = fields.filter(|(field, _)| *field == name).map(|(_, value)| value).next()?;
            percent_encoding::percent_decode_str(value).decode_utf8().ok().map(String::from)
        };
        let is_asked_for = field("Action").as_deref() == Some("AssumeRoleWithWebIdentity")
            && field("Version").as_deref() == Some("2011-06-15")
            && field("RoleSessionName").is_some_and(|name| (2..=64).contains(&name.len()));
        let is_known = field("WebIdentityToken").as_deref() == Some(IDENTITY_TOKEN)
            && field("RoleArn").as_deref() == Some(ROLE);
        let lent = if is_asked_for && is_known { self.lend(Lender::TokenService) } else { None };
        let Some((key, ends)) = lent else {
            let failed = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
                <Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>hush</Message></Error>\
                <RequestId>1</RequestId></ErrorResponse>";
            return says(StatusCode::BAD_REQUEST, failed);
        };
        let (secret, token) = revealed(&key);
        says(
            StatusCode::OK,
            format!(
                "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                <AssumeRoleWithWebIdentityResult><SubjectFromWebIdentityToken>ci</SubjectFromWebIdentityToken>\
                <AssumedRoleUser><Arn>{ROLE}</Arn><AssumedRoleId>A:ci</AssumedRoleId></AssumedRoleUser>\
                <Credentials><SessionToken>{token}</SessionToken><SecretAccessKey>{secret}</SecretAccessKey>\
                <Expiration>{ends}</Expiration><AccessKeyId>{}</AccessKeyId></Credentials>\
                <Provider>ci</Provider></AssumeRoleWithWebIdentityResult>\
                <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>\
                </AssumeRoleWithWebIdentityResponse>",
                key.id
            ),
        )
    }
}

/// What the key is called that was asked for as the `n`th.
fn id(n: usize) -> String {
    format!("ASIA{n:016}")
}

fn revealed(key: &AccessKey) -> (&str, &str) {
    (key.secret.reveal(), key.session_token.as_ref().map_or("", Secret::reveal))
}
