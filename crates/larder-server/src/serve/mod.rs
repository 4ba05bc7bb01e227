//! One port for all protocols: connections, who asks, draining.
//!
//! HTTP/1.1 and HTTP/2 come in on one port; which of them a connection speaks is seen by its first bytes. A request
//! gets to the protocols only with an identity.
//!
//! Invariants: the number of connections is bounded, and each part of a request that a client may draw out has a time
//! limit; draining lets what is under way come to its end, and takes nothing new.

mod front;
mod meter;
mod scrape;
mod traffic;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use larder::key::Scope;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use self::front::Front;
use self::meter::Meter;
pub use self::scrape::Exposition;
use crate::guard::Guard;
use crate::store::Store;

/// How long a client may take for its first byte, and for the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// How long the head of a request may be.
const MAX_HEAD_BYTES: u32 = 64 << 10;
/// How many requests one HTTP/2 connection may have under way.
const MAX_STREAMS: u32 = 1024;
/// How long a peer that says nothing may take to answer whether it is still there.
const ALIVE: Duration = Duration::from_secs(20);
/// How much of one stream, and of one connection, may be on its way in.
const WINDOW_BYTES: u32 = 2 << 20;
/// How long is waited after a connection could not be accepted, as where there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often it is looked which tiers are in use.
const TIERS: Duration = Duration::from_secs(1);

/// How a server serves.
#[derive(Debug)]
pub struct ServeOptions {
    /// Where it listens. Port 0 takes one that is free.
    pub address: SocketAddr,
    /// Who may do what.
    pub guard: Guard,
    /// The scope of requests that name none.
    pub default_scope: Scope,
    /// How many connections it has at once; more wait.
    pub max_connections: usize,
    /// How long it goes on serving at the end, and says that it is not ready: for whoever looks at that, to send
    /// clients elsewhere before this port is closed.
    pub notice: Duration,
    /// How long what is under way may take after that.
    pub drain: Duration,
    /// What `/metrics` gives to admins of all scopes.
    pub exposition: Option<Exposition>,
    /// Where that, and how the server does, is told to anybody, too.
    pub metrics: Option<SocketAddr>,
}

/// The server does not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It would let anybody on the network write.
    #[error("{0} is reachable for others, and nobody needs a token to write")]
    Unguarded(SocketAddr),
    /// The address can't be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A server that has its port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    scraped: Option<(TcpListener, Exposition)>,
    front: Front,
    store: Store,
    meter: Meter,
    connections: Arc<Semaphore>,
    draining: Arc<AtomicBool>,
    notice: Duration,
    drain: Duration,
}

impl Server {
    /// Takes the port.
    pub async fn bind(options: ServeOptions, store: Store) -> Result<Self, ServeError> {
        let ServeOptions { address, guard, default_scope, max_connections, notice, drain, .. } = options;
        if !address.ip().is_loopback() && guard.is_open() {
            return Err(ServeError::Unguarded(address));
        }
        let (listener, address) = listen(address).await?;
        let scraped = match options.metrics.zip(options.exposition.clone()) {
            Some((address, exposition)) => Some((listen(address).await?.0, exposition)),
            None => None,
        };
        let (draining, meter) = (Arc::new(AtomicBool::new(false)), Meter::new());
        let counts = (meter.clone(), options.exposition);
        let front = Front::new(store.clone(), (guard, default_scope), Arc::clone(&draining), counts);
        let connections = Arc::new(Semaphore::new(max_connections));
        Ok(Self { listener, address, scraped, front, store, meter, connections, draining, notice, drain })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it tells metrics to anybody, if it does.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.scraped.as_ref()?.0.local_addr().ok()
    }

    /// Serves until `end` ends, then for as long as the options say until the port is closed, then lets what is under
    /// way come to its end, for as long as they say.
    pub async fn serve(mut self, end: impl Future<Output = ()>) {
        let builder = Arc::new(builder());
        let scraped = self.scraped.take();
        let (own, health, store) = (Arc::clone(&builder), self.front.health(), self.store.clone());
        let telling = async {
            match scraped {
                Some((listener, exposition)) => scrape::answer(listener, own, exposition, health).await,
                None => std::future::pending().await,
            }
        };
        let looking = async {
            let mut looks = tokio::time::interval(TIERS);
            loop {
                looks.tick().await;
                meter::tell_tiers(&store).await;
            }
        };
        tokio::select! {
            () = self.serve_port(builder, end) => {}
            () = telling => {}
            () = looking => {}
        }
    }

    async fn serve_port(self, builder: Arc<Builder<TokioExecutor>>, end: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let (draining, meter, notice) = (Arc::clone(&self.draining), self.meter.clone(), self.notice);
        let noticed = async move {
            end.await;
            draining.store(true, Ordering::Release);
            meter.drains();
            tokio::time::sleep(notice).await;
        };
        tokio::pin!(noticed);
        loop {
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                () = &mut noticed => break,
            };
            let (stream, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (front, builder, watcher) = (self.front.clone(), Arc::clone(&builder), graceful.watcher());
            let connected = self.meter.connection();
            tokio::spawn(async move {
                let _held = (permit, connected);
                if !speaks(&stream).await {
                    return;
                }
                let connection = builder.serve_connection(TokioIo::new(stream), front).into_owned();
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(error, "connection ended");
                }
            });
        }
        drop(self.listener);
        if tokio::time::timeout(self.drain, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not come to their end");
        }
    }

    async fn accept(&self) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.connections).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, permit))
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Whether a client sends anything in time.
async fn speaks(stream: &TcpStream) -> bool {
    let first = tokio::time::timeout(HEAD, stream.peek(&mut [0])).await;
    matches!(first, Ok(Ok(1)))
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    let timer = TokioTimer::new;
    builder.http1().timer(timer()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD_BYTES as usize);
    builder
        .http2()
        .timer(timer())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES * 2)
        .keep_alive_interval(ALIVE)
        .keep_alive_timeout(ALIVE);
    builder
}
