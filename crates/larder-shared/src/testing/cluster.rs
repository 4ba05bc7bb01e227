//! A cluster of six `redis-server`, three of which follow the other three.

use std::process::{Command, Stdio};

use super::certificates::Certificates;
use super::redis::RedisServer;
use super::server::{Server as _, wait_until};

/// A cluster that ends with this.
#[derive(Debug)]
pub struct RedisCluster {
    servers: Vec<RedisServer>,
    encrypted: bool,
}

impl RedisCluster {
    /// Starts six servers, makes a cluster of them and waits until each follower has caught up.
    ///
    /// # Panics
    /// If there is no `redis-server` or `redis-cli`, or if the cluster does not come about.
    pub fn start() -> Self {
        Self::with(None)
    }

    /// The same, where all connections are encrypted, also those among the servers.
    ///
    /// # Panics
    /// As [`start`](Self::start) does.
    pub fn encrypted(certificates: &Certificates) -> Self {
        Self::with(Some(certificates))
    }

    fn with(certificates: Option<&Certificates>) -> Self {
        let servers: Vec<RedisServer> = (0..6).map(|_| RedisServer::of_cluster(certificates)).collect();
        let cluster = Self { servers, encrypted: certificates.is_some() };
        let mut command = Command::new("redis-cli");
        if let Some(certificates) = certificates {
            command.args(["--tls", "--cert"]).arg(certificates.client());
            command.arg("--key").arg(certificates.client_key());
            command.arg("--cacert").arg(certificates.authority());
        }
        let status = command
            .args(["--cluster", "create"])
            .args(cluster.addresses())
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let status = status.expect("redis-cli comes with redis-server: apt-get install redis-server");
        assert!(status.success(), "redis-cli makes a cluster");
        wait_until("the cluster", || cluster.is_whole());
        cluster
    }

    fn addresses(&self) -> impl Iterator<Item = String> {
        self.servers.iter().map(|server| match self.encrypted {
            true => server.encrypted_address().to_string(),
            false => server.address().to_string(),
        })
    }

    fn is_whole(&self) -> bool {
        let agree = |server: &RedisServer| server.ask(&["cluster", "info"]).contains("cluster_state:ok");
        let follows =
            |server: &&RedisServer| server.ask(&["info", "replication"]).contains("master_link_status:up");
        self.servers.iter().all(agree) && self.servers.iter().filter(follows).count() == 3
    }

    /// Its URL, which names half of its servers.
    pub fn url(&self) -> String {
        let servers: Vec<String> = self.addresses().step_by(2).collect();
        format!("redis{}+cluster://{}", if self.encrypted { "s" } else { "" }, servers.join(","))
    }

    /// Ends the server that has a key, as a crash would. Returns which it was.
    ///
    /// # Panics
    /// If none has it.
    pub fn kill_who_has(&mut self, key: &str) -> usize {
        let has = |server: &RedisServer| {
            let role = server.ask(&["role"]);
            // Others say who has it.
            role.starts_with("master") && !server.ask(&["exists", key]).contains("MOVED")
        };
        let at = self.servers.iter().position(has).expect("one of the servers has it");
        self.servers[at].kill();
        at
    }

    /// Starts a server again; it follows whoever took its place.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self, nth: usize) {
        self.servers[nth].restart();
    }
}
