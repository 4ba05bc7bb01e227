//! Turns: of several machines that want the same, one computes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::engine::{Computed, Exclusion, Kept, Kind, KindOptions, Origin, Reach, Write};
use larder::key::{Scope, Selector};
use larder::stats::Place;
use larder::testing::Fault;
use larder::tier::Tier as _;
use larder::tier::stack::FarOptions;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{FAR, Node, SHARED, Team, is};

/// A kind whose computations machines take turns with.
pub(super) fn turns(node: &Node) -> Kind<String> {
    let options = KindOptions {
        write: Write::Through,
        reach: Reach::Team,
        exclusion: Exclusion::Team,
        ..KindOptions::default()
    };
    node.larder.kind(&Scope::new("lab").unwrap(), "turn", 1, options).unwrap()
}

/// Begins to compute "x", which goes on when it is told to.
async fn computing_until_told(kind: Kind<String>) -> (JoinHandle<Origin>, Arc<Notify>) {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_begun, may_go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
    let computing = tokio::spawn(async move {
        let compute = || async move {
            has_begun.notify_one();
            may_go_on.notified().await;
            Ok::<_, std::io::Error>(Computed::new("one".to_owned()))
        };
        kind.get_or_compute(&kind.key("x").unwrap(), compute).await.unwrap().origin
    });
    begun.notified().await;
    (computing, go_on)
}

#[tokio::test(start_paused = true)]
async fn what_another_machine_computes_is_waited_for_and_the_place_to_run_is_free_meanwhile() {
    let team = Team::new();
    let (a, b) = (team.node(), team.node());
    let (first, go_on) = computing_until_told(turns(&a)).await;
    let places = Arc::new(Semaphore::new(1));
    let (kind, its_places) = (turns(&b), Arc::clone(&places));
    let second = tokio::spawn(async move {
        let ready = move || {
            let places = Arc::clone(&its_places);
            async move { places.acquire_owned().await.ok() }
        };
        let compute = |_| async { Ok::<_, std::io::Error>(Computed::new("two".to_owned())) };
        let answer = kind.get_or_compute_when(&kind.key("x").unwrap(), ready, compute).await.unwrap();
        (answer.entry.value.clone(), answer.origin)
    });
    // Many looks at the other's turn; between them the place is somebody else's for the asking.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!second.is_finished());
    drop(places.acquire().await.unwrap());
    go_on.notify_one();
    assert_eq!(first.await.unwrap(), Origin::Computed);
    assert_eq!(second.await.unwrap(), is("one", SHARED));
}

#[tokio::test(start_paused = true)]
async fn what_begins_after_a_wait_for_another_machine_is_kept_though_it_was_invalidated_meanwhile() {
    for someone_asks_again in [false, true] {
        let team = Team::new();
        let (a, b) = (team.node(), team.node());
        let (first, go_on) = computing_until_told(turns(&a)).await;
        let computed = Arc::new(AtomicU64::new(0));
        let ask = || {
            let (kind, computed) = (turns(&b), Arc::clone(&computed));
            tokio::spawn(async move {
                let compute = || async move {
                    computed.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, std::io::Error>(Computed::new("new".to_owned()))
                };
                let answer = kind.get_or_compute(&kind.key("x").unwrap(), compute).await.unwrap();
                (answer.entry.value.clone(), answer.kept)
            })
        };
        let mut asking = vec![ask(), ask()];
        tokio::time::sleep(Duration::from_secs(1)).await;
        team.node().larder.invalidate(&Selector::all()).await;
        b.larder.catch_up().await;
        if someone_asks_again {
            asking.push(ask());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        go_on.notify_one();
        first.await.unwrap();
        for answer in asking {
            assert_eq!(answer.await.unwrap(), ("new".to_owned(), Kept::Yes), "{someone_asks_again}");
        }
        assert_eq!(computed.load(Ordering::Relaxed), 1, "{someone_asks_again}");
        b.larder.close().await;
        assert_eq!(b.figures(Place::Shared).puts, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_another_machine_costs_no_patience_as_long_as_the_tier_answers() {
    for hangs_at_last in [false, true] {
        let team = Team::new();
        let (a, b) =
            (team.node(), team.node_with(FarOptions { patience: Duration::from_millis(200), ..FAR }));
        let (first, go_on) = computing_until_told(turns(&a)).await;
        team.tier.dawdle(Duration::from_millis(20), 1);
        let kind = turns(&b);
        let second = tokio::spawn(async move {
            let compute = || async { Ok::<_, std::io::Error>(Computed::new("two".to_owned())) };
            let answer = kind.get_or_compute(&kind.key("x").unwrap(), compute).await.unwrap();
            (answer.entry.value.clone(), answer.origin)
        });
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert!(!second.is_finished());
        assert_eq!(b.larder.sharing().unwrap().trouble, None);
        if hangs_at_last {
            team.tier.misbehave(Fault::Hangs);
            let began = Instant::now();
            assert_eq!(second.await.unwrap(), is("two", Origin::Computed));
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            first.abort();
        } else {
            go_on.notify_one();
            assert_eq!(first.await.unwrap(), Origin::Computed);
            assert_eq!(second.await.unwrap(), is("one", SHARED));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_team_is_not_asked_while_another_process_of_this_machine_is_waited_for() {
    let team = Team::new();
    let node = team.node();
    let beside = node.restarted(&team);
    let (first, go_on) = computing_until_told(turns(&node)).await;
    let kind = turns(&beside);
    let second = tokio::spawn(async move {
        let compute = || async { Ok::<_, std::io::Error>(Computed::new("two".to_owned())) };
        let answer = kind.get_or_compute(&kind.key("x").unwrap(), compute).await.unwrap();
        (answer.entry.value.clone(), answer.origin)
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    team.tier.take_asked();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(team.tier.take_asked(), 0);
    go_on.notify_one();
    assert_eq!(first.await.unwrap(), Origin::Computed);
    assert_eq!(second.await.unwrap(), is("one", Origin::Kept(Place::Disk)));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_another_machine_longer_than_is_said_nor_where_nothing_is_to_be_waited_for() {
    let team = Team::new();
    let node = team.node();
    let kind = turns(&node);
    let held = team.disk.try_lease(&kind.key("x").unwrap()).await.unwrap().unwrap();
    let compute =
        |ready: Option<()>| async move { Ok::<_, std::io::Error>(Computed::new(format!("{ready:?}"))) };
    let began = Instant::now();
    let ready = || std::future::ready(None);
    let answer = kind.get_or_compute_when(&kind.key("x").unwrap(), ready, compute).await.unwrap();
    assert_eq!((answer.as_str(), answer.origin), ("None", Origin::Computed));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let kind = turns(&team.node());
    let key = kind.key("y").unwrap();
    let held_too = team.disk.try_lease(&key).await.unwrap().unwrap();
    let ready = || std::future::ready(Some(()));
    let answer = kind.get_or_compute_when(&key, ready, compute).await.unwrap();
    assert_eq!((answer.as_str(), answer.origin), ("Some(())", Origin::Computed));
    assert!(began.elapsed() >= FAR.waits);
    drop((held, held_too));
}

#[tokio::test]
async fn the_turn_is_given_back_when_what_was_computed_has_arrived_or_came_to_nothing() {
    let team = Team::new();
    let node = team.node();
    let kind = turns(&node);
    let (good, bad) = (kind.key("good").unwrap(), kind.key("bad").unwrap());
    let compute = || async { Ok::<_, std::io::Error>(Computed::new("one".to_owned())) };
    kind.get_or_compute(&good, compute).await.unwrap();
    let fails = || async { Err::<Computed<String>, _>(std::io::Error::other("no")) };
    kind.get_or_compute(&bad, fails).await.unwrap_err();
    node.larder.close().await;
    for key in [good, bad] {
        assert!(team.disk.try_lease(&key).await.unwrap().is_some(), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_given_back_though_the_tier_takes_nothing_more() {
    let team = Team::new();
    let node = team.node_with(FarOptions { patience: Duration::from_millis(75), ..FAR });
    let kind = turns(&node);
    let began = Instant::now();
    // More than are on their way at once.
    let keys: Vec<_> = (0..6).map(|n| kind.key(&n.to_string()).unwrap()).collect();
    let all = Arc::new(tokio::sync::Barrier::new(keys.len()));
    let mut computing = tokio::task::JoinSet::new();
    for key in keys.clone() {
        let (kind, tier, all) = (kind.clone(), Arc::clone(&team.tier), Arc::clone(&all));
        computing.spawn(async move {
            let compute = || async move {
                all.wait().await;
                tier.misbehave(Fault::Hangs);
                Ok::<_, std::io::Error>(Computed::new("one".to_owned()))
            };
            kind.get_or_compute(&key, compute).await.unwrap();
        });
    }
    computing.join_all().await;
    node.larder.close().await;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    for key in keys {
        assert!(team.disk.try_lease(&key).await.unwrap().is_some(), "{key}");
    }
}
