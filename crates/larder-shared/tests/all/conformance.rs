//! The suites that each tier passes, on real servers.

use larder::key::Selector;
use larder::testing::{check_blobs, check_leases, check_tier, key, sealed};
use larder_shared::open;
use larder_shared::testing::{EtcdServer, RedisServer, Server};

use crate::lab::options;

on_each_server_with_a_log! {
    it_passes_the_suites_of_all_tiers
}

async fn it_passes_the_suites_of_all_tiers<S: Server>() {
    let server = S::start();
    check(&server.url()).await;
}

#[tokio::test]
async fn two_namespaces_on_one_server_do_not_meet() {
    let (redis, etcd) = (RedisServer::start(), EtcdServer::start());
    check_namespaces(&redis.url()).await;
    check_namespaces(&etcd.url()).await;
}

/// The suites.
pub(crate) async fn check(url: &str) {
    let tier = open(url, options()).unwrap();
    check_tier(&*tier).await;
    check_blobs(&*tier).await;
    check_leases(&*tier).await;
}

/// Two namespaces on one server do not meet.
pub(crate) async fn check_namespaces(url: &str) {
    let one = open(&format!("{url}?namespace=one"), options()).unwrap();
    let two = open(&format!("{url}?namespace=two"), options()).unwrap();
    let key = key("space", "k@1/x");
    let began = one.epoch().await.unwrap();
    assert!(one.put(vec![sealed(&key, b"value", &[], began)]).await.unwrap()[0].is_kept());
    assert!(one.get(&key).await.unwrap().is_some());
    assert_eq!(two.get(&key).await.unwrap(), None);
    two.invalidate(&Selector::all()).await.unwrap();
    assert!(one.get(&key).await.unwrap().is_some());
}
