//! A server in this process, on a port and in a directory of its own, and plain clients for it.

use std::fs;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use larder::clock::Clock;
use larder::config::{ByteSize, Machine, Settings};
use larder::engine::Larder;
use larder::key::{Algorithm, Scope};
use larder_server::guard::Guard;
use larder_server::store::Store;
use larder_server::{Patience, ServeOptions, Server};
use larder_shared::testing::S3Server;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

/// The largest content that a lab's server takes.
pub(crate) const LARGEST_BYTES: u64 = 8 << 20;

/// A server that ends with this.
pub(crate) struct Lab {
    guard: fn() -> Guard,
    /// The URL of the tier that it shares with others.
    shared: Option<String>,
    /// How many bytes a second go there and come from there.
    bandwidth: Option<ByteSize>,
    serving: Option<Serving>,
    client: Client<HttpConnector, Full<Bytes>>,
    directory: TempDir,
    runtime: Runtime,
}

struct Serving {
    address: SocketAddr,
    end: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Lab {
    /// A server that lets anybody do anything.
    pub(crate) fn start() -> Self {
        Self::guarded(Guard::open)
    }

    /// A server that lets those in whom `guard` knows, and shares the tier of this URL, with so many bytes a second.
    pub(crate) fn guarded_sharing(guard: fn() -> Guard, url: String, bandwidth: Option<ByteSize>) -> Self {
        Self::with(guard, Some(url), bandwidth)
    }

    /// A server that lets those in whom `guard` knows.
    pub(crate) fn guarded(guard: fn() -> Guard) -> Self {
        Self::with(guard, None, None)
    }

    /// A server that shares the tier of this URL with others.
    pub(crate) fn sharing(url: String) -> Self {
        Self::with(Guard::open, Some(url), None)
    }

    fn with(guard: fn() -> Guard, shared: Option<String>, bandwidth: Option<ByteSize>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let directory = tempfile::Builder::new().prefix("larder").tempdir().unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut lab = Self { guard, shared, bandwidth, serving: None, client, directory, runtime };
        lab.begin((Ipv4Addr::LOCALHOST, 0).into());
        lab
    }

    fn begin(&mut self, address: SocketAddr) {
        let mut settings = Settings::new(self.directory.path().to_owned());
        settings.shared.bandwidth = self.bandwidth;
        // As `larder serve` has it.
        settings.shared.patience = Duration::MAX;
        let (machine, clock) = (Machine::probe(Path::new("/")), Clock::system());
        let shared = self.shared.as_ref().map(|url| {
            let options = larder_shared::Options {
                s3: S3Server::options(),
                ..larder_shared::Options::new(Duration::from_secs(3600), clock.clone())
            };
            larder_shared::open(url, options).unwrap()
        });
        let _entered = self.runtime.enter();
        let opened = Larder::open_sharing(&settings, &machine, clock, "server", shared);
        let disk = opened.disk.clone().unwrap();
        let opened = Arc::new(opened);
        let store = Store::new(Arc::clone(&opened), disk, LARGEST_BYTES);
        let options = ServeOptions {
            address,
            guard: (self.guard)(),
            default_scope: Scope::new("default").unwrap(),
            max_connections: 64,
            notice: Duration::ZERO,
            drain: Duration::from_secs(20),
            access: None,
            tls: None,
            patience: Patience::default(),
            exposition: None,
            metrics: None,
        };
        let server = self.runtime.block_on(Server::bind(options, store)).unwrap();
        let address = server.address();
        let (end, ended) = oneshot::channel();
        let server = self.runtime.spawn(async move {
            tokio::select! {
                () = server.serve(async { drop(ended.await) }) => {}
                never = opened.attend() => match never {},
            }
            opened.close().await;
        });
        self.serving = Some(Serving { address, end, server });
    }

    /// Ends the server and begins it anew, where it was.
    pub(crate) fn restart(&mut self) {
        let Serving { address, end, server } = self.serving.take().unwrap();
        // Connections that the client keeps would be waited for.
        self.client = Client::builder(TokioExecutor::new()).build_http();
        end.send(()).unwrap();
        self.runtime.block_on(server).unwrap();
        self.begin(address);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.serving.as_ref().unwrap().address
    }

    /// Flips a byte in the middle of each file that holds a content, and says how many that were.
    pub(crate) fn damage(&self) -> usize {
        self.spoil(flip)
    }

    /// Cuts off the last quarter of each file that holds a content, and says how many that were.
    pub(crate) fn cut(&self) -> usize {
        self.spoil(|path| {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(file.metadata().unwrap().len() / 4 * 3).unwrap();
        })
    }

    fn spoil(&self, spoil: impl Fn(&Path)) -> usize {
        let mut spoiled = 0;
        let mut waiting = vec![self.directory.path().join("v1/blobs")];
        while let Some(at) = waiting.pop() {
            for entry in fs::read_dir(at).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    waiting.push(entry.path());
                    continue;
                }
                spoil(&entry.path());
                spoiled += 1;
            }
        }
        spoiled
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// A connection for clients over gRPC.
    pub(crate) fn channel(&self) -> Channel {
        self.channel_to(self.address())
    }

    /// A connection to somebody else.
    pub(crate) fn channel_to(&self, address: SocketAddr) -> Channel {
        let _entered = self.runtime.enter();
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
    }

    /// Asks over HTTP/1.1.
    pub(crate) fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.try_http(method, path, headers, body).unwrap()
    }

    /// Asks over HTTP/1.1; `None` if the server had heard enough and hung up.
    pub(crate) fn try_http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        self.block_on(async {
            let (head, body) = self.client.request(request).await.ok()?.into_parts();
            // A body that breaks off is what some ask for.
            let body = body.collect().await.map(|body| body.to_bytes()).ok();
            Some(Answer { status: head.status, headers: head.headers, body })
        })
    }
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    // In the same file, as a bad disk would.
    fs::write(path, bytes).unwrap();
}

/// What the server answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// `None` if it broke off.
    pub(crate) body: Option<Bytes>,
}

impl Answer {
    pub(crate) fn code(&self) -> u16 {
        self.status.as_u16()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone().unwrap().to_vec()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Bytes that no compression makes smaller, and that are others for each seed.
pub(crate) fn noise(seed: u64, bytes: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

pub(crate) fn hash(content: &[u8]) -> String {
    Algorithm::Sha256.digest(content).to_string()
}

pub(crate) fn digest(content: &[u8]) -> reapi::Digest {
    reapi::Digest { hash: hash(content), size_bytes: content.len() as i64 }
}
