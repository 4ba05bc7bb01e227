//! What each request goes through before a protocol gets it: its scope, who it is from.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use hyper::body::{Body as _, Incoming};
use larder::key::Scope;
use tower_service::Service;

use super::account::Account;
use super::counts::{Counts, Sending};
use super::flow::{Inbound, Outbound};
use super::scrape::Exposition;
use super::streams::Streams;
use crate::guard::{Asker, Credentials, Exceeded, Guard, Holder, Role, Unknown};
use crate::http::HttpError;
use crate::store::Store;
use crate::{http as protocols, rpc};

/// Under which path a request names its scope.
pub(super) const SCOPE: &str = "/scope/";

/// The routes behind what all requests go through. A clone is a few reference counts.
#[derive(Debug, Clone)]
pub(super) struct Front {
    /// The protocols over plain HTTP.
    http: Router,
    /// Those over gRPC, which answers what it does not know in a way of its own.
    grpc: Router,
    /// What needs no identity.
    health: Router,
    guard: Guard,
    default_scope: Scope,
    counts: Counts,
    exposition: Option<Exposition>,
    /// How long a client may send next to nothing.
    stall: Duration,
    /// Who the client is by its certificate.
    names: Arc<[String]>,
    /// What the connection has under way.
    streams: Streams,
    /// Who has turns on the connection.
    holder: Arc<Holder>,
}

impl Front {
    pub(super) fn new(
        store: Store,
        (guard, default_scope): (Guard, Scope),
        draining: Arc<AtomicBool>,
        (counts, exposition): (Counts, Option<Exposition>),
        stall: Duration,
    ) -> Self {
        let grpc = rpc::routes(store.clone()).prepare().into_axum_router();
        let health = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/status", get(async || "ok\n"))
            .route("/readyz", get(is_ready))
            .with_state((store.clone(), draining));
        let http = protocols::routes(store);
        let streams = Streams::new(guard.clock().clone());
        let holder = guard.turns().holder();
        let names = Arc::default();
        Self { http, grpc, health, guard, default_scope, counts, exposition, stall, names, streams, holder }
    }

    /// What tells how the server does.
    pub(super) fn health(&self) -> Router {
        self.health.clone()
    }

    /// The same for one connection, whose client goes by these names.
    pub(super) fn at_connection(&self, names: Vec<String>) -> Self {
        let streams = Streams::new(self.guard.clock().clone());
        Self { names: names.into(), streams, holder: self.guard.turns().holder(), ..self.clone() }
    }

    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    async fn respond(mut self, mut request: Request<Body>) -> Response {
        let mark = self.streams.begin();
        if matches!(request.uri().path(), "/healthz" | "/readyz" | "/status") {
            return into_response(self.health.call(request).await);
        }
        let is_grpc = is_grpc(request.headers());
        let mut account = Account::open(&self.guard, &request, is_grpc);
        let rules = self.guard.rules();
        let secret = secret(request.headers());
        let with = Credentials { secret: secret.as_deref(), names: &self.names };
        let identity = match rules.identify(with, self.guard.clock().wall()) {
            Ok(identity) => identity,
            Err(unknown) => return account.refused(turned_away(unknown, is_grpc)),
        };
        account.identity = Some(identity.clone());
        let admission = match self.guard.admit(&identity) {
            Ok(admission) => admission,
            Err(exceeded) => return account.refused(too_much(exceeded, is_grpc)),
        };
        if let Some(exposition) = self.exposition.as_ref().filter(|_| request.uri().path() == "/metrics") {
            // They name every scope.
            if identity.everywhere() != Some(Role::Admin) {
                return account.refused(HttpError::AdminOnly.into_response());
            }
            let response = exposition.response();
            account.answered(&response);
            return response;
        }
        let original = OriginalUri(request.uri().clone());
        request.extensions_mut().insert(original);
        let scope = match take_scope(request.uri_mut()) {
            Ok(scope) => scope.unwrap_or_else(|| self.default_scope.clone()),
            Err(error) => return account.refused(error.into_response()),
        };
        account.scope = Some(scope.clone());
        request.extensions_mut().insert(Asker {
            identity,
            scope,
            rules,
            audit: self.guard.audit().cloned(),
            turns: self.guard.turns().clone(),
            holder: Arc::clone(&self.holder),
            protocol: account.protocol,
            path: Arc::clone(&account.path),
        });
        let tally = Arc::clone(&account.tally);
        let request = request.map(|body| match body.is_end_stream() {
            true => Body::empty(),
            false => Body::new(Inbound::new(body, admission.clone(), Arc::clone(&tally), self.stall)),
        });
        let router = if is_grpc { &mut self.grpc } else { &mut self.http };
        let response = into_response(router.call(request).await);
        account.answered(&response);
        response.map(|body| Body::new(Outbound::new(body, admission, tally, mark, account)))
    }
}

fn into_response(outcome: Result<Response, Infallible>) -> Response {
    outcome.unwrap_or_else(|never| match never {})
}

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = http::Response<Sending>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let front = self.clone();
        let under_way = self.counts.begin(request.method(), request.uri().path());
        let request = request.map(|body| Body::new(under_way.receiving(body)));
        Box::pin(async move { Ok(under_way.sending(front.respond(request).await)) })
    }
}

/// Whether the server takes requests, and its disk tier answers and takes what is put.
async fn is_ready(State((store, draining)): State<(Store, Arc<AtomicBool>)>) -> (StatusCode, &'static str) {
    if draining.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    match store.is_well().await {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the disk tier does not answer, or takes nothing\n"),
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|content_type| content_type.starts_with(b"application/grpc"))
}

/// What somebody is told who is not known.
fn turned_away(unknown: Unknown, is_grpc: bool) -> Response {
    if is_grpc {
        return tonic::Status::unauthenticated(unknown.to_string()).into_http();
    }
    HttpError::Unauthenticated(unknown).into_response()
}

/// What somebody is told who asks for more than they may.
fn too_much(exceeded: Exceeded, is_grpc: bool) -> Response {
    let mut response = match is_grpc {
        true => tonic::Status::resource_exhausted(exceeded.to_string()).into_http(),
        false => HttpError::Exceeded(exceeded).into_response(),
    };
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(exceeded.retry_after()));
    response
}

/// The secret that comes with a request: a bearer token, or the password of a user whose name does not matter.
pub(crate) fn secret(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let space = value.iter().position(|&byte| byte == b' ')?;
    let (scheme, rest) = (&value[..space], value[space + 1..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Some(Vec::new());
    }
    // What cannot be read is a wrong secret, not none.
    let pair = STANDARD.decode(rest).unwrap_or_default();
    let colon = pair.iter().position(|&byte| byte == b':').map_or(pair.len(), |at| at + 1);
    Some(pair[colon..].to_vec())
}

/// Takes the scope off a path that begins with one.
pub(crate) fn take_scope(uri: &mut Uri) -> Result<Option<Scope>, HttpError> {
    let Some(rest) = uri.path().strip_prefix(SCOPE) else { return Ok(None) };
    let (name, path) = rest.split_once('/').ok_or(HttpError::NotFound)?;
    if matches!(name, "." | "..") {
        return Err(HttpError::Malformed("a scope in a path is no step in it"));
    }
    let scope = Scope::new(name).map_err(crate::store::StoreError::from)?;
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let rest = PathAndQuery::try_from(format!("/{path}{query}"));
    let rest = rest.map_err(|_| HttpError::Malformed("the path behind the scope is none"))?;
    let mut parts = std::mem::take(uri).into_parts();
    parts.path_and_query = Some(rest);
    *uri = Uri::from_parts(parts).map_err(|_| HttpError::Malformed("the path behind the scope is none"))?;
    Ok(Some(scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_taken_off_the_path_and_the_query_stays() {
        let check = |text: &str| {
            let mut uri: Uri = text.parse().unwrap();
            let scope = take_scope(&mut uri).map(|scope| scope.map(|scope| scope.to_string()));
            (scope.ok().flatten(), uri.to_string())
        };
        assert_eq!(check("/scope/shop/ac/12?x=1"), (Some("shop".to_owned()), "/ac/12?x=1".to_owned()));
        assert_eq!(
            check("http://host/scope/a/cas/1"),
            (Some("a".to_owned()), "http://host/cas/1".to_owned())
        );
        assert_eq!(check("/cas/scope/shop/1"), (None, "/cas/scope/shop/1".to_owned()));
        assert_eq!(check("/scope/a%2fb/ac/1").0, None);
        assert_eq!(check("/scope/shop").0, None);
    }

    #[test]
    fn a_secret_is_a_bearer_token_or_a_password() {
        let check = |value: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            secret(&headers).map(|secret| String::from_utf8(secret).unwrap())
        };
        assert_eq!(check("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(check("bearer  abc ").as_deref(), Some("abc"));
        // ada:pass:word
        assert_eq!(check("Basic YWRhOnBhc3M6d29yZA==").as_deref(), Some("pass:word"));
        assert_eq!(check("Basic %%%").as_deref(), Some(""));
        assert_eq!(check("Digest abc").as_deref(), Some(""));
        assert_eq!(secret(&HeaderMap::new()), None);
    }
}
