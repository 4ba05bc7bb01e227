//! Servers of one's own: on loopback, on a free port, in a directory that goes with them.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::port::{ATTEMPTS, STARTS, some_address};

/// A server on which there is a shared tier, and which ends with this. What tests of all such tiers ask of one.
pub trait Server: Sized + Send {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// If it is not installed, or if it does not start.
    fn start() -> Self;

    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// The URL of the tier for whoever reaches it there, through a proxy perhaps.
    fn url_at(&self, address: SocketAddr) -> String;

    /// The URL of the tier.
    fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// Ends it as a crash would.
    fn kill(&mut self);

    /// Starts it again after [`kill`](Self::kill), where it was before.
    ///
    /// # Panics
    /// If it does not start.
    fn restart(&mut self);
}

/// A `redis-server`. It keeps nothing over a restart.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Server for RedisServer {
    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("redis").tempdir().expect("a temporary directory");
        for _ in 0..ATTEMPTS {
            let address = some_address();
            if let Some(child) = spawn(&directory, address) {
                return Self { child, address, directory };
            }
        }
        panic!("redis-server finds no free port");
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn url_at(&self, address: SocketAddr) -> String {
        format!("redis://{address}")
    }

    fn kill(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn restart(&mut self) {
        self.kill();
        for _ in 0..ATTEMPTS {
            if let Some(child) = spawn(&self.directory, self.address) {
                self.child = child;
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("redis-server does not come back");
    }
}

impl RedisServer {
    /// Asks it something, as a line of words, and returns what it says, as `redis-cli` shows it.
    ///
    /// # Panics
    /// If `redis-cli` cannot be run.
    pub fn ask(&self, words: &[&str]) -> String {
        let port = self.address.port().to_string();
        let output = Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &port]).args(words).output();
        let output = output.expect("redis-cli comes with redis-server: apt-get install redis-server");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a server; `None` if it ended at once, as its port is taken.
fn spawn(directory: &TempDir, address: SocketAddr) -> Option<Child> {
    let port = address.port().to_string();
    let mut child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no", "--dir"])
        .arg(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("redis-server: {error}; install it with: apt-get install redis-server")
        });
    let until = Instant::now() + STARTS;
    loop {
        if child.try_wait().expect("a child can be asked").is_some() {
            return None;
        }
        // Another server may have the port, and this one be about to end.
        if process_of(address).is_ok_and(|process| process == child.id()) {
            return Some(child);
        }
        assert!(Instant::now() < until, "redis-server does not answer");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Which process answers there.
fn process_of(address: SocketAddr) -> io::Result<u32> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"INFO server\r\nQUIT\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let process = answer.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
    process.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
