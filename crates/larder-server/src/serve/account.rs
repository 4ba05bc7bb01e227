//! What one request came to: for the access log, and for the audit log where a path says it all.
//!
//! Not here: what gRPC does, whose paths say nothing of keys (`rpc`), and what a scope's rules refuse
//! ([`Asker::may`](crate::guard::Asker::may)).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::response::Response;
use http::{Method, Request, StatusCode, header};
use larder::clock::{Clock, Instant};
use larder::key::Scope;

use super::flow::Tally;
use crate::guard::{Audit, Deed, Entry, Guard, Identity, Outcome};

/// One request. Dropped when the last of its answer is gone or given up.
#[derive(Debug)]
pub(super) struct Account {
    audit: Option<Audit>,
    clock: Clock,
    began: Instant,
    method: Method,
    pub(super) path: Arc<str>,
    pub(super) protocol: &'static str,
    pub(super) identity: Option<Identity>,
    pub(super) scope: Option<Scope>,
    pub(super) tally: Arc<Tally>,
    status: Option<StatusCode>,
    /// How long the answer is, if that was said.
    length: Option<u64>,
}

impl Account {
    pub(super) fn open<B>(guard: &Guard, request: &Request<B>, is_grpc: bool) -> Self {
        let path: Arc<str> = request.uri().path().into();
        Self {
            audit: guard.audit().cloned(),
            clock: guard.clock().clone(),
            began: guard.clock().now(),
            method: request.method().clone(),
            protocol: if is_grpc { "grpc" } else { protocol(&path) },
            path,
            identity: None,
            scope: None,
            tally: Arc::default(),
            status: None,
            length: None,
        }
    }

    /// An answer that no protocol gave, as somebody is not known or asks too much.
    pub(super) fn refused(mut self, response: Response) -> Response {
        self.status = Some(response.status());
        self.tell(None, None, Outcome::Refused);
        self.audit = None;
        response
    }

    /// Takes note of the answer, whose body is still to come.
    pub(super) fn answered(&mut self, response: &Response) {
        self.status = Some(response.status());
        let length = response.headers().get(header::CONTENT_LENGTH);
        self.length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    }

    fn tell(&self, deed: Option<Deed>, bytes: Option<u64>, outcome: Outcome) {
        let Some(audit) = &self.audit else { return };
        audit.tell(Entry {
            who: self.identity.as_ref().map(|identity| &**identity.name()),
            scope: self.scope.as_ref(),
            protocol: self.protocol,
            deed,
            key: self.path.to_string(),
            bytes,
            outcome,
        });
    }

    /// Tells the audit log what was done over plain HTTP.
    fn audit(&self, came: u64, went: u64) {
        let deed = match self.method {
            Method::PUT if self.protocol == "cas" => Deed::WriteContent,
            Method::PUT => Deed::WriteResult,
            Method::DELETE => Deed::Remove,
            _ => Deed::Read,
        };
        let outcome = match self.status {
            // What may not be done was told by whoever said no.
            Some(StatusCode::FORBIDDEN) => return,
            Some(StatusCode::CONFLICT) => Outcome::Refused,
            Some(StatusCode::NOT_FOUND) => Outcome::Missing,
            Some(status) if status.is_success() => match self.length {
                // It broke off.
                Some(length) if deed == Deed::Read && self.method != Method::HEAD && went < length => {
                    Outcome::Failed
                }
                _ => Outcome::Done,
            },
            _ => Outcome::Failed,
        };
        let bytes = if deed == Deed::Read { went } else { came };
        self.tell(Some(deed), Some(bytes), outcome);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let came = self.tally.came.load(Ordering::Relaxed);
        let went = self.tally.went.load(Ordering::Relaxed);
        if self.protocol != "grpc" && self.audit.is_some() {
            self.audit(came, went);
        }
        let micros = self.clock.now().since(self.began).as_micros() as u64;
        let (who, scope) = (self.identity.as_ref().map(|who| &**who.name()), self.scope.as_ref());
        tracing::info!(
            target: "larder::access",
            method = self.method.as_str(),
            path = &*self.path,
            status = self.status.map(|status| status.as_u16()),
            who,
            scope = scope.map(Scope::as_str),
            came,
            went,
            micros,
            "request"
        );
    }
}

/// What the protocol of a path is called.
fn protocol(path: &str) -> &'static str {
    let rest = path.strip_prefix("/scope/").and_then(|rest| rest.split_once('/')).map(|(_, rest)| rest);
    let rest = rest.unwrap_or_else(|| path.trim_start_matches('/'));
    match rest.split('/').next() {
        Some("ac") => "ac",
        Some("cas") => "cas",
        Some("ccache") => "ccache",
        Some("gradle") => "gradle",
        Some("webdav") => "webdav",
        Some("v8") => "turborepo",
        Some("v1") => "nx",
        _ => "http",
    }
}
