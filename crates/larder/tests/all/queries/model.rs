//! Random sheets, edits, reverts, restarts, invalidations and evictions, asked in one session or in several at once:
//! each answer is that of a fresh run, and what runs is the least that can.
//!
//! The model knows for each query which observations it has returned an answer under. A query has to run exactly if
//! a fresh run would ask it and would see what it has not been seen to see.

use std::collections::BTreeMap;

use larder::config::{Mode, Settings};
use larder::key::Selector;
use larder::query::MAX_TRACES;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::task::JoinSet;

use super::lab::{Lab, Parse, Value, take_ran};

const CELLS: usize = 40;
/// With this many cells there are a thousand queries.
const MANY_CELLS: usize = 500;

#[derive(Debug, Clone)]
enum Step {
    /// Writes a cell; the few contents that it can have come back.
    Set(usize, String),
    Remove(usize),
    Export(usize, i64),
    Restart,
    /// Removes what is kept of a cell's tokens, or of its value.
    Forget(usize, bool),
    /// Has memory give up all that it holds.
    Squeeze,
    /// Has the disk tier keep a few entries only: what runs from then on is not known.
    Collect(u64),
    /// Asks for cells at once, in this many sessions.
    Ask(Vec<usize>, usize),
}

fn name(cell: usize) -> String {
    format!("n{cell}")
}

/// Tokens of a cell, which refers to later ones only, so that there is no circle.
fn content(cell: usize) -> impl Strategy<Value = String> {
    let other = (cell + 1)..(cell + 8);
    let other = || other.clone().prop_map(name);
    let token = prop_oneof![
        3 => (0..4i64).prop_map(|number| number.to_string()),
        6 => other(),
        2 => (other(), other(), other()).prop_map(|(a, b, c)| format!("?{a}:{b}:{c}")),
        1 => (0..2usize).prop_map(|n| format!("$V{n}")),
        1 => Just("#".to_owned()),
        3 => (2..4i64).prop_map(|modulus| format!("%{modulus}")),
        1 => Just(if cell % 8 == 7 { "bad!" } else { "1" }.to_owned()),
    ];
    (vec(token, 0..5), prop_oneof![Just(" "), Just("\n")]).prop_map(|(tokens, space)| tokens.join(space))
}

fn sheet(cells: usize) -> impl Strategy<Value = Vec<Vec<String>>> {
    (0..cells).map(|cell| vec(content(cell), 1..4)).collect::<Vec<_>>()
}

fn steps(cells: usize, most: usize) -> impl Strategy<Value = (Vec<Vec<String>>, Vec<Step>)> {
    sheet(cells).prop_flat_map(move |sheet| {
        let contents = sheet.clone();
        let set = (0..cells, any::<prop::sample::Index>())
            .prop_map(move |(cell, nth)| Step::Set(cell, nth.get(&contents[cell]).clone()));
        let step = prop_oneof![
            8 => set,
            1 => (0..cells).prop_map(Step::Remove),
            1 => (0..cells, any::<bool>()).prop_map(|(cell, value)| Step::Forget(cell, value)),
            1 => Just(Step::Squeeze),
            1 => (0..2usize, 0..3i64).prop_map(|(variable, value)| Step::Export(variable, value)),
            1 => Just(Step::Restart),
            6 => (vec(0..10usize, 1..4), 1..4usize).prop_map(|(cells, sessions)| Step::Ask(cells, sessions)),
        ];
        let collect = (0..60u64).prop_map(Step::Collect);
        let step = prop_oneof![60 => step, 1 => collect];
        (Just(sheet), vec(step, 1..most))
    })
}

/// What a query sees of a source, and in which order.
type Seen = Vec<(String, String)>;

/// What is outside, and what has been seen.
#[derive(Default)]
struct Model {
    cells: BTreeMap<String, String>,
    variables: BTreeMap<String, i64>,
    /// Observations under which each query has returned an answer, newest first.
    known: BTreeMap<String, Vec<Seen>>,
}

/// A fresh run: for each query that it asks, its answer and what it sees.
#[derive(Default)]
struct Fresh {
    values: BTreeMap<String, Option<i64>>,
    seen: BTreeMap<String, (Seen, bool)>,
}

impl Model {
    /// What must run for these cells, and whether it succeeds, and what they answer; `None` is an error.
    fn ask(&mut self, cells: &[usize]) -> (BTreeMap<String, bool>, Vec<Option<i64>>) {
        let mut fresh = Fresh::default();
        let answers = cells.iter().map(|&cell| self.value(&name(cell), &mut fresh)).collect();
        let mut run = BTreeMap::new();
        for (query, (seen, succeeds)) in fresh.seen {
            let known = self.known.entry(query.clone()).or_default();
            if succeeds && known.contains(&seen) {
                continue;
            }
            run.insert(query, succeeds);
            if succeeds {
                known.insert(0, seen);
                known.truncate(MAX_TRACES);
            }
        }
        (run, answers)
    }

    fn value(&self, cell: &str, fresh: &mut Fresh) -> Option<i64> {
        if let Some(known) = fresh.values.get(cell) {
            return *known;
        }
        let content = self.cells.get(cell);
        let tokens: Vec<&str> =
            content.map(|content| content.split_whitespace().collect()).unwrap_or_default();
        fresh
            .seen
            .insert(format!("parse({cell})"), (vec![(format!("file {cell}"), format!("{content:?}"))], true));
        let mut seen = vec![(format!("parse {cell}"), format!("{tokens:?}"))];
        let sum = self.sum(&tokens, &mut seen, fresh);
        let mut distinct = Seen::new();
        seen.into_iter().for_each(|one| {
            if !distinct.contains(&one) {
                distinct.push(one)
            }
        });
        fresh.seen.insert(format!("value({cell})"), (distinct, sum.is_some()));
        fresh.values.insert(cell.to_owned(), sum);
        sum
    }

    fn sum(&self, tokens: &[&str], seen: &mut Seen, fresh: &mut Fresh) -> Option<i64> {
        let mut sum = 0i64;
        for token in tokens {
            let mut of = |cell: &str| {
                let value = self.value(cell, fresh)?;
                seen.push((format!("value {cell}"), value.to_string()));
                Some(value)
            };
            sum = match token.as_bytes()[0] {
                b'$' => {
                    let value = self.variables.get(&token[1..]);
                    seen.push((format!("variable {token}"), format!("{value:?}")));
                    sum.wrapping_add(value.copied().unwrap_or_default())
                }
                b'%' => sum.rem_euclid(token[1..].parse().ok()?),
                b'?' => {
                    let cells: Vec<&str> = token[1..].split(':').collect();
                    let chosen = if of(cells[0])? != 0 { cells[1] } else { cells[2] };
                    sum.wrapping_add(of(chosen)?)
                }
                b'#' => {
                    seen.push(("listing".to_owned(), format!("{:?}", self.cells.keys())));
                    sum.wrapping_add(self.cells.len() as i64)
                }
                b'n' => sum.wrapping_add(of(token)?),
                _ => sum.wrapping_add(token.parse().ok()?),
            };
        }
        Some(sum)
    }
}

/// Asks for cells at once, in several sessions of which each answers the same.
async fn ask(lab: &Lab, cells: &[usize], sessions: usize) -> Vec<Option<i64>> {
    let mut asked = JoinSet::new();
    for nth_session in 0..sessions {
        let session = lab.session();
        for (nth, &cell) in cells.iter().enumerate() {
            let session = session.clone();
            asked.spawn(async move {
                (nth_session, nth, session.get(Value { cell: name(cell) }).await.ok().map(|value| *value))
            });
        }
    }
    let mut answers = asked.join_all().await;
    answers.sort_unstable();
    let answers: Vec<Option<i64>> = answers.into_iter().map(|(.., answer)| answer).collect();
    assert!(answers.chunks(cells.len()).all(|session| *session == answers[..cells.len()]));
    answers[..cells.len()].to_vec()
}

/// Whether what ran is what must: what succeeds once, what fails in each session that comes to it.
fn is_least(ran: &[String], run: &BTreeMap<String, bool>, sessions: usize) -> bool {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    ran.iter().for_each(|query| *times.entry(query).or_default() += 1);
    times.keys().copied().eq(run.keys().map(String::as_str))
        && times.iter().all(|(query, &times)| times == 1 || !run[*query] && times <= sessions)
}

async fn check(
    sheet: Vec<Vec<String>>,
    steps: Vec<Step>,
    configure: fn(&mut Settings),
) -> Result<(), TestCaseError> {
    let mut lab = Lab::with(configure);
    let mut model = Model::default();
    let mut exact = true;
    for (cell, contents) in sheet.iter().enumerate() {
        lab.set(&name(cell), &contents[0]);
        model.cells.insert(name(cell), contents[0].clone());
    }
    for step in steps {
        match step {
            Step::Set(cell, content) => {
                lab.set(&name(cell), &content);
                model.cells.insert(name(cell), content);
            }
            Step::Remove(cell) => {
                if model.cells.remove(&name(cell)).is_some() {
                    lab.remove(&name(cell));
                }
            }
            Step::Export(variable, value) => {
                lab.export(&format!("V{variable}"), &value.to_string());
                model.variables.insert(format!("V{variable}"), value);
            }
            Step::Restart => lab.restart().await,
            Step::Forget(cell, of_value) => {
                let cell = name(cell);
                let (key, query) = match of_value {
                    true => {
                        (lab.queries.key_of(&Value { cell: cell.clone() }).ok(), format!("value({cell})"))
                    }
                    false => {
                        (lab.queries.key_of(&Parse { cell: cell.clone() }).ok(), format!("parse({cell})"))
                    }
                };
                lab.larder().invalidate(&Selector::key(&key.unwrap())).await;
                model.known.remove(&query);
            }
            Step::Squeeze => {
                lab.larder().resize_memory(0);
                lab.larder().resize_memory(64 << 20);
            }
            Step::Collect(entries) => {
                lab.collect(entries);
                exact = false;
            }
            Step::Ask(cells, sessions) => {
                // Without memory one session does not find what is on its way to the disk from another.
                let sessions = if lab.larder().memory_usage().is_some() { sessions } else { 1 };
                let answers = ask(&lab, &cells, sessions).await;
                let ran = take_ran();
                let (run, expected) = model.ask(&cells);
                prop_assert_eq!(&answers, &expected);
                prop_assert!(!exact || is_least(&ran, &run, sessions), "{:?} ran, and not {:?}", ran, run);
                let mut without = Lab::with(|settings| settings.mode = Mode::Off);
                without.outside = lab.outside.clone();
                prop_assert_eq!(ask(&without, &cells, 1).await, expected);
                take_ran();
                // Without memory, what is still on its way to the disk is not there for the next question.
                lab.close().await;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_edits_answers_are_fresh_and_nothing_runs_that_need_not((sheet, steps) in steps(CELLS, 60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(check(sheet, steps, |_| {}))?;
    }

    #[test]
    fn so_it_is_with_the_disk_alone((sheet, steps) in steps(CELLS, 60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(check(sheet, steps, |settings| settings.memory.enabled = false))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn so_it_is_with_a_thousand_queries((sheet, steps) in steps(MANY_CELLS, 24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(check(sheet, steps, |_| {}))?;
    }
}
