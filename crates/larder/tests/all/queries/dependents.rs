//! Who has observed what, and forgetting all that depends on something.

use std::sync::Arc;

use larder::engine::{Hook, HookError, Query};
use larder::key::{Key, Selector};
use larder::query::{RootPath, Source};
use parking_lot::Mutex;

use super::lab::{Lab, Parse, Sum, Value, take_ran};

fn file(path: &str) -> Source {
    Source::File(RootPath::new(path).unwrap())
}

fn parse(cell: &str) -> Parse {
    Parse { cell: cell.to_owned() }
}

fn value(cell: &str) -> Value {
    Value { cell: cell.to_owned() }
}

fn key<Q: Query>(lab: &Lab, query: &Q) -> Key {
    lab.queries.key_of(query).unwrap()
}

/// Who depends on a source.
async fn observers(lab: &Lab, source: &Source) -> Vec<Key> {
    let found = lab.larder().dependents(&lab.queries.observers_of(source)).await;
    assert!(found.complete);
    found.keys
}

fn sorted(mut keys: Vec<Key>) -> Vec<Key> {
    keys.sort_unstable();
    keys
}

/// `top` is built on `a` and `b`, both of them on `c`; `d` is apart, and looks at a variable.
async fn sheet() -> Lab {
    let mut lab = Lab::new();
    lab.set("top", "a b").set("a", "c").set("b", "c").set("c", "1").set("d", "$X #");
    lab.export("X", "1");
    lab.ask(value("top")).await.unwrap();
    lab.ask(value("d")).await.unwrap();
    take_ran();
    lab
}

#[tokio::test]
async fn who_observed_a_source_is_known_through_others_and_in_another_process() {
    let mut lab = sheet().await;
    for _ in 0..2 {
        let values = |lab: &Lab, cells: &[&str]| -> Vec<Key> {
            cells.iter().map(|cell| key(lab, &value(cell))).collect()
        };
        let mut expected = values(&lab, &["top", "a", "b", "c"]);
        let by_query = lab.queries.source_of(&parse("c")).unwrap();
        assert_eq!(observers(&lab, &by_query).await, sorted(expected.clone()));
        expected.push(key(&lab, &parse("c")));
        assert_eq!(observers(&lab, &file("c")).await, sorted(expected));
        let of_top = sorted(vec![key(&lab, &value("top")), key(&lab, &parse("top"))]);
        assert_eq!(observers(&lab, &file("top")).await, of_top);
        for source in [Source::Variable("X".into()), Source::Listing(RootPath::new("").unwrap())] {
            assert_eq!(observers(&lab, &source).await, values(&lab, &["d"]));
        }
        for source in [Source::Variable("Y".into()), file("none"), Source::Tool("c".into())] {
            assert!(observers(&lab, &source).await.is_empty());
        }
        lab.restart().await;
    }
}

#[tokio::test]
async fn what_another_process_has_kept_counts_and_what_left_does_not() {
    let lab = sheet().await;
    lab.close().await;
    let other = lab.other_process();
    let found = other.larder.dependents(&lab.queries.observers_of(&file("c"))).await;
    assert_eq!(found.keys.len(), 5);
    other.larder.invalidate(&Selector::key(&key(&lab, &value("a")))).await;
    let found = other.larder.dependents(&lab.queries.observers_of(&file("a"))).await;
    assert_eq!(found.keys, [key(&lab, &parse("a"))], "what would connect it to others is gone");
    other
        .disk
        .as_ref()
        .unwrap()
        .gc(&larder::tier::disk::Limits { max_entries: Some(0), ..Default::default() })
        .unwrap();
    let found = other.larder.dependents(&lab.queries.observers_of(&file("c"))).await;
    assert_eq!((found.keys, found.complete), (vec![], true));
}

#[tokio::test]
async fn a_circle_of_old_answers_ends_the_walk() {
    let lab = Lab::new();
    lab.set("a", "b").set("b", "1");
    lab.ask(value("a")).await.unwrap();
    lab.set("a", "1").set("b", "a");
    lab.ask(value("b")).await.unwrap();
    let expected = sorted(vec![key(&lab, &value("a")), key(&lab, &value("b"))]);
    let found = lab.larder().dependents(&Selector::key(&key(&lab, &value("a"))).with_dependents()).await;
    assert_eq!(found.keys, expected);
}

#[derive(Default)]
struct Told(Mutex<Vec<(String, usize)>>);

impl Hook for Told {
    fn before(&self, selector: &Selector, keys: &[Key]) -> Result<(), HookError> {
        assert!(selector.has_dependents());
        self.0.lock().push(("before".to_owned(), keys.len()));
        Ok(())
    }

    fn after(&self, selector: &Selector, keys: &[Key]) -> Result<(), HookError> {
        assert_eq!(selector.to_string().parse::<Selector>().unwrap(), *selector);
        self.0.lock().push(("after".to_owned(), keys.len()));
        Ok(())
    }
}

#[tokio::test]
async fn an_invalidation_with_dependents_has_them_computed_anew_and_tells_hooks_once() {
    let lab = sheet().await;
    let told = Arc::new(Told::default());
    lab.larder().add_hook(Arc::clone(&told) as Arc<dyn Hook>);
    let selector = lab.queries.observers_of(&file("c"));
    let report = lab.larder().invalidate(&selector).await;
    assert_eq!(report.keys.len(), 5);
    assert_eq!(*told.0.lock(), [("before".to_owned(), 5), ("after".to_owned(), 5)]);
    lab.ask(value("top")).await.unwrap();
    assert_eq!(take_ran(), ["parse(c)", "value(a)", "value(b)", "value(c)", "value(top)"]);
    lab.ask(value("d")).await.unwrap();
    assert!(take_ran().is_empty());
    // Softly, a query is computed anew as well, but what is there is not removed.
    assert!(lab.larder().invalidate_softly(&selector).await.keys.is_empty());
    lab.ask(value("top")).await.unwrap();
    assert_eq!(take_ran(), ["parse(c)", "value(a)", "value(b)", "value(c)", "value(top)"]);
}

#[tokio::test]
async fn very_many_dependents_go_with_their_kinds() {
    let lab = Lab::new();
    for n in 0..300 {
        lab.set(&format!("c{n}"), "shared");
    }
    lab.set("shared", "1").set("apart", "1");
    lab.ask(Sum { pattern: "c*".to_owned() }).await.unwrap();
    lab.ask(value("apart")).await.unwrap();
    take_ran();
    lab.larder().invalidate(&lab.queries.observers_of(&file("shared"))).await;
    lab.ask(Sum { pattern: "c*".to_owned() }).await.unwrap();
    let ran = take_ran();
    assert!(ran.iter().filter(|ran| ran.starts_with("value")).count() == 301, "{ran:?}");
}
