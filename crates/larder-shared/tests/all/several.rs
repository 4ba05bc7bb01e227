//! Redis and etcd on several servers, of which one dies and another takes its place.

use std::time::Duration;

use larder::engine::Origin;
use larder::key::{Key, Selector};
use larder::stats::Place;
use larder::testing::{key, sealed};
use larder::tier::{Epoch, Tier};
use larder_shared::testing::{Certificates, EtcdCluster, RedisCluster, WatchedRedis};
use larder_shared::{Options, TlsFiles, open};

use crate::faults::is_back;
use crate::lab::{Node, SOON, options, trusting};
use crate::{conformance, log};

/// Machines that ask before, while and after another server takes the place of one that died.
async fn check_takeover(url: &str, kill: impl FnOnce()) {
    check_takeover_with(url, options, kill).await;
}

/// The same, where the tier is opened in some way.
async fn check_takeover_with(url: &str, options: impl Fn() -> Options, kill: impl FnOnce()) {
    let [a, b] = [(), ()].map(|()| Node::with(url, SOON, options()));
    a.ask("before").await;
    a.larder.close().await;
    assert_eq!(b.ask("before").await, Origin::Kept(Place::Shared));
    kill();
    for node in [&a, &b] {
        for n in 0..4 {
            node.ask(&format!("meanwhile {n}")).await;
        }
    }
    is_back(&a, &b).await;
    is_back(&b, &a).await;
}

/// What was invalidated right before a server died.
struct Gone {
    tier: std::sync::Arc<dyn Tier>,
    key: Key,
    began: Epoch,
    selector: Selector,
}

impl Gone {
    async fn invalidated(url: &str) -> Self {
        let [one, tier] = [(), ()].map(|()| open(url, options()).unwrap());
        let key = key("gone", "k@1/x");
        let began = tier.epoch().await.unwrap();
        assert!(one.put(vec![sealed(&key, b"value", &[], began)]).await.unwrap()[0].is_kept());
        assert!(tier.get(&key).await.unwrap().is_some());
        let selector = Selector::key(&key);
        one.invalidate(&selector).await.unwrap();
        Self { tier, key, began, selector }
    }

    /// Waits until the log can be read again. It has the invalidation, or says that anything may have been invalidated.
    async fn is_heard_of(&self) {
        let heard = async {
            loop {
                match self.tier.invalidated_since(self.began).await {
                    Ok(told) => return told.selectors(),
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        let heard = tokio::time::timeout(SOON, heard).await.expect("another takes its place");
        assert!(heard.is_none_or(|selectors| selectors.contains(&self.selector)));
        assert_eq!(self.tier.get(&self.key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_cluster_passes_the_suites_of_all_tiers() {
    let cluster = RedisCluster::start();
    conformance::check(&cluster.url()).await;
    conformance::check_namespaces(&cluster.url()).await;
    log::check_two_handles(&cluster.url()).await;
    log::check_memory(&cluster.url()).await;
}

#[tokio::test]
async fn a_server_of_a_cluster_that_dies_in_mid_run_is_done_without_until_another_takes_its_place() {
    let mut cluster = RedisCluster::start();
    let url = cluster.url();
    let mut nth = 0;
    check_takeover(&url, || nth = cluster.kill_who_has("{larder1}:log")).await;
    cluster.restart(nth);
    let (a, b) = (Node::patient(&url), Node::patient(&url));
    is_back(&a, &b).await;
}

#[tokio::test]
async fn what_was_invalidated_before_a_server_of_a_cluster_died_stays_so() {
    let mut cluster = RedisCluster::start();
    let gone = Gone::invalidated(&cluster.url()).await;
    cluster.kill_who_has("{larder1}:log");
    gone.is_heard_of().await;
    let mut cluster = RedisCluster::start();
    let gone = Gone::invalidated(&cluster.url()).await;
    cluster.kill_who_has(&format!("larder1:e:{}", gone.key));
    let absent = async {
        loop {
            match gone.tier.get(&gone.key).await {
                Ok(found) => return found,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    assert_eq!(tokio::time::timeout(SOON, absent).await.expect("another takes its place"), None);
}

#[tokio::test]
async fn watched_servers_pass_the_suites_of_all_tiers() {
    let watched = WatchedRedis::start();
    conformance::check(&watched.url()).await;
    conformance::check_namespaces(&watched.url()).await;
    log::check_two_handles(&watched.url()).await;
    log::check_memory(&watched.url()).await;
}

#[tokio::test]
async fn a_watched_server_that_dies_in_mid_run_is_done_without_until_another_takes_its_place() {
    let mut watched = WatchedRedis::start();
    let url = watched.url();
    let mut nth = 0;
    check_takeover(&url, || nth = watched.kill_master()).await;
    watched.restart(nth);
    let (a, b) = (Node::patient(&url), Node::patient(&url));
    is_back(&a, &b).await;
}

#[tokio::test]
async fn what_was_invalidated_before_a_watched_server_died_stays_so() {
    let mut watched = WatchedRedis::start();
    let gone = Gone::invalidated(&watched.url()).await;
    watched.kill_master();
    gone.is_heard_of().await;
}

#[tokio::test]
async fn a_cluster_may_speak_encrypted_only_also_when_another_takes_the_place_of_one_that_died() {
    let certificates = Certificates::make();
    let mut cluster = RedisCluster::encrypted(&certificates);
    let url = cluster.url();
    conformance::check_encrypted(&url, &certificates).await;
    let kill = || _ = cluster.kill_who_has("{larder1}:log");
    check_takeover_with(&url, || trusting(&certificates), kill).await;
}

#[tokio::test]
async fn watched_servers_may_speak_encrypted_only_also_when_another_takes_the_place_of_one_that_died() {
    let certificates = Certificates::make();
    let mut watched = WatchedRedis::encrypted(&certificates);
    let url = watched.url();
    conformance::check_encrypted(&url, &certificates).await;
    check_takeover_with(&url, || trusting(&certificates), || _ = watched.kill_master()).await;
}

#[tokio::test]
async fn what_sentinels_tell_of_is_trusted_no_more_than_they_are() {
    let (sentinels, servers) = (Certificates::make(), Certificates::make());
    sentinels.trust(&servers);
    servers.trust(&sentinels);
    let watched = WatchedRedis::encrypted_apart(&sentinels, &servers);
    let ping = async |authorities| {
        let tls = TlsFiles { authorities: Some(authorities), ..trusting(&sentinels).tls };
        open(&watched.url(), Options { tls, ..options() }).unwrap().ping().await
    };
    assert!(ping(sentinels.trusted()).await.is_ok());
    for strange in [sentinels.authority(), servers.authority()] {
        let why = std::error::Error::source(&ping(strange).await.unwrap_err()).unwrap().to_string();
        assert!(why.starts_with("its certificate is not trusted here"), "{why}");
    }
}

#[tokio::test]
async fn three_etcd_pass_the_suites_of_all_tiers() {
    let cluster = EtcdCluster::start();
    conformance::check(&cluster.url()).await;
    log::check_two_handles(&cluster.url()).await;
    log::check_memory(&cluster.url()).await;
}

#[tokio::test]
async fn whichever_of_three_etcd_dies_in_mid_run_the_others_go_on() {
    let mut cluster = EtcdCluster::start();
    let url = cluster.url();
    let mut nth = 0;
    check_takeover(&url, || nth = cluster.kill_leader()).await;
    cluster.restart(nth);
    check_takeover(&url, || cluster.kill((nth + 1) % 3)).await;
}

#[tokio::test]
async fn what_was_invalidated_before_an_etcd_died_stays_so() {
    let mut cluster = EtcdCluster::start();
    let gone = Gone::invalidated(&cluster.url()).await;
    cluster.kill_leader();
    gone.is_heard_of().await;
}
