//! A cluster of three `etcd`.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;

use tempfile::TempDir;

use super::port::{again, on_free_ports};
use super::server::{Running, converse};

/// A cluster that ends with this.
#[derive(Debug)]
pub struct EtcdCluster {
    members: [Option<Running>; 3],
    addresses: [Addresses; 3],
    directory: TempDir,
}

/// Where a member listens to those who ask, to the other members, and to who asks for its health.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    clients: SocketAddr,
    peers: SocketAddr,
    health: SocketAddr,
}

impl EtcdCluster {
    /// Starts three members and waits until they agree on a leader.
    ///
    /// # Panics
    /// If there is no `etcd`, or if they do not start.
    pub fn start() -> Self {
        on_free_ports(|ports: [SocketAddr; 9]| {
            let directory = tempfile::Builder::new().prefix("etcd").tempdir().expect("a temporary directory");
            let addresses: [Addresses; 3] = std::array::from_fn(|nth| {
                let [clients, peers, health] = std::array::from_fn(|port| ports[3 * nth + port]);
                Addresses { clients, peers, health }
            });
            // None is well before most of them are.
            let members = thread::scope(|scope| {
                let (directory, addresses) = (&directory, &addresses);
                [0, 1, 2]
                    .map(|nth| scope.spawn(move || spawn(directory, addresses, nth)))
                    .map(|started| started.join().expect("a thread that starts a member"))
            });
            members.iter().all(Option::is_some).then_some(Self { members, addresses, directory })
        })
    }

    /// Its URL, which names all members.
    pub fn url(&self) -> String {
        format!("etcd://{}", self.addresses.map(|one| one.clients.to_string()).join(","))
    }

    /// Ends the member that leads, as a crash would. Returns which it was.
    ///
    /// # Panics
    /// If none leads.
    pub fn kill_leader(&mut self) -> usize {
        let at = (0..3).find(|&nth| self.leads(nth)).expect("one of them leads");
        self.kill(at);
        at
    }

    /// Ends a member, as a crash would.
    pub fn kill(&mut self, nth: usize) {
        self.members[nth] = None;
    }

    /// Starts a member again, with what it had.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self, nth: usize) {
        self.members[nth] = Some(again(|| spawn(&self.directory, &self.addresses, nth)));
    }

    fn leads(&self, nth: usize) -> bool {
        let said = b"GET /metrics HTTP/1.0\r\n\r\n";
        let told = converse(self.addresses[nth].health, said).unwrap_or_default();
        told.lines().any(|line| line == "etcd_server_is_leader 1")
    }
}

/// Starts a member; `None` if it ended at once, as one of its ports is taken.
fn spawn(directory: &TempDir, addresses: &[Addresses; 3], nth: usize) -> Option<Running> {
    let Addresses { clients, peers, health } = addresses[nth];
    let members: Vec<String> =
        addresses.iter().enumerate().map(|(nth, one)| format!("member{nth}=http://{}", one.peers)).collect();
    let mut command = Command::new("etcd");
    command
        .arg(format!("--name=member{nth}"))
        .arg(format!("--data-dir={}", directory.path().join(nth.to_string()).display()))
        .args([
            format!("--listen-client-urls=http://{clients}"),
            format!("--advertise-client-urls=http://{clients}"),
            format!("--listen-peer-urls=http://{peers}"),
            format!("--initial-advertise-peer-urls=http://{peers}"),
            format!("--listen-metrics-urls=http://{health}"),
        ])
        .arg(format!("--initial-cluster={}", members.join(",")))
        // Nobody pulls the plug of a test.
        .arg("--unsafe-no-fsync");
    Running::start(&mut command, "etcd-server", |_| {
        Ok(converse(health, b"GET /health HTTP/1.0\r\n\r\n")?.contains(r#""health":"true""#))
    })
}
