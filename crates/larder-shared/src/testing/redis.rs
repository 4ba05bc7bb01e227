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
    addresses: Addresses,
    directory: TempDir,
    arguments: Vec<String>,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    plain: SocketAddr,
    /// To who speaks encrypted.
    encrypted: SocketAddr,
    /// To the others of its cluster.
    cluster: SocketAddr,
}

impl RedisServer {
    /// Starts one that also speaks encrypted, with a certificate for loopback, to those who show one of the same
    /// authority.
    ///
    /// # Panics
    /// If there is no `redis-server`, or if it does not start.
    pub fn encrypted(certificates: &Certificates) -> Self {
        Self::with(&tls(Some(certificates)))
    }

    /// Starts one for a cluster that is still to be made. With certificates it speaks to the others encrypted only.
    pub(super) fn of_cluster(certificates: Option<&Certificates>) -> Self {
        let mut arguments = tls(certificates);
        arguments.extend(["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"].map(str::to_owned));
        if certificates.is_some() {
            arguments.extend(["--tls-cluster", "yes", "--tls-replication", "yes"].map(str::to_owned));
        }
        Self::with(&arguments)
    }

    /// Starts one that others can follow. With certificates they speak to each other encrypted only.
    pub(super) fn followed(certificates: Option<&Certificates>) -> Self {
        Self::with(&replicating(certificates))
    }

    /// Starts one that follows another.
    pub(super) fn following(master: SocketAddr, certificates: Option<&Certificates>) -> Self {
        let mut arguments = replicating(certificates);
        let (host, port) = (master.ip().to_string(), master.port().to_string());
        arguments.extend(["--replicaof".to_owned(), host, port]);
        Self::with(&arguments)
    }

    /// Where it listens to who speaks encrypted.
    pub(super) fn encrypted_address(&self) -> SocketAddr {
        self.addresses.encrypted
    }

    fn with(arguments: &[String]) -> Self {
        let directory = tempfile::Builder::new().prefix("redis").tempdir().expect("a temporary directory");
        let (running, addresses) = on_free_ports(|[plain, encrypted, cluster]| {
            let addresses = Addresses { plain, encrypted, cluster };
            Some((spawn(&directory, addresses, arguments)?, addresses))
        });
        Self { running, addresses, directory, arguments: arguments.to_vec() }
    }

    /// The URL under which it speaks encrypted.
    pub fn encrypted_url(&self) -> String {
        format!("rediss://{}", self.addresses.encrypted)
    }

    /// Asks it something, as a line of words, and returns what it says, as `redis-cli` shows it.
    ///
    /// # Panics
    /// If `redis-cli` cannot be run.
    pub fn ask(&self, words: &[&str]) -> String {
        ask(self.addresses.plain, words)
    }
}

impl Server for RedisServer {
    fn start() -> Self {
        Self::with(&[])
    }

    fn address(&self) -> SocketAddr {
        self.addresses.plain
    }

    fn url_at(&self, address: SocketAddr) -> String {
        format!("redis://{address}")
    }

    fn kill(&mut self) {
        self.running.kill();
    }

    fn restart(&mut self) {
        self.kill();
        self.running = again(|| spawn(&self.directory, self.addresses, &self.arguments));
    }
}

/// Settings with which a server, or a sentinel, shows who it is and asks who comes.
pub(super) fn tls(certificates: Option<&Certificates>) -> Vec<String> {
    let files = |certificates: &Certificates| {
        [
            ("--tls-cert-file", certificates.server()),
            ("--tls-key-file", certificates.server_key()),
            ("--tls-ca-cert-file", certificates.trusted()),
        ]
    };
    let files = certificates.map(files).into_iter().flatten();
    files.flat_map(|(name, path)| [name.to_owned(), path.display().to_string()]).collect()
}

/// The same, to those who follow, too.
pub(super) fn replicating(certificates: Option<&Certificates>) -> Vec<String> {
    let mut arguments = tls(certificates);
    if certificates.is_some() {
        arguments.extend(["--tls-replication", "yes"].map(str::to_owned));
    }
    arguments
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
fn spawn(directory: &TempDir, addresses: Addresses, arguments: &[String]) -> Option<Running> {
    let Addresses { plain, encrypted, cluster } = addresses;
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", "127.0.0.1", "--port", &plain.port().to_string()])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(directory.path())
        .args(arguments);
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let more =
        [("--tls-cert-file", "--tls-port", encrypted), ("--cluster-enabled", "--cluster-port", cluster)];
    for (name, port, address) in more {
        if has(name) {
            command.args([port, &address.port().to_string()]);
        }
    }
    Running::start(&mut command, "redis-server", |child| Ok(process_of(plain)? == child.id()))
}

/// Which process answers there.
fn process_of(address: SocketAddr) -> io::Result<u32> {
    let answer = converse(address, b"INFO server\r\nQUIT\r\n")?;
    let process = answer.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
    process.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
