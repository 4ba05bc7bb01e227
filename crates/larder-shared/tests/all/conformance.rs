//! The suites that each tier passes, on real servers.

use larder::key::Selector;
use larder::testing::{check_blobs, check_leases, check_tier, key, sealed};
use larder_shared::testing::{Certificates, EtcdServer, RedisServer, Server};
use larder_shared::{Options, TlsFiles, UrlError, open};

use crate::lab::{options, trusting};

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
    check_with(url, options()).await;
}

/// The same, opened in some way.
pub(crate) async fn check_with(url: &str, options: Options) {
    let tier = open(url, options).unwrap();
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

/// A tier whose servers speak encrypted passes the suites, and speaks to nobody whom it is not to trust, nor without
/// showing who it is.
pub(crate) async fn check_encrypted(url: &str, certificates: &Certificates) {
    check_with(url, trusting(certificates)).await;
    let others = Certificates::make();
    let strange = TlsFiles { authorities: Some(others.authority()), ..trusting(certificates).tls };
    for tls in [TlsFiles::default(), strange] {
        let error = open(url, Options { tls, ..options() }).unwrap().ping().await.unwrap_err();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.starts_with("its certificate is not trusted here"), "{why}");
    }
    // The certificates are for loopback's number, and not for its name.
    let named = open(&url.replace("127.0.0.1", "localhost"), trusting(certificates)).unwrap();
    let why = std::error::Error::source(&named.ping().await.unwrap_err()).unwrap().to_string();
    assert!(why.starts_with("its certificate is not trusted here"), "{why}");
    let nameless = TlsFiles { certificate: None, key: None, ..trusting(certificates).tls };
    let nameless = open(url, Options { tls: nameless, ..options() }).unwrap();
    assert!(nameless.ping().await.is_err(), "who shows no certificate is let in");
    let without_certificate = TlsFiles { certificate: None, ..trusting(certificates).tls };
    let without_key = TlsFiles { key: None, ..trusting(certificates).tls };
    for tls in [without_certificate, without_key] {
        assert!(matches!(open(url, Options { tls, ..options() }), Err(UrlError::HalfIdentity)));
    }
}
