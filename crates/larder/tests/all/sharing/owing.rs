//! What a tier that machines share is still to be told of invalidations, and who tells it.

use larder::testing as suite;
use larder::tier::stack::{GuardOptions, Guarded};
use larder::tier::{PutOutcome, TierError};

use super::*;

/// One that has an answer of the team replaced by another while the team can't be told, and one that has it still.
async fn parted(team: &Team) -> (Node, Node) {
    let (a, b) = (team.node(), team.node());
    a.ask("x", "one").await;
    a.larder.close().await;
    assert_eq!(b.ask("x", "two").await, is("one", SHARED));
    b.larder.close().await;
    team.tier.misbehave(Fault::Fails);
    let key = a.words.key("x").unwrap();
    assert_eq!(a.larder.invalidate(&Selector::key(&key)).await.failed_tiers.len(), 1);
    assert_eq!(a.words.put(&key, "new".to_owned(), Duration::ZERO).await, Kept::Yes);
    (a, b)
}

/// Waits until a node no longer leaves the team's tier alone.
async fn back(node: &Node) {
    while node.larder.sharing().unwrap().left_alone {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_put_while_the_team_cannot_be_told_stays_when_it_is_told_and_goes_from_others() {
    let team = Team::new();
    let (a, b) = parted(&team).await;
    let key = a.words.key("x").unwrap();
    team.tier.misbehave(Fault::None);
    back(&a).await;
    // Whoever follows the log has it told.
    for node in [&a, &b] {
        node.larder.catch_up().await;
    }
    assert_eq!(a.words.get_from(&key).await.map(|(_, place)| place), Some(Place::Memory));
    assert_eq!(a.restarted(&team).ask("x", "newer").await, is("new", Origin::Kept(Place::Disk)));
    assert!(b.words.get(&key).await.is_none());
}

#[tokio::test]
async fn what_the_team_could_not_be_told_it_is_told_at_the_end_if_it_answers_then() {
    let team = Team::new();
    let (a, b) = parted(&team).await;
    assert!(a.larder.sharing().unwrap().left_alone);
    team.tier.misbehave(Fault::None);
    a.larder.close().await;
    b.larder.catch_up().await;
    assert_eq!(b.ask("x", "newer").await, is("newer", Origin::Computed));
    assert_eq!(a.restarted(&team).ask("x", "newer").await, is("new", Origin::Kept(Place::Disk)));
}

#[tokio::test]
async fn what_is_invalidated_by_a_process_that_asks_nothing_is_told_each_tier_at_its_end() {
    for is_near in [false, true] {
        let team = Team::new();
        let node = team.node();
        node.ask("x", "one").await;
        node.larder.close().await;
        let brief = node.restarted(&team);
        let fails = if is_near { &brief.near } else { &team.tier };
        fails.misbehave(Fault::Fails);
        let told = brief.larder.invalidate(&Selector::key(&brief.words.key("x").unwrap())).await;
        assert_eq!(told.failed_tiers.len(), 1);
        fails.misbehave(Fault::None);
        brief.larder.close().await;
        for disk in [&team.disk, &brief.disk] {
            assert_eq!(disk.usage().unwrap().entries, 0);
        }
    }
}

#[tokio::test]
async fn what_the_team_could_not_be_told_is_told_once_by_whoever_comes_after_a_process_that_was_killed() {
    let team = Team::new();
    let (node, other) = (team.node(), team.node());
    node.ask("x", "one").await;
    node.larder.close().await;
    team.tier.misbehave(Fault::Keeps);
    let killed = node.restarted(&team);
    let key = killed.words.key("x").unwrap();
    assert_eq!(killed.larder.invalidate(&Selector::key(&key)).await.failed_tiers.len(), 1);
    assert_eq!(killed.words.put(&key, "two".to_owned(), Duration::ZERO).await, Kept::Yes);
    drop(killed);
    let still = node.restarted(&team);
    assert_eq!(still.words.look_afar(&key).await.map(|entry| entry.value.clone()), None);
    team.tier.misbehave(Fault::None);
    let next = node.restarted(&team);
    assert_eq!(next.ask("x", "three").await, is("two", Origin::Kept(Place::Disk)));
    next.larder.close().await;
    assert_eq!(other.ask("x", "four").await, is("four", Origin::Computed));
    let told = team.disk.epoch().await.unwrap();
    let last = node.restarted(&team);
    last.ask("y", "one").await;
    last.larder.close().await;
    assert_eq!(team.disk.epoch().await.unwrap(), told);
}

#[tokio::test]
async fn what_is_put_after_an_invalidation_whose_answer_was_lost_stays_when_it_comes_back() {
    let team = Team::new();
    let node = team.node();
    node.ask("x", "one").await;
    node.larder.close().await;
    let key = node.words.key("x").unwrap();
    team.tier.misbehave(Fault::Mumbles);
    assert_eq!(node.larder.invalidate(&Selector::key(&key)).await.failed_tiers.len(), 1);
    team.tier.misbehave(Fault::Keeps);
    assert_eq!(node.words.put(&key, "two".to_owned(), Duration::ZERO).await, Kept::Yes);
    team.tier.misbehave(Fault::None);
    for _ in 0..3 {
        node.larder.catch_up().await;
        assert_eq!(node.words.get_from(&key).await.map(|(_, place)| place), Some(Place::Memory));
    }
    node.larder.close().await;
    assert_eq!(node.restarted(&team).ask("x", "three").await, is("two", Origin::Kept(Place::Disk)));
}

#[tokio::test]
async fn what_the_log_told_and_could_not_be_removed_here_is_removed_by_the_next_process() {
    let team = Team::new();
    let (node, other) = (team.node(), team.node());
    node.ask("x", "one").await;
    node.larder.close().await;
    other.larder.invalidate(&Selector::key(&other.words.key("x").unwrap())).await;
    node.near.misbehave(Fault::Keeps);
    node.larder.catch_up().await;
    assert!(node.disk.blocking_get(&node.words.key("x").unwrap()).unwrap().is_some());
    assert_eq!(node.restarted(&team).ask("x", "two").await, is("two", Origin::Computed));
}

#[tokio::test]
async fn what_the_team_could_not_be_told_nobody_on_the_machine_takes_from_it() {
    let team = Team::new();
    let node = team.node();
    node.ask("x", "one").await;
    node.larder.close().await;
    let beside = node.restarted(&team);
    beside.larder.catch_up().await;
    beside.ask("y", "one").await;
    team.tier.misbehave(Fault::Keeps);
    let key = node.words.key("x").unwrap();
    assert_eq!(node.larder.invalidate(&Selector::key(&key)).await.failed_tiers.len(), 1);
    beside.larder.catch_up().await;
    assert_eq!(beside.ask("x", "two").await, is("two", Origin::Computed));
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_no_longer_than_usual_for_a_team_that_still_cannot_be_told() {
    let team = Team::new();
    let (a, _b) = parted(&team).await;
    team.tier.misbehave(Fault::Hangs);
    let began = Instant::now();
    a.larder.close().await;
    assert!(began.elapsed() <= FAR.patience, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_put_where_the_team_is_told_only_then_reaches_it() {
    let team = Team::new();
    let (a, b) = parted(&team).await;
    team.tier.misbehave(Fault::None);
    back(&a).await;
    let key = a.words.key("x").unwrap();
    assert_eq!(a.words.put(&key, "newer".to_owned(), Duration::ZERO).await, Kept::Yes);
    a.larder.close().await;
    b.larder.catch_up().await;
    assert_eq!(b.ask("x", "two").await, is("newer", SHARED));
}

#[tokio::test]
async fn what_an_invalidation_that_is_still_to_be_told_would_remove_is_not_sent_before_it() {
    let team = Team::new();
    let node = team.node();
    let everywhere =
        KindOptions { write: Write::Everywhere, reach: Reach::Team, ..KindOptions::<String>::default() };
    let words = node.larder.kind(&Scope::new("lab").unwrap(), "word", 1, everywhere).unwrap();
    let key = words.key("x").unwrap();
    let put = async |value: &str| words.put(&key, value.to_owned(), Duration::ZERO).await;
    assert_eq!(put("one").await, Kept::Yes);
    team.tier.misbehave(Fault::Keeps);
    assert_eq!(node.larder.invalidate(&Selector::key(&key)).await.failed_tiers.len(), 1);
    // The tier answers whatever else it is asked, and so is not left alone.
    assert!(words.get(&words.key("other").unwrap()).await.is_none());
    assert_eq!(put("two").await, Kept::Yes);
    assert!(!node.larder.sharing().unwrap().left_alone);
    team.tier.misbehave(Fault::None);
    node.larder.close().await;
    assert_eq!(words.afar(&key, |there| there == "two").await, Afar::Nothing);
}

#[tokio::test]
async fn of_entries_that_are_stored_together_only_those_wait_that_an_invalidation_would_remove() {
    let folder = TempDir::new().unwrap();
    let disk = Disk::open(folder.path(), DiskOptions::default()).unwrap();
    let tier = Faulty::new(Arc::new(disk.clone()));
    let options =
        GuardOptions { breaker: BreakerOptions::default(), limit: Duration::from_secs(30), far: None };
    let guarded = Guarded::new(Arc::clone(&tier) as _, options, Clock::system());
    let [x, y] = ["x", "y"].map(|id| suite::key("lab", &format!("k@1/{id}")));
    tier.misbehave(Fault::Keeps);
    guarded.invalidate(&Selector::key(&x)).await.unwrap_err();
    let began = disk.epoch().await.unwrap();
    let both = [&x, &y].map(|key| suite::sealed(key, b"value", &[], began)).to_vec();
    let outcomes = guarded.put(both.clone()).await.unwrap();
    assert!(matches!(&outcomes[..], [Err(TierError::Open), Ok(PutOutcome::Kept)]), "{outcomes:?}");
    assert!(disk.get(&x).await.unwrap().is_none() && disk.get(&y).await.unwrap().is_some());
    tier.misbehave(Fault::None);
    let outcomes = guarded.put(both).await.unwrap();
    assert!(matches!(&outcomes[..], [Ok(PutOutcome::Refused(_)), Ok(_)]), "it is told by now: {outcomes:?}");
}
