//! What an invalidation from elsewhere covers, and what it does not.

use std::sync::Arc;
use std::time::Duration;

use larder::clock::Clock;
use larder::engine::{Computed, Kept, KindOptions, Larder, LarderOptions, Origin, Write};
use larder::key::{Scope, Selector};
use larder::stats::{Place, Stats, StatsOptions};
use larder::testing::Fault;
use larder::tier::stack::FarOptions;
use tokio::sync::Notify;

use super::{FAR, Node, SHARED, Team, is};

/// Asks for something that is computed for so long that the process looks meanwhile at what others invalidated.
async fn ask_slowly(node: &Node, id: &str, value: &str) -> (Origin, Kept) {
    let (larder, value) = (node.larder.clone(), value.to_owned());
    let compute = || async move {
        larder.catch_up().await;
        Ok::<_, std::io::Error>(Computed::new(value))
    };
    let answer = node.words.get_or_compute(&node.words.key(id).unwrap(), compute).await.unwrap();
    (answer.origin, answer.kept)
}

/// A team, and a machine of it that has an answer which another machine has invalidated since.
async fn invalidated() -> (Team, Node) {
    let team = Team::new();
    let (a, b) = (team.node(), team.node());
    a.ask("x", "one").await;
    a.larder.close().await;
    assert_eq!(b.ask("x", "two").await, is("one", SHARED));
    b.larder.close().await;
    a.larder.invalidate(&Selector::all()).await;
    (team, b)
}

#[tokio::test]
async fn what_was_invalidated_before_a_process_looked_for_the_first_time_is_computed_and_kept() {
    let (team, b) = invalidated().await;
    let (first, second) = (b.restarted(&team), b.restarted(&team));
    // It has looked at what is near, before the first one removes from there what the team's log tells.
    assert!(second.private.get(&second.private.key("p").unwrap()).await.is_none());
    for (node, id) in [(&first, "x"), (&second, "y")] {
        assert_eq!(ask_slowly(node, id, "new").await, (Origin::Computed, Kept::Yes), "{id}");
        node.larder.close().await;
    }
    assert_eq!(b.restarted(&team).ask("x", "newer").await, is("new", Origin::Kept(Place::Disk)));
}

#[tokio::test]
async fn what_only_memory_took_leaves_it_when_another_machine_or_process_invalidates_it() {
    for elsewhere in [true, false] {
        let team = Team::new();
        let node = team.node();
        node.near.misbehave(Fault::Fails);
        assert_eq!(node.ask("x", "old").await, is("old", Origin::Computed));
        assert_eq!(node.ask("x", "new").await, is("old", Origin::Kept(Place::Memory)));
        let other = if elsewhere { team.node() } else { node.restarted(&team) };
        other.larder.invalidate(&Selector::key(&node.words.key("x").unwrap())).await;
        if !elsewhere {
            node.near.misbehave(Fault::None);
        }
        node.larder.catch_up().await;
        assert_eq!(node.ask("x", "new").await, is("new", Origin::Computed), "elsewhere: {elsewhere}");
    }
}

#[tokio::test]
async fn what_is_asked_for_after_an_invalidation_was_heard_of_is_computed_and_kept() {
    let (team, b) = invalidated().await;
    let b = b.restarted(&team);
    ask_slowly(&b, "x", "new").await;
    team.node().larder.invalidate(&Selector::all()).await;
    b.larder.catch_up().await;
    assert_eq!(ask_slowly(&b, "x", "newer").await, (Origin::Computed, Kept::Yes));
}

#[tokio::test]
async fn the_first_look_into_the_log_overtakes_what_is_under_way_and_in_memory_of_kinds_that_are_not_shared()
{
    let (team, b) = invalidated().await;
    let b = b.restarted(&team);
    let (begun, goes_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let keys = ["p", "q"].map(|id| b.private.key(id).unwrap());
    b.private.put(&keys[0], "old".to_owned(), Duration::ZERO).await;
    let (private, key) = (b.private.clone(), keys[1].clone());
    let signals = (Arc::clone(&begun), Arc::clone(&goes_on));
    let slow = tokio::spawn(async move {
        let compute = || async move {
            signals.0.notify_one();
            signals.1.notified().await;
            Ok::<_, std::io::Error>(Computed::new("old".to_owned()))
        };
        private.get_or_compute(&key, compute).await.unwrap().kept
    });
    begun.notified().await;
    assert_eq!(b.ask("x", "new").await, is("new", Origin::Computed));
    goes_on.notify_one();
    assert_ne!(slow.await.unwrap(), Kept::Yes);
    for key in &keys {
        assert!(b.private.get(key).await.is_none(), "{key}");
    }
}

#[tokio::test]
async fn what_was_kept_before_the_log_could_be_followed_for_the_first_time_goes_with_what_it_tells_then() {
    for fault in [Fault::Fails, Fault::Refuses] {
        let team = Team::new();
        let (a, b) = (team.node(), team.node());
        team.tier.misbehave(fault);
        assert_eq!(a.ask("x", "old").await, is("old", Origin::Computed));
        a.larder.close().await;
        team.tier.misbehave(Fault::None);
        b.larder.invalidate(&Selector::all()).await;
        assert_eq!(b.ask("x", "new").await, is("new", Origin::Computed));
        b.larder.close().await;
        let a = a.restarted(&team);
        assert_eq!(a.ask("x", "newer").await, is("new", SHARED), "{fault:?}");
        a.larder.close().await;
        // It is followed from there on.
        assert_eq!(a.restarted(&team).ask("x", "newer").await, is("new", Origin::Kept(Place::Disk)));
    }
}

#[tokio::test]
async fn a_machine_that_joins_a_team_keeps_what_it_has_also_if_the_tier_fails_at_first() {
    let team = Team::new();
    team.node().larder.invalidate(&Selector::all()).await;
    let machine = team.node();
    let mut options =
        LarderOptions::new(Clock::system(), Stats::new(StatsOptions::default(), Clock::system()));
    options.tiers = vec![Arc::new(machine.disk.clone()) as _];
    let alone = Larder::new(options);
    let kind = KindOptions { write: Write::Through, ..KindOptions::<String>::default() };
    let words = alone.kind(&Scope::new("lab").unwrap(), "word", 1, kind).unwrap();
    assert_eq!(words.put(&words.key("x").unwrap(), "one".to_owned(), Duration::ZERO).await, Kept::Yes);
    alone.close().await;
    for failing in [2, 0] {
        let joined = machine.restarted(&team);
        team.tier.fail_next(failing);
        assert_eq!(joined.ask("x", "two").await, is("one", Origin::Kept(Place::Disk)), "{failing}");
        assert_eq!(joined.larder.sharing().unwrap().trouble, None, "{failing}");
        joined.larder.close().await;
    }
}

#[tokio::test]
async fn what_was_invalidated_is_not_given_because_the_first_looks_into_the_log_fail() {
    let (team, b) = invalidated().await;
    team.tier.fail_next(2);
    assert_eq!(b.restarted(&team).ask("x", "new").await, is("new", Origin::Computed));
}

#[tokio::test]
async fn a_process_that_finds_everything_here_says_that_the_log_could_not_be_followed() {
    for (fault, why) in [(Fault::Fails, "no storage space"), (Fault::Refuses, "nobody is at home")] {
        let (team, b) = invalidated().await;
        team.tier.misbehave(fault);
        let b = b.restarted(&team);
        assert_eq!(b.ask("x", "new").await, is("one", Origin::Kept(Place::Disk)));
        let sharing = b.larder.sharing().unwrap();
        assert!(sharing.left_alone && sharing.trouble.as_deref() == Some(why), "{sharing:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_into_the_log_that_hangs_is_waited_for_as_long_as_there_is_patience_and_is_then_told_of() {
    let (team, b) = invalidated().await;
    team.tier.misbehave(Fault::Hangs);
    let b = b.restarted_with(&team, FarOptions { patience: Duration::from_millis(600), ..FAR });
    assert_eq!(b.ask("x", "new").await, is("one", Origin::Kept(Place::Disk)));
    assert_eq!(b.larder.sharing().unwrap().trouble.as_deref(), Some("timed out"));
}
