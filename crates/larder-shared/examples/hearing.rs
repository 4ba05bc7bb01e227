//! How long it takes until machines hear of an invalidation by themselves: three of them, on a server of each kind.
//!
//! `cargo run --release -p larder-shared --example hearing [ROUNDS]` starts the servers and prints, for each kind, the
//! least, the median and the longest time from the invalidation's return on one machine to its effect on another's
//! memory.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures and prints")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::clock::Clock;
use larder::config::{Machine, Settings};
use larder::engine::{Kind, KindOptions, Larder, Opened, Reach};
use larder::key::{Scope, Selector};
use larder_shared::testing::{EtcdServer, RedisCluster, RedisServer, Server as _, WatchedRedis};
use larder_shared::{Options, open};
use tempfile::TempDir;

/// How many machines there are. One invalidates, the others hear of it.
const MACHINES: usize = 3;

struct Node {
    opened: Arc<Opened>,
    words: Kind<String>,
    _folder: TempDir,
}

impl Node {
    fn new(url: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let mut settings = Settings::new(folder.path().to_owned());
        settings.shared.patience = Duration::from_secs(60);
        let machine = Machine::probe(folder.path());
        let tier = open(url, Options::new(Duration::from_secs(3600), Clock::system())).unwrap();
        let opened = Arc::new(Larder::open_sharing(&settings, &machine, Clock::system(), "", Some(tier)));
        let team = KindOptions { reach: Reach::Team, ..KindOptions::default() };
        let words = opened.larder.kind(&Scope::new("hearing").unwrap(), "word", 1, team).unwrap();
        let attended = Arc::clone(&opened);
        tokio::spawn(async move { match attended.attend().await {} });
        Self { opened, words, _folder: folder }
    }

    async fn ask(&self, id: &str) {
        let compute = || async { Ok::<_, std::io::Error>("value".to_owned().into()) };
        self.words.get_or_compute(&self.words.key(id).unwrap(), compute).await.unwrap();
    }

    async fn forgets(&self) {
        while self.opened.larder.memory_usage().unwrap().entries > 0 {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
}

async fn measure(kind: &str, url: &str, rounds: u32) {
    let nodes: Vec<Node> = (0..MACHINES).map(|_| Node::new(url)).collect();
    let mut took = Vec::new();
    for round in 0..rounds {
        let id = round.to_string();
        for node in &nodes {
            node.ask(&id).await;
        }
        // At whatever time between two looks into the log.
        tokio::time::sleep(Duration::from_millis(u64::from(round * 37 % 250))).await;
        let selector = Selector::key(&nodes[0].words.key(&id).unwrap());
        let report = nodes[0].opened.larder.invalidate(&selector).await;
        assert!(report.failed_tiers.is_empty(), "{:?}", report.failed_tiers);
        let told = Instant::now();
        let heard = nodes[1..].iter().map(|node| async {
            node.forgets().await;
            told.elapsed()
        });
        for heard in heard.map(|heard| tokio::time::timeout(Duration::from_secs(10), heard)) {
            took.push(heard.await.expect("it hears"));
        }
    }
    took.sort_unstable();
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let (least, median, most) = (took[0], took[took.len() / 2], took[took.len() - 1]);
    println!("{kind:9} {:8.1} {:8.1} {:8.1} ms", millis(least), millis(median), millis(most));
}

#[tokio::main]
async fn main() {
    let rounds = std::env::args().nth(1).map_or(100, |rounds| rounds.parse().unwrap());
    println!("{:9} {:>8} {:>8} {:>8}", "", "least", "median", "most");
    let etcd = EtcdServer::start();
    measure("etcd", &etcd.url(), rounds).await;
    let redis = RedisServer::start();
    measure("redis", &redis.url(), rounds).await;
    let cluster = RedisCluster::start();
    measure("cluster", &cluster.url(), rounds).await;
    let watched = WatchedRedis::start();
    measure("sentinel", &watched.url(), rounds).await;
}
