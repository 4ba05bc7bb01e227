//! What the tier on S3 promises beyond the rest.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder::clock::{Clock, Timestamp};
use larder::config::Secret;
use larder::key::{Digest, Key, Selector};
use larder::testing::{key, sealed};
use larder::tier::blob::PIECE_BYTES;
use larder::tier::{BlobForm, Epoch, PutOutcome, Refusal, Tier};
use larder_shared::testing::{Certificates, S3Server, Server};
use larder_shared::{AccessKey, Options, S3Options, TlsFiles, UrlError, open};

use crate::lab::{options, until};

fn tier(server: &S3Server) -> Arc<dyn Tier> {
    open(&server.url(), options()).unwrap()
}

/// Where the object of an entry lies whose key has nothing odd in it.
fn object(server: &S3Server, key: &Key) -> PathBuf {
    let name = format!("e/{}/{}={}/{}", key.scope(), key.kind().name(), key.kind().version(), key.id());
    server.objects().join(name)
}

async fn put(tier: &dyn Tier, key: &Key, tags: &[&str], began: Epoch) -> PutOutcome {
    let outcomes = tier.put(vec![sealed(key, b"value", tags, began)]).await.unwrap();
    outcomes.into_iter().next().unwrap()
}

#[tokio::test]
async fn two_prefixes_in_one_bucket_do_not_meet() {
    let server = S3Server::start();
    let (one, two) = (tier(&server), open(&server.url().replace("/team", ""), options()).unwrap());
    assert_ne!(one.log(), two.log());
    let key = key("space", "k@1/x");
    assert!(put(&*one, &key, &[], one.epoch().await.unwrap()).await.is_kept());
    assert_eq!(two.get(&key).await.unwrap(), None);
    two.invalidate(&Selector::all()).await.unwrap();
    assert!(one.get(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_log_that_was_lost_means_that_anything_may_have_been_invalidated_and_nothing_from_before_is_served()
{
    let server = S3Server::start();
    let (one, other) = (tier(&server), tier(&server));
    let key = key("lost", "k@1/x");
    let before = one.invalidate(&Selector::key(&key)).await.unwrap().epoch;
    assert!(put(&*one, &key, &[], before).await.is_kept());
    assert!(other.get(&key).await.unwrap().is_some());
    std::fs::remove_file(server.objects().join("log")).unwrap();
    assert_eq!(other.get(&key).await.unwrap(), None, "an invalidation may have been pending");
    let after = one.invalidated_since(before).await.unwrap();
    assert_eq!(after.selectors(), None);
    assert!(after.epoch > before, "no epoch comes twice");
    assert_eq!(
        one.invalidated_since(after.epoch).await.unwrap().selectors(),
        Some(Vec::new()),
        "it is a log again"
    );
    for tier in [&one, &other] {
        assert_eq!(tier.get(&key).await.unwrap(), None);
        assert_eq!(tier.select(&[Selector::all()]).await.unwrap(), []);
    }
    assert_eq!(put(&*one, &key, &[], before).await, PutOutcome::Refused(Refusal::Revoked));
    assert!(put(&*one, &key, &[], after.epoch).await.is_kept());
    assert!(other.get(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_log_that_is_damaged_is_a_failure_and_serves_nothing() {
    let server = S3Server::start();
    let tier = tier(&server);
    let key = key("damaged", "k@1/x");
    assert!(put(&*tier, &key, &[], tier.epoch().await.unwrap()).await.is_kept());
    let log = server.objects().join("log");
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, text.replace("born 1", "born 2")).unwrap();
    // What the server tells it by is kept beside it; a server that was damaged has another for it.
    let other = open(&server.url(), options()).unwrap();
    assert!(other.get(&key).await.is_err());
    assert!(other.invalidate(&Selector::all()).await.is_err());
}

#[tokio::test]
async fn an_invalidation_whose_author_died_holds_at_once_and_is_brought_to_its_end() {
    let server = S3Server::start();
    let (author, other) = (tier(&server), tier(&server));
    let (covered, free) = (key("died", "k@1/x"), key("died", "k@1/y"));
    let began = other.epoch().await.unwrap();
    assert!(put(&*other, &covered, &["t"], began).await.is_kept());
    assert!(put(&*other, &free, &[], began).await.is_kept());
    let selector = Selector::all().in_scope(covered.scope()).tagged("t").unwrap();
    server.deny_lists(true);
    assert!(author.invalidate(&selector).await.is_err(), "it dies between its first step and its second");
    assert!(object(&server, &covered).exists());
    assert_eq!(other.get(&covered).await.unwrap(), None);
    assert!(other.get(&free).await.unwrap().is_some());
    assert_eq!(other.invalidated_since(began).await.unwrap().selectors(), Some(vec![selector]));
    server.deny_lists(false);
    until("somebody takes it up", async || {
        assert_eq!(other.get(&covered).await.unwrap(), None);
        !object(&server, &covered).exists()
    })
    .await;
    until("it is pending no more", async || {
        !std::fs::read_to_string(server.objects().join("log")).unwrap().contains("pending")
    })
    .await;
}

#[tokio::test]
async fn an_invalidation_between_the_look_into_the_log_and_the_entry_keeps_it_from_being_served() {
    for (author_dies, tags) in [(false, &["t"][..]), (true, &["t"]), (false, &[])] {
        let server = S3Server::start();
        let (writer, other) = (tier(&server), tier(&server));
        let key = key("between", "k@1/x");
        let scope = Selector::all().in_scope(key.scope());
        let selector = if tags.is_empty() { scope } else { scope.tagged("t").unwrap() };
        let began = writer.epoch().await.unwrap();
        server.hold_entries(true);
        let (putting, entry) = (Arc::clone(&writer), sealed(&key, b"old", tags, began));
        let putting = tokio::spawn(async move { putting.put(vec![entry]).await.unwrap() });
        until("its claim stands and the log was read", async || server.held_entries() == 1).await;
        server.deny_lists(author_dies);
        assert_eq!(other.invalidate(&selector).await.is_err(), author_dies);
        server.hold_entries(false);
        let outcomes = putting.await.unwrap();
        if !author_dies {
            assert_eq!(outcomes, [PutOutcome::Refused(Refusal::Revoked)]);
            assert!(!object(&server, &key).exists());
        }
        server.deny_lists(false);
        for tier in [&writer, &other] {
            assert_eq!(tier.get(&key).await.unwrap(), None);
            assert_eq!(tier.select(&[Selector::all()]).await.unwrap(), []);
        }
    }
}

#[tokio::test]
async fn a_claim_whose_writer_died_is_no_entry_and_is_written_over() {
    let server = S3Server::start();
    let tier = tier(&server);
    let key = key("claim", "k@1/x");
    let began = tier.epoch().await.unwrap();
    server.hold_entries(true);
    let (putting, entry) = (Arc::clone(&tier), sealed(&key, b"value", &[], began));
    let putting = tokio::spawn(async move { putting.put(vec![entry]).await });
    until("its claim stands", async || server.held_entries() == 1).await;
    putting.abort();
    assert_eq!(tier.get(&key).await.unwrap(), None);
    assert_eq!(tier.select(&[Selector::all()]).await.unwrap(), []);
    server.hold_entries(false);
    assert!(put(&*tier, &key, &[], began).await.is_kept());
    assert!(tier.get(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn invalidations_of_many_at_once_are_all_told_each_under_an_epoch_of_its_own() {
    let server = S3Server::start();
    let follower = tier(&server);
    let began = follower.epoch().await.unwrap();
    let mut authors = tokio::task::JoinSet::new();
    for author in 0..4 {
        let tier = tier(&server);
        authors.spawn(async move {
            let mut epochs = Vec::new();
            for n in 0..3 {
                let selector = Selector::key(&key("many", &format!("k@1/{author}.{n}")));
                epochs.push(tier.invalidate(&selector).await.unwrap().epoch);
            }
            epochs
        });
    }
    let epochs: BTreeSet<Epoch> = authors.join_all().await.into_iter().flatten().collect();
    assert_eq!(epochs.len(), 12);
    let told = follower.invalidated_since(began).await.unwrap();
    let told: BTreeSet<String> = told.selectors().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 12);
}

#[tokio::test]
async fn a_server_that_does_not_heed_conditions_is_not_shared() {
    let server = S3Server::start_heedless();
    let tier = tier(&server);
    let error = tier.epoch().await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "the server does not heed conditions on writes, so that it cannot be shared");
    assert!(tier.try_lease(&key("heed", "k@1/x")).await.is_err());
    assert!(tier.invalidate(&Selector::all()).await.is_err());
}

#[tokio::test]
async fn entries_end_when_they_say_or_after_their_time() {
    let server = S3Server::start();
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let tier = open(&server.url(), Options { clock: clock.clone(), ..options() }).unwrap();
    let (long, short) = (key("ends", "k@1/long"), key("ends", "k@1/short"));
    let began = tier.epoch().await.unwrap();
    let mut entry = sealed(&short, b"value", &[], began);
    entry.record.expires = Some(clock.wall().plus(Duration::from_secs(100)));
    let outcomes = tier.put(vec![sealed(&long, b"value", &[], began), entry]).await.unwrap();
    assert!(outcomes.iter().all(PutOutcome::is_kept));
    for (seconds, expected) in [(99, vec![&long, &short]), (1, vec![&long]), (3500, vec![])] {
        clock.advance(Duration::from_secs(seconds));
        let all = tier.select(&[Selector::all()]).await.unwrap();
        assert_eq!(all.iter().collect::<Vec<_>>(), expected);
        for key in [&long, &short] {
            assert_eq!(tier.get(key).await.unwrap().is_some(), expected.contains(&key), "{key}");
        }
    }
}

#[tokio::test]
async fn a_blob_that_might_be_gone_before_an_entry_counts_as_missing() {
    let server = S3Server::start();
    let digest = Digest::of(b"content");
    let form = BlobForm { packed: false, bytes: 7 };
    let now = tier(&server);
    let mut sink = now.make_blob(digest, form).await.unwrap().unwrap();
    sink.write(b"content".to_vec()).await.unwrap();
    assert!(sink.finish().await.unwrap());
    assert_eq!(now.missing_blobs(&[digest]).await.unwrap(), []);
    let later = Clock::manual(options().clock.wall().plus(Duration::from_secs(3600)));
    let later = open(&server.url(), Options { clock: later, ..options() }).unwrap();
    assert_eq!(later.missing_blobs(&[digest]).await.unwrap(), [digest]);
    assert!(later.open_blob(digest).await.unwrap().is_some());
}

#[tokio::test]
async fn a_large_blob_goes_in_parts_and_is_not_there_before_the_last_one() {
    let server = S3Server::start();
    let tier = tier(&server);
    let content: Vec<u8> =
        (0_u32..4_500_000).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let digest = Digest::of(&content);
    let form = BlobForm { packed: false, bytes: content.len() as u64 };
    for is_whole in [false, true] {
        let mut sink = tier.make_blob(digest, form).await.unwrap().unwrap();
        let comes = if is_whole { content.len() } else { content.len() - 1 };
        for piece in content[..comes].chunks(PIECE_BYTES) {
            sink.write(piece.to_vec()).await.unwrap();
        }
        assert!(tier.open_blob(digest).await.unwrap().is_none(), "two parts are there");
        assert_eq!(sink.finish().await.unwrap(), is_whole);
        assert_eq!(tier.missing_blobs(&[digest]).await.unwrap().is_empty(), is_whole);
    }
    let mut source = tier.open_blob(digest).await.unwrap().unwrap();
    let mut stored = Vec::new();
    while let Some(piece) = source.next().await.unwrap() {
        stored.extend(piece);
    }
    assert!(stored == content && source.form() == form);
    let huge = BlobForm { packed: false, bytes: 100 << 30 };
    assert!(tier.make_blob(digest, huge).await.unwrap().is_none(), "more parts than there may be");
}

#[tokio::test]
async fn keys_with_long_and_odd_ids_are_found_under_every_selector() {
    let server = S3Server::start();
    let tier = tier(&server);
    let long = format!("k@1/src/{}", "ä/".repeat(300));
    let keys = [
        key("odd", &long),
        key("odd", &format!("{long}x")),
        key("odd", "k@1/src/=*? .py"),
        key("odd", "k@1/.."),
    ];
    let scope = || Selector::all().in_scope(keys[0].scope());
    let kind = || scope().of_kind_version(keys[0].kind());
    let cases = [
        (scope(), 4),
        (kind().with_prefix("src/"), 3),
        (kind().with_prefix(&keys[0].id()[..400]), 2),
        (Selector::key(&keys[0]), 1),
        (scope().tagged("t").unwrap(), 4),
        (kind().with_glob("*").unwrap(), 1),
    ];
    for (selector, expected) in cases {
        let began = tier.epoch().await.unwrap();
        for key in &keys {
            assert!(put(&*tier, key, &["t"], began).await.is_kept(), "{key}");
            assert!(tier.get(key).await.unwrap().is_some(), "{key}");
        }
        let selected = tier.select(std::slice::from_ref(&selector)).await.unwrap();
        let mut gone = tier.invalidate(&selector).await.unwrap().keys;
        gone.sort();
        assert_eq!((selected.len(), &selected), (expected, &gone), "{selector}");
        for key in &keys {
            assert_eq!(tier.get(key).await.unwrap().is_none(), gone.contains(key), "{key} under {selector}");
        }
    }
}

#[tokio::test]
async fn what_proved_bad_is_kept_aside() {
    let server = S3Server::start();
    let tier = tier(&server);
    let key = key("aside", "k@1/x");
    assert!(put(&*tier, &key, &[], tier.epoch().await.unwrap()).await.is_kept());
    let (name, objects) = (object(&server, &key), server.objects());
    let bytes = std::fs::read(&name).unwrap();
    tier.quarantine(&key).await.unwrap();
    let aside = objects.join("q").join(name.strip_prefix(&objects).unwrap());
    assert!(!name.exists() && std::fs::read(aside).unwrap() == bytes);
}

#[tokio::test]
async fn the_lease_of_a_machine_that_died_is_taken_over_and_that_of_one_that_lives_is_not() {
    let server = S3Server::start();
    let (dead, living) = (key("lease", "k@1/dead"), key("lease", "k@1/living"));
    let holder = tier(&server);
    let held = holder.try_lease(&living).await.unwrap().unwrap();
    let (url, taken) = (server.url(), dead.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tier = open(&url, options()).unwrap();
        // Nobody gives it back, and nobody renews it when the runtime is gone.
        std::mem::forget(runtime.block_on(tier.try_lease(&taken)).unwrap().unwrap());
    })
    .join()
    .unwrap();
    let other = tier(&server);
    assert!(other.try_lease(&dead).await.unwrap().is_none());
    until("it is taken over", async || {
        assert!(other.try_lease(&living).await.unwrap().is_none());
        other.try_lease(&dead).await.unwrap().is_some()
    })
    .await;
    drop(held);
    holder.flush().await.unwrap();
    assert!(other.try_lease(&living).await.unwrap().is_some(), "it was given back before the flush ended");
}

#[tokio::test]
async fn no_error_tells_the_secret_or_the_token() {
    let server = S3Server::start();
    let access_key = AccessKey {
        id: "larder-test".into(),
        secret: Secret::new("hush-hush"),
        session_token: Some(Secret::new("hush-hush-too")),
    };
    let s3 = S3Options { access_key: Some(access_key), ..S3Options::default() };
    let tier = open(&server.url(), Options { s3, ..options() }).unwrap();
    let error = tier.epoch().await.unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let words = causes.map(|error| format!("{error} {error:?}")).collect::<String>() + &format!("{tier:?}");
    assert!(words.contains("access is denied: SignatureDoesNotMatch"), "{words}");
    assert!(!words.contains("hush"), "{words}");
    let s3 = S3Options::default();
    assert!(matches!(open(&server.url(), Options { s3, ..options() }), Err(UrlError::NoAccessKey)));
}

#[tokio::test]
async fn an_encrypted_connection_is_made_to_whom_the_settings_trust_and_to_nobody_else() {
    let (certificates, others) = (Certificates::make(), Certificates::make());
    let server = S3Server::encrypted(&certificates);
    let trusting = |authorities| {
        let tls = TlsFiles { authorities, ..TlsFiles::default() };
        open(&server.url(), Options { tls, ..options() }).unwrap()
    };
    let (tier, key) = (trusting(Some(certificates.authority())), key("tls", "k@1/x"));
    assert!(put(&*tier, &key, &[], tier.epoch().await.unwrap()).await.is_kept());
    for stranger in [trusting(None), trusting(Some(others.authority()))] {
        let error = stranger.get(&key).await.unwrap_err();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.starts_with("its certificate is not trusted here"), "{why}");
    }
}
