//! What is counted of connections and requests, for the `metrics` facade.
//!
//! | name | type | labels |
//! |---|---|---|
//! | `larder_server_requests_total` | counter | `protocol`, `operation`, `outcome` |
//! | `larder_server_request_seconds` | histogram | `protocol`, `operation` |
//! | `larder_server_received_bytes_total`, `larder_server_sent_bytes_total` | counter | `protocol` |
//! | `larder_server_requests_under_way`, `larder_server_connections` | gauge | |
//! | `larder_server_accepted_total` | counter | |
//! | `larder_server_draining` | gauge | |
//! | `larder_tier_up` | gauge | `tier` |
//!
//! A request lasts from its head to the last byte of its answer, and bytes are those of bodies. Scopes are no labels
//! here: the engine's own metrics tell them apart, up to a limit.
//!
//! Invariant: each request is counted once, when its answer has gone or cannot go any more. Install the recorder
//! before the server is bound.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes};
use http::{HeaderMap, Method, Response, StatusCode, header};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use super::traffic::{Operation, Outcome, Protocol};
use crate::store::Store;

/// What is counted. A clone is another handle.
#[derive(Clone)]
pub(super) struct Counts(Arc<Inner>);

struct Inner {
    traffic: [Traffic; Protocol::ALL.len()],
    under_way: Gauge,
    connections: Gauge,
    accepted: Counter,
    draining: Gauge,
}

/// What comes and goes by one protocol. What never came is not there.
#[derive(Default)]
struct Traffic {
    received: OnceLock<Counter>,
    sent: OnceLock<Counter>,
    operations: [Ended; Operation::ALL.len()],
}

#[derive(Default)]
struct Ended {
    seconds: OnceLock<Histogram>,
    outcomes: [OnceLock<Counter>; Outcome::ALL.len()],
}

impl std::fmt::Debug for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counts")
    }
}

impl Counts {
    pub(super) fn new() -> Self {
        describe();
        let inner = Inner {
            traffic: Default::default(),
            under_way: gauge!("larder_server_requests_under_way"),
            connections: gauge!("larder_server_connections"),
            accepted: counter!("larder_server_accepted_total"),
            draining: gauge!("larder_server_draining"),
        };
        inner.draining.set(0.0);
        Self(Arc::new(inner))
    }

    /// Counts a connection for as long as what is returned lives.
    pub(super) fn connection(&self) -> Connected {
        self.0.accepted.increment(1);
        self.0.connections.increment(1.0);
        Connected(self.clone())
    }

    /// Counts a request from now on.
    pub(super) fn begin(&self, method: &Method, path: &str) -> UnderWay {
        let (protocol, operation) = Protocol::of(method, path);
        self.0.under_way.increment(1.0);
        UnderWay { counts: self.clone(), protocol, operation, began: Instant::now(), outcome: None }
    }

    pub(super) fn drains(&self) {
        self.0.draining.set(1.0);
    }

    fn received(&self, protocol: Protocol, bytes: u64) {
        let counter = &self.0.traffic[protocol as usize].received;
        let register = || counter!("larder_server_received_bytes_total", "protocol" => protocol.as_str());
        counter.get_or_init(register).increment(bytes);
    }

    fn sent(&self, protocol: Protocol, bytes: u64) {
        let counter = &self.0.traffic[protocol as usize].sent;
        let register = || counter!("larder_server_sent_bytes_total", "protocol" => protocol.as_str());
        counter.get_or_init(register).increment(bytes);
    }
}

/// Tells which tiers are in use. A tier that is left alone is none.
pub(super) async fn tell_tiers(store: &Store) {
    let up = |tier: &'static str, is_up: bool| {
        gauge!("larder_tier_up", "tier" => tier).set(f64::from(u8::from(is_up)))
    };
    let opened = store.opened();
    if opened.larder.memory_usage().is_some() {
        up("memory", true);
    }
    up("disk", store.is_well().await);
    if let Some(sharing) = opened.larder.sharing() {
        up("shared", !sharing.left_alone);
    }
}

fn describe() {
    describe_counter!("larder_server_requests_total", "Requests that ended, by how.");
    describe_histogram!(
        "larder_server_request_seconds",
        "From the head of a request to the last byte of its answer."
    );
    describe_counter!("larder_server_received_bytes_total", "Bytes of the bodies of requests.");
    describe_counter!("larder_server_sent_bytes_total", "Bytes of the bodies of answers.");
    describe_gauge!("larder_server_requests_under_way", "Requests that have begun and not ended.");
    describe_gauge!("larder_server_connections", "Connections that are open.");
    describe_counter!("larder_server_accepted_total", "Connections that were accepted.");
    describe_gauge!("larder_server_draining", "Whether the server is about to end: 1 or 0.");
    describe_gauge!("larder_tier_up", "Whether a tier is in use (1) or fails and is left alone (0).");
}

/// A connection, counted until this is dropped.
pub(super) struct Connected(Counts);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.0.connections.decrement(1.0);
    }
}

/// A request, counted when this is dropped.
pub(super) struct UnderWay {
    counts: Counts,
    protocol: Protocol,
    operation: Operation,
    began: Instant,
    /// How it ended; `None` while it has not.
    outcome: Option<Outcome>,
}

impl UnderWay {
    /// Counts what comes with it.
    pub(super) fn receiving<B>(&self, body: B) -> Receiving<B> {
        Receiving { body, counts: self.counts.clone(), protocol: self.protocol }
    }

    /// Counts its answer.
    pub(super) fn sending(mut self, response: Response<Body>) -> Response<Sending> {
        let is_grpc = self.protocol == Protocol::Grpc;
        let by_status = Outcome::of_status(response.status());
        let by_head = if is_grpc { Outcome::of_grpc(response.headers()) } else { Some(by_status) };
        let is_refused = is_grpc && response.status() != StatusCode::OK;
        let when_sent = if is_refused { Some(by_status) } else { by_head };
        let left = length(response.headers());
        response.map(|body| {
            if body.is_end_stream() || (left == Some(0) && !is_grpc) {
                self.outcome = when_sent;
            }
            Sending { body, under_way: self, when_sent, left }
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Self { counts, protocol, operation, began, outcome } = self;
        let inner = &counts.0;
        inner.under_way.decrement(1.0);
        let outcome = outcome.unwrap_or(Outcome::Broken);
        let ended = &inner.traffic[*protocol as usize].operations[*operation as usize];
        let (protocol, operation) = (protocol.as_str(), operation.as_str());
        let of = || {
            let labels = [("protocol", protocol), ("operation", operation), ("outcome", outcome.as_str())];
            counter!("larder_server_requests_total", &labels)
        };
        ended.outcomes[outcome as usize].get_or_init(of).increment(1);
        let times =
            || histogram!("larder_server_request_seconds", "protocol" => protocol, "operation" => operation);
        ended.seconds.get_or_init(times).record(began.elapsed());
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The body of a request.
pub(super) struct Receiving<B> {
    body: B,
    counts: Counts,
    protocol: Protocol,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Receiving<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.counts.received(self.protocol, data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer.
pub(super) struct Sending {
    body: Body,
    under_way: UnderWay,
    /// How the request ends when all of it has gone, as far as the head tells.
    when_sent: Option<Outcome>,
    /// How much has yet to go, where that is known: nobody asks for more then.
    left: Option<u64>,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let Poll::Ready(frame) = &polled else { return polled };
        match frame {
            None => self.under_way.outcome = self.under_way.outcome.or(self.when_sent),
            Some(Err(_)) => self.under_way.outcome = Some(Outcome::Failed),
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.under_way.outcome = Outcome::of_grpc(trailers).or(self.when_sent);
                }
                if let Some(data) = frame.data_ref() {
                    let bytes = data.len() as u64;
                    self.under_way.counts.sent(self.under_way.protocol, bytes);
                    self.left = self.left.map(|left| left.saturating_sub(bytes));
                    if self.left == Some(0) || (self.body.is_end_stream() && self.when_sent.is_some()) {
                        self.under_way.outcome = self.when_sent;
                    }
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
