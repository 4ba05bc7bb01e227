//! One port for all protocols: connections, who asks, draining.
//!
//! HTTP/1.1 and HTTP/2 come in on one port; which of them a connection speaks is seen by its first bytes. A request
//! gets to the protocols only with an identity.
//!
//! Invariants: the number of connections is bounded, and each part of an exchange that a client may draw out has a
//! time limit; whoever connects and says nothing, or asks for nothing more, keeps nobody out; draining lets what is under way come to its end, and
//! takes nothing new.

mod account;
mod connection;
mod continued;
mod counts;
mod flow;
mod front;
mod lobby;
mod patient;
mod places;
mod reload;
mod scrape;
mod streams;
mod tls;
mod traffic;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::key::Scope;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use self::connection::Reception;
use self::counts::Counts;
pub(crate) use self::flow::TooSlow;
use self::front::Front;
#[cfg(feature = "fuzzing")]
pub(crate) use self::front::{secret, take_scope};
use self::lobby::Lobby;
use self::places::Places;
pub use self::reload::{AccessFile, ReloadError, Reloader};
pub use self::scrape::Exposition;
use self::tls::Tls;
pub use self::tls::{TlsError, TlsOptions};
use crate::guard::Guard;
use crate::store::Store;

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
    /// Where the guard's rules stand, if they are in a file: it is followed.
    pub access: Option<AccessFile>,
    /// With which certificates it speaks TLS; without them it does not.
    pub tls: Option<TlsOptions>,
    /// The scope of requests that name none.
    pub default_scope: Scope,
    /// How many connections it serves at once. As many again may wait for that, or have not said anything.
    pub max_connections: usize,
    /// How long it waits for clients.
    pub patience: Patience,
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

impl ServeOptions {
    /// Checks all that may keep a server from beginning, but its ports. Blocks.
    pub fn check(&self) -> Result<(), ServeError> {
        self.check_reach()?;
        Ok(self.tls.as_ref().map_or(Ok(()), TlsOptions::check)?)
    }

    fn check_reach(&self) -> Result<(), ServeError> {
        if !self.address.ip().is_loopback() && self.guard.is_open() {
            return Err(ServeError::Unguarded(self.address));
        }
        Ok(())
    }
}

/// How long a server waits for its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the first byte of a connection, for TLS to be agreed on, and for the head of a request.
    pub head: Duration,
    /// For the next few kilobytes of what a client sends, and for it to take the next piece of what it is given.
    pub stall: Duration,
    /// For the next request on a connection.
    pub idle: Duration,
    /// For a peer on HTTP/2 that says nothing to answer whether it is still there.
    pub alive: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            alive: Duration::from_secs(20),
        }
    }
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
    /// The certificates can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A server that has its port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    scraped: Option<(TcpListener, Exposition)>,
    reception: Reception,
    reloader: Arc<Reloader>,
    store: Store,
    counts: Counts,
    draining: Arc<AtomicBool>,
    notice: Duration,
    drain: Duration,
}

impl Server {
    /// Takes the port.
    pub async fn bind(options: ServeOptions, store: Store) -> Result<Self, ServeError> {
        options.check_reach()?;
        let ServeOptions { address, guard, default_scope, max_connections, patience, notice, drain, .. } =
            options;
        let is_reachable = !address.ip().is_loopback();
        let tls = options.tls.map(Tls::open).transpose()?.map(Arc::new);
        let (listener, address) = listen(address).await?;
        let scraped = match options.metrics.zip(options.exposition.clone()) {
            Some((address, exposition)) => Some((listen(address).await?.0, exposition)),
            None => None,
        };
        store.configure(default_scope.clone(), guard.clone());
        let (draining, counts) = (Arc::new(AtomicBool::new(false)), Counts::new());
        let (who, counted) = ((guard.clone(), default_scope), (counts.clone(), options.exposition));
        let front = Front::new(store.clone(), who, Arc::clone(&draining), counted, patience.stall);
        let (access, followed) = (options.access, tls.clone());
        let reloader = Reloader { guard, store: store.clone(), access, tls: followed, is_reachable };
        reloader.take(reloader.guard.rules().as_ref().clone());
        let clock = reloader.guard.clock().clone();
        let (lobby, places) = (Lobby::new(max_connections), Places::new(max_connections, clock));
        let (reception, reloader) = (Reception { front, lobby, places, tls, patience }, Arc::new(reloader));
        Ok(Self { listener, address, scraped, reception, reloader, store, counts, draining, notice, drain })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it tells metrics to anybody, if it does.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.scraped.as_ref()?.0.local_addr().ok()
    }

    /// What takes over files that change: to be polled along with [`serve`](Self::serve).
    pub fn reloader(&self) -> Arc<Reloader> {
        Arc::clone(&self.reloader)
    }

    /// Serves until `end` ends, then for as long as the options say until the port is closed, then lets what is under
    /// way come to its end, for as long as they say.
    pub async fn serve(mut self, end: impl Future<Output = ()>) {
        let builder = Arc::new(self.reception.builder());
        let scraped = self.scraped.take();
        let (health, store) = (self.reception.front.health(), self.store.clone());
        let telling = async {
            match scraped {
                Some((listener, exposition)) => scrape::answer(listener, builder, exposition, health).await,
                None => std::future::pending().await,
            }
        };
        let looking = async {
            let mut looks = tokio::time::interval(TIERS);
            loop {
                looks.tick().await;
                counts::tell_tiers(&store).await;
            }
        };
        tokio::select! {
            () = self.serve_port(end) => {}
            () = telling => {}
            () = looking => {}
        }
    }

    async fn serve_port(self, end: impl Future<Output = ()>) {
        let (ending, ends) = watch::channel(false);
        let (draining, counts, notice) = (Arc::clone(&self.draining), self.counts.clone(), self.notice);
        let noticed = async move {
            end.await;
            draining.store(true, Ordering::Release);
            counts.drains();
            tokio::time::sleep(notice).await;
        };
        tokio::pin!(noticed);
        loop {
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                () = &mut noticed => break,
            };
            match accepted {
                Ok(stream) => {
                    let received = self.reception.clone().receive(stream, ends.clone());
                    let connected = self.counts.connection();
                    tokio::spawn(async move {
                        let _counted = connected;
                        received.await;
                    });
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "connection not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop((self.listener, ends));
        ending.send_replace(true);
        if tokio::time::timeout(self.drain, ending.closed()).await.is_err() {
            tracing::warn!("some requests did not come to their end");
        }
    }

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
