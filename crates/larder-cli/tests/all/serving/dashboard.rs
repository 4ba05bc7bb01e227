//! The dashboard that is shipped: each query of it shows something where something happens.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use larder_shared::testing::{RedisServer, Server as _};

use super::prometheus::ops;
use super::server::{LIMIT, content};
use super::{Prometheus, Server, ask, http, put};
use crate::lab::Lab;

/// Changes a byte in the middle of each blob on a server's disk.
pub(super) fn damage_blobs(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            damage_blobs(&path);
            continue;
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        fs::write(&path, bytes).unwrap();
    }
}

/// Asks for what there is and what there is not, writes the same and something else, until `ended`.
fn traffic(server: &Server, ended: &AtomicBool) {
    for round in 0.. {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        for number in 0..20 {
            let (bytes, digest) = content(round * 20 + number, 12_000);
            server.put(&format!("/cas/{digest}"), &bytes);
            server.get(&format!("/cas/{digest}"));
        }
        let (bytes, digest) = content(round, 40_000);
        server.put("/ccache/ab/cd", &bytes);
        server.get(&format!("/ac/{digest}"));
        let facts = [("x-artifact-duration", "60000")];
        let artifact = format!("/v8/artifacts/{round:016x}");
        http::ask_with(server.address, "PUT", &artifact, &facts, &bytes).unwrap();
        server.get(&artifact);
        ask(server.address, "PUT", &format!("/cas/{digest}"), b"not that").unwrap();
    }
}

#[test]
fn each_query_of_the_dashboard_has_data_where_there_is_traffic() {
    let redis = RedisServer::start();
    let mut lab = Lab::new();
    lab.variable("LARDER_SHARED", &redis.url()).variable("LARDER_MEMORY_BUDGET", "1 MiB");
    let server = Server::start(&lab, &[]);
    let (large, digest) = content(u64::MAX, 100_000);
    server.put(&format!("/cas/{digest}"), &large);
    damage_blobs(&lab.path("home/.cache/larder/v1/blobs"));
    server.get(&format!("/cas/{digest}"));
    let prometheus = Prometheus::start(&[server.metrics], None);
    let dashboard: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(ops("grafana/larder.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut waiting: Vec<String> = targets
        .map(|target| target["expr"].as_str().unwrap())
        .map(|query| query.replace("$__rate_interval", "20s").replace("$instance", ".*"))
        .collect();
    assert!(waiting.len() > 20 && waiting.iter().all(|query| !query.contains('$')), "{waiting:?}");
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| traffic(&server, &ended));
        let until = Instant::now() + LIMIT;
        while !waiting.is_empty() && Instant::now() < until {
            waiting.retain(|query| {
                let values = prometheus.query(query);
                let number = |value: &serde_json::Value| value["value"][1].as_str().unwrap().parse::<f64>();
                !values.iter().any(|value| number(value).is_ok_and(f64::is_finite))
            });
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert_eq!(waiting, [""; 0], "{}", server.scrape());
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let queries: Vec<_> = variables
        .filter(|variable| variable["type"] == "query")
        .map(|variable| variable["query"].as_str().unwrap())
        .collect();
    assert_eq!(queries.len(), 1);
    assert_eq!(prometheus.choices(queries[0]), [server.metrics.to_string().as_str()]);
}

#[test]
fn a_put_that_breaks_off_leaves_nothing_under_way() {
    let lab = Lab::new();
    let server = Server::start(&lab, &[]);
    let (bytes, digest) = content(3, 50_000);
    let upload = http::Upload::begin(server.address, &format!("/cas/{digest}"), bytes.len());
    let under_way = || server.metric("larder_server_requests_under_way", &[]);
    super::server::wait_until("it is under way", || under_way().filter(|&n| n == 1.0));
    drop(upload);
    super::server::wait_until("it is not any more", || under_way().filter(|&n| n == 0.0));
    put(server.address, &format!("/cas/{digest}"), &bytes).unwrap();
    assert_eq!(server.metric("larder_server_requests_total", &["outcome=\"done\"", "put"]), Some(1.0));
}
