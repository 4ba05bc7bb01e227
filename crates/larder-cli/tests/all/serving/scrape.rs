//! `/metrics`: what stands there, and that Prometheus takes it.

use super::prometheus::promtool;
use super::server::{content, wait_until};
use super::{Prometheus, Server, ask};
use crate::lab::Lab;

#[test]
fn requests_are_counted_by_protocol_operation_and_outcome_with_their_bytes() {
    let lab = Lab::new();
    let server = Server::start(&lab, &[]);
    let (bytes, digest) = content(1, 100_000);
    server.put(&format!("/cas/{digest}"), &bytes);
    assert_eq!(server.get(&format!("/cas/{digest}")).body, bytes);
    assert_eq!(server.get(&format!("/scope/shop/ac/{digest}")).status, 404);
    assert_eq!(ask(server.address, "PUT", "/cas/nothing", b"x").unwrap().status, 400);
    assert_eq!(ask(server.address, "PUT", &format!("/cas/{digest}"), b"other").unwrap().status, 400);
    let requests = |operation: &str, outcome: &str| {
        let labels = [format!("operation=\"{operation}\""), format!("outcome=\"{outcome}\"")];
        let labels = [&*labels[0], &*labels[1], "protocol=\"bazel\""];
        server.metric("larder_server_requests_total", &labels)
    };
    assert_eq!(requests("put", "done"), Some(1.0));
    assert_eq!(requests("get", "done"), Some(1.0));
    assert_eq!(requests("get-result", "missing"), Some(1.0));
    assert_eq!(requests("put", "refused"), Some(2.0));
    let of_bazel = ["protocol=\"bazel\""];
    assert_eq!(server.metric("larder_server_received_bytes_total", &of_bazel), Some(100_005.0));
    let sent = server.metric("larder_server_sent_bytes_total", &of_bazel).unwrap();
    assert!((100_000.0..101_000.0).contains(&sent), "{sent}");
    assert_eq!(server.metric("larder_server_request_seconds_count", &of_bazel), Some(5.0));
    assert_eq!(server.metric("larder_server_requests_under_way", &[]), Some(0.0));
    assert_eq!(server.metric("larder_server_accepted_total", &[]), Some(5.0));
    wait_until("connections end", || server.metric("larder_server_connections", &[]).filter(|&n| n == 0.0));
    // The engine's own come once a second.
    let hits = || server.metric("larder_hits_total", &["kind=\"content@1\"", "scope=\"default\""]);
    assert_eq!(wait_until("the engine's metrics come", hits), 1.0);
    // Nothing was put in the other scope.
    let misses = || server.metric("larder_misses_total", &["scope=\"-\""]);
    wait_until("those of another scope come", || misses().filter(|&misses| misses == 1.0));
    assert_eq!(server.metric("larder_tier_up", &["tier=\"disk\""]), Some(1.0));
    assert_eq!(server.metric("larder_tier_up", &["tier=\"shared\""]), None);
    let resident = server.metric("process_resident_memory_bytes", &[]).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((0.5..2.0).contains(&(resident / (kilobytes * 1024.0))), "{resident} {line}");
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics_and_each_says_what_it_means() {
    let lab = Lab::new();
    let server = Server::start(&lab, &[]);
    for number in 0..20 {
        let (bytes, digest) = content(number, 4000);
        server.put(&format!("/cas/{digest}"), &bytes);
        server.get(&format!("/cas/{digest}"));
        server.get(&format!("/ac/{digest}"));
    }
    wait_until("the engine's metrics come", || server.metric("larder_hits_total", &[]));
    let text = server.scrape();
    let checked = promtool(&["check", "metrics"], &text);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}\n{text}");
    let without_help: Vec<_> =
        text.lines().filter(|line| line.starts_with("# HELP") && line.split(' ').count() < 5).collect();
    assert_eq!(without_help, [""; 0]);
    let guide = include_str!("../../../../../docs/operating.md");
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let untold: Vec<_> = names.filter(|name| !guide.contains(&format!("`{name}`"))).collect();
    assert_eq!(untold, [""; 0], "each is in the operator's guide");
    // Whatever clients write, there are only so many series.
    let before = text.lines().count();
    for number in 0..300 {
        ask(server.address, "GET", &format!("/{number}/x?y={number}"), b"").unwrap();
    }
    assert!(server.scrape().lines().count() < before + 60);
}

#[test]
fn prometheus_scrapes_it_as_the_shipped_configuration_says() {
    let lab = Lab::new();
    let server = Server::start(&lab, &[]);
    let prometheus = Prometheus::start(&[server.metrics], None);
    let (bytes, digest) = content(7, 1000);
    server.put(&format!("/cas/{digest}"), &bytes);
    let seen = wait_until("Prometheus scrapes", || {
        let seen = prometheus.query("larder_server_requests_total{job=\"larder\",operation=\"put\"}");
        seen.first().cloned()
    });
    assert_eq!(seen["value"][1], "1");
    assert_eq!(seen["metric"]["instance"], server.metrics.to_string());
    assert_eq!(prometheus.query("up{job=\"larder\"}")[0]["value"][1], "1");
}

#[test]
fn metrics_on_the_port_of_the_protocols_are_there_too() {
    let lab = Lab::new();
    let server = Server::start(&lab, &[]);
    let answer = server.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("text/plain; version=0.0.4"), "{}", answer.head);
    assert!(answer.text().contains("larder_build_info{version="));
    assert_eq!(super::get(server.metrics, "/readyz").unwrap().status, 200);
    assert_eq!(super::get(server.metrics, "/healthz").unwrap().status, 200);
    assert_eq!(super::get(server.metrics, "/cas/00").unwrap().status, 404, "nothing else is there");
}
