//! What a server does not let clients do: a server on loopback, and clients that mean it no good.

mod access;
mod audit;
mod hostile;
mod limits;
mod quotas;
mod scopes;
mod slow;
mod tls;
mod turns;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use larder::clock::Clock;
use larder::config::{Machine, Settings};
use larder::engine::Larder;
use larder::key::{Algorithm, Scope};
use larder_server::guard::{Guard, access as access_file};
use larder_server::store::Store;
use larder_server::{Patience, ServeOptions, Server};
use reapi::action_cache_client::ActionCacheClient;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// The largest content that a lab's server takes.
const LARGEST_BYTES: u64 = 1 << 20;

/// A server that lives as long as its test.
pub(super) struct Lab {
    pub(super) address: SocketAddr,
    pub(super) folder: TempDir,
    pub(super) store: Store,
    pub(super) guard: Guard,
    /// Has the server take over its files.
    pub(super) reload: Arc<Notify>,
    end: Option<oneshot::Sender<()>>,
}

/// A little patience, for tests of what happens when it is over.
pub(super) const SHORT: Patience = Patience {
    head: Duration::from_millis(500),
    stall: Duration::from_millis(500),
    idle: Duration::from_millis(500),
    alive: Duration::from_millis(500),
};

impl Lab {
    pub(super) async fn open() -> Self {
        Self::with(|_, _| {}).await
    }

    /// One with an access file.
    pub(super) async fn guarded(access: &str) -> Self {
        Self::with(|_, options| options.guard = guard(access)).await
    }

    pub(super) async fn with(change: impl FnOnce(&Path, &mut ServeOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::new(folder.path().join("cache"));
        let machine = Machine::probe(Path::new("/"));
        let opened = Arc::new(Larder::open(&settings, &machine, Clock::system(), "server"));
        let disk = opened.disk.clone().unwrap();
        let store = Store::new(Arc::clone(&opened), disk, LARGEST_BYTES);
        let mut options = ServeOptions {
            address: "127.0.0.1:0".parse().unwrap(),
            guard: Guard::open(),
            access: None,
            tls: None,
            default_scope: Scope::new("default").unwrap(),
            max_connections: 512,
            patience: Patience::default(),
            notice: Duration::ZERO,
            drain: Duration::from_secs(5),
            exposition: None,
            metrics: None,
        };
        change(folder.path(), &mut options);
        let guard = options.guard.clone();
        let server = Server::bind(options, store.clone()).await.unwrap();
        let (address, reloader) = (server.address(), server.reloader());
        let (end, ended) = oneshot::channel::<()>();
        let reload = Arc::new(Notify::new());
        let asked = Arc::clone(&reload);
        tokio::spawn(async move {
            tokio::select! {
                () = server.serve(async { drop(ended.await) }) => {}
                never = reloader.attend(&asked) => match never {},
            }
        });
        Self { address, folder, store, guard, reload, end: Some(end) }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request with a body over HTTP/1.1 on a connection of its own, and takes what comes back.
    pub(super) async fn http(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        let length = if head.contains("ength:") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head = head.trim_end().replace('\n', "\r\n");
        let head = format!("{head}\r\nHost: larder\r\nConnection: close\r\n{length}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that has heard enough hangs up.
        let _ = stream.write_all(body).await;
        Answer::read(&mut stream).await
    }

    /// A status for each of some paths that are put.
    pub(super) async fn put(&self, path: &str, token: Option<&str>, body: &[u8]) -> u16 {
        self.http(&format!("PUT {path} HTTP/1.1\n{}", bearer(token)), body).await.status
    }

    pub(super) async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.http(&format!("GET {path} HTTP/1.1\n{}", bearer(token)), b"").await
    }

    pub(super) async fn channel(&self) -> Channel {
        let address = format!("http://{}", self.address);
        Channel::from_shared(address).unwrap().connect().await.unwrap()
    }

    /// What asking for a result over gRPC comes to; one that is not there is what is hoped for.
    pub(super) async fn ask_for_result(&self, instance: &str, token: Option<&str>) -> Status {
        let mut client = ActionCacheClient::new(self.channel().await);
        let request = reapi::GetActionResultRequest {
            instance_name: instance.to_owned(),
            action_digest: Some(digest_of(b"an action")),
            ..reapi::GetActionResultRequest::default()
        };
        client.get_action_result(with_token(request, token)).await.unwrap_err()
    }

    /// Whether the server still does its work.
    pub(super) async fn check_is_well(&self, token: Option<&str>) {
        let path = format!("/cas/{}", hash_of(b"well"));
        assert_eq!(self.put(&path, token, b"well").await, 200);
        assert_eq!(self.get(&path, token).await.body, b"well");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
    }
}

/// What came back over HTTP/1.1.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Reads until the server hangs up; nothing at all is status 0.
    pub(super) async fn read(stream: &mut TcpStream) -> Self {
        let mut all = Vec::new();
        // A reset tells no more than an end.
        let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut all)).await;
        drop(read.expect("the server hangs up"));
        let end = all.windows(4).position(|window| window == b"\r\n\r\n");
        let head = String::from_utf8_lossy(&all[..end.unwrap_or(0)]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head, body: end.map_or_else(Vec::new, |end| all[end + 4..].to_vec()) }
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap().trim_end()
    }
}

pub(crate) fn guard(access: &str) -> Guard {
    let outside =
        access_file::Outside { variable: &|_| None, file: &|_| Err(std::io::ErrorKind::NotFound.into()) };
    Guard::new(access_file::read(Path::new("access.toml"), access, outside).unwrap())
}

pub(super) fn bearer(token: Option<&str>) -> String {
    token.map(|token| format!("Authorization: Bearer {token}\n")).unwrap_or_default()
}

pub(super) fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

pub(super) fn hash_of(bytes: &[u8]) -> String {
    Algorithm::Sha256.digest(bytes).to_string()
}

pub(super) fn digest_of(bytes: &[u8]) -> reapi::Digest {
    reapi::Digest { hash: hash_of(bytes), size_bytes: bytes.len() as i64 }
}

/// Looks until something holds, for a minute.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..3000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} does not come");
}
