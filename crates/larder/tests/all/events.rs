//! Each operation of the engine is a `tracing` event, so that any subscriber can follow it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::clock::{Clock, Timestamp};
use larder::config::{Machine, Settings};
use larder::engine::{Computed, KindOptions, Larder};
use larder::key::Scope;
use larder::tier::disk::Limits;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Notes what each event says.
#[derive(Default, Clone)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("larder")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Message<'a>(&'a mut Vec<String>);
        impl Visit for Message<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0.push(format!("{value:?}"));
                }
            }
        }
        event.record(&mut Message(&mut self.0.lock().unwrap()));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Notes {
    /// What was said since the last time, each once and sorted.
    fn take(&self) -> String {
        let said: BTreeSet<String> = self.0.lock().unwrap().drain(..).collect();
        Vec::from_iter(said).join(", ")
    }

    /// Waits until a task of its own has said this.
    async fn wait_for(&self, word: &str) {
        let said = async {
            while !self.0.lock().unwrap().iter().any(|said| said == word) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), said).await.expect(word);
    }
}

#[tokio::test]
async fn each_operation_is_an_event() {
    let notes = Notes::default();
    // While there is only one subscriber, other tests' threads, which have none, decide that an event that they meet
    // first interests nobody.
    let _second = tracing::Dispatch::new(Notes::default());
    let _following = tracing::subscriber::set_default(notes.clone());
    tracing::callsite::rebuild_interest_cache();
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Timestamp::from_millis(1_000_000_000));
    let settings = Settings::new(dir.path().to_owned());
    let machine = Machine::probe(std::path::Path::new("/"));
    let opened = Larder::open(&settings, &machine, clock.clone(), "ann@box");
    let words = opened.larder.kind(&Scope::new("lab").unwrap(), "word", 1, KindOptions::default()).unwrap();
    let key = words.key("a").unwrap();
    let compute = || async { Ok::<_, std::io::Error>(Computed::new("word".to_owned())) };

    notes.take();
    words.get_or_compute(&key, compute).await.unwrap();
    assert_eq!(notes.take(), "computed, keeping, miss");
    words.get_or_compute(&key, compute).await.unwrap();
    assert_eq!(notes.take(), "hit");
    words.get(&key).await.unwrap();
    assert_eq!(notes.take(), "hit");
    words.refresh(&key, compute).await.unwrap();
    assert_eq!(notes.take(), "computed, evicted, keeping");
    words.put(&key, "other".to_owned(), Duration::ZERO).await;
    assert_eq!(notes.take(), "evicted, keeping");
    words.warm([(key.clone(), 1)]).await;
    assert_eq!(notes.take(), "warmed");
    opened.larder.invalidate_softly(&"all".parse().unwrap()).await;
    assert_eq!(notes.take(), "invalidated softly");
    words.get_or_compute(&key, compute).await.unwrap();
    notes.wait_for("evicted").await;
    notes.wait_for("keeping").await;
    opened.close().await;
    assert_eq!(notes.take(), "computed, evicted, keeping, stale; refreshing");
    opened.larder.invalidate(&"all".parse().unwrap()).await;
    assert_eq!(notes.take(), "invalidated");
    words.put(&key, "other".to_owned(), Duration::ZERO).await;
    opened.close().await;
    clock.advance(Duration::from_secs(10));
    notes.take();
    opened.collect_to(&Limits { max_age: Some(Duration::from_secs(1)), ..Limits::default() }).unwrap();
    assert_eq!(notes.take(), "evicted from disk");
}
