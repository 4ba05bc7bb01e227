//! A `redis-server` of one's own: on loopback, on a free port, in a directory that goes with it.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::certificates::Certificates;
use super::port::{again, on_free_ports};
use super::server::{Running, Server, converse};

/// A server that ends with this. It keeps nothing over its end.
#[derive(Debug)]
pub struct RedisServer {
    running: Running,
    address: SocketAddr,
    /// Where it listens to who speaks encrypted, or to the others of its cluster.
    other: SocketAddr,
    directory: TempDir,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts one that also speaks encrypted, with a certificate for loopback, to those who show one of the same
    /// authority.
    ///
    /// # Panics
    /// If there is no `redis-server`, or if it does not start.
    pub fn encrypted(certificates: &Certificates) -> Self {
        let files = [
            ("--tls-cert-file", certificates.server()),
            ("--tls-key-file", certificates.server_key()),
            ("--tls-ca-cert-file", certificates.authority()),
        ];
        let arguments: Vec<String> = files
            .into_iter()
            .flat_map(|(name, path)| [name.to_owned(), path.display().to_string()])
            .collect();
        Self::with(&arguments)
    }

    /// Starts one for a cluster that is still to be made.
    pub(super) fn of_cluster() -> Self {
        let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        Self::with(&arguments.map(str::to_owned))
    }

    /// Starts one that follows another.
    pub(super) fn following(master: SocketAddr) -> Self {
        let (host, port) = (master.ip().to_string(), master.port().to_string());
        Self::with(&["--replicaof".to_owned(), host, port])
    }

    fn with(arguments: &[String]) -> Self {
        let directory = tempfile::Builder::new().prefix("redis").tempdir().expect("a temporary directory");
        let (running, address, other) = on_free_ports(|[address, other]| {
            Some((spawn(&directory, address, other, arguments)?, address, other))
        });
        Self { running, address, other, directory, arguments: arguments.to_vec() }
    }

    /// The URL under which it speaks encrypted.
    pub fn encrypted_url(&self) -> String {
        format!("rediss://{}", self.other)
    }

    /// Asks it something, as a line of words, and returns what it says, as `redis-cli` shows it.
    ///
    /// # Panics
    /// If `redis-cli` cannot be run.
    pub fn ask(&self, words: &[&str]) -> String {
        ask(self.address, words)
    }
}

impl Server for RedisServer {
    fn start() -> Self {
        Self::with(&[])
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn url_at(&self, address: SocketAddr) -> String {
        format!("redis://{address}")
    }

    fn kill(&mut self) {
        self.running.kill();
    }

    fn restart(&mut self) {
        self.kill();
        self.running = again(|| spawn(&self.directory, self.address, self.other, &self.arguments));
    }
}

/// Asks a server something, as a line of words.
///
/// # Panics
/// If `redis-cli` cannot be run.
pub(super) fn ask(address: SocketAddr, words: &[&str]) -> String {
    let port = address.port().to_string();
    let output = Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &port]).args(words).output();
    let output = output.expect("redis-cli comes with redis-server: apt-get install redis-server");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Starts a server; `None` if it ended at once, as its port is taken.
fn spawn(
    directory: &TempDir,
    address: SocketAddr,
    other: SocketAddr,
    arguments: &[String],
) -> Option<Running> {
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(directory.path())
        .args(arguments);
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    for (name, port) in [("--tls-cert-file", "--tls-port"), ("--cluster-enabled", "--cluster-port")] {
        if has(name) {
            command.args([port, &other.port().to_string()]);
        }
    }
    Running::start(&mut command, "redis-server", |child| Ok(process_of(address)? == child.id()))
}

/// Which process answers there.
fn process_of(address: SocketAddr) -> io::Result<u32> {
    let answer = converse(address, b"INFO server\r\nQUIT\r\n")?;
    let process = answer.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
    process.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
