//! What an explanation tells, as text and as JSON.

use expect_test::{Expect, expect};
use larder::engine::{Context, Outside, Query, Session};
use larder::key::Selector;
use larder::query::{ExplainedOutcome, Explanation};
use serde::{Deserialize, Serialize};

use super::lab::{Lab, Sum, Value, take_ran};

async fn explain(session: &Session, cell: &str) -> Explanation {
    session.explain(Value { cell: cell.to_owned() }).await.unwrap()
}

/// Explains a cell in a new session. The explanation reads back from JSON as it was.
async fn check(lab: &Lab, cell: &str, expected: Expect) {
    let explanation = explain(&lab.session(), cell).await;
    let json = serde_json::to_string(&explanation).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), explanation);
    assert_eq!(explanation.computed(), take_ran().len(), "what is said to be computed was");
    expected.assert_eq(&explanation.to_string());
}

#[tokio::test]
async fn each_reason_is_told_in_words_and_what_is_as_before_in_numbers() {
    let mut lab = Lab::new();
    lab.set("a", "b c $X").set("b", "1").set("c", "b 2");
    check(
        &lab,
        "a",
        expect![[r#"
            value "a": computed: nothing was kept (on 1 variable)
              parse "a": computed: nothing was kept (on 1 file)
              value "b": computed: nothing was kept
                parse "b": computed: nothing was kept (on 1 file)
              value "c": computed: nothing was kept
                parse "c": computed: nothing was kept (on 1 file)
        "#]],
    )
    .await;
    check(
        &lab,
        "a",
        expect![[r#"
            value "a": as before (on 3 queries, 1 variable)
        "#]],
    )
    .await;
    lab.set("b", "5");
    check(
        &lab,
        "a",
        expect![[r#"
            value "a": computed: value "b" has another answer (on 1 query, 1 variable)
              value "b": computed: parse "b" has another answer
                parse "b": computed: file b has other content (b3372b584dc0, was d63bd9a826af) (on 1 file)
              value "c": computed: value "b" has another answer (on 1 query)
        "#]],
    )
    .await;
    lab.set("b", "1");
    check(
        &lab,
        "a",
        expect![[r#"
            value "a": as in an older answer (on 1 query, 1 variable)
              value "b": as in an older answer
                parse "b": as in an older answer (on 1 file)
              value "c": as in an older answer (on 1 query)
        "#]],
    )
    .await;
    lab.export("X", "1").remove("b");
    check(
        &lab,
        "a",
        expect![[r#"
            value "a": computed: value "b" has another answer (on 1 query, 1 variable)
              value "b": computed: parse "b" has another answer
                parse "b": computed: file b is gone (on 1 file)
              value "c": computed: value "b" has another answer (on 1 query)
        "#]],
    )
    .await;
    lab.export("X", "2");
    check(&lab, "a", expect![[r#"
        value "a": computed: variable X has another value; for an older answer, value "b" has another answer (on 3 queries, 1 variable)
    "#]]).await;
}

#[tokio::test]
async fn a_value_that_is_gone_is_told_also_after_the_answer_was_asked_for() {
    let lab = Lab::new();
    lab.set("b", "1").ask(Value { cell: "b".to_owned() }).await.unwrap();
    lab.larder().invalidate(&Selector::all().of_kind("value.value")).await;
    let session = lab.session();
    session.get(Value { cell: "b".to_owned() }).await.unwrap();
    take_ran();
    expect![[r#"
        value "b": computed: its value was not kept any more (on 1 query)
    "#]]
    .assert_eq(&explain(&session, "b").await.to_string());
}

#[tokio::test]
async fn a_failure_is_explained_down_to_what_failed() {
    let lab = Lab::new();
    lab.set("a", "1 b").set("b", "x!");
    check(&lab, "a", expect![[r#"
        value "a": failed: cell b failed: computation failed: cell b has a token "x!"; computed: nothing was kept
          parse "a": computed: nothing was kept (on 1 file)
          value "b": failed: cell b has a token "x!"; computed: nothing was kept
            parse "b": computed: nothing was kept (on 1 file)
    "#]])
    .await;
}

#[tokio::test]
async fn what_many_are_built_on_is_told_once() {
    let lab = Lab::new();
    for n in 0..40 {
        lab.set(&format!("c{n}"), "shared shared");
    }
    lab.set("shared", "1");
    lab.ask(Sum { pattern: "c*".to_owned() }).await.unwrap();
    lab.set("shared", "2");
    let explanation = lab.session().explain(Sum { pattern: "c*".to_owned() }).await.unwrap();
    assert_eq!(explanation.queries.len(), 1 + 2 * 41);
    let text = explanation.to_string();
    assert_eq!(text.matches("file shared has other content").count(), 1);
    assert_eq!(text.lines().count(), 1 + 40 + 2);
    assert_eq!(explanation.computed(), 1 + 40 + 2);
    take_ran();
}

/// A long chain.
#[derive(Serialize, Deserialize)]
struct Link(u32);

impl Query for Link {
    type Output = u64;
    type Error = std::convert::Infallible;
    const KIND: &'static str = "link";
    const VERSION: u32 = 1;

    async fn compute(&self, cx: &Context) -> Result<u64, Self::Error> {
        match self.0.checked_sub(1) {
            None => Ok(cx.env("GROUND").map_or(0, |ground| ground.len() as u64)),
            Some(next) => Ok(cx.get(Self(next)).await.unwrap().value + 1),
        }
    }
}

#[tokio::test]
async fn a_deep_graph_is_explained_within_bounds_and_without_a_deep_stack() {
    let lab = Lab::with(|settings| settings.disk.enabled = false);
    let session = lab.queries.clone().with::<Link>().unwrap().session(Outside::new("/"));
    let explanation = session.explain(Link(12_000)).await.unwrap();
    assert_eq!((explanation.queries.len(), explanation.left_out), (10_000, 1));
    let text = explanation.to_string();
    assert_eq!(text.lines().count(), 2_001);
    assert!(
        text.len() < 400_000 && text.contains("[1500] link 10500: computed: nothing was kept"),
        "{text:.300}"
    );
    assert!(matches!(explanation.asked().unwrap().outcome, ExplainedOutcome::Computed(_)));
}

#[tokio::test]
async fn the_form_in_json_is_this_one_until_the_version_changes() {
    let lab = Lab::new();
    lab.set("a", "$X #").set("b", "1");
    lab.ask(Value { cell: "a".to_owned() }).await.unwrap();
    lab.set("c", "1");
    let explanation = explain(&lab.session(), "a").await;
    expect![[r#"
        {
          "version": 1,
          "queries": [
            {
              "kind": "value@1",
              "id": "a2e590d35620cd07c6a110aa08056d706f2d7abefabe2fd68f0016dbe4c82a57",
              "parameters": {
                "cell": "a"
              },
              "outcome": {
                "computed": {
                  "differs": [
                    {
                      "of": {
                        "listing": "."
                      },
                      "was": {
                        "is": "b89993fb3c8bae29261aba92d47f39a004d00da62b3960a9292ace23348e62ae"
                      },
                      "is": {
                        "is": "9b65c9f5f00e7fe6cd40dd0d642be1f64c21d4828505b05be3b735b445a4f16f"
                      }
                    }
                  ]
                }
              },
              "not_kept": null,
              "observed": [
                {
                  "query": 1
                },
                {
                  "variable": "X"
                },
                {
                  "listing": "."
                }
              ],
              "observations_left_out": 0
            },
            {
              "kind": "parse@1",
              "id": "a2e590d35620cd07c6a110aa08056d706f2d7abefabe2fd68f0016dbe4c82a57",
              "parameters": {
                "cell": "a"
              },
              "outcome": {
                "verified": {
                  "trace": 0
                }
              },
              "not_kept": null,
              "observed": [
                {
                  "file": "a"
                }
              ],
              "observations_left_out": 0
            }
          ],
          "left_out": 0
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&explanation).unwrap());
}
