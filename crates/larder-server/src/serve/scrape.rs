//! Metrics, and how the server does, on a port of their own.
//!
//! Nobody needs a token there: it is for a network in which only those are who may know. It answers for as long as the
//! server drains.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Patience;
use super::connection::speaks;

/// How many may ask at once.
const MAX_CONNECTIONS: usize = 64;

/// Gives all metrics in Prometheus' text format.
#[derive(Clone)]
pub struct Exposition(Arc<dyn Fn() -> String + Send + Sync>);

impl Exposition {
    /// What `text` returns each time it is asked.
    pub fn new(text: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(text))
    }

    pub(super) fn response(&self) -> Response {
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        ([(header::CONTENT_TYPE, content_type)], (self.0)()).into_response()
    }
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exposition")
    }
}

/// Answers what comes to `listener`, for as long as it is polled.
pub(super) async fn answer(
    listener: TcpListener,
    builder: Arc<Builder<TokioExecutor>>,
    exposition: Exposition,
    health: Router,
) {
    let router = health.route("/metrics", get(async move || exposition.response()));
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(super::ACCEPT_PAUSE).await;
            continue;
        };
        let (builder, router) = (Arc::clone(&builder), router.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if speaks(&stream, Patience::default().head).await {
                let service = TowerToHyperService::new(router);
                // Whoever asked and went is no business of ours.
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            }
        });
    }
}
