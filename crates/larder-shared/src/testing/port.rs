//! Ports for servers of one's own: on loopback, and free.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

/// How often another port is tried where somebody else was quicker.
const ATTEMPTS: usize = 20;
/// Ports that no system gives to whoever asks for any, so that nobody gets the port of a server that was killed.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How long a server may take to answer.
pub(super) const STARTS: Duration = Duration::from_secs(60);

/// Starts something at as many addresses on loopback as it needs, which are likely to be free; elsewhere, if they are
/// not.
///
/// # Panics
/// If it starts nowhere.
pub(super) fn on_free_ports<T, const N: usize>(start: impl Fn([SocketAddr; N]) -> Option<T>) -> T {
    for _ in 0..ATTEMPTS {
        let number = RandomState::new().hash_one(std::process::id());
        let first = PORTS.start + (number % (PORTS.len() - N) as u64) as u16;
        let addresses = std::array::from_fn(|n| (Ipv4Addr::LOCALHOST, first + n as u16).into());
        if let Some(started) = start(addresses) {
            return started;
        }
    }
    panic!("a server finds no free port");
}

/// Starts something again where it was before.
///
/// # Panics
/// If it does not start.
pub(super) fn again<T>(start: impl Fn() -> Option<T>) -> T {
    for _ in 0..ATTEMPTS {
        if let Some(started) = start() {
            return started;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("a server does not come back");
}

/// Waits until a server listens there. Says whether it does, and nobody else.
///
/// # Panics
/// If nothing comes of it.
pub(super) fn is_taken_by(server: &mut Child, address: SocketAddr) -> bool {
    let until = Instant::now() + STARTS;
    while server.try_wait().expect("a child can be asked").is_none() {
        match listening(address).as_slice() {
            [] => {}
            [socket] if has_open(server.id(), socket) => return true,
            // Another one's, or this one's and another one's.
            _ => return false,
        }
        assert!(Instant::now() < until, "a server does not listen");
        thread::sleep(Duration::from_millis(5));
    }
    false
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
