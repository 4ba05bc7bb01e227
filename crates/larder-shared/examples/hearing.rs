//! How long it takes until machines hear of an invalidation by themselves: three of them, on a server of each kind.
//!
//! `cargo run --release -p larder-shared --example hearing [ROUNDS]` starts the servers and prints, for each kind, the
//! least, the median and the longest time from the invalidation's return on one machine to its effect on another's
//! memory; then the same from the end of a partition, during which one machine reached the server and the other two did
//! not.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures and prints")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::clock::Clock;
use larder::config::{Machine, Settings};
use larder::engine::{Kind, KindOptions, Larder, Opened, Reach};
use larder::key::{Scope, Selector};
use larder_shared::testing::{
    EtcdServer, Proxy, RedisCluster, RedisServer, S3Server, Server, WatchedRedis, Weather,
};
use larder_shared::{Options, open};
use tempfile::TempDir;

/// How many machines there are. One invalidates, the others hear of it.
const MACHINES: usize = 3;
/// How long they are parted before that.
const PARTED: Duration = Duration::from_millis(700);

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
        let options = Options::new(Duration::from_secs(3600), Clock::system());
        let tier = open(url, Options { s3: S3Server::options(), ..options }).unwrap();
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

/// Without a proxy all reach the server all the time.
async fn measure(kind: &str, urls: [&str; MACHINES], parted_by: Option<&Proxy>, rounds: u32) {
    let nodes = urls.map(Node::new);
    let mut took = Vec::new();
    for round in 0..rounds {
        let id = round.to_string();
        for node in &nodes {
            node.ask(&id).await;
        }
        // At whatever time between two looks into the log.
        tokio::time::sleep(Duration::from_millis(u64::from(round * 37 % 250))).await;
        if let Some(proxy) = parted_by {
            proxy.turn(Weather::Closed);
            tokio::time::sleep(PARTED).await;
        }
        let selector = Selector::key(&nodes[0].words.key(&id).unwrap());
        let report = nodes[0].opened.larder.invalidate(&selector).await;
        assert!(report.failed_tiers.is_empty(), "{:?}", report.failed_tiers);
        if let Some(proxy) = parted_by {
            proxy.turn(Weather::Fair);
        }
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

async fn measure_parted<S: Server>(kind: &str, server: &S, rounds: u32) {
    let proxy = Proxy::start(server.address()).await.unwrap();
    let (near, far) = (server.url(), server.url_at(proxy.address()));
    measure(kind, [&near, &far, &far], Some(&proxy), rounds).await;
}

#[tokio::main]
async fn main() {
    let rounds = std::env::args().nth(1).map_or(100, |rounds| rounds.parse().unwrap());
    println!("{:9} {:>8} {:>8} {:>8}", "", "least", "median", "most");
    let etcd = EtcdServer::start();
    measure("etcd", [&etcd.url(); MACHINES], None, rounds).await;
    let redis = RedisServer::start();
    measure("redis", [&redis.url(); MACHINES], None, rounds).await;
    let cluster = RedisCluster::start();
    measure("cluster", [&cluster.url(); MACHINES], None, rounds).await;
    let watched = WatchedRedis::start();
    measure("sentinel", [&watched.url(); MACHINES], None, rounds).await;
    let bucket = S3Server::start();
    measure("s3", [&bucket.url(); MACHINES], None, rounds).await;
    println!("after a partition");
    measure_parted("etcd", &etcd, rounds).await;
    measure_parted("redis", &redis, rounds).await;
    measure_parted("s3", &bucket, rounds).await;
}
