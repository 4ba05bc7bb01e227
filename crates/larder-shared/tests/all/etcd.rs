//! etcd: what it promises beyond the suites.

use std::time::Duration;

use larder::key::{Digest, Selector};
use larder::testing::{check_blobs, check_leases, check_tier, key, sealed};
use larder::tier::{BlobForm, Epoch, PutOutcome, Refusal, Tier};
use larder_shared::testing::{Certificates, EtcdServer, Proxy, Server as _, Weather};
use larder_shared::{Etcd, Options, TlsFiles, UrlError, open};

use crate::conformance::check_encrypted;
use crate::lab::{SOON, options, trusting};
use crate::log::check_lost;

fn tier(server: &EtcdServer) -> Etcd {
    Etcd::open(&server.url(), options()).unwrap()
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// What a request says of all keys that begin so; more parts of the request may follow.
fn below(prefix: &str, more: &str) -> String {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().unwrap() += 1;
    let end = base64(std::str::from_utf8(&end).unwrap());
    format!(r#"{{"key":"{}","range_end":"{end}"{more}}}"#, base64(prefix))
}

fn count(server: &EtcdServer, prefix: &str) -> u64 {
    let answer = server.ask("kv/range", &below(prefix, r#","count_only":true"#));
    let (_, rest) = answer.split_once(r#""count":""#).unwrap_or(("", "0\""));
    rest.split('"').next().unwrap().parse().unwrap()
}

fn delete(server: &EtcdServer, prefix: &str) {
    server.ask("kv/deleterange", &below(prefix, ""));
}

fn put(server: &EtcdServer, key: &str, value: &str) {
    let body = format!(r#"{{"key":"{}","value":"{}"}}"#, base64(key), base64(value));
    assert!(server.ask("kv/put", &body).contains("revision"));
}

async fn kept(tier: &dyn Tier, key: &larder::key::Key, value: &[u8], began: Epoch) -> PutOutcome {
    tier.put(vec![sealed(key, value, &[], began)]).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_log_that_was_cut_or_lost_means_that_anything_may_have_been_invalidated() {
    let server = EtcdServer::start();
    let lose = |prefix: &str| delete(&server, prefix);
    let losses: [&dyn Fn(); 3] = [&|| lose("larder1/log/"), &|| lose("larder1/epoch"), &|| lose("larder1/")];
    check_lost(&tier(&server), |start| lose(&format!("larder1/log/{:020}", start.0)), &losses).await;
}

#[tokio::test]
async fn what_is_older_than_the_log_is_not_served() {
    let server = EtcdServer::start();
    let tier = tier(&server);
    let key = key("older", "k@1/x");
    let began = tier.epoch().await.unwrap();
    assert!(kept(&tier, &key, b"value", began).await.is_kept());
    assert!(tier.get(&key).await.unwrap().is_some());
    delete(&server, "larder1/epoch");
    assert_eq!(tier.get(&key).await.unwrap(), None);
    // What is computed from before is not stored either, and the next log does not bring the old entry back.
    assert_eq!(kept(&tier, &key, b"value", began).await, PutOutcome::Refused(Refusal::Revoked));
    let now = tier.invalidated_since(began).await.unwrap().epoch;
    assert_eq!(tier.get(&key).await.unwrap(), None);
    assert_eq!(tier.select(&[Selector::all()]).await.unwrap(), []);
    assert!(kept(&tier, &key, b"value", now).await.is_kept());
    assert!(tier.get(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn history_may_be_compacted_at_any_time() {
    let server = EtcdServer::start();
    let (one, other) = (tier(&server), tier(&server));
    let start = one.epoch().await.unwrap();
    let selector = Selector::key(&key("compact", "k@1/x"));
    one.invalidate(&selector).await.unwrap();
    let told = other.invalidated_since(start).await.unwrap();
    for n in 0..3 {
        put(&server, "elsewhere", &n.to_string());
    }
    let revision = server.ask("kv/range", &below("elsewhere", ""));
    let revision =
        revision.split(r#""mod_revision":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    server.ask("kv/compaction", &format!(r#"{{"revision":"{revision}","physical":true}}"#));
    assert_eq!(other.invalidated_since(start).await.unwrap().selectors(), Some(vec![selector]));
    // Whoever listened from before the compaction hears that he has to look, and does not wait in vain.
    let stale = tier(&server);
    stale.invalidated_since(told.epoch).await.unwrap();
    let heard = async {
        let all = Selector::all();
        let (heard, done) = tokio::join!(stale.heard(told.epoch), one.invalidate(&all));
        heard.unwrap();
        done.unwrap();
    };
    tokio::time::timeout(SOON, heard).await.expect("it hears");
}

#[tokio::test]
async fn an_invalidation_whose_author_died_holds_at_once_and_is_brought_to_its_end() {
    let server = EtcdServer::start();
    let tier = tier(&server);
    let (dead, alive) = (key("died", "k@1/x"), key("died", "k@1/y"));
    let began = tier.epoch().await.unwrap();
    for key in [&dead, &alive] {
        assert!(kept(&tier, key, b"value", began).await.is_kept());
    }
    let pending = format!("larder1/pending/{:020}", began.0 + 1);
    put(&server, &pending, &Selector::key(&dead).to_string());
    assert_eq!(tier.get(&dead).await.unwrap(), None);
    assert!(tier.get(&alive).await.unwrap().is_some());
    let ends = async {
        while count(&server, "larder1/pending/") != 0 {
            assert_eq!(tier.get(&dead).await.unwrap(), None);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, ends).await.expect("somebody takes it up");
    assert_eq!(count(&server, &format!("larder1/m/{dead}")), 0);
    assert!(tier.get(&alive).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_put_while_an_invalidation_is_pending_and_began_after_it_is_served() {
    let server = EtcdServer::start();
    let tier = tier(&server);
    let key = key("after", "k@1/x");
    let began = tier.epoch().await.unwrap();
    put(&server, &format!("larder1/pending/{:020}", began.0 + 1), &Selector::key(&key).to_string());
    assert!(kept(&tier, &key, b"value", began).await.is_kept());
    assert!(tier.get(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_log_that_is_long_is_cut_at_its_beginning() {
    let server = EtcdServer::start();
    let tier = tier(&server);
    let start = tier.epoch().await.unwrap();
    // As many as the log may have, in steps of a hundred.
    for hundred in 1..=110 {
        let operation = |n| {
            let name = base64(&format!("larder1/log/{:020}", start.0 - 100_000 + hundred * 100 + n));
            format!(r#"{{"request_put":{{"key":"{name}"}}}}"#)
        };
        let all: Vec<String> = (0..100).map(operation).collect();
        server.ask("kv/txn", &format!(r#"{{"success":[{}]}}"#, all.join(",")));
    }
    assert_eq!(count(&server, "larder1/log/"), 11_001);
    let last = tier.invalidate(&Selector::all()).await.unwrap().epoch;
    let length = count(&server, "larder1/log/");
    assert!((10_000..=10_002).contains(&length), "{length}");
    assert_eq!(tier.invalidated_since(last).await.unwrap().selectors(), Some(Vec::new()));
    assert_eq!(tier.invalidated_since(start).await.unwrap().selectors(), Some(vec![Selector::all()]));
}

#[tokio::test]
async fn entries_end_after_their_time_and_share_the_leases_with_which_they_do() {
    let server = EtcdServer::start();
    let tiers = [tier(&server), tier(&server)];
    let began = tiers[0].epoch().await.unwrap();
    for (nth, tier) in tiers.iter().enumerate() {
        for n in 0..5 {
            let long = key("ends", &format!("k@1/long-{nth}-{n}"));
            let mut short = sealed(&key("ends", &format!("k@1/short-{nth}-{n}")), b"value", &[], began);
            short.record.expires = Some(options().clock.wall().plus(Duration::from_secs(100)));
            let outcomes = tier.put(vec![sealed(&long, b"value", &[], began), short]).await.unwrap();
            assert!(outcomes.iter().all(PutOutcome::is_kept));
        }
    }
    let leases = server.ask("lease/leases", "{}");
    assert_eq!(leases.matches(r#""ID""#).count(), 2, "{leases}");
    let mut lengths = Vec::new();
    for id in leases.split(r#""ID":""#).skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let left = server.ask("lease/timetolive", &format!(r#"{{"ID":"{id}","keys":true}}"#));
        let granted = left.split(r#""grantedTTL":""#).nth(1).unwrap().split('"').next().unwrap();
        lengths.push(granted.parse::<u64>().unwrap());
        // Ten entries, each with what is known of it, and the term's own name.
        assert_eq!(left.split(r#""keys":["#).nth(1).unwrap().split(',').count(), 21);
    }
    lengths.sort_unstable();
    assert!((100..=150).contains(&lengths[0]) && (3600..=5000).contains(&lengths[1]), "{lengths:?}");
    // A lease that is gone before its time takes what hangs on it, and whoever used it takes another.
    for id in leases.split(r#""ID":""#).skip(1).map(|rest| rest.split('"').next().unwrap()) {
        server.ask("lease/revoke", &format!(r#"{{"ID":"{id}"}}"#));
    }
    assert_eq!(tiers[0].select(&[Selector::all()]).await.unwrap(), []);
    assert!(kept(&tiers[0], &key("ends", "k@1/again"), b"value", began).await.is_kept());
}

async fn send(tier: &dyn Tier, content: &[u8]) -> bool {
    let form = BlobForm { packed: false, bytes: content.len() as u64 };
    let mut sink = tier.make_blob(Digest::of(content), form).await.unwrap().unwrap();
    for piece in content.chunks(larder::tier::blob::PIECE_BYTES) {
        sink.write(piece.to_vec()).await.unwrap();
    }
    sink.finish().await.unwrap()
}

#[tokio::test]
async fn a_blob_that_is_named_again_lives_as_long_as_what_names_it() {
    let server = EtcdServer::start();
    let brief = Options { max_age: Duration::from_secs(60), ..options() };
    let (brief, long) = (Etcd::open(&server.url(), brief).unwrap(), tier(&server));
    let content = vec![7; 1_200_000];
    assert!(send(&brief, &content).await);
    assert_eq!(count(&server, "larder1/p/"), 3);
    assert_eq!(long.missing_blobs(&[Digest::of(&content)]).await.unwrap(), []);
    let term = server.ask("kv/range", &below("larder1/t/64", ""));
    let lease = term.split(r#""lease":""#).nth(1).unwrap().split('"').next().unwrap();
    server.ask("lease/revoke", &format!(r#"{{"ID":"{lease}"}}"#));
    assert_eq!(long.missing_blobs(&[Digest::of(&content)]).await.unwrap(), []);
    assert_eq!(count(&server, "larder1/p/"), 3);
}

#[tokio::test]
async fn pieces_that_nothing_names_are_removed() {
    let server = EtcdServer::start();
    let tier = tier(&server);
    let began = tier.epoch().await.unwrap();
    let key = key("pieces", "k@1/x");
    let noise: Vec<u8> =
        (0..100_000_u32).flat_map(|n| Digest::of(&n.to_le_bytes()).as_bytes().to_owned()).collect();
    for _ in 0..2 {
        assert!(kept(&tier, &key, &noise, began).await.is_kept());
    }
    assert!(tier.get(&key).await.unwrap().is_some_and(|envelope| envelope.len() > 3_000_000));
    let form = BlobForm { packed: false, bytes: 2_000_000 };
    let mut sink = tier.make_blob(Digest::of(&noise), form).await.unwrap().unwrap();
    sink.write(noise[..1_500_000].to_vec()).await.unwrap();
    drop(sink);
    let removed = async {
        while count(&server, "larder1/p/") != noise.len().div_ceil(512 << 10) as u64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, removed).await.expect("what was replaced and what was given up is gone");
    tier.invalidate(&Selector::key(&key)).await.unwrap();
    assert_eq!(count(&server, "larder1/p/"), 0);
}

#[tokio::test]
async fn a_server_without_room_refuses_and_is_told_of_invalidations_all_the_same() {
    let server = EtcdServer::with_room_for(8 << 20);
    let (one, other) = (tier(&server), tier(&server));
    let (covered, spared) = (key("full", "k@1/covered"), key("full", "k@1/spared"));
    let began = one.epoch().await.unwrap();
    for key in [&covered, &spared] {
        assert!(kept(&one, key, b"value", began).await.is_kept());
    }
    let noise: Vec<u8> =
        (0..30_000_u32).flat_map(|n| Digest::of(&n.to_le_bytes()).as_bytes().to_owned()).collect();
    let mut outcome = PutOutcome::Kept;
    for n in 0..20 {
        outcome = kept(&one, &key("full", &format!("k@1/{n}")), &noise, began).await;
        if outcome == PutOutcome::Refused(Refusal::NoRoom) {
            break;
        }
    }
    assert_eq!(outcome, PutOutcome::Refused(Refusal::NoRoom));
    assert!(!send(&one, &noise).await, "a blob is not taken");
    assert!(other.get(&covered).await.unwrap().is_some(), "what is there is served");
    let gone = one.invalidate(&Selector::key(&covered)).await.unwrap();
    assert_eq!(gone.keys, std::slice::from_ref(&covered));
    assert_eq!(other.get(&covered).await.unwrap(), None);
    let told = other.invalidated_since(began).await.unwrap();
    assert_eq!(told.selectors(), None, "anything may have been invalidated");
    assert_eq!(other.invalidated_since(told.epoch).await.unwrap().selectors(), None);
    // Once there is room again there is a log again.
    delete(&server, "larder1/");
    let revision = server.ask("kv/range", &below("larder1/", ""));
    let revision = revision.split(r#""revision":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    server.ask("kv/compaction", &format!(r#"{{"revision":"{revision}","physical":true}}"#));
    server.ask("maintenance/defragment", "{}");
    let alarm = server.ask("maintenance/alarm", r#"{"action":"GET"}"#);
    let member = alarm.split(r#""memberID":""#).nth(1).unwrap().split('"').next().unwrap();
    server.ask(
        "maintenance/alarm",
        &format!(r#"{{"action":"DEACTIVATE","memberID":"{member}","alarm":"NOSPACE"}}"#),
    );
    let now = other.invalidated_since(told.epoch).await.unwrap().epoch;
    assert_eq!(other.invalidated_since(now).await.unwrap().selectors(), Some(Vec::new()));
    assert!(kept(&other, &spared, b"value", now).await.is_kept());
}

#[tokio::test]
async fn a_lease_outlives_signs_of_life_and_ends_soon_after_the_last() {
    let server = EtcdServer::start();
    let proxy = Proxy::start(server.address()).await.unwrap();
    let (dies, waits) = (Etcd::open(&server.url_at(proxy.address()), options()).unwrap(), tier(&server));
    let key = key("dies", "k@1/x");
    let held = dies.try_lease(&key).await.unwrap().expect("a lease that is free");
    let began = std::time::Instant::now();
    // Longer than it lasts without a sign.
    while began.elapsed() < Duration::from_secs(13) {
        assert!(waits.try_lease(&key).await.unwrap().is_none(), "it is held");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    proxy.turn(Weather::Closed);
    let free = async {
        while waits.try_lease(&key).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, free).await.expect("nobody waits for the dead");
    drop(held);
}

#[tokio::test]
async fn all_leases_of_a_process_hang_on_one_of_the_servers() {
    let server = EtcdServer::start();
    let tier = tier(&server);
    let keys: Vec<_> = (0..4).map(|n| key("first", &format!("k@1/{n}"))).collect();
    let take = || async {
        let [a, b, c, d] = std::array::from_fn(|n| tier.try_lease(&keys[n]));
        let (a, b, c, d) = tokio::join!(a, b, c, d);
        [a, b, c, d].map(|lease| lease.unwrap().expect("a lease that is free"))
    };
    let leases = || {
        let leases = server.ask("lease/leases", "{}");
        let ids = leases.split(r#""ID":""#).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    let first = take().await;
    assert_eq!(leases().len(), 1);
    // One that is gone before its time is done without, and there is one again.
    server.ask("lease/revoke", &format!(r#"{{"ID":"{}"}}"#, leases()[0]));
    let second = take().await;
    assert_eq!(leases().len(), 1);
    drop((first, second));
}

#[test]
fn a_lease_is_kept_alive_on_one_runtime_after_another() {
    let server = EtcdServer::start();
    let (holds, waits) = (tier(&server), tier(&server));
    let (first, key) = (key("runtimes", "k@1/first"), key("runtimes", "k@1/second"));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime().block_on(async { drop(holds.try_lease(&first).await.unwrap().expect("a lease that is free")) });
    runtime().block_on(async {
        let _held = holds.try_lease(&key).await.unwrap().expect("a lease that is free");
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_secs(13) {
            assert!(waits.try_lease(&key).await.unwrap().is_none(), "it is held");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
}

#[tokio::test]
async fn an_account_is_asked_for_and_asked_again_when_the_server_forgot_it() {
    let mut server = EtcdServer::start();
    let ours = below("larder1", r#","permType":"READWRITE""#);
    for (path, body) in [
        ("auth/user/add", r#"{"name":"root","password":"other"}"#),
        ("auth/role/add", r#"{"name":"root"}"#),
        ("auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("auth/user/add", r#"{"name":"ada","password":"p@ss:w/d"}"#),
        ("auth/role/add", r#"{"name":"larder"}"#),
        ("auth/role/grant", &format!(r#"{{"name":"larder","perm":{ours}}}"#)),
        ("auth/user/grant", r#"{"user":"ada","role":"larder"}"#),
        ("auth/enable", "{}"),
    ] {
        assert!(server.ask(path, body).contains("revision"), "{path}");
    }
    let with = |account: &str| server.url().replace("://", &format!("://{account}@"));
    let tier = Etcd::open(&with("ada:p%40ss%3Aw%2Fd"), options()).unwrap();
    let wrong = Etcd::open(&with("ada:other"), options()).unwrap();
    assert!(!format!("{wrong:?}").contains("other"));
    assert!(wrong.ping().await.is_err());
    assert!(self::tier(&server).ping().await.is_err());
    check_tier(&tier).await;
    check_blobs(&tier).await;
    check_leases(&tier).await;
    server.restart();
    tier.ping().await.unwrap();
}

#[tokio::test]
async fn another_server_with_a_younger_history_takes_entries_once_that_was_noticed() {
    let (mut first, second) = (EtcdServer::start(), EtcdServer::start());
    for n in 0..20 {
        put(&first, "elsewhere", &n.to_string());
    }
    let tier = Etcd::open(&format!("{},{}", first.url(), second.address()), options()).unwrap();
    let began = tier.epoch().await.unwrap();
    let other = self::tier(&second).epoch().await.unwrap();
    assert_ne!(began, other);
    first.kill();
    let key = key("younger", "k@1/x");
    assert_eq!(kept(&tier, &key, b"value", began).await, PutOutcome::Refused(Refusal::Revoked));
    assert_eq!(tier.epoch().await.unwrap(), other);
    assert!(kept(&tier, &key, b"value", other).await.is_kept());
    assert!(tier.get(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_long_entry_whose_answer_is_lost_is_whole_or_not_there() {
    let server = EtcdServer::start();
    let direct = tier(&server);
    let began = direct.epoch().await.unwrap();
    let mut kept_whole = 0;
    // What is dropped behind the caller goes through them, too.
    let mut proxies = Vec::new();
    let cuts: Vec<u64> = (0..40).map(|n| n * 100).collect();
    for cut in &cuts {
        let proxy = Proxy::start(server.address()).await.unwrap();
        let tier = Etcd::open(&server.url_at(proxy.address()), options()).unwrap();
        let key = key("lost", &format!("k@1/{cut:04}"));
        let mut entry = sealed(&key, b"value", &[], began);
        entry.envelope.resize(1_200_000, 7);
        proxy.turn(Weather::CutAfter(*cut));
        proxies.push(proxy);
        kept_whole += u64::from(tier.put(vec![entry]).await.is_ok_and(|outcomes| outcomes[0].is_kept()));
    }
    assert!(kept_whole > 0);
    for cut in cuts {
        let key = key("lost", &format!("k@1/{cut:04}"));
        let is_there = count(&server, &format!("larder1/m/{key}")) > 0;
        assert_eq!(direct.get(&key).await.unwrap().is_some(), is_there, "cut after {cut} bytes");
    }
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_is_dead() {
    let mut dead = EtcdServer::start();
    dead.kill();
    let alive = EtcdServer::start();
    let url = format!("{},{}", dead.url(), alive.address());
    let tier = Etcd::open(&url, options()).unwrap();
    check_tier(&tier).await;
}

#[tokio::test]
async fn the_other_of_two_servers_is_asked_where_the_one_that_was_asked_dies() {
    let (mut dies, alive) = (EtcdServer::start(), EtcdServer::start());
    let tier = Etcd::open(&format!("{},{}", dies.url(), alive.address()), options()).unwrap();
    tier.ping().await.unwrap();
    dies.kill();
    tier.ping().await.unwrap();
}

#[tokio::test]
async fn encrypted_connections_are_made_to_whom_the_authority_vouches_for_and_to_nobody_else() {
    let certificates = Certificates::make();
    let server = EtcdServer::encrypted(&certificates);
    check_encrypted(&server.url(), &certificates).await;
    let opened = |tls| open(&server.url(), Options { tls, ..options() });
    let nameless = TlsFiles { certificate: None, key: None, ..trusting(&certificates).tls };
    let error = opened(nameless).unwrap().ping().await.unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("shared_cert"));
    let none = TlsFiles { authorities: Some(certificates.client_key()), ..TlsFiles::default() };
    assert!(matches!(opened(none), Err(UrlError::NoCertificate)));
    let gone = TlsFiles { authorities: Some("/nowhere/ca.pem".into()), ..TlsFiles::default() };
    assert!(matches!(opened(gone), Err(UrlError::Unreadable { .. })));
}
