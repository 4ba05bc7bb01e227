//! One connection, from its first byte to its end.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep, timeout};

use super::Patience;
use super::continued::Continued;
use super::front::Front;
use super::lobby::Lobby;
use super::patient::Patient;
use super::places::{Place, Places};
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

/// How long a connection without a request may take to end when another waits to be served, and one that has said
/// nothing yet to say something when the server ends.
const LEAVING: Duration = Duration::from_secs(1);

/// What all connections have in common. A clone is a few reference counts.
#[derive(Debug, Clone)]
pub(super) struct Reception {
    pub(super) front: Front,
    pub(super) lobby: Lobby,
    pub(super) places: Places,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) patience: Patience,
}

impl Reception {
    /// Serves a connection until the server ends, and lets what is under way come to its end then. Whoever says nothing,
    /// or does not get through with TLS, is not served.
    pub(super) async fn receive(self, stream: TcpStream, mut ends: watch::Receiver<bool>) {
        let mut waits = self.lobby.enter();
        let too_late = async {
            let _ = ends.wait_for(|ends| *ends).await;
            sleep(LEAVING).await;
        };
        let arrived = tokio::select! {
            arrived = self.arrive(stream) => arrived,
            _ = &mut waits.taken => return,
            () = too_late => return,
        };
        let Some((stream, names)) = arrived else { return };
        waits.speaks();
        let front = self.front.at_connection(names);
        let place = tokio::select! {
            place = self.places.enter(front.streams()) => place,
            _ = &mut waits.taken => return,
        };
        drop(waits);
        self.serve(stream, front, place, ends).await;
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

    async fn serve(
        &self,
        stream: Box<dyn Stream>,
        front: Front,
        mut place: Place,
        mut ends: watch::Receiver<bool>,
    ) {
        let Patience { stall, idle, .. } = self.patience;
        let streams = front.streams().clone();
        let stream = TokioIo::new(Patient::new(stream, stall));
        let builder = self.builder();
        let mut connection = Continued::new(builder.serve_connection(stream, front).into_owned());
        let mut looks = interval((stall / 4).clamp(Duration::from_millis(50), Duration::from_secs(15)));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut is_ending, mut is_wanted) = (false, false);
        loop {
            tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        tracing::debug!(error, "connection ended");
                    }
                    return;
                }
                _ = ends.wait_for(|ends| *ends), if !is_ending => {
                    is_ending = true;
                    connection.future().graceful_shutdown();
                }
                _ = &mut place.wanted, if !is_wanted => {
                    is_wanted = true;
                    connection.future().graceful_shutdown();
                    looks = interval_at(Instant::now() + LEAVING, LEAVING);
                }
                _ = looks.tick() => match streams.state(stall, idle) {
                    State::Busy if is_wanted && streams.rest_since().is_some() => return,
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
