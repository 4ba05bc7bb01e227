//! What runs after a change, and what does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use expect_test::expect;
use larder::clock::{Clock, Timestamp};
use larder::engine::{Context, Larder, LarderOptions, Origin, Outside, Queries, Query};
use larder::key::{Scope, Selector};
use larder::query::{MAX_TRACES, Missed, Why};
use larder::stats::{Place, Stats, StatsOptions};
use serde::{Deserialize, Serialize};

use super::lab::{Lab, Value, take_ran};

#[tokio::test]
async fn rewriting_the_same_bytes_runs_nothing() {
    let lab = Lab::new();
    lab.set("a", "1").set("b", "a 2");
    lab.check("b", expect!["3; ran parse(a) parse(b) value(a) value(b)"]).await;
    lab.set("a", "1");
    lab.check("b", expect!["3; ran nothing"]).await;
}

#[tokio::test]
async fn a_change_runs_only_what_observed_it_and_stops_where_a_value_is_the_same() {
    let lab = Lab::new();
    lab.set("a", "1 2").set("b", "a 10").set("c", "b b").set("d", "5");
    lab.check_sum(
        "*",
        expect!["47; ran parse(a) parse(b) parse(c) parse(d) sum value(a) value(b) value(c) value(d)"],
    )
    .await;
    // The same tokens.
    lab.set("a", " 1\n2 ");
    lab.check_sum("*", expect!["47; ran parse(a)"]).await;
    // Other tokens, the same sum.
    lab.set("a", "2 1");
    lab.check_sum("*", expect!["47; ran parse(a) value(a)"]).await;
    // Another sum, which reaches `c` through `b`, and the same sum of all.
    lab.set("a", "4").set("d", "1");
    lab.check_sum("*", expect!["47; ran parse(a) parse(d) sum value(a) value(b) value(c) value(d)"]).await;
}

#[tokio::test]
async fn a_revert_finds_the_old_answer_and_so_does_another_process() {
    let mut lab = Lab::new();
    lab.set("a", "1").set("b", "a 10");
    lab.check("b", expect!["11; ran parse(a) parse(b) value(a) value(b)"]).await;
    lab.set("a", "2");
    lab.check("b", expect!["12; ran parse(a) value(a) value(b)"]).await;
    lab.set("a", "1");
    lab.check("b", expect!["11; ran nothing"]).await;
    lab.restart().await;
    lab.check("b", expect!["11; ran nothing"]).await;
    lab.set("a", "2");
    lab.check("b", expect!["12; ran nothing"]).await;
    lab.set("a", "3");
    lab.check("b", expect!["13; ran parse(a) value(a) value(b)"]).await;
}

#[tokio::test]
async fn the_oldest_answer_is_forgotten_where_there_are_too_many() {
    let mut lab = Lab::new();
    lab.set("a", "$X");
    for x in 0..=MAX_TRACES {
        lab.export("X", &x.to_string()).ask(Value { cell: "a".to_owned() }).await.unwrap();
    }
    take_ran();
    lab.export("X", "1").check("a", expect!["1; ran nothing"]).await;
    lab.export("X", "0").check("a", expect!["0; ran value(a)"]).await;
    lab.export("X", "1").check("a", expect!["1; ran value(a)"]).await;
}

#[tokio::test]
async fn a_value_that_many_queries_have_is_kept_once() {
    let lab = Lab::new();
    for n in 0..20 {
        lab.set(&format!("c{n}"), &format!("{n} %1"));
    }
    lab.check_sum("c1", expect!["0; ran parse(c1) sum value(c1)"]).await;
    for n in 0..20 {
        lab.ask(Value { cell: format!("c{n}") }).await.unwrap();
    }
    lab.close().await;
    let report = lab.larder().invalidate(&Selector::all().of_kind("value.value")).await;
    assert_eq!(report.keys.len(), 1);
}

#[tokio::test]
async fn what_is_observed_may_differ_from_run_to_run() {
    let lab = Lab::new();
    lab.set("flag", "1").set("a", "10").set("b", "20").set("c", "?flag:a:b");
    lab.check("c", expect!["10; ran parse(a) parse(c) parse(flag) value(a) value(c) value(flag)"]).await;
    lab.set("b", "21");
    lab.check("c", expect!["10; ran nothing"]).await;
    lab.set("flag", "0");
    lab.check("c", expect!["21; ran parse(b) parse(flag) value(b) value(c) value(flag)"]).await;
    lab.set("a", "11");
    lab.check("c", expect!["21; ran nothing"]).await;
    // `b` was observed under the other flag only, and is not asked for under this one.
    lab.set("flag", "1").set("b", "bad!");
    lab.check("c", expect!["11; ran parse(a) value(a) value(c)"]).await;
}

#[tokio::test]
async fn a_session_settles_a_query_once_and_does_not_see_later_changes() {
    let lab = Lab::new();
    lab.set("a", "1").set("b", "a a");
    let session = lab.session();
    let ask = |cell: &str| session.get(Value { cell: cell.to_owned() });
    assert_eq!(*ask("b").await.unwrap(), 2);
    lab.set("a", "5").set("b", "7");
    assert_eq!((*ask("b").await.unwrap(), *ask("a").await.unwrap()), (2, 1));
    assert_eq!(take_ran(), ["parse(a)", "parse(b)", "value(a)", "value(b)"]);
    lab.check("b", expect!["7; ran parse(b) value(b)"]).await;
}

#[tokio::test]
async fn sessions_of_one_process_at_once_compute_once() {
    let lab = Lab::new();
    for n in 0..30 {
        lab.set(&format!("c{n}"), &format!("{n} shared"));
    }
    lab.set("shared", "1");
    let sessions: Vec<_> = (0..8).map(|_| lab.session()).collect();
    let asked = sessions.into_iter().map(|session| {
        tokio::spawn(async move { *session.get(super::lab::Sum { pattern: "c*".to_owned() }).await.unwrap() })
    });
    for answer in asked.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap(), 29 * 30 / 2 + 30);
    }
    let ran = take_ran();
    let mut once = ran.clone();
    once.dedup();
    assert_eq!(ran, once);
    assert_eq!(ran.len(), 31 * 2 + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_on_several_threads_get_fresh_answers_while_all_is_invalidated_again_and_again() {
    let lab = Lab::new();
    for round in 1..=20i64 {
        for n in 0..20 {
            lab.set(&format!("c{n}"), &format!("shared {round} c{} c{}", n + 1, n + 3));
        }
        lab.set("shared", &format!("{round} %7"));
        let mut expected = [0; 24];
        (0..20).rev().for_each(|n| expected[n] = round % 7 + round + expected[n + 1] + expected[n + 3]);
        let mut asked = tokio::task::JoinSet::new();
        for session in [lab.session(), lab.session(), lab.session()] {
            for n in [0, 0, 5, 11] {
                let session = session.clone();
                let cell = format!("c{n}");
                asked.spawn(async move { (n, *session.get(Value { cell }).await.unwrap()) });
            }
        }
        while let Some(answer) = asked.join_next().await {
            let (n, value) = answer.unwrap();
            assert_eq!(value, expected[n], "c{n} in round {round}");
            lab.larder().invalidate(&Selector::all()).await;
        }
    }
}

static CHAIN_RUNS: AtomicU32 = AtomicU32::new(0);

#[derive(Serialize, Deserialize)]
struct Chain(u32);

impl Query for Chain {
    type Output = u64;
    type Error = std::convert::Infallible;
    const KIND: &'static str = "chain";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<u64, Self::Error> {
        CHAIN_RUNS.fetch_add(1, Ordering::Relaxed);
        let Some(next) = self.0.checked_sub(1) else {
            return Ok(cx.env("GROUND").map_or(0, |ground| ground.len() as u64));
        };
        Ok(cx.get(Self(next)).await.unwrap().value + 1)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_ten_thousand_queries_is_computed_verified_and_cancelled_without_a_deep_stack() {
    let lab = Lab::with(|settings| settings.disk.enabled = false);
    let queries = lab.queries.clone().with::<Chain>().unwrap();
    let ask = |ground: &str| {
        let mut outside = Outside::new(lab.path(""));
        outside.environment.insert("GROUND".into(), ground.into());
        let session = queries.session(outside);
        async move { *session.get(Chain(10_000)).await.unwrap() }
    };
    let runs = || CHAIN_RUNS.swap(0, Ordering::Relaxed);
    assert_eq!((ask("x").await, runs()), (10_001, 10_001));
    assert_eq!((ask("x").await, runs()), (10_001, 0));
    assert_eq!((ask("y").await, runs()), (10_001, 1));
    assert_eq!((ask("xx").await, runs()), (10_002, 10_001));
    let cancelled = tokio::time::timeout(Duration::from_millis(20), ask("xxx"));
    drop(cancelled.await);
    assert_eq!(ask("xxx").await, 10_003);
}

/// A node of a layered graph, which asks for three of the layer below.
#[derive(Serialize, Deserialize)]
struct Node {
    layer: u32,
    at: u32,
}

/// How many nodes a layer has.
const WIDTH: u32 = 40;

impl Query for Node {
    type Output = u64;
    type Error = std::convert::Infallible;
    const KIND: &'static str = "node";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<u64, Self::Error> {
        let Some(layer) = self.layer.checked_sub(1) else {
            return Ok(cx.env(&format!("V{}", self.at)).map_or(1, |value| value.len() as u64));
        };
        let below = [0, 1, 7].map(|step| Self { layer, at: (self.at + step) % WIDTH });
        Ok(cx.get_all(below).await.into_iter().flatten().map(|node| node.value % 1000).sum())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifying_a_graph_takes_one_look_up_a_query_however_many_ways_lead_to_it() {
    const LAYERS: u32 = 50;
    let lab = Lab::with(|settings| settings.disk.enabled = false);
    let queries = lab.queries.clone().with::<Node>().unwrap();
    let work = async |outside: &Outside| {
        let total = || lab.larder().stats().report().total.map_or((0, 0), |total| (total.hits, total.misses));
        let before = total();
        // Explained, so that all are verified although nothing outside has changed.
        let explanation =
            queries.session(outside.clone()).explain(Node { layer: LAYERS, at: 0 }).await.unwrap();
        let after = total();
        (explanation.queries.len() as u64, after.0 - before.0, after.1 - before.1)
    };
    let mut outside = Outside::new("/");
    let (nodes, hits, misses) = work(&outside).await;
    assert!(nodes > u64::from(WIDTH * (LAYERS - 10)) && nodes < u64::from(WIDTH * (LAYERS + 1)));
    assert_eq!((hits, misses), (0, nodes));
    assert_eq!(work(&outside).await, (nodes, nodes, 0));
    // Of another length by a thousand: only what looked at it is computed.
    outside.environment.insert("V3".into(), "x".repeat(1001).into());
    assert_eq!(work(&outside).await, (nodes, nodes - 4, 4));
}

#[tokio::test]
async fn why_is_told() {
    let lab = Lab::new();
    lab.set("a", "1").set("b", "a");
    let why = async || {
        let answer = lab.ask(Value { cell: "b".to_owned() }).await.unwrap();
        take_ran();
        (answer.why, answer.answer.origin)
    };
    let computed = |missed| (Arc::new(Why::Computed(missed)), Origin::Computed);
    let held = |trace| (Arc::new(Why::Held { trace }), Origin::Kept(Place::Memory));
    assert_eq!(why().await, computed(Missed::NothingKept));
    assert_eq!(why().await, held(0));
    lab.set("a", "2");
    let (why_now, _) = why().await;
    let Why::Computed(Missed::Differs(mismatches)) = &*why_now else { panic!("{why_now:?}") };
    let told: Vec<String> = mismatches.iter().map(ToString::to_string).collect();
    expect![[r#"
        [
            "query value@1/a2e590d35620 was ab13bedf42e8 and is 0c389a743e34",
        ]
    "#]]
    .assert_debug_eq(&told);
    lab.set("a", "1");
    assert_eq!(why().await, held(1));
    lab.larder().invalidate(&Selector::all().of_kind("value.value")).await;
    assert_eq!(why().await, computed(Missed::ValueGone));
}

#[tokio::test]
async fn each_query_counts_once_a_session() {
    let lab = Lab::new();
    lab.set("a", "1").set("b", "a a");
    let counted = async |expected: (u64, u64)| {
        lab.ask(Value { cell: "b".to_owned() }).await.unwrap();
        let total = lab.larder().stats().report().total.unwrap();
        assert_eq!((total.hits, total.misses), expected);
    };
    counted((0, 4)).await;
    counted((4, 4)).await;
    // The value of `a` is computed, that of `b` is as before.
    lab.set("a", "01");
    counted((6, 6)).await;
}

thread_local! {
    static CLOCK: Clock = Clock::manual(Timestamp::from_millis(1_000_000));
}

/// Takes some seconds, and what it asks for takes some more.
#[derive(Serialize, Deserialize)]
struct Slow(Vec<u64>);

impl Query for Slow {
    type Output = ();
    type Error = std::convert::Infallible;
    const KIND: &'static str = "slow";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<(), Self::Error> {
        CLOCK.with(|clock| clock.advance(Duration::from_secs(self.0[0])));
        if self.0.len() > 1 {
            cx.get(Self(self.0[1..].to_vec())).await.unwrap();
            cx.get_all([Self(vec![8]), Self(vec![16])]).await;
        }
        CLOCK.with(|clock| clock.advance(Duration::from_secs(self.0[0])));
        Ok(())
    }
}

#[tokio::test]
async fn what_an_answer_cost_is_what_computing_it_alone_took() {
    let clock = CLOCK.with(Clone::clone);
    let stats = Stats::new(StatsOptions::default(), clock.clone());
    let larder = Larder::new(LarderOptions::new(clock, stats));
    let queries = Queries::new(&larder, &Scope::new("lab").unwrap()).with::<Slow>().unwrap();
    let answer = queries.session(Outside::new("/")).get(Slow(vec![1, 2, 4])).await.unwrap();
    assert_eq!(answer.answer.entry.record.cost, Duration::from_secs(2));
}
