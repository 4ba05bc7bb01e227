//! The invalidation log: what it promises beyond the suite.

use std::sync::Arc;
use std::time::Duration;

use larder::clock::Clock;
use larder::config::{Machine, Settings};
use larder::engine::{Kind, KindOptions, Larder, Opened, Origin, Reach};
use larder::key::{Scope, Selector};
use larder::testing::{key, sealed};
use larder::tier::{Epoch, PutOutcome, Refusal, Tier};
use larder_shared::open;
use larder_shared::testing::{Proxy, Server, Weather};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::lab::{Node, SOON, options};

on_each_server_with_a_log! {
    what_one_handle_invalidates_another_hears_of_and_no_longer_gets
    an_invalidation_reaches_the_memory_of_another_machine_that_only_listens
    machines_that_live_long_hear_of_an_invalidation_by_themselves_also_after_a_partition
}

async fn what_one_handle_invalidates_another_hears_of_and_no_longer_gets<S: Server>() {
    let server = S::start();
    check_two_handles(&server.url()).await;
}

async fn an_invalidation_reaches_the_memory_of_another_machine_that_only_listens<S: Server>() {
    let server = S::start();
    check_memory(&server.url()).await;
}

/// What one handle invalidates another hears of and no longer gets.
pub(crate) async fn check_two_handles(url: &str) {
    let [one, other] = [(), ()].map(|()| open(url, options()).unwrap());
    let key = key("two", "k@1/x");
    let began = other.epoch().await.unwrap();
    assert!(one.put(vec![sealed(&key, b"value", &[], began)]).await.unwrap()[0].is_kept());
    assert!(other.get(&key).await.unwrap().is_some());
    let selector = Selector::key(&key);
    one.invalidate(&selector).await.unwrap();
    assert_eq!(other.get(&key).await.unwrap(), None);
    assert_eq!(other.invalidated_since(began).await.unwrap().selectors(), Some(vec![selector]));
    // What the other knows of the epoch is older, and so is refused.
    let outcomes = other.put(vec![sealed(&key, b"old", &[], began)]).await.unwrap();
    assert_eq!(outcomes, [PutOutcome::Refused(Refusal::Revoked)]);
    assert_eq!(one.get(&key).await.unwrap(), None);
}

/// A log that `cut` cuts off at an epoch, or that each of `losses` loses, means that anything may have been invalidated.
pub(crate) async fn check_lost(tier: &dyn Tier, cut: impl Fn(Epoch), losses: &[&dyn Fn()]) {
    let start = tier.epoch().await.unwrap();
    let mut last = start;
    for n in 0..3 {
        last = tier.invalidate(&Selector::key(&key("cut", &format!("k@1/{n}")))).await.unwrap().epoch;
    }
    assert_eq!(tier.invalidated_since(start).await.unwrap().selectors().map(|all| all.len()), Some(3));
    cut(start);
    assert_eq!(tier.invalidated_since(start).await.unwrap().selectors(), None);
    assert_eq!(tier.invalidated_since(last).await.unwrap().selectors(), Some(Vec::new()));
    for (nth, lose) in losses.iter().enumerate() {
        let before = tier.invalidated_since(last).await.unwrap().epoch;
        lose();
        let after = tier.invalidated_since(before).await.unwrap();
        assert_eq!(after.selectors(), None, "loss {nth}");
        assert!(after.epoch > before, "loss {nth}: no epoch comes twice");
        let again = tier.invalidated_since(after.epoch).await.unwrap();
        assert_eq!(again.selectors(), Some(Vec::new()), "loss {nth}: it is a log again");
    }
}

/// An invalidation reaches the memory of another machine that only listens.
pub(crate) async fn check_memory(url: &str) {
    let (a, b) = (Node::patient(url), Node::patient(url));
    a.ask("x").await;
    a.larder.close().await;
    b.ask("x").await;
    assert_eq!(b.ask("x").await, Origin::Kept(larder::stats::Place::Memory));
    a.larder.invalidate(&Selector::key(&a.key("x"))).await;
    b.larder.catch_up().await;
    assert_eq!(b.ask("x").await, Origin::Computed);
}

/// A machine that lives long and has an answer in memory.
struct Listening {
    opened: Arc<Opened>,
    words: Kind<String>,
    _folder: TempDir,
    attending: JoinHandle<()>,
}

impl Listening {
    async fn with(url: &str, id: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let mut settings = Settings::new(folder.path().to_owned());
        settings.shared.patience = SOON;
        let machine = Machine::probe(folder.path());
        let tier = open(url, options()).unwrap();
        let opened = Larder::open_sharing(&settings, &machine, Clock::system(), "", Some(tier));
        let opened = Arc::new(opened);
        let team = KindOptions { reach: Reach::Team, ..KindOptions::default() };
        let words = opened.larder.kind(&Scope::new("lab").unwrap(), "word", 1, team).unwrap();
        let compute = || async { Ok::<_, std::io::Error>("value".to_owned().into()) };
        words.get_or_compute(&words.key(id).unwrap(), compute).await.unwrap();
        let attended = Arc::clone(&opened);
        let attending = tokio::spawn(async move { match attended.attend().await {} });
        Self { opened, words, _folder: folder, attending }
    }

    /// Waits until what was in memory is not any more.
    async fn forgets(&self) {
        let entries = || self.opened.larder.memory_usage().unwrap().entries;
        let forgets = async {
            while entries() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, forgets).await.expect("it hears of the invalidation");
    }

    async fn invalidate(&self, id: &str) {
        let report = self.opened.larder.invalidate(&Selector::key(&self.words.key(id).unwrap())).await;
        assert!(report.failed_tiers.is_empty());
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.attending.abort();
    }
}

async fn machines_that_live_long_hear_of_an_invalidation_by_themselves_also_after_a_partition<S: Server>() {
    let server = S::start();
    let proxy = Proxy::start(server.address()).await.unwrap();
    let a = Listening::with(&server.url(), "x").await;
    let near = Listening::with(&server.url(), "x").await;
    let parted = Listening::with(&server.url_at(proxy.address()), "x").await;
    proxy.turn(Weather::Silent);
    a.invalidate("x").await;
    near.forgets().await;
    assert_eq!(parted.opened.larder.memory_usage().unwrap().entries, 1, "it cannot know yet");
    proxy.turn(Weather::Fair);
    parted.forgets().await;
}
