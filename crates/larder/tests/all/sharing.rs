//! A tier that several machines share: what goes there, what comes from there, and what a bad one costs.
//!
//! The shared tier is a disk tier in a place of its own that misbehaves on demand.

mod following;
mod owing;
mod turns;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use larder::clock::Clock;
use larder::engine::{Afar, Computed, Kept, Kind, KindOptions, Larder, LarderOptions, Origin, Reach, Write};
use larder::key::{Digest, Scope, Selector};
use larder::stats::{Place, Stats, StatsOptions, TierFigures};
use larder::testing::{Fault, Faulty};
use larder::tier::Tier as _;
use larder::tier::breaker::BreakerOptions;
use larder::tier::disk::{Disk, DiskOptions};
use larder::tier::stack::FarOptions;
use tempfile::TempDir;
use tokio::time::Instant;

const FAR: FarOptions = FarOptions {
    reads: true,
    writes: true,
    patience: Duration::from_secs(60),
    waits: Duration::from_secs(600),
    bytes_per_second: None,
};
const SHARED: Origin = Origin::Kept(Place::Shared);

/// The team's tier.
struct Team {
    folder: TempDir,
    disk: Disk,
    tier: Arc<Faulty>,
}

impl Team {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let disk = Disk::open(folder.path(), DiskOptions::default()).unwrap();
        let tier = Faulty::at(Place::Shared, Arc::new(disk.clone()));
        Self { folder, disk, tier }
    }

    fn node(&self) -> Node {
        self.node_with(FAR)
    }

    fn node_with(&self, far: FarOptions) -> Node {
        Node::new(Arc::new(TempDir::new().unwrap()), &self.tier, far)
    }
}

/// A machine of the team.
struct Node {
    folder: Arc<TempDir>,
    disk: Disk,
    /// The disk tier as the engine has it.
    near: Arc<Faulty>,
    larder: Larder,
    words: Kind<String>,
    private: Kind<String>,
}

impl Node {
    fn new(folder: Arc<TempDir>, tier: &Arc<Faulty>, far: FarOptions) -> Self {
        let clock = Clock::system();
        let disk = Disk::open(folder.path(), DiskOptions::default()).unwrap();
        let mut options = LarderOptions::new(clock.clone(), Stats::new(StatsOptions::default(), clock));
        let near = Faulty::new(Arc::new(disk.clone()));
        options.tiers = vec![Arc::clone(&near) as _];
        options.shared = Some((Arc::clone(tier) as _, far));
        options.tier_timeout = Duration::from_secs(30);
        options.breaker = BreakerOptions { pause: Duration::from_secs(5), ..BreakerOptions::default() };
        let larder = Larder::new(options);
        let scope = Scope::new("lab").unwrap();
        let through = KindOptions { write: Write::Through, ..KindOptions::default() };
        let team = KindOptions { reach: Reach::Team, ..through };
        let words = larder.kind(&scope, "word", 1, team).unwrap();
        let private = larder.kind(&scope, "private", 1, through).unwrap();
        Self { folder, disk, near, larder, words, private }
    }

    /// The same machine after a restart of what runs there.
    fn restarted(&self, team: &Team) -> Self {
        self.restarted_with(team, FAR)
    }

    fn restarted_with(&self, team: &Team, far: FarOptions) -> Self {
        Self::new(Arc::clone(&self.folder), &team.tier, far)
    }

    async fn ask(&self, id: &str, value: &str) -> (String, Origin) {
        self.ask_naming(id, value, &[]).await
    }

    async fn ask_naming(&self, id: &str, value: &str, blobs: &[Digest]) -> (String, Origin) {
        let computed = Computed::new(value.to_owned()).naming(blobs.iter().copied());
        // It costs enough for a wait to pay.
        let computed = computed.costing(Duration::from_secs(10));
        let compute = || async { Ok::<_, std::io::Error>(computed) };
        let answer = self.words.get_or_compute(&self.words.key(id).unwrap(), compute).await.unwrap();
        (answer.entry.value.clone(), answer.origin)
    }

    fn figures(&self, place: Place) -> TierFigures {
        self.larder.stats().report().total.and_then(|total| total.tiers.get(&place).cloned()).unwrap()
    }
}

fn is(value: &str, origin: Origin) -> (String, Origin) {
    (value.to_owned(), origin)
}

#[tokio::test]
async fn what_one_computed_others_have_with_its_blobs_and_it_is_not_sent_again() {
    let team = Team::new();
    let (a, b) = (team.node(), team.node());
    let contents = [vec![7; 1_000_000], b"small".to_vec()];
    let blobs = contents.each_ref().map(|content| a.disk.put_blob_bytes(content).unwrap().digest);
    assert_eq!(a.ask_naming("x", "one", &blobs).await, is("one", Origin::Computed));
    a.larder.close().await;
    assert_eq!(b.ask("x", "two").await, is("one", SHARED));
    b.larder.close().await;
    for (digest, content) in blobs.iter().zip(&contents) {
        assert_eq!(b.disk.read_blob(*digest).unwrap().as_ref(), Some(content));
    }
    assert_eq!(b.ask("x", "two").await, is("one", Origin::Kept(Place::Memory)));
    assert_eq!(b.restarted(&team).ask("x", "two").await, is("one", Origin::Kept(Place::Disk)));
    let (sent, got) = (a.figures(Place::Shared), b.figures(Place::Shared));
    assert_eq!((sent.puts, sent.hits, sent.lookups, sent.found), (1, 0, 1, 0));
    assert_eq!((got.puts, got.hits, got.lookups, got.found, got.failures), (0, 1, 1, 1, 0));
    assert_eq!(b.figures(Place::Disk).puts, 1, "it is filed on the disk of whoever got it");
}

#[tokio::test]
async fn whoever_writes_everywhere_is_told_when_the_team_has_it() {
    let team = Team::new();
    let (a, b) = (team.node(), team.node());
    let everywhere =
        KindOptions { write: Write::Everywhere, reach: Reach::Team, ..KindOptions::<String>::default() };
    let words = a.larder.kind(&Scope::new("lab").unwrap(), "word", 1, everywhere).unwrap();
    let blob = a.disk.put_blob_bytes(&vec![7; 1_000_000]).unwrap().digest;
    let key = words.key("x").unwrap();
    let one = || Computed::new("one".to_owned()).naming([blob]).made_by("ci".into());
    assert_eq!(words.put(&key, one(), Duration::from_secs(10)).await, Kept::Yes);
    // Nothing is waited for but the answer itself: the machine may go now.
    assert_eq!(b.ask("x", "two").await, is("one", SHARED));
    assert_eq!(&*b.words.get(&key).await.unwrap().record.producer, "ci");
    team.tier.misbehave(Fault::Fails);
    let other = words.key("y").unwrap();
    let kept = words.put(&other, Computed::new("two".to_owned()), Duration::ZERO).await;
    assert_eq!(kept, Kept::Yes, "a tier that fails costs nobody the answer");
}

#[tokio::test]
async fn whether_the_team_has_what_is_kept_here_is_asked_until_it_is_known() {
    let team = Team::new();
    let (a, b) = (team.node(), team.node());
    let everywhere =
        KindOptions { write: Write::Everywhere, reach: Reach::Team, ..KindOptions::<String>::default() };
    let scope = Scope::new("lab").unwrap();
    let [ours, theirs] = [&a, &b].map(|node| node.larder.kind(&scope, "word", 1, everywhere).unwrap());
    let key = ours.key("x").unwrap();
    let put = async |value: &str| {
        assert_eq!(ours.put(&key, value.to_owned(), Duration::ZERO).await, Kept::Yes);
    };
    let afar = async || ours.afar(&key, |there| there == "one").await;
    put("one").await;
    team.tier.take_asked();
    assert_eq!((afar().await, team.tier.take_asked()), (Afar::Settled, 0), "it took it a moment ago");
    team.tier.misbehave(Fault::Fails);
    put("one").await;
    assert_eq!(afar().await, Afar::Settled, "a tier that fails is not waited for");
    team.tier.misbehave(Fault::None);
    team.disk.invalidate(&Selector::key(&key)).await.unwrap();
    assert_eq!(afar().await, Afar::Nothing);
    // What another put meanwhile is looked at once.
    assert_eq!(theirs.put(&key, "two".to_owned(), Duration::ZERO).await, Kept::Yes);
    assert_eq!(afar().await, Afar::Other);
    assert_eq!(theirs.put(&key, "one".to_owned(), Duration::ZERO).await, Kept::Yes);
    assert_eq!(afar().await, Afar::Settled);
    team.tier.take_asked();
    assert_eq!((afar().await, team.tier.take_asked()), (Afar::Settled, 0));
    let restarted = a.restarted(&team);
    let ours = restarted.larder.kind(&scope, "word", 1, everywhere).unwrap();
    assert_eq!(ours.afar(&key, |there| there == "one").await, Afar::Settled);
    assert!(team.tier.take_asked() > 0, "a process that begins knows nothing");
    let third = team.node().larder.kind(&scope, "word", 1, everywhere).unwrap();
    assert!(third.get(&key).await.is_some());
    team.tier.take_asked();
    assert_eq!(third.afar(&key, |_| false).await, Afar::Settled, "what came from there is there");
    assert_eq!(team.tier.take_asked(), 0);
}

#[tokio::test]
async fn what_is_kept_whole_is_there_and_looking_brings_nothing() {
    let team = Team::new();
    let (a, b) = (team.node(), team.node());
    let blob = a.disk.put_blob_bytes(&vec![7; 1_000_000]).unwrap().digest;
    let key = a.words.key("x").unwrap();
    assert!(!a.words.has(&key).await);
    a.ask_naming("x", "one", &[blob]).await;
    a.larder.close().await;
    assert!(a.words.has(&key).await && b.words.has(&key).await);
    assert!(!b.disk.has_blob(blob).unwrap(), "it is only looked for");
    let restarted = a.restarted(&team);
    assert!(restarted.words.has(&key).await, "on disk");
    for disk in [&a.disk, &team.disk] {
        disk.quarantine_blob(blob).await.unwrap();
    }
    assert!(!a.words.has(&key).await && !restarted.words.has(&key).await && !b.words.has(&key).await);
}

#[tokio::test]
async fn what_is_looked_at_before_something_else_is_put_there_counts_as_no_question() {
    let team = Team::new();
    let (a, b) = (team.node(), team.node());
    let key = a.words.key("x").unwrap();
    assert!(b.words.kept(&key).await.is_none());
    a.ask("x", "one").await;
    a.larder.close().await;
    for _ in 0..2 {
        // From afar, then from memory.
        assert_eq!(b.words.kept(&key).await.map(|entry| entry.value.clone()).as_deref(), Some("one"));
    }
    let asked = b.larder.stats().report().total.map(|total| (total.requests, total.hits, total.misses));
    assert_eq!(asked, Some((0, 0, 0)));
}

#[tokio::test]
async fn what_is_set_aside_here_comes_from_the_team_again() {
    let team = Team::new();
    let (a, b) = (team.node(), team.node());
    let content = vec![7; 1_000_000];
    let blob = a.disk.put_blob_bytes(&content).unwrap().digest;
    a.ask_naming("x", "one", &[blob]).await;
    a.larder.close().await;
    assert_eq!(b.ask("x", "two").await, is("one", SHARED));
    b.larder.close().await;
    b.disk.quarantine_blob(blob).await.unwrap();
    b.words.set_aside(&b.words.key("x").unwrap()).await;
    assert_eq!(b.ask("x", "two").await, is("one", SHARED));
    assert_eq!(b.disk.read_blob(blob).unwrap(), Some(content));
}

#[tokio::test]
async fn two_who_look_at_the_same_time_both_find_it() {
    let team = Team::new();
    let node = team.node();
    node.ask("x", "one").await;
    node.larder.close().await;
    let key = node.words.key("x").unwrap();
    for _ in 0..50 {
        let node = node.restarted(&team);
        let (one, other) = tokio::join!(node.words.get(&key), node.words.get(&key));
        assert!(one.is_some() && other.is_some());
    }
}

#[tokio::test]
async fn what_does_not_reach_the_team_stays_here_and_nothing_of_the_team_is_touched() {
    let team = Team::new();
    let node = team.node();
    let key = node.private.key("x").unwrap();
    let compute = || async { Ok::<_, std::io::Error>(Computed::new("one".to_owned())) };
    node.private.get_or_compute(&key, compute).await.unwrap();
    node.larder.close().await;
    assert_eq!(team.tier.take_asked(), 0);
    assert_eq!(team.disk.usage().unwrap().entries, 0);
}

#[tokio::test]
async fn reading_and_writing_are_switched_off_each_for_itself() {
    let team = Team::new();
    let silent = team.node_with(FarOptions { writes: false, ..FAR });
    silent.ask("x", "one").await;
    silent.larder.close().await;
    assert_eq!(team.disk.usage().unwrap().entries, 0, "nothing was sent");
    let speaks = team.node_with(FarOptions { reads: false, ..FAR });
    speaks.ask("x", "two").await;
    speaks.larder.close().await;
    assert_eq!(team.disk.usage().unwrap().entries, 1);
    let deaf = team.node_with(FarOptions { reads: false, ..FAR });
    assert_eq!(deaf.ask("x", "three").await, is("three", Origin::Computed));
    assert_eq!(silent.ask("x", "four").await, is("one", Origin::Kept(Place::Memory)));
}

#[tokio::test]
async fn an_answer_whose_blobs_are_gone_is_a_miss_and_is_sent_anew() {
    let team = Team::new();
    let (a, b, c) = (team.node(), team.node(), team.node());
    let digest = a.disk.put_blob_bytes(b"content").unwrap().digest;
    a.ask_naming("x", "one", &[digest]).await;
    a.larder.close().await;
    let hex = digest.to_string();
    std::fs::remove_file(team.folder.path().join(format!("v1/blobs/{}/{hex}", &hex[..2]))).unwrap();
    b.disk.put_blob_bytes(b"other").unwrap();
    let other = Digest::of(b"other");
    assert_eq!(b.ask_naming("x", "two", &[other]).await, is("two", Origin::Computed));
    b.larder.close().await;
    assert_eq!(c.ask("x", "three").await, is("two", SHARED));
}

#[tokio::test]
async fn damage_is_a_miss_that_is_counted_and_set_aside() {
    let team = Team::new();
    let (a, b, c) = (team.node(), team.node(), team.node());
    a.ask("x", "one").await;
    a.larder.close().await;
    team.tier.misbehave(Fault::Flips);
    assert_eq!(b.ask("x", "two").await, is("two", Origin::Computed));
    team.tier.misbehave(Fault::None);
    b.larder.close().await;
    assert_eq!(b.figures(Place::Shared).corrupt, 1);
    assert_eq!(c.ask("x", "three").await, is("two", SHARED));
}

#[tokio::test]
async fn a_blob_that_is_not_what_its_digest_says_is_set_aside_and_never_comes() {
    let team = Team::new();
    let (a, b, c) = (team.node(), team.node(), team.node());
    let digest = a.disk.put_blob_bytes(b"content").unwrap().digest;
    a.ask_naming("x", "one", &[digest]).await;
    a.larder.close().await;
    let hex = digest.to_string();
    std::fs::write(team.folder.path().join(format!("v1/blobs/{}/{hex}", &hex[..2])), b"CONTENT").unwrap();
    b.disk.put_blob_bytes(b"other").unwrap();
    assert_eq!(b.ask_naming("x", "two", &[Digest::of(b"other")]).await, is("two", Origin::Computed));
    b.larder.close().await;
    assert_eq!(b.figures(Place::Shared).corrupt, 1);
    assert!(!b.disk.has_blob(digest).unwrap());
    assert_eq!(c.ask("x", "three").await, is("two", SHARED));
}

#[tokio::test]
async fn an_invalidation_on_one_node_reaches_memory_and_disk_of_the_others_also_of_those_that_were_away() {
    let team = Team::new();
    let (a, b, away) = (team.node(), team.node(), team.node());
    for id in ["x", "y"] {
        a.ask(id, "one").await;
    }
    a.larder.close().await;
    for node in [&b, &away] {
        for id in ["x", "y"] {
            assert_eq!(node.ask(id, "two").await, is("one", SHARED));
        }
        node.larder.close().await;
    }
    let report = a.larder.invalidate(&Selector::key(&a.words.key("x").unwrap())).await;
    assert!(report.failed_tiers.is_empty());
    b.larder.catch_up().await;
    for node in [b, away.restarted(&team)] {
        assert_eq!(node.ask("y", "two").await.0, "one", "what it did not cover is there");
        let (value, origin) = node.ask("x", "new").await;
        assert!(value == "new" && origin != Origin::Kept(Place::Disk), "{value} {origin:?}");
        node.larder.close().await;
    }
    // Each hears of it once: what was computed after it stays.
    assert_eq!(away.restarted(&team).ask("x", "newer").await, is("new", Origin::Kept(Place::Disk)));
}

#[tokio::test(start_paused = true)]
async fn what_is_put_after_an_invalidation_stays_when_somebody_still_does_what_the_log_told_of_it() {
    let team = Team::new();
    let node = team.node();
    node.ask("x", "one").await;
    let key = node.words.key("x").unwrap();
    node.near.misbehave(Fault::Holds);
    let held = async |many| {
        while node.near.held() < many {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (larder, selector) = (node.larder.clone(), Selector::key(&key));
    let mut invalidating = tokio::spawn(async move { drop(larder.invalidate(&selector).await) });
    held(1).await;
    // The team's log has it by now.
    let larder = node.larder.clone();
    let following = tokio::spawn(async move { larder.catch_up().await });
    held(2).await;
    node.near.let_go();
    let ended = tokio::time::timeout(Duration::from_secs(1), &mut invalidating).await.is_ok();
    if !ended {
        node.near.let_go();
        invalidating.await.unwrap();
    }
    assert_eq!(node.words.put(&key, "new".to_owned(), Duration::ZERO).await, Kept::Yes);
    node.near.let_go();
    following.await.unwrap();
    assert!(node.disk.blocking_get(&key).unwrap().is_some());
}

/// A runtime that ends takes the tasks along that wrote, sent and probed in it.
#[test]
fn an_engine_goes_on_in_another_runtime_when_the_one_that_it_was_used_in_has_ended() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let team = Team::new();
    let mut options =
        LarderOptions::new(Clock::system(), Stats::new(StatsOptions::default(), Clock::system()));
    let folder = TempDir::new().unwrap();
    options.tiers = vec![Arc::new(Disk::open(folder.path(), DiskOptions::default()).unwrap()) as _];
    options.shared = Some((Arc::clone(&team.tier) as _, FAR));
    let larder = Larder::new(options);
    let kind = KindOptions { reach: Reach::Team, ..KindOptions::<String>::default() };
    let words = larder.kind(&Scope::new("lab").unwrap(), "word", 1, kind).unwrap();
    let ask = async |id: &str| {
        let compute = || async { Ok::<_, std::io::Error>(Computed::new("one".to_owned())) };
        words.get_or_compute(&words.key(id).unwrap(), compute).await.unwrap();
    };
    runtime().block_on(ask("one"));
    team.tier.misbehave(Fault::Fails);
    runtime().block_on(async {
        while !larder.sharing().unwrap().left_alone {
            ask("none").await;
            words.keys_afar(&Selector::all()).await;
        }
    });
    team.tier.misbehave(Fault::None);
    runtime().block_on(async {
        ask("more").await;
        larder.close().await;
        assert!(!larder.sharing().unwrap().left_alone);
        let more = words.key("more").unwrap();
        assert!(words.keys_afar(&Selector::key(&more)).await.contains(&more));
    });
}

#[tokio::test]
async fn what_was_computed_from_before_an_invalidation_elsewhere_does_not_reach_the_team() {
    let team = Team::new();
    let (a, b) = (team.node(), team.node());
    let key = b.words.key("x").unwrap();
    let selector = Selector::key(&key);
    let meanwhile = a.larder.clone();
    let compute = move || async move {
        meanwhile.invalidate(&selector).await;
        Ok::<_, std::io::Error>(Computed::new("old".to_owned()))
    };
    b.words.get_or_compute(&key, compute).await.unwrap();
    b.larder.close().await;
    assert_eq!(b.figures(Place::Shared).puts, 0);
    assert_eq!(team.node().ask("x", "new").await, is("new", Origin::Computed));
    b.larder.catch_up().await;
    assert_eq!(b.ask("x", "new").await.0, "new", "nor does it stay where it was computed");
}

/// The time that passes is the runtime's, which goes on when nothing else does.
#[tokio::test(start_paused = true)]
async fn a_tier_that_hangs_costs_less_than_a_tenth_of_a_second_in_all_and_is_then_left_alone() {
    let team = Team::new();
    let node = team.node_with(FarOptions { patience: Duration::from_millis(75), ..FAR });
    team.tier.misbehave(Fault::Hangs);
    let began = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    let node = Arc::new(node);
    for n in 0..20 {
        let node = Arc::clone(&node);
        all.spawn(async move { node.ask(&n.to_string(), "one").await });
    }
    while let Some(answer) = all.join_next().await {
        assert_eq!(answer.unwrap(), is("one", Origin::Computed));
    }
    for n in 20..40 {
        assert_eq!(node.ask(&n.to_string(), "one").await, is("one", Origin::Computed));
    }
    let asked = began.elapsed();
    assert!(asked < Duration::from_millis(100), "{asked:?}");
    team.tier.take_asked();
    node.ask("more", "one").await;
    assert_eq!(team.tier.take_asked(), 0, "it is left alone");
    assert_eq!(node.larder.sharing().unwrap().trouble.as_deref(), Some("timed out"));
    // A probe finds it well again, and nobody waited for that.
    team.tier.misbehave(Fault::None);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(node.ask("back", "one").await, is("one", Origin::Computed));
    node.larder.close().await;
    assert_eq!(team.node().ask("back", "two").await, is("one", SHARED));
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_was_dead_a_moment_ago_costs_the_next_process_little_and_is_used_once_it_is_back() {
    let team = Team::new();
    let brief = FarOptions { patience: Duration::from_millis(75), ..FAR };
    let first = team.node_with(brief);
    team.tier.misbehave(Fault::Hangs);
    first.ask("a", "one").await;
    first.larder.close().await;
    for n in 0..3 {
        let next = first.restarted_with(&team, brief);
        let began = Instant::now();
        assert_eq!(next.ask(&format!("b {n}"), "one").await, is("one", Origin::Computed));
        next.larder.close().await;
        assert!(began.elapsed() <= Duration::from_millis(30), "{:?}", began.elapsed());
        let trouble = next.larder.sharing().unwrap().trouble.unwrap();
        assert!(trouble.starts_with("timed out, ") && trouble.ends_with(" s ago"), "{trouble}");
        assert_eq!(trouble.matches("ago").count(), 1, "{trouble}");
    }
    // Whoever has more patience than was spent asks for himself.
    let patient = FarOptions { patience: Duration::from_millis(400), ..FAR };
    let next = first.restarted_with(&team, patient);
    next.ask("c", "one").await;
    assert_eq!(next.larder.sharing().unwrap().trouble.as_deref(), Some("timed out"));
    team.tier.misbehave(Fault::None);
    let next = first.restarted_with(&team, brief);
    assert_eq!(next.ask("d", "one").await, is("one", Origin::Computed));
    next.larder.close().await;
    assert_eq!(next.larder.sharing().unwrap().trouble, None);
    assert_eq!(team.node().ask("d", "two").await, is("one", SHARED));
    // And nothing more is remembered of it.
    team.tier.misbehave(Fault::Hangs);
    let next = first.restarted_with(&team, brief);
    next.ask("e", "one").await;
    assert_eq!(next.larder.sharing().unwrap().trouble.as_deref(), Some("timed out"));
}

#[tokio::test]
async fn whoever_invalidates_does_not_take_others_word_for_it_that_the_tier_is_dead() {
    let team = Team::new();
    let first = team.node();
    first.ask("x", "one").await;
    first.larder.close().await;
    team.tier.misbehave(Fault::Fails);
    let dead = first.restarted(&team);
    for n in 0..6 {
        dead.ask(&n.to_string(), "one").await;
    }
    dead.larder.close().await;
    assert!(dead.larder.sharing().unwrap().trouble.is_some());
    let next = first.restarted(&team);
    next.ask("more", "one").await;
    assert!(next.larder.sharing().unwrap().trouble.unwrap().ends_with(" ago"));
    team.tier.misbehave(Fault::None);
    let told = next.larder.invalidate(&Selector::key(&next.words.key("x").unwrap())).await;
    assert!(told.failed_tiers.is_empty());
    assert_eq!(team.node().ask("x", "two").await, is("two", Origin::Computed));
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_takes_nothing_at_the_end_is_given_up_and_what_was_not_sent_is_counted() {
    let team = Team::new();
    let node = team.node_with(FarOptions { patience: Duration::from_millis(75), ..FAR });
    node.ask("first", "one").await;
    node.larder.close().await;
    let began = Instant::now();
    let tier = Arc::clone(&team.tier);
    let compute = || async move {
        tier.misbehave(Fault::Hangs);
        Ok::<_, std::io::Error>(Computed::new("one".to_owned()))
    };
    node.words.refresh(&node.words.key("second").unwrap(), compute).await.unwrap();
    node.larder.close().await;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    let sharing = node.larder.sharing().unwrap();
    assert!(sharing.trouble.is_some() && sharing.unsent == 1, "{sharing:?}");
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_what_takes_many_answers_if_there_is_patience_for_a_tier_that_is_far() {
    // Eight answers take longer than all the patience that there is.
    for (patience, each, arrives) in [(300, 60, true), (75, 30, false)] {
        let team = Team::new();
        let node = team.node_with(FarOptions { patience: Duration::from_millis(patience), ..FAR });
        let tier = Arc::clone(&team.tier);
        let compute = move || async move {
            tier.dawdle(Duration::from_millis(each), 8);
            Ok::<_, std::io::Error>(Computed::new("one".to_owned()))
        };
        node.words.refresh(&node.words.key("x").unwrap(), compute).await.unwrap();
        let began = Instant::now();
        node.larder.close().await;
        let sharing = node.larder.sharing().unwrap();
        assert_eq!((sharing.trouble.is_none(), sharing.unsent == 0), (arrives, arrives), "{sharing:?}");
        assert_eq!(team.disk.usage().unwrap().entries, u64::from(arrives));
        assert!(arrives || began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_tier_that_fails_fails_nobody_and_is_told_of() {
    let team = Team::new();
    let node = team.node();
    team.tier.misbehave(Fault::Fails);
    for n in 0..5 {
        assert_eq!(node.ask(&n.to_string(), "one").await, is("one", Origin::Computed));
    }
    team.tier.take_asked();
    assert_eq!(node.ask("more", "one").await, is("one", Origin::Computed));
    assert_eq!(team.tier.take_asked(), 0, "it is left alone");
    assert!(node.larder.sharing().unwrap().trouble.is_some());
}

#[tokio::test]
async fn a_tier_that_refuses_is_left_alone_and_told_of_at_its_first_word() {
    let team = Team::new();
    let node = team.node();
    node.ask("before", "one").await;
    team.tier.misbehave(Fault::Refuses);
    team.tier.take_asked();
    assert!(node.words.get(&node.words.key("other").unwrap()).await.is_none());
    assert_eq!(team.tier.take_asked(), 1);
    let sharing = node.larder.sharing().unwrap();
    assert_eq!((sharing.left_alone, sharing.trouble.as_deref()), (true, Some("nobody is at home")));
}

#[tokio::test]
async fn a_lease_that_everybody_gets_does_not_make_a_tier_that_fails_look_well() {
    let team = Team::new();
    let node = team.node();
    team.tier.misbehave(Fault::Lends);
    let kind = turns::turns(&node);
    let compute = || async { Ok::<_, std::io::Error>(Computed::new("one".to_owned())) };
    kind.get_or_compute(&kind.key("x").unwrap(), compute).await.unwrap();
    assert!(node.larder.sharing().unwrap().trouble.is_some());
}

#[tokio::test]
async fn what_is_computed_while_the_tier_does_not_tell_its_epoch_counts_as_not_sent() {
    for fault in [Fault::Fails, Fault::Lends, Fault::Refuses] {
        let team = Team::new();
        let node = team.node();
        team.tier.misbehave(fault);
        node.ask("x", "one").await;
        let private = node.private.key("x").unwrap();
        node.private.put(&private, "one".to_owned(), Duration::ZERO).await;
        team.tier.misbehave(Fault::None);
        node.larder.close().await;
        assert_eq!(node.larder.sharing().unwrap().unsent, 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_hangs_is_waited_for_once_and_briefly_however_much_patience_there_is() {
    let team = Team::new();
    let node = team.node_with(FarOptions { patience: Duration::MAX, ..FAR });
    node.ask("before", "one").await;
    node.larder.close().await;
    team.tier.misbehave(Fault::Hangs);
    let began = Instant::now();
    for n in 0..5 {
        assert_eq!(node.ask(&n.to_string(), "one").await, is("one", Origin::Computed));
    }
    let took = began.elapsed();
    assert!(took <= Duration::from_secs(2), "{took:?}");
    assert_eq!(node.larder.sharing().unwrap().trouble.as_deref(), Some("timed out"));
}

/// A megabyte that does not pack.
fn noise() -> Vec<u8> {
    let mut digest = Digest::of(b"noise");
    let mut noise = Vec::new();
    while noise.len() < 1_000_000 {
        noise.extend(digest.as_bytes());
        digest = Digest::of(digest.as_bytes());
    }
    noise
}

fn limited(bytes_per_second: u64) -> FarOptions {
    FarOptions { bytes_per_second: NonZeroU64::new(bytes_per_second), ..FAR }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_and_brought_takes_no_more_than_the_bandwidth_and_the_end_of_a_process_waits_for_it() {
    let team = Team::new();
    let sends = team.node_with(FarOptions { patience: Duration::from_millis(75), ..limited(100_000) });
    let noise = noise();
    let blob = sends.disk.put_blob_bytes(&noise).unwrap().digest;
    let took = |began: Instant, expected| {
        let took = began.elapsed().as_secs_f64();
        assert!((expected * 0.98..expected * 1.05).contains(&took), "{took} for {expected}");
    };
    let began = Instant::now();
    sends.ask_naming("x", "one", &[blob]).await;
    assert!(began.elapsed() < Duration::from_secs(1), "whoever asks does not wait for that");
    sends.larder.close().await;
    took(began, 10.);
    assert_eq!(sends.figures(Place::Shared).puts, 1);
    let brings = team.node_with(limited(200_000));
    let began = Instant::now();
    assert_eq!(brings.ask("x", "two").await, is("one", SHARED));
    took(began, 5.);
    assert_eq!(brings.disk.read_blob(blob).unwrap(), Some(noise));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_bandwidth_makes_dearer_than_computing_is_computed() {
    let team = Team::new();
    let sends = team.node();
    let blob = sends.disk.put_blob_bytes(&noise()).unwrap().digest;
    sends.ask_naming("x", "one", &[blob]).await;
    sends.larder.close().await;
    let brings = team.node_with(limited(50_000));
    assert_eq!(brings.ask("x", "two").await, is("two", Origin::Computed));
    assert_eq!(brings.larder.sharing().unwrap().trouble, None, "nothing is wrong with the tier");
}
