//! What whoever asks may rely on: one computation for many callers, nothing from before an invalidation, and no
//! failure but the computation's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use larder::clock::{Clock, Timestamp};
use larder::config::Mode;
use larder::engine::{
    AskError, Computed, Freshness, Hook, HookError, Kept, Kind, KindOptions, Larder, LarderOptions, NotKept,
    Origin, Validity,
};
use larder::key::{Key, Scope, Selector};
use larder::stats::{Place, Stats, StatsOptions};
use tokio::sync::Semaphore;

const COMPUTED: Origin = Origin::Computed;
const MEMORY: Origin = Origin::Kept(Place::Memory);

/// An engine with a clock that stands still, and a computation that counts its runs.
struct Lab {
    clock: Clock,
    larder: Larder,
    numbers: Kind<u32>,
    runs: Arc<AtomicU32>,
}

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("no number")]
struct NoNumber;

impl Lab {
    fn new(kind: KindOptions<u32>) -> Self {
        Self::with(kind, |_| {})
    }

    fn with(kind: KindOptions<u32>, change: impl FnOnce(&mut LarderOptions)) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        let stats = Stats::new(StatsOptions::default(), clock.clone());
        let mut options = LarderOptions::new(clock.clone(), stats);
        change(&mut options);
        let larder = Larder::new(options);
        let numbers = larder.kind(&Scope::new("lab").unwrap(), "number", 1, kind).unwrap();
        Self { clock, larder, numbers, runs: Arc::default() }
    }

    fn key(&self, id: &str) -> Key {
        self.numbers.key(id).unwrap()
    }

    /// Asks for `id`; each computation gives how many have run by then.
    async fn ask(&self, id: &str) -> (u32, Origin, Freshness) {
        let runs = Arc::clone(&self.runs);
        let compute = || async move { Ok::<_, NoNumber>((runs.fetch_add(1, Ordering::SeqCst) + 1).into()) };
        let answer = self.numbers.get_or_compute(&self.key(id), compute).await.unwrap();
        (*answer, answer.origin, answer.freshness)
    }

    fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }
}

/// Lets all other tasks go on until they wait for something.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_second_question_runs_nothing() {
    let lab = Lab::new(KindOptions::default());
    assert_eq!(lab.ask("a").await, (1, COMPUTED, Freshness::Fresh));
    assert_eq!(lab.ask("a").await, (1, MEMORY, Freshness::Fresh));
    assert_eq!(lab.ask("b").await, (2, COMPUTED, Freshness::Fresh));
    assert_eq!(lab.runs(), 2);
}

#[tokio::test]
async fn a_hundred_callers_share_one_computation() {
    let lab = Arc::new(Lab::new(KindOptions::default()));
    let gate = Arc::new(Semaphore::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (lab, gate) = (Arc::clone(&lab), Arc::clone(&gate));
        callers.spawn(async move {
            let (key, runs) = (lab.key("a"), Arc::clone(&lab.runs));
            let compute = || async move {
                let _permit = gate.acquire().await;
                Ok::<_, NoNumber>((runs.fetch_add(1, Ordering::SeqCst) + 1).into())
            };
            *lab.numbers.get_or_compute(&key, compute).await.unwrap()
        });
    }
    settle().await;
    gate.add_permits(100);
    assert_eq!(callers.join_all().await, vec![1; 100]);
}

#[tokio::test]
async fn a_failing_computation_of_a_hundred_callers_runs_once_and_is_not_kept() {
    let lab = Arc::new(Lab::new(KindOptions::default()));
    let ask = |lab: Arc<Lab>| async move {
        let (key, runs) = (lab.key("a"), Arc::clone(&lab.runs));
        let compute = || async move {
            runs.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Err::<Computed<u32>, _>(NoNumber)
        };
        matches!(lab.numbers.get_or_compute(&key, compute).await, Err(AskError::Computation(e)) if *e == NoNumber)
    };
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        callers.spawn(ask(Arc::clone(&lab)));
    }
    assert_eq!(callers.join_all().await, vec![true; 100]);
    assert_eq!(lab.runs(), 1);
    assert!(ask(Arc::clone(&lab)).await);
    assert_eq!(lab.runs(), 2, "an error is not kept");
}

#[tokio::test]
async fn an_error_is_kept_for_as_long_as_the_kind_says() {
    let lab = Lab::new(KindOptions { keep_errors_for: Some(Duration::from_secs(5)), ..Default::default() });
    let ask = || async {
        let runs = Arc::clone(&lab.runs);
        let compute = || async move {
            runs.fetch_add(1, Ordering::SeqCst);
            Err::<Computed<u32>, _>(NoNumber)
        };
        lab.numbers.get_or_compute(&lab.key("a"), compute).await.unwrap_err();
        lab.runs()
    };
    assert_eq!((ask().await, ask().await), (1, 1));
    lab.clock.advance(Duration::from_secs(5));
    assert_eq!(ask().await, 2);
    lab.larder.invalidate(&Selector::key(&lab.key("a"))).await;
    assert_eq!(ask().await, 3);
}

#[tokio::test]
async fn what_was_invalidated_while_it_was_computed_is_returned_and_not_kept() {
    for selector in ["lab/number@1/a", "all", "prefix:lab/number@1/", "tag:late"] {
        let lab = Lab::new(KindOptions::default());
        let gate = Arc::new(Semaphore::new(0));
        let (kind, key, wait) = (lab.numbers.clone(), lab.key("a"), Arc::clone(&gate));
        let asked = tokio::spawn(async move {
            let compute = || async move {
                let _permit = wait.acquire().await;
                Ok::<_, NoNumber>(Computed::new(7).tagged("late"))
            };
            kind.get_or_compute(&key, compute).await.unwrap()
        });
        settle().await;
        lab.larder.invalidate(&selector.parse().unwrap()).await;
        // Whoever asks now does not wait for the old computation.
        assert_eq!(lab.ask("a").await, (1, COMPUTED, Freshness::Fresh), "{selector}");
        gate.add_permits(1);
        let answer = asked.await.unwrap();
        assert_eq!((*answer, answer.kept), (7, Kept::No(NotKept::Revoked)), "{selector}");
        assert_eq!(lab.ask("a").await, (1, MEMORY, Freshness::Fresh), "{selector}");
    }
}

#[tokio::test]
async fn a_computation_that_asks_for_itself_gets_the_circle_and_no_deadlock() {
    let lab = Lab::new(KindOptions::default());
    let (kind, key) = (lab.numbers.clone(), lab.key("a"));
    let compute = || async move {
        let inner = kind.get_or_compute(&key, || async { Ok::<_, NoNumber>(1.into()) }).await;
        assert_eq!(
            inner.unwrap_err().to_string(),
            "computation waits for itself: lab/number@1/a -> lab/number@1/a"
        );
        Err::<Computed<u32>, _>(NoNumber)
    };
    assert!(lab.numbers.get_or_compute(&lab.key("a"), compute).await.is_err());
}

#[tokio::test]
async fn two_computations_that_ask_for_each_other_do_not_deadlock() {
    let lab = Lab::new(KindOptions::default());
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let ask = |mine: &'static str, other: &'static str| {
        let (kind, both) = (lab.numbers.clone(), Arc::clone(&both));
        tokio::spawn(async move {
            let (inner_kind, key) = (kind.clone(), kind.key(mine).unwrap());
            let compute = move || async move {
                both.wait().await;
                let key = inner_kind.key(other).unwrap();
                let inner = inner_kind.get_or_compute(&key, || async { Ok::<_, NoNumber>(1.into()) }).await;
                match inner {
                    Err(AskError::Cycle(path)) => Ok(Computed::new(path.len() as u32)),
                    Err(AskError::Computation(_) | AskError::TimedOut(_)) => Err(NoNumber),
                    Ok(answer) => Ok(Computed::new(*answer * 100)),
                }
            };
            *kind.get_or_compute(&key, compute).await.unwrap()
        })
    };
    let (a, b) = (ask("a", "b"), ask("b", "a"));
    let mut answers = [a.await.unwrap(), b.await.unwrap()];
    answers.sort_unstable();
    // One of them closed the circle of two and got its path, three keys long; the other waited for that answer.
    assert_eq!(answers, [3, 300]);
}

#[tokio::test]
async fn a_computation_whose_caller_goes_away_is_taken_over_by_the_next() {
    let lab = Arc::new(Lab::new(KindOptions::default()));
    let (kind, key) = (lab.numbers.clone(), lab.key("a"));
    let first = tokio::spawn(async move {
        kind.get_or_compute(&key, std::future::pending::<Result<Computed<u32>, NoNumber>>).await.is_ok()
    });
    settle().await;
    let second = tokio::spawn({
        let lab = Arc::clone(&lab);
        async move { lab.ask("a").await }
    });
    settle().await;
    first.abort();
    assert_eq!(second.await.unwrap(), (1, COMPUTED, Freshness::Fresh));
}

#[tokio::test]
async fn a_panic_wakes_those_who_wait() {
    let lab = Arc::new(Lab::new(KindOptions::default()));
    let gate = Arc::new(Semaphore::new(0));
    let (kind, key, wait) = (lab.numbers.clone(), lab.key("a"), Arc::clone(&gate));
    let first = tokio::spawn(async move {
        let compute = || async move {
            let _permit = wait.acquire().await;
            panic!("as the test wants");
            #[allow(unreachable_code)]
            Ok::<Computed<u32>, NoNumber>(1.into())
        };
        kind.get_or_compute(&key, compute).await.is_ok()
    });
    settle().await;
    let second = tokio::spawn({
        let lab = Arc::clone(&lab);
        async move { lab.ask("a").await }
    });
    settle().await;
    gate.add_permits(1);
    assert!(first.await.unwrap_err().is_panic());
    assert_eq!(second.await.unwrap().0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_computation_over_its_time_limit_is_cancelled_and_not_kept() {
    let lab = Lab::new(KindOptions { timeout: Some(Duration::from_secs(3)), ..Default::default() });
    let compute = std::future::pending::<Result<Computed<u32>, NoNumber>>;
    let error = lab.numbers.get_or_compute(&lab.key("a"), compute).await.unwrap_err();
    assert_eq!(error.to_string(), "computation took longer than 3s");
    assert_eq!(lab.ask("a").await.0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_no_longer_than_it_says_and_leaves_the_computation_to_those_who_do() {
    let lab = Lab::new(KindOptions::default());
    let key = lab.key("a");
    let (numbers, patient_key) = (lab.numbers.clone(), key.clone());
    let slow = |value: u32| async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        Ok::<_, NoNumber>(Computed::new(value))
    };
    let hasty = lab.numbers.get_or_compute_within(&key, Duration::from_secs(3), move || slow(1));
    let patient = tokio::spawn(async move {
        let limit = Duration::from_secs(60);
        numbers.get_or_compute_within(&patient_key, limit, move || slow(2)).await.map(|answer| *answer)
    });
    assert_eq!(hasty.await.unwrap_err().to_string(), "computation took longer than 3s");
    assert_eq!(patient.await.unwrap().unwrap(), 2, "it took over");
    let kept = lab.numbers.get_or_compute_within(&key, Duration::ZERO, move || slow(3)).await;
    assert_eq!(*kept.unwrap(), 2, "what is kept in memory takes no time");
}

#[tokio::test]
async fn an_expiring_answer_is_fresh_then_stale_once_refreshed_then_gone() {
    let validity = Validity::Expiring { fresh: Duration::from_secs(5), stale: Duration::from_secs(60) };
    let lab = Lab::new(KindOptions { validity, ..Default::default() });
    assert_eq!(lab.ask("a").await, (1, COMPUTED, Freshness::Fresh));
    lab.clock.advance(Duration::from_millis(4_999));
    assert_eq!(lab.ask("a").await, (1, MEMORY, Freshness::Fresh));
    lab.clock.advance(Duration::from_millis(1));
    assert_eq!(lab.ask("a").await, (1, MEMORY, Freshness::Stale));
    assert_eq!(lab.ask("a").await, (1, MEMORY, Freshness::Stale));
    settle().await;
    assert_eq!(lab.ask("a").await, (2, MEMORY, Freshness::Fresh), "refreshed once, in the background");
    lab.clock.advance(Duration::from_secs(61));
    assert_eq!(lab.ask("a").await, (3, COMPUTED, Freshness::Fresh));
}

#[tokio::test]
async fn a_soft_invalidation_serves_the_old_answer_while_one_refresh_runs() {
    let lab = Lab::new(KindOptions::default());
    lab.ask("a").await;
    lab.ask("b").await;
    lab.larder.invalidate_softly(&Selector::key(&lab.key("a"))).await;
    lab.clock.advance(Duration::from_millis(1));
    assert_eq!(lab.ask("a").await, (1, MEMORY, Freshness::Stale));
    assert_eq!(lab.ask("a").await, (1, MEMORY, Freshness::Stale));
    assert_eq!(lab.ask("b").await, (2, MEMORY, Freshness::Fresh));
    settle().await;
    assert_eq!(lab.ask("a").await, (3, MEMORY, Freshness::Fresh));
    assert_eq!(lab.runs(), 3);
}

#[tokio::test]
async fn refresh_replaces_what_is_kept() {
    let lab = Lab::new(KindOptions::default());
    lab.ask("a").await;
    lab.numbers.refresh(&lab.key("a"), || async { Ok::<_, NoNumber>(40.into()) }).await.unwrap();
    assert_eq!(lab.ask("a").await, (40, MEMORY, Freshness::Fresh));
}

#[tokio::test]
async fn what_is_put_outlives_a_computation_that_began_before() {
    let lab = Lab::new(KindOptions::default());
    let gate = Arc::new(Semaphore::new(0));
    let (kind, key, wait) = (lab.numbers.clone(), lab.key("a"), Arc::clone(&gate));
    let asked = tokio::spawn(async move {
        let compute = || async move {
            let _permit = wait.acquire().await;
            Ok::<_, NoNumber>(1.into())
        };
        *kind.get_or_compute(&key, compute).await.unwrap()
    });
    settle().await;
    assert_eq!(lab.numbers.put(&lab.key("a"), 9, Duration::ZERO).await, Kept::Yes);
    gate.add_permits(1);
    assert_eq!(asked.await.unwrap(), 1);
    assert_eq!(lab.numbers.get(&lab.key("a")).await.map(|entry| entry.value), Some(9));
}

#[tokio::test]
async fn a_computation_may_choose_not_to_be_kept_and_says_why() {
    let lab = Lab::new(KindOptions::default());
    let compute = || async { Ok::<_, NoNumber>(Computed::new(1).unkept("an input changed")) };
    let answer = lab.numbers.get_or_compute(&lab.key("a"), compute).await.unwrap();
    assert_eq!(answer.kept, Kept::No(NotKept::ByChoice("an input changed".into())));
    assert_eq!(lab.ask("a").await.0, 1);
}

#[tokio::test]
async fn modes_and_a_missing_memory_change_no_answer() {
    let check = async |mode, memory: bool, expected: [u32; 2]| {
        let lab = Lab::with(KindOptions::default(), |options| {
            options.mode = mode;
            if !memory {
                options.memory = None;
            }
        });
        assert_eq!([lab.ask("a").await.0, lab.ask("a").await.0], expected, "{mode:?} {memory}");
    };
    check(Mode::ReadWrite, true, [1, 1]).await;
    check(Mode::ReadWrite, false, [1, 2]).await;
    check(Mode::Read, true, [1, 2]).await;
    check(Mode::Write, true, [1, 2]).await;
    check(Mode::Off, true, [1, 2]).await;
}

#[derive(Default)]
struct Log(parking_lot::Mutex<Vec<String>>);

impl Hook for Log {
    fn before(&self, selector: &Selector, keys: &[Key]) -> Result<(), HookError> {
        self.0.lock().push(format!("before {selector}: {keys:?}"));
        Err("hook is out of order".into())
    }

    fn after(&self, selector: &Selector, keys: &[Key]) -> Result<(), HookError> {
        self.0.lock().push(format!("after {selector}: {keys:?}"));
        Ok(())
    }
}

#[tokio::test]
async fn hooks_hear_of_invalidations_and_a_failing_one_blocks_nothing() {
    let lab = Lab::new(KindOptions::default());
    lab.ask("a").await;
    lab.ask("b").await;
    let log = Arc::new(Log::default());
    lab.larder.add_hook(Arc::clone(&log) as Arc<dyn Hook>);
    let report = lab.larder.invalidate(&Selector::key(&lab.key("a"))).await;
    assert_eq!(report.keys, [lab.key("a")]);
    assert_eq!(report.failed_hooks[0].to_string(), "hook is out of order");
    assert_eq!(
        *log.0.lock(),
        [
            "before key:lab/number@1/a: [Key(lab/number@1/a)]",
            "after key:lab/number@1/a: [Key(lab/number@1/a)]"
        ]
    );
    assert_eq!(lab.ask("b").await.1, MEMORY);
    assert_eq!(lab.ask("a").await.1, COMPUTED);
}
