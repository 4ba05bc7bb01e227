//! A remote execution cache: the suites, as far as they can hold there, and what it promises beyond them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use larder::clock::{Clock, Timestamp};
use larder::config::Secret;
use larder::engine::Origin;
use larder::key::{Algorithm, Digest, Hasher, Key, Selector};
use larder::stats::Place;
use larder::testing::{self as suite, key, sealed};
use larder::tier::blob::PIECE_BYTES;
use larder::tier::{BlobForm, Epoch, PutOutcome, Refusal, Tier, TierError};
use larder_shared::testing::{CasdServer, Certificates, Gate, Passes, Proxy, Server as _, Weather};
use larder_shared::{Options, RemoteExecution, TlsFiles, open};

use crate::lab::{Node, options};

const SHARED: Origin = Origin::Kept(Place::Shared);

fn tier(server: &CasdServer) -> RemoteExecution {
    RemoteExecution::open(&server.url(), options()).unwrap()
}

/// What a handle does who has a token for a gate.
fn through(gate: &Gate, token: &str) -> RemoteExecution {
    let options = Options { token: Some(Secret::new(token)), ..options() };
    RemoteExecution::open(&format!("grpc://{}", gate.address()), options).unwrap()
}

async fn put(tier: &dyn Tier, key: &Key) -> PutOutcome {
    let began = tier.epoch().await.unwrap();
    put_from(tier, key, began).await
}

async fn put_from(tier: &dyn Tier, key: &Key, began: Epoch) -> PutOutcome {
    tier.put(vec![sealed(key, b"value", &[], began)]).await.unwrap().remove(0)
}

/// Those parts of the suites that hold. The others are, with the reason:
///
/// - `an_invalidation_removes_what_its_selector_matches_and_nothing_else`: the protocol has no list and no delete, so
///   an invalidation removes everything, and no one can tell which keys that was.
/// - `what_began_before_an_invalidation_is_refused_and_what_began_after_is_kept`: what began before is refused, also
///   what the selector does not cover.
/// - `invalidations_are_told_in_order_to_whoever_asks`: only that there was one is told.
/// - `a_lease_has_one_holder_at_a_time_and_ends_with_it`: nothing can be taken by one of two who want it.
#[tokio::test]
async fn a_remote_execution_cache_passes_what_can_hold_there_of_the_suites_of_all_tiers() {
    let server = CasdServer::start();
    let tier = &*open(&server.url(), options()).unwrap();
    suite::what_is_put_comes_back_byte_for_byte(tier).await;
    suite::what_was_never_put_is_a_miss(tier).await;
    suite::a_later_put_replaces_an_earlier_one(tier).await;
    suite::each_part_of_a_key_tells_entries_apart(tier).await;
    suite::an_epoch_that_the_tier_never_reached_means_that_anything_may_have_been_invalidated(tier).await;
    suite::an_entry_in_quarantine_is_a_miss_and_no_invalidation(tier).await;
    suite::callers_side_by_side_see_whole_entries(tier).await;
    suite::a_tier_that_is_well_answers_a_ping_and_flushes(tier).await;
    suite::check_blobs(tier).await;
}

#[tokio::test]
async fn an_invalidation_is_one_of_everything_and_holds_for_everybody_at_once() {
    let server = CasdServer::start();
    let (one, other) = (tier(&server), tier(&server));
    let (covered, beside) = (key("all", "k@1/covered"), key("all", "k@1/beside"));
    let before = other.epoch().await.unwrap();
    assert!(put(&one, &covered).await.is_kept() && put(&one, &beside).await.is_kept());
    assert!(other.get(&covered).await.unwrap().is_some());
    assert_eq!(other.invalidated_since(before).await.unwrap().selectors(), Some(Vec::new()));
    let after = one.invalidate(&Selector::key(&covered)).await.unwrap().epoch;
    assert!(after > before);
    for tier in [&one, &other] {
        assert_eq!(tier.get(&covered).await.unwrap(), None);
        assert_eq!(tier.get(&beside).await.unwrap(), None);
    }
    assert_eq!(other.invalidated_since(before).await.unwrap().selectors(), None);
    assert_eq!(other.invalidated_since(after).await.unwrap().selectors(), Some(Vec::new()));
    // What began before is refused, whoever knows of the invalidation.
    let late = tier(&server);
    for tier in [&one, &other, &late] {
        let refused = PutOutcome::Refused(Refusal::Revoked);
        assert_eq!(put_from(tier, &covered, before).await, refused);
    }
    assert!(put(&other, &covered).await.is_kept());
    assert!(one.get(&covered).await.unwrap().is_some());
    assert!(one.select(&[Selector::all()]).await.is_err(), "nobody knows what is in it");
}

#[tokio::test]
async fn invalidations_side_by_side_leave_nothing_of_what_was_stored_before_any_of_them() {
    let server = CasdServer::start();
    let tiers: Vec<RemoteExecution> = (0..4).map(|_| tier(&server)).collect();
    let key = key("side", "k@1/x");
    for _ in 0..5 {
        assert!(put(&tiers[0], &key).await.is_kept());
        let seen = tiers[1].invalidated_since(Epoch(0)).await.unwrap().epoch;
        let selector = Selector::key(&key);
        let (a, b, c) = tokio::join!(
            tiers[1].invalidate(&selector),
            tiers[2].invalidate(&selector),
            tiers[3].invalidate(&selector)
        );
        let epochs = [a, b, c].map(|invalidated| invalidated.unwrap().epoch);
        assert!(!epochs.contains(&seen));
        for tier in &tiers {
            assert_eq!(tier.get(&key).await.unwrap(), None);
            assert_eq!(tier.invalidated_since(seen).await.unwrap().selectors(), None);
        }
    }
}

#[tokio::test]
async fn a_write_that_arrives_after_an_invalidation_is_not_served() {
    let server = CasdServer::start();
    let tier = tier(&server);
    let key = key("late", "k@1/x");
    let known = server.results();
    assert!(put(&tier, &key).await.is_kept());
    let epoch_and_entry: Vec<PathBuf> =
        server.results().into_iter().filter(|file| !known.contains(file)).collect();
    let contents: Vec<Vec<u8>> = epoch_and_entry.iter().map(|file| fs::read(file).unwrap()).collect();
    let says = |text: &[u8], word: &[u8]| text.windows(word.len()).any(|window| window == word);
    let entry = contents.iter().position(|content| says(content, b"1 entry ")).unwrap();
    tier.invalidate(&Selector::key(&key)).await.unwrap();
    assert!(put(&tier, &key).await.is_kept());
    assert!(tier.get(&key).await.unwrap().is_some());
    // What a slow machine sent before the invalidation takes the place of what was stored after it.
    fs::write(&epoch_and_entry[entry], &contents[entry]).unwrap();
    assert_eq!(tier.get(&key).await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_dropped_the_epoch_serves_nothing_until_there_is_another() {
    let server = CasdServer::start();
    let (one, other) = (tier(&server), tier(&server));
    let key = key("dropped", "k@1/x");
    let began = one.epoch().await.unwrap();
    let [epoch] = &server.results()[..] else { panic!("there is only the epoch") };
    assert!(put(&one, &key).await.is_kept());
    fs::remove_file(epoch).unwrap();
    assert_eq!(other.get(&key).await.unwrap(), None);
    // It may be the sign of an invalidation that was lost.
    assert_eq!(put_from(&one, &key, began).await, PutOutcome::Refused(Refusal::Revoked));
    let told = other.invalidated_since(began).await.unwrap();
    assert_eq!(told.selectors(), None);
    assert!(told.epoch != began && told.epoch != Epoch(0));
    assert_eq!(one.get(&key).await.unwrap(), None, "it is of another epoch");
    assert_eq!(one.epoch().await.unwrap(), told.epoch);
    assert!(put(&one, &key).await.is_kept());
    assert!(other.get(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn whoever_begins_an_epoch_at_the_same_time_as_others_takes_the_one_that_stays() {
    let server = CasdServer::start();
    // What the second one learns is out of date when it learns that there is no epoch.
    let proxy = Proxy::start(server.address()).await.unwrap();
    proxy.turn(Weather::Delayed(Duration::from_millis(6)));
    let mut apart = Vec::new();
    for n in 0..8 {
        server.results().into_iter().for_each(|file| fs::remove_file(file).unwrap());
        let urls = [server.url(), server.url_at(proxy.address())];
        let [one, other] = urls.map(|url| RemoteExecution::open(&url, options()).unwrap());
        let nothing = key("begins", "k@1/x");
        assert!(one.get(&nothing).await.unwrap().is_none() && other.get(&nothing).await.unwrap().is_none());
        let (seen, _) = tokio::join!(one.epoch(), other.epoch());
        if one.invalidated_since(seen.unwrap()).await.unwrap().all.is_none() {
            apart.push(n);
        }
    }
    // One that is busy may still be overtaken.
    assert!(apart.len() <= 4, "of 8: {apart:?}");
}

#[tokio::test]
async fn an_entry_ends_after_its_time_and_what_holds_less_long_sooner() {
    let server = CasdServer::start();
    let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
    let aged = Options { max_age: Duration::from_secs(100), clock: clock.clone(), ..options() };
    let tier = RemoteExecution::open(&server.url(), aged).unwrap();
    let (long, short) = (key("ends", "k@1/long"), key("ends", "k@1/short"));
    assert!(put(&tier, &long).await.is_kept());
    let mut entry = sealed(&short, b"value", &[], tier.epoch().await.unwrap());
    entry.record.expires = Some(clock.wall().plus(Duration::from_secs(10)));
    assert!(tier.put(vec![entry]).await.unwrap()[0].is_kept());
    let there = async |key| tier.get(key).await.unwrap().is_some();
    assert!(there(&long).await && there(&short).await);
    clock.step_wall(clock.wall().plus(Duration::from_secs(10)));
    assert!(there(&long).await && !there(&short).await);
    clock.step_wall(clock.wall().plus(Duration::from_secs(90)));
    assert!(!there(&long).await);
}

/// Noise that is made anew each time, so that nobody has to hold it.
fn piece(nth: u64, bytes: usize) -> Vec<u8> {
    let mut piece = Digest::of(&nth.to_le_bytes()).as_bytes().repeat(bytes.div_ceil(Digest::LEN));
    piece.truncate(bytes);
    piece
}

fn pieces(bytes: u64) -> impl Iterator<Item = Vec<u8>> {
    let length = PIECE_BYTES as u64;
    (0..bytes.div_ceil(length)).map(move |nth| piece(nth, length.min(bytes - nth * length) as usize))
}

/// How much memory this process has now.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn blobs_of_any_length_come_back_and_take_little_memory_on_their_way() {
    let server = CasdServer::start();
    let tier = tier(&server);
    for bytes in [0, 1, 128 << 10, 5_000_000, 300_000_000] {
        let mut hasher = Hasher::new(Algorithm::Blake3);
        pieces(bytes).for_each(|piece| hasher.update(&piece));
        let digest = hasher.finish();
        let before = resident_bytes();
        let mut most = before;
        let form = BlobForm { packed: false, bytes };
        let mut sink = tier.make_blob(digest, form).await.unwrap().unwrap();
        for piece in pieces(bytes) {
            sink.write(piece).await.unwrap();
            most = most.max(resident_bytes());
        }
        assert!(sink.finish().await.unwrap());
        assert_eq!(tier.missing_blobs(&[digest]).await.unwrap(), []);
        let mut source = tier.open_blob(digest).await.unwrap().unwrap();
        assert_eq!(source.form(), form);
        let (mut hasher, mut came) = (Hasher::new(Algorithm::Blake3), 0);
        while let Some(piece) = source.next().await.unwrap() {
            hasher.update(&piece);
            came += piece.len() as u64;
            most = most.max(resident_bytes());
        }
        assert_eq!((came, hasher.finish()), (bytes, digest));
        assert!(most - before < 100 << 20, "{} bytes for a blob of {bytes}", most - before);
    }
}

#[tokio::test]
async fn a_long_envelope_goes_in_pieces_and_one_that_is_too_long_not_at_all() {
    let server = CasdServer::start();
    let tier = tier(&server);
    let began = tier.epoch().await.unwrap();
    for (bytes, outcome) in
        [(7_000_000, PutOutcome::Kept), (9_000_000, PutOutcome::Refused(Refusal::TooLarge))]
    {
        let key = key("long", &format!("k@1/{bytes}"));
        let value: Vec<u8> = pieces(bytes).flatten().collect();
        let mut entry = sealed(&key, &value, &[], began);
        // As it would be if nothing could be packed.
        entry.envelope.resize(bytes as usize, 7);
        let envelope = entry.envelope.clone();
        assert_eq!(tier.put(vec![entry]).await.unwrap(), std::slice::from_ref(&outcome));
        assert!(tier.get(&key).await.unwrap() == outcome.is_kept().then_some(envelope));
    }
}

#[tokio::test]
async fn what_one_machine_computed_another_gets() {
    let server = CasdServer::start();
    let (a, b) = (Node::patient(&server.url()), Node::patient(&server.url()));
    assert_eq!(a.ask("x").await, Origin::Computed);
    a.larder.close().await;
    assert_eq!(b.ask("x").await, SHARED);
    a.larder.invalidate(&Selector::key(&a.key("x"))).await;
    b.larder.catch_up().await;
    assert_eq!(b.ask("x").await, Origin::Computed);
    assert!(a.trouble().is_none() && b.trouble().is_none());
}

#[tokio::test]
async fn two_instances_on_one_server_do_not_meet() {
    let server = CasdServer::start();
    let one = tier(&server);
    assert!(put(&one, &key("instance", "k@1/x")).await.is_kept());
    let other = RemoteExecution::open(&format!("{}/other", server.url()), options()).unwrap();
    // This server has one instance, and says so of another.
    let error = other.get(&key("instance", "k@1/x")).await.unwrap_err();
    assert!(matches!(error, TierError::Index(_)), "{error:?}");
}

#[tokio::test]
async fn content_that_is_damaged_on_the_servers_disk_is_never_served_and_is_sent_anew() {
    type Damage = fn(&PathBuf);
    let damages: [Damage; 3] = [
        |file| {
            let mut content = fs::read(file).unwrap();
            let middle = content.len() / 2;
            content[middle] ^= 1;
            overwrite(file, &content);
        },
        |file| overwrite(file, &fs::read(file).unwrap()[1..]),
        |file| fs::remove_file(file).unwrap(),
    ];
    for (nth, damage) in damages.into_iter().enumerate() {
        let server = CasdServer::start();
        let [a, b, c] = [0; 3].map(|_| Node::patient(&server.url()));
        a.ask("x").await;
        a.larder.close().await;
        let mut content = server.content();
        content.retain(|file| file.metadata().unwrap().len() > 0);
        assert!(!content.is_empty());
        content.iter().for_each(damage);
        assert_eq!(b.ask("x").await, Origin::Computed, "damage {nth}");
        b.larder.close().await;
        assert_eq!(c.ask("x").await, SHARED, "damage {nth}");
    }
}

/// Changes a file that may not be changed.
fn overwrite(file: &PathBuf, content: &[u8]) {
    fs::remove_file(file).unwrap();
    fs::write(file, content).unwrap();
}

#[tokio::test]
async fn an_action_result_that_is_damaged_on_the_servers_disk_is_a_miss() {
    let server = CasdServer::start();
    let [a, b, c] = [0; 3].map(|_| Node::patient(&server.url()));
    a.ask("x").await;
    a.larder.close().await;
    for file in server.results() {
        let mut content = fs::read(&file).unwrap();
        content.iter_mut().for_each(|byte| *byte ^= 0x15);
        overwrite(&file, &content);
    }
    assert_eq!(b.ask("x").await, Origin::Computed);
    // Whoever began under the epoch that was there stores nothing any more.
    c.ask("y").await;
    c.larder.close().await;
    let d = Node::patient(&server.url());
    assert_eq!(d.ask("y").await, SHARED);
}

#[tokio::test]
async fn without_the_right_token_nothing_is_had_and_nothing_fails() {
    let server = CasdServer::start();
    let gate = Gate::start(server.address(), "open-sesame", Passes::All);
    let key = key("token", "k@1/x");
    let right = through(&gate, "open-sesame");
    assert!(put(&right, &key).await.is_kept());
    assert!(right.get(&key).await.unwrap().is_some());
    let wrong = through(&gate, "hunter2");
    let error = wrong.get(&key).await.unwrap_err();
    let said = format!("{error:?} {wrong:?}");
    assert!(said.contains("nauthenticated") && !said.contains("hunter2"), "{said}");
    let node = Node::patient(&format!("grpc://{}", gate.address()));
    for id in ["a", "b", "c", "d"] {
        assert_eq!(node.ask(id).await, Origin::Computed);
    }
    let trouble = node.trouble().unwrap();
    assert!(trouble.contains("authentication"), "{trouble}");
    let unusable = Options { token: Some(Secret::new("two\nlines")), ..options() };
    assert!(RemoteExecution::open(&server.url(), unusable).is_err());
}

#[tokio::test]
async fn an_encrypted_connection_trusts_whom_the_settings_say() {
    let server = CasdServer::start();
    let gate = Gate::start_encrypted(server.address(), "t");
    let with = |authorities| {
        let tls = TlsFiles { authorities, ..TlsFiles::default() };
        let options = Options { token: Some(Secret::new("t")), tls, ..options() };
        RemoteExecution::open(&format!("grpcs://localhost:{}", gate.address().port()), options).unwrap()
    };
    assert!(put(&with(Some(gate.certificate())), &key("tls", "k@1/x")).await.is_kept());
    let others = Certificates::make();
    for stranger in [with(None), with(Some(others.authority()))] {
        let error = stranger.ping().await.unwrap_err();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.starts_with("its certificate is not trusted here"), "{why}");
    }
}

#[tokio::test]
async fn a_server_that_takes_no_action_results_is_read() {
    let server = CasdServer::start();
    let gate = Gate::start(server.address(), "t", Passes::Reading);
    let (writer, reader) = (tier(&server), through(&gate, "t"));
    let (there, new) = (key("reads", "k@1/there"), key("reads", "k@1/new"));
    assert_eq!(reader.epoch().await.unwrap(), Epoch(0), "it may begin none");
    assert_eq!(put(&reader, &new).await, PutOutcome::Refused(Refusal::Revoked), "of no epoch");
    assert!(put(&writer, &there).await.is_kept());
    assert!(reader.get(&there).await.unwrap().is_some());
    assert_eq!(put(&reader, &new).await, PutOutcome::Refused(Refusal::ReadOnly));
    assert!(matches!(reader.invalidate(&Selector::all()).await, Err(TierError::ReadOnly)));
    reader.quarantine(&there).await.unwrap();
    assert!(reader.get(&there).await.unwrap().is_some());
    let form = BlobForm { packed: false, bytes: 1 };
    assert!(reader.make_blob(Digest::of(b"x"), form).await.unwrap().is_none());
}

#[test]
fn a_handle_is_of_use_on_one_runtime_after_another() {
    let server = CasdServer::start();
    let tier = tier(&server);
    let key = key("runtimes", "k@1/x");
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert!(runtime.block_on(put(&tier, &key)).is_kept());
    }
}

#[tokio::test]
async fn what_it_had_is_there_after_it_was_killed() {
    let mut server = CasdServer::start();
    let (a, b) = (Node::patient(&server.url()), Node::patient(&server.url()));
    a.ask("before").await;
    a.larder.close().await;
    server.kill();
    server.restart();
    assert_eq!(b.ask("before").await, SHARED);
}
