//! A cluster of six `redis-server`, three of which follow the other three.

use std::process::{Command, Stdio};

use super::redis::RedisServer;
use super::server::{Server as _, wait_until};

/// A cluster that ends with this.
#[derive(Debug)]
pub struct RedisCluster {
    servers: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts six servers, makes a cluster of them and waits until each follower has caught up.
    ///
    /// # Panics
    /// If there is no `redis-server` or `redis-cli`, or if the cluster does not come about.
    pub fn start() -> Self {
        let servers: Vec<RedisServer> = (0..6).map(|_| RedisServer::of_cluster()).collect();
        let status = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(servers.iter().map(|server| server.address().to_string()))
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let status = status.expect("redis-cli comes with redis-server: apt-get install redis-server");
        assert!(status.success(), "redis-cli makes a cluster");
        let cluster = Self { servers };
        wait_until("the cluster", || cluster.is_whole());
        cluster
    }

    fn is_whole(&self) -> bool {
        let agree = |server: &RedisServer| server.ask(&["cluster", "info"]).contains("cluster_state:ok");
        let follows =
            |server: &&RedisServer| server.ask(&["info", "replication"]).contains("master_link_status:up");
        self.servers.iter().all(agree) && self.servers.iter().filter(follows).count() == 3
    }

    /// Its URL, which names half of its servers.
    pub fn url(&self) -> String {
        let servers: Vec<String> =
            self.servers.iter().step_by(2).map(|one| one.address().to_string()).collect();
        format!("redis+cluster://{}", servers.join(","))
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
