//! A `larder serve` of one's own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{Answer, get, put};
use crate::lab::Lab;

/// How long anything that is waited for may take.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// A server that ends with this.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Where it tells metrics to anybody.
    pub(super) metrics: SocketAddr,
}

impl Server {
    /// Starts a server in a lab, on free ports.
    pub(super) fn start(lab: &Lab, arguments: &[&str]) -> Self {
        let listen = ["serve", "--json", "--listen", "127.0.0.1:0", "--metrics", "localhost:0"];
        Self::spawn(lab.command(&[&listen, arguments].concat()))
    }

    /// Starts what serves, and waits until it says where.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let address = |name: &str| said[name].as_str().unwrap().parse().unwrap();
        Self { child, address: address("address"), metrics: address("metrics") }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).unwrap();
    }

    /// Ends it as a crash would.
    pub(super) fn kill(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_until("the server ends", || self.child.try_wait().unwrap())
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        get(self.address, path).unwrap()
    }

    pub(super) fn put(&self, path: &str, body: &[u8]) {
        let answer = put(self.address, path, body).unwrap();
        assert!((200..300).contains(&answer.status), "{answer:?}");
    }

    /// The metrics as they are now.
    pub(super) fn scrape(&self) -> String {
        get(self.metrics, "/metrics").unwrap().text()
    }

    /// The sum of a metric over all series that have these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let text = self.scrape();
        let of = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (metric, rest) = series.split_once('{').unwrap_or((series, ""));
            let matches = metric == name && labels.iter().all(|label| rest.contains(label));
            matches.then(|| value.parse::<f64>().unwrap())
        };
        text.lines().filter_map(of).reduce(|sum, more| sum + more)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks again and again until there is an answer.
pub(super) fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that no other number makes and that do not compress, and their SHA-256.
pub(crate) fn content(number: u64, length: usize) -> (Vec<u8>, String) {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let bytes: Vec<u8> = std::iter::repeat_with(next).take(length).collect();
    let digest = larder::key::Algorithm::Sha256.digest(&bytes).to_string();
    (bytes, digest)
}
