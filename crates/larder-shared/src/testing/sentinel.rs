//! A `redis-server`, one that follows it, and three `redis-sentinel` that watch them.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::certificates::Certificates;
use super::port::on_free_ports;
use super::redis::{RedisServer, ask, replicating};
use super::server::{Running, Server as _, wait_until};

/// What the sentinels call what they watch.
const NAME: &str = "cache";

/// Servers that end with this.
#[derive(Debug)]
pub struct WatchedRedis {
    servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
    encrypted: bool,
}

#[derive(Debug)]
struct Sentinel {
    address: SocketAddr,
    /// Where it listens to who speaks encrypted.
    encrypted: SocketAddr,
    _running: Running,
    _directory: TempDir,
}

impl WatchedRedis {
    /// Starts all of them and waits until they know of each other.
    ///
    /// # Panics
    /// If there is no `redis-server` or `redis-sentinel`, or if they do not start.
    pub fn start() -> Self {
        Self::with(None, None)
    }

    /// The same, where all connections are encrypted, also those among the servers.
    ///
    /// # Panics
    /// As [`start`](Self::start) does.
    pub fn encrypted(certificates: &Certificates) -> Self {
        Self::with(Some(certificates), Some(certificates))
    }

    /// The same, where the sentinels' certificates are of one authority and the servers' of another. Each has to trust
    /// both.
    ///
    /// # Panics
    /// As [`start`](Self::start) does.
    pub fn encrypted_apart(sentinels: &Certificates, servers: &Certificates) -> Self {
        Self::with(Some(sentinels), Some(servers))
    }

    fn with(watching: Option<&Certificates>, certificates: Option<&Certificates>) -> Self {
        let first = RedisServer::followed(certificates);
        let master = if certificates.is_some() { first.encrypted_address() } else { first.address() };
        let second = RedisServer::following(master, certificates);
        wait_until("following", || second.ask(&["info", "replication"]).contains("master_link_status:up"));
        let sentinels = (0..3).map(|_| Sentinel::watching(master, watching)).collect();
        let watched = Self { servers: vec![first, second], sentinels, encrypted: certificates.is_some() };
        wait_until("watching", || watched.sentinels.iter().all(Sentinel::knows_all));
        watched
    }

    /// Their URL.
    pub fn url(&self) -> String {
        let address = |one: &Sentinel| if self.encrypted { one.encrypted } else { one.address };
        let sentinels: Vec<String> = self.sentinels.iter().map(|one| address(one).to_string()).collect();
        format!("redis{}+sentinel://{}/{NAME}", if self.encrypted { "s" } else { "" }, sentinels.join(","))
    }

    /// Ends the server that is in charge, as a crash would. Returns which it was.
    ///
    /// # Panics
    /// If none is.
    pub fn kill_master(&mut self) -> usize {
        let is_master = |server: &RedisServer| server.ask(&["role"]).starts_with("master");
        let at = self.servers.iter().position(is_master).expect("one is in charge");
        self.servers[at].kill();
        at
    }

    /// Starts a server again; the sentinels have it follow whoever took its place.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self, nth: usize) {
        self.servers[nth].restart();
    }
}

impl Sentinel {
    fn watching(master: SocketAddr, certificates: Option<&Certificates>) -> Self {
        let directory = tempfile::Builder::new().prefix("sentinel").tempdir().expect("a temporary directory");
        let settings = replicating(certificates);
        let (running, address, encrypted) = on_free_ports(|[address, encrypted]| {
            let port = address.port();
            let configuration = format!(
                "bind 127.0.0.1\nport {port}\ndir {}\n\
                 sentinel monitor {NAME} 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds {NAME} 1000\n\
                 sentinel failover-timeout {NAME} 5000\n",
                directory.path().display(),
                master.port(),
            );
            let path = directory.path().join("sentinel.conf");
            fs::write(&path, configuration).expect("a file that can be written");
            let mut command = Command::new("redis-sentinel");
            command.arg(path).args(&settings);
            if certificates.is_some() {
                command.args(["--tls-port", &encrypted.port().to_string()]);
            }
            let running = Running::start(&mut command, "redis-sentinel", |child| {
                Ok(ask(address, &["info", "server"]).contains(&format!("process_id:{}\r", child.id())))
            });
            Some((running?, address, encrypted))
        });
        Self { address, encrypted, _running: running, _directory: directory }
    }

    fn knows_all(&self) -> bool {
        let told = ask(self.address, &["sentinel", "master", NAME]);
        let told: Vec<&str> = told.lines().collect();
        let number = |name| {
            let at = told.iter().position(|line| *line == name)?;
            told.get(at + 1).copied()
        };
        number("num-slaves") == Some("1") && number("num-other-sentinels") == Some("2")
    }
}
