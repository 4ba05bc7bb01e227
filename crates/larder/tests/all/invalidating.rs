//! Random questions, changes, invalidations, restarts and slow computations on several processes' engines over one
//! directory: whatever comes, an answer equals what computing now would return.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder::clock::{Clock, Timestamp};
use larder::config::{Machine, Settings};
use larder::engine::{Computed, Kept, Kind, KindOptions, Larder, Opened, Write};
use larder::key::{Scope, Selector};
use larder::tier::Brief;
use proptest::prelude::*;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

const NODES: usize = 2;
const IDS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    /// Asks and compares with the truth.
    Ask { node: usize, id: usize },
    /// Changes the truth, then invalidates through one node, then all hear of it.
    Change { id: usize, by: usize, form: Form },
    /// Begins a computation that looks at the truth now and ends later.
    Begin { node: usize, id: usize },
    /// Lets the oldest slow computation end.
    End,
    /// Puts the truth where nothing is kept.
    Put { node: usize, id: usize },
    /// Closes an engine and opens it anew.
    Restart { node: usize },
    /// Makes memory so small that everything leaves it, and large again.
    Squeeze { node: usize },
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Key,
    Prefix,
    Tag,
    All,
}

fn step() -> impl Strategy<Value = Step> {
    let (node, id) = (0..NODES, 0..IDS);
    let form = prop_oneof![Just(Form::Key), Just(Form::Prefix), Just(Form::Tag), Just(Form::All)];
    prop_oneof![
        4 => (node.clone(), id.clone()).prop_map(|(node, id)| Step::Ask { node, id }),
        3 => (id.clone(), node.clone(), form).prop_map(|(id, by, form)| Step::Change { id, by, form }),
        2 => (node.clone(), id.clone()).prop_map(|(node, id)| Step::Begin { node, id }),
        2 => (node.clone(), id).prop_map(|(node, id)| Step::Put { node, id }),
        2 => Just(Step::End),
        1 => node.clone().prop_map(|node| Step::Restart { node }),
        1 => node.prop_map(|node| Step::Squeeze { node }),
    ]
}

struct Lab {
    dir: tempfile::TempDir,
    write: Write,
    nodes: Vec<(Opened, Kind<u64>)>,
    truth: [Arc<AtomicU64>; IDS],
    slow: Vec<Slow>,
    runs: Arc<AtomicU64>,
}

/// A computation that waits for its gate.
struct Slow {
    node: usize,
    id: usize,
    /// Whether an invalidation came since it began, so that nobody waits for it any more.
    overtaken: bool,
    gate: Arc<Semaphore>,
    task: JoinHandle<()>,
}

fn open(dir: &Path, write: Write) -> (Opened, Kind<u64>) {
    let clock = Clock::manual(Timestamp::from_millis(1_000_000_000));
    let opened = Larder::open(&Settings::new(dir.to_owned()), &Machine::probe(Path::new("/")), clock, "");
    let options = KindOptions { write, ..KindOptions::default() };
    let kind = opened.larder.kind(&Scope::new("lab").unwrap(), "number", 1, options).unwrap();
    (opened, kind)
}

impl Lab {
    fn new(write: Write) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let nodes = (0..NODES).map(|_| open(dir.path(), write)).collect();
        Self { dir, write, nodes, truth: Default::default(), slow: Vec::new(), runs: Arc::default() }
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Ask { node, id } => self.ask(node, id).await,
            Step::Change { id, by, form } => self.change(id, by, form).await,
            Step::Begin { node, id } => self.begin(node, id).await,
            Step::Put { node, id } => self.put(node, id).await,
            Step::End => {
                if !self.slow.is_empty() {
                    let slow = self.slow.remove(0);
                    slow.gate.add_permits(1);
                    slow.task.await.unwrap();
                }
            }
            Step::Restart { node } => {
                for slow in self.slow.extract_if(.., |slow| slow.node == node) {
                    slow.task.abort();
                }
                self.nodes[node].0.close().await;
                self.nodes[node] = open(self.dir.path(), self.write);
                self.nodes[node].0.larder.catch_up().await;
            }
            Step::Squeeze { node } => {
                let larder = &self.nodes[node].0.larder;
                let budget = larder.memory_usage().unwrap().budget;
                larder.resize_memory(0);
                larder.resize_memory(budget);
            }
        }
    }

    fn key(&self, id: usize) -> larder::key::Key {
        self.nodes[0].1.key(&format!("x/{id}")).unwrap()
    }

    async fn ask(&self, node: usize, id: usize) {
        if self.slow.iter().any(|slow| (slow.node, slow.id, slow.overtaken) == (node, id, false)) {
            return;
        }
        let (truth, runs) = (Arc::clone(&self.truth[id]), Arc::clone(&self.runs));
        let compute = || async move {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(Computed::new(truth.load(Ordering::SeqCst)).tagged("t"))
        };
        let answer = self.nodes[node].1.get_or_compute(&self.key(id), compute).await.unwrap();
        assert_eq!(
            *answer,
            self.truth[id].load(Ordering::SeqCst),
            "node {node}, id {id}, {:?}",
            answer.origin
        );
    }

    async fn change(&mut self, id: usize, by: usize, form: Form) {
        self.truth[id].fetch_add(1, Ordering::SeqCst);
        let selector = match form {
            Form::Key => Selector::key(&self.key(id)),
            Form::Prefix => Selector::all().with_prefix(&format!("x/{id}")),
            Form::Tag => Selector::all().tagged("t").unwrap(),
            Form::All => Selector::all(),
        };
        self.nodes[by].0.larder.invalidate(&selector).await;
        for (opened, _) in &self.nodes {
            opened.larder.catch_up().await;
        }
        let all = matches!(form, Form::Tag | Form::All);
        self.slow.iter_mut().for_each(|slow| slow.overtaken |= all || slow.id == id);
    }

    async fn put(&mut self, node: usize, id: usize) {
        let truth = self.truth[id].load(Ordering::SeqCst);
        let value = Computed::new(truth).tagged("t");
        let put = self.nodes[node].1.put_new(&self.key(id), value, Duration::ZERO, Brief::Aside).await;
        match put {
            Ok(kept) => {
                assert!(!matches!(kept, Kept::No(_)), "node {node}, id {id}, {kept:?}");
                self.slow.iter_mut().for_each(|slow| slow.overtaken |= (slow.node, slow.id) == (node, id));
            }
            Err(there) => assert_eq!(there.value, truth, "node {node}, id {id}"),
        }
    }

    async fn begin(&mut self, node: usize, id: usize) {
        let gate = Arc::new(Semaphore::new(0));
        let (kind, key, truth) = (self.nodes[node].1.clone(), self.key(id), Arc::clone(&self.truth[id]));
        let wait = Arc::clone(&gate);
        let (begun, mut seen) = tokio::sync::mpsc::channel(1);
        let task = tokio::spawn(async move {
            let compute = || async move {
                let value = truth.load(Ordering::SeqCst);
                let _ = begun.send(()).await;
                let _permit = wait.acquire().await;
                Ok::<_, std::io::Error>(Computed::new(value).tagged("t"))
            };
            kind.get_or_compute(&key, compute).await.unwrap();
        });
        // It has begun, or the answer was kept and there is nothing to begin, or it waits for one before it.
        let waits = self.slow.iter().any(|slow| (slow.node, slow.id, slow.overtaken) == (node, id, false));
        if waits || seen.recv().await.is_some() {
            self.slow.push(Slow { node, id, overtaken: false, gate, task });
        }
    }
}

fn check(write: Write, steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut lab = Lab::new(write);
        for step in steps {
            lab.step(step).await;
        }
        for slow in std::mem::take(&mut lab.slow) {
            slow.gate.add_permits(1);
            slow.task.await.unwrap();
        }
        // All have ended; each node's answers are the truth, and asking again computes nothing.
        for node in 0..NODES {
            for id in 0..IDS {
                lab.ask(node, id).await;
            }
        }
        let runs = lab.runs.load(Ordering::SeqCst);
        for id in 0..IDS {
            lab.ask(0, id).await;
        }
        assert_eq!(lab.runs.load(Ordering::SeqCst), runs);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_equals_what_computing_now_would_return(
        through in any::<bool>(), steps in prop::collection::vec(step(), 1..40),
    ) {
        check(if through { Write::Through } else { Write::Behind }, &steps);
    }
}
