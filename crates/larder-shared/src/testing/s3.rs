//! A server that speaks the protocol of S3, in this process.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::body::{Body, Incoming};
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use larder::config::Secret;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::bucket::{Bucket, Faults};
use super::certificates::Certificates;
use super::known::Known;
use super::port::{again, on_free_ports};
use super::server::Server;
use crate::{AccessKey, S3Options};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const BUCKET: &str = "cache";
const PREFIX: &str = "team";
/// What the key is called, and its secret.
const KEY: (&str, &str) = ("larder-test", "hush-hush-hush");

/// A server with one bucket. It keeps what it has over a restart.
pub struct S3Server {
    /// Ends with all connections when it is killed.
    running: Option<Runtime>,
    address: SocketAddr,
    directory: TempDir,
    faults: Arc<Faults>,
    known: Known,
    tls: Option<TlsAcceptor>,
}

impl fmt::Debug for S3Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server for S3Server {
    fn start() -> Self {
        Self::start_with(Faults::default(), None)
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn url_at(&self, address: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("s3://{BUCKET}/{PREFIX}?endpoint={scheme}://{address}&path_style=true")
    }

    fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown_background();
        }
    }

    fn restart(&mut self) {
        self.kill();
        let running = again(|| {
            serve(self.directory.path(), self.address, (&self.faults, &self.known), self.tls.as_ref())
        });
        self.running = Some(running);
    }
}

impl S3Server {
    /// Starts a server that ignores conditions on writes, as some do.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_heedless() -> Self {
        Self::start_with(Faults { heedless: true.into(), ..Faults::default() }, None)
    }

    /// Starts a server that only speaks encrypted, with a certificate for loopback.
    ///
    /// # Panics
    /// If it does not start.
    pub fn encrypted(certificates: &Certificates) -> Self {
        Self::start_with(Faults::default(), Some(acceptor(certificates)))
    }

    fn start_with(faults: Faults, tls: Option<TlsAcceptor>) -> Self {
        let (faults, known) = (Arc::new(faults), Known::default());
        known.add(key());
        let directory = tempfile::Builder::new().prefix("s3").tempdir().expect("a temporary directory");
        std::fs::create_dir(directory.path().join(BUCKET)).expect("a directory for the bucket");
        let (running, address) = on_free_ports(|[address]| {
            Some((serve(directory.path(), address, (&faults, &known), tls.as_ref())?, address))
        });
        Self { running: Some(running), address, directory, faults, known, tls }
    }

    /// What its bucket is opened with.
    pub fn options() -> S3Options {
        S3Options { access_key: Some(key()), ..S3Options::default() }
    }

    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// Denies lists from now on, or no longer.
    pub fn deny_lists(&self, deny: bool) {
        self.faults.denies_lists.store(deny, Ordering::Relaxed);
    }

    /// Holds requests that write an entry in the place of a claim from now on, or lets them go.
    pub fn hold_entries(&self, hold: bool) {
        self.faults.holds.send_replace(hold);
    }

    /// How many of those are held.
    pub fn held_entries(&self) -> usize {
        self.faults.held.load(Ordering::Relaxed)
    }

    /// What all objects of the tier's have in common, below which a test may look and lay hands on them.
    pub fn objects(&self) -> PathBuf {
        self.directory.path().join(BUCKET).join(PREFIX).join("larder1")
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn key() -> AccessKey {
    AccessKey { id: KEY.0.to_owned(), secret: Secret::new(KEY.1), session_token: None }
}

/// Starts a server; `None` if its port is taken.
fn serve(
    directory: &Path,
    address: SocketAddr,
    (faults, known): (&Arc<Faults>, &Known),
    tls: Option<&TlsAcceptor>,
) -> Option<Runtime> {
    let listener = std::net::TcpListener::bind(address).ok()?;
    listener.set_nonblocking(true).expect("a listener that does not block");
    let files = FileSystem::new(directory).expect("a directory for a server");
    let mut service = S3ServiceBuilder::new(Bucket::new(files, Arc::clone(faults)));
    service.set_auth(known.clone());
    service.set_access(known.clone());
    let running = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let running = running.expect("a runtime");
    running.spawn(accept(listener, service.build(), tls.cloned()));
    Some(running)
}

pub(super) async fn accept<S, B>(listener: std::net::TcpListener, service: S, tls: Option<TlsAcceptor>)
where
    S: HttpService<Incoming, ResBody = B, Future: Send, Error: Into<Failed>> + Clone + Send + 'static,
    B: Body<Data: Send, Error: Into<Failed>> + Send + 'static,
{
    let listener = TcpListener::from_std(listener).expect("a listener of this runtime");
    while let Ok((connection, _)) = listener.accept().await {
        let (service, tls) = (service.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => answer(connection, service).await,
                Some(tls) => {
                    // Whoever does not trust it goes away.
                    let Ok(connection) = tls.accept(connection).await else { return };
                    answer(connection, service).await;
                }
            }
        });
    }
}

async fn answer<S, B>(connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, service: S)
where
    S: HttpService<Incoming, ResBody = B, Error: Into<Failed>>,
    B: Body<Error: Into<Failed>> + 'static,
{
    let http = hyper::server::conn::http1::Builder::new();
    // A connection that breaks is what tests are about.
    let _ = http.serve_connection(TokioIo::new(connection), service).await;
}

/// What a server shows who it is with.
pub(super) fn acceptor(certificates: &Certificates) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let chain = CertificateDer::pem_file_iter(certificates.server()).expect("a file of certificates");
    let chain = chain.collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(certificates.server_key()).expect("a key");
    let config = config.expect("a protocol").with_no_client_auth().with_single_cert(chain, key);
    TlsAcceptor::from(Arc::new(config.expect("a certificate with its key")))
}
