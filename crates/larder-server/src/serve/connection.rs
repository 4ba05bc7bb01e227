//! One connection, from its first byte to its end.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Patience;
use super::continued::Continued;
use super::front::Front;
use super::lobby::Lobby;
use super::patient::Patient;
use super::streams::State;
use super::tls::{self, Tls};

/// How long the head of a request may be.
const MAX_HEAD_BYTES: u32 = 64 << 10;
/// How many requests one HTTP/2 connection may have under way.
const MAX_STREAMS: u32 = 1024;
/// How much of one stream, and of one connection, may be on its way in.
const WINDOW_BYTES: u32 = 2 << 20;
/// How much of one stream may be on its way out.
const SEND_BYTES: usize = 256 << 10;

/// What all connections have in common. A clone is a few reference counts.
#[derive(Debug, Clone)]
pub(super) struct Reception {
    pub(super) front: Front,
    pub(super) lobby: Lobby,
    pub(super) served: Arc<Semaphore>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) patience: Patience,
}

impl Reception {
    /// Serves a connection. Whoever says nothing, or does not get through with TLS, is not served.
    pub(super) async fn receive(self, stream: TcpStream, watcher: Watcher) {
        let mut place = self.lobby.enter();
        let arrived = tokio::select! {
            arrived = self.arrive(stream) => arrived,
            _ = &mut place.taken => return,
        };
        let Some((stream, names)) = arrived else { return };
        let permit = tokio::select! {
            permit = Arc::clone(&self.served).acquire_owned() => permit,
            _ = &mut place.taken => return,
        };
        // The semaphore is never closed.
        let Ok(_permit) = permit else { return };
        drop(place);
        self.serve(stream, names, watcher).await;
    }

    /// The stream once a client has said something, and who it is by its certificate.
    async fn arrive(&self, stream: TcpStream) -> Option<(Box<dyn Stream>, Vec<String>)> {
        let head = self.patience.head;
        if !speaks(&stream, head).await {
            return None;
        }
        let Some(tls) = &self.tls else { return Some((Box::new(stream), Vec::new())) };
        let stream = match timeout(head, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no TLS with a client");
                return None;
            }
            Err(_) => return None,
        };
        let names = tls::names(stream.get_ref().1);
        Some((Box::new(stream), names))
    }

    async fn serve(&self, stream: Box<dyn Stream>, names: Vec<String>, watcher: Watcher) {
        let Patience { stall, idle, .. } = self.patience;
        let front = self.front.at_connection(names);
        let streams = front.streams().clone();
        let stream = TokioIo::new(Patient::new(stream, stall));
        let builder = self.builder();
        let connection = watcher.watch(builder.serve_connection(stream, front).into_owned());
        let mut connection = Continued::new(connection);
        let mut looks = interval((stall / 4).clamp(Duration::from_millis(50), Duration::from_secs(15)));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "connection ended");
                    }
                    return;
                }
                _ = looks.tick() => match streams.state(stall, idle) {
                    State::Busy => {}
                    state => {
                        tracing::debug!(?state, "connection is given up");
                        return;
                    }
                },
            }
        }
    }

    pub(super) fn builder(&self) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        let timer = TokioTimer::new;
        let Patience { head, alive, .. } = self.patience;
        builder.http1().timer(timer()).header_read_timeout(head).max_buf_size(MAX_HEAD_BYTES as usize);
        builder
            .http2()
            .timer(timer())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES)
            .max_send_buf_size(SEND_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES * 2)
            .keep_alive_interval(alive)
            .keep_alive_timeout(alive);
        builder
    }
}

/// Whether a client sends anything in time.
pub(super) async fn speaks(stream: &TcpStream, patience: Duration) -> bool {
    let first = timeout(patience, stream.peek(&mut [0])).await;
    matches!(first, Ok(Ok(1)))
}

/// A stream of bytes to a client, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}
