//! A TCP proxy on loopback that passes on what comes, or does not.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the proxy does with what the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// It is passed on.
    Fair,
    /// Each read of it is passed on after so long.
    Delayed(Duration),
    /// It is passed on a byte at a time, each after so long.
    Dripping(Duration),
    /// It never arrives, and neither does the end of a connection: half-open.
    Silent,
    /// It is other bytes.
    Garbage,
    /// One bit of each read of more than so many bytes is changed, in its middle.
    Flipping(usize),
    /// After so many bytes the connection is reset.
    CutAfter(u64),
    /// Connections are taken and closed at once, those that stand, too: nothing arrives on either side.
    Closed,
}

/// A proxy that ends with this. Weather reaches connections that stand already.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    connections: Arc<AtomicU64>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy to a server, on the runtime of whoever calls.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (weather, seen) = watch::channel(Weather::Fair);
        let connections = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&connections);
        let listening = tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                if *seen.borrow() != Weather::Closed {
                    all.spawn(connect(client, server, seen.clone()));
                }
            }
        });
        Ok(Self { address, weather, connections, listening })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather.
    pub fn turn(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Passes both ways until one of them ends.
async fn connect(client: TcpStream, server: SocketAddr, weather: watch::Receiver<Weather>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    // A reset, and not an orderly end, when it is dropped with something unread.
    let _ = client.set_zero_linger();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let answering = async {
        let mut buffer = vec![0; 16 << 10];
        let mut passed = 0;
        loop {
            let read = from_server.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            let now = *weather.borrow();
            pass(now, &mut buffer[..read], &mut passed, &mut to_client).await?;
        }
    };
    let mut turned = weather.clone();
    let closed = turned.wait_for(|weather| *weather == Weather::Closed);
    let _: io::Result<()> = tokio::select! {
        biased;
        _ = closed => Err(io::ErrorKind::ConnectionReset.into()),
        ended = asking => ended,
        ended = answering => ended,
    };
}

async fn pass(
    weather: Weather,
    bytes: &mut [u8],
    passed: &mut u64,
    to: &mut tokio::net::tcp::OwnedWriteHalf,
) -> io::Result<()> {
    match weather {
        Weather::Fair => {}
        Weather::Delayed(delay) => tokio::time::sleep(delay).await,
        Weather::Dripping(delay) => {
            for byte in bytes {
                tokio::time::sleep(delay).await;
                to.write_all(std::slice::from_ref(byte)).await?;
            }
            return Ok(());
        }
        Weather::Silent => return std::future::pending().await,
        Weather::Garbage => bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31) ^ 0x5a),
        Weather::Flipping(longer) if bytes.len() > longer => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        Weather::Flipping(_) => {}
        Weather::CutAfter(most) => {
            let left = usize::try_from(most.saturating_sub(*passed)).unwrap_or(usize::MAX);
            if left < bytes.len() {
                to.write_all(&bytes[..left]).await?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        // It ends where it is waited for that.
        Weather::Closed => return std::future::pending().await,
    }
    *passed += bytes.len() as u64;
    to.write_all(bytes).await
}
