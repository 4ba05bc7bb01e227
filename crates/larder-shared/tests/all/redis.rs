//! Redis: what it promises beyond the suites.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use larder::key::Selector;
use larder::testing::{key, sealed};
use larder::tier::{Epoch, PutOutcome, Refusal, Tier as _};
use larder_shared::testing::{Certificates, RedisServer, Server as _};
use larder_shared::{Redis, open};

use crate::conformance::check_encrypted;
use crate::lab::{SOON, options, trusting};
use crate::log::check_lost;

fn tier(server: &RedisServer) -> Redis {
    Redis::open(&server.url(), options()).unwrap()
}

#[tokio::test]
async fn a_log_that_was_cut_or_lost_means_that_anything_may_have_been_invalidated() {
    let server = RedisServer::start();
    let ask = |words: &[&str]| drop(server.ask(words));
    let losses: [&dyn Fn(); 3] =
        [&|| ask(&["del", "{larder1}:log"]), &|| ask(&["del", "{larder1}:epoch"]), &|| ask(&["flushall"])];
    let cut = |_| ask(&["xtrim", "{larder1}:log", "maxlen", "1"]);
    check_lost(&tier(&server), cut, &losses).await;
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
    let certificates = Certificates::make();
    let server = RedisServer::encrypted(&certificates);
    check_encrypted(&server.encrypted_url(), &certificates).await;
    let valkeys = server.encrypted_url().replace("rediss", "valkeys");
    open(&valkeys, trusting(&certificates)).unwrap().ping().await.unwrap();
    // What speaks no TLS is not spoken to without.
    let plain = server.url().replace("redis://", "rediss://");
    let plain = open(&plain, trusting(&certificates)).unwrap();
    assert!(plain.ping().await.is_err());
}

#[tokio::test]
async fn an_epoch_of_another_log_means_that_anything_may_have_been_invalidated() {
    let server = RedisServer::start();
    let tier = tier(&server);
    let first = tier.epoch().await.unwrap();
    tier.invalidate(&Selector::all()).await.unwrap();
    // One that lies between two that the log has, as a server told it whose clock was ahead and whose log is lost.
    let other = Epoch(first.0 + 1);
    assert_eq!(tier.invalidated_since(other).await.unwrap().selectors(), None);
}

/// Takes the server back to an older copy of itself, that knows no later epoch.
fn step_back(server: &RedisServer, to: Epoch, from: Epoch) {
    server.ask(&["xdel", "{larder1}:log", &format!("{}-0", from.0)]);
    server.ask(&["xsetid", "{larder1}:log", &format!("{}-0", to.0)]);
    server.ask(&["set", "{larder1}:epoch", &to.0.to_string()]);
}

#[tokio::test]
async fn a_server_that_stepped_back_takes_entries_again_once_that_was_noticed() {
    let server = RedisServer::start();
    let tier = tier(&server);
    let key = key("back", "k@1/x");
    let before = tier.epoch().await.unwrap();
    let lost = tier.invalidate(&Selector::all()).await.unwrap().epoch;
    step_back(&server, before, lost);
    let began = tier.epoch().await.unwrap();
    assert_eq!(began, lost, "as it knows no better");
    let put = async |began| tier.put(vec![sealed(&key, b"value", &[], began)]).await.unwrap().remove(0);
    assert_eq!(put(began).await, PutOutcome::Refused(Refusal::Revoked));
    let began = tier.epoch().await.unwrap();
    assert!(began > lost, "everything was invalidated anew");
    assert!(put(began).await.is_kept());
    assert!(tier.get(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn what_began_before_a_server_stepped_back_may_be_covered_by_what_that_lost() {
    let server = RedisServer::start();
    let tier = tier(&server);
    let key = key("back", "k@1/x");
    let before = tier.epoch().await.unwrap();
    for is_noticed_by_putting in [true, false] {
        let lost = tier.invalidate(&Selector::key(&key)).await.unwrap().epoch;
        step_back(&server, before, lost);
        if is_noticed_by_putting {
            let outcomes = tier.put(vec![sealed(&key, b"old", &[], before)]).await.unwrap();
            assert_eq!(outcomes, [PutOutcome::Refused(Refusal::Revoked)]);
            assert_eq!(tier.get(&key).await.unwrap(), None);
        } else {
            let told = tier.invalidated_since(before).await.unwrap();
            assert!(told.epoch > lost && told.selectors().is_none(), "{told:?}");
            let again = tier.invalidated_since(told.epoch).await.unwrap();
            assert_eq!(again.selectors(), Some(Vec::new()), "it is noticed once");
        }
    }
}

#[tokio::test]
async fn what_a_server_gave_up_by_stepping_back_is_invalidated_by_the_first_who_knows_of_it() {
    let server = RedisServer::start();
    let tiers = [(); 3].map(|()| tier(&server));
    let [one, other, stranger] = &tiers;
    let (key, beside) = (key("back", "k@1/x"), key("back", "k@1/beside"));
    let before = one.epoch().await.unwrap();
    for is_more_told_since in [false, true] {
        let began = one.invalidated_since(before).await.unwrap().epoch;
        let lost = one.invalidate(&Selector::key(&key)).await.unwrap().epoch;
        step_back(&server, began, lost);
        // What the lost invalidation had removed is there again.
        assert!(stranger.put(vec![sealed(&key, b"old", &[], began)]).await.unwrap()[0].is_kept());
        if is_more_told_since {
            stranger.invalidate(&Selector::key(&beside)).await.unwrap();
        }
        // Whoever followed up to there says so in another process.
        let told = tier(&server).invalidated_since(lost).await.unwrap();
        assert!(told.epoch > lost && told.selectors().is_none(), "{told:?}");
        assert_eq!(stranger.get(&key).await.unwrap(), None);
        let told_to_others = other.invalidated_since(lost).await.unwrap();
        assert_eq!((told_to_others.epoch, told_to_others.selectors()), (told.epoch, None), "once");
        assert_eq!(one.invalidated_since(told.epoch).await.unwrap().selectors(), Some(Vec::new()));
    }
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
