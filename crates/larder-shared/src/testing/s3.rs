//! A server that speaks the protocol of S3, in this process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use larder::config::Secret;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::bucket::{Bucket, Faults};
use super::port::{ATTEMPTS, some_address};
use super::server::Server;
use crate::{AccessKey, S3Options};

const BUCKET: &str = "cache";
const PREFIX: &str = "team";
/// What the key is called, and its secret.
const KEY: (&str, &str) = ("larder-test", "hush-hush-hush");

/// A server with one bucket. It keeps what it has over a restart.
#[derive(Debug)]
pub struct S3Server {
    /// Ends with all connections when it is killed.
    running: Option<Runtime>,
    address: SocketAddr,
    directory: TempDir,
    faults: Arc<Faults>,
}

impl Server for S3Server {
    fn start() -> Self {
        Self::start_with(Faults::default())
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn url_at(&self, address: SocketAddr) -> String {
        format!("s3://{BUCKET}/{PREFIX}?endpoint=http://{address}&path_style=true")
    }

    fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown_background();
        }
    }

    fn restart(&mut self) {
        self.kill();
        for _ in 0..ATTEMPTS {
            self.running = serve(self.directory.path(), self.address, &self.faults);
            if self.running.is_some() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("the server does not come back");
    }
}

impl S3Server {
    /// Starts a server that ignores conditions on writes, as some do.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_heedless() -> Self {
        Self::start_with(Faults { heedless: true.into(), ..Faults::default() })
    }

    fn start_with(faults: Faults) -> Self {
        let faults = Arc::new(faults);
        let directory = tempfile::Builder::new().prefix("s3").tempdir().expect("a temporary directory");
        std::fs::create_dir(directory.path().join(BUCKET)).expect("a directory for the bucket");
        for _ in 0..ATTEMPTS {
            let address = some_address();
            let running = serve(directory.path(), address, &faults);
            if running.is_some() {
                return Self { running, address, directory, faults };
            }
        }
        panic!("the server finds no free port");
    }

    /// What its bucket is opened with.
    pub fn options() -> S3Options {
        let access_key = AccessKey { id: KEY.0.to_owned(), secret: Secret::new(KEY.1), session_token: None };
        S3Options { access_key: Some(access_key), ..S3Options::default() }
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

/// Starts a server; `None` if its port is taken.
fn serve(directory: &Path, address: SocketAddr, faults: &Arc<Faults>) -> Option<Runtime> {
    let listener = std::net::TcpListener::bind(address).ok()?;
    listener.set_nonblocking(true).expect("a listener that does not block");
    let files = FileSystem::new(directory).expect("a directory for a server");
    let mut service = S3ServiceBuilder::new(Bucket::new(files, Arc::clone(faults)));
    service.set_auth(SimpleAuth::from_single(KEY.0, KEY.1));
    let running = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let running = running.expect("a runtime");
    running.spawn(accept(listener, service.build()));
    Some(running)
}

async fn accept(listener: std::net::TcpListener, service: S3Service) {
    let listener = TcpListener::from_std(listener).expect("a listener of this runtime");
    while let Ok((connection, _)) = listener.accept().await {
        let service = service.clone();
        tokio::spawn(async move {
            let http = hyper::server::conn::http1::Builder::new();
            // A connection that breaks is what tests are about.
            let _ = http.serve_connection(TokioIo::new(connection), service).await;
        });
    }
}
