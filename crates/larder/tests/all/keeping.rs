//! What whoever asks may rely on where there is a disk tier: answers outlive the process, damage is a miss, and
//! processes that share a directory compute once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use larder::clock::{Clock, Timestamp};
use larder::config::{Machine, Settings};
use larder::engine::{
    Answer, Computed, Exclusion, Kept, Kind, KindOptions, Larder, NotKept, Opened, Origin, Validity, Write,
};
use larder::key::{Scope, Selector};
use larder::stats::{EvictionCause, Place, Resolution};
use larder::tier::{Brief, disk};

const DISK: Origin = Origin::Kept(Place::Disk);
const MEMORY: Origin = Origin::Kept(Place::Memory);

/// One process's engine over a directory that others may share.
struct Node {
    opened: Opened,
    words: Kind<String>,
    clock: Clock,
}

impl Node {
    fn open(dir: &Path) -> Self {
        Self::with(dir, KindOptions::default(), |_| {})
    }

    fn with(dir: &Path, kind: KindOptions<String>, change: impl FnOnce(&mut Settings)) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000_000));
        let mut settings = Settings::new(dir.to_owned());
        change(&mut settings);
        let opened = Larder::open(&settings, &Machine::probe(Path::new("/")), clock.clone(), "ann@box");
        let words = opened.larder.kind(&Scope::new("lab").unwrap(), "word", 1, kind).unwrap();
        Self { opened, words, clock }
    }

    async fn ask(&self, id: &str, value: &str) -> Answer<String> {
        let value = value.to_owned();
        let compute = || async { Ok::<_, std::io::Error>(Computed::new(value).tagged("word")) };
        self.words.get_or_compute(&self.words.key(id).unwrap(), compute).await.unwrap()
    }

    async fn check(&self, id: &str, value: &str, expected: (&str, Origin)) {
        let answer = self.ask(id, value).await;
        assert_eq!((answer.as_str(), answer.origin), expected, "{id}");
    }

    async fn close(self) {
        self.opened.close().await;
    }
}

#[tokio::test]
async fn an_answer_outlives_the_process_and_comes_from_memory_the_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path());
    node.check("a", "one", ("one", Origin::Computed)).await;
    node.close().await;
    let node = Node::open(dir.path());
    node.check("a", "two", ("one", DISK)).await;
    node.check("a", "two", ("one", MEMORY)).await;
    let answer = node.ask("a", "two").await;
    assert_eq!(
        (&*answer.entry.record.producer, &*answer.entry.record.tags),
        ("ann@box", &["word".into()][..])
    );
}

#[tokio::test]
async fn what_was_invalidated_does_not_come_back_after_a_restart() {
    for selector in ["lab/word@1/a", "tag:word", "all"] {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(dir.path());
        node.check("a", "one", ("one", Origin::Computed)).await;
        // Still in the queue, perhaps: that makes no difference.
        let report = node.opened.larder.invalidate(&selector.parse().unwrap()).await;
        assert_eq!(report.keys, [node.words.key("a").unwrap()], "{selector}");
        node.close().await;
        let node = Node::open(dir.path());
        node.check("a", "two", ("two", Origin::Computed)).await;
    }
}

#[tokio::test]
async fn an_invalidation_by_another_process_revokes_a_computation_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (Node::open(dir.path()), Node::open(dir.path()));
    let through = KindOptions { write: Write::Through, ..KindOptions::default() };
    let words: Kind<String> = one.opened.larder.kind(one.words.scope(), "word", 1, through).unwrap();
    let larder = other.opened.larder.clone();
    let compute = || async move {
        larder.invalidate(&Selector::all()).await;
        Ok::<_, std::io::Error>(Computed::new("old".to_owned()))
    };
    let answer = words.get_or_compute(&words.key("a").unwrap(), compute).await.unwrap();
    assert!(matches!(&answer.kept, Kept::InMemoryOnly(NotKept::Tier("disk", _))), "{:?}", answer.kept);
    other.check("a", "new", ("new", Origin::Computed)).await;
    one.opened.larder.catch_up().await;
}

#[tokio::test]
async fn what_is_put_as_new_leaves_what_is_kept_and_says_what_that_is() {
    let dir = tempfile::tempdir().unwrap();
    let kind = || KindOptions { write: Write::Through, ..KindOptions::default() };
    let put = async |node: &Node, value: &str| {
        let put = node
            .words
            .put_new(&node.words.key("a").unwrap(), value.to_owned(), Duration::ZERO, Brief::Aside)
            .await;
        put.map_err(|there| there.value.clone())
    };
    let (one, other) = (Node::with(dir.path(), kind(), |_| {}), Node::with(dir.path(), kind(), |_| {}));
    assert_eq!(put(&one, "one").await, Ok(Kept::Yes));
    one.check("a", "two", ("one", MEMORY)).await;
    assert_eq!(put(&one, "two").await, Err("one".to_owned()), "memory has it");
    assert_eq!(put(&other, "two").await, Err("one".to_owned()), "the disk has it");
    other.check("a", "two", ("one", MEMORY)).await;
    other.opened.larder.invalidate(&Selector::all()).await;
    assert_eq!(put(&other, "two").await, Ok(Kept::Yes), "what was invalidated is not there");
    one.opened.larder.catch_up().await;
    one.check("a", "three", ("two", DISK)).await;
}

#[tokio::test]
async fn what_is_put_as_new_replaces_what_no_longer_holds() {
    let dir = tempfile::tempdir().unwrap();
    let validity = Validity::Expiring { fresh: Duration::from_secs(10), stale: Duration::ZERO };
    let node = Node::with(
        dir.path(),
        KindOptions { write: Write::Through, validity, ..KindOptions::default() },
        |_| {},
    );
    let key = node.words.key("a").unwrap();
    for value in ["one", "two"] {
        let put = node.words.put_new(&key, value.to_owned(), Duration::ZERO, Brief::InPlace).await;
        assert!(matches!(put, Ok(Kept::Yes)));
        node.check("a", "none", (value, MEMORY)).await;
        node.clock.advance(Duration::from_secs(11));
    }
}

#[tokio::test]
async fn memory_forgets_what_another_process_invalidated_once_it_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (Node::open(dir.path()), Node::open(dir.path()));
    one.opened.larder.catch_up().await;
    one.check("a", "one", ("one", Origin::Computed)).await;
    one.check("b", "one", ("one", Origin::Computed)).await;
    other.opened.larder.invalidate(&"lab/word@1/a".parse().unwrap()).await;
    one.opened.larder.catch_up().await;
    one.check("a", "two", ("two", Origin::Computed)).await;
    one.check("b", "two", ("one", MEMORY)).await;
}

#[tokio::test]
async fn an_answer_that_expires_does_so_across_processes_and_steps_of_the_clock() {
    let dir = tempfile::tempdir().unwrap();
    let validity = Validity::Expiring { fresh: Duration::from_secs(10), stale: Duration::ZERO };
    let kind = || KindOptions { validity, ..KindOptions::default() };
    let reopen = |millis: u64| {
        let node = Node::with(dir.path(), kind(), |_| {});
        node.clock.step_wall(Timestamp::from_millis(millis));
        node
    };
    let node = reopen(10_000_000);
    node.check("a", "one", ("one", Origin::Computed)).await;
    node.close().await;
    reopen(10_009_999).check("a", "two", ("one", DISK)).await;
    let node = reopen(10_010_000);
    node.check("a", "two", ("two", Origin::Computed)).await;
    node.close().await;
    // The clock went back by an hour: how old the answer is can't be known.
    reopen(10_000_000 - 3_600_000).check("a", "three", ("three", Origin::Computed)).await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_costs_the_cache_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    let node = Node::open(&file);
    assert!(node.opened.problem.is_some() && node.opened.disk.is_none());
    node.check("a", "one", ("one", Origin::Computed)).await;
    node.check("a", "two", ("one", MEMORY)).await;
    node.close().await;
}

#[tokio::test]
async fn a_value_that_does_not_read_back_is_a_miss_and_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path());
    node.check("a", "one", ("one", Origin::Computed)).await;
    node.close().await;
    let node = Node::open(dir.path());
    // The same kind and version with another type: a mistake of whoever forgot to bump the version.
    let numbers: Kind<(u64, u64, u64)> =
        node.opened.larder.kind(node.words.scope(), "word", 1, KindOptions::default()).unwrap();
    let compute = || async { Ok::<_, std::io::Error>((1, 2, 3).into()) };
    let answer = numbers.get_or_compute(&numbers.key("a").unwrap(), compute).await.unwrap();
    assert_eq!((*answer, answer.origin), ((1, 2, 3), Origin::Computed));
}

/// What a process of its own runs, when a test starts this binary again.
#[test]
fn computes_slowly_if_told_to() {
    let Some(dir) = std::env::var_os("LARDER_TEST_SLOW_NODE") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let kind =
            KindOptions { exclusion: Exclusion::Machine, write: Write::Through, ..KindOptions::default() };
        let node = Node::with(Path::new(&dir), kind, |_| {});
        let log = Path::new(&dir).join("runs");
        let compute = move || async move {
            use std::io::Write as _;
            let mut log = std::fs::File::options().create(true).append(true).open(log)?;
            writeln!(log, "ran")?;
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok::<_, std::io::Error>(Computed::new("slow".to_owned()))
        };
        let answer = node.words.get_or_compute(&node.words.key("a").unwrap(), compute).await.unwrap();
        assert_eq!(*answer, "slow");
    });
}

#[test]
fn eight_processes_that_ask_at_once_compute_once() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "keeping::computes_slowly_if_told_to"])
            .env("LARDER_TEST_SLOW_NODE", dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let nodes: Vec<_> = (0..8).map(|_| start()).collect();
    for mut node in nodes {
        assert!(node.wait().unwrap().success());
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("runs")).unwrap(), "ran\n");
}

#[tokio::test]
async fn warming_brings_answers_into_memory_and_computes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path());
    node.check("a", "one", ("one", Origin::Computed)).await;
    node.check("b", "one", ("one", Origin::Computed)).await;
    node.close().await;
    let node = Node::open(dir.path());
    let key = |id: &str| node.words.key(id).unwrap();
    node.check("b", "two", ("one", DISK)).await;
    let warmed = node.words.warm([(key("a"), 1), (key("b"), 2), (key("c"), 3)]).await;
    assert_eq!((warmed.promoted, warmed.present, warmed.absent, warmed.left), (1, 1, 1, 0));
    node.check("a", "two", ("one", MEMORY)).await;
}

#[tokio::test]
async fn statistics_go_on_in_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..3 {
        let node = Node::open(dir.path());
        node.ask("a", "one").await;
        let total = node.opened.report().unwrap().total.unwrap();
        assert_eq!((total.hits, total.misses), (n, 1));
        node.close().await;
    }
}

#[tokio::test]
async fn what_a_computation_waits_for_is_no_cost_of_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path());
    let clock = node.clock.clone();
    let ready = move || {
        clock.advance(Duration::from_secs(60));
        std::future::ready(Some(()))
    };
    let compute = |_| async { Ok::<_, std::io::Error>(Computed::new("one".to_owned())) };
    node.words.get_or_compute_when(&node.words.key("a").unwrap(), ready, compute).await.unwrap();
    let total = node.opened.report().unwrap().total.unwrap();
    assert_eq!((total.misses, total.asking_seconds), (1, 0.0));
}

#[tokio::test]
async fn switches_in_the_settings_change_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let check = async |change: fn(&mut Settings), expected: [Origin; 2]| {
        let through = KindOptions { write: Write::Through, ..KindOptions::default() };
        let node = Node::with(dir.path(), through, change);
        let runs = Arc::new(AtomicU32::new(0));
        for origin in expected {
            let runs = Arc::clone(&runs);
            let compute = || async move {
                runs.fetch_add(1, Ordering::SeqCst);
                Ok::<_, std::io::Error>(Computed::new("same".to_owned()))
            };
            let answer = node.words.get_or_compute(&node.words.key("s").unwrap(), compute).await.unwrap();
            assert_eq!((answer.as_str(), answer.origin), ("same", origin));
        }
        node.close().await;
    };
    check(|s| s.disk.enabled = false, [Origin::Computed, MEMORY]).await;
    check(|s| s.memory.enabled = false, [Origin::Computed, DISK]).await;
    check(|_| {}, [DISK, MEMORY]).await;
    check(|s| s.mode = larder::config::Mode::Off, [Origin::Computed, Origin::Computed]).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_attended_files_each_second_and_saves_each_minute() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path());
    let attended = async |seconds: f64| {
        let _ = tokio::time::timeout(Duration::from_secs_f64(seconds), node.opened.attend()).await;
    };
    for _ in 0..3 {
        node.ask("a", "one").await;
        attended(0.5).await;
        node.clock.advance(Duration::from_secs(1));
    }
    let history = node.opened.report().unwrap().history;
    let seconds: Vec<_> = history[&Resolution::Second].iter().map(|point| point.requests).collect();
    assert_eq!(seconds, [1, 1, 1]);

    let saved = || {
        let total = Node::open(dir.path()).opened.report().unwrap().total;
        total.map_or(0, |total| total.requests)
    };
    attended(58.5).await;
    assert_eq!(saved(), 0);
    attended(59.5).await;
    assert_eq!(saved(), 3, "also if this process is killed now");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_attended_frees_the_memory_of_what_nobody_asks_for_after_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let idle = KindOptions { idle_after: Some(Duration::from_secs(10)), ..KindOptions::default() };
    let node = Node::with(dir.path(), idle, |_| {});
    node.ask("a", "one").await;
    for (after, entries) in [(9, 1), (2, 0)] {
        node.clock.advance(Duration::from_secs(after));
        let _ = tokio::time::timeout(Duration::from_secs(2), node.opened.attend()).await;
        assert_eq!(node.opened.larder.memory_usage().unwrap().entries, entries);
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_attended_keeps_the_disk_within_its_limits() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::with(dir.path(), KindOptions::default(), |settings| settings.disk.entries = Some(10));
    let entries = |node: &Node| node.opened.disk.as_ref().unwrap().usage().unwrap().entries;
    for round in 0..3 {
        for n in 0..20 {
            node.ask(&format!("{round}-{n}"), "value").await;
        }
        node.opened.larder.close().await;
        assert!(entries(&node) >= 20);
        let _ = tokio::time::timeout(Duration::from_secs(61), node.opened.attend()).await;
        assert_eq!(entries(&node), 9, "a tenth below the limit, so that it is not due again at once");
    }
    assert_eq!(node.opened.collect_if_due(true).unwrap(), None);
    node.clock.advance(Duration::from_secs(86_400));
    assert!(node.opened.collect_if_due(false).unwrap().is_some(), "once a day, whatever was written");
}

#[tokio::test]
async fn what_gc_removes_is_counted_by_its_cause_also_for_processes_to_come() {
    let dir = tempfile::tempdir().unwrap();
    let kind = KindOptions { validity: Validity::Immutable, ..KindOptions::default() };
    let node = Node::with(dir.path(), kind, |_| {});
    for id in ["old", "b", "c", "d"] {
        node.ask(id, "value").await;
        node.opened.larder.close().await;
        node.clock.advance(Duration::from_secs(3600));
    }
    let limits = disk::Limits {
        max_age: Some(Duration::from_secs(3 * 3600 + 1800)),
        max_entries: Some(2),
        ..disk::Limits::default()
    };
    let collected = node.opened.collect_to(&limits).unwrap();
    let Some(disk::Collected::Done(reclaimed)) = collected else { panic!("{collected:?}") };
    assert_eq!((reclaimed.unused, reclaimed.evicted), (1, 2));
    for node in [node, Node::open(dir.path())] {
        let tier = &node.opened.report().unwrap().total.unwrap().tiers[&Place::Disk];
        assert_eq!(tier.evictions, [(EvictionCause::Idle, 1), (EvictionCause::Capacity, 2)].into());
        assert_eq!(tier.evicted_bytes + tier.bytes.unwrap(), tier.stored_bytes);
    }
}
