//! Answers that are given by what they rest on in the end, without asking the queries between.

use std::sync::Arc;

use larder::config::Mode;
use larder::engine::{Context, Queries, Query};
use larder::key::{Scope, Selector};
use larder::query::Why;

use serde::{Deserialize, Serialize};

use super::lab::{CellError, Lab, Parse, Sum, Value, take_ran};

/// A sum over so many cells that its answer has a ground.
fn sheet() -> Lab {
    let lab = Lab::settled();
    for n in 0..20 {
        lab.set(&format!("c{n}"), "shared 1");
    }
    lab.set("shared", "$X 1");
    lab
}

/// The sum, how many computations ran for it, and whether it was given by its ground.
async fn sum(lab: &Lab) -> (i64, usize, bool) {
    let answer = lab.ask(Sum { pattern: "c*".to_owned() }).await.unwrap();
    (*answer, take_ran().len(), *answer.why == Why::Unchanged)
}

#[tokio::test]
async fn where_nothing_outside_has_changed_no_query_below_is_asked() {
    let mut lab = sheet();
    assert_eq!(sum(&lab).await, (40, 43, false));
    assert_eq!(sum(&lab).await, (40, 0, true));
    lab.restart().await;
    let before = lab.larder().stats().report().total.unwrap();
    assert_eq!(sum(&lab).await, (40, 0, true));
    let total = lab.larder().stats().report().total.unwrap();
    assert_eq!((total.hits - before.hits, total.misses - before.misses), (1, 0));
}

/// A sum and a cell beside it.
#[derive(Serialize, Deserialize)]
struct Both;

impl Query for Both {
    type Output = i64;
    type Error = CellError;
    const KIND: &'static str = "both";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<i64, CellError> {
        let beside = cx.get(Parse { cell: "beside".to_owned() }).await?;
        let sum = cx.get(Sum { pattern: "c*".to_owned() }).await;
        let sum = sum.map_err(|error| CellError::Cell("of the sum".to_owned(), Box::new(error)))?;
        Ok(sum.value + beside.len() as i64)
    }
}

#[tokio::test]
async fn a_query_whose_type_wants_it_has_a_ground_for_other_queries_too() {
    let mut lab = sheet();
    lab.queries = lab.queries.clone().with::<Both>().unwrap();
    let ask = async |lab: &Lab| {
        let before = lab.larder().stats().report().total.unwrap();
        let answer = *lab.session().get(Both).await.unwrap();
        let total = lab.larder().stats().report().total.unwrap();
        (answer, take_ran().len(), total.requests - before.requests)
    };
    assert_eq!(ask(&lab).await.0, 40);
    lab.set("beside", "1");
    // What is asked: both, the cell beside, and the sum; nothing below that.
    assert_eq!(ask(&lab).await, (41, 1, 3));
    lab.set("beside", "2");
    assert_eq!(ask(&lab).await, (41, 1, 3));
    lab.set("c3", "shared 2");
    assert_eq!(ask(&lab).await.0, 42);
    lab.restart().await;
    lab.queries = lab.queries.clone().with::<Both>().unwrap();
    lab.set("beside", "1 2");
    assert_eq!(ask(&lab).await, (43, 1, 3));
}

#[tokio::test]
async fn whatever_any_query_below_has_observed_counts() {
    let mut lab = sheet();
    sum(&lab).await;
    lab.export("X", "1");
    assert_eq!(sum(&lab).await, (60, 22, false));
    assert_eq!(sum(&lab).await, (60, 0, true));
    lab.set("c7", "shared 2");
    assert_eq!(sum(&lab).await, (61, 3, false));
    lab.set("c99", "1");
    assert_eq!(sum(&lab).await, (62, 3, false));
    lab.remove("c99").set("c7", "shared 1");
    assert_eq!(sum(&lab).await, (60, 0, false), "an older answer, found by the traces");
    assert_eq!(sum(&lab).await, (60, 0, true));
}

#[tokio::test]
async fn after_an_invalidation_of_anything_the_queries_below_are_asked() {
    let mut lab = sheet();
    sum(&lab).await;
    let parse = lab.queries.key_of(&Parse { cell: "shared".to_owned() }).unwrap();
    lab.larder().invalidate(&Selector::key(&parse)).await;
    assert_eq!(sum(&lab).await, (40, 1, false));
    assert_eq!(sum(&lab).await, (40, 0, true));
    lab.larder().invalidate_softly(&Selector::key(&parse)).await;
    assert_eq!(sum(&lab).await, (40, 1, false));
    // Another process, of which this one has not heard.
    lab.close().await;
    let other = lab.other_process();
    other.larder.invalidate(&Selector::key(&parse)).await;
    other.close().await;
    lab.restart().await;
    assert_eq!(sum(&lab).await, (40, 1, false));
    lab.restart().await;
    assert_eq!(sum(&lab).await, (40, 0, true));
}

#[tokio::test]
async fn a_kind_below_that_is_not_registered_any_more_has_the_answer_computed_anew() {
    let lab = sheet();
    sum(&lab).await;
    let queries = Queries::new(lab.larder(), &Scope::new("lab").unwrap());
    let queries = queries.with::<Sum>().unwrap().with::<Value>().unwrap();
    let session = queries.session(lab.outside.clone());
    session.get(Sum { pattern: "c*".to_owned() }).await.unwrap_err();
    assert!(!take_ran().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_built_on_one_with_a_ground_gets_one_too() {
    let lab = sheet();
    sum(&lab).await;
    for n in 0..20 {
        lab.set(&format!("d{n}"), "c1");
    }
    let session = lab.session();
    assert_eq!(*session.get(Sum { pattern: "c*".to_owned() }).await.unwrap().why, Why::Unchanged);
    let ask = async |pattern: &str| {
        let answer = lab.ask(Sum { pattern: pattern.to_owned() }).await.unwrap();
        (*answer, Arc::clone(&answer.why))
    };
    assert_eq!(ask("{c,d}*").await.0, 80);
    assert_eq!(ask("{c,d}*").await, (80, Arc::new(Why::Unchanged)));
    lab.set("shared", "2");
    assert_eq!(ask("{c,d}*").await.0, 120);
}

#[tokio::test]
async fn a_ground_is_laid_once_a_session() {
    let lab = sheet();
    let session = lab.session();
    let puts = || {
        let series = lab.larder().stats().report().series;
        let grounds = series.iter().find(|series| series.kind == "query.ground@1");
        grounds.map_or(0, |grounds| grounds.figures.tiers[&larder::stats::Place::Memory].puts)
    };
    for _ in 0..3 {
        session.get(Sum { pattern: "c*".to_owned() }).await.unwrap();
        assert_eq!(puts(), 1);
    }
}

#[tokio::test]
async fn switched_off_nothing_is_given_by_its_ground() {
    for mode in [Mode::Off, Mode::Write] {
        let lab = Lab::with(match mode {
            Mode::Off => |settings| settings.mode = Mode::Off,
            _ => |settings| settings.mode = Mode::Write,
        });
        for n in 0..20 {
            lab.set(&format!("c{n}"), "1");
        }
        for _ in 0..2 {
            assert_eq!(sum(&lab).await, (20, 41, false));
        }
    }
}
