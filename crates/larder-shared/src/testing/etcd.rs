//! An `etcd` of one's own: one server, on loopback, on free ports, in a directory that goes with it.

use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::certificates::Certificates;
use super::port::{again, on_free_ports};
use super::server::{Running, Server, converse};

/// A server that ends with this. What was stored is there again when it is started again.
#[derive(Debug)]
pub struct EtcdServer {
    running: Running,
    /// Where it listens to those who ask, to other servers, and to who asks for its health.
    addresses: [SocketAddr; 3],
    directory: TempDir,
    arguments: Vec<String>,
    encrypted: bool,
}

impl EtcdServer {
    /// Starts one that has room for so many bytes.
    ///
    /// # Panics
    /// If there is no `etcd`, or if it does not start.
    pub fn with_room_for(bytes: u64) -> Self {
        Self::with(&[format!("--quota-backend-bytes={bytes}")], false)
    }

    /// Starts one that only speaks encrypted, with a certificate for loopback, to those who show one of the same
    /// authority.
    ///
    /// # Panics
    /// If there is no `etcd`, or if it does not start.
    pub fn encrypted(certificates: &Certificates) -> Self {
        let files = [
            ("cert-file", certificates.server()),
            ("key-file", certificates.server_key()),
            ("trusted-ca-file", certificates.authority()),
        ];
        let files = files.into_iter().map(|(name, path)| format!("--{name}={}", path.display()));
        Self::with(&files.chain(["--client-cert-auth".to_owned()]).collect::<Vec<_>>(), true)
    }

    fn with(arguments: &[String], encrypted: bool) -> Self {
        let directory = tempfile::Builder::new().prefix("etcd").tempdir().expect("a temporary directory");
        let (running, addresses) =
            on_free_ports(|addresses| Some((spawn(&directory, addresses, arguments, encrypted)?, addresses)));
        Self { running, addresses, directory, arguments: arguments.to_vec(), encrypted }
    }

    /// Asks its gateway something, in JSON, and returns what it says.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn ask(&self, path: &str, body: &str) -> String {
        let length = body.len();
        let said = format!("POST /v3/{path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}");
        let answer = converse(self.address(), said.as_bytes()).expect("etcd answers");
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).expect("a whole answer")
    }
}

impl Server for EtcdServer {
    fn start() -> Self {
        Self::with(&[], false)
    }

    fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    fn url_at(&self, address: SocketAddr) -> String {
        format!("etcd{}://{address}", if self.encrypted { "s" } else { "" })
    }

    fn kill(&mut self) {
        self.running.kill();
    }

    fn restart(&mut self) {
        self.kill();
        self.running = again(|| spawn(&self.directory, self.addresses, &self.arguments, self.encrypted));
    }
}

/// Starts a server; `None` if it ended at once, as one of its ports is taken.
fn spawn(
    directory: &TempDir,
    addresses: [SocketAddr; 3],
    arguments: &[String],
    encrypted: bool,
) -> Option<Running> {
    let [clients, peers, health] = addresses;
    let clients = format!("http{}://{clients}", if encrypted { "s" } else { "" });
    let peers = format!("http://{peers}");
    let mut command = Command::new("etcd");
    command
        .arg(format!("--data-dir={}", directory.path().join("data").display()))
        .args([format!("--listen-client-urls={clients}"), format!("--advertise-client-urls={clients}")])
        .args([format!("--listen-peer-urls={peers}"), format!("--initial-advertise-peer-urls={peers}")])
        .arg(format!("--initial-cluster=default={peers}"))
        .arg(format!("--listen-metrics-urls=http://{health}"))
        // Nobody pulls the plug of a test.
        .arg("--unsafe-no-fsync")
        .args(arguments);
    Running::start(&mut command, "etcd-server", |_| {
        Ok(converse(health, b"GET /health HTTP/1.0\r\n\r\n")?.contains(r#""health":"true""#))
    })
}
