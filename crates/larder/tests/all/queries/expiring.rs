//! Answers that grow old, computations that take too long, and queries that are asked for together.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use larder::engine::{Context, Expiry, Freshness, Queries, Query, QueryError};
use larder::query::{Missed, Why};
use serde::{Deserialize, Serialize};

use super::lab::{CellError, Lab, Value, ran, take_ran};

thread_local! {
    /// What a thermometer shows: nothing that a computation could observe.
    static DEGREES: Cell<i64> = const { Cell::new(0) };
}

/// What the thermometer shows.
#[derive(Serialize, Deserialize)]
struct Degrees;

impl Query for Degrees {
    type Output = i64;
    type Error = std::convert::Infallible;
    const KIND: &'static str = "degrees";
    const VERSION: u32 = 1;
    const EXPIRY: Option<Expiry> =
        Some(Expiry { fresh: Duration::from_secs(10), stale: Duration::from_secs(60) });

    async fn compute(&self, _: &Context) -> Result<i64, Self::Error> {
        ran("degrees".to_owned());
        Ok(DEGREES.get())
    }
}

/// Whether it is warm.
#[derive(Serialize, Deserialize)]
struct Warm;

impl Query for Warm {
    type Output = bool;
    type Error = std::convert::Infallible;
    const KIND: &'static str = "warm";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<bool, Self::Error> {
        ran("warm".to_owned());
        Ok(cx.get(Degrees).await.is_ok_and(|degrees| degrees.value > 15))
    }
}

fn queries(lab: &Lab) -> Queries {
    lab.queries.clone().with::<Degrees>().unwrap().with::<Warm>().unwrap()
}

/// Asks in a new session: the answer, whether it is as good as new, and what ran for it.
async fn ask(lab: &Lab) -> (i64, Freshness, Vec<String>) {
    let answer = queries(lab).session(lab.outside.clone()).get(Degrees).await.unwrap();
    (*answer, answer.answer.freshness, take_ran())
}

/// Lets a refresh go on until its answer is given.
async fn until_fresh(lab: &Lab) -> i64 {
    loop {
        let answer = queries(lab).session(lab.outside.clone()).get(Degrees).await.unwrap();
        if answer.answer.freshness == Freshness::Fresh {
            return *answer;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_is_fresh_then_given_while_it_is_refreshed_and_then_too_old() {
    let mut lab = Lab::settled();
    let ran_once = vec!["degrees".to_owned()];
    DEGREES.set(1);
    assert_eq!(ask(&lab).await, (1, Freshness::Fresh, ran_once.clone()));
    DEGREES.set(2);
    lab.clock.advance(Duration::from_secs(9));
    assert_eq!(ask(&lab).await, (1, Freshness::Fresh, vec![]));
    lab.restart().await;
    assert_eq!(ask(&lab).await, (1, Freshness::Fresh, vec![]));
    lab.clock.advance(Duration::from_secs(2));
    let (given, freshness, mut ran) = ask(&lab).await;
    assert_eq!((given, freshness), (1, Freshness::Stale));
    assert_eq!(until_fresh(&lab).await, 2);
    ran.extend(take_ran());
    assert_eq!(ran, ran_once, "one refresh, however often it was asked for");
    DEGREES.set(3);
    lab.clock.advance(Duration::from_secs(61));
    assert_eq!(ask(&lab).await, (3, Freshness::Fresh, ran_once.clone()));
    DEGREES.set(4);
    // A clock that was stepped back tells no age.
    lab.clock.step_wall(larder::clock::Timestamp::from_millis(1_000));
    let session = queries(&lab).session(lab.outside.clone());
    let answer = session.get(Degrees).await.unwrap();
    assert_eq!((*answer, &*answer.why), (4, &Why::Computed(Missed::Expired)));
    let explanation = session.explain(Degrees).await.unwrap().to_string();
    assert_eq!(explanation, "degrees: computed: what was kept is too old\n");
}

#[tokio::test]
async fn what_is_built_on_an_answer_that_grew_old_is_computed_only_if_that_is_another_now() {
    let lab = Lab::settled();
    let ask = async || {
        let warm = *queries(&lab).session(lab.outside.clone()).get(Warm).await.unwrap();
        (warm, take_ran().join(" "))
    };
    DEGREES.set(20);
    assert_eq!(ask().await, (true, "degrees warm".to_owned()));
    lab.clock.advance(Duration::from_secs(100));
    assert_eq!(ask().await, (true, "degrees".to_owned()));
    DEGREES.set(10);
    lab.clock.advance(Duration::from_secs(100));
    assert_eq!(ask().await, (false, "degrees warm".to_owned()));
}

/// Whether one would like to be outside.
#[derive(Serialize, Deserialize)]
struct Pleasant(bool);

impl Query for Pleasant {
    type Output = bool;
    type Error = std::convert::Infallible;
    const KIND: &'static str = "pleasant";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<bool, Self::Error> {
        Ok(cx.get(Warm).await.is_ok_and(|warm| warm.value) && self.0)
    }
}

#[tokio::test]
async fn what_is_built_on_a_stale_answer_is_as_stale() {
    let lab = Lab::settled();
    let queries = queries(&lab).with::<Pleasant>().unwrap();
    let ask = async |pleasant: Pleasant| {
        let session = queries.session(lab.outside.clone());
        let answer = session.get(pleasant).await.unwrap();
        let again = session.get(Warm).await.unwrap();
        assert_eq!(answer.answer.freshness, again.answer.freshness);
        (*answer, answer.answer.freshness)
    };
    DEGREES.set(20);
    assert_eq!(ask(Pleasant(true)).await, (true, Freshness::Fresh));
    DEGREES.set(10);
    lab.clock.advance(Duration::from_secs(11));
    // One that is kept, and one that is computed now; through another in between.
    assert_eq!(ask(Pleasant(true)).await, (true, Freshness::Stale));
    until_fresh(&lab).await;
    assert_eq!(ask(Pleasant(true)).await, (false, Freshness::Fresh));
    lab.clock.advance(Duration::from_secs(11));
    assert_eq!(ask(Pleasant(false)).await, (false, Freshness::Stale));
    until_fresh(&lab).await;
    assert_eq!(ask(Pleasant(false)).await, (false, Freshness::Fresh));
    take_ran();
}

/// Never ends, unless it is told to.
#[derive(Serialize, Deserialize)]
struct Endless(bool);

impl Query for Endless {
    type Output = ();
    type Error = std::convert::Infallible;
    const KIND: &'static str = "endless";
    const VERSION: u32 = 1;
    const TIME_LIMIT: Option<Duration> = Some(Duration::from_secs(30));

    async fn compute(&self, cx: &Context) -> Result<(), Self::Error> {
        ran(format!("endless({})", self.0));
        if self.0 {
            std::future::pending::<()>().await;
        }
        drop(cx.get(Self(true)).await);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_computation_that_takes_too_long_is_cancelled_and_nothing_of_it_is_kept() {
    let lab = Lab::with(|settings| settings.disk.enabled = false);
    let queries = lab.queries.clone().with::<Endless>().unwrap();
    for _ in 0..2 {
        let session = queries.session(lab.outside.clone());
        let error = session.get(Endless(true)).await.unwrap_err();
        assert!(matches!(error, QueryError::TimedOut(limit) if limit == Duration::from_secs(30)));
        assert_eq!(error.to_string(), "computation took longer than 30s");
        assert_eq!(take_ran(), ["endless(true)"]);
    }
    let computations = lab.larder().stats().report().total.unwrap().computations;
    assert_eq!(computations, [(larder::stats::Computed::TimedOut, 2)].into());
}

/// The sum of some cells, asked for together, after one that says how many.
#[derive(Serialize, Deserialize)]
struct Together;

impl Query for Together {
    type Output = i64;
    type Error = CellError;
    const KIND: &'static str = "together";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<i64, CellError> {
        ran("together".to_owned());
        let value = |cell: String| Value { cell };
        let count = cx.get(value("count".to_owned())).await.map_or(0, |count| count.value);
        let cells = cx.get_all((0..count).map(|n| value(format!("c{n}")))).await;
        Ok(cells.into_iter().flatten().map(|cell| cell.value).sum())
    }
}

#[tokio::test]
async fn queries_that_are_asked_for_together_are_verified_together_and_none_that_would_not_be_asked() {
    let mut lab = Lab::new();
    for n in 0..300 {
        lab.set(&format!("c{n}"), "shared");
    }
    lab.set("shared", "1").set("count", "300");
    let ask = async |lab: &Lab| {
        let queries = lab.queries.clone().with::<Together>().unwrap();
        let session = queries.session(lab.outside.clone());
        let answer = session.get(Together).await.unwrap();
        (*answer, take_ran(), Arc::clone(&answer.why))
    };
    assert_eq!(ask(&lab).await.1.len(), 1 + 2 * 302);
    lab.restart().await;
    // Each of them is computed, as the sum would ask for all of them anyway.
    lab.set("c7", "shared 1").set("c200", "bad!");
    let (sum, ran, _) = ask(&lab).await;
    assert_eq!(
        (sum, ran.join(" ")),
        (300, "parse(c200) parse(c7) together value(c200) value(c7)".to_owned())
    );
    // As many as before are not asked for any more: none of those is computed.
    lab.set("count", "2").set("c200", "1").set("c7", "5").set("c1", "shared 1");
    let (sum, ran, why) = ask(&lab).await;
    assert_eq!(ran.join(" "), "parse(c1) parse(count) together value(c1) value(count)");
    assert_eq!((sum, matches!(&*why, Why::Computed(Missed::Differs(_)))), (3, true));
}
