//! The alert rules that are shipped: that they are right, and that each fires when its condition is caused.

use std::fs;
use std::process::Command;

use larder_shared::testing::{RedisServer, Server as _};

use super::dashboard::damage_blobs;
use super::prometheus::ops;
use super::server::{content, wait_until};
use super::{Prometheus, Server, get, put};
use crate::lab::Lab;

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).current_dir(ops("")).output();
    let output = output
        .unwrap_or_else(|error| panic!("promtool: {error}; install it with: apt-get install prometheus"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn rules_and_configuration_are_right_by_promtool_and_hold_on_made_up_series() {
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["test", "rules", "alerts_test.yml"]);
}

/// The rules as they are shipped, but that each fires at once.
fn rules() -> String {
    let shipped = fs::read_to_string(ops("alerts.yml")).unwrap();
    let lines = shipped.lines().map(|line| {
        let indent = line.len() - line.trim_start().len();
        if line.trim_start().starts_with("for: ") {
            format!("{}for: 0s", &line[..indent])
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn wait_for(prometheus: &Prometheus, alerts: &[&str], mut meanwhile: impl FnMut()) {
    let mut firing = Vec::new();
    wait_until(&format!("{alerts:?} fire"), || {
        meanwhile();
        firing = prometheus.firing();
        alerts.iter().all(|alert| firing.iter().any(|name| name == alert)).then_some(())
    });
}

#[test]
fn alerts_on_tiers_servers_and_what_they_are_asked_fire_when_that_is_caused() {
    let mut redis = RedisServer::start();
    let mut lab = Lab::new();
    lab.variable("LARDER_SHARED", &redis.url()).variable("LARDER_MEMORY_BUDGET", "512 KiB");
    let mut server = Server::start(&lab, &[]);
    let prometheus = Prometheus::start(&[server.metrics], Some(&rules()));
    wait_until("it is scraped", || (!prometheus.query("larder_tier_up == 1").is_empty()).then_some(()));
    // What this machine's disk and memory are like is another matter.
    let caused =
        ["LarderHitRateLow", "LarderEvictionRateHigh", "LarderTierDown", "LarderDamaged", "LarderServerDown"];
    assert!(!prometheus.firing().iter().any(|alert| caused.contains(&&**alert)), "{:?}", prometheus.firing());
    // What is put fits less and less, and what is asked for was never there.
    let mut number = 0;
    wait_for(&prometheus, &["LarderHitRateLow", "LarderEvictionRateHigh"], || {
        for _ in 0..30 {
            number += 1;
            let (bytes, digest) = content(number, 15_000);
            server.put(&format!("/cas/{digest}"), &bytes);
            server.get(&format!("/ac/{digest}"));
        }
    });
    let (large, digest) = content(0, 100_000);
    server.put(&format!("/cas/{digest}"), &large);
    redis.kill();
    damage_blobs(&lab.path("home/.cache/larder/v1/blobs"));
    assert_eq!(server.get(&format!("/cas/{digest}")).status, 404, "never what is damaged");
    wait_for(&prometheus, &["LarderTierDown", "LarderDamaged"], || {});
    redis.restart();
    wait_until("the tier is back", || {
        (!prometheus.firing().contains(&"LarderTierDown".to_owned())).then_some(())
    });
    server.kill();
    wait_for(&prometheus, &["LarderServerDown"], || {});
}

#[test]
fn alerts_on_disk_and_memory_fire_when_they_run_out() {
    let lab = Lab::new();
    let listen = ["serve", "--json", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    // A file system of its own, and a kernel that says that there is hardly any memory left.
    lab.write("meminfo", "MemTotal: 8000000 kB\nMemAvailable: 1000 kB\n");
    let larder = lab.command(&[]);
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-euc"]).arg(
        "mount -t tmpfs -o size=64m none \"$HOME\"; mount --bind ../meminfo /proc/meminfo; exec \"$0\" \"$@\"",
    );
    command.arg(larder.get_program()).args(listen).current_dir(lab.path("project")).env_clear();
    command.envs(larder.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let server = Server::spawn(command);
    let prometheus = Prometheus::start(&[server.metrics], Some(&rules()));
    wait_for(&prometheus, &["LarderMemoryHigh"], || {});
    assert!(!prometheus.firing().contains(&"LarderDiskNearlyFull".to_owned()));
    let mut number = 0;
    // What does not fit is refused, and the server goes on.
    wait_for(&prometheus, &["LarderDiskNearlyFull", "LarderRequestsFailing"], || {
        for _ in 0..4 {
            number += 1;
            let (bytes, digest) = content(number, 2 << 20);
            let answer = put(server.address, &format!("/cas/{digest}"), &bytes).unwrap();
            assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        }
    });
    assert_eq!(get(server.address, "/healthz").unwrap().status, 200);
}
