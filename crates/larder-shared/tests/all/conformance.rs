//! The suites that each tier passes, on real servers.

use larder::testing::{check_blobs, check_leases, check_tier};
use larder_shared::open;
use larder_shared::testing::{RedisServer, Server};

use crate::lab::options;

on_each_server! {
    it_passes_the_suites_of_all_tiers
}

async fn it_passes_the_suites_of_all_tiers<S: Server>() {
    let server = S::start();
    let tier = open(&server.url(), options()).unwrap();
    check_tier(&*tier).await;
    check_blobs(&*tier).await;
    check_leases(&*tier).await;
}

#[tokio::test]
async fn two_namespaces_on_one_server_do_not_meet() {
    use larder::testing::{key, sealed};
    let server = RedisServer::start();
    let one = open(&format!("{}?namespace=one", server.url()), options()).unwrap();
    let two = open(&format!("{}?namespace=two", server.url()), options()).unwrap();
    let key = key("space", "k@1/x");
    let began = one.epoch().await.unwrap();
    assert!(one.put(vec![sealed(&key, b"value", &[], began)]).await.unwrap()[0].is_kept());
    assert!(one.get(&key).await.unwrap().is_some());
    assert_eq!(two.get(&key).await.unwrap(), None);
    two.invalidate(&larder::key::Selector::all()).await.unwrap();
    assert!(one.get(&key).await.unwrap().is_some());
}
