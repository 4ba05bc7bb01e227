//! A `prometheus` of one's own: on loopback, on a free port, in a directory that goes with it.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::server::LIMIT;
use super::{ask, get};

/// How often another port is tried where somebody else was quicker.
const ATTEMPTS: usize = 20;
/// Ports that no system gives to whoever asks for any.
const PORTS: std::ops::Range<u16> = 12_000..20_000;

/// A server that ends with this.
pub(super) struct Prometheus {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes `targets` as `ops/prometheus.yml` says, each second, by `rules`.
    pub(super) fn start(targets: &[SocketAddr], rules: Option<&str>) -> Self {
        let directory = tempfile::Builder::new().prefix("prometheus").tempdir().unwrap();
        let shipped = fs::read_to_string(ops("prometheus.yml")).unwrap();
        let targets: Vec<_> = targets.iter().map(|target| format!("\"{target}\"")).collect();
        let config = shipped
            .replace("15s", "1s")
            .replace("\"127.0.0.1:9093\"", &targets.join(", "))
            .replace("alerts.yml", if rules.is_some() { "rules.yml" } else { "none.yml" });
        assert!(config.contains("1s") && config.contains(&targets.join(", ")), "{config}");
        fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        if let Some(rules) = rules {
            fs::write(directory.path().join("rules.yml"), rules).unwrap();
        }
        for _ in 0..ATTEMPTS {
            let number = RandomState::new().hash_one(directory.path());
            let port = PORTS.start + (number % PORTS.len() as u64) as u16;
            let address = ([127, 0, 0, 1], port).into();
            if let Some(child) = spawn(&directory, address) {
                return Self { child, address, _directory: directory };
            }
        }
        panic!("prometheus finds no free port");
    }

    /// What a query returns now.
    pub(super) fn query(&self, query: &str) -> Vec<serde_json::Value> {
        let data = self.data(&format!("query?query={}", escaped(query)));
        data["result"].as_array().unwrap().clone()
    }

    /// What Grafana takes the choices of a variable from, whose query is `label_values(SELECTOR, LABEL)`.
    pub(super) fn choices(&self, query: &str) -> Vec<serde_json::Value> {
        let parts = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (selector, label) = parts.and_then(|parts| parts.rsplit_once(", ")).unwrap();
        let data = self.data(&format!("label/{label}/values?match[]={}", escaped(selector)));
        data.as_array().unwrap().clone()
    }

    /// What it answers, where that is no error.
    fn data(&self, asked: &str) -> serde_json::Value {
        let answer = get(self.address, &format!("/api/v1/{asked}")).unwrap();
        let mut answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"].take()
    }

    /// The names of alerts that fire now.
    pub(super) fn firing(&self) -> Vec<String> {
        let answer = ask(self.address, "GET", "/api/v1/alerts", b"").unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let alerts = answer["data"]["alerts"].as_array().unwrap().clone();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let mut names: Vec<_> =
            firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a server; `None` if it ended at once, as its port is taken.
fn spawn(directory: &TempDir, address: SocketAddr) -> Option<Child> {
    let at = |name: &str| directory.path().join(name).display().to_string();
    let mut child = Command::new("prometheus")
        .arg(format!("--config.file={}", at("prometheus.yml")))
        .arg(format!("--storage.tsdb.path={}", at("data")))
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("prometheus: {error}; install it with: apt-get install prometheus"));
    let until = Instant::now() + LIMIT;
    loop {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if get(address, "/-/ready").is_ok_and(|answer| answer.status == 200) {
            return Some(child);
        }
        assert!(Instant::now() < until, "prometheus does not answer");
        thread::sleep(Duration::from_millis(20));
    }
}

fn escaped(query: &str) -> String {
    query.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// A file that is shipped for operators.
pub(super) fn ops(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../ops").join(name)
}

/// Runs `promtool` on what is given to it, which it has to find right.
pub(super) fn promtool(arguments: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool: {error}; install it with: apt-get install prometheus"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
