//! Redis: what it promises beyond the suites.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use larder::key::Selector;
use larder::testing::{check_blobs, check_leases, check_tier, key, sealed};
use larder::tier::{PutOutcome, Tier as _};
use larder_shared::testing::{Certificates, RedisServer, Server as _};
use larder_shared::{Options, Redis, TlsFiles, UrlError, open};

use crate::lab::{SOON, options};

fn tier(server: &RedisServer) -> Redis {
    Redis::open(&server.url(), options()).unwrap()
}

#[tokio::test]
async fn a_log_that_was_cut_or_lost_means_that_anything_may_have_been_invalidated() {
    let server = RedisServer::start();
    let tier = tier(&server);
    let start = tier.epoch().await.unwrap();
    let mut last = start;
    for n in 0..3 {
        last = tier.invalidate(&Selector::key(&key("cut", &format!("k@1/{n}")))).await.unwrap().epoch;
    }
    assert_eq!(tier.invalidated_since(start).await.unwrap().selectors().map(|all| all.len()), Some(3));
    server.ask(&["xtrim", "{larder1}:log", "maxlen", "1"]);
    assert_eq!(tier.invalidated_since(start).await.unwrap().selectors(), None);
    assert_eq!(tier.invalidated_since(last).await.unwrap().selectors(), Some(Vec::new()));
    for lost in [&["del", "{larder1}:log"][..], &["del", "{larder1}:epoch"], &["flushall"]] {
        let before = tier.invalidated_since(last).await.unwrap().epoch;
        server.ask(lost);
        let after = tier.invalidated_since(before).await.unwrap();
        assert_eq!(after.selectors(), None, "{lost:?}");
        assert!(after.epoch > before, "{lost:?}: no epoch comes twice");
        let again = tier.invalidated_since(after.epoch).await.unwrap();
        assert_eq!(again.selectors(), Some(Vec::new()), "{lost:?}: it is a log again");
    }
}

#[tokio::test]
async fn an_invalidation_whose_author_died_holds_at_once_and_is_brought_to_its_end() {
    let server = RedisServer::start();
    let tier = tier(&server);
    let key = key("died", "k@1/x");
    let began = tier.epoch().await.unwrap();
    assert!(tier.put(vec![sealed(&key, b"value", &[], began)]).await.unwrap()[0].is_kept());
    let name = format!("larder1:e:{key}");
    assert_eq!(server.ask(&["exists", &name]), "1");
    let epoch = (began.0 + 1).to_string();
    server.ask(&["hset", "{larder1}:pending", &epoch, &Selector::key(&key).to_string()]);
    assert_eq!(tier.get(&key).await.unwrap(), None);
    let ends = async {
        while server.ask(&["hlen", "{larder1}:pending"]) != "0" {
            assert_eq!(tier.get(&key).await.unwrap(), None);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, ends).await.expect("somebody takes it up");
    assert_eq!(server.ask(&["exists", &name]), "0");
}

#[tokio::test]
async fn an_entry_that_was_stored_and_never_shown_is_not_served_and_goes_by_itself() {
    let server = RedisServer::start();
    let tier = tier(&server);
    let key = key("staged", "k@1/x");
    let began = tier.epoch().await.unwrap();
    assert!(tier.put(vec![sealed(&key, b"value", &[], began)]).await.unwrap()[0].is_kept());
    let name = format!("larder1:e:{key}");
    server.ask(&["hset", &name, "s", "somebody's mark"]);
    assert_eq!(tier.get(&key).await.unwrap(), None);
    assert_eq!(tier.select(&[Selector::all()]).await.unwrap(), []);
    let left: u64 = server.ask(&["pttl", &name]).parse().unwrap();
    assert!(left > 0, "it has an end");
}

#[tokio::test]
async fn entries_end_after_their_time_and_what_holds_less_long_sooner() {
    let server = RedisServer::start();
    let tier = tier(&server);
    let (long, short) = (key("ends", "k@1/long"), key("ends", "k@1/short"));
    let began = tier.epoch().await.unwrap();
    let mut entry = sealed(&short, b"value", &[], began);
    entry.record.expires = Some(options().clock.wall().plus(Duration::from_secs(100)));
    assert!(
        tier.put(vec![sealed(&long, b"value", &[], began), entry])
            .await
            .unwrap()
            .iter()
            .all(PutOutcome::is_kept)
    );
    let left = |key| -> u64 { server.ask(&["ttl", &format!("larder1:e:{key}")]).parse().unwrap() };
    assert!((101..=3600).contains(&left(long)) && (1..=100).contains(&left(short)));
}

#[tokio::test]
async fn encrypted_connections_are_made_to_whom_the_authority_vouches_for_and_to_nobody_else() {
    let (certificates, others) = (Certificates::make(), Certificates::make());
    let server = RedisServer::encrypted(&certificates);
    let trusting = |certificates: &Certificates| TlsFiles {
        authorities: Some(certificates.authority()),
        certificate: Some(certificates.client()),
        key: Some(certificates.client_key()),
    };
    let opened = |tls| open(&server.encrypted_url(), Options { tls, ..options() });
    let tier = opened(trusting(&certificates)).unwrap();
    check_tier(&*tier).await;
    check_blobs(&*tier).await;
    check_leases(&*tier).await;
    let valkeys = server.encrypted_url().replace("rediss", "valkeys");
    open(&valkeys, Options { tls: trusting(&certificates), ..options() }).unwrap().ping().await.unwrap();
    let why = |error: larder::tier::TierError| std::error::Error::source(&error).unwrap().to_string();
    for tls in
        [TlsFiles::default(), TlsFiles { authorities: Some(others.authority()), ..trusting(&certificates) }]
    {
        let error = opened(tls).unwrap().ping().await.unwrap_err();
        assert!(why(error).starts_with("its certificate is not trusted here"));
    }
    let nameless = TlsFiles { certificate: None, key: None, ..trusting(&certificates) };
    assert!(opened(nameless).unwrap().ping().await.is_err(), "who shows no certificate is let in");
    let half = TlsFiles { certificate: None, ..trusting(&certificates) };
    assert!(matches!(opened(half), Err(UrlError::HalfIdentity)));
    // What speaks no TLS is not spoken to without.
    let plain = server.url().replace("redis://", "rediss://");
    let plain = open(&plain, Options { tls: trusting(&certificates), ..options() }).unwrap();
    assert!(plain.ping().await.is_err());
}

#[tokio::test]
async fn an_epoch_of_another_log_means_that_anything_may_have_been_invalidated() {
    let server = RedisServer::start();
    let tier = tier(&server);
    let first = tier.epoch().await.unwrap();
    tier.invalidate(&Selector::all()).await.unwrap();
    // One that lies between two that the log has, as a server told it whose clock was ahead and whose log is lost.
    let other = larder::tier::Epoch(first.0 + 1);
    assert_eq!(tier.invalidated_since(other).await.unwrap().selectors(), None);
}

#[tokio::test]
async fn a_read_asks_what_is_pending_before_it_asks_for_the_entry() {
    let server = RedisServer::start();
    let tier = tier(&server);
    let mut monitor = TcpStream::connect(server.address()).unwrap();
    monitor.set_read_timeout(Some(SOON)).unwrap();
    monitor.write_all(b"MONITOR\r\n").unwrap();
    let mut seen = BufReader::new(monitor).lines().map(Result::unwrap);
    assert_eq!(seen.next().as_deref(), Some("+OK"));
    assert_eq!(tier.get(&key("order", "k@1/x")).await.unwrap(), None);
    let mut asked = seen.filter(|line| line.contains("larder1"));
    assert!(asked.next().unwrap().contains(r#""HGETALL" "{larder1}:pending""#));
    assert!(asked.next().unwrap().contains(r#""HMGET" "larder1:e:"#));
}
