//! What fails, changes, circles, panics or goes away.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use expect_test::expect;
use larder::config::Mode;
use larder::engine::{
    AskError, Context, Kept, Kind, KindOptions, LookError, NotKept, Query, QueryError, RegisterError, Session,
};
use larder::key::{Scope, Selector};
use larder::query::{Missed, Why};
use larder::stats::{Place, RefusalCause};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::lab::{CellError, Lab, Value, outcome, ran, take_ran, words};

thread_local! {
    /// Where the cells of the test are.
    static ROOT: RefCell<PathBuf> = RefCell::default();
}

/// Reads a file and then changes it, as if somebody else did.
#[derive(Serialize, Deserialize)]
struct Meddle {
    file: String,
    then: String,
}

impl Query for Meddle {
    type Output = String;
    type Error = LookError;
    const KIND: &'static str = "meddle";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<String, LookError> {
        ran("meddle".to_owned());
        let content = cx.read(&self.file).await?.unwrap_or_default();
        std::fs::write(ROOT.with_borrow(|root| root.join(&self.file)), &self.then).unwrap();
        Ok(String::from_utf8_lossy(&content).into_owned())
    }
}

/// Is built on a [`Meddle`].
#[derive(Serialize, Deserialize)]
struct Above(Meddle);

impl Query for Above {
    type Output = usize;
    type Error = LookError;
    const KIND: &'static str = "above";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<usize, LookError> {
        ran("above".to_owned());
        let below = Meddle { file: self.0.file.clone(), then: self.0.then.clone() };
        Ok(cx.get(below).await.unwrap().len())
    }
}

#[tokio::test]
async fn a_source_that_changes_meanwhile_gives_an_answer_that_is_not_kept_and_nothing_built_on_it_is() {
    let lab = Lab::new();
    let queries = lab.queries.clone().with::<Meddle>().unwrap().with::<Above>().unwrap();
    ROOT.set(lab.path(""));
    let ask = async |then: &str| {
        let meddle = Meddle { file: "f".to_owned(), then: then.to_owned() };
        let answer = queries.session(lab.outside.clone()).get(Above(meddle)).await.unwrap();
        let kept = match &answer.answer.kept {
            Kept::Yes => "kept".to_owned(),
            Kept::No(NotKept::Unsteady(why)) => format!("not kept: {why}"),
            other => format!("{other:?}"),
        };
        format!("{}, {kept}; ran {}", *answer, take_ran().join(" "))
    };
    lab.set("f", "1");
    expect!["1, not kept: it is built on query meddle@1/1ad151a1cddb, which is not kept; ran above meddle"]
        .assert_eq(&ask("12").await);
    // The file is as the computation leaves it, but what was returned above was for what it was before.
    expect!["2, kept; ran above meddle"].assert_eq(&ask("12").await);
    expect!["2, kept; ran "].assert_eq(&ask("12").await);
    lab.set("f", "1");
    expect!["1, not kept: it is built on query meddle@1/1ad151a1cddb, which is not kept; ran above meddle"]
        .assert_eq(&ask("12").await);
    let total = lab.larder().stats().report().total.unwrap();
    assert_eq!(total.tiers[&Place::Memory].refusals, [(RefusalCause::InputsChanged, 2)].into());
}

#[tokio::test]
async fn an_answer_that_would_mix_two_states_of_a_file_is_not_kept() {
    let lab = Lab::new();
    lab.set("f", "1");
    let session = lab.queries.clone().with::<Or0>().unwrap().session(lab.outside.clone());
    assert_eq!(*session.get(Value { cell: "f".to_owned() }).await.unwrap(), 1);
    lab.set("f", "2");
    // The session has a fingerprint of the file, but nobody holds the content any more.
    let key = lab.queries.key_of(&super::lab::Parse { cell: "f".to_owned() }).unwrap();
    lab.larder().invalidate(&Selector::key(&key)).await;
    let answer = session.get(super::lab::Parse { cell: "f".to_owned() }).await.unwrap();
    let Kept::No(NotKept::Unsteady(why)) = &answer.answer.kept else { panic!("{:?}", answer.answer.kept) };
    expect!["while it was computed, file f was d63bd9a826af and is 813e9b729141"].assert_eq(&why.to_string());
    assert_eq!(**answer, ["2"]);
}

#[tokio::test]
async fn errors_are_not_kept_and_run_once_a_session() {
    let lab = Lab::new();
    lab.set("a", "b c").set("b", "1").set("c", "x!").set("d", "c c");
    lab.check("a", expect![[r#"computation failed: cell c failed: computation failed: cell c has a token "x!"; ran parse(a) parse(b) parse(c) value(a) value(b) value(c)"#]]).await;
    lab.check("a", expect![[r#"computation failed: cell c failed: computation failed: cell c has a token "x!"; ran value(a) value(c)"#]]).await;
    let session = lab.session();
    for cell in ["d", "a", "c"] {
        session.get(Value { cell: cell.to_owned() }).await.unwrap_err();
    }
    assert_eq!(take_ran(), ["parse(d)", "value(a)", "value(c)", "value(d)"]);
    lab.set("c", "2");
    lab.check("a", expect!["3; ran parse(c) value(a) value(c)"]).await;
}

/// Survives a failure of what it asks for.
#[derive(Serialize, Deserialize)]
struct Or0 {
    cell: String,
}

impl Query for Or0 {
    type Output = i64;
    type Error = CellError;
    const KIND: &'static str = "or0";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<i64, CellError> {
        ran("or0".to_owned());
        Ok(cx.get(Value { cell: self.cell.clone() }).await.map_or(0, |value| value.value))
    }
}

#[tokio::test]
async fn an_answer_that_survived_an_error_is_not_kept() {
    let lab = Lab::new();
    let queries = lab.queries.clone().with::<Or0>().unwrap();
    let ask = async || {
        let session = queries.session(lab.outside.clone());
        outcome(session.get(Or0 { cell: "a".to_owned() }).await)
    };
    lab.set("a", "x!");
    assert_eq!(ask().await, "0; ran or0 parse(a) value(a)");
    assert_eq!(ask().await, "0; ran or0 value(a)");
    lab.set("a", "7");
    assert_eq!(ask().await, "7; ran or0 parse(a) value(a)");
    assert_eq!(ask().await, "7; ran nothing");
    lab.set("a", "x!");
    assert_eq!(ask().await, "0; ran or0 value(a)");
}

#[tokio::test]
async fn a_circle_is_an_error_with_its_path_also_where_it_comes_about_later() {
    let lab = Lab::new();
    lab.set("a", "b").set("b", "c").set("c", "1");
    lab.check("a", expect!["1; ran parse(a) parse(b) parse(c) value(a) value(b) value(c)"]).await;
    lab.set("c", "a");
    let error = lab.ask(Value { cell: "a".to_owned() }).await.unwrap_err();
    let key = |cell: &str| lab.queries.key_of(&Value { cell: cell.to_owned() }).unwrap();
    let circle = ["a", "b", "c", "a"].map(|cell| key(cell).to_string()).join(" -> ");
    assert!(words(&error).ends_with(&format!("waits for itself: {circle}")), "{}", words(&error));
    take_ran();
    lab.set("c", "1");
    lab.check("a", expect!["1; ran nothing"]).await;
    lab.set("a", "a");
    let error = words(&lab.ask(Value { cell: "a".to_owned() }).await.unwrap_err());
    assert!(error.ends_with(&format!("waits for itself: {0} -> {0}", key("a"))), "{error}");
}

#[tokio::test]
async fn a_kind_that_is_not_registered_is_a_mismatch_below_and_an_error_above() {
    let mut lab = Lab::new();
    lab.set("a", "1");
    lab.check_sum("a", expect!["1; ran parse(a) sum value(a)"]).await;
    lab.restart().await;
    let scope = Scope::new("lab").unwrap();
    let queries = larder::engine::Queries::new(lab.larder(), &scope).with::<super::lab::Sum>().unwrap();
    let session = queries.session(lab.outside.clone());
    let error = session.get(super::lab::Sum { pattern: "a".to_owned() }).await.unwrap_err();
    assert_eq!(
        words(&error),
        "computation failed: cell of the sum failed: query kind value is not registered"
    );
    assert_eq!(take_ran(), ["sum"]);
    lab.check_sum("a", expect!["1; ran nothing"]).await;
}

/// Has the name and version of another kind.
#[derive(Serialize, Deserialize)]
struct Impostor;

impl Query for Impostor {
    type Output = ();
    type Error = LookError;
    const KIND: &'static str = "value";
    const VERSION: u32 = 1;

    async fn compute(&self, _: &Context) -> Result<(), LookError> {
        Ok(())
    }
}

#[tokio::test]
async fn two_types_of_one_name_and_parameters_without_a_form_are_refused() {
    let lab = Lab::new();
    let refused = lab.queries.clone().with::<Impostor>().unwrap_err();
    assert!(matches!(refused, RegisterError::Taken(_)), "{refused}");
    assert_eq!(refused.to_string(), "query kind value@1 is registered twice, with two types");
    let error = lab.ask(Impostor).await.unwrap_err();
    assert_eq!(error.to_string(), "query kind value is not registered");
    for path in ["/etc/passwd", "../x"] {
        let error = words(&lab.ask(Value { cell: path.to_owned() }).await.unwrap_err());
        assert!(error.contains("must be relative to the root or begin with"), "{error}");
    }
}

static PANICS: AtomicU32 = AtomicU32::new(0);

/// Panics the first time.
#[derive(Serialize, Deserialize)]
struct Shaky;

impl Query for Shaky {
    type Output = u32;
    type Error = LookError;
    const KIND: &'static str = "shaky";
    const VERSION: u32 = 1;

    async fn compute(&self, _: &Context) -> Result<u32, LookError> {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let before = PANICS.fetch_add(1, Ordering::SeqCst);
        assert!(before > 0, "as the test wants");
        Ok(before)
    }
}

#[tokio::test]
async fn a_panic_reaches_who_asked_and_whoever_waited_takes_over() {
    let lab = Lab::new();
    let session = lab.queries.clone().with::<Shaky>().unwrap().session(lab.outside.clone());
    let ask = || {
        let session = session.clone();
        tokio::spawn(async move { session.get(Shaky).await.map(|answer| *answer).unwrap() })
    };
    let (first, second) = (ask(), ask());
    let panic = first.await.unwrap_err();
    assert_eq!(*panic.into_panic().downcast::<&str>().unwrap(), "as the test wants");
    assert_eq!(second.await.unwrap(), 1);
}

static GATE: Semaphore = Semaphore::const_new(0);

/// Waits at a gate.
#[derive(Serialize, Deserialize)]
struct Gated {
    cell: String,
}

impl Query for Gated {
    type Output = i64;
    type Error = CellError;
    const KIND: &'static str = "gated";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<i64, CellError> {
        let value = cx.get(Value { cell: self.cell.clone() }).await.unwrap().value;
        ran("gated".to_owned());
        GATE.acquire().await.unwrap().forget();
        Ok(value)
    }
}

/// Lets all other tasks go on until so much has run.
async fn until_ran(count: usize) -> Vec<String> {
    let mut ran = Vec::new();
    while ran.len() < count {
        tokio::task::yield_now().await;
        ran.append(&mut take_ran());
    }
    ran.sort_unstable();
    ran
}

/// Lets all other tasks go on for a while.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
        tokio::task::spawn_blocking(|| {}).await.unwrap();
    }
}

#[tokio::test]
async fn cancelling_wakes_who_waits_and_an_invalidation_overtakes_what_is_under_way() {
    let lab = Lab::new();
    lab.set("a", "1");
    let queries = lab.queries.clone().with::<Gated>().unwrap();
    let session = queries.session(lab.outside.clone());
    let ask = |session: &Session| {
        let session = session.clone();
        tokio::spawn(async move { session.get(Gated { cell: "a".to_owned() }).await.unwrap() })
    };
    let (first, second) = (ask(&session), ask(&session));
    assert_eq!(until_ran(3).await, ["gated", "parse(a)", "value(a)"]);
    first.abort();
    assert_eq!(until_ran(1).await, ["gated"], "the other took over");

    let key = queries.key_of(&Gated { cell: "a".to_owned() }).unwrap();
    lab.larder().invalidate(&Selector::key(&key)).await;
    let third = ask(&session);
    // Who asks after an invalidation does not wait for what began before.
    assert_eq!(until_ran(1).await, ["gated"]);
    GATE.add_permits(2);
    let kept = [second.await.unwrap().answer.kept, third.await.unwrap().answer.kept];
    assert_eq!(kept, [Kept::No(NotKept::Revoked), Kept::Yes]);
    assert!(ask(&session).await.is_ok() && ask(&queries.session(lab.outside.clone())).await.is_ok());
    assert!(take_ran().is_empty());

    lab.larder().invalidate(&Selector::all()).await;
    GATE.add_permits(1);
    let why = ask(&queries.session(lab.outside.clone())).await.unwrap().why;
    assert_eq!((why, take_ran().len()), (Arc::new(Why::Computed(Missed::NothingKept)), 3));
}

/// Asks a kind of the engine, which asks a query in turn.
#[derive(Serialize, Deserialize)]
struct Outer;

thread_local! {
    static WITHIN: RefCell<Option<(Kind<i64>, Session)>> = const { RefCell::new(None) };
}

impl Query for Outer {
    type Output = i64;
    type Error = AskError<QueryError<CellError>>;
    const KIND: &'static str = "outer";
    const VERSION: u32 = 1;

    async fn compute(&self, _: &Context) -> Result<i64, Self::Error> {
        let (kind, session) = WITHIN.with_borrow(Clone::clone).unwrap();
        let compute = || async move { Ok((*session.get(Value { cell: "a".to_owned() }).await?).into()) };
        Ok(*kind.get_or_compute(&kind.key("inner").unwrap(), compute).await?)
    }
}

#[tokio::test]
async fn queries_and_other_computations_of_an_engine_may_ask_for_each_other() {
    let lab = Lab::new();
    lab.set("a", "b").set("b", "5");
    let kind = lab.larder().kind(&Scope::new("lab").unwrap(), "inner", 1, KindOptions::default()).unwrap();
    let session = lab.queries.clone().with::<Outer>().unwrap().session(lab.outside.clone());
    WITHIN.set(Some((kind, session.clone())));
    assert_eq!(*session.get(Outer).await.unwrap(), 5);
}

static DOORS: [Semaphore; 2] = [const { Semaphore::const_new(0) }; 2];

/// Asks for the other one of its kind, or not, as the session's variable says.
#[derive(Serialize, Deserialize)]
struct Side(usize);

impl Query for Side {
    type Output = u32;
    type Error = std::io::Error;
    const KIND: &'static str = "side";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<u32, Self::Error> {
        ran(format!("side({})", self.0));
        if cx.env("ASKS").is_none_or(|asks| asks != self.0.to_string().as_str()) {
            return Ok(self.0 as u32 * 10);
        }
        DOORS[self.0].acquire().await.unwrap().forget();
        let other = cx.get(Self(1 - self.0)).await.map_err(std::io::Error::other)?;
        Ok(other.value + 1)
    }
}

/// Each session waits for what the other computes, in a circle that neither of their views has.
#[tokio::test]
async fn a_circle_through_two_sessions_is_none() {
    let mut lab = Lab::new();
    let queries = lab.queries.clone().with::<Side>().unwrap();
    let [zero, one] = ["0", "1"].map(|asks| queries.session(lab.export("ASKS", asks).outside.clone()));
    let ask = |session: &Session, side| {
        let session = session.clone();
        tokio::spawn(async move { *session.get(Side(side)).await.unwrap() })
    };
    let of_one = ask(&one, 1);
    settle().await;
    // Waits for the other session's.
    let of_zero = ask(&zero, 1);
    let above = ask(&zero, 0);
    settle().await;
    DOORS[1].add_permits(1);
    // Now `one` waits for the 0 of `zero`.
    settle().await;
    DOORS[0].add_permits(1);
    assert_eq!((of_one.await.unwrap(), of_zero.await.unwrap(), above.await.unwrap()), (1, 10, 11));
}

#[tokio::test]
async fn switches_change_no_answer() {
    let check = async |configure: fn(&mut larder::config::Settings), again: &str, after_restart: &str| {
        let mut lab = Lab::with(configure);
        lab.set("a", "1").set("b", "a a c").set("c", "a");
        let ask = async |lab: &Lab| outcome(lab.ask(Value { cell: "b".to_owned() }).await);
        let all = "3; ran parse(a) parse(b) parse(c) value(a) value(b) value(c)";
        assert_eq!(ask(&lab).await, all, "once a session, whatever is kept");
        lab.close().await;
        assert_eq!(ask(&lab).await, again.replace("all", all));
        lab.restart().await;
        assert_eq!(ask(&lab).await, after_restart.replace("all", all));
    };
    let nothing = "3; ran nothing";
    check(|_| {}, nothing, nothing).await;
    check(|settings| settings.memory.enabled = false, nothing, nothing).await;
    check(|settings| settings.disk.enabled = false, nothing, "all").await;
    check(|settings| settings.mode = Mode::Read, "all", "all").await;
    check(|settings| settings.mode = Mode::Write, "all", "all").await;
    check(|settings| settings.mode = Mode::Off, "all", "all").await;
}

#[tokio::test]
async fn a_session_settles_anew_what_was_invalidated_and_only_that() {
    let lab = Lab::new();
    lab.set("a", "b").set("b", "1");
    let session = lab.session();
    let ask = || session.get(Value { cell: "a".to_owned() });
    ask().await.unwrap();
    assert_eq!(take_ran().len(), 4);
    let key = lab.queries.key_of(&Value { cell: "a".to_owned() }).unwrap();
    lab.larder().invalidate(&Selector::key(&key)).await;
    ask().await.unwrap();
    assert_eq!(take_ran(), ["value(a)"]);
}

#[tokio::test]
async fn a_soft_invalidation_has_the_answer_computed_anew() {
    let lab = Lab::new();
    lab.set("a", "1");
    lab.check("a", expect!["1; ran parse(a) value(a)"]).await;
    let key = lab.queries.key_of(&Value { cell: "a".to_owned() }).unwrap();
    lab.larder().invalidate_softly(&Selector::key(&key)).await;
    lab.check("a", expect!["1; ran value(a)"]).await;
}

#[tokio::test]
async fn parameters_without_a_canonical_form_are_an_error() {
    /// Can't be serialized.
    #[derive(Deserialize)]
    struct Formless;
    impl Serialize for Formless {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no form"))
        }
    }
    impl Query for Formless {
        type Output = ();
        type Error = LookError;
        const KIND: &'static str = "formless";
        const VERSION: u32 = 1;
        async fn compute(&self, _: &Context) -> Result<(), LookError> {
            Ok(())
        }
    }
    let lab = Lab::new();
    let session = lab.queries.clone().with::<Formless>().unwrap().session(lab.outside.clone());
    let error = session.get(Formless).await.unwrap_err();
    assert!(matches!(error, QueryError::Params(_)));
    assert_eq!(words(&error), "query parameters have no canonical form: value can't be serialized: no form");
}
